#include <doctest/doctest.h>

#include "context.hpp"
#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::context;
using ringo::go;
using ringo::spawn;
using ringo::task;
using ringo::this_context;
using ringo::with_cancel;
using ringo::with_deadline;
using ringo::with_timeout;
using ringo::with_value;
using ringo::yield;
using test::for_ever;
using test::sleeps_for_ever;

namespace {

task<int> number_after(ringo::duration d, int n) {
    co_await ringo::sleep(d);
    co_return n;
}
/// The code that `what` fails with; empty when it does not.
template <class Awaitable>
task<std::error_code> code_of(Awaitable what) {
    const auto r = co_await ringo::as_result(std::move(what));
    co_return r ? std::error_code() : r.error();
}

struct user_name {
    using type = std::string;
};
struct depth {
    using type = int;
};
}  // namespace

// --- ending ---

TEST_CASE("the_background_never_ends") {
    const context ctx = context::background();
    CHECK_FALSE(ctx.cancelled());
    CHECK_FALSE(ctx.error());
    CHECK(ctx.cause() == nullptr);
    CHECK_FALSE(ctx.deadline());
    CHECK_FALSE(this_context().cancelled());  // outside goroutines it is the same
}

TEST_CASE("cancel_ends_it_with_operation_canceled") {
    auto scope = with_cancel(context::background());
    const context ctx = scope.ctx();
    CHECK_FALSE(ctx.cancelled());
    CHECK_FALSE(ctx.error());
    scope.cancel();
    CHECK(ctx.cancelled());
    CHECK(ctx.error() == std::errc::operation_canceled);
    CHECK(ctx.error() == ringo::errc::cancelled);
}

TEST_CASE("the_scope_ends_it_when_it_dies") {
    std::optional<context> ctx;
    {
        const auto scope = with_cancel(context::background());
        ctx = scope.ctx();
        CHECK_FALSE(ctx->cancelled());
    }
    CHECK(ctx->cancelled());
    {
        auto first = with_cancel(context::background());
        ctx = first.ctx();
        auto moved = std::move(first);
        CHECK_FALSE(ctx->cancelled());
        moved = with_cancel(context::background());
        CHECK(ctx->cancelled());  // assignment ends the one before
        CHECK_FALSE(moved.ctx().cancelled());
    }
}

TEST_CASE("done_of_the_goroutines_own_context_ends_normally") {
    ringo::run([]() -> task<> {
        auto scope = with_cancel(this_context());
        auto h = spawn(ringo::with(scope), []() -> task<bool> {
            co_await this_context().done();
            co_return this_context().cancelled();
        });
        co_await yield();
        scope.cancel();
        const bool ended = co_await h;
        CHECK(ended);
    });
}

// --- values ---

TEST_CASE("values_are_inherited_from_goroutine_to_goroutine") {
    ringo::run(
        []() -> task<> {
            const context ctx = with_value<user_name>(this_context(), "ada");
            auto h = spawn(ringo::on(1).with(ctx), []() -> task<std::string> {
                auto grandchild = spawn(ringo::on(0), []() -> task<std::string> {
                    co_return *this_context().value<user_name>();
                });
                std::string name = co_await grandchild;
                co_return name;
            });
            const std::string name = co_await h;
            CHECK(name == "ada");
        },
        {.cores = 2});
}

// --- deadlines ---

TEST_CASE("a_deadline_that_has_passed_ends_it_at_once") {
    for (const auto d : {ringo::duration(0), ringo::duration(-1s), ringo::duration::min()}) {
        auto scope = with_timeout(context::background(), d);
        CHECK(scope.ctx().error() == std::errc::timed_out);
        CHECK(scope.ctx().error() == ringo::errc::deadline_exceeded);
    }
    CHECK(with_deadline(context::background(), ringo::time_point::min()).ctx().cancelled());
}

TEST_CASE("a_deadline_at_the_end_of_time_is_none") {
    auto scope = with_timeout(context::background(), ringo::duration::max());
    CHECK_FALSE(scope.ctx().cancelled());
    CHECK_FALSE(scope.ctx().deadline());
    auto at = with_deadline(context::background(), ringo::time_point::max());
    CHECK_FALSE(at.ctx().deadline());
}

