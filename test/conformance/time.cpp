// Go's scenarios of time, and of a context's after_func (CONFORMANCE 53 to 62, 65).
#include "placements.hpp"

#include <ringo/ringo.hpp>
#include <ringo/test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::after_func;
using ringo::duration;
using ringo::now;
using ringo::otherwise;
using ringo::select;
using ringo::sleep;
using ringo::spawn;
using ringo::task;
using ringo::ticker;
using ringo::timer;
using ringo::yield;
using test::until;

namespace {

constexpr std::uint64_t seeds = 20;

/// Under virtual time, in several orders.
template <class F>
void virtually(F body) {
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        CAPTURE(seed);
        ringo::test::run_virtual(body, {.seed = seed});
    }
}

/// Whether a tick is there now.
template <class Timer>
task<bool> has_tick(Timer& t) {
    const auto r = co_await select(t, otherwise);
    co_return r.index() == 0;
}

task<> takes(timer& t, std::optional<ringo::time_point>& tick) { tick = co_await t; }

/// Waits for ticks until it is cancelled.
template <class Timer>
task<> counts(Timer& t, std::atomic<int>& ticks) {
    for (;;) {
        co_await t;
        ++ticks;
    }
}

task<> end(ringo::join_handle<void>& h) {
    h.cancel();
    (void)co_await ringo::as_result(h);
}

}  // namespace

TEST_CASE("go_53_after_func_runs_once_after_cancel") {
    test::for_each_placement([](test::placement p) -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        std::atomic<int> calls{0};
        auto registers = spawn(p.waits(), [&]() -> task<> {
            after_func(scope, [&calls] { ++calls; });
            after_func(scope, [&calls]() -> task<> {
                co_await yield();  // it is not cancelled with its context
                ++calls;
            });
            co_return;
        });
        co_await registers;
        for (int i = 0; i < 10; ++i) {
            co_await yield();
        }
        CHECK(calls == 0);
        auto cancels = spawn(p.wakes(), [&]() -> task<> {
            scope.cancel();
            scope.cancel();
            co_return;
        });
        co_await cancels;
        co_await until([&] { return calls == 2; });
        for (int i = 0; i < 10; ++i) {
            co_await yield();
        }
        CHECK(calls == 2);
    });
}

TEST_CASE("go_53_after_func_never_runs_after_stop") {
    virtually([]() -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        int calls = 0;
        auto early = after_func(scope, [&calls] { ++calls; });
        CHECK(early.stop());
        CHECK_FALSE(early.stop());
        co_await sleep(1ms);
        auto late = after_func(scope, [&calls] { ++calls; });
        co_await sleep(1ms);
        CHECK(late.stop());
        scope.cancel();
        CHECK_FALSE(late.stop());
        co_await sleep(1ms);
        CHECK(calls == 0);
        CHECK(ringo::num_goroutines() == 1);
    });
}

TEST_CASE("go_53_after_func_runs_when_it_is_stopped_too_late") {
    virtually([]() -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        int calls = 0;
        auto f = after_func(scope, [&calls] { ++calls; });
        scope.cancel();
        CHECK_FALSE(f.stop());
        co_await sleep(1ms);
        CHECK(calls == 1);
        CHECK_FALSE(f.stop());
    });
}

TEST_CASE("go_53_after_func_never_runs_inline") {
    virtually([]() -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        int calls = 0;
        after_func(scope, [&calls] { ++calls; });
        co_await yield();
        scope.cancel();
        CHECK(calls == 0);  // not in the call that ends the context
        co_await sleep(1ms);
        CHECK(calls == 1);
        after_func(scope, [&calls] { ++calls; });
        CHECK(calls == 1);  // nor in the one that finds it ended
        co_await sleep(1ms);
        CHECK(calls == 2);
    });
}

