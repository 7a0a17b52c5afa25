// Go's scenarios for contexts (context_test.go), by their numbers in the list of conformance.
#include <doctest/doctest.h>

#include "conformance/placements.hpp"
#include "context.hpp"
#include "shard.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using ringo::context;
using ringo::spawn;
using ringo::task;
using ringo::this_context;
using ringo::with_cancel;
using ringo::with_deadline;
using ringo::with_timeout;
using ringo::with_value;
using ringo::yield;
using test::placement;
using test::sleeps_for_ever;

namespace {

task<> waits_for_end_of(context ctx, std::atomic<int>& ends) {
    co_await ctx.done();
    ++ends;
}
task<> cancels(ringo::place where, ringo::cancel_scope& scope) {
    auto h = spawn(where, [&scope]() -> task<> {
        scope.cancel();
        co_return;
    });
    co_await h;
}

std::string text_of(const std::exception_ptr& e) {
    try {
        std::rethrow_exception(e);
    } catch (const std::exception& what) {
        return what.what();
    }
}
std::exception_ptr failure(const char* text) {
    return std::make_exception_ptr(std::runtime_error(text));
}

struct user_name {
    using type = std::string;
};
struct depth {
    using type = int;
};
struct is_its_own_value {
    int n;
};

/// How many contexts derive from `ctx` and are linked to it.
std::size_t children(const context& ctx) {
    const std::lock_guard guard(ctx.node()->lock);
    std::size_t n = 0;
    for (const auto* c = ctx.node()->first_child; c != nullptr; c = c->next_sibling) {
        ++n;
    }
    return n;
}
/// On how many cores it is known.
std::size_t scopes(const context& ctx) {
    const std::lock_guard guard(ctx.node()->lock);
    std::size_t n = 0;
    for (const auto* s = ctx.node()->scopes; s != nullptr; s = s->node_next) {
        ++n;
    }
    return n;
}

}  // namespace

TEST_CASE("go_40_done_wakes_each_waiter_once") {
    test::for_each_placement([](placement p) -> task<> {
        auto scope = with_cancel(this_context());
        std::atomic<int> ends = 0;
        std::vector<ringo::join_handle<void>> handles;
        for (int i = 0; i < 10; ++i) {
            handles.push_back(spawn(p.waits(), waits_for_end_of, scope.ctx(), std::ref(ends)));
        }
        co_await test::until_parked(p.waiter, handles.back(), "context done");
        CHECK(ends == 0);
        co_await cancels(p.wakes(), scope);
        co_await cancels(p.wakes(), scope);
        for (auto& h : handles) {
            co_await h;
        }
        CHECK(ends == 10);
        co_await scope.ctx().done();  // ended already: at once
    });
}

TEST_CASE("go_41_a_parent_ends_its_children_and_theirs") {
    test::for_each_placement([](placement p) -> task<> {
        auto parent = with_cancel(context::background());
        auto child = with_cancel(parent);
        const auto valued = with_value<depth>(child, 2);
        auto timed = with_timeout(valued, 1h);
        auto under = spawn(p.waits().with(timed), sleeps_for_ever);
        co_await test::until_parked(p.waiter, under, "sleep");
        co_await cancels(p.wakes(), parent);
        CHECK(child.ctx().error() == std::errc::operation_canceled);
        CHECK(valued.error() == std::errc::operation_canceled);
        CHECK(timed.ctx().error() == std::errc::operation_canceled);
        const auto r = co_await ringo::as_result(under);
        CHECK(r.error() == std::errc::operation_canceled);
    });
}

TEST_CASE("go_42_a_child_leaves_its_parent_and_siblings_alone") {
    test::for_each_placement([](placement p) -> task<> {
        auto parent = with_cancel(context::background());
        auto first = with_cancel(parent);
        auto second = with_cancel(parent);
        auto under_first = spawn(p.waits().with(first), sleeps_for_ever);
        auto under_second = spawn(p.waits().with(second), sleeps_for_ever);
        co_await test::until_parked(p.waiter, under_second, "sleep");
        co_await cancels(p.wakes(), first);
        const auto r = co_await ringo::as_result(under_first);
        CHECK(r.error() == std::errc::operation_canceled);
        CHECK(first.ctx().cancelled());
        CHECK_FALSE(second.ctx().cancelled());
        CHECK_FALSE(parent.ctx().cancelled());
        CHECK_FALSE(under_second.done());
        under_second.cancel();
        (void)co_await ringo::as_result(under_second);
    });
}