TEST_CASE("the_timer_beats_a_later_cancel") {
    test::virtual_run([]() -> task<> {
        auto scope = with_timeout(this_context(), 1s);
        co_await ringo::sleep(2s);
        scope.cancel(std::make_exception_ptr(std::runtime_error("late")));
        CHECK(scope.ctx().error() == std::errc::timed_out);
        CHECK(scope.ctx().cause() == nullptr);
    });
}

TEST_CASE("a_deadline_made_on_a_thread_is_kept_on_a_core") {
    auto scope = with_timeout(context::background(), 1ms);
    std::error_code code;
    ringo::run([&]() -> task<> {
        auto h = spawn(ringo::with(scope), sleeps_for_ever);
        try {
            co_await h;
        } catch (const std::system_error& e) {
            code = e.code();
        }
    });
    CHECK(code == std::errc::timed_out);
    CHECK(scope.ctx().error() == std::errc::timed_out);
}

// --- every suspension point observes it ---

TEST_CASE("each_wait_ends_when_the_context_does") {
    ringo::run(
        []() -> task<> {
            const auto ends = []<class F>(F f) -> task<> {
                for (const std::size_t core : {0, 1}) {
                    auto scope = with_cancel(this_context());
                    auto h = spawn(ringo::on(core).with(scope), f);
                    for (int i = 0; i < 3; ++i) {
                        co_await yield();
                    }
                    CHECK_FALSE(h.done());
                    scope.cancel();
                    bool was_cancelled = false;
                    try {
                        co_await h;
                    } catch (const ringo::cancelled&) {
                        was_cancelled = true;
                    }
                    CHECK(was_cancelled);
                }
            };
            co_await ends(sleeps_for_ever);
            co_await ends([]() -> task<> { co_await context::background().done(); });
            co_await ends([]() -> task<> {
                while (true) {
                    co_await yield();
                }
            });
            co_await ends([]() -> task<> {
                auto inner = spawn(ringo::with(context::background()), sleeps_for_ever);
                const auto cancels = [](ringo::join_handle<void>& h) -> task<> { co_await h; };
                const auto r = co_await ringo::as_result(cancels(inner));
                inner.cancel();
                co_await yield();
                CHECK_FALSE(r.has_value());
            });
            co_await ends([]() -> task<> {
                std::optional<ringo::completion<int>> kept;
                co_await ringo::from_callback<int>(
                    [&kept](ringo::completion<int> c) { kept = std::move(c); });
            });
        },
        {.cores = 2});
}

TEST_CASE("an_operation_fails_at_once_under_an_ended_context") {
    test::virtual_run([]() -> task<> {
        auto scope = with_cancel(this_context());
        scope.cancel();
        auto code = co_await code_of(ringo::within(scope, ringo::sleep(1h)));
        CHECK(code == std::errc::operation_canceled);
        code = co_await code_of(ringo::within(scope, yield()));
        CHECK(code == std::errc::operation_canceled);
        code = co_await code_of(ringo::timeout(0s, ringo::sleep(1h)));
        CHECK(code == std::errc::timed_out);
        CHECK(test::now() == 0s);
        bool called = false;
        code =
            co_await code_of(ringo::within(scope, ringo::blocking([&called] { called = true; })));
        CHECK(code == std::errc::operation_canceled);
        CHECK_FALSE(called);
        code = co_await code_of(ringo::within(
            scope,
            ringo::from_callback<int>([&called](ringo::completion<int>) { called = true; })));
        CHECK(code == std::errc::operation_canceled);
        CHECK_FALSE(called);
    });
}

TEST_CASE("a_goroutine_started_under_an_ended_context_runs_to_its_first_wait") {
    ringo::run(
        []() -> task<> {
            auto scope = with_cancel(this_context());
            scope.cancel();
            for (const std::size_t core : {0, 1}) {
                auto h = spawn(ringo::on(core).with(scope), []() -> task<int> { co_return 5; });
                const int n = co_await h;
                CHECK(n == 5);
            }
        },
        {.cores = 2});
}

