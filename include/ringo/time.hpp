// Time: the clock, and sleeping. The clock is std::chrono::steady_clock; tests may put a virtual
// one in its place (see test.hpp).
#pragma once

#include <ringo/detail/operation.hpp>
#include <ringo/detail/timer.hpp>

#include <chrono>
#include <cstdint>

namespace ringo {

using clock = std::chrono::steady_clock;
using duration = clock::duration;
using time_point = clock::time_point;

namespace detail {

/// `d` from now on this core's clock, in nanoseconds of steady_clock; at most the end of time.
std::int64_t deadline_after(duration d) noexcept;
/// This core's clock; on other threads, steady_clock.
std::int64_t now_ns() noexcept;

extern const wait_type sleep_wait;

class sleep_operation : public operation<sleep_operation, timer_entry> {
public:
    explicit sleep_operation(std::int64_t until_ns) noexcept : operation(sleep_wait) {
        deadline_ns = until_ns;
    }
    sleep_operation(sleep_operation&& other) noexcept : sleep_operation(other.deadline_ns) {}

    bool start() noexcept;
    void value() const noexcept {}

    static const arm_type arm;
};

}  // namespace detail

/// The time on this core's clock, which everything in ringo goes by. That is steady_clock, but
/// virtual time in a test::run_virtual: code that asks here, not steady_clock, can be tested there.
///
/// core     any; on other threads it is steady_clock
[[nodiscard]] inline time_point now() noexcept { return time_point(duration(detail::now_ns())); }

/// Suspends for at least `d`; a negative `d` is no time at all. A core wakes up for timers at most
/// once in 50 us, so where there are many of them a sleep may take that much longer.
///
/// throws   cancelled, deadline_exceeded
/// core     any
/// cancel   leaves at once
/// cost     no allocation, no kernel operation
/// follows  Go time.Sleep
[[nodiscard]] inline detail::sleep_operation sleep(duration d) {
    return detail::sleep_operation(detail::deadline_after(d));
}

/// Suspends until the clock has reached `t`; otherwise as `sleep`.
[[nodiscard]] inline detail::sleep_operation sleep_until(time_point t) noexcept {
    return detail::sleep_operation(t.time_since_epoch().count());
}

}  // namespace ringo
