// Go's scenarios for locks: sync.Mutex, RWMutex, Cond, Once.
#include <doctest/doctest.h>

#include "misuse.hpp"
#include "placements.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

using ringo::condition_variable;
using ringo::join_handle;
using ringo::mutex;
using ringo::once;
using ringo::shared_mutex;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::join_all;
using test::placement;

namespace {

using handles = std::vector<join_handle<void>>;

/// What a condition_variable is about.
struct monitor {
    mutex m;
    condition_variable changed;
    int waiting = 0;
    std::vector<int> awake;
};

task<> waits(monitor& s, int id) {
    auto g = co_await s.m.lock();
    ++s.waiting;
    co_await s.changed.wait(g);
    s.awake.push_back(id);
}

/// Starts `n` waiters, one after the other.
task<> start_waiters(monitor& s, ringo::place where, std::size_t core, int n, handles& all) {
    for (int i = 0; i < n; ++i) {
        all.push_back(spawn(where, waits, std::ref(s), i));
        co_await test::until_parked(core, all.back(), "condition_variable wait");
    }
}

task<std::size_t> count_awake(monitor& s) {
    const auto g = co_await s.m.lock();
    co_return s.awake.size();
}

task<> until_awake(monitor& s, std::size_t n) {
    for (;;) {
        const std::size_t now = co_await count_awake(s);
        CHECK(now <= n);
        if (now == n) {
            co_return;
        }
        co_await yield();
    }
}

task<> notifies(monitor& s, bool all) {
    const auto g = co_await s.m.lock();
    all ? s.changed.notify_all() : s.changed.notify_one();
}

}  // namespace

// sync.TestMutex, HammerMutex
TEST_CASE("go_27_mutex_excludes_under_hammering") {
    test::for_each_core_count([](const placement& p) -> task<> {
        mutex m;
        {
            const auto g = co_await m.lock();
            CHECK_FALSE(m.try_lock());
        }
        CHECK(static_cast<bool>(m.try_lock()));

        std::atomic<int> inside = 0;
        long locked = 0;  // as what a lock protects
        std::atomic<long> rounds = 0;
        handles all;
        for (std::size_t i = 0; i < 10; ++i) {
            all.push_back(spawn(p.nth(i), [&]() -> task<> {
                for (int n = 0; n < 200; ++n) {
                    mutex::guard g;
                    if (n % 3 == 0) {
                        g = m.try_lock();
                        if (!g) {
                            continue;
                        }
                    } else {
                        g = co_await m.lock();
                    }
                    CHECK(++inside == 1);
                    const long before = locked;
                    if (n % 5 == 0) {
                        co_await yield();
                    }
                    locked = before + 1;
                    ++rounds;
                    --inside;
                }
            }));
        }
        co_await join_all(all);
        CHECK(locked == rounds);
        CHECK(static_cast<bool>(m.try_lock()));
    });
}

// sync.TestMutexMisuse
TEST_CASE("go_28_unlock_of_unlocked_is_a_panic") {
    const auto twice = [](auto guard) {
        guard.unlock();
        guard.unlock();
    };
    test::expect_panic("mutex: unlock of unlocked mutex", [&] {
        mutex m;
        twice(m.try_lock());
    });
    test::expect_panic("mutex: unlock of unlocked mutex", [&] {
        ringo::run([&]() -> task<> {
            mutex m;
            twice(co_await m.lock());
        });
    });
    test::expect_panic("mutex: unlock of unlocked mutex", [] {
        mutex m;
        auto g = m.try_lock();
        auto moved = std::move(g);
        g.unlock();
    });
    test::expect_panic("shared_mutex: unlock of unlocked shared_mutex", [&] {
        shared_mutex m;
        twice(m.try_lock());
    });
    test::expect_panic("shared_mutex: unlock of unlocked shared_mutex", [&] {
        shared_mutex m;
        twice(m.try_lock_shared());
    });
}

