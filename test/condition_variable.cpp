#include <doctest/doctest.h>

#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::condition_variable;
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

struct monitor {
    mutex m;
    condition_variable changed;
    int waiting = 0;
    int tokens = 0;
    std::string order;
};

monitor global;  // made before main, used in every run

task<> waits(monitor& on_it, char name) {
    auto g = co_await on_it.m.lock();
    ++on_it.waiting;
    co_await on_it.changed.wait(g);
    CHECK(static_cast<bool>(g));
    CHECK_FALSE(on_it.m.try_lock());
    --on_it.waiting;
    on_it.order += name;
}

task<> until_waiting(monitor& on_it, int n) {
    for (;;) {
        {
            const auto g = co_await on_it.m.lock();
            if (on_it.waiting == n) {
                co_return;
            }
        }
        co_await yield();
    }
}

}  // namespace

TEST_CASE("condition_wait_gives_the_mutex_back_and_returns_holding_it") {
    test::virtual_run([]() -> task<> {
        monitor s;
        auto h = spawn(waits, std::ref(s), 'a');
        co_await yield();
        CHECK(s.waiting == 1);
        auto g = s.m.try_lock();
        CHECK(static_cast<bool>(g));
        s.changed.notify_one();
        co_await yield();
        CHECK(s.order.empty());  // it waits for the mutex
        g.unlock();
        co_await h;
        CHECK(s.order == "a");
        CHECK(static_cast<bool>(s.m.try_lock()));
    });
}

TEST_CASE("condition_notify_one_wakes_one_in_order_of_arrival") {
    test::virtual_run([]() -> task<> {
        monitor s;
        std::vector<join_handle<void>> handles;
        for (const char name : {'a', 'b', 'c'}) {
            handles.push_back(spawn(waits, std::ref(s), name));
        }
        co_await yield();
        for (const char* const expected : {"a", "ab", "abc"}) {
            s.changed.notify_one();
            co_await ringo::sleep(1s);
            CHECK(s.order == expected);
        }
        s.changed.notify_one();  // nobody waits
        co_await join_all(handles);
    });
}

TEST_CASE("condition_notify_all_wakes_all_in_order_of_arrival") {
    test::virtual_run([]() -> task<> {
        monitor s;
        std::vector<join_handle<void>> handles;
        for (const char name : {'a', 'b', 'c', 'd'}) {
            handles.push_back(spawn(waits, std::ref(s), name));
        }
        co_await yield();
        {
            const auto g = co_await s.m.lock();
            s.changed.notify_all();
            // Who comes afterwards waits for the next one.
            handles.push_back(spawn(waits, std::ref(s), 'e'));
            co_await yield();
        }
        co_await ringo::sleep(1s);
        CHECK(s.order == "abcd");
        s.changed.notify_all();
        co_await join_all(handles);
        s.changed.notify_all();
    });
}

TEST_CASE("condition_wait_with_a_predicate_returns_when_it_holds") {
    test::virtual_run([]() -> task<> {
        monitor s;
        int asked = 0;
        auto consumer = spawn([&]() -> task<> {
            auto g = co_await s.m.lock();
            co_await s.changed.wait(g, [&] {
                ++asked;
                CHECK_FALSE(s.m.try_lock());
                return s.tokens == 3;
            });
            CHECK(s.tokens == 3);
            // It holds already: no wait.
            co_await s.changed.wait(g, [] { return true; });
            CHECK(static_cast<bool>(g));
        });
        for (int i = 0; i < 3; ++i) {
            co_await ringo::sleep(1s);
            const auto g = co_await s.m.lock();
            ++s.tokens;
            s.changed.notify_one();
        }
        co_await consumer;
        CHECK(asked == 4);
    });
}

