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
#include <vector>

using namespace std::chrono_literals;
using ringo::join_handle;
using ringo::on;
using ringo::shared_mutex;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::end_of;
using test::for_ever;
using test::join_all;

namespace {

shared_mutex global;  // made before main, used in every run

bool is_free(shared_mutex& m) { return static_cast<bool>(m.try_lock()); }

task<> reads(shared_mutex& m, std::string& order, char name) {
    const auto g = co_await m.lock_shared();
    order += name;
    co_await yield();
}
task<> writes(shared_mutex& m, std::string& order, char name) {
    const auto g = co_await m.lock();
    order += name;
    co_await yield();
}

}  // namespace

TEST_CASE("shared_mutex_lets_readers_overlap_and_a_writer_be_alone") {
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        {
            const auto a = co_await m.lock_shared();
            const auto b = co_await m.lock_shared();
            const auto c = m.try_lock_shared();
            CHECK((a && b && c));
            CHECK_FALSE(m.try_lock());
        }
        {
            const auto w = co_await m.lock();
            CHECK(static_cast<bool>(w));
            CHECK_FALSE(m.try_lock());
            CHECK_FALSE(m.try_lock_shared());
        }
        auto w = m.try_lock();
        CHECK(static_cast<bool>(w));
        w.unlock();
        auto r = m.try_lock_shared();
        auto other = std::move(r);
        CHECK_FALSE(r);
        other.unlock();
        CHECK(is_free(m));
    });
}

TEST_CASE("shared_mutex_lets_in_readers_and_writers_in_order_of_arrival") {
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        std::string order;
        std::vector<join_handle<void>> handles;
        auto g = co_await m.lock_shared();
        handles.push_back(spawn(reads, std::ref(m), std::ref(order), 'r'));
        handles.push_back(spawn(writes, std::ref(m), std::ref(order), 'W'));
        handles.push_back(spawn(reads, std::ref(m), std::ref(order), 's'));
        handles.push_back(spawn(reads, std::ref(m), std::ref(order), 't'));
        handles.push_back(spawn(writes, std::ref(m), std::ref(order), 'X'));
        handles.push_back(spawn(writes, std::ref(m), std::ref(order), 'Y'));
        handles.push_back(spawn(reads, std::ref(m), std::ref(order), 'u'));
        co_await yield();
        CHECK(order == "r");
        // A reader that comes now stands behind the writer.
        CHECK_FALSE(m.try_lock_shared());
        g.unlock();
        co_await join_all(handles);
        CHECK(order == "rWstXYu");
        CHECK(is_free(m));
    });
}

TEST_CASE("shared_mutex_is_unlocked_on_another_core_and_by_a_foreign_thread") {
    ringo::run(
        []() -> task<> {
            shared_mutex m;
            std::string order;
            auto r = co_await m.lock_shared();
            auto s = co_await m.lock_shared();
            auto writer = spawn(writes, std::ref(m), std::ref(order), 'W');
            co_await yield();
            auto unlocker = spawn(
                on(1), [](shared_mutex::shared_guard) -> task<> { co_return; }, std::move(r));
            std::thread foreign([held = std::move(s)]() mutable { held.unlock(); });
            co_await writer;
            co_await unlocker;
            foreign.join();
            auto w = co_await m.lock();
            auto reader = spawn(on(1), reads, std::ref(m), std::ref(order), 'r');
            std::thread another([held = std::move(w)]() mutable { held.unlock(); });
            co_await reader;
            another.join();
            CHECK(order == "Wr");
        },
        {.cores = 2});
}

TEST_CASE("shared_mutex_made_before_any_run_works_in_each") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        long value = 0;
        ringo::run(
            [&value]() -> task<> {
                std::vector<join_handle<void>> handles;
                for (std::size_t i = 0; i < 4; ++i) {
                    handles.push_back(spawn(on(i % ringo::cores()), [&value]() -> task<> {
                        for (int n = 0; n < 100; ++n) {
                            { const auto g = co_await global.lock_shared(); }
                            const auto g = co_await global.lock();
                            ++value;
                        }
                    }));
                }
                co_await join_all(handles);
            },
            {.cores = cores});
        CHECK(value == 400);
        CHECK(is_free(global));
    }
}

