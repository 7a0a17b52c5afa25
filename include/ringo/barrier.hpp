// barrier: goroutines wait for each other, phase by phase.
#pragma once

#include <ringo/detail/gate.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace ringo {

namespace detail {

extern const wait_type barrier_wait;

class phase_end {
public:
    virtual ~phase_end() = default;
    virtual void run() = 0;
};

template <class F>
class phase_end_of final : public phase_end {
public:
    explicit phase_end_of(F&& f) : f_(std::move(f)) {}
    void run() override { f_(); }

private:
    F f_;
};

/// `count` is how many have yet to arrive in this phase.
class barrier_core : public gate {
public:
    barrier_core(std::ptrdiff_t n, std::unique_ptr<phase_end> c);

    const std::ptrdiff_t size;
    const std::unique_ptr<phase_end> on_completion;  // null: none
};

class barrier_arrival : public locked_operation<barrier_arrival, arrival> {
public:
    explicit barrier_arrival(barrier_core& b) noexcept : locked_operation(barrier_wait, b) {}
    barrier_arrival(barrier_arrival&& other) noexcept : barrier_arrival(other.core()) {}

    bool attempt(waiter*&) noexcept { return arrive_last(core().size); }
    void value() const;

private:
    barrier_core& core() const noexcept { return static_cast<barrier_core&>(*on); }
};

}  // namespace detail

/// Lets `n` goroutines go on once all of them have arrived; then the next phase begins. Destroyed
/// while goroutines wait, it leaves them waiting until they are cancelled.
///
/// core     any
/// follows  std::barrier
class barrier {
public:
    /// panics   when n is less than one
    explicit barrier(std::ptrdiff_t n) : core_(n, nullptr) {}

    /// takes    on_completion: a plain callable, which ends each phase. The last to arrive calls it
    ///          in its own goroutine, and the others go on after it. What it throws leaves the last
    ///          one's arrive_and_wait; the phase has ended all the same, and the others go on
    /// cost     an allocation
    template <class F>
    barrier(std::ptrdiff_t n, F on_completion)
        : core_(n, std::make_unique<detail::phase_end_of<F>>(std::move(on_completion))) {
        static_assert(!detail::is_task<std::invoke_result_t<F&>>,
                      "ringo: what ends a barrier's phase is a plain callable; it cannot wait");
    }

    /// Arrives, and suspends until all have. No operand of select; see `timeout`.
    ///
    /// throws   cancelled, deadline_exceeded: it has not arrived, and another one must;
    ///          in the last to arrive, what on_completion throws
    /// core     any
    /// cancel   leaves at once and takes its arrival back, unless the phase has ended
    /// cost     no allocation; no switch for the last one
    [[nodiscard]] auto arrive_and_wait() noexcept { return detail::barrier_arrival(core_); }

private:
    detail::barrier_core core_;
};

}  // namespace ringo