TEST_CASE("go_43_ended_and_dropped_children_are_unlinked") {
    test::for_each_placement([](placement p) -> task<> {
        auto parent = with_cancel(this_context());
        for (int i = 0; i < 1000; ++i) {
            auto ended = with_cancel(parent);
            auto timed = with_timeout(parent, 1h);
            auto kept = with_value<depth>(ended, i);
            CHECK(children(parent) == 2);
            ended.cancel();
            CHECK(children(parent) == 1);
        }
        CHECK(children(parent) == 0);
        for (int i = 0; i < 100; ++i) {
            auto h = spawn(p.waits().with(parent), []() -> task<> { co_await yield(); });
            co_await h;
        }
        co_await test::until([&] { return scopes(parent) == 0; });
        const auto r = co_await ringo::as_result(ringo::timeout(1us, sleeps_for_ever()));
        CHECK(r.error() == std::errc::timed_out);
        CHECK(ringo::detail::shard::here().timers.count() == 0);
    });
}

TEST_CASE("go_44_the_earliest_deadline_wins") {
    test::virtual_run([]() -> task<> {
        const auto at = [](ringo::duration d) {
            return ringo::time_point(std::chrono::duration_cast<ringo::duration>(test::now()) + d);
        };
        const auto soon = at(1s);
        const auto late = at(10s);
        auto outer = with_deadline(this_context(), soon);
        auto inner = with_deadline(outer, late);
        CHECK(inner.ctx().deadline() == soon);
        auto outer_late = with_deadline(this_context(), late);
        auto inner_soon = with_deadline(outer_late, soon);
        CHECK(inner_soon.ctx().deadline() == soon);
        CHECK(outer_late.ctx().deadline() == late);

        auto h = spawn(ringo::with(inner), sleeps_for_ever);
        const auto r = co_await ringo::as_result(h);
        CHECK(r.error() == std::errc::timed_out);
        CHECK(test::now() >= 1s);
        CHECK(test::now() < 10s);
        CHECK(inner_soon.ctx().error() == std::errc::timed_out);
        CHECK_FALSE(outer_late.ctx().cancelled());
    });
}

TEST_CASE("go_45_cancel_beats_the_timer") {
    test::virtual_run([]() -> task<> {
        auto scope = with_timeout(this_context(), 1s);
        scope.cancel(failure("early"));
        co_await ringo::sleep(2s);
        CHECK(scope.ctx().error() == std::errc::operation_canceled);
        CHECK(text_of(scope.ctx().cause()) == "early");
        CHECK(ringo::detail::shard::here().timers.empty());
    });
}

TEST_CASE("go_46_the_nearest_value_shadows") {
    const context none = context::background();
    CHECK(none.value<depth>() == nullptr);
    const context one = with_value<depth>(none, 1);
    const context named = with_value<user_name>(one, "gopher");
    const context two = with_value<depth>(named, 2);
    CHECK(*one.value<depth>() == 1);
    CHECK(*two.value<depth>() == 2);
    CHECK(*two.value<user_name>() == "gopher");
    CHECK(one.value<user_name>() == nullptr);
    const context self = with_value<is_its_own_value>(two, is_its_own_value{7});
    CHECK(self.value<is_its_own_value>()->n == 7);
    CHECK(*with_cancel(self).ctx().value<depth>() == 2);
}

