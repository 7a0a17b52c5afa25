#include <doctest/doctest.h>

#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using ringo::join_handle;
using ringo::mutex;
using ringo::on;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::end_of;
using test::for_ever;
using test::join_all;

namespace {

mutex global;  // made before main, used in every run

task<> takes(mutex& m, std::string& order, char name) {
    const auto g = co_await m.lock();
    order += name;
}

/// Not atomic on purpose: what the mutex protects.
struct account {
    mutex m;
    long value = 0;
};

}  // namespace

TEST_CASE("mutex_is_held_until_its_guard_dies_or_unlocks") {
    test::virtual_run([]() -> task<> {
        mutex m;
        {
            auto g = co_await m.lock();
            CHECK(static_cast<bool>(g));
            CHECK_FALSE(m.try_lock());
        }
        auto g = m.try_lock();
        CHECK(static_cast<bool>(g));
        CHECK_FALSE(m.try_lock());
        g.unlock();
        CHECK_FALSE(g);
        CHECK(static_cast<bool>(m.try_lock()));
    });
}

TEST_CASE("mutex_guard_moves") {
    test::virtual_run([]() -> task<> {
        mutex m;
        mutex other;
        mutex::guard nothing;
        CHECK_FALSE(nothing);
        auto a = co_await m.lock();
        mutex::guard b = std::move(a);
        CHECK_FALSE(a);
        CHECK(static_cast<bool>(b));
        // Assignment gives back what was held before.
        auto c = co_await other.lock();
        c = std::move(b);
        CHECK(static_cast<bool>(other.try_lock()));
        CHECK_FALSE(m.try_lock());
        c = mutex::guard();
        CHECK(static_cast<bool>(m.try_lock()));
    });
}

TEST_CASE("mutex_of_a_temporary_guard_is_held_for_the_full_expression") {  // TRAPS 26
    test::virtual_run([]() -> task<> {
        mutex m;
        const auto held = [](mutex& which, const mutex::guard& g) {
            return static_cast<bool>(g) && !which.try_lock();
        };
        CHECK(held(m, co_await m.lock()));
        CHECK(static_cast<bool>(m.try_lock()));
        const auto owner = std::make_unique<mutex::guard>(co_await m.lock());
        CHECK(static_cast<bool>(*owner));
        CHECK_FALSE(m.try_lock());
    });
}

TEST_CASE("mutex_is_handed_over_in_order_of_arrival") {
    test::virtual_run([]() -> task<> {
        mutex m;
        std::string order;
        std::vector<join_handle<void>> handles;
        auto g = co_await m.lock();
        for (const char name : {'a', 'b', 'c', 'd'}) {
            handles.push_back(spawn(takes, std::ref(m), std::ref(order), name));
        }
        co_await yield();
        g.unlock();
        // The lock belongs to `a` already, although it has not run.
        CHECK_FALSE(m.try_lock());
        co_await takes(m, order, 'e');
        CHECK(order == "abcde");
        co_await join_all(handles);
    });
}

TEST_CASE("mutex_unlock_does_not_run_the_waiter") {  // TRAPS 22
    test::virtual_run([]() -> task<> {
        mutex m;
        std::string order;
        auto g = co_await m.lock();
        auto h = spawn(takes, std::ref(m), std::ref(order), 'a');
        co_await yield();
        g.unlock();
        CHECK(order.empty());
        co_await h;
        CHECK(order == "a");
    });
}

TEST_CASE("mutex_is_unlocked_on_another_core_and_by_a_foreign_thread") {
    ringo::run(
        []() -> task<> {
            mutex m;
            std::string order;
            auto g = co_await m.lock();
            auto waiter = spawn(takes, std::ref(m), std::ref(order), 'a');
            co_await yield();
            auto unlocker = spawn(
                on(1),
                [](mutex::guard held) -> task<> {
                    held.unlock();
                    co_return;
                },
                std::move(g));
            co_await waiter;
            co_await unlocker;
            CHECK(order == "a");

            auto again = co_await m.lock();
            auto second = spawn(on(1), takes, std::ref(m), std::ref(order), 'b');
            std::thread foreign([held = std::move(again), &m]() mutable {
                held.unlock();
                while (!m.try_lock()) {
                }
            });
            co_await second;
            foreign.join();
            CHECK(order == "ab");
            CHECK(static_cast<bool>(m.try_lock()));
        },
        {.cores = 2});
}

TEST_CASE("mutex_made_before_any_run_works_in_each") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        long value = 0;
        ringo::run(
            [&value]() -> task<> {
                std::vector<join_handle<void>> handles;
                for (std::size_t i = 0; i < 4; ++i) {
                    handles.push_back(spawn(on(i % ringo::cores()), [&value]() -> task<> {
                        for (int n = 0; n < 100; ++n) {
                            const auto g = co_await global.lock();
                            ++value;
                        }
                    }));
                }
                co_await join_all(handles);
            },
            {.cores = cores});
        CHECK(value == 400);
        CHECK(static_cast<bool>(global.try_lock()));
    }
}

