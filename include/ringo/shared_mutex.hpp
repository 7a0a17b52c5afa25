// shared_mutex: many readers or one writer, in order of arrival.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/lock_guard.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>

#include <cstddef>
#include <utility>

namespace ringo {

namespace detail {

// Invariant: the first in line cannot be let in: a writer waits while anyone is inside, a reader
// while a writer is. Whatever changes that lets in, from the front, all who can be (`admit`).
class shared_mutex_state {
public:
    shared_mutex_state() noexcept = default;
    shared_mutex_state(const shared_mutex_state&) = delete;
    shared_mutex_state& operator=(const shared_mutex_state&) = delete;
    ~shared_mutex_state() {
        if (writing || readers != 0) [[unlikely]] {
            panic("shared_mutex: destroyed while locked");
        }
    }

    void unlock() noexcept {
        bias_guard guard(lock);
        writing = false;
        if (!waiting.empty()) [[unlikely]] {
            admit(guard);
        }
    }
    void unlock_shared() noexcept {
        bias_guard guard(lock);
        if (--readers == 0 && !waiting.empty()) [[unlikely]] {
            admit(guard);
        }
    }
    /// Under the lock: lets in who can be.
    void admit(woken_list& woken) noexcept;

    static constexpr const char* unlock_of_unlocked =
        "shared_mutex: unlock of unlocked shared_mutex";

    bias_lock lock;
    bool writing = false;
    std::size_t readers = 0;
    wait_list waiting;

private:
    /// ... and wakes them once the lock is released.
    void admit(bias_guard& guard) noexcept;
};

/// Waits for a shared_mutex, or has got in.
struct shared_mutex_waiter : waiter {
    shared_mutex_waiter(const wait_type& t, shared_mutex_state* m, bool w) noexcept
        : waiter(t), on(m), writes(w) {}
    shared_mutex_waiter(const shared_mutex_waiter&) = delete;
    shared_mutex_waiter& operator=(const shared_mutex_waiter&) = delete;
    ~shared_mutex_waiter() {
        if (owns) [[unlikely]] {  // its goroutine was destroyed before it could take it
            writes ? on->unlock() : on->unlock_shared();
        }
    }

    shared_mutex_state* on;
    const bool writes;
    bool owns = false;
};

using shared_mutex_guard = lock_guard<shared_mutex_state, &shared_mutex_state::unlock>;
using shared_mutex_shared_guard =
    lock_guard<shared_mutex_state, &shared_mutex_state::unlock_shared>;

extern const wait_type write_lock_wait;
extern const wait_type read_lock_wait;

template <class Op>
class shared_mutex_operation : public locked_operation<Op, shared_mutex_waiter> {
public:
    using locked_operation<Op, shared_mutex_waiter>::locked_operation;

    bias_lock* lock() const noexcept { return &this->on->lock; }
    void enlist() noexcept { this->on->waiting.push_back(*this); }

protected:
    shared_mutex_state* take() noexcept {
        return std::exchange(this->owns, false) ? this->on : nullptr;
    }
};

class write_lock_operation : public shared_mutex_operation<write_lock_operation> {
public:
    explicit write_lock_operation(shared_mutex_state& m) noexcept
        : shared_mutex_operation(write_lock_wait, &m, true) {}
    write_lock_operation(write_lock_operation&& other) noexcept : write_lock_operation(*other.on) {}

    bool attempt(waiter*&) noexcept {
        if (on->writing || on->readers != 0) {
            return false;
        }
        on->writing = true;
        owns = true;
        return true;
    }
    shared_mutex_guard value() noexcept { return shared_mutex_guard(take()); }

    static const arm_type arm;
};

class read_lock_operation : public shared_mutex_operation<read_lock_operation> {
public:
    explicit read_lock_operation(shared_mutex_state& m) noexcept
        : shared_mutex_operation(read_lock_wait, &m, false) {}
    read_lock_operation(read_lock_operation&& other) noexcept : read_lock_operation(*other.on) {}

    bool attempt(waiter*&) noexcept {
        if (on->writing || !on->waiting.empty()) {
            return false;
        }
        ++on->readers;
        owns = true;
        return true;
    }
    shared_mutex_shared_guard value() noexcept { return shared_mutex_shared_guard(take()); }

    static const arm_type arm;
};

}  // namespace detail

/// A lock that any number of readers hold at once, or one writer. Readers and writers are let in
/// in order of arrival, so neither starve: a reader that comes after a waiting writer waits
/// behind it. A goroutine that has a shared lock must therefore not ask for another one.
///
///     auto g = co_await m.lock_shared();   // reads
///     auto g = co_await m.lock();          // writes
///
/// panics   when it is destroyed while locked: it must outlive its guards and who waits for it
/// core     any; it may be made outside of a run, and be used in several
/// cost     locking and unlocking an uncontended one where it was made: no atomic read-modify-write
/// follows  Go sync.RWMutex
class shared_mutex {
public:
    using guard = detail::shared_mutex_guard;
    using shared_guard = detail::shared_mutex_shared_guard;

    shared_mutex() noexcept = default;

    /// Takes the lock for writing, suspending while anyone else holds it; also as an operand of
    /// select, where it holds nothing unless it has won.
    ///
    /// returns  awaited: the guard
    /// throws   cancelled, deadline_exceeded: it was not taken
    /// core     any
    /// cancel   leaves the line at once, and lets in the readers that stood behind it; who has
    ///          been let in already gets the lock
    /// cost     no allocation; no switch when it is free
    /// follows  Go sync.RWMutex.Lock
    [[nodiscard]] detail::write_lock_operation lock() noexcept {
        return detail::write_lock_operation(state_);
    }

    /// Takes the lock for reading, suspending while a writer holds it or anyone waits for it;
    /// otherwise as `lock`.
    ///
    /// follows  Go sync.RWMutex.RLock
    [[nodiscard]] detail::read_lock_operation lock_shared() noexcept {
        return detail::read_lock_operation(state_);
    }

    /// Takes the lock if that needs no waiting.
    ///
    /// returns  a guard, which holds nothing otherwise
    /// core     any, foreign threads included
    /// follows  Go sync.RWMutex.TryLock, TryRLock
    [[nodiscard]] guard try_lock() noexcept {
        detail::write_lock_operation op(state_);
        op.now();
        return op.value();
    }
    [[nodiscard]] shared_guard try_lock_shared() noexcept {
        detail::read_lock_operation op(state_);
        op.now();
        return op.value();
    }

private:
    detail::shared_mutex_state state_;
};

}  // namespace ringo
