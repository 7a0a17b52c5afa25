// The part of select that does not depend on what its arms are.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ringo::detail {

extern const wait_type select_wait;

// Protocol: all locks of the arms are held while they are attempted, in random order, and while
// they are enlisted. So the select either finds one that is ready, or is in all lists before any
// of them changes. From then on whoever ends an arm claims the select first; one claim succeeds.
// The goroutine then withdraws the other arms, each under its own lock.
class selection : public wait {
public:
    selection() noexcept : wait(select_wait) {}

    /// True: it has ended, since an arm is ready or it `must_not_wait`. Otherwise its goroutine is
    /// parked.
    bool start(frame_handle h, bool must_not_wait);

    /// In await_resume: which arm has won; null: none, the goroutine's `error` says why, if
    /// anything does.
    wait* winner() const noexcept { return winner_.load(std::memory_order_relaxed); }
    /// ... by its number; that of the arms if none has won.
    std::uint32_t winner_index() const noexcept;
    void withdraw_losers() noexcept {
        if (enlisted_) {
            withdraw_enlisted();
        }
    }
    static void cancel(wait& w) noexcept;
    static void describe(const wait& w, wait_state& s) noexcept;

    std::span<wait* const> arms() const noexcept { return arms_; }

    bool claim(wait& arm) noexcept { return claim_as(&arm); }

    // An arm that only a system call can end may find that it cannot be done after all. It
    // claims for the time of that call; all other claims wait for how it went.

    /// False: as claim. Otherwise `decide` follows, with nothing between that blocks or locks.
    bool try_claim() noexcept { return claim_as(undecided()); }
    /// takes  the arm, which has won; null: none has
    void decide(wait* arm) noexcept { winner_.store(arm, std::memory_order_release); }
    /// One has won, or it was cancelled.
    bool decided() const noexcept {
        wait* const w = winner_.load(std::memory_order_acquire);
        return w != nullptr && w != undecided();
    }

protected:
    /// Before `start`. The arms' types and `select` are set already.
    void set_arms(goroutine& g, std::span<wait* const> arms) noexcept {
        self = &g;
        g.error = 0;
        arms_ = arms;
    }

    bool enlisted_ = false;

private:
    void withdraw_enlisted() noexcept;
    static wait* undecided() noexcept { return reinterpret_cast<wait*>(alignof(wait)); }

    bool claim_as(wait* winner) noexcept {
        wait* expected = nullptr;
        // acq_rel: of two claims the second sees what the first did.
        return winner_.compare_exchange_strong(expected, winner, std::memory_order_acq_rel) ||
               (expected == undecided() && claim_slow(winner));
    }
    bool claim_slow(wait* winner) noexcept;
    bool attempt_all(waiter*& woken);
    bool attempt_done() noexcept;

    std::atomic<wait*> winner_{nullptr};  // an arm, `undecided`, or this: cancelled
    std::span<wait* const> arms_;
};

}  // namespace ringo::detail