TEST_CASE("go_53_stop_and_cancel_at_once_have_one_winner") {
    test::for_each_core_count([](test::placement p) -> task<> {
        for (int round = 0; round < 200; ++round) {
            auto scope = ringo::with_cancel(ringo::this_context());
            std::atomic<int> calls{0};
            std::atomic<int> stopped{0};
            auto f = after_func(scope, [&calls] { ++calls; });
            std::vector<ringo::join_handle<void>> all;
            for (std::size_t i = 0; i < 3; ++i) {
                all.push_back(spawn(p.nth(i), [&]() -> task<> {
                    stopped += f.stop() ? 1 : 0;
                    co_return;
                }));
                all.push_back(spawn(p.nth(i + 1), [&]() -> task<> {
                    scope.cancel();
                    co_return;
                }));
            }
            for (auto& h : all) {
                co_await h;
            }
            co_await until([&] { return calls + stopped != 0; });
            co_await yield();
            CHECK(calls + stopped == 1);
        }
    });
}

TEST_CASE("go_54_a_tick_is_never_early") {
    test::for_each_core_count([](test::placement p) -> task<> {
        std::vector<ringo::join_handle<void>> all;
        for (int i = 0; i < 60; ++i) {
            all.push_back(spawn(p.nth(static_cast<std::size_t>(i)), [i]() -> task<> {
                const duration d = i * 20'011ns;
                const auto before = ringo::clock::now();
                timer t(d);
                const auto tick = co_await t;
                CHECK(ringo::clock::now() - before >= d);
                CHECK(tick - before >= d);
                CHECK(ringo::clock::now() >= tick);
                const auto again = ringo::clock::now();
                t.reset(d);
                co_await t;
                CHECK(ringo::clock::now() - again >= d);
            }));
        }
        for (auto& h : all) {
            co_await h;
        }
    });
}

TEST_CASE("go_55_a_stopped_timer_never_fires") {
    virtually([]() -> task<> {
        std::vector<timer> timers;
        std::atomic<int> ticks{0};
        int calls = 0;
        for (int i = 0; i < 100; ++i) {
            timers.emplace_back(i * 1ms);
            auto f = after_func(i * 1ms, [&calls] { ++calls; });
            CHECK(f.stop());
            CHECK_FALSE(f.stop());
        }
        std::vector<ringo::join_handle<void>> waiters;
        for (timer& t : timers) {
            CHECK(t.stop());
            CHECK_FALSE(t.stop());
            waiters.push_back(spawn([&] { return counts(t, ticks); }));
        }
        co_await sleep(1h);
        CHECK(ticks == 0);
        CHECK(calls == 0);
        for (auto& w : waiters) {
            co_await end(w);
        }
    });
}

TEST_CASE("go_55_a_timer_stopped_by_another_core_never_fires") {
    test::for_each_placement([](test::placement p) -> task<> {
        for (int round = 0; round < 100; ++round) {
            timer t(1h);
            std::atomic<int> ticks{0};
            auto waiter = spawn(p.waits(), [&] { return counts(t, ticks); });
            co_await test::until_parked(p.waiter, waiter, "timer");
            auto stops = spawn(p.wakes(), [&]() -> task<> {
                t.reset(50us * 1000);
                CHECK(t.stop());
                t.reset(1h);
                CHECK(t.stop());
                CHECK_FALSE(t.stop());
                co_return;
            });
            co_await stops;
            co_await end(waiter);
            CHECK(ticks == 0);
        }
    });
}

TEST_CASE("go_56_timers_expire_in_order") {
    virtually([]() -> task<> {
        std::vector<int> order;
        std::vector<int> expected;
        for (int i = 0; i < 500; ++i) {
            const int n = i * 7919 % 500;
            after_func(n * 1ms + 1ns, [&order, n] { order.push_back(n); });
            expected.push_back(i);
        }
        co_await sleep(1s);
        CHECK(order == expected);
    });
}

TEST_CASE("go_57_each_start_of_a_function_ends_in_one_call_or_one_stop") {
    test::for_each_core_count([](test::placement p) -> task<> {
        std::atomic<int> calls{0};
        std::atomic<int> starts{1};
        std::atomic<int> taken_back{0};
        auto f = after_func(1us, [&calls] { ++calls; });
        std::vector<ringo::join_handle<void>> all;
        for (std::size_t i = 0; i < 4; ++i) {
            all.push_back(spawn(p.nth(i), [&, i]() -> task<> {
                for (int n = 0; n < 500; ++n) {
                    if ((n + i) % 3 == 0) {
                        taken_back += f.stop() ? 1 : 0;
                    } else {
                        ++starts;
                        taken_back += f.reset(n % 4 * 5us) ? 1 : 0;
                    }
                    if (n % 2 == 0) {
                        co_await yield();
                    }
                }
            }));
        }
        for (auto& h : all) {
            co_await h;
        }
        taken_back += f.stop() ? 1 : 0;
        co_await until([&] { return calls == starts - taken_back; });
        co_await sleep(100us);
        CHECK(calls == starts - taken_back);
    });
}

