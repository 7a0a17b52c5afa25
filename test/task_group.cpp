#include <doctest/doctest.h>

#include "conformance/placements.hpp"
#include "misuse.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::spawn;
using ringo::task;
using ringo::task_group;
using ringo::yield;

namespace {

task<> waits_for_ever(std::atomic<int>& ended) {
    struct at_end {
        std::atomic<int>& n;
        ~at_end() { ++n; }
    } counter{ended};
    co_await ringo::sleep(ringo::duration::max());
}

task<> fails(const char* what) {
    co_await yield();
    throw std::runtime_error(what);
}

/// What `wait` throws: "", "cancelled", "deadline" or a runtime_error's text.
task<std::string> end_of(task_group& g) {
    try {
        co_await g.wait();
    } catch (const ringo::cancelled&) {
        co_return "cancelled";
    } catch (const ringo::deadline_exceeded&) {
        co_return "deadline";
    } catch (const std::runtime_error& e) {
        co_return e.what();
    }
    co_return "";
}

template <class F>
void on_cores(F body) {
    for (const unsigned cores : {1U, 2U, 4U}) {
        CAPTURE(cores);
        ringo::run([&]() -> task<> { return body(cores); }, {.cores = cores, .pin = false});
    }
}

}  // namespace

TEST_CASE("wait_returns_when_all_members_have_ended") {
    on_cores([](unsigned cores) -> task<> {
        task_group g;
        std::atomic<int> ended = 0;
        for (unsigned i = 0; i < 100; ++i) {
            g.go(
                ringo::on(i % cores),
                [&ended](unsigned yields) -> task<> {
                    for (; yields > 0; --yields) {
                        co_await yield();
                    }
                    ++ended;
                },
                i % 7);
        }
        g.go(ringo::anywhere, [&ended]() -> task<> {
            ++ended;
            co_return;
        });
        co_await g.wait();
        CHECK(ended == 101);
    });
}

TEST_CASE("wait_of_an_empty_group_returns_at_once") {
    ringo::run([]() -> task<> {
        task_group g;
        co_await g.wait();
        co_await g.wait();
    });
}

TEST_CASE("a_group_may_be_used_again_after_wait") {
    ringo::run([]() -> task<> {
        task_group g;
        int ran = 0;
        for (int round = 1; round <= 3; ++round) {
            g.go([&ran]() -> task<> {
                ++ran;
                co_return;
            });
            co_await g.wait();
            CHECK(ran == round);
        }
    });
}

TEST_CASE("go_never_suspends_and_starts_in_order") {
    ringo::run([]() -> task<> {
        task_group g;
        g.limit(3);
        std::vector<int> order;
        for (int i = 0; i < 20; ++i) {
            g.go(
                [&order](int n) -> task<> {
                    order.push_back(n);
                    co_await yield();
                },
                i);
        }
        CHECK(order.empty());
        co_await g.wait();
        CHECK(order.size() == 20);
        CHECK(std::is_sorted(order.begin(), order.end()));
    });
}

TEST_CASE("members_take_arguments_tasks_and_results_of_every_kind") {
    ringo::run([]() -> task<> {
        task_group g;
        int sum = 0;
        g.go(
            [](int& out, std::unique_ptr<int> p) -> task<> {
                co_await yield();
                out += *p;
            },
            std::ref(sum), std::make_unique<int>(1));
        g.go([](int& out) -> task<std::string> {
            out += 10;
            co_return std::string(100, 'x');
        }(sum));
        g.go([&sum]() -> task<int&> {
            sum += 100;
            co_return sum;
        });
        co_await g.wait();
        CHECK(sum == 111);
    });
}

TEST_CASE("a_member_has_gone_with_all_it_holds_before_wait_returns") {
    on_cores([](unsigned cores) -> task<> {
        for (int round = 0; round < 50; ++round) {
            auto token = std::make_shared<int>(round);
            task_group g;
            for (unsigned i = 0; i < 8; ++i) {
                g.go(ringo::on(i % cores), [token]() -> task<std::shared_ptr<int>> {
                    co_await yield();
                    co_return token;
                });
            }
            co_await g.wait();
            CHECK(token.use_count() == 1);
        }
    });
}

TEST_CASE("members_start_members") {
    on_cores([](unsigned cores) -> task<> {
        task_group g;
        g.limit(2);
        std::atomic<int> ran = 0;
        struct tree {
            static task<> grow(task_group& group, std::atomic<int>& n, unsigned depth,
                               unsigned all) {
                ++n;
                if (depth > 0) {
                    group.go(ringo::on(depth % all), grow, std::ref(group), std::ref(n), depth - 1,
                             all);
                    group.go(grow, std::ref(group), std::ref(n), depth - 1, all);
                }
                co_await yield();
            }
        };
        g.go(tree::grow, std::ref(g), std::ref(ran), 8U, cores);
        co_await g.wait();
        CHECK(ran == 511);
    });
}

