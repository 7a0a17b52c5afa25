// latch: opens once, when it has been counted down.
#pragma once

#include <ringo/detail/gate.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>

#include <cstddef>

namespace ringo {

namespace detail {

extern const wait_type latch_wait;
extern const wait_type latch_arrival_wait;

class latch_arrival : public locked_operation<latch_arrival, arrival> {
public:
    explicit latch_arrival(gate& g) noexcept : locked_operation(latch_arrival_wait, g) {}
    latch_arrival(latch_arrival&& other) noexcept : latch_arrival(*other.on) {}

    bool attempt(waiter*&) noexcept;
    void value() const noexcept { resume_all(others); }
};

}  // namespace detail

/// Opens when it has been counted down `n` times, and stays open. Destroyed while goroutines wait,
/// it leaves them waiting until they are cancelled.
///
/// core     any; everything but the waits on foreign threads too
/// follows  std::latch
class latch {
public:
    /// panics   when n is negative
    explicit latch(std::ptrdiff_t n) noexcept;

    /// Counts down, and does not wait. At zero all who wait go on; they may destroy the latch.
    ///
    /// panics   when that is less than zero, or k is negative
    /// core     any, foreign threads included; does not suspend
    void count_down(std::ptrdiff_t k = 1) noexcept;

    /// Whether it is open.
    [[nodiscard]] bool try_wait() noexcept { return gate_.is_open(); }

    /// Suspends until it is open. Usable in select.
    ///
    /// throws   cancelled, deadline_exceeded
    /// core     any
    /// cancel   leaves at once
    /// cost     no allocation; no switch when it is open
    [[nodiscard]] auto wait() noexcept { return detail::gate_operation(detail::latch_wait, gate_); }

    /// Counts down by one and suspends until it is open. No operand of select; see `timeout`.
    ///
    /// throws   cancelled, deadline_exceeded: it has not been counted down by this
    /// panics   when it is open already
    /// core     any
    /// cancel   leaves at once, and takes its count back
    /// cost     no allocation; no switch for the last one
    [[nodiscard]] auto arrive_and_wait() noexcept { return detail::latch_arrival(gate_); }

private:
    detail::gate gate_;
};

}  // namespace ringo
