// test::run_virtual: virtual time, an order that a seed decides, and deadlocks that are reported.
#include <doctest/doctest.h>

#include "misuse.hpp"

#include <ringo/ringo.hpp>
#include <ringo/test.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::task;
using ringo::test::deadlock;
using ringo::test::run_virtual;
using ringo::test::time_begin;

namespace {

/// What a run with many goroutines that wait, spin and join does, in order.
std::string trace_of(std::uint64_t seed) {
    std::string trace;
    run_virtual(
        [&trace]() -> task<> {
            std::vector<ringo::join_handle<void>> all;
            for (int i = 0; i < 8; ++i) {
                all.push_back(ringo::spawn([&trace, i]() -> task<> {
                    for (int step = 0; step < 4; ++step) {
                        trace += static_cast<char>('a' + i);
                        if (step % 2 == 0) {
                            co_await ringo::yield();
                        } else {
                            co_await ringo::sleep(std::chrono::seconds(step * (i % 3)));
                        }
                    }
                }));
            }
            for (auto& h : all) {
                co_await h;
            }
        },
        {.seed = seed});
    return trace;
}

/// Waits for ever.
task<> never() {
    const auto scope = ringo::with_cancel(ringo::context::background());
    co_await scope.ctx().done();
}

/// The text of the deadlock that `f` ends in.
template <class F>
std::string deadlock_of(F f) {
    try {
        run_virtual(f);
    } catch (const deadlock& e) {
        return e.what();
    }
    return "none";
}

struct says {
    explicit says(bool& b) : out(&b) {}
    says(const says&) = delete;
    says& operator=(const says&) = delete;
    ~says() { *out = true; }
    bool* out;
};

}  // namespace

// --- order ---

TEST_CASE("the_same_seed_gives_the_same_run") {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        CHECK(trace_of(seed) == trace_of(seed));
    }
}

TEST_CASE("other_seeds_give_other_orders") {
    std::set<std::string> traces;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        traces.insert(trace_of(seed));
    }
    CHECK(traces.size() == 50);
}

TEST_CASE("each_pick_is_uniform_among_all_that_are_ready") {
    constexpr int runs = 6000;
    int counts[6] = {};
    for (std::uint64_t seed = 0; seed < runs; ++seed) {
        std::string order;
        run_virtual(
            [&order]() -> task<> {
                for (const char c : {'a', 'b', 'c'}) {
                    ringo::go([&order, c]() -> task<> {
                        order += c;
                        co_return;
                    });
                }
                co_await ringo::sleep(1s);
            },
            {.seed = seed});
        const char* const orders[] = {"abc", "acb", "bac", "bca", "cab", "cba"};
        for (int i = 0; i < 6; ++i) {
            counts[i] += order == orders[i] ? 1 : 0;
        }
    }
    for (const int n : counts) {
        CHECK(n > runs / 6 - 150);  // five standard deviations
        CHECK(n < runs / 6 + 150);
    }
}

TEST_CASE("seeds_find_a_bug_that_needs_an_order") {
    // The reader relies on the writer, which was started first.
    const auto buggy = []() -> task<bool> {
        std::optional<int> value;
        bool seen = false;
        ringo::go([&value]() -> task<> {
            value = 1;
            co_return;
        });
        ringo::go([&value, &seen]() -> task<> {
            seen = value.has_value();
            co_return;
        });
        co_await ringo::sleep(1s);
        co_return seen;
    };
    int found = 0;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        found += run_virtual(buggy, {.seed = seed}) ? 0 : 1;
    }
    CHECK(found > 20);
    CHECK(found < 80);
}

TEST_CASE("the_choice_of_select_follows_the_seed") {
    const auto chosen = [](std::uint64_t seed) {
        return run_virtual(
            []() -> task<std::string> {
                std::string indices;
                for (int i = 0; i < 20; ++i) {
                    ringo::chan<int> a(1);
                    ringo::chan<int> b(1);
                    a.try_send(1);
                    b.try_send(2);
                    const auto r = co_await ringo::select(a.recv(), b.recv(), ringo::sleep(0s));
                    indices += static_cast<char>('0' + r.index());
                }
                co_return indices;
            },
            {.seed = seed});
    };
    std::set<std::string> different;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const std::string s = chosen(seed);
        CHECK(s == chosen(seed));
        different.insert(s);
    }
    CHECK(different.size() == 20);
}

TEST_CASE("nobody_who_is_ready_is_forgotten") {
    constexpr int count = 10'000;
    int ended = 0;
    run_virtual([&ended]() -> task<> {
        for (int i = 0; i < count; ++i) {
            ringo::go([&ended]() -> task<> {
                for (int step = 0; step < 10; ++step) {
                    co_await ringo::yield();
                }
                ++ended;
            });
        }
        co_await ringo::sleep(1ns);
    });
    CHECK(ended == count);
}

