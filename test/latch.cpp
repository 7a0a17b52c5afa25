#include <doctest/doctest.h>

#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using ringo::go;
using ringo::latch;
using ringo::select;
using ringo::spawn;
using ringo::task;

namespace {

latch global(2);  // made before there is a core

task<> waits(latch& l, std::atomic<int>& released) {
    co_await l.wait();
    ++released;
}
task<> arrives(latch& l, std::atomic<int>& released) {
    co_await l.arrive_and_wait();
    ++released;
}

}  // namespace

TEST_CASE("a_latch_of_zero_is_open") {
    ringo::run([]() -> task<> {
        latch l(0);
        CHECK(l.try_wait());
        l.count_down(0);
        co_await l.wait();
    });
}

TEST_CASE("counting_down_opens_it_for_good") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                const std::size_t other = ringo::cores() - 1;
                latch l(5);
                std::atomic<int> released = 0;
                for (std::size_t i = 0; i < 4; ++i) {
                    go(ringo::on(i % 2 == 0 ? 0 : other), waits, std::ref(l), std::ref(released));
                }
                co_await test::parked(other);
                l.count_down();
                l.count_down(3);
                CHECK_FALSE(l.try_wait());
                co_await test::parked(other);
                CHECK(released == 0);
                l.count_down();
                CHECK(l.try_wait());
                co_await test::until([&] { return released == 4; });
                co_await l.wait();
            },
            {.cores = cores});
    }
}

TEST_CASE("arrivals_wait_for_each_other") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                for (int round = 0; round < 100; ++round) {
                    latch l(4);
                    std::atomic<int> released = 0;
                    auto w = spawn(waits, std::ref(l), std::ref(released));
                    std::vector<ringo::join_handle<void>> arrivals;
                    for (std::size_t i = 0; i < 3; ++i) {
                        arrivals.push_back(spawn(ringo::on(i % ringo::cores()), arrives,
                                                 std::ref(l), std::ref(released)));
                    }
                    co_await test::parked(ringo::cores() - 1);
                    CHECK(released == 0);
                    co_await l.arrive_and_wait();
                    CHECK(l.try_wait());
                    for (auto& a : arrivals) {
                        co_await a;
                    }
                    co_await w;
                }
            },
            {.cores = cores});
    }
}

TEST_CASE("a_cancelled_arrival_is_taken_back") {
    ringo::run(
        []() -> task<> {
            for (std::size_t core = 0; core < 2; ++core) {
                latch l(2);
                std::atomic<int> released = 0;
                auto first = spawn(ringo::on(core), arrives, std::ref(l), std::ref(released));
                co_await test::parked(core);
                const bool was_cancelled = co_await test::ends_cancelled(first);
                CHECK(was_cancelled);
                l.count_down();
                CHECK_FALSE(l.try_wait());
                auto w = spawn(ringo::on(core), waits, std::ref(l), std::ref(released));
                co_await l.arrive_and_wait();
                co_await w;
                CHECK(released == 1);
            }
        },
        {.cores = 2});
}

TEST_CASE("an_arrival_in_a_cancelled_goroutine_does_not_count") {
    ringo::run([]() -> task<> {
        latch l(1);
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        const auto r = co_await ringo::as_result(ringo::within(scope.ctx(), l.arrive_and_wait()));
        CHECK(r.error() == std::errc::operation_canceled);
        CHECK_FALSE(l.try_wait());
    });
}

TEST_CASE("a_latchs_waits_have_deadlines_and_select") {
    test::virtual_run([]() -> task<> {
        latch l(2);
        auto s = co_await select(l.wait(), ringo::sleep(1s));
        CHECK(s.index() == 1);
        for (int i = 0; i < 2; ++i) {
            bool late = false;
            try {
                co_await ringo::timeout(1s, l.arrive_and_wait());
            } catch (const ringo::deadline_exceeded&) {
                late = true;
            }
            CHECK(late);
        }
        CHECK_FALSE(l.try_wait());
        go([&l]() -> task<> {
            co_await ringo::sleep(1s);
            l.count_down(2);
        });
        s = co_await select(l.wait(), ringo::sleep(1h));
        CHECK(s.index() == 0);
        CHECK(test::now() == 4s);
    });
}

TEST_CASE("counting_down_below_zero_is_a_panic") {
    test::expect_panic("latch: counted down below zero", [] { latch(1).count_down(2); });
    test::expect_panic("latch: counted down below zero", [] {
        ringo::run([]() -> task<> {
            latch l(0);
            co_await l.arrive_and_wait();
        });
    });
    test::expect_panic("latch: count_down of a negative number", [] { latch(1).count_down(-1); });
    test::expect_panic("latch: a negative count", [] { const latch l(-1); });
}

TEST_CASE("a_global_latch_is_counted_down_by_threads_in_one_run_and_open_in_the_next") {
    for (int round = 0; round < 2; ++round) {
        ringo::run(
            [round]() -> task<> {
                std::atomic<int> released = 0;
                auto here = spawn(waits, std::ref(global), std::ref(released));
                auto there = spawn(ringo::on(1), waits, std::ref(global), std::ref(released));
                if (round == 0) {
                    std::thread([] { global.count_down(); }).join();
                    std::thread([] { global.count_down(); }).join();
                }
                co_await here;
                co_await there;
            },
            {.cores = 2});
    }
}

TEST_CASE("who_waited_may_destroy_the_latch_at_once") {
    ringo::run(
        []() -> task<> {
            for (int i = 0; i < 500; ++i) {
                auto l = std::make_unique<latch>(1);
                go(ringo::on(1), [&shared = *l]() -> task<> {
                    shared.count_down();
                    co_return;
                });
                co_await l->wait();
                l.reset();
            }
        },
        {.cores = 2});
}

TEST_CASE("a_destroyed_latch_leaves_its_waiters_until_they_are_cancelled") {
    ringo::run(
        []() -> task<> {
            auto l = std::make_unique<latch>(3);
            std::atomic<int> released = 0;
            std::vector<ringo::join_handle<void>> waiters;
            for (std::size_t core = 0; core < 2; ++core) {
                waiters.push_back(spawn(ringo::on(core), waits, std::ref(*l), std::ref(released)));
                waiters.push_back(
                    spawn(ringo::on(core), arrives, std::ref(*l), std::ref(released)));
                co_await test::parked(core);
            }
            l.reset();
            for (auto& w : waiters) {
                const bool was_cancelled = co_await test::ends_cancelled(w);
                CHECK(was_cancelled);
            }
            CHECK(released == 0);
        },
        {.cores = 2});
}
