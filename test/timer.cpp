#include <doctest/doctest.h>

#include "misuse.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>
#include <ringo/test.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::after;
using ringo::after_func;
using ringo::duration;
using ringo::now;
using ringo::otherwise;
using ringo::select;
using ringo::sleep;
using ringo::spawn;
using ringo::task;
using ringo::ticker;
using ringo::time_point;
using ringo::timer;
using ringo::yield;

namespace {

using ringo::test::run_virtual;

std::size_t armed() { return ringo::detail::shard::here().timers.count(); }

template <class F>
void on_cores(F body) {
    for (const unsigned cores : {1U, 2U, 4U}) {
        CAPTURE(cores);
        ringo::run(body, {.cores = cores, .pin = false});
    }
}
ringo::place last() { return ringo::on(ringo::cores() - 1); }

task<> waits(timer& t, int& ticks) {
    co_await t;
    ++ticks;
}

}  // namespace

TEST_CASE("a_timer_gives_the_time_at_which_it_was_due") {
    run_virtual([]() -> task<> {
        const auto begin = now();
        timer t(5ms);
        CHECK(co_await t == begin + 5ms);
        CHECK(now() == begin + 5ms);
        t.reset(1ms);
        co_await sleep(1h);
        CHECK(co_await t == begin + 6ms);  // it waited to be taken
        CHECK(now() == begin + 5ms + 1h);
    });
}

TEST_CASE("a_timer_that_has_ticked_waits_for_its_reset") {
    run_virtual([]() -> task<> {
        timer t(1ms);
        co_await t;
        int ticks = 0;
        auto waiter = spawn(waits, std::ref(t), std::ref(ticks));
        co_await sleep(1h);
        CHECK(ticks == 0);
        t.reset(1ms);
        co_await waiter;
        CHECK(ticks == 1);
    });
}

TEST_CASE("of_several_waiters_the_first_gets_the_tick") {
    test::virtual_run([]() -> task<> {
        timer t(1ms);
        std::vector<int> order;
        std::vector<ringo::join_handle<void>> waiters;
        for (int i = 0; i < 3; ++i) {
            waiters.push_back(spawn([&t, &order, i]() -> task<> {
                co_await t;
                order.push_back(i);
            }));
        }
        co_await sleep(1h);
        CHECK(order == std::vector<int>{0});
        t.reset(1ms);
        co_await sleep(1h);
        CHECK(order == std::vector<int>{0, 1});
        waiters[2].cancel();
        (void)co_await ringo::as_result(waiters[2]);
    });
}

TEST_CASE("a_ticker_ticks_for_all_who_wait_in_turn") {
    test::virtual_run([]() -> task<> {
        ticker every(1ms);
        int ticks = 0;
        for (int i = 0; i < 3; ++i) {
            ringo::go([&]() -> task<> {
                for (int n = 0; n < 10; ++n) {
                    co_await every;
                    ++ticks;
                }
            });
        }
        const auto begin = now();
        co_await sleep(15500us);
        CHECK(ticks == 15);
        co_await sleep(1h);
        CHECK(ticks == 30);
        CHECK(now() == begin + 15500us + 1h);
    });
}

TEST_CASE("select_takes_timers_and_tickers_as_they_are") {
    run_virtual([]() -> task<> {
        const auto begin = now();
        timer slow(5ms);
        ticker fast(2ms);
        ringo::chan<int> nobody;
        for (const auto& [at, which] : {std::pair(2ms, 1U), {4ms, 1U}, {5ms, 2U}, {6ms, 1U}}) {
            const auto r = co_await select(nobody.recv(), fast, slow);
            CHECK(r.index() == which);
            CHECK(now() == begin + at);
            CHECK((which == 1 ? std::get<1>(r) : std::get<2>(r)) == begin + at);
        }
        CHECK((co_await select(timer(1ms), timer(1h))).index() == 0);
        CHECK((co_await select(timer(1h), otherwise)).index() == 1);
        fast.stop();
        slow.stop();
        CHECK(armed() == 0);
    });
}