TEST_CASE("cancelling_reaches_goroutines_on_every_core") {
    ringo::run(
        []() -> task<> {
            for (int round = 0; round < 50; ++round) {
                auto scope = with_cancel(this_context());
                std::atomic<int> cancelled = 0;
                std::vector<ringo::join_handle<void>> handles;
                for (std::size_t i = 0; i < 30; ++i) {
                    handles.push_back(
                        spawn(ringo::on(i % ringo::cores()).with(scope), [&cancelled]() -> task<> {
                            try {
                                co_await ringo::sleep(for_ever);
                            } catch (const ringo::cancelled&) {
                                ++cancelled;
                            }
                        }));
                }
                for (int i = 0; i < round % 4; ++i) {
                    co_await yield();
                }
                if (round % 3 == 0) {
                    std::thread([&scope] { scope.cancel(); }).join();
                } else {
                    scope.cancel();
                }
                for (auto& h : handles) {
                    co_await h;
                }
                CHECK(cancelled == 30);
            }
        },
        {.cores = 3});
}

// --- within, timeout, shield ---

TEST_CASE("within_binds_for_one_await_and_back") {
    ringo::run([]() -> task<> {
        const context before = this_context();
        const auto named = with_value<user_name>(before, "bob");
        const auto name = []() -> task<std::string> {
            co_await yield();
            co_return *this_context().value<user_name>();
        };
        const std::string s = co_await ringo::within(named, name());
        CHECK(s == "bob");
        CHECK(this_context().value<user_name>() == nullptr);

        const auto throws = []() -> task<> {
            co_await yield();
            throw std::runtime_error("out of within");
        };
        bool caught = false;
        try {
            co_await ringo::within(named, throws());
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
        CHECK(this_context().node().get() == before.node().get());
    });
}

TEST_CASE("nested_bindings_unwind_in_order") {
    test::virtual_run([]() -> task<> {
        const context before = this_context();
        const auto named = with_value<user_name>(before, "outer");
        const auto deeper = with_value<depth>(named, 2);
        co_await ringo::within(named, ringo::within(deeper, yield()));
        CHECK(this_context().node().get() == before.node().get());
        co_await ringo::timeout(1s, ringo::shield(ringo::timeout(1s, yield())));
        CHECK(this_context().node().get() == before.node().get());
        co_await ringo::as_result(
            ringo::within(deeper, ringo::timeout(1s, ringo::sleep(for_ever))));
        CHECK(this_context().node().get() == before.node().get());
        co_await ringo::sleep(10s);  // no deadline is left
    });
}

TEST_CASE("cancelling_the_context_of_within_leaves_the_goroutine_alone") {
    ringo::run([]() -> task<> {
        auto scope = with_cancel(this_context());
        go([&scope]() -> task<> {
            scope.cancel();
            co_return;
        });
        const auto code = co_await code_of(ringo::within(scope, ringo::sleep(for_ever)));
        CHECK(code == std::errc::operation_canceled);
        CHECK_FALSE(this_context().cancelled());
        co_await yield();  // does not throw
    });
}

TEST_CASE("the_outer_context_that_ends_during_within_shows_after_it") {
    ringo::run([]() -> task<> {
        auto scope = with_cancel(this_context());
        auto h = spawn(ringo::with(scope), []() -> task<std::string> {
            std::string seen;
            co_await ringo::within(context::background(), yield());
            co_await ringo::within(context::background(), yield());
            seen += this_context().cancelled() ? "cancelled" : "not yet";
            const auto r = co_await ringo::as_result(yield());
            seen += r ? ", ran on" : ", failed";
            co_return seen;
        });
        co_await yield();
        scope.cancel();
        const std::string seen = co_await h;
        CHECK(seen == "cancelled, failed");
    });
}

TEST_CASE("timeout_gives_the_result_in_time_or_throws") {
    test::virtual_run([]() -> task<> {
        const int n = co_await ringo::timeout(2s, number_after(1s, 4));
        CHECK(n == 4);
        CHECK(test::now() < 2s);
        bool late = false;
        try {
            co_await ringo::timeout(1s, number_after(10s, 4));
        } catch (const ringo::deadline_exceeded& e) {
            late = e.code() == std::errc::timed_out;
        }
        CHECK(late);
        CHECK(test::now() < 10s);
        const auto code = co_await code_of(ringo::timeout(1s, ringo::sleep(for_ever)));
        CHECK(code == std::errc::timed_out);
        const auto none = co_await code_of(ringo::timeout(for_ever, ringo::sleep(1s)));
        CHECK_FALSE(none);
        CHECK(ringo::detail::shard::here().timers.empty());
    });
}

TEST_CASE("of_nested_timeouts_the_one_that_fires_is_reported") {
    test::virtual_run([]() -> task<> {
        // The inner one fires; the outer one lets its exception pass and has time left.
        const auto inner_first = []() -> task<std::string> {
            const auto r = co_await ringo::as_result(ringo::timeout(1s, ringo::sleep(for_ever)));
            CHECK(r.error() == std::errc::timed_out);
            CHECK_FALSE(this_context().cancelled());
            co_await ringo::sleep(1s);
            co_return "went on";
        };
        const std::string went_on = co_await ringo::timeout(10s, inner_first());
        CHECK(went_on == "went on");

        // The outer one fires inside the inner.
        const auto outer_first = []() -> task<> {
            try {
                co_await ringo::timeout(100s, ringo::sleep(for_ever));
            } catch (const ringo::deadline_exceeded&) {
                CHECK(this_context().error() == std::errc::timed_out);  // it was the outer one
                throw;
            }
        };
        const auto start = test::now();
        const auto code = co_await code_of(ringo::timeout(1s, outer_first()));
        CHECK(code == std::errc::timed_out);
        CHECK(test::now() - start < 100s);
    });
}

TEST_CASE("cancellation_passes_through_a_timeout_as_cancelled") {
    test::virtual_run([]() -> task<> {
        auto scope = with_cancel(this_context());
        auto h = spawn(ringo::with(scope), []() -> task<std::error_code> {
            const auto code = co_await code_of(ringo::timeout(1h, ringo::sleep(for_ever)));
            co_return code;
        });
        co_await ringo::sleep(1s);
        scope.cancel();
        const auto code = co_await h;
        CHECK(code == std::errc::operation_canceled);
    });
}

TEST_CASE("shield_keeps_the_handles_cancel_out_too") {
    test::virtual_run([]() -> task<> {
        auto h = spawn([]() -> task<bool> {
            co_await ringo::shield(ringo::sleep(10s));
            co_await ringo::shield(ringo::timeout(1h, ringo::sleep(10s)));
            co_await ringo::shield(
                ringo::within(with_value<depth>(this_context(), 1), ringo::sleep(10s)));
            const auto r = co_await ringo::as_result(yield());
            co_return !r;
        });
        co_await ringo::sleep(1s);
        h.cancel();
        const bool failed_after = co_await h;
        CHECK(failed_after);
        CHECK(test::now() >= 30s);
    });
}

TEST_CASE("shield_that_is_entered_after_the_cancellation_still_shields") {
    test::virtual_run([]() -> task<> {
        auto h = spawn([]() -> task<int> {
            const auto r = co_await ringo::as_result(ringo::sleep(1h));
            CHECK(r.error() == std::errc::operation_canceled);
            const int n = co_await ringo::shield(number_after(1s, 3));
            const int m = co_await ringo::shield(ringo::timeout(1h, number_after(1s, 4)));
            co_return n + m;
        });
        co_await ringo::sleep(1s);
        h.cancel();
        const int n = co_await h;
        CHECK(n == 7);
    });
}

TEST_CASE("a_goroutine_started_inside_a_shield_can_be_cancelled_by_its_handle") {
    test::virtual_run([]() -> task<> {
        const auto inside = []() -> task<bool> {
            auto h = spawn(sleeps_for_ever);
            co_await yield();
            h.cancel();
            auto unstarted = spawn(ringo::anywhere, sleeps_for_ever);
            unstarted.cancel();
            int cancelled = 0;
            for (auto* const each : {&h, &unstarted}) {
                try {
                    co_await *each;
                } catch (const ringo::cancelled&) {
                    ++cancelled;
                }
            }
            co_return cancelled == 2;
        };
        const bool ok = co_await ringo::shield(inside());
        CHECK(ok);
    });
}

TEST_CASE("as_result_gives_codes_and_values") {
    test::virtual_run([]() -> task<> {
        const auto value = co_await ringo::as_result(number_after(1s, 9));
        CHECK(value.value() == 9);
        const auto nothing = co_await ringo::as_result(ringo::sleep(1s));
        CHECK(nothing.has_value());
        const auto late = co_await ringo::as_result(ringo::timeout(1s, sleeps_for_ever()));
        CHECK(late.error() == std::errc::timed_out);
    });
}

// --- std::stop_token ---

TEST_CASE("a_stop_token_ends_a_context") {
    std::stop_source source;
    const context ctx = context::from(source.get_token());
    auto child = with_cancel(ctx);
    CHECK_FALSE(ctx.cancelled());
    source.request_stop();
    CHECK(ctx.error() == std::errc::operation_canceled);
    CHECK(child.ctx().cancelled());
    CHECK(context::from(source.get_token()).cancelled());  // it was stopped before
    CHECK_FALSE(context::from(std::stop_token()).cancelled());
}

TEST_CASE("a_stop_token_from_a_thread_wakes_goroutines") {
    std::stop_source source;
    std::atomic<bool> parked = false;
    std::jthread stops([&] {
        while (!parked) {
            std::this_thread::yield();
        }
        source.request_stop();
    });
    bool was_cancelled = false;
    ringo::run([&]() -> task<> {
        auto h = spawn(ringo::with(context::from(source.get_token())), [&parked]() -> task<> {
            parked = true;
            co_await ringo::sleep(for_ever);
        });
        try {
            co_await h;
        } catch (const ringo::cancelled&) {
            was_cancelled = true;
        }
    });
    CHECK(was_cancelled);
}

TEST_CASE("a_context_stops_its_stop_token") {
    auto scope = with_cancel(context::background());
    const std::stop_token token = scope.ctx().stop_token();
    const std::stop_token same = scope.ctx().stop_token();
    CHECK(token == same);
    bool called = false;
    std::stop_callback callback(token, [&called] { called = true; });
    CHECK_FALSE(token.stop_requested());
    scope.cancel();
    CHECK(token.stop_requested());
    CHECK(called);
    CHECK(scope.ctx().stop_token().stop_requested());

    auto ended = with_timeout(context::background(), 0s);
    CHECK(ended.ctx().stop_token().stop_requested());  // asked for afterwards
}

TEST_CASE("a_stop_token_keeps_no_context_alive") {
    std::stop_token token;
    {
        const context ctx = with_value<depth>(context::background(), 1);
        token = ctx.stop_token();
        CHECK(token.stop_possible());
    }
    CHECK_FALSE(token.stop_possible());
    CHECK_FALSE(token.stop_requested());
    std::stop_source source;
    { const context ctx = context::from(source.get_token()); }
    source.request_stop();  // nobody is there any more
}

TEST_CASE("contexts_ended_by_threads_race_with_goroutines_that_leave") {
    for (int round = 0; round < 300; ++round) {
        auto scope = with_timeout(context::background(), round % 2 == 0 ? 1h : 20us);
        std::atomic<bool> started = false;
        std::thread ends([&] {
            while (!started) {
            }
            scope.cancel();
        });
        ringo::run(
            [&]() -> task<> {
                started = true;
                for (int i = 0; i < 4; ++i) {
                    auto h = spawn(ringo::with(scope), []() -> task<> {
                        for (int k = 0; k < 3; ++k) {
                            co_await ringo::as_result(ringo::sleep(5us));
                        }
                    });
                    co_await h;
                }
            },
            {.cores = 1});
        ends.join();
        CHECK(scope.ctx().cancelled());
    }
}
