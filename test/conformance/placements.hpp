// Scenarios on one core and on several, with who waits and who wakes on one core and on two.
#pragma once

#include <doctest/doctest.h>

#include "steps.hpp"

#include <ringo/context.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <string_view>

namespace test {

/// Where a scenario runs. Its body is the main task, on core 0; what it makes has its home there.
struct placement {
    unsigned cores;
    std::size_t waiter;  // a core
    std::size_t waker;

    ringo::place waits() const { return ringo::on(waiter); }
    ringo::place wakes() const { return ringo::on(waker); }
    /// Spreads goroutines over the cores.
    ringo::place nth(std::size_t i) const { return ringo::on(i % cores); }
};

inline constexpr placement placements[] = {
    {1, 0, 0},                        //
    {2, 0, 0}, {2, 0, 1}, {2, 1, 0},  //
    {4, 0, 0}, {4, 1, 1}, {4, 1, 2}, {4, 3, 0},
};

/// Runs `body(placement)`, which gives a task<>, at each of them.
template <class F>
void for_each_placement(F body) {
    for (const placement& p : placements) {
        CAPTURE(p.cores);
        CAPTURE(p.waiter);
        CAPTURE(p.waker);
        ringo::run([&]() -> ringo::task<> { return body(p); }, {.cores = p.cores, .pin = false});
    }
}

/// ... with 1, 2 and 4 cores, for what has no one waiter and no one waker.
template <class F>
void for_each_core_count(F body) {
    for (const unsigned cores : {1U, 2U, 4U}) {
        CAPTURE(cores);
        const placement p{cores, 0, cores - 1};
        ringo::run([&]() -> ringo::task<> { return body(p); }, {.cores = cores, .pin = false});
    }
}

/// Returns once the goroutine of `handle`, which runs on `core`, is parked in `state`, as debug
/// output names it: "chan receive", "select", "sleep", …
template <class T>
ringo::task<> until_parked(std::size_t core, ringo::join_handle<T>& handle,
                           std::string_view state) {
    ringo::detail::goroutine* const g = handle.operator co_await().target;
    // Its core alone may look at it.
    auto looks = ringo::spawn(
        ringo::on(core),
        [](ringo::detail::goroutine* it, std::string_view name) -> ringo::task<> {
            while (it->waiting == nullptr || it->waiting->type->name != name) {
                co_await ringo::yield();
            }
        },
        g, state);
    co_await looks;
}

}  // namespace test
