// Go's scenarios for groups: sync.WaitGroup, x/sync/semaphore.
#include <doctest/doctest.h>

#include "misuse.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <cstddef>
#include <functional>

using ringo::go;
using ringo::task;
using ringo::wait_group;
using ringo::yield;

namespace {

/// On 1, 2 and 4 cores; `f(core)` with the waker on the waiter's core and on the last one.
template <class F>
void on_cores(F f) {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            [f]() -> task<> {
                co_await f(std::size_t{0});
                co_await f(ringo::cores() - 1);
            },
            {.cores = cores});
    }
}

/// Returns when what was started before, here and on `core`, has run until it waits.
task<> all_parked(std::size_t core) {
    co_await yield();
    auto after = ringo::spawn(ringo::on(core), []() -> task<> { co_return; });
    co_await after;
}

}  // namespace

// sync.TestWaitGroup
TEST_CASE("go_37_wait_group_releases_at_zero") {
    on_cores([](std::size_t core) -> task<> {
        constexpr int n = 16;
        wait_group first;
        wait_group second;
        for (int round = 0; round < 8; ++round) {
            first.add(n);
            second.add(n);
            std::atomic<int> exited = 0;
            for (int i = 0; i < n; ++i) {
                go(ringo::on(core), [&]() -> task<> {
                    first.done();
                    co_await second.wait();
                    ++exited;
                });
            }
            co_await first.wait();
            for (int i = 0; i < n; ++i) {
                CHECK(exited == 0);
                second.done();
            }
            while (exited != n) {
                co_await yield();
            }
        }
    });
}

// sync.TestWaitGroupMisuse
TEST_CASE("go_38_negative_counter_is_a_panic") {
    test::expect_panic("wait_group: negative counter", [] {
        ringo::run([]() -> task<> {
            wait_group group;
            group.add();
            group.done();
            group.done();
            co_return;
        });
    });
}

// sync.TestWaitGroupRace: a new round starts while those of the last one still wake up.
TEST_CASE("go_39_no_early_release_under_reuse") {
    on_cores([](std::size_t core) -> task<> {
        for (int i = 0; i < 1000; ++i) {
            wait_group group;
            std::atomic<int> n = 0;
            for (int k = 0; k < 2; ++k) {
                group.add();
                go(ringo::on(core), [&]() -> task<> {
                    ++n;
                    group.done();
                    co_return;
                });
            }
            co_await group.wait();
            CHECK(n == 2);
        }
        for (int i = 0; i < 200; ++i) {
            wait_group group;
            group.add();
            std::atomic<int> released = 0;
            const auto waits = [&]() -> task<> {
                co_await group.wait();
                ++released;
            };
            go(waits);
            go(ringo::on(core), waits);
            co_await all_parked(core);
            group.done();
            group.add();  // before any of them could run
            go(waits);
            go(ringo::on(core), waits);
            while (released < 2) {
                co_await yield();
            }
            co_await all_parked(core);
            CHECK(released == 2);
            group.done();
            while (released < 4) {
                co_await yield();
            }
        }
    });
}