// --- time ---

TEST_CASE("time_jumps_to_the_next_timer") {
    run_virtual([]() -> task<> {
        CHECK(ringo::now() == time_begin);
        co_await ringo::sleep(1000h);
        CHECK(ringo::now() == time_begin + 1000h);
        co_await ringo::sleep_until(time_begin + 1001h);
        CHECK(ringo::now() == time_begin + 1001h);
        co_await ringo::sleep(1ns);
        CHECK(ringo::now() == time_begin + 1001h + 1ns);
    });
}

TEST_CASE("time_stands_still_while_a_goroutine_can_run") {
    run_virtual([]() -> task<> {
        auto sleeper = ringo::spawn([]() -> task<> { co_await ringo::sleep(1ns); });
        for (int i = 0; i < 100'000; ++i) {
            co_await ringo::yield();
        }
        CHECK(ringo::now() == time_begin);
        CHECK_FALSE(sleeper.done());
        co_await sleeper;
        CHECK(ringo::now() == time_begin + 1ns);
    });
}

TEST_CASE("deadlines_and_timeouts_go_by_virtual_time") {
    run_virtual([]() -> task<> {
        const auto late = co_await ringo::as_result(ringo::timeout(5h, never()));
        CHECK(late.error() == std::errc::timed_out);
        CHECK(ringo::now() == time_begin + 5h);
        const auto scope = ringo::with_deadline(ringo::this_context(), time_begin + 7h);
        CHECK(scope.ctx().deadline() == time_begin + 7h);
        co_await scope.ctx().done();
        CHECK(ringo::now() == time_begin + 7h);
        const auto past = ringo::with_deadline(ringo::this_context(), time_begin);
        CHECK(past.ctx().error() == std::errc::timed_out);
    });
}

TEST_CASE("outside_a_run_now_is_steady_clock") {
    const auto before = ringo::clock::now();
    const auto now = ringo::now();
    CHECK(before <= now);
    CHECK(now <= ringo::clock::now());
}

// --- the main task ---

TEST_CASE("it_returns_what_the_main_task_returns") {
    CHECK(run_virtual([]() -> task<int> { co_return 7; }) == 7);
    auto owned = run_virtual([]() -> task<std::unique_ptr<int>> {
        co_await ringo::sleep(1h);
        co_return std::make_unique<int>(8);
    });
    CHECK(*owned == 8);
    static int global = 9;
    int& reference = run_virtual([]() -> task<int&> { co_return global; });
    CHECK(&reference == &global);
    static_assert(std::is_void_v<decltype(run_virtual(never()))>);
    const auto sleep = []() -> task<int> {
        co_await ringo::sleep(1h);
        co_return 10;
    };
    CHECK(run_virtual(sleep(), {.seed = 5}) == 10);
}

TEST_CASE("what_leaves_the_main_task_is_rethrown") {
    CHECK_THROWS_WITH_AS(run_virtual([]() -> task<int> {
                             co_await ringo::sleep(1h);
                             throw std::logic_error("expected");
                         }),
                         "expected", std::logic_error);
}

TEST_CASE("when_the_main_task_ends_the_others_are_cancelled") {
    bool destroyed = false;
    run_virtual([&destroyed]() -> task<> {
        ringo::go([&destroyed]() -> task<> {
            const says s(destroyed);
            co_await never();
        });
        co_await ringo::yield();
        co_await ringo::sleep(1s);
    });
    CHECK(destroyed);
}

TEST_CASE("who_ignores_its_cancellation_is_destroyed_after_the_grace") {
    bool waited = false;
    bool spun = false;
    // The spinner lets no time pass before the end, so the main task must end without it.
    const test::child_end end = test::in_child([&] {
        run_virtual(
            [&]() -> task<> {
                ringo::go([&waited]() -> task<> {
                    const says s(waited);
                    co_await ringo::shield(never());
                });
                ringo::go([&spun]() -> task<> {
                    const says s(spun);
                    const auto spin = []() -> task<> {
                        while (true) {
                            co_await ringo::yield();
                        }
                    };
                    co_await ringo::shield(spin());
                });
                for (int i = 0; i < 100; ++i) {
                    co_await ringo::yield();
                }
            },
            {.shutdown_grace = 10ms});
        if (!waited || !spun) {
            throw std::logic_error("not destroyed");
        }
    });
    CHECK(end.status == 0);
    CHECK(end.output ==
          "ringo: 2 goroutines did not end within 10 ms of the end of the run; "
          "destroyed\n");
}