TEST_CASE("condition_wait_passes_on_what_the_predicate_throws_with_the_lock_held") {
    test::virtual_run([]() -> task<> {
        monitor s;
        auto g = co_await s.m.lock();
        bool caught = false;
        try {
            co_await s.changed.wait(g, []() -> bool { throw std::runtime_error("no"); });
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
        CHECK(static_cast<bool>(g));
        CHECK_FALSE(s.m.try_lock());
    });
}

TEST_CASE("condition_wait_that_is_cancelled_holds_the_lock_when_it_throws") {
    test::virtual_run([]() -> task<> {
        monitor s;
        std::error_code code;
        auto h = spawn([&]() -> task<> {
            auto g = co_await s.m.lock();
            try {
                co_await s.changed.wait(g);
            } catch (const ringo::cancelled& e) {
                code = e.code();
                CHECK(std::string(e.what()).find("condition_variable wait") != std::string::npos);
            }
            CHECK(static_cast<bool>(g));
            CHECK_FALSE(s.m.try_lock());
        });
        co_await yield();
        auto g = co_await s.m.lock();
        h.cancel();
        for (int i = 0; i < 10; ++i) {
            co_await yield();
        }
        CHECK(!code);  // getting the mutex again is not cancelled
        g.unlock();
        co_await h;
        CHECK(code == std::errc::operation_canceled);
        s.changed.notify_one();
        CHECK(static_cast<bool>(s.m.try_lock()));
    });
}

TEST_CASE("condition_wait_fails_at_once_in_an_ended_context_and_keeps_the_lock") {
    test::virtual_run([]() -> task<> {
        monitor s;
        auto g = co_await s.m.lock();
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        const auto r = co_await ringo::as_result(ringo::within(scope, s.changed.wait(g)));
        CHECK(r.error() == std::errc::operation_canceled);
        CHECK(static_cast<bool>(g));
        CHECK_FALSE(s.m.try_lock());
    });
}

TEST_CASE("condition_wait_ends_at_its_deadline_holding_the_lock") {
    test::virtual_run([]() -> task<> {
        monitor s;
        auto g = co_await s.m.lock();
        const auto r = co_await ringo::as_result(ringo::timeout(1s, s.changed.wait(g)));
        CHECK(r.error() == std::errc::timed_out);
        CHECK(static_cast<bool>(g));
        CHECK_FALSE(s.m.try_lock());
        CHECK(test::now() == 1s);
        const auto p =
            co_await ringo::as_result(ringo::timeout(1s, s.changed.wait(g, [] { return false; })));
        CHECK(p.error() == std::errc::timed_out);
        CHECK(static_cast<bool>(g));
        // as_result of the operation itself, too
        const auto direct = [](monitor& x, mutex::guard& held) -> task<> {
            const auto e = co_await ringo::as_result(x.changed.wait(held));
            CHECK(e.error() == std::errc::timed_out);
            CHECK(static_cast<bool>(held));
        };
        co_await ringo::timeout(1s, direct(s, g));
    });
}

TEST_CASE("condition_signal_of_a_cancelled_waiter_is_not_lost") {  // 34
    test::virtual_run([]() -> task<> {
        // Cancelled before: the signal goes to the next.
        {
            monitor s;
            auto a = spawn(waits, std::ref(s), 'a');
            auto b = spawn(waits, std::ref(s), 'b');
            co_await yield();
            a.cancel();
            s.changed.notify_one();
            CHECK((co_await end_of(a)) == std::errc::operation_canceled);
            co_await b;
            CHECK(s.order == "b");
        }
        // Cancelled after: it has the signal, and says so by returning.
        {
            monitor s;
            auto a = spawn(waits, std::ref(s), 'a');
            auto b = spawn(waits, std::ref(s), 'b');
            co_await yield();
            auto g = co_await s.m.lock();
            s.changed.notify_one();
            a.cancel();
            g.unlock();
            CHECK(!(co_await end_of(a)));
            CHECK(s.order == "a");
            s.changed.notify_one();
            co_await b;
        }
    });
}

TEST_CASE("condition_waiters_may_use_different_mutexes") {
    test::virtual_run([]() -> task<> {
        mutex m;
        mutex n;
        condition_variable c;
        const auto waiter = [](condition_variable& on_it, mutex& with) -> task<> {
            auto g = co_await with.lock();
            co_await on_it.wait(g);
            CHECK_FALSE(with.try_lock());
        };
        auto a = spawn(waiter, std::ref(c), std::ref(m));
        auto b = spawn(waiter, std::ref(c), std::ref(n));
        co_await yield();
        CHECK(static_cast<bool>(m.try_lock()));
        CHECK(static_cast<bool>(n.try_lock()));
        c.notify_all();
        co_await a;
        co_await b;
    });
}

TEST_CASE("condition_gives_every_token_to_one_consumer_on_any_cores") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                int taken = 0;
                std::vector<join_handle<void>> handles;
                for (std::size_t i = 0; i < 4; ++i) {
                    handles.push_back(spawn(on(i % ringo::cores()), [&taken]() -> task<> {
                        for (int n = 0; n < 100; ++n) {
                            auto g = co_await global.m.lock();
                            co_await global.changed.wait(g, [] { return global.tokens != 0; });
                            --global.tokens;
                            ++taken;
                        }
                    }));
                    handles.push_back(spawn(on((i + 1) % ringo::cores()), []() -> task<> {
                        for (int n = 0; n < 100; ++n) {
                            {
                                const auto g = co_await global.m.lock();
                                ++global.tokens;
                            }
                            global.changed.notify_one();
                            co_await yield();
                        }
                    }));
                }
                co_await join_all(handles);
                CHECK(taken == 400);
                CHECK(global.tokens == 0);
            },
            {.cores = cores});
    }
}

