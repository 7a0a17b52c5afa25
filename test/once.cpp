#include <doctest/doctest.h>

#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>
#include <ringo/test.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::join_handle;
using ringo::on;
using ringo::once;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::end_of;
using test::for_ever;
using test::join_all;

namespace {

int calls = 0;
void counts() { ++calls; }
task<> counts_later() {
    co_await yield();
    ++calls;
}

}  // namespace

TEST_CASE("once_runs_the_first_function_only") {
    test::virtual_run([]() -> task<> {
        once o;
        std::string ran;
        CHECK_FALSE(o.done());
        co_await o.call([&ran] { ran += 'a'; });
        CHECK(o.done());
        co_await o.call([&ran] { ran += 'b'; });
        CHECK(ran == "a");
    });
}

TEST_CASE("once_takes_functions_closures_and_tasks") {
    test::virtual_run([]() -> task<> {
        calls = 0;
        once a;
        co_await a.call(counts);
        once b;
        co_await b.call(&counts_later);
        once c;
        co_await c.call(counts_later());
        once d;
        co_await d.call([]() -> task<> { co_await counts_later(); });
        once e;
        const std::function<void()> f = counts;
        co_await e.call(f);
        once g;
        auto owner = std::make_unique<int>(1);
        auto closure = [p = std::move(owner)]() -> task<int> {
            co_await yield();
            calls += *p;
            co_return calls;
        };
        co_await g.call(std::move(closure));
        CHECK(calls == 6);
        // Done: neither is run.
        co_await c.call(counts_later());
        co_await a.call(counts);
        CHECK(calls == 6);
    });
}

TEST_CASE("once_callers_wait_until_it_is_done") {
    test::virtual_run([]() -> task<> {
        once o;
        bool done = false;
        int returned = 0;
        std::vector<join_handle<void>> handles;
        for (int i = 0; i < 10; ++i) {
            handles.push_back(spawn([&]() -> task<> {
                co_await o.call([&]() -> task<> {
                    co_await ringo::sleep(1h);
                    done = true;
                });
                CHECK(done);
                ++returned;
            }));
        }
        co_await ringo::sleep(1min);
        CHECK(returned == 0);
        CHECK_FALSE(o.done());
        co_await join_all(handles);
        CHECK(returned == 10);
        CHECK(test::now() == 1h);
    });
}

TEST_CASE("once_that_throws_is_done_and_only_the_first_caller_hears_of_it") {
    test::virtual_run([]() -> task<> {
        for (const bool later : {false, true}) {
            once o;
            int failed = 0;
            int returned = 0;
            std::vector<join_handle<void>> handles;
            for (int i = 0; i < 5; ++i) {
                handles.push_back(spawn([&, later]() -> task<> {
                    try {
                        co_await o.call([&later]() -> task<> {
                            if (later) {
                                co_await yield();
                            }
                            throw std::runtime_error("no");
                        });
                        ++returned;
                    } catch (const std::runtime_error&) {
                        ++failed;
                    }
                }));
            }
            co_await join_all(handles);
            CHECK(failed == 1);
            CHECK(returned == 4);
            CHECK(o.done());
        }
        once plain;
        CHECK_THROWS_AS(co_await plain.call([] { throw std::runtime_error("no"); }),
                        std::runtime_error);
        CHECK(plain.done());
    });
}

TEST_CASE("once_made_before_any_run_stays_done") {
    static once o;
    int ran = 0;
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            [&ran]() -> task<> {
                auto h = spawn(on(ringo::cores() - 1),
                               [&ran]() -> task<> { co_await o.call([&ran] { ++ran; }); });
                co_await o.call([&ran] { ++ran; });
                co_await h;
            },
            {.cores = cores});
    }
    CHECK(ran == 1);
}

TEST_CASE("once_caller_that_is_cancelled_leaves_and_the_function_runs_on") {
    test::virtual_run([]() -> task<> {
        once o;
        bool done = false;
        auto first = spawn([&]() -> task<> {
            co_await o.call([&]() -> task<> {
                co_await ringo::sleep(1s);
                done = true;
            });
        });
        auto second = spawn([&o]() -> task<> { co_await o.call([] {}); });
        auto third = spawn([&o]() -> task<> { co_await o.call([] {}); });
        co_await yield();
        second.cancel();
        CHECK((co_await end_of(second)) == std::errc::operation_canceled);
        CHECK_FALSE(done);
        const auto r = co_await ringo::as_result(ringo::timeout(1ms, o.call([] {})));
        CHECK(r.error() == std::errc::timed_out);
        co_await first;
        co_await third;
        CHECK(done);
    });
}

TEST_CASE("once_whose_function_is_cancelled_is_done") {
    test::virtual_run([]() -> task<> {
        once o;
        auto first = spawn([&o]() -> task<> {
            co_await o.call([]() -> task<> { co_await ringo::sleep(for_ever); });
        });
        auto second = spawn([&o]() -> task<> { co_await o.call([] {}); });
        co_await yield();
        first.cancel();
        CHECK((co_await end_of(first)) == std::errc::operation_canceled);
        co_await second;
        CHECK(o.done());
    });
}

TEST_CASE("once_does_not_begin_in_an_ended_context") {
    test::virtual_run([]() -> task<> {
        once o;
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        bool ran = false;
        const auto call = [&o, &ran] { return o.call([&ran] { ran = true; }); };
        const auto r = co_await ringo::as_result(ringo::within(scope, call()));
        CHECK(r.error() == std::errc::operation_canceled);
        CHECK_FALSE(ran);
        CHECK_FALSE(o.done());
        co_await call();
        CHECK(ran);
        // As every other wait, done or not.
        const auto again = co_await ringo::as_result(ringo::within(scope, call()));
        CHECK(again.error() == std::errc::operation_canceled);
    });
}

TEST_CASE("once_whose_goroutine_is_destroyed_is_done") {
    once o;
    std::atomic<int> ends = 0;
    ringo::options opts;
    opts.cores = 2;
    opts.shutdown_grace = 0ms;
    ringo::run(
        [&]() -> task<> {
            for (std::size_t i = 0; i < 10; ++i) {
                ringo::go(on(i % 2), [&]() -> task<> {
                    struct counts_end {
                        explicit counts_end(std::atomic<int>& n) : to(n) {}
                        ~counts_end() { ++to; }
                        std::atomic<int>& to;
                    } const end(ends);
                    co_await ringo::shield(
                        o.call([]() -> task<> { co_await ringo::shield(ringo::sleep(for_ever)); }));
                });
            }
            co_await yield();
        },
        opts);
    CHECK(ends <= 10);
    CHECK(o.done());
}

TEST_CASE("once_misuse") {
    // As in Go, it waits for itself.
    once own;  // outlives the run, where its function ends at last
    CHECK_THROWS_WITH_AS(test::virtual_run([&own]() -> task<> {
                             co_await own.call([&own]() -> task<> { co_await own.call([] {}); });
                         }),
                         "all goroutines are asleep - deadlock! 1 goroutine: once call",
                         ringo::test::deadlock);
    test::expect_panic("once: destroyed while its function runs", [] {
        ringo::run([]() -> task<> {
            auto o = std::make_unique<once>();
            auto h = spawn([&o]() -> task<> {
                co_await o->call([]() -> task<> { co_await ringo::sleep(for_ever); });
            });
            co_await yield();
            o.reset();
        });
    });
}