TEST_CASE("go_57_each_start_of_a_timer_ends_in_one_tick_or_one_stop") {
    test::for_each_core_count([](test::placement p) -> task<> {
        std::atomic<int> ticks{0};
        std::atomic<int> starts{1};
        std::atomic<int> taken_back{0};
        timer t(1us);
        std::vector<ringo::join_handle<void>> waiters;
        for (std::size_t i = 0; i < 3; ++i) {
            waiters.push_back(spawn(p.nth(i), [&, i]() -> task<> {
                ringo::chan<int> nobody;
                for (;;) {
                    if (i == 0) {
                        co_await t;
                    } else {
                        const auto r = co_await select(nobody.recv(), t, sleep(3us));
                        if (r.index() != 1) {
                            continue;
                        }
                    }
                    ++ticks;
                }
            }));
        }
        std::vector<ringo::join_handle<void>> all;
        for (std::size_t i = 0; i < 3; ++i) {
            all.push_back(spawn(p.nth(i + 1), [&, i]() -> task<> {
                for (int n = 0; n < 500; ++n) {
                    if ((n + i) % 3 == 0) {
                        taken_back += t.stop() ? 1 : 0;
                    } else {
                        ++starts;
                        taken_back += t.reset(n % 4 * 5us) ? 1 : 0;
                    }
                    co_await yield();
                }
            }));
        }
        for (auto& h : all) {
            co_await h;
        }
        taken_back += t.stop() ? 1 : 0;
        co_await until([&] { return ticks == starts - taken_back; });
        for (auto& w : waiters) {
            co_await end(w);
        }
        CHECK(ticks == starts - taken_back);
    });
}

TEST_CASE("go_58_a_huge_duration_is_for_ever_and_a_negative_one_is_now") {
    virtually([]() -> task<> {
        timer never(duration::max());
        ticker hardly(duration::max());
        auto nothing = ringo::after(duration::max());
        int calls = 0;
        auto f = after_func(duration::max(), [&calls] { ++calls; });
        const auto begin = now();
        for (const duration d : {0ns, -1ns, duration(-1h), duration::min()}) {
            timer t(d);
            CHECK(co_await t == begin);
            t.reset(d);
            CHECK(co_await t == begin);
            CHECK(co_await ringo::after(d).recv() == begin);
            bool called = false;
            after_func(d, [&called] { called = true; });
            CHECK_FALSE(called);
            co_await until([&] { return called; });
        }
        CHECK(now() == begin);
        co_await sleep(24h * 365 * 100);
        CHECK_FALSE(co_await has_tick(never));
        CHECK_FALSE(co_await has_tick(hardly));
        CHECK(nothing.len() == 0);
        CHECK(calls == 0);
        CHECK(never.stop());
        CHECK(f.stop());
    });
}

TEST_CASE("go_59_reset_and_stop_report_pending") {
    virtually([]() -> task<> {
        timer t(1ms);
        CHECK(t.reset(2ms));
        CHECK(t.stop());
        CHECK_FALSE(t.stop());
        CHECK_FALSE(t.reset(1ms));
        co_await t;
        CHECK_FALSE(t.stop());
        CHECK_FALSE(t.reset(1ms));
        CHECK(t.reset(1ms));
        co_await sleep(2ms);
        CHECK(t.reset(1ms));  // its tick was there, and is taken back
        co_await sleep(2ms);
        CHECK(t.stop());
        CHECK_FALSE(t.stop());

        int calls = 0;
        auto f = after_func(1ms, [&calls] { ++calls; });
        CHECK(f.reset(2ms));
        CHECK(f.stop());
        CHECK_FALSE(f.reset(1ms));
        co_await sleep(2ms);
        CHECK(calls == 1);
        CHECK_FALSE(f.stop());
        CHECK_FALSE(f.reset(1ms));
        co_await sleep(2ms);
        CHECK(calls == 2);
        CHECK_FALSE(f.reset(1ms));
        CHECK(f.stop());
    });
}