TEST_CASE("condition_cancelled_and_notified_at_once_loses_no_token") {
    for (const unsigned cores : {2U, 4U}) {
        ringo::run(
            []() -> task<> {
                monitor s;
                int got = 0;
                for (int i = 0; i < 300; ++i) {
                    const auto takes = [](monitor& from, int& sum) -> task<> {
                        auto g = co_await from.m.lock();
                        ++from.waiting;
                        struct leaves {
                            explicit leaves(monitor& x) : at(x) {}
                            ~leaves() { --at.waiting; }
                            monitor& at;
                        } const guard(from);
                        co_await from.changed.wait(g, [&from] { return from.tokens != 0; });
                        --from.tokens;
                        ++sum;
                    };
                    auto a = spawn(on(1), takes, std::ref(s), std::ref(got));
                    auto b = spawn(on(ringo::cores() - 1), takes, std::ref(s), std::ref(got));
                    co_await until_waiting(s, 2);
                    {
                        const auto g = co_await s.m.lock();
                        ++s.tokens;
                    }
                    a.cancel();
                    s.changed.notify_one();
                    // Either a has it, or b has.
                    const auto failed = co_await end_of(a);
                    if (!failed) {
                        {
                            const auto g = co_await s.m.lock();
                            ++s.tokens;
                        }
                        s.changed.notify_one();
                    }
                    co_await b;
                    CHECK(s.tokens == 0);
                    CHECK(got == (failed ? 1 : 2));
                    got = 0;
                }
            },
            {.cores = cores});
    }
}

TEST_CASE("condition_is_notified_by_a_foreign_thread") {
    ringo::run([]() -> task<> {
        monitor s;
        auto h = spawn(waits, std::ref(s), 'a');
        co_await until_waiting(s, 1);
        std::thread foreign([&s] { s.changed.notify_all(); });
        co_await h;
        foreign.join();
        CHECK(s.order == "a");
    });
}