TEST_CASE("a_member_that_another_core_wakes_goes_on_where_it_was") {
    on_cores([](unsigned cores) -> task<> {
        for (std::size_t at = 0; at < cores; ++at) {
            for (std::size_t waker = 0; waker < cores; ++waker) {
                auto makes = spawn(ringo::on(at), [at, waker]() -> task<bool> {
                    const ringo::chan<int> c;
                    std::atomic<std::size_t> seen = 0;
                    task_group g;
                    g.go([&, c]() -> task<> {
                        co_await c.recv();
                        seen = ringo::this_core();
                    });
                    co_await yield();
                    auto sends = spawn(ringo::on(waker), [c]() -> task<> { co_await c.send(1); });
                    co_await sends;
                    co_await g.wait();
                    co_return seen == at;
                });
                const bool stayed = co_await makes;
                CHECK(stayed);
            }
        }
    });
}

TEST_CASE("the_first_error_stops_the_rest_and_is_rethrown_each_time") {
    on_cores([](unsigned cores) -> task<> {
        task_group g;
        std::atomic<int> ended = 0;
        for (unsigned i = 0; i < 10; ++i) {
            g.go(ringo::on(i % cores), waits_for_ever, std::ref(ended));
        }
        co_await yield();
        g.go(ringo::on(cores - 1), fails, "first");
        std::string what = co_await end_of(g);
        CHECK(what == "first");
        CHECK(g.ctx().cancelled());
        CHECK(g.ctx().cause() != nullptr);
        what = co_await end_of(g);
        CHECK(what == "first");
    });
}

TEST_CASE("later_errors_are_dropped") {
    ringo::run([]() -> task<> {
        task_group g;
        for (const char* what : {"one", "two", "three"}) {
            g.go(fails, what);
        }
        const std::string what = co_await end_of(g);
        CHECK(what == "one");
    });
}

TEST_CASE("a_throw_before_there_is_a_task_is_an_error_of_the_member") {
    ringo::run([]() -> task<> {
        task_group g;
        g.go([]() -> task<> { throw std::runtime_error("no task"); });
        const std::string what = co_await end_of(g);
        CHECK(what == "no task");
    });
}

TEST_CASE("what_is_held_back_when_the_group_stops_never_runs") {
    ringo::run([]() -> task<> {
        task_group g;
        g.limit(1);
        auto token = std::make_shared<int>();
        bool ran = false;
        g.go(fails, "stop");
        for (int i = 0; i < 1000; ++i) {
            g.go([&ran, token]() -> task<> {
                ran = true;
                co_return;
            });
        }
        const std::string what = co_await end_of(g);
        CHECK(what == "stop");
        CHECK(token.use_count() == 1);
        g.go([&ran, token]() -> task<> {
            ran = true;
            co_return;
        });
        CHECK(token.use_count() == 1);
        co_await yield();
        CHECK_FALSE(ran);
    });
}

TEST_CASE("the_limit_can_change_while_members_run") {
    ringo::run([]() -> task<> {
        task_group g;
        int running = 0;
        bool open = false;
        const auto member = [&]() -> task<> {
            ++running;
            while (!open) {
                co_await yield();
            }
            --running;
        };
        g.limit(2);
        for (int i = 0; i < 10; ++i) {
            g.go(member);
        }
        co_await yield();
        CHECK(running == 2);
        g.limit(5);
        co_await yield();
        CHECK(running == 5);
        g.limit(1);
        g.go(member);
        co_await yield();
        CHECK(running == 5);
        g.limit(task_group::unlimited);
        co_await yield();
        CHECK(running == 11);
        open = true;
        co_await g.wait();
        CHECK(running == 0);
    });
}

TEST_CASE("a_limit_of_0_holds_all_back_until_it_is_raised") {
    ringo::run([]() -> task<> {
        task_group g;
        g.limit(0);
        int ran = 0;
        for (int i = 0; i < 3; ++i) {
            g.go([&ran]() -> task<> {
                ++ran;
                co_return;
            });
        }
        auto waiter = spawn(end_of, std::ref(g));
        co_await yield();
        co_await yield();
        CHECK(ran == 0);
        CHECK_FALSE(waiter.done());
        g.limit(1);
        const std::string what = co_await waiter;
        CHECK(what.empty());
        CHECK(ran == 3);
    });
}

