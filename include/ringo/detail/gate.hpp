// What wait_group, event, latch and barrier have in common: goroutines wait until a count is zero.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>

#include <cstddef>

namespace ringo::detail {

/// Open while `count` is zero. Who was let go stays so, whatever becomes of the count.
class gate {
public:
    explicit gate(std::ptrdiff_t n) noexcept : count(n) {}
    ~gate() { orphan(lock, waiters); }

    /// Adds under the lock; at zero nobody waits any more. False: it would be negative, and stays
    /// as it was.
    /// Lifetime: at zero, who waits may destroy this; the caller does no more than resume_all.
    bool add(std::ptrdiff_t n, waiter*& woken) noexcept {
        if (n < -count) [[unlikely]] {
            return false;
        }
        count += n;
        if (count == 0) {
            take_all(woken);
        }
        return true;
    }
    /// Takes the lock itself, and resumes.
    bool add(std::ptrdiff_t n) noexcept {
        waiter* woken = nullptr;
        bool could = false;
        {
            const bias_guard guard(lock);
            could = add(n, woken);
        }
        if (woken != nullptr) [[unlikely]] {
            resume_all(woken);
        }
        return could;
    }
    bool is_open() noexcept {
        const bias_guard guard(lock);
        return count == 0;
    }

    bias_lock lock;
    wait_list waiters;
    std::ptrdiff_t count;

private:
    void take_all(waiter*& woken) noexcept {
        if (!waiters.empty()) [[unlikely]] {
            woken = waiters.pop_all();
        }
    }
};

/// What waits at a gate.
struct gate_waiter : waiter {
    gate_waiter(const wait_type& t, gate& g) noexcept : waiter(t), on(&g) {}

    static void cancel(wait& w) noexcept;
    static void withdraw(wait& w) noexcept;

    gate* on;
};

/// The wait until it is open.
class gate_operation : public locked_operation<gate_operation, gate_waiter> {
public:
    gate_operation(const wait_type& t, gate& g) noexcept : locked_operation(t, g) {}
    gate_operation(gate_operation&& other) noexcept : gate_operation(*other.type, *other.on) {}

    bias_lock* lock() const noexcept { return &on->lock; }
    bool attempt(waiter*&) const noexcept { return on->count == 0; }
    void enlist() noexcept { on->waiters.push_back(*this); }
    void value() const noexcept {}

    static const arm_type arm;
};

/// An arrival: it counts down by one, and waits for the others to do so. Who is last does not
/// wait, but lets the others go. An arrival that is cancelled has not been.
/// Why no operand of select: all arrivals of a phase count at once, and as many selects cannot be
/// claimed at once.
struct arrival : gate_waiter {
    using gate_waiter::gate_waiter;

    bias_lock* lock() const noexcept { return &on->lock; }
    /// Under the lock, where the count is not zero. True: this is the last one, `others` wait for
    /// it, and the count is `refill` again.
    bool arrive_last(std::ptrdiff_t refill) noexcept;
    void enlist() noexcept;

    static void cancel(wait& w) noexcept;

    waiter* others = nullptr;
    bool is_last = false;
};

}  // namespace ringo::detail