TEST_CASE("condition_may_go_once_all_are_notified") {
    test::virtual_run([]() -> task<> {
        mutex m;
        auto c = std::make_unique<condition_variable>();
        auto h = spawn([&]() -> task<> {
            auto g = co_await m.lock();
            co_await c->wait(g);
        });
        co_await yield();
        auto g = co_await m.lock();
        c->notify_all();
        c.reset();
        h.cancel();
        g.unlock();
        CHECK(!(co_await end_of(h)));
    });
}

TEST_CASE("condition_waiters_end_with_the_run") {  // 81
    for (const auto grace : {0ms, 1000ms}) {
        monitor s;
        ringo::options o;
        o.cores = 2;
        o.shutdown_grace = grace;
        ringo::run(
            [&s, grace]() -> task<> {
                for (std::size_t i = 0; i < 100; ++i) {
                    ringo::go(on(i % 2), [&s, grace]() -> task<> {
                        const auto wait = [](monitor& on_it) -> task<> {
                            auto g = co_await on_it.m.lock();
                            ++on_it.waiting;
                            co_await on_it.changed.wait(g);
                        };
                        if (grace == 0ms) {
                            co_await ringo::shield(wait(s));
                        } else {
                            co_await wait(s);
                        }
                    });
                }
                co_await until_waiting(s, 100);
                if (grace == 0ms) {
                    // Some wait for the mutex, which is never given back.
                    ringo::go([&s]() -> task<> {
                        const auto g = co_await s.m.lock();
                        for (int i = 0; i < 50; ++i) {
                            s.changed.notify_one();
                        }
                        co_await ringo::shield(ringo::sleep(for_ever));
                    });
                    co_await yield();
                }
            },
            o);
        CHECK(static_cast<bool>(s.m.try_lock()));
    }
}

TEST_CASE("condition_waiters_end_with_the_run_while_a_thread_holds_the_mutex") {
    monitor s;
    {
        mutex::guard held;
        ringo::options o;
        o.cores = 2;
        o.shutdown_grace = 0ms;
        ringo::run(
            [&]() -> task<> {
                for (std::size_t i = 0; i < 10; ++i) {
                    ringo::go(on(i % 2), waits, std::ref(s), 'a');
                }
                co_await until_waiting(s, 10);
                held = co_await s.m.lock();
                s.changed.notify_all();
            },
            o);
        CHECK(static_cast<bool>(held));
    }
    CHECK(static_cast<bool>(s.m.try_lock()));
}

TEST_CASE("condition_misuse_is_a_panic") {
    test::expect_panic("condition_variable: wait without the mutex", [] {
        ringo::run([]() -> task<> {
            condition_variable c;
            mutex::guard g;
            co_await c.wait(g);
        });
    });
}

TEST_CASE("condition_that_goes_leaves_its_waiters_waiting_until_they_are_cancelled") {
    for (const std::size_t core : {std::size_t{0}, std::size_t{1}}) {
        ringo::run(
            [core]() -> task<> {
                auto s = std::make_unique<monitor>();
                bool held = true;
                auto h = spawn(on(core), [&held, x = s.get()]() -> task<> {
                    auto g = co_await x->m.lock();
                    ++x->waiting;
                    try {
                        co_await x->changed.wait(g);
                    } catch (const ringo::cancelled&) {
                        held = static_cast<bool>(g);
                        throw;
                    }
                });
                co_await until_waiting(*s, 1);
                s.reset();
                co_await yield();
                h.cancel();
                CHECK((co_await end_of(h)) == std::errc::operation_canceled);
                CHECK_FALSE(held);
            },
            {.cores = 2});
    }
}

TEST_CASE("condition_and_mutex_of_the_main_task_may_end_before_who_waits") {  // 81
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                monitor s;
                for (std::size_t i = 0; i < 1000; ++i) {
                    ringo::go(on(i % ringo::cores()), [&s]() -> task<> {
                        auto g = co_await s.m.lock();
                        ++s.waiting;
                        co_await s.changed.wait(g);
                    });
                }
                co_await until_waiting(s, 1000);
            },
            {.cores = cores});
    }
}