TEST_CASE("go_60_no_stale_tick_after_stop_or_reset") {
    virtually([]() -> task<> {
        timer t(1ms);
        co_await sleep(2ms);
        CHECK(t.stop());
        CHECK_FALSE(co_await has_tick(t));
        t.reset(1ms);
        co_await sleep(2ms);
        const auto reset_at = now();
        CHECK(t.reset(1h));
        CHECK_FALSE(co_await has_tick(t));
        CHECK(co_await t == reset_at + 1h);
        CHECK(now() == reset_at + 1h);

        ticker every(1ms);
        co_await sleep(5ms);
        const auto anew = now();
        every.reset(1h);
        CHECK_FALSE(co_await has_tick(every));
        CHECK(co_await every == anew + 1h);
        co_await sleep(2h);
        every.stop();
        CHECK_FALSE(co_await has_tick(every));
    });
}

TEST_CASE("go_61_a_timer_moved_earlier_fires_earlier") {
    virtually([]() -> task<> {
        timer t(10h);
        std::optional<ringo::time_point> tick;
        auto waiter = spawn([&] { return takes(t, tick); });
        co_await sleep(1ms);
        const auto from = now();
        CHECK(t.reset(2ms));
        CHECK(t.reset(1ms));
        co_await waiter;
        CHECK(tick == from + 1ms);
        CHECK(now() == from + 1ms);
    });
}

TEST_CASE("go_61_a_timer_moved_by_another_core_fires_earlier") {
    test::for_each_placement([](test::placement p) -> task<> {
        for (int round = 0; round < 50; ++round) {
            timer t(10h);
            std::optional<ringo::time_point> tick;
            auto waiter = spawn(p.waits(), [&] { return takes(t, tick); });
            co_await test::until_parked(p.waiter, waiter, "timer");
            auto moves = spawn(p.wakes(), [&]() -> task<> {
                CHECK(t.reset(10us));
                co_return;
            });
            co_await moves;
            co_await waiter;
            CHECK(tick.has_value());
        }
    });
}

TEST_CASE("go_62_a_ticker_does_not_drift") {
    virtually([]() -> task<> {
        const auto begin = now();
        ticker every(7ms);
        for (int i = 1; i <= 200; ++i) {
            CHECK(co_await every == begin + i * 7ms);
            CHECK(now() == begin + i * 7ms);
            co_await sleep(i % 7 * 1ms);
        }
    });
}

TEST_CASE("go_62_a_ticker_drops_ticks_for_a_slow_receiver") {
    virtually([]() -> task<> {
        const auto begin = now();
        ticker every(10ms);
        co_await sleep(35ms);
        CHECK(co_await every == begin + 10ms);  // the one that waited
        CHECK(now() == begin + 35ms);
        CHECK(co_await every == begin + 40ms);  // those between are lost
        CHECK(now() == begin + 40ms);
        co_await sleep(1h);
        CHECK(co_await every == begin + 50ms);
        CHECK(co_await every == begin + 40ms + 1h + 10ms);
    });
}

TEST_CASE("go_65_a_hog_that_yields_starves_neither_timers_nor_the_network") {
    ringo::run(
        []() -> task<> {
            ringo::net::listener l = ringo::net::listen("127.0.0.1:0");
            bool done = false;
            auto hog = spawn([&done]() -> task<> {
                while (!done) {
                    co_await yield();
                }
            });
            auto echoes = spawn([&l]() -> task<> {
                ringo::net::conn c = co_await l.accept();
                std::array<char, 64> buffer;
                while (const std::size_t n = co_await c.read(buffer)) {
                    co_await c.write({buffer.data(), n});
                }
            });
            ticker every(1ms);
            {
                ringo::net::conn c = co_await ringo::net::dial(l.local().to_string());
                std::array<char, 4> buffer;
                for (int i = 0; i < 10; ++i) {
                    co_await every;
                    co_await c.write({"ping", 4});
                    co_await c.read_exactly(buffer);
                }
            }
            co_await echoes;
            timer t(1ms);
            co_await t;
            done = true;
            co_await hog;
        },
        {.cores = 1});
}