TEST_CASE("a_cancelled_wait_drops_what_a_limit_of_0_holds_back") {
    ringo::run([]() -> task<> {
        task_group g;
        g.limit(0);
        auto token = std::make_shared<int>();
        g.go([token]() -> task<> { co_return; });
        auto waiter = spawn(end_of, std::ref(g));
        co_await yield();
        waiter.cancel();
        const std::string what = co_await waiter;
        CHECK(what == "cancelled");
        CHECK(token.use_count() == 1);
    });
}

TEST_CASE("a_cancelled_wait_stops_the_members_and_joins_them_first") {
    on_cores([](unsigned cores) -> task<> {
        for (int round = 0; round < 20; ++round) {
            task_group g;
            std::atomic<int> ended = 0;
            for (unsigned i = 0; i < 6; ++i) {
                g.go(ringo::on(i % cores), waits_for_ever, std::ref(ended));
            }
            auto waiter = spawn(ringo::on(round % cores), [&]() -> task<int> {
                const std::string what = co_await end_of(g);
                CHECK(what == "cancelled");
                co_return ended.load();
            });
            for (int i = 0; i < round % 4; ++i) {
                co_await yield();
            }
            waiter.cancel();
            const int ended_before = co_await waiter;
            CHECK(ended_before == 6);
            const std::string again = co_await end_of(g);
            CHECK(again == "cancelled");
        }
    });
}

TEST_CASE("a_wait_that_is_late_stops_the_members_too") {
    ringo::run([]() -> task<> {
        task_group g;
        std::atomic<int> ended = 0;
        g.go(waits_for_ever, std::ref(ended));
        bool late = false;
        try {
            co_await ringo::timeout(1ms, g.wait());
        } catch (const ringo::deadline_exceeded&) {
            late = true;
        }
        CHECK(late);
        CHECK(ended == 1);
    });
}

TEST_CASE("a_wait_under_an_ended_context_joins_first_or_fails_at_once") {
    ringo::run([]() -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        task_group g;
        auto late = spawn(ringo::with(scope), end_of, std::ref(g));
        std::string what = co_await late;
        CHECK(what == "cancelled");
        std::atomic<int> ended = 0;
        g.go(waits_for_ever, std::ref(ended));  // the empty group has not been stopped
        co_await yield();
        CHECK(ended == 0);
        late = spawn(ringo::with(scope), end_of, std::ref(g));
        what = co_await late;
        CHECK(what == "cancelled");
        CHECK(ended == 1);
    });
}

TEST_CASE("the_end_of_the_makers_context_reaches_the_members") {
    on_cores([](unsigned cores) -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        std::atomic<int> ended = 0;
        task_group g(scope);
        for (unsigned i = 0; i < 4; ++i) {
            g.go(ringo::on(i % cores), waits_for_ever, std::ref(ended));
        }
        co_await yield();
        scope.cancel();
        const std::string what = co_await end_of(g);
        CHECK(what == "cancelled");
        CHECK(ended == 4);
        bool ran = false;
        g.go([&ran]() -> task<> {
            ran = true;
            co_return;
        });
        co_await yield();
        CHECK_FALSE(ran);
    });
}

TEST_CASE("a_deadline_of_the_makers_context_is_told_as_such") {
    ringo::run([]() -> task<> {
        std::string what;
        co_await ringo::timeout(1ms, [](std::string& out) -> task<> {
            task_group g;
            std::atomic<int> ended = 0;
            g.go(waits_for_ever, std::ref(ended));
            out = co_await end_of(g);
            CHECK(ended == 1);
        }(what));
        CHECK(what == "deadline");
    });
}

TEST_CASE("what_never_started_under_an_ended_context_is_told") {
    ringo::run([]() -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        task_group g(scope);
        g.limit(1);
        bool open = false;
        g.go([&open]() -> task<> {
            while (!open) {
                co_await ringo::shield(yield());
            }
        });
        g.go([]() -> task<> { co_return; });
        co_await yield();
        scope.cancel();
        open = true;
        const std::string what = co_await end_of(g);
        CHECK(what == "cancelled");
    });
}

TEST_CASE("cancel_stops_the_members_without_an_error") {
    on_cores([](unsigned cores) -> task<> {
        task_group g;
        g.limit(4);
        std::atomic<int> ended = 0;
        for (unsigned i = 0; i < 8; ++i) {
            g.go(ringo::on(i % cores), waits_for_ever, std::ref(ended));
        }
        co_await yield();
        g.cancel();
        g.cancel();
        co_await g.wait();
        CHECK(ended <= 4);
    });
}