TEST_CASE("the_same_timer_in_two_arms_ticks_once") {
    run_virtual([]() -> task<> {
        timer t(1ms);
        (void)co_await select(t, t);
        CHECK((co_await select(t, t, otherwise)).index() == 2);
        CHECK_FALSE(t.stop());
    });
}

TEST_CASE("a_tick_that_is_due_is_there_before_the_core_has_looked") {
    // Nothing here waits, so the core has no chance to expire timers.
    ringo::run([]() -> task<> {
        ticker every(1us);
        timer once(1us);
        int ticks = 0;
        for (int left = 3; left > 0;) {
            const auto r = co_await select(every, once, otherwise);
            left -= r.index() == 0 ? 1 : 0;
            ticks += r.index() == 1 ? 1 : 0;
        }
        co_await sleep(1us);
        CHECK(ticks + (once.stop() ? 1 : 0) == 1);
    });
}

TEST_CASE("a_cancelled_wait_leaves_the_tick_to_the_next") {
    test::virtual_run([]() -> task<> {
        timer t(1ms);
        int ticks = 0;
        auto first = spawn(waits, std::ref(t), std::ref(ticks));
        auto second = spawn(waits, std::ref(t), std::ref(ticks));
        co_await yield();
        first.cancel();
        const auto r = co_await ringo::as_result(first);
        CHECK(r.error() == std::errc::operation_canceled);
        co_await second;
        CHECK(ticks == 1);
        const auto late = co_await ringo::as_result(ringo::timeout(1ms, t));
        CHECK(late.error() == std::errc::timed_out);
        t.reset(1ms);
        CHECK(co_await ringo::as_result(t));
    });
}

TEST_CASE("a_tick_and_a_cancellation_at_once_lose_no_tick") {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        CAPTURE(seed);
        run_virtual(
            []() -> task<> {
                timer t(1ms);
                const auto r = co_await ringo::as_result(ringo::timeout(1ms, t));
                co_await sleep(1ms);
                CHECK(r.has_value() != t.stop());
            },
            {.seed = seed});
    }
}

TEST_CASE("a_timer_leaves_nothing_behind") {
    test::virtual_run([]() -> task<> {
        for (int i = 0; i < 100; ++i) {
            timer t(i * 1ms + 1h);
            ticker every(1h);
            const timer moved = std::move(t);
            CHECK(armed() == 2);
        }
        CHECK(armed() == 0);
        co_return;
    });
}

TEST_CASE("a_ticker_that_nobody_takes_from_costs_nothing") {
    test::virtual_run([]() -> task<> {
        ticker every(1ms);
        CHECK(armed() == 1);
        co_await sleep(10ms);
        CHECK(armed() == 0);
        const auto begin = now();
        co_await every;
        CHECK(now() == begin);
        CHECK(armed() == 1);
    });
    const auto idles = []() -> task<> {
        ticker every(1ms);
        co_await select();
    };
    CHECK_THROWS_AS(run_virtual(idles), ringo::test::deadlock);
}

TEST_CASE("who_waits_for_a_timer_that_is_gone_waits_until_it_is_cancelled") {
    test::virtual_run([]() -> task<> {
        auto t = std::make_unique<timer>(1ms);
        int ticks = 0;
        auto waiter = spawn(waits, std::ref(*t), std::ref(ticks));
        auto selects = spawn([&]() -> task<> { (void)co_await select(*t, sleep(1h)); });
        co_await yield();
        t.reset();
        co_await selects;
        waiter.cancel();
        (void)co_await ringo::as_result(waiter);
        CHECK(ticks == 0);
    });
}

