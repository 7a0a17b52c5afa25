// Go's scenarios for groups (x/sync/errgroup, x/sync/singleflight), by their numbers in the list
// of conformance.
#include <doctest/doctest.h>

#include "conformance/placements.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

using ringo::singleflight;
using ringo::spawn;
using ringo::task;
using ringo::task_group;
using ringo::yield;
using test::placement;

namespace {

task<> wait_until_cancelled(std::atomic<int>& cancelled) {
    try {
        co_await ringo::sleep(ringo::duration::max());
    } catch (const ringo::cancelled&) {
        ++cancelled;
        throw;
    }
}

task<std::string> error_of_wait(task_group& g) {
    std::string what;
    try {
        co_await g.wait();
    } catch (const std::runtime_error& e) {
        what = e.what();
    }
    co_return what;
}

}  // namespace

TEST_CASE("go_66_first_error_cancels_siblings_and_is_rethrown") {
    test::for_each_placement([](placement p) -> task<> {
        task_group g;
        std::atomic<int> cancelled = 0;
        for (std::size_t i = 0; i < 8; ++i) {
            g.go(p.nth(i), wait_until_cancelled, std::ref(cancelled));
        }
        auto waiter = spawn(p.waits(), error_of_wait, std::ref(g));
        co_await test::until_parked(p.waiter, waiter, "task_group wait");
        g.go(p.wakes(), []() -> task<> {
            co_await yield();
            throw std::runtime_error("first");
        });
        const std::string what = co_await waiter;
        CHECK(what == "first");
        // Those that had begun to wait saw it; all have ended.
        CHECK(cancelled == 8);
    });
}

TEST_CASE("go_67_limit_is_never_exceeded") {
    test::for_each_core_count([](placement p) -> task<> {
        for (const int limit : {1, 2, 7}) {
            task_group g;
            g.limit(static_cast<std::size_t>(limit));
            std::atomic<int> running = 0;
            std::atomic<int> most = 0;
            std::atomic<int> ran = 0;
            for (std::size_t i = 0; i < 1000; ++i) {
                const auto member = [&]() -> task<> {
                    const int now = ++running;
                    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
                    }
                    co_await yield();
                    ++ran;
                    --running;
                };
                if (i % 10 == 0) {
                    g.go(ringo::anywhere, member);
                } else {
                    g.go(p.nth(i), member);
                }
                if (i % 100 == 0) {
                    co_await yield();
                }
            }
            co_await g.wait();
            CHECK(ran == 1000);
            CHECK(most <= limit);
            CHECK(most > 0);
        }
    });
}

TEST_CASE("go_70_singleflight_makes_one_call_and_shares_the_result") {
    test::for_each_placement([](placement p) -> task<> {
        singleflight<std::string, std::string> f;
        std::atomic<int> calls = 0;
        std::atomic<bool> open = false;
        const auto load = [&]() -> task<std::string> {
            ++calls;
            while (!open) {
                co_await yield();
            }
            co_return std::string(100, 'x');
        };
        const auto ask = [&]() -> task<std::string> { return f.call("key", load); };
        auto first = spawn(p.wakes(), ask);
        co_await test::until_parked(p.waker, first, "singleflight call");
        std::vector<ringo::join_handle<std::string>> others;
        for (int i = 0; i < 10; ++i) {
            others.push_back(spawn(p.waits(), ask));
            co_await test::until_parked(p.waiter, others.back(), "singleflight call");
        }
        open = true;
        std::string s = co_await first;
        CHECK(s == std::string(100, 'x'));
        for (auto& h : others) {
            s = co_await h;
            CHECK(s == std::string(100, 'x'));
        }
        CHECK(calls == 1);
    });
}

TEST_CASE("go_71_failure_of_a_singleflight_reaches_all_waiters") {
    test::for_each_placement([](placement p) -> task<> {
        // It goes after all who share it: libstdc++ counts them where TSan does not look.
        const auto no_luck = std::make_exception_ptr(std::runtime_error("no luck"));
        singleflight<int, int> f;
        std::atomic<int> calls = 0;
        std::atomic<bool> open = false;
        const auto load = [&]() -> task<int> {
            const int n = ++calls;
            while (!open) {
                co_await yield();
            }
            if (n == 1) {
                std::rethrow_exception(no_luck);
            }
            co_return n;
        };
        const auto ask = [&]() -> task<std::string> {
            std::string what;
            try {
                co_await f.call(1, load);
            } catch (const std::runtime_error& e) {
                what = e.what();
            }
            co_return what;
        };
        std::vector<ringo::join_handle<std::string>> callers;
        for (int i = 0; i < 10; ++i) {
            const bool here = i % 2 == 0;
            callers.push_back(spawn(here ? p.waits() : p.wakes(), ask));
            co_await test::until_parked(here ? p.waiter : p.waker, callers.back(),
                                        "singleflight call");
        }
        open = true;
        for (auto& h : callers) {
            const std::string what = co_await h;
            CHECK(what == "no luck");
        }
        const int n = co_await f.call(1, load);
        CHECK(n == 2);
    });
}