TEST_CASE("mutex_made_in_an_earlier_run_works_in_the_next") {
    std::unique_ptr<mutex> m;
    mutex::guard held;
    ringo::run([&]() -> task<> {
        m = std::make_unique<mutex>();
        held = co_await m->lock();
    });
    CHECK_FALSE(m->try_lock());
    ringo::run(
        [&]() -> task<> {
            std::string order;
            auto h = spawn(on(1), takes, std::ref(*m), std::ref(order), 'a');
            held.unlock();
            co_await h;
            CHECK(order == "a");
        },
        {.cores = 2});
}

TEST_CASE("mutex_lock_fails_at_once_in_an_ended_context") {
    test::virtual_run([]() -> task<> {
        mutex m;
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        const auto r = co_await ringo::as_result(ringo::within(scope, m.lock()));
        CHECK(r.error() == std::errc::operation_canceled);
        CHECK(static_cast<bool>(m.try_lock()));
    });
}

TEST_CASE("mutex_waiter_that_is_cancelled_leaves_the_line") {
    test::virtual_run([]() -> task<> {
        mutex m;
        std::string order;
        auto g = co_await m.lock();
        auto a = spawn(takes, std::ref(m), std::ref(order), 'a');
        auto b = spawn(takes, std::ref(m), std::ref(order), 'b');
        auto c = spawn(takes, std::ref(m), std::ref(order), 'c');
        co_await yield();
        a.cancel();
        c.cancel();
        CHECK((co_await end_of(a)) == std::errc::operation_canceled);
        CHECK((co_await end_of(c)) == std::errc::operation_canceled);
        CHECK(order.empty());
        g.unlock();
        co_await b;
        CHECK(order == "b");
        CHECK(static_cast<bool>(m.try_lock()));
    });
}

TEST_CASE("mutex_lock_that_comes_too_late_took_nothing") {
    test::virtual_run([]() -> task<> {
        mutex m;
        auto g = co_await m.lock();
        const auto r = co_await ringo::as_result(ringo::timeout(1s, m.lock()));
        CHECK(r.error() == std::errc::timed_out);
        CHECK(test::now() == 1s);
        g.unlock();
        const auto again = co_await ringo::timeout(1s, m.lock());
        CHECK(static_cast<bool>(again));
    });
}

TEST_CASE("mutex_failure_names_the_operation") {
    test::virtual_run([]() -> task<> {
        mutex m;
        const auto g = co_await m.lock();
        std::string what;
        try {
            const auto late = co_await ringo::timeout(1s, m.lock());
        } catch (const ringo::deadline_exceeded& e) {
            what = e.what();
        }
        CHECK(what.find("mutex lock") != std::string::npos);
    });
}

TEST_CASE("mutex_waiter_that_has_been_handed_the_lock_is_not_cancelled") {  // TRAPS 18
    test::virtual_run([]() -> task<> {
        mutex m;
        std::string order;
        auto g = co_await m.lock();
        auto a = spawn(takes, std::ref(m), std::ref(order), 'a');
        auto b = spawn(takes, std::ref(m), std::ref(order), 'b');
        co_await yield();
        g.unlock();
        a.cancel();
        CHECK(!(co_await end_of(a)));
        co_await b;
        CHECK(order == "ab");
    });
}

TEST_CASE("mutex_cancelled_and_handed_over_at_once_does_one_of_both") {
    for (const unsigned cores : {2U, 4U}) {
        ringo::run(
            []() -> task<> {
                mutex m;
                int got = 0;
                int failed = 0;
                for (int i = 0; i < 300; ++i) {
                    auto g = co_await m.lock();
                    auto waiter = spawn(on(1), [&m]() -> task<> {
                        const auto mine = co_await m.lock();
                        co_await yield();
                    });
                    auto canceller = spawn(
                        on(ringo::cores() - 1),
                        [](join_handle<void>& h) -> task<> {
                            h.cancel();
                            co_return;
                        },
                        std::ref(waiter));
                    for (int n = 0; n < i % 8; ++n) {
                        co_await yield();
                    }
                    g.unlock();
                    co_await canceller;
                    (co_await end_of(waiter) ? failed : got) += 1;
                    // Whatever it was, the lock is free again.
                    CHECK(static_cast<bool>(m.try_lock()));
                }
                CHECK(got + failed == 300);
            },
            {.cores = cores});
    }
}