TEST_CASE("a_timer_works_between_cores") {
    on_cores([]() -> task<> {
        for (int round = 0; round < 100; ++round) {
            timer t(1h);
            std::atomic<int> ticks{0};
            auto waiter = spawn(last(), [&]() -> task<> {
                co_await t;  // armed where it was made
                ++ticks;
                CHECK_FALSE(t.reset(1us));  // ... and now here
                co_await t;
                ++ticks;
                CHECK_FALSE(t.stop());
                CHECK_FALSE(t.reset(1h));
                CHECK(t.reset(2h));
            });
            if (round % 2 == 0) {
                co_await yield();
            }
            CHECK(t.reset(1us));
            co_await waiter;
            CHECK(ticks == 2);
            CHECK(t.reset(1us));
            co_await t;
            auto again = spawn(last(), [&]() -> task<> {
                t.reset(1h);
                co_return;
            });
            co_await again;
        }
    });
}

TEST_CASE("a_ticker_works_between_cores") {
    on_cores([]() -> task<> {
        ticker every(50us);
        std::atomic<int> ticks{0};
        std::vector<ringo::join_handle<void>> all;
        for (std::size_t i = 0; i < ringo::cores() + 1; ++i) {
            all.push_back(spawn(ringo::on(i % ringo::cores()), [&]() -> task<> {
                time_point before{};
                for (int n = 0; n < 20; ++n) {
                    const time_point tick = co_await every;
                    CHECK(tick > before);
                    before = tick;
                    ++ticks;
                    if (n == 10) {
                        every.reset(40us);
                    }
                }
            }));
        }
        for (auto& h : all) {
            co_await h;
        }
        CHECK(ticks == 20 * (static_cast<int>(ringo::cores()) + 1));
    });
}

TEST_CASE("timers_made_moved_and_dropped_on_all_cores") {
    on_cores([]() -> task<> {
        std::vector<ringo::join_handle<void>> all;
        ringo::chan<std::unique_ptr<timer>> passed(8);
        for (std::size_t i = 0; i < 4; ++i) {
            all.push_back(spawn(ringo::on(i % ringo::cores()), [&passed, i]() -> task<> {
                for (int n = 0; n < 200; ++n) {
                    auto t = std::make_unique<timer>(n % 3 * 3us);
                    co_await passed.send(std::move(t));
                    t = *co_await passed.recv();
                    switch ((static_cast<std::size_t>(n) + i) % 4) {
                        case 0:
                            t->stop();
                            break;
                        case 1:
                            t->reset(2us);
                            co_await *t;
                            break;
                        case 2:
                            (void)co_await select(*t, sleep(3us));
                            break;
                        default:
                            break;
                    }
                }
            }));
        }
        for (auto& h : all) {
            co_await h;
        }
    });
}

TEST_CASE("threads_reset_and_stop_timers") {
    on_cores([]() -> task<> {
        timer stopped(1h);
        stopped.stop();
        auto waiter = spawn(last(), [&]() -> task<> { co_await stopped; });
        co_await yield();
        co_await ringo::blocking([&] { CHECK_FALSE(stopped.reset(1us)); });
        co_await waiter;

        timer running(1h);
        co_await ringo::blocking([&] { CHECK(running.reset(1us)); });
        co_await running;
        running.reset(1h);
        co_await ringo::blocking([&] {
            CHECK(running.stop());
            running.reset(1us);  // it has no core now; who waits gives it one
        });
        co_await running;
        co_await ringo::blocking([] { const timer its_own(1h); });

        std::atomic<int> calls{0};
        auto f = after_func(1us, [&calls] { ++calls; });
        while (calls != 1) {
            co_await yield();
        }
        co_await ringo::blocking([&] { CHECK_FALSE(f.reset(1us)); });
        while (calls != 2) {
            co_await yield();
        }
        f.reset(1h);
        co_await ringo::blocking([&] { CHECK(f.stop()); });
    });
}

TEST_CASE("a_timer_lives_through_runs") {
    timer t(1us);  // a thread's: no core times it yet
    on_cores([&]() -> task<> {
        co_await t;
        t.reset(1us);
        timer untaken(1us);
        co_await sleep(1us);
    });
    ringo::run([&]() -> task<> {
        t.reset(200us);
        co_return;  // before it is due
    });
    ringo::run([&]() -> task<> { co_await t; });
    CHECK_FALSE(t.stop());
}

