#include <doctest/doctest.h>

#include "virtual_run.hpp"

#include <ringo/ringo.hpp>
#include <ringo/test.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using ringo::sleep;
using ringo::spawn;
using ringo::task;
using ringo::yield;

namespace {

ringo::time_point at(ringo::duration since_start) { return ringo::time_point(since_start); }

}  // namespace

TEST_CASE("sleep_never_ends_early") {  // 54
    ringo::run([]() -> task<> {
        std::vector<ringo::join_handle<void>> handles;
        for (int i = 0; i < 200; ++i) {
            handles.push_back(spawn(
                ringo::on(static_cast<std::size_t>(i) % ringo::cores()),
                [](int n) -> task<> {
                    const auto d = std::chrono::nanoseconds(n * 20'011);
                    const auto before = ringo::clock::now();
                    co_await sleep(d);
                    CHECK(ringo::clock::now() - before >= d);
                    const auto until = ringo::clock::now() + d / 2;
                    co_await ringo::sleep_until(until);
                    CHECK(ringo::clock::now() >= until);
                },
                i));
        }
        for (auto& h : handles) {
            co_await h;
        }
    });
}

TEST_CASE("sleep_ends_at_its_time_to_the_nanosecond") {
    test::virtual_run([]() -> task<> {
        for (const auto d : {1ns, 65536ns, 1'000'000ns, 3'600'000'000'001ns}) {
            const auto before = test::now();
            co_await sleep(d);
            CHECK(test::now() == before + d);
        }
        co_await ringo::sleep_until(at(10h));
        CHECK(test::now() == 10h);
    });
}

TEST_CASE("sleepers_wake_in_the_order_of_their_deadlines") {  // 56
    test::virtual_run([]() -> task<> {
        std::vector<int> order;
        std::vector<ringo::join_handle<void>> handles;
        for (const int n : {5, 1, 4, 3, 9, 2, 8, 7, 6, 0}) {
            handles.push_back(spawn([&order, n]() -> task<> {
                co_await sleep(n * 1ms + 1ns);
                order.push_back(n);
            }));
        }
        for (auto& h : handles) {
            co_await h;
        }
        CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    });
}

TEST_CASE("a_sleep_without_length_takes_no_time_but_lets_others_run") {  // 58
    test::virtual_run([]() -> task<> {
        for (const auto d : {ringo::duration(0), ringo::duration(-1), ringo::duration(-1h),
                             ringo::duration::min()}) {
            bool other_ran = false;
            ringo::go([&other_ran]() -> task<> {
                other_ran = true;
                co_return;
            });
            co_await sleep(d);
            CHECK(test::now() == 0ns);
            CHECK(other_ran);
        }
        co_await ringo::sleep_until(ringo::time_point::min());
        co_await sleep(1h);
        co_await ringo::sleep_until(at(1min));
        CHECK(test::now() == 1h);
    });
}

TEST_CASE("a_huge_sleep_is_for_ever") {  // 58
    test::virtual_run([]() -> task<> {
        auto longest = spawn([]() -> task<> { co_await sleep(ringo::duration::max()); });
        auto until_the_end =
            spawn([]() -> task<> { co_await ringo::sleep_until(ringo::time_point::max()); });
        auto centuries = spawn([]() -> task<> { co_await sleep(24h * 365 * 290); });
        co_await sleep(24h * 365 * 280);
        CHECK_FALSE(longest.done());
        CHECK_FALSE(until_the_end.done());
        CHECK_FALSE(centuries.done());
        longest.cancel();
        until_the_end.cancel();
        co_await centuries;
    });
}

TEST_CASE("nothing_but_sleeps_for_ever_is_a_deadlock_on_virtual_time") {
    CHECK_THROWS_WITH_AS(
        test::virtual_run([]() -> task<> { co_await sleep(ringo::duration::max()); }),
        "all goroutines are asleep - deadlock! 1 goroutine: sleep", ringo::test::deadlock);
}

TEST_CASE("a_cancelled_sleep_leaves_the_timers_at_once") {
    test::virtual_run([]() -> task<> {
        auto& timers = ringo::detail::shard::here().timers;
        std::vector<ringo::join_handle<void>> handles;
        for (int i = 0; i < 1000; ++i) {
            handles.push_back(spawn([i]() -> task<> { co_await sleep(i * 1ms + 1h); }));
        }
        co_await yield();
        CHECK(timers.count() == 1000);
        for (auto& h : handles) {
            h.cancel();
        }
        CHECK(timers.count() == 0);
        for (auto& h : handles) {
            const auto joins = [](ringo::join_handle<void>& j) -> task<> { co_await j; };
            const auto r = co_await ringo::as_result(joins(h));
            CHECK(r.error() == std::errc::operation_canceled);
        }
        CHECK(test::now() == 0ns);
    });
}

TEST_CASE("a_sleep_that_ends_when_it_is_cancelled_does_one_of_both") {
    // The timeout and the sleep are due at the same time.
    test::virtual_run([]() -> task<> {
        for (int i = 1; i <= 100; ++i) {
            const auto d = i * 1ms;
            const auto r = co_await ringo::as_result(ringo::timeout(d, sleep(d)));
            CHECK((r.has_value() || r.error() == std::errc::timed_out));
        }
        CHECK(ringo::detail::shard::here().timers.empty());
    });
}

TEST_CASE("a_hundred_thousand_sleepers_on_one_core") {
    test::virtual_run([]() -> task<> {
        int ended = 0;
        for (int i = 0; i < 100'000; ++i) {
            ringo::go(
                [&ended](int n) -> task<> {
                    co_await sleep((n * 7919 % 100'003) * 1us);
                    ++ended;
                },
                i);
        }
        co_await sleep(1s);
        CHECK(ended == 100'000);
    });
}

TEST_CASE("a_core_that_only_yields_still_expires_timers") {  // 65
    ringo::run(
        []() -> task<> {
            bool slept = false;
            auto h = spawn([&slept]() -> task<> {
                co_await sleep(1ms);
                slept = true;
            });
            while (!slept) {
                co_await yield();
            }
            co_await h;
        },
        {.cores = 1});
}