TEST_CASE("shared_mutex_lock_fails_at_once_in_an_ended_context") {
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        const auto w = co_await ringo::as_result(ringo::within(scope, m.lock()));
        CHECK(w.error() == std::errc::operation_canceled);
        const auto r = co_await ringo::as_result(ringo::within(scope, m.lock_shared()));
        CHECK(r.error() == std::errc::operation_canceled);
        CHECK(is_free(m));
    });
}

TEST_CASE("a_cancelled_writer_lets_in_the_readers_behind_it") {  // TRAPS 18
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        std::string order;
        auto g = co_await m.lock_shared();
        auto w = spawn(writes, std::ref(m), std::ref(order), 'W');
        auto r = spawn(reads, std::ref(m), std::ref(order), 'r');
        auto s = spawn(reads, std::ref(m), std::ref(order), 's');
        auto x = spawn(writes, std::ref(m), std::ref(order), 'X');
        co_await yield();
        w.cancel();
        co_await r;
        co_await s;
        CHECK(order == "rs");  // while g is held
        CHECK((co_await end_of(w)) == std::errc::operation_canceled);
        g.unlock();
        co_await x;
        CHECK(is_free(m));
    });
}

TEST_CASE("a_writer_that_comes_too_late_lets_in_the_readers_behind_it") {
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        std::string order;
        const auto g = co_await m.lock_shared();
        auto w = spawn([&m]() -> task<> {
            const auto r = co_await ringo::as_result(ringo::timeout(1s, m.lock()));
            CHECK(r.error() == std::errc::timed_out);
        });
        co_await yield();
        co_await reads(m, order, 'r');
        CHECK(test::now() == 1s);
        co_await w;
    });
}

TEST_CASE("a_writer_that_loses_a_select_lets_in_the_readers_behind_it") {
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        std::string order;
        const auto g = co_await m.lock_shared();
        auto chooser = spawn([&m]() -> task<> {
            const auto r = co_await ringo::select(m.lock(), ringo::sleep(1s));
            CHECK(r.index() == 1);
            co_await ringo::sleep(1s);
        });
        co_await yield();
        co_await reads(m, order, 'r');
        CHECK(test::now() == 1s);
        co_await chooser;
    });
}

TEST_CASE("a_reader_that_is_cancelled_leaves_the_line") {
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        std::string order;
        auto g = co_await m.lock();
        auto r = spawn(reads, std::ref(m), std::ref(order), 'r');
        auto s = spawn(reads, std::ref(m), std::ref(order), 's');
        auto w = spawn(writes, std::ref(m), std::ref(order), 'W');
        co_await yield();
        r.cancel();
        CHECK((co_await end_of(r)) == std::errc::operation_canceled);
        g.unlock();
        co_await s;
        co_await w;
        CHECK(order == "sW");
        CHECK(is_free(m));
    });
}

TEST_CASE("who_has_been_let_in_is_not_cancelled") {  // TRAPS 18
    test::virtual_run([]() -> task<> {
        for (const bool is_writer : {false, true}) {
            shared_mutex m;
            auto g = co_await m.lock();
            int entered = 0;
            auto waiter = spawn([&]() -> task<> {
                if (is_writer) {
                    const auto mine = co_await m.lock();
                    ++entered;
                } else {
                    const auto mine = co_await m.lock_shared();
                    ++entered;
                }
            });
            co_await yield();
            g.unlock();
            CHECK_FALSE(m.try_lock());
            waiter.cancel();
            CHECK(!(co_await end_of(waiter)));
            CHECK(entered == 1);
            CHECK(is_free(m));
        }
    });
}