TEST_CASE("a_timer_of_a_runtime_that_ends_ticks_in_another") {
    timer t(1h);
    t.stop();
    std::atomic<bool> waiting{false};
    ringo::runtime stays({.cores = 1, .pin = false});
    auto ticked = stays.spawn([&]() -> task<> {
        auto r = co_await select(t, otherwise);
        CHECK(r.index() == 1);
        waiting = true;
        co_await t;
    });
    while (!waiting) {
        std::this_thread::yield();
    }
    ringo::run(
        [&]() -> task<> {
            t.reset(2ms);
            co_return;
        },
        {.cores = 1, .pin = false});
    ticked.get();
}

TEST_CASE("after_gives_one_value") {
    run_virtual([]() -> task<> {
        const auto begin = now();
        ringo::recv_chan<time_point> c = after(3ms);
        const auto r = co_await select(c.recv(), after(1h).recv());
        CHECK(r.index() == 0);
        CHECK(std::get<0>(r) == begin + 3ms);
        CHECK(now() == begin + 3ms);
        CHECK((co_await select(c.recv(), otherwise)).index() == 1);
        CHECK_FALSE(c.closed());
        (void)after(1ms);  // nobody listens
        co_await sleep(2h);
        CHECK(armed() == 0);
    });
}

TEST_CASE("after_func_calls_plain_functions_and_coroutines") {
    run_virtual([]() -> task<> {
        const auto begin = now();
        std::vector<std::string> calls;
        after_func(2ms, [&calls, text = std::string(100, 'x')]() -> task<int> {
            co_await sleep(1ms);
            calls.push_back(text);  // the closure lives
            co_return 1;
        });
        after_func(1ms, [&calls, text = std::make_unique<std::string>("plain")] {
            calls.push_back(*text);
            return 1;
        });
        const std::size_t goroutines = ringo::num_goroutines();
        CHECK(goroutines == 1);
        co_await sleep(10ms);
        CHECK(calls == std::vector<std::string>{"plain", std::string(100, 'x')});
        CHECK(now() == begin + 10ms);
        CHECK(armed() == 0);
    });
}

TEST_CASE("after_func_calls_again_after_each_reset") {
    run_virtual([]() -> task<> {
        int calls = 0;
        const auto kept = std::make_shared<int>(1);
        {
            auto f = after_func(1ms, [&calls, kept]() -> task<> {
                ++calls;
                co_await sleep(10ms);
                ++calls;
            });
            co_await sleep(2ms);
            CHECK(calls == 1);
            CHECK_FALSE(f.reset(1ms));
            co_await sleep(2ms);
            CHECK(calls == 2);  // both run at once
            CHECK_FALSE(f.reset(1ms));
        }
        CHECK(kept.use_count() == 2);
        co_await sleep(20ms);
        CHECK(calls == 6);
        CHECK(kept.use_count() == 1);
    });
}

TEST_CASE("after_func_runs_under_the_context_of_its_caller") {
    struct key {
        using type = int;
    };
    run_virtual([]() -> task<> {
        int value = 0;
        bool cancelled = false;
        auto scope = ringo::with_cancel(ringo::this_context());
        auto calls = [&]() -> task<> {
            after_func(1ms, [&] { value = *ringo::this_context().value<key>(); });
            after_func(3ms, [&]() -> task<> {
                cancelled = ringo::this_context().cancelled();
                co_await sleep(1h);
                value = 0;
            });
            co_return;
        };
        co_await ringo::within(ringo::with_value<key>(scope, 7), calls());
        co_await sleep(2ms);
        scope.cancel();
        co_await sleep(2h);
        CHECK(value == 7);
        CHECK(cancelled);
    });
}