TEST_CASE("go_47_simultaneous_cancels_end_it_once") {
    test::for_each_core_count([](placement p) -> task<> {
        for (int round = 0; round < 50; ++round) {
            auto scope = with_cancel(context::background());
            auto child = with_cancel(scope);
            std::atomic<int> calls = 0;
            std::stop_callback callback(child.ctx().stop_token(), [&calls] { ++calls; });
            std::vector<ringo::join_handle<void>> all;
            for (const char* const text : {"a", "b", "c"}) {
                all.push_back(spawn(p.nth(all.size()), [&scope, &child, text]() -> task<> {
                    (*text == 'c' ? child : scope).cancel(failure(text));
                    co_return;
                }));
            }
            std::thread outside([&scope] { scope.cancel(failure("d")); });
            for (auto& h : all) {
                co_await h;
            }
            outside.join();
            CHECK(calls == 1);
            const std::string cause = text_of(scope.ctx().cause());
            CHECK((cause == "a" || cause == "b" || cause == "d"));
        }
    });
}

TEST_CASE("go_48_mutual_cancels_end") {
    // Each of the two ends the other from a callback.
    auto a = with_cancel(context::background());
    auto b = with_cancel(context::background());
    std::stop_callback ends_b(a.ctx().stop_token(), [&b] { b.cancel(); });
    std::stop_callback ends_a(b.ctx().stop_token(), [&a] { a.cancel(); });
    a.cancel();
    CHECK(a.ctx().cancelled());
    CHECK(b.ctx().cancelled());
}

TEST_CASE("go_49_deep_and_wide_trees_clean_up") {
    // Deeper than any stack would bear, if ending or releasing recursed.
    auto root = with_cancel(context::background());
    context deepest = root.ctx();
    for (int i = 0; i < 200'000; ++i) {
        deepest = with_value<depth>(deepest, i);
    }
    std::vector<ringo::cancel_scope> wide;
    for (int i = 0; i < 10'000; ++i) {
        wide.push_back(with_cancel(deepest));
    }
    root.cancel(failure("from the root"));
    CHECK(text_of(deepest.cause()) == "from the root");
    for (const auto& scope : wide) {
        CHECK(scope.ctx().cancelled());
    }
    wide.clear();
    deepest = context::background();
    CHECK(children(root) == 0);
}

TEST_CASE("go_50_born_cancelled_from_a_cancelled_parent") {
    auto parent = with_cancel(context::background());
    parent.cancel(failure("first"));
    auto child = with_cancel(parent);
    CHECK(child.ctx().error() == std::errc::operation_canceled);
    CHECK(text_of(child.ctx().cause()) == "first");
    auto timed = with_timeout(parent, 1h);
    CHECK(timed.ctx().error() == std::errc::operation_canceled);
    const auto valued = with_value<depth>(parent, 1);
    CHECK(valued.cancelled());
    auto late = with_timeout(context::background(), -1s);
    auto of_late = with_cancel(late);
    CHECK(of_late.ctx().error() == std::errc::timed_out);
}

TEST_CASE("go_51_the_first_cause_sticks") {
    auto parent = with_cancel(context::background());
    auto child = with_cancel(parent);
    child.cancel(failure("child"));
    child.cancel(failure("child again"));
    parent.cancel(failure("parent"));
    CHECK(text_of(child.ctx().cause()) == "child");
    CHECK(text_of(parent.ctx().cause()) == "parent");

    auto without = with_cancel(context::background());
    without.cancel();
    without.cancel(failure("too late"));
    CHECK(without.ctx().cause() == nullptr);
}

TEST_CASE("go_52_shield_keeps_cancellation_out_until_it_ends") {
    test::virtual_run([]() -> task<> {
        const context named = with_value<user_name>(this_context(), "eve");
        auto scope = with_cancel(named);
        auto h = spawn(ringo::with(scope), []() -> task<std::string> {
            const auto cleanup = []() -> task<std::string> {
                co_await ringo::sleep(10s);
                co_await ringo::timeout(5s, ringo::sleep(1s));
                CHECK_FALSE(this_context().cancelled());
                CHECK_FALSE(this_context().deadline());
                co_return *this_context().value<user_name>();  // values go through
            };
            std::string name = co_await ringo::shield(cleanup());
            const auto r = co_await ringo::as_result(yield());
            CHECK(r.error() == std::errc::operation_canceled);
            co_return name;
        });
        co_await ringo::sleep(1s);
        scope.cancel();
        const std::string name = co_await h;
        CHECK(name == "eve");
        CHECK(test::now() >= 11s);
    });
}