// sync.TestMutexFairness
TEST_CASE("go_29_a_waiter_gets_in_against_a_relocking_loop") {
    test::for_each_placement([](const placement& p) -> task<> {
        mutex m;
        std::atomic<bool> stop = false;
        auto hog = spawn(p.wakes(), [&]() -> task<> {
            while (!stop) {
                const auto g = co_await m.lock();
                co_await yield();
            }
        });
        auto waiter = spawn(p.waits(), [&]() -> task<> {
            for (int i = 0; i < 10; ++i) {
                co_await yield();
                const auto g = co_await m.lock();
            }
        });
        co_await waiter;
        stop = true;
        co_await hog;
    });
}

// sync.TestParallelReaders
TEST_CASE("go_30_readers_overlap") {
    test::for_each_core_count([](const placement& p) -> task<> {
        constexpr int n = 8;
        shared_mutex m;
        std::atomic<int> inside = 0;
        handles all;
        for (std::size_t i = 0; i < n; ++i) {
            all.push_back(spawn(p.nth(i), [&]() -> task<> {
                const auto g = co_await m.lock_shared();
                ++inside;
                co_await test::until([&] { return inside == n; });
            }));
        }
        co_await join_all(all);
    });
}

// sync.TestRWMutex, HammerRWMutex
TEST_CASE("go_31_a_writer_excludes_all") {
    test::for_each_core_count([](const placement& p) -> task<> {
        shared_mutex m;
        std::atomic<int> activity = 0;  // 10,000 for the writer, 1 for each reader
        long written = 0;               // as what a lock protects
        handles all;
        for (std::size_t i = 0; i < 12; ++i) {
            const bool is_writer = i % 6 == 0;
            all.push_back(spawn(p.nth(i), [&, is_writer]() -> task<> {
                for (int n = 0; n < 100; ++n) {
                    if (is_writer) {
                        const auto g = co_await m.lock();
                        CHECK(activity.fetch_add(10'000) == 0);
                        const long before = written;
                        co_await yield();
                        written = before + 1;
                        activity -= 10'000;
                    } else {
                        const auto g = co_await m.lock_shared();
                        const int now = activity.fetch_add(1) + 1;
                        CHECK((now >= 1 && now < 10'000));
                        const long before = written;
                        co_await yield();
                        CHECK(written == before);
                        activity -= 1;
                    }
                }
            }));
        }
        co_await join_all(all);
        CHECK(written == 200);
        CHECK(static_cast<bool>(m.try_lock()));
    });
}

TEST_CASE("go_31_a_writer_is_not_starved") {
    test::for_each_placement([](const placement& p) -> task<> {
        shared_mutex m;
        std::atomic<bool> stop = false;
        handles readers;
        for (int i = 0; i < 3; ++i) {
            // Some reader is inside at any time.
            readers.push_back(spawn(p.wakes(), [&]() -> task<> {
                auto held = co_await m.lock_shared();
                while (!stop) {
                    co_await yield();
                    held.unlock();
                    held = co_await m.lock_shared();
                }
            }));
        }
        auto writer = spawn(p.waits(), [&]() -> task<> {
            for (int i = 0; i < 10; ++i) {
                const auto g = co_await m.lock();
                co_await yield();
            }
        });
        co_await writer;
        stop = true;
        co_await join_all(readers);
    });
}

// sync.TestCondSignal, TestCondSignalGenerations
TEST_CASE("go_32_notify_one_wakes_one_in_order") {
    test::for_each_placement([](const placement& p) -> task<> {
        constexpr int n = 5;
        monitor s;
        handles all;
        co_await start_waiters(s, p.waits(), p.waiter, n, all);
        for (int i = 0; i < n; ++i) {
            auto waker = spawn(p.wakes(), notifies, std::ref(s), false);
            co_await waker;
            co_await until_awake(s, static_cast<std::size_t>(i) + 1);
            CHECK(s.awake.back() == i);
        }
        auto nobody = spawn(p.wakes(), notifies, std::ref(s), false);
        co_await nobody;
        co_await join_all(all);
    });
}

// sync.TestCondBroadcast
TEST_CASE("go_33_notify_all_wakes_all") {
    test::for_each_placement([](const placement& p) -> task<> {
        constexpr int n = 20;
        monitor s;
        handles all;
        co_await start_waiters(s, p.waits(), p.waiter, n, all);
        auto waker = spawn(p.wakes(), notifies, std::ref(s), true);
        co_await waker;
        co_await join_all(all);
        CHECK(s.awake.size() == n);
        for (int i = 0; i < n; ++i) {
            CHECK(s.awake[static_cast<std::size_t>(i)] == i);
        }
    });
}

// sync.TestCondSignalStealing
TEST_CASE("go_34_a_signal_is_not_stolen") {
    test::for_each_placement([](const placement& p) -> task<> {
        for (int round = 0; round < 20; ++round) {
            monitor s;
            handles all;
            co_await start_waiters(s, p.waits(), p.waiter, 1, all);
            {
                const auto g = co_await s.m.lock();
                s.changed.notify_one();
                // Who waits only now cannot take it.
                all.push_back(spawn(p.wakes(), waits, std::ref(s), 1));
                co_await test::until_parked(p.waker, all.back(), "mutex lock");
            }
            co_await all.front();
            const std::size_t awake = co_await count_awake(s);
            CHECK(awake == 1);
            co_await test::until_parked(p.waker, all.back(), "condition_variable wait");
            s.changed.notify_one();
            co_await all.back();
            CHECK(s.awake == std::vector<int>{0, 1});
        }
    });
}

TEST_CASE("go_34_a_signal_is_not_lost_with_a_cancelled_waiter") {
    test::for_each_placement([](const placement& p) -> task<> {
        for (int round = 0; round < 20; ++round) {
            monitor s;
            handles all;
            co_await start_waiters(s, p.waits(), p.waiter, 2, all);
            auto waker = spawn(p.wakes(), notifies, std::ref(s), false);
            all.front().cancel();
            co_await waker;
            // It goes to the first waiter or to the second.
            bool cancelled = false;
            try {
                co_await all.front();
            } catch (const ringo::cancelled&) {
                cancelled = true;
            }
            if (cancelled) {
                co_await all.back();
            } else {
                const std::size_t awake = co_await count_awake(s);
                CHECK(awake == 1);
                s.changed.notify_one();
                co_await all.back();
            }
        }
    });
}

// sync.TestOnce
TEST_CASE("go_35_once_runs_once_and_all_wait") {
    test::for_each_core_count([](const placement& p) -> task<> {
        for (int round = 0; round < 20; ++round) {
            once o;
            int ran = 0;
            handles all;
            for (std::size_t i = 0; i < 10; ++i) {
                all.push_back(spawn(p.nth(i), [&]() -> task<> {
                    co_await o.call([&ran]() -> task<> {
                        for (int n = 0; n < 3; ++n) {
                            co_await yield();
                        }
                        ++ran;
                    });
                    CHECK(ran == 1);
                }));
            }
            co_await join_all(all);
            CHECK(ran == 1);
        }
    });
}

// sync.TestOncePanic
TEST_CASE("go_36_once_that_throws_is_done") {
    test::for_each_core_count([](const placement& p) -> task<> {
        once o;
        std::atomic<int> failed = 0;
        handles all;
        for (std::size_t i = 0; i < 10; ++i) {
            all.push_back(spawn(p.nth(i), [&]() -> task<> {
                try {
                    co_await o.call([]() -> task<> {
                        co_await yield();
                        throw std::runtime_error("failed");
                    });
                } catch (const std::runtime_error&) {
                    ++failed;
                }
            }));
        }
        co_await join_all(all);
        CHECK(failed == 1);
        co_await o.call([] { FAIL("once ran twice"); });
    });
}