TEST_CASE("a_run_inside_a_goroutine_is_a_panic") {
    test::expect_panic("run_virtual: called inside a goroutine", [] {
        run_virtual([]() -> task<> {
            run_virtual([]() -> task<> { co_return; });
            co_return;
        });
    });
    test::expect_panic("run: called inside a goroutine", [] {
        run_virtual([]() -> task<> {
            ringo::run([]() -> task<> { co_return; }, {.cores = 1});
            co_return;
        });
    });
}

TEST_CASE("unusable_options_are_refused_by_name") {
    const auto nothing = []() -> task<> { co_return; };
    CHECK_THROWS_WITH_AS(run_virtual(nothing, {.shutdown_grace = -1ms}),
                         doctest::Contains("shutdown_grace"), std::system_error);
    CHECK_THROWS_WITH_AS(run_virtual(nothing, {.outside_wait = -1ms}),
                         doctest::Contains("outside_wait"), std::system_error);
}

TEST_CASE("several_threads_run_at_once") {
    std::vector<std::string> traces(4);
    std::vector<std::thread> threads;
    for (auto& t : traces) {
        threads.emplace_back([&t] { t = trace_of(3); });
    }
    for (auto& t : threads) {
        t.join();
    }
    for (const auto& t : traces) {
        CHECK(t == trace_of(3));
    }
}

// --- deadlocks ---

TEST_CASE("a_deadlock_is_thrown_with_what_everyone_waits_in") {
    CHECK(deadlock_of([]() -> task<> { co_await never(); }) ==
          "all goroutines are asleep - deadlock! 1 goroutine: context done");
    CHECK(deadlock_of([]() -> task<int> {
              auto a = ringo::spawn(never);
              ringo::go(never);
              co_await ringo::sleep(1000h);
              co_await a;
              co_return 1;
          }) == "all goroutines are asleep - deadlock! 3 goroutines: context done (2), join");
    CHECK(deadlock_of([]() -> task<> {
              ringo::chan<int> a;
              ringo::chan<int> b;
              ringo::go([a, b]() -> task<> {
                  co_await a.recv();
                  co_await b.send(1);
              });
              co_await b.recv();
              co_await a.send(1);
          }) == "all goroutines are asleep - deadlock! 2 goroutines: chan receive (2)");
}

TEST_CASE("after_a_deadlock_everyone_has_unwound") {
    bool main_destroyed = false;
    bool other_destroyed = false;
    bool was_cancelled = false;
    CHECK_THROWS_AS(run_virtual([&]() -> task<std::string> {
                        const says s(main_destroyed);
                        ringo::go([&]() -> task<> {
                            const says t(other_destroyed);
                            try {
                                co_await never();
                            } catch (const ringo::cancelled&) {
                                was_cancelled = true;
                                throw;
                            }
                        });
                        co_await never();
                        co_return "never";
                    }),
                    deadlock);
    CHECK(main_destroyed);
    CHECK(other_destroyed);
    CHECK(was_cancelled);
}

TEST_CASE("a_main_task_that_ignores_the_deadlock_is_destroyed") {
    const test::child_end end = test::in_child([] {
        bool destroyed = false;
        try {
            run_virtual(
                [&destroyed]() -> task<std::string> {
                    const says s(destroyed);
                    co_await ringo::shield(never());
                    co_return "a value that never comes, and is too long for the string itself";
                },
                {.shutdown_grace = 1h});
        } catch (const deadlock&) {
            if (!destroyed) {
                throw;
            }
            return;
        }
        throw std::logic_error("no deadlock");
    });
    CHECK(end.status == 0);
    CHECK(end.output.find("1 goroutine did not end") != std::string::npos);
}

TEST_CASE("a_main_task_that_swallows_its_cancellation_is_still_a_deadlock") {
    CHECK_THROWS_AS(run_virtual([]() -> task<int> {
                        try {
                            co_await never();
                        } catch (const ringo::cancelled&) {
                        }
                        co_return 1;
                    }),
                    deadlock);
}

TEST_CASE("after_a_deadlock_the_next_run_works") {
    CHECK_THROWS_AS(run_virtual(never()), deadlock);
    CHECK(run_virtual([]() -> task<int> { co_return 1; }) == 1);
}

// --- no kernel ---

TEST_CASE("kernel_operations_fail_with_their_name") {
    run_virtual([]() -> task<> {
        std::string text;
        try {
            co_await ringo::net::dial("127.0.0.1:1");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::function_not_supported);
            text = e.what();
        }
        CHECK(text == "dial 127.0.0.1:1: Function not implemented");
        auto l = ringo::net::listen("127.0.0.1:0");
        text.clear();
        try {
            co_await l.accept();
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::function_not_supported);
            text = e.what();
        }
        CHECK(text.find("accept 127.0.0.1:") == 0);
    });
}

// --- threads outside ---

