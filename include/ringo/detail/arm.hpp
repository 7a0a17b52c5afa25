// What makes an operation an operand of select.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>

namespace ringo::detail {

/// An operation's part in a select. Between `enlist` and `withdraw` the operation is one of many
/// that may end the select; it does so by claim_select, and only who claims has an effect.
struct arm_type : wait_type {
    /// What guards it; null: nothing, for it belongs to the goroutine's own core.
    bias_lock* (*lock)(wait&) noexcept;

    /// Under the lock: ends at once if it can. It may set the goroutine's `error`, and give whom
    /// to resume when the lock is released.
    bool (*attempt)(wait&, waiter*& woken) noexcept;

    /// Under the lock, after an attempt has failed.
    void (*enlist)(wait&) noexcept;

    /// Takes the lock itself. Called once after `enlist`, unless this arm has won.
    void (*withdraw)(wait&) noexcept;

    /// It tells of the end of a context: the select ends with it rather than with the failure.
    bool is_done = false;
};

/// Claims the select that `w` is an arm of. False: another arm has won, or it was cancelled.
/// core: any, under the arm's lock or on the arm's own core
bool claim_select(wait& w) noexcept;

/// For wait_type::fire of arms that end on their own core.
void fire_arm(wait& w) noexcept;

}  // namespace ringo::detail