TEST_CASE("shared_mutex_cancelled_and_let_in_at_once_does_one_of_both") {
    ringo::run(
        []() -> task<> {
            shared_mutex m;
            std::string order;
            int got = 0;
            int failed = 0;
            for (int i = 0; i < 300; ++i) {
                auto g = co_await m.lock_shared();
                auto writer = spawn(on(1), [&m]() -> task<> {
                    const auto mine = co_await m.lock();
                    co_await yield();
                });
                auto reader = spawn(on(1), reads, std::ref(m), std::ref(order), 'r');
                for (int n = 0; n < i % 8; ++n) {
                    co_await yield();
                }
                writer.cancel();
                g.unlock();
                (co_await end_of(writer) ? failed : got) += 1;
                co_await reader;
                CHECK(is_free(m));
            }
            CHECK(got + failed == 300);
            CHECK(order.size() == 300);
        },
        {.cores = 2});
}

TEST_CASE("shared_mutex_locks_are_arms_of_select") {
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        {
            const auto r = co_await ringo::select(m.lock_shared(), ringo::otherwise);
            CHECK(r.index() == 0);
            CHECK(static_cast<bool>(m.try_lock_shared()));
            CHECK_FALSE(m.try_lock());
            const auto w = co_await ringo::select(m.lock(), ringo::otherwise);
            CHECK(w.index() == 1);
        }
        auto g = co_await m.lock();
        auto both = spawn([&m]() -> task<> {
            const auto r = co_await ringo::select(m.lock(), m.lock_shared());
            CHECK_FALSE(m.try_lock());
            CHECK(static_cast<bool>(m.try_lock_shared()) == (r.index() == 1));
        });
        co_await yield();
        g.unlock();
        co_await both;
        CHECK(is_free(m));
    });
}

TEST_CASE("shared_mutex_passes_over_a_select_that_another_arm_has_ended") {
    test::virtual_run([]() -> task<> {
        shared_mutex m;
        ringo::mutex n;
        std::string order;
        auto g = co_await m.lock();
        auto other = co_await n.lock();
        auto chooser = spawn([&]() -> task<> {
            const auto r = co_await ringo::select(m.lock(), n.lock());
            CHECK(r.index() == 1);
            co_await ringo::sleep(1s);
        });
        co_await yield();
        auto r = spawn(reads, std::ref(m), std::ref(order), 'r');
        co_await yield();
        other.unlock();  // ends the select, which stands before the reader still
        g.unlock();
        co_await r;
        CHECK(test::now() == 0s);
        co_await chooser;
        CHECK(is_free(m));
    });
}

TEST_CASE("shared_mutex_let_in_goroutines_that_are_destroyed_leave_it_free") {  // 81
    for (const auto grace : {0ms, 1000ms}) {
        shared_mutex m;
        ringo::options o;
        o.cores = 2;
        o.shutdown_grace = grace;
        ringo::run(
            [&m, grace]() -> task<> {
                for (std::size_t i = 0; i < 100; ++i) {
                    ringo::go(on(i % 2), [&m, i, grace]() -> task<> {
                        const auto waits = [](shared_mutex& on_it, bool is_writer) -> task<> {
                            if (is_writer) {
                                const auto g = co_await on_it.lock();
                                co_await ringo::sleep(for_ever);
                            } else {
                                const auto g = co_await on_it.lock_shared();
                                co_await ringo::sleep(for_ever);
                            }
                        };
                        if (grace == 0ms) {
                            co_await ringo::shield(waits(m, i % 3 == 0));
                        } else {
                            co_await waits(m, i % 3 == 0);
                        }
                    });
                }
                co_await yield();
                co_await yield();
            },
            o);
        CHECK(is_free(m));
    }
}

TEST_CASE("shared_mutex_destroyed_while_locked_is_a_panic") {
    test::expect_panic("shared_mutex: destroyed while locked", [] {
        auto m = std::make_unique<shared_mutex>();
        auto g = m->try_lock();
        m.reset();
    });
    test::expect_panic("shared_mutex: destroyed while locked", [] {
        auto m = std::make_unique<shared_mutex>();
        auto g = m->try_lock_shared();
        m.reset();
    });
}
