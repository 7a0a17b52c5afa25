// The part of select that does not depend on what its arms are.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>

#include <atomic>
#include <cstddef>
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
    void withdraw_losers() noexcept {
        if (enlisted_) {
            withdraw_enlisted();
        }
    }
    static void cancel(wait& w) noexcept;

    bool claim(wait& arm) noexcept {
        wait* expected = nullptr;
        // acq_rel: of two claims the second sees what the first did.
        return winner_.compare_exchange_strong(expected, &arm, std::memory_order_acq_rel);
    }

protected:
    /// Before `start`. The arms' types and `select` are set already.
    void set_arms(goroutine& g, std::span<wait* const> arms) noexcept {
        self = &g;
        g.error = 0;
        arms_ = arms;
    }
    void set_winner(wait& arm) noexcept { winner_.store(&arm, std::memory_order_relaxed); }

    bool enlisted_ = false;

private:
    void withdraw_enlisted() noexcept;
    bool attempt_all(waiter*& woken);
    bool attempt_done() noexcept;

    std::atomic<wait*> winner_{nullptr};  // an arm, or this: cancelled
    std::span<wait* const> arms_;
};

}  // namespace ringo::detail
