#include <doctest/doctest.h>

#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using ringo::barrier;
using ringo::go;
using ringo::spawn;
using ringo::task;
using ringo::wait_group;

namespace {

barrier global(2);  // made before there is a core

task<> arrives(barrier& b, std::atomic<int>& released) {
    co_await b.arrive_and_wait();
    ++released;
}

}  // namespace

TEST_CASE("a_barrier_of_one_never_waits") {
    ringo::run([]() -> task<> {
        int phases = 0;
        barrier b(1, [&phases] { ++phases; });
        for (int i = 0; i < 10; ++i) {
            co_await b.arrive_and_wait();
        }
        CHECK(phases == 10);
    });
}

TEST_CASE("nobody_goes_on_before_all_have_arrived_phase_by_phase") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                constexpr int n = 4;
                constexpr int phases = 200;
                std::atomic<int> arrived = 0;
                int completed = 0;  // guarded by the barrier
                barrier b(n, [&] {
                    ++completed;
                    CHECK(arrived == n * completed);
                });
                wait_group group;
                for (std::size_t i = 0; i < n; ++i) {
                    group.go(ringo::on(i % ringo::cores()), [&]() -> task<> {
                        for (int phase = 1; phase <= phases; ++phase) {
                            ++arrived;
                            co_await b.arrive_and_wait();
                            if (arrived < n * phase || completed < phase) {
                                CHECK_MESSAGE(false, "released early");
                            }
                        }
                    });
                }
                co_await group.wait();
                CHECK(completed == phases);
                CHECK(arrived == n * phases);
            },
            {.cores = cores});
    }
}

TEST_CASE("on_completion_runs_in_the_last_one_before_the_others_go_on") {
    ringo::run([]() -> task<> {
        std::string trace;
        barrier b(3, [&trace] { trace += '!'; });
        const auto walker = [&](char c) -> task<> {
            for (int i = 0; i < 2; ++i) {
                trace += c;
                co_await b.arrive_and_wait();
            }
        };
        wait_group group;
        for (const char c : {'a', 'b', 'c'}) {
            group.go(walker, c);
        }
        co_await group.wait();
        CHECK(trace == "abc!cab!");
    });
}

TEST_CASE("on_completion_may_use_channels_and_be_move_only") {
    ringo::run([]() -> task<> {
        ringo::chan<int> phases(10);
        barrier b(1, [phases, n = std::make_unique<int>(0)] { phases.try_send(++*n); });
        co_await b.arrive_and_wait();
        co_await b.arrive_and_wait();
        CHECK(phases.len() == 2);
    });
}

TEST_CASE("what_on_completion_throws_leaves_the_last_one_and_the_others_go_on") {
    for (const std::size_t core : {0U, 1U}) {
        ringo::run(
            [core]() -> task<> {
                bool fails = true;
                barrier b(2, [&fails] {
                    if (fails) {
                        throw std::runtime_error("no good");
                    }
                });
                std::atomic<int> released = 0;
                auto other = spawn(ringo::on(core), arrives, std::ref(b), std::ref(released));
                co_await test::parked(core);
                std::string caught;
                try {
                    co_await b.arrive_and_wait();
                } catch (const std::runtime_error& e) {
                    caught = e.what();
                }
                CHECK(caught == "no good");
                co_await other;
                fails = false;
                auto next = spawn(ringo::on(core), arrives, std::ref(b), std::ref(released));
                co_await b.arrive_and_wait();
                co_await next;
                CHECK(released == 2);
            },
            {.cores = 2});
    }
}

TEST_CASE("a_cancelled_arrival_at_a_barrier_is_taken_back") {
    ringo::run(
        []() -> task<> {
            for (std::size_t core = 0; core < 2; ++core) {
                int phases = 0;
                barrier b(3, [&phases] { ++phases; });
                std::atomic<int> released = 0;
                auto stays = spawn(ringo::on(core), arrives, std::ref(b), std::ref(released));
                auto goes = spawn(ringo::on(core), arrives, std::ref(b), std::ref(released));
                co_await test::parked(core);
                const bool was_cancelled = co_await test::ends_cancelled(goes);
                CHECK(was_cancelled);
                auto again = spawn(ringo::on(core), arrives, std::ref(b), std::ref(released));
                co_await test::parked(core);
                CHECK(released == 0);
                CHECK(phases == 0);
                co_await b.arrive_and_wait();
                co_await stays;
                co_await again;
                CHECK(phases == 1);
            }
        },
        {.cores = 2});
}

TEST_CASE("a_cancelled_arrival_whose_phase_has_ended_goes_on") {
    ringo::run([]() -> task<> {
        barrier b(2);
        std::atomic<int> released = 0;
        auto other = spawn(arrives, std::ref(b), std::ref(released));
        co_await test::parked();
        co_await b.arrive_and_wait();
        other.cancel();  // it has been let go, but has not run since
        co_await other;
        CHECK(released == 1);
    });
}

TEST_CASE("a_race_of_cancellation_and_the_last_arrival_loses_no_arrival") {
    ringo::run(
        []() -> task<> {
            for (int i = 0; i < 500; ++i) {
                std::atomic<int> phases = 0;
                barrier b(2, [&phases] { ++phases; });
                std::atomic<int> released = 0;
                auto other = spawn(ringo::on(1), arrives, std::ref(b), std::ref(released));
                auto mine = spawn(arrives, std::ref(b), std::ref(released));
                const bool was_cancelled = co_await test::ends_cancelled(other);
                if (was_cancelled) {
                    co_await test::parked();
                    CHECK(phases == 0);
                    co_await b.arrive_and_wait();
                }
                co_await mine;
                CHECK(phases == 1);
            }
        },
        {.cores = 2});
}

TEST_CASE("an_arrival_has_a_deadline") {
    test::virtual_run([]() -> task<> {
        barrier b(2);
        for (int i = 0; i < 3; ++i) {
            bool late = false;
            try {
                co_await ringo::timeout(1s, b.arrive_and_wait());
            } catch (const ringo::deadline_exceeded&) {
                late = true;
            }
            CHECK(late);
        }
        CHECK(test::now() == 3s);
    });
}

TEST_CASE("a_global_barrier_works_in_one_run_after_another") {
    for (int round = 0; round < 3; ++round) {
        ringo::run(
            []() -> task<> {
                std::atomic<int> released = 0;
                auto there = spawn(ringo::on(1), arrives, std::ref(global), std::ref(released));
                co_await global.arrive_and_wait();
                co_await there;
            },
            {.cores = 2});
    }
}

TEST_CASE("a_barrier_for_nobody_is_a_panic") {
    test::expect_panic("barrier: for less than one goroutine", [] { const barrier b(0); });
    test::expect_panic("barrier: for less than one goroutine", [] { const barrier b(-1, [] {}); });
}

TEST_CASE("a_destroyed_barrier_leaves_its_waiters_until_they_are_cancelled") {
    ringo::run(
        []() -> task<> {
            std::optional<barrier> b(std::in_place, 5);
            std::atomic<int> released = 0;
            std::vector<ringo::join_handle<void>> waiters;
            for (std::size_t core = 0; core < 2; ++core) {
                waiters.push_back(
                    spawn(ringo::on(core), arrives, std::ref(*b), std::ref(released)));
                co_await test::parked(core);
            }
            b.reset();
            for (auto& w : waiters) {
                const bool was_cancelled = co_await test::ends_cancelled(w);
                CHECK(was_cancelled);
            }
            CHECK(released == 0);
        },
        {.cores = 2});
}
