// mutex: one goroutine at a time, in order of arrival.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/lock_guard.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>

#include <utility>

namespace ringo {

namespace detail {

// Invariant: goroutines wait only while it is locked. unlock() hands it over to the first in line
// and leaves it locked, so that nobody who comes later can take it before.
class mutex_state {
public:
    mutex_state() noexcept = default;
    mutex_state(const mutex_state&) = delete;
    mutex_state& operator=(const mutex_state&) = delete;
    ~mutex_state() {
        if (locked) [[unlikely]] {
            panic("mutex: destroyed while locked");
        }
    }

    // Why no bias_guard: handed to a function it lies in memory, and that cost a fifth of all.
    void unlock() noexcept {
        bias_slot* const entered = lock.enter(this_core_state);
        if (waiting.empty()) [[likely]] {
            locked = false;
            lock.leave(entered);
        } else {
            hand_over(entered);
        }
    }

    static constexpr const char* unlock_of_unlocked = "mutex: unlock of unlocked mutex";

    bias_lock lock;
    bool locked = false;
    wait_list waiting;

private:
    /// Under the lock, which this leaves.
    void hand_over(bias_slot* entered) noexcept;
};

/// Waits for a mutex, or has got it.
struct mutex_waiter : waiter {
    mutex_waiter(const wait_type& t, mutex_state* m) noexcept : waiter(t), on(m) {}
    mutex_waiter(const mutex_waiter&) = delete;
    mutex_waiter& operator=(const mutex_waiter&) = delete;
    ~mutex_waiter() {
        if (owns) [[unlikely]] {  // its goroutine was destroyed before it could take it
            on->unlock();
        }
    }

    mutex_state* on;
    bool owns = false;
};

using mutex_guard = lock_guard<mutex_state, &mutex_state::unlock>;

extern const wait_type lock_wait;

class lock_operation : public locked_operation<lock_operation, mutex_waiter> {
public:
    explicit lock_operation(mutex_state& m) noexcept : locked_operation(lock_wait, &m) {}
    lock_operation(lock_operation&& other) noexcept : lock_operation(*other.on) {}

    bias_lock* lock() const noexcept { return &on->lock; }
    bool attempt(waiter*&) noexcept {
        if (on->locked) {
            return false;
        }
        on->locked = true;
        owns = true;
        return true;
    }
    bool may_come_soon() const noexcept { return true; }
    void enlist() noexcept { on->waiting.push_back(*this); }
    mutex_guard value() noexcept { return mutex_guard(std::exchange(owns, false) ? on : nullptr); }

    static const arm_type arm;
};

}  // namespace detail

/// Mutual exclusion for goroutines, also while the one that holds it is suspended. It is handed
/// over in order of arrival: who comes back for it stands behind all who wait.
///
///     auto g = co_await m.lock();   // held until g dies, or until g.unlock()
///
/// panics   when it is destroyed while locked: it must outlive its guards and who waits for it
/// core     any; it may be made outside of a run, and be used in several
/// cost     locking and unlocking an uncontended one where it was made: no atomic read-modify-write
/// follows  Go sync.Mutex; but a waiter never has to compete for it again
class mutex {
public:
    using guard = detail::mutex_guard;

    mutex() noexcept = default;

    /// Takes the lock, suspending while another holds it; also as an operand of select, where
    /// it holds nothing unless it has won. Not recursive: who holds it waits for himself.
    ///
    /// returns  awaited: the guard
    /// throws   cancelled, deadline_exceeded: it was not taken
    /// core     any
    /// cancel   leaves the line at once; who has been handed the lock already gets it
    /// cost     no allocation; no switch when it is free
    /// follows  Go sync.Mutex.Lock
    [[nodiscard]] detail::lock_operation lock() noexcept { return detail::lock_operation(state_); }

    /// Takes the lock if it is free.
    ///
    /// returns  a guard, which holds nothing when it is not
    /// core     any, foreign threads included
    /// follows  Go sync.Mutex.TryLock
    [[nodiscard]] guard try_lock() noexcept {
        detail::lock_operation op(state_);
        op.now();
        return op.value();
    }

private:
    detail::mutex_state state_;
};

}  // namespace ringo