TEST_CASE("blocking_is_really_waited_for_while_time_stands_still") {
    const auto pause = [] { std::this_thread::sleep_for(20ms); };
    run_virtual([&pause]() -> task<> {
        auto sleeper = ringo::spawn([]() -> task<> { co_await ringo::sleep(1ns); });
        co_await ringo::blocking(pause);
        CHECK(ringo::now() == time_begin);
        co_await ringo::timeout(1ns, ringo::blocking(pause));
        CHECK(ringo::now() == time_begin);
        co_await sleeper;
    });
}

TEST_CASE("with_one_thread_outside_at_a_time_the_run_is_the_same") {
    const auto trace = [](std::chrono::milliseconds real) {
        std::string order;
        run_virtual([&order, real]() -> task<> {
            ringo::go([&order]() -> task<> {
                for (int i = 0; i < 2000; ++i) {
                    order += 'y';
                    co_await ringo::yield();
                }
                co_await ringo::sleep(1s);
                order += 's';
            });
            const auto pause = [real] { std::this_thread::sleep_for(real); };
            co_await ringo::blocking(pause);
            order += 'b';
            co_await ringo::sleep(2s);
        });
        return order;
    };
    CHECK(trace(0ms) == trace(20ms));
}

TEST_CASE("a_function_that_waits_for_virtual_time_gets_it_after_the_wait") {
    std::atomic<bool> go_on{false};
    const auto wait = [&go_on] { go_on.wait(false); };
    run_virtual(
        [&]() -> task<> {
            auto h = ringo::spawn([&]() -> task<> { co_await ringo::blocking(wait); });
            co_await ringo::sleep(1h);
            go_on.store(true);
            go_on.notify_all();
            co_await h;
            CHECK(ringo::now() == time_begin + 1h);
        },
        {.outside_wait = 100ms});
}

TEST_CASE("the_end_waits_for_functions_that_run") {
    // Its goroutine is beyond the grace, and destroyed only when the function has returned.
    std::atomic<bool> taken_up{false};
    std::atomic<bool> returned{false};
    const auto slow = [&taken_up, &returned] {
        taken_up.store(true);
        std::this_thread::sleep_for(50ms);
        returned.store(true);
    };
    run_virtual(
        [&]() -> task<> {
            ringo::go([&]() -> task<> { co_await ringo::blocking(slow); });
            while (!taken_up.load()) {
                co_await ringo::yield();
            }
        },
        {.shutdown_grace = 1ms, .outside_wait = 1ms});
    CHECK(returned.load());
}

TEST_CASE("a_callback_from_outside_is_waited_for_when_nothing_else_is_left") {
    std::thread caller;
    const int n = run_virtual([&caller]() -> task<int> {
        co_await ringo::sleep(1h);
        auto op = ringo::from_callback<int>([&caller](ringo::completion<int> done) {
            caller = std::thread([done] {
                std::this_thread::sleep_for(20ms);
                done(5);
            });
        });
        co_return co_await std::move(op);
    });
    caller.join();
    CHECK(n == 5);
}

TEST_CASE("a_callback_from_inside_costs_no_real_time") {
    run_virtual([]() -> task<> {
        auto op = ringo::from_callback<int>([](ringo::completion<int> done) {
            ringo::go(
                [](ringo::completion<int> d) -> task<> {
                    co_await ringo::sleep(1000h);
                    d(6);
                },
                std::move(done));
        });
        const int n = co_await std::move(op);
        CHECK(n == 6);
        CHECK(ringo::now() == time_begin + 1000h);
    });
}

TEST_CASE("a_callback_that_never_comes_is_a_deadlock_and_may_time_out") {
    std::optional<ringo::completion<int>> kept;
    const auto keep = [&kept](ringo::completion<int> done) { kept.emplace(std::move(done)); };
    bool timed_out = false;
    std::string text;
    try {
        run_virtual(
            [&]() -> task<> {
                auto op = ringo::from_callback<int>(keep);
                const auto r = co_await ringo::as_result(ringo::timeout(1h, std::move(op)));
                timed_out = r.error() == std::errc::timed_out;
                auto again = ringo::from_callback<int>(keep);
                co_await std::move(again);
            },
            {.outside_wait = 10ms});
    } catch (const deadlock& e) {
        text = e.what();
    }
    CHECK(timed_out);
    CHECK(text == "all goroutines are asleep - deadlock! 1 goroutine: callback");
}

TEST_CASE("a_callback_whose_start_throws_is_not_waited_for") {
    CHECK_THROWS_AS(run_virtual([]() -> task<> {
                        auto op = ringo::from_callback<int>([](const ringo::completion<int>&) {
                            throw std::runtime_error("no start");
                        });
                        bool thrown = false;
                        try {
                            co_await std::move(op);
                        } catch (const std::runtime_error&) {
                            thrown = true;
                        }
                        CHECK(thrown);
                        co_await never();
                    }),
                    deadlock);
}