TEST_CASE("an_error_after_cancel_is_told") {
    ringo::run([]() -> task<> {
        task_group g;
        g.go([]() -> task<> {
            try {
                co_await ringo::sleep(1h);
            } catch (const ringo::cancelled&) {
                throw std::runtime_error("while it stopped");
            }
        });
        co_await yield();
        g.cancel();
        const std::string what = co_await end_of(g);
        CHECK(what == "while it stopped");
    });
}

TEST_CASE("several_goroutines_may_wait") {
    on_cores([](unsigned cores) -> task<> {
        // It goes after all who share it: libstdc++ counts them where TSan does not look.
        const auto error = std::make_exception_ptr(std::runtime_error("for all"));
        task_group g;
        g.go([&error]() -> task<> {
            co_await yield();
            std::rethrow_exception(error);
        });
        std::vector<ringo::join_handle<std::string>> waiters;
        for (unsigned i = 0; i < 8; ++i) {
            waiters.push_back(spawn(ringo::on(i % cores), end_of, std::ref(g)));
        }
        for (auto& w : waiters) {
            const std::string what = co_await w;
            CHECK(what == "for all");
        }
    });
}

TEST_CASE(
    "of_several_that_wait_one_may_destroy_the_group_while_the_others_are_woken_or_cancelled") {
    on_cores([](unsigned cores) -> task<> {
        for (unsigned round = 0; round < 200; ++round) {
            auto g = std::make_unique<task_group>();
            std::atomic<bool> open = false;
            g->go(ringo::on(round % cores), [&open]() -> task<> {
                while (!open) {
                    co_await yield();
                }
            });
            std::vector<ringo::join_handle<std::string>> waiters;
            for (unsigned i = 1; i < 4; ++i) {
                waiters.push_back(spawn(ringo::on(i % cores), end_of, std::ref(*g)));
                co_await test::until_parked(i % cores, waiters.back(), "task_group wait");
            }
            auto destroyer = spawn(
                [](std::unique_ptr<task_group>& owned) -> task<> {
                    co_await owned->wait();
                    owned.reset();
                },
                std::ref(g));
            co_await yield();
            open = true;
            if (round % 2 == 0) {
                waiters[round % 3].cancel();
            }
            bool was_cancelled = false;
            try {
                co_await destroyer;
            } catch (const ringo::cancelled&) {
                was_cancelled = true;  // by the wait that was cancelled first
            }
            CHECK((!was_cancelled || round % 2 == 0));
            for (auto& w : waiters) {
                const std::string what = co_await w;
                CHECK((what.empty() || what == "cancelled"));
            }
        }
    });
}

TEST_CASE("members_have_the_groups_context_or_one_derived_from_it") {
    struct key {
        using type = int;
    };
    on_cores([](unsigned cores) -> task<> {
        task_group g(ringo::with_value<key>(ringo::this_context(), 1));
        const auto derived = ringo::with_value<key>(g.ctx(), 2);
        std::atomic<int> sum = 0;
        const auto member = [&sum]() -> task<> {
            sum += *ringo::this_context().value<key>();
            co_return;
        };
        g.go(member);
        g.go(ringo::on(cores - 1), member);
        g.go(ringo::with(derived), member);
        g.go(ringo::on(cores - 1).with(derived), member);
        g.limit(1);
        g.go(ringo::anywhere.with(derived), member);
        g.go(ringo::anywhere, member);
        co_await g.wait();
        CHECK(sum == 9);
    });
}

TEST_CASE("a_context_that_the_groups_end_does_not_reach_is_a_panic") {
    test::expect_panic("task_group go: with(ctx) names a context that does not derive", [] {
        ringo::run([]() -> task<> {
            task_group g;
            g.go(ringo::with(ringo::this_context()), []() -> task<> { co_return; });
            co_await g.wait();
        });
    });
}

TEST_CASE("go_on_a_core_that_does_not_exist_is_a_panic") {
    test::expect_panic("task_group go: on(core) names a core that does not exist", [] {
        ringo::run(
            []() -> task<> {
                task_group g;
                g.go(ringo::on(2), []() -> task<> { co_return; });
                co_await g.wait();
            },
            {.cores = 2});
    });
}

TEST_CASE("go_outside_a_goroutine_is_a_panic") {
    test::expect_panic("task_group go: called outside a runtime's cores", [] {
        task_group g(ringo::context::background());
        g.go([]() -> task<> { co_return; });
    });
}

TEST_CASE("a_group_destroyed_while_members_run_is_a_panic") {
    test::expect_panic("task_group: destroyed while members run; await wait() first", [] {
        ringo::run([]() -> task<> {
            task_group g;
            g.go([]() -> task<> { co_return; });
            co_return;
        });
    });
}