TEST_CASE("mutex_lock_is_an_arm_of_select") {
    test::virtual_run([]() -> task<> {
        mutex m;
        mutex n;
        {
            auto r = co_await ringo::select(m.lock(), ringo::sleep(1s));
            CHECK(r.index() == 0);
            CHECK(static_cast<bool>(std::get<0>(r)));
            CHECK_FALSE(m.try_lock());
        }
        auto g = co_await m.lock();
        {
            const auto r = co_await ringo::select(m.lock(), ringo::otherwise);
            CHECK(r.index() == 1);
        }
        {
            const auto r = co_await ringo::select(m.lock(), ringo::sleep(1s));
            CHECK(r.index() == 1);
            CHECK(test::now() == 1s);
        }
        // It waits, and is handed the lock.
        auto h = spawn([&m]() -> task<> {
            const auto r = co_await ringo::select(ringo::sleep(for_ever), m.lock(), m.lock());
            CHECK(r.index() >= 1);
            CHECK_FALSE(m.try_lock());
        });
        co_await yield();
        g.unlock();
        co_await h;
        // Of two that are free it takes one.
        {
            const auto r = co_await ringo::select(m.lock(), n.lock());
            CHECK(static_cast<bool>(m.try_lock()) == (r.index() == 1));
            CHECK(static_cast<bool>(n.try_lock()) == (r.index() == 0));
        }
        CHECK(static_cast<bool>(m.try_lock()));
        CHECK(static_cast<bool>(n.try_lock()));
    });
}

TEST_CASE("mutex_passes_over_a_select_that_another_arm_has_ended") {
    test::virtual_run([]() -> task<> {
        mutex m;
        mutex n;
        std::string order;
        auto g = co_await m.lock();
        auto other = co_await n.lock();
        auto chooser = spawn([&]() -> task<> {
            const auto r = co_await ringo::select(m.lock(), n.lock());
            order += r.index() == 0 ? 'm' : 'n';
        });
        co_await yield();
        auto behind = spawn(takes, std::ref(m), std::ref(order), 'b');
        co_await yield();
        other.unlock();  // ends the select, which stands before `behind` still
        g.unlock();
        co_await behind;
        co_await chooser;
        CHECK((order == "nb" || order == "bn"));
        CHECK(static_cast<bool>(m.try_lock()));
        CHECK(static_cast<bool>(n.try_lock()));
    });
}

TEST_CASE("mutex_selects_over_the_same_locks_on_several_cores_take_one_each") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        account a;
        account b;
        ringo::run(
            [&]() -> task<> {
                std::vector<join_handle<void>> handles;
                for (std::size_t i = 0; i < 4; ++i) {
                    handles.push_back(spawn(on(i % ringo::cores()), [&a, &b, i]() -> task<> {
                        account& first = i % 2 == 0 ? a : b;
                        account& second = i % 2 == 0 ? b : a;
                        for (int n = 0; n < 100; ++n) {
                            const auto r = co_await ringo::select(first.m.lock(), second.m.lock());
                            account& mine = r.index() == 0 ? first : second;
                            const long before = mine.value;
                            co_await yield();
                            mine.value = before + 1;
                        }
                    }));
                }
                co_await join_all(handles);
            },
            {.cores = cores});
        CHECK(a.value + b.value == 400);
    }
}

TEST_CASE("mutex_waiters_of_every_kind_are_destroyed_at_the_end_of_a_run") {  // 81
    for (const unsigned cores : {1U, 2U}) {
        mutex m;
        mutex free;
        {
            const auto held = m.try_lock();
            ringo::run(
                [&]() -> task<> {
                    for (std::size_t i = 0; i < 1000; ++i) {
                        ringo::go(on(i % ringo::cores()), [&m, &free]() -> task<> {
                            const auto g = co_await ringo::shield(free.lock());
                            const auto r = co_await ringo::select(m.lock(), ringo::sleep(for_ever));
                        });
                    }
                    co_await yield();
                },
                {.cores = cores});
        }
        CHECK(static_cast<bool>(m.try_lock()));
        CHECK(static_cast<bool>(free.try_lock()));
    }
}

TEST_CASE("mutex_handed_to_goroutines_that_are_destroyed_is_free_after_the_run") {
    mutex m;
    const auto o = ringo::options{.cores = 2, .shutdown_grace = 0ms};
    ringo::run(
        [&m]() -> task<> {
            for (std::size_t i = 0; i < 100; ++i) {
                ringo::go(on(i % 2), [&m]() -> task<> {
                    const auto g = co_await ringo::shield(m.lock());
                    co_await ringo::shield(ringo::sleep(for_ever));
                });
            }
            co_await yield();
            co_await yield();
        },
        o);
    CHECK(static_cast<bool>(m.try_lock()));
}

TEST_CASE("mutex_destroyed_while_locked_is_a_panic") {
    test::expect_panic("mutex: destroyed while locked", [] {
        auto m = std::make_unique<mutex>();
        auto g = m->try_lock();
        m.reset();
    });
    test::expect_panic("mutex: destroyed while locked", [] {
        ringo::run([]() -> task<> {
            std::string order;
            auto m = std::make_unique<mutex>();
            auto g = co_await m->lock();
            auto h = spawn(takes, std::ref(*m), std::ref(order), 'a');
            co_await yield();
            g.unlock();  // it is the waiter's now
            m.reset();
            co_await h;
        });
    });
}
