// Go's scenarios for groups: sync.WaitGroup, x/sync/semaphore.
#include <doctest/doctest.h>

#include "misuse.hpp"
#include "steps.hpp"

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
            co_await test::parked(core);
            group.done();
            group.add();  // before any of them could run
            go(waits);
            go(ringo::on(core), waits);
            while (released < 2) {
                co_await yield();
            }
            co_await test::parked(core);
            CHECK(released == 2);
            group.done();
            while (released < 4) {
                co_await yield();
            }
        }
    });
}

// semaphore.TestLargeAcquireDoesntStarve: small requests come and go all the time.
TEST_CASE("go_68_a_large_semaphore_request_is_served") {
    on_cores([](std::size_t core) -> task<> {
        constexpr int n = 4;
        ringo::semaphore s(n);
        std::atomic<bool> running = true;
        wait_group small;
        for (int i = 0; i < n; ++i) {
            small.go(ringo::on(i % 2 == 0 ? 0 : core), [&]() -> task<> {
                while (running) {
                    const auto p = co_await s.acquire();
                    co_await yield();
                }
            });
        }
        co_await test::parked(core);
        for (int i = 0; i < 50; ++i) {
            const auto all = co_await s.acquire(n);
            CHECK(all);
            CHECK_FALSE(s.try_acquire());
        }
        running = false;
        co_await small.wait();
    });
}

// semaphore.TestAllocCancelDoesntStarve
TEST_CASE("go_69_a_cancelled_head_unblocks_those_behind_it") {
    on_cores([](std::size_t core) -> task<> {
        for (const bool selects : {false, true}) {
            ringo::semaphore s(10);
            auto one = co_await s.acquire();
            auto head = ringo::spawn(
                ringo::on(core),
                [&s](bool in_select) -> task<> {
                    const ringo::chan<int> never;
                    if (in_select) {
                        co_await ringo::select(s.acquire(10), never.recv());
                    } else {
                        const auto p = co_await s.acquire(10);
                    }
                },
                selects);
            co_await test::parked(core);
            auto behind = ringo::spawn([&s]() -> task<> { const auto p = co_await s.acquire(); });
            co_await test::parked(core);
            CHECK_FALSE(s.try_acquire());
            CHECK_FALSE(behind.done());
            const bool was_cancelled = co_await test::ends_cancelled(head);
            CHECK(was_cancelled);
            co_await behind;
            CHECK(s.try_acquire(9));
        }
    });
}