TEST_CASE("an_error_that_nobody_waited_for_is_a_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            task_group g;
            g.go(fails, "unseen");
            while (!g.ctx().cancelled()) {
                co_await yield();
            }
            co_await yield();
        });
    });
}

TEST_CASE("an_exception_that_destroys_the_group_stops_its_members") {
    on_cores([](unsigned cores) -> task<> {
        std::atomic<int> ended = 0;
        auto token = std::make_shared<int>();
        bool thrown = false;
        try {
            task_group g;
            g.limit(4);
            for (unsigned i = 0; i < 4; ++i) {
                g.go(ringo::on(i % cores), waits_for_ever, std::ref(ended));
            }
            g.go([token]() -> task<> { co_return; });  // held back: it never runs
            co_await fails("between go and wait");
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        CHECK(thrown);
        while (ended != 4 || token.use_count() != 1) {
            co_await yield();
        }
    });
}

TEST_CASE("errors_of_members_whose_group_was_unwound_are_dropped") {
    ringo::run([]() -> task<> {
        bool failed = false;
        try {
            task_group g;
            g.go([&failed]() -> task<> {
                try {
                    co_await ringo::sleep(1h);
                } catch (const ringo::cancelled&) {
                    failed = true;
                    throw std::runtime_error("nobody is there");
                }
            });
            co_await fails("between go and wait");
        } catch (const std::runtime_error&) {
        }
        while (!failed) {
            co_await yield();
        }
        co_await yield();
    });
}

TEST_CASE("the_end_of_the_run_ends_members_and_who_waits_for_them") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        std::atomic<int> ended = 0;
        std::atomic<int> waited = 0;
        ringo::run(
            [&]() -> task<> {
                ringo::go([&]() -> task<> {
                    task_group g;
                    g.limit(6);
                    for (unsigned i = 0; i < 8; ++i) {
                        g.go(ringo::on(i % cores), waits_for_ever, std::ref(ended));
                    }
                    const std::string what = co_await end_of(g);
                    CHECK(what == "cancelled");
                    ++waited;
                });
                co_await yield();
                co_await yield();
            },
            {.cores = cores, .pin = false});
        CHECK(waited == 1);
        CHECK(ended <= 6);
    }
}

TEST_CASE("what_the_end_of_the_run_destroys_takes_its_group_along") {
    const auto end = test::in_child([] {
        std::atomic<int> ended = 0;
        ringo::run(
            [&]() -> task<> {
                const auto stubborn = [&ended]() -> task<> {
                    ++ended;
                    while (true) {
                        co_await ringo::shield(yield());
                    }
                };
                ringo::go([&]() -> task<> {
                    task_group waited;
                    task_group unwaited;
                    waited.go(stubborn);
                    waited.go(ringo::on(1), stubborn);
                    unwaited.limit(1);
                    unwaited.go(ringo::on(1), stubborn);
                    unwaited.go(stubborn);
                    co_await waited.wait();
                });
                while (ended != 3) {
                    co_await yield();
                }
            },
            {.cores = 2, .shutdown_grace = 1ms});
    });
    test::check_exit(end, 0);
    CAPTURE(end.output);
    CHECK(end.output.find("panic") == std::string::npos);
}

// Not a local of the test: g++ 12 crashes on a lambda in a coroutine of a coroutine's local class.
static task<> groups_within(int depth) {
    task_group g;
    if (depth > 0) {
        g.go(groups_within, depth - 1);
    } else {
        g.go([]() -> task<> { co_await ringo::sleep(ringo::duration::max()); });
    }
    co_await g.wait();
}

TEST_CASE("groups_within_groups_stop_without_growing_the_stack") {
    ringo::run([]() -> task<> {
        auto h = spawn(groups_within, 20000);
        for (int i = 0; i < 20010; ++i) {
            co_await yield();
        }
        h.cancel();
        bool was_cancelled = false;
        try {
            co_await h;
        } catch (const ringo::cancelled&) {
            was_cancelled = true;
        }
        CHECK(was_cancelled);
    });
}

TEST_CASE("a_hundred_thousand_held_back_members_take_no_stack") {
    on_cores([](unsigned cores) -> task<> {
        task_group g;
        g.limit(1);
        std::atomic<int> ran = 0;
        for (unsigned i = 0; i < 100000; ++i) {
            g.go(ringo::on(i % 64 == 0 ? i / 64 % cores : 0), [&ran]() -> task<> {
                ++ran;
                co_return;
            });
        }
        co_await g.wait();
        CHECK(ran == 100000);
    });
}