TEST_CASE("the_end_of_the_run_calls_no_function_and_frees_it") {
    const auto kept = std::make_shared<int>(1);
    std::atomic<int> calls{0};
    {
        std::optional<ringo::func_timer> outlives;
        std::optional<ringo::func_timer> fired;
        test::virtual_run([&]() -> task<> {
            after_func(1h, [&calls, kept] { ++calls; });
            outlives = after_func(1h, [&calls, kept] { ++calls; });
            fired = after_func(1us, [] {});
            (void)after(1h);
            co_await sleep(1ms);
            CHECK(kept.use_count() == 3);
        });
        CHECK(calls == 0);
        CHECK(kept.use_count() == 2);
        CHECK(outlives->reset(1us));  // nowhere to run any more
        fired->reset(1us);
    }
    CHECK(kept.use_count() == 1);
}

TEST_CASE("functions_that_are_due_when_the_run_ends_run_wholly_or_not_at_all") {
    const auto kept = std::make_shared<int>(1);
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    for (int round = 0; round < 100; ++round) {
        ringo::run(
            [&]() -> task<> {
                for (std::size_t i = 0; i < 8; ++i) {
                    ringo::go(ringo::on(i % ringo::cores()), [&, i]() -> task<> {
                        after_func(i * 5us, [&, kept]() -> task<> {
                            ++begun;
                            (void)co_await ringo::as_result(sleep(5us));
                            ++ended;
                        });
                        co_return;
                    });
                }
                co_await sleep(round % 10 * 5us);
            },
            {.cores = static_cast<unsigned>(1 << round % 3), .pin = false});
        CHECK(begun == ended);
        CHECK(kept.use_count() == 1);
    }
}

TEST_CASE("a_function_of_a_context_runs_when_the_run_ends_it") {
    bool finished = false;
    ringo::run([&]() -> task<> {
        ringo::after_func(ringo::this_context(), [&]() -> task<> {
            co_await sleep(1us);
            finished = true;
        });
        co_await yield();
    });
    CHECK(finished);
}

TEST_CASE("a_function_of_a_context_that_outlives_the_run_is_freed_with_it") {
    const auto kept = std::make_shared<int>(1);
    auto outside = ringo::with_cancel(ringo::context::background());
    on_cores([&]() -> task<> {
        for (int i = 0; i < 10; ++i) {
            after_func(outside, [kept] { CHECK(false); });
            after_func(ringo::context::background(), [kept] { CHECK(false); });
        }
        co_await yield();
    });
    CHECK(kept.use_count() == 1);
    outside.cancel();
}

TEST_CASE("a_function_of_a_context_has_its_values") {
    struct key {
        using type = int;
    };
    run_virtual([]() -> task<> {
        int value = 0;
        auto scope = ringo::with_timeout(ringo::this_context(), 1ms);
        after_func(ringo::with_value<key>(scope, 7),
                   [&] { value = *ringo::this_context().value<key>(); });
        co_await sleep(1s);
        CHECK(value == 7);
    });
}

TEST_CASE("an_exception_that_leaves_a_timers_function_is_a_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            auto f = after_func(1us, [] { throw std::runtime_error("at its time"); });
            co_await sleep(1h);
        });
    });
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            auto scope = ringo::with_cancel(ringo::this_context());
            auto f = after_func(scope, [] { throw std::runtime_error("at the end"); });
            scope.cancel();
            co_await sleep(1h);
        });
    });
}

TEST_CASE("misused_timers_are_panics") {
    test::expect_panic("ticker: the period is not positive", [] { ticker every(0ns); });
    test::expect_panic("ticker: the period is not positive", [] {
        ticker every(1s);
        every.reset(-1s);
    });
    test::expect_panic("timer: used after it was moved from", [] {
        timer t(1s);
        const timer other = std::move(t);
        t.stop();
    });
    test::expect_panic("after: called outside a runtime's cores", [] { (void)after(1s); });
    test::expect_panic("after_func: called outside a runtime's cores",
                       [] { after_func(1s, [] {}); });
    test::expect_panic("after_func: called outside a runtime's cores",
                       [] { after_func(ringo::context::background(), [] {}); });
}
