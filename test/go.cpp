#include <doctest/doctest.h>

#include "counted.hpp"
#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::go;
using ringo::join_handle;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::counted;
using test::sleeps_for_ever;

namespace {

struct non_default {
    explicit non_default(int n) : value(n) {}
    non_default(non_default&&) = default;
    int value;
};

task<int> number(int n) { co_return n; }
task<int> fails(const char* what) {
    co_await yield();
    throw std::runtime_error(what);
}

/// Which core each of `n` goroutines, started at `where`, runs on.
template <class Place>
task<std::vector<std::size_t>> cores_of(Place where, int n) {
    std::vector<join_handle<std::size_t>> handles;
    for (int i = 0; i < n; ++i) {
        handles.push_back(spawn(where, []() -> task<std::size_t> {
            co_await yield();
            co_return ringo::this_core();
        }));
    }
    std::vector<std::size_t> cores;
    for (auto& h : handles) {
        const std::size_t core = co_await h;
        cores.push_back(core);
    }
    co_return cores;
}

}  // namespace

TEST_CASE("starts_when_the_starter_suspends") {
    ringo::run([]() -> task<> {
        bool started = false;
        go([&started]() -> task<> {
            started = true;
            co_return;
        });
        CHECK_FALSE(started);
        co_await yield();
        CHECK(started);
    });
}

TEST_CASE("goroutines_of_a_core_start_in_order") {
    ringo::run([]() -> task<> {
        std::vector<int> order;
        for (int i = 0; i < 100; ++i) {
            go(
                [&order](int n) -> task<> {
                    order.push_back(n);
                    co_return;
                },
                i);
        }
        co_await yield();
        CHECK(order.size() == 100);
        CHECK(std::is_sorted(order.begin(), order.end()));
    });
}

TEST_CASE("yield_takes_turns") {
    ringo::run([]() -> task<> {
        std::string trace;
        const auto walker = [](std::string& out, char c) -> task<> {
            for (int i = 0; i < 3; ++i) {
                out += c;
                co_await yield();
            }
        };
        auto a = spawn(walker, std::ref(trace), 'a');
        auto b = spawn(walker, std::ref(trace), 'b');
        co_await a;
        co_await b;
        CHECK(trace == "ababab");
    });
}

TEST_CASE("callable_and_arguments_live_as_long_as_the_goroutine") {
    std::atomic<int> alive = 0;
    ringo::run([&alive]() -> task<> {
        {
            counted captured(alive);
            counted argument(alive);
            go(
                [captured](counted by_value, const counted& by_reference) -> task<> {
                    for (int i = 0; i < 10; ++i) {
                        co_await yield();
                    }
                    // The closure, the two arguments' copies and the parameter taken by value.
                    CHECK(*captured.alive == 4);
                    CHECK(by_value.alive == by_reference.alive);
                },
                argument, argument);
        }
        CHECK(alive > 0);
        while (ringo::num_goroutines() > 1) {
            co_await yield();
        }
        CHECK(alive == 0);
    });
    CHECK(alive == 0);
}

TEST_CASE("arguments_of_a_joined_goroutine_go_with_it_not_with_its_handle") {
    std::atomic<int> alive = 0;
    ringo::run([&alive]() -> task<> {
        auto h = spawn([c = counted(alive)](counted) -> task<> { co_return; }, counted(alive));
        while (!h.done()) {
            co_await yield();
        }
        CHECK(alive == 0);
        co_await h;
    });
}

TEST_CASE("moves_arguments_and_passes_references") {
    ringo::run([]() -> task<> {
        auto owned = std::make_unique<int>(3);
        int shared = 0;
        auto h = spawn(
            [](std::unique_ptr<int> p, int& out, std::string s) -> task<int> {
                co_await yield();
                out = *p + static_cast<int>(s.size());
                co_return out;
            },
            std::move(owned), std::ref(shared), "four");
        CHECK(owned == nullptr);
        const int result = co_await h;
        CHECK(result == 7);
        CHECK(shared == 7);
    });
}

TEST_CASE("takes_tasks_functions_and_move_only_closures") {
    ringo::run([]() -> task<> {
        auto from_task = spawn(number(1));
        auto from_function = spawn(number, 2);
        auto from_pointer = spawn(&number, 3);
        auto from_closure = spawn([p = std::make_unique<int>(4)]() -> task<int> {
            co_await yield();
            co_return *p;
        });
        const std::function<task<int>(int)> f = number;
        auto from_std_function = spawn(f, 5);
        int sum = co_await from_task;
        sum += co_await from_function;
        sum += co_await from_pointer;
        sum += co_await from_closure;
        sum += co_await from_std_function;
        CHECK(sum == 15);
    });
}

TEST_CASE("join_gives_results_of_every_kind") {
    ringo::run([]() -> task<> {
        int target = 0;
        auto reference = spawn([&target]() -> task<int&> { co_return target; });
        auto owner =
            spawn([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); });
        auto plain = spawn([]() -> task<non_default> { co_return non_default(3); });
        auto nothing = spawn([]() -> task<> { co_return; });
        int& same = co_await reference;
        CHECK(&same == &target);
        const auto p = co_await owner;
        CHECK(*p == 2);
        const non_default n = co_await plain;
        CHECK(n.value == 3);
        co_await nothing;
    });
}

TEST_CASE("join_waits_for_the_end_or_finds_it") {
    test::virtual_run([]() -> task<> {
        auto slow = spawn([]() -> task<int> {
            co_await ringo::sleep(1h);
            co_return 1;
        });
        auto fast = spawn(number, 2);
        CHECK_FALSE(slow.done());
        CHECK_FALSE(fast.done());
        const int one = co_await slow;
        CHECK(one == 1);
        CHECK(test::now() >= 1h);
        CHECK(fast.done());
        const int two = co_await fast;
        CHECK(two == 2);
    });
}

TEST_CASE("join_rethrows_what_left_the_goroutine") {
    ringo::run([]() -> task<> {
        auto h = spawn(fails, "for the joiner");
        std::string caught;
        try {
            co_await h;
        } catch (const std::runtime_error& e) {
            caught = e.what();
        }
        CHECK(caught == "for the joiner");
    });
}

TEST_CASE("join_rethrows_what_a_plain_callable_throws") {
    ringo::run([]() -> task<> {
        auto h = spawn(
            [](int n) -> task<int> {
                if (n > 0) {
                    throw std::invalid_argument("before there is a task");
                }
                return number(n);
            },
            1);
        bool caught = false;
        try {
            co_await h;
        } catch (const std::invalid_argument&) {
            caught = true;
        }
        CHECK(caught);
    });
}

TEST_CASE("join_works_across_cores") {
    ringo::run(
        []() -> task<> {
            for (int round = 0; round < 200; ++round) {
                std::vector<join_handle<std::string>> handles;
                for (std::size_t i = 0; i < 8; ++i) {
                    handles.push_back(
                        spawn(ringo::on(i % ringo::cores()), [i]() -> task<std::string> {
                            if (i % 3 == 0) {
                                co_await yield();
                            }
                            co_return std::string(100, static_cast<char>('a' + i));
                        }));
                }
                for (std::size_t i = 0; i < 8; ++i) {
                    const std::string s = co_await handles[i];
                    CHECK(s == std::string(100, static_cast<char>('a' + i)));
                }
            }
        },
        {.cores = 3});
}

TEST_CASE("a_handle_may_be_joined_on_another_core") {
    ringo::run(
        []() -> task<> {
            auto worker = spawn(ringo::on(1), []() -> task<int> {
                for (int i = 0; i < 20; ++i) {
                    co_await yield();
                }
                co_return 11;
            });
            auto joiner = spawn(
                ringo::on(2),
                [](join_handle<int> h) -> task<int> {
                    const int n = co_await h;
                    co_return n + 1;
                },
                std::move(worker));
            const int n = co_await joiner;
            CHECK(n == 12);
        },
        {.cores = 3});
}

TEST_CASE("on_names_the_core") {
    ringo::run(
        []() -> task<> {
            CHECK(ringo::cores() == 4);
            CHECK(ringo::this_core() == 0);
            for (std::size_t core = 0; core < 4; ++core) {
                const auto cores = co_await cores_of(ringo::on(core), 5);
                CHECK(cores == std::vector<std::size_t>(5, core));
            }
        },
        {.cores = 4});
}

TEST_CASE("without_a_place_it_stays_on_the_starters_core") {
    ringo::run(
        []() -> task<> {
            auto h = spawn(ringo::on(1), [] { return cores_of(ringo::place(), 5); });
            const auto cores = co_await h;
            CHECK(cores == std::vector<std::size_t>(5, 1));
        },
        {.cores = 2});
}

TEST_CASE("on_a_core_that_does_not_exist_is_a_panic") {
    for (const std::size_t core : {std::size_t{2}, std::size_t{70000}, SIZE_MAX}) {
        test::expect_panic("go: on(core) names a core that does not exist", [core] {
            ringo::run(
                [core]() -> task<> {
                    go(ringo::on(core), sleeps_for_ever);
                    co_return;
                },
                {.cores = 2});
        });
    }
}

TEST_CASE("anywhere_runs_each_once") {
    ringo::run([]() -> task<> {
        std::atomic<int> ran = 0;
        std::vector<join_handle<void>> handles;
        for (int i = 0; i < 1000; ++i) {
            handles.push_back(spawn(ringo::anywhere, [&ran]() -> task<> {
                ++ran;
                co_await yield();
            }));
            if (i % 50 == 0) {
                co_await yield();
            }
        }
        for (auto& h : handles) {
            co_await h;
        }
        CHECK(ran == 1000);
    });
}

TEST_CASE("with_names_the_context") {
    struct key {
        using type = int;
    };
    ringo::run(
        []() -> task<> {
            const auto ctx = ringo::with_value<key>(ringo::this_context(), 5);
            const auto read = []() -> task<int> {
                co_await yield();
                const int* const n = ringo::this_context().value<key>();
                co_return n == nullptr ? 0 : *n;
            };
            auto here = spawn(ringo::with(ctx), read);
            auto there = spawn(ringo::on(1).with(ctx), read);
            auto somewhere = spawn(ringo::anywhere.with(ctx), read);
            auto inherited = spawn(read);
            int n = co_await here;
            CHECK(n == 5);
            n = co_await there;
            CHECK(n == 5);
            n = co_await somewhere;
            CHECK(n == 5);
            n = co_await inherited;
            CHECK(n == 0);
        },
        {.cores = 2});
}

TEST_CASE("num_goroutines_counts_all_cores") {
    ringo::run(
        []() -> task<> {
            CHECK(ringo::num_goroutines() == 1);
            std::vector<join_handle<void>> handles;
            for (std::size_t i = 0; i < 10; ++i) {
                handles.push_back(spawn(ringo::on(i % 2), sleeps_for_ever));
            }
            CHECK(ringo::num_goroutines() == 11);
            for (auto& h : handles) {
                h.cancel();
            }
            while (ringo::num_goroutines() != 1) {
                co_await yield();
            }
            for (const auto& h : handles) {
                CHECK(h.done());
            }
        },
        {.cores = 2});
}

TEST_CASE("ids_are_unique") {
    ringo::run(
        []() -> task<> {
            std::set<std::uint64_t> ids;
            std::vector<join_handle<int>> handles;
            for (std::size_t i = 0; i < 300; ++i) {
                handles.push_back(i % 3 == 0 ? spawn(number, 1)
                                             : spawn(ringo::on(i % 2), number, 1));
            }
            for (auto& h : handles) {
                ids.insert(h.id());
                co_await h;
            }
            CHECK(ids.size() == 300);
            CHECK(ids.count(0) == 0);
        },
        {.cores = 2});
}

// --- failures ---

TEST_CASE("an_exception_that_leaves_a_goroutine_is_a_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            go(fails, "nobody listens");
            co_await sleeps_for_ever();
        });
    });
    const auto end = test::in_child([] {
        ringo::run([]() -> task<> {
            go(fails, "nobody listens");
            co_await sleeps_for_ever();
        });
    });
    CHECK(end.output.find("std::runtime_error: nobody listens") != std::string::npos);
}

TEST_CASE("a_thrown_thing_that_is_no_exception_is_named_in_the_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            go([]() -> task<> {
                throw 7;
                co_return;
            });
            co_await sleeps_for_ever();
        });
    });
}

TEST_CASE("a_failure_whose_handle_was_dropped_before_is_a_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            { auto h = spawn(fails, "unseen"); }
            co_await sleeps_for_ever();
        });
    });
}

TEST_CASE("a_failure_whose_handle_is_dropped_afterwards_is_a_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            auto h = spawn(fails, "unseen");
            while (!h.done()) {
                co_await yield();
            }
        });
    });
}

TEST_CASE("a_dropped_handle_detaches") {
    ringo::run([]() -> task<> {
        bool ran = false;
        {
            auto h = spawn([&ran]() -> task<int> {
                co_await yield();
                ran = true;
                co_return 1;
            });
        }
        while (!ran) {
            co_await yield();
        }
        {
            auto h = spawn(number, 1);
            co_await yield();
        }  // ended before it is dropped
        CHECK(ringo::num_goroutines() == 1);
    });
}

TEST_CASE("cancelled_leaving_a_cancelled_goroutine_is_a_normal_end") {
    ringo::run([]() -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        go(ringo::with(scope), sleeps_for_ever);
        { auto dropped = spawn(ringo::with(scope), sleeps_for_ever); }
        auto late = ringo::with_timeout(ringo::this_context(), 0s);
        go(ringo::with(late), sleeps_for_ever);
        co_await yield();
        scope.cancel();
        while (ringo::num_goroutines() > 1) {
            co_await yield();
        }
    });
}

TEST_CASE("cancelled_may_leave_before_the_core_has_heard_of_the_cancellation") {
    // The goroutine learns of it through a context that it makes below the ended one.
    ringo::run(
        []() -> task<> {
            for (const bool detached : {true, false}) {
                auto scope = ringo::with_cancel(ringo::this_context());
                std::atomic<bool> started = false;
                const auto hears = [](std::atomic<bool>& out) -> task<> {
                    out = true;
                    while (!ringo::this_context().cancelled()) {
                    }
                    co_await ringo::timeout(1h, ringo::sleep(1h));
                };
                if (detached) {
                    go(ringo::on(1).with(scope), hears, std::ref(started));
                } else {
                    auto dropped = spawn(ringo::on(1).with(scope), hears, std::ref(started));
                }
                while (!started) {
                    co_await yield();
                }
                scope.cancel();
                while (ringo::num_goroutines() > 1) {
                    co_await yield();
                }
            }
        },
        {.cores = 2});
}

TEST_CASE("cancelled_leaving_a_goroutine_that_is_not_cancelled_is_a_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            go([]() -> task<> {
                throw ringo::cancelled("thrown by hand");
                co_return;
            });
            co_await sleeps_for_ever();
        });
    });
}

// --- cancelling by handle ---

namespace {

/// Cancels a goroutine that runs `f` after `f` has waited a while in it.
template <class F>
task<bool> cancels(F f) {
    auto h = spawn(std::move(f));
    for (int i = 0; i < 3; ++i) {
        co_await yield();
    }
    CHECK_FALSE(h.done());
    h.cancel();
    h.cancel();  // changes nothing
    bool was_cancelled = false;
    try {
        co_await h;
    } catch (const ringo::cancelled& e) {
        was_cancelled = e.code() == std::errc::operation_canceled;
    }
    co_return was_cancelled;
}

}  // namespace

TEST_CASE("cancel_reaches_every_kind_of_wait") {
    ringo::run([]() -> task<> {
        bool ok = co_await cancels(sleeps_for_ever);
        CHECK(ok);
        ok = co_await cancels([]() -> task<> {
            while (true) {
                co_await yield();
            }
        });
        CHECK(ok);
        ok = co_await cancels([]() -> task<> { co_await ringo::context::background().done(); });
        CHECK(ok);
        ok = co_await cancels([]() -> task<> {
            auto inner = spawn(sleeps_for_ever);
            try {
                co_await inner;
            } catch (const ringo::cancelled&) {
                CHECK_FALSE(inner.done());  // it runs on
                inner.cancel();
                throw;
            }
        });
        CHECK(ok);
        std::optional<ringo::completion<int>> kept;
        ok = co_await cancels([&kept]() -> task<> {
            co_await ringo::from_callback<int>(
                [&kept](ringo::completion<int> c) { kept = std::move(c); });
        });
        CHECK(ok);
        CHECK_FALSE((*kept)(1));
        ok = co_await cancels(
            []() -> task<> { co_await ringo::within(ringo::this_context(), ringo::sleep(1h)); });
        CHECK(ok);
    });
}

TEST_CASE("cancel_before_the_first_step_lets_it_start") {
    // As in Go, where a goroutine whose context has ended still begins.
    ringo::run(
        []() -> task<> {
            for (const std::size_t core : {0, 1}) {
                std::atomic<bool> started = false;
                std::atomic<bool> busy = false;
                std::atomic<bool> asked = false;
                // Or it might start on the other core before it is cancelled.
                auto keeps_busy = spawn(ringo::on(1), [&busy, &asked]() -> task<> {
                    busy = true;
                    while (!asked) {
                        std::this_thread::yield();
                    }
                    co_return;
                });
                while (!busy) {
                    co_await yield();
                }
                auto h = spawn(ringo::on(core), [&started]() -> task<> {
                    started = true;
                    co_await yield();
                    FAIL_CHECK("the first suspension point must fail");
                });
                h.cancel();
                asked = true;
                bool was_cancelled = false;
                try {
                    co_await h;
                } catch (const ringo::cancelled&) {
                    was_cancelled = true;
                }
                CHECK(started);
                CHECK(was_cancelled);
                co_await keeps_busy;
            }
            auto h = spawn(ringo::anywhere, sleeps_for_ever);
            h.cancel();
            bool was_cancelled = false;
            try {
                co_await h;
            } catch (const ringo::cancelled&) {
                was_cancelled = true;
            }
            CHECK(was_cancelled);
        },
        {.cores = 2});
}

TEST_CASE("cancel_after_the_end_changes_nothing") {
    ringo::run([]() -> task<> {
        auto h = spawn(number, 4);
        while (!h.done()) {
            co_await yield();
        }
        h.cancel();
        const int n = co_await h;
        CHECK(n == 4);
    });
}

TEST_CASE("cancel_works_across_cores_and_from_threads") {
    ringo::run(
        []() -> task<> {
            for (int round = 0; round < 200; ++round) {
                auto h = spawn(ringo::on(1), sleeps_for_ever);
                if (round % 2 == 0) {
                    co_await yield();
                }
                if (round % 8 == 1) {
                    std::thread([&h] { h.cancel(); }).join();
                } else {
                    h.cancel();
                }
                bool was_cancelled = false;
                try {
                    co_await h;
                } catch (const ringo::cancelled&) {
                    was_cancelled = true;
                }
                CHECK(was_cancelled);
            }
        },
        {.cores = 2});
}

TEST_CASE("a_cancelled_goroutine_may_return_a_value") {
    ringo::run([]() -> task<> {
        auto h = spawn([]() -> task<int> {
            try {
                co_await sleeps_for_ever();
            } catch (const ringo::cancelled&) {
            }
            co_return 6;
        });
        co_await yield();
        h.cancel();
        const int n = co_await h;
        CHECK(n == 6);
    });
}

TEST_CASE("a_cancelled_join_leaves_the_handle_usable") {
    test::virtual_run([]() -> task<> {
        auto h = spawn([]() -> task<int> {
            co_await ringo::sleep(10s);
            co_return 8;
        });
        const auto joins = [](join_handle<int>& target) -> task<int> {
            const int n = co_await target;
            co_return n;
        };
        bool late = false;
        try {
            co_await ringo::timeout(1s, joins(h));
        } catch (const ringo::deadline_exceeded&) {
            late = true;
        }
        CHECK(late);
        CHECK_FALSE(h.done());
        const int n = co_await h;
        CHECK(n == 8);
    });
}

TEST_CASE("joins_and_cancellations_that_cross_end_in_one_of_both") {
    // The goroutine ends on its core while its joiner is cancelled on another one.
    ringo::run(
        []() -> task<> {
            int joined = 0;
            int left = 0;
            for (int round = 0; round < 500; ++round) {
                auto worker = spawn(ringo::on(1), []() -> task<int> {
                    co_await yield();
                    co_return 1;
                });
                auto joiner = spawn(
                    [](join_handle<int>& h) -> task<int> {
                        const int n = co_await h;
                        co_return n;
                    },
                    std::ref(worker));
                for (int i = 0; i < round % 5; ++i) {
                    co_await yield();
                }
                joiner.cancel();
                bool was_cancelled = false;
                try {
                    joined += co_await joiner;
                } catch (const ringo::cancelled&) {
                    was_cancelled = true;
                }
                if (was_cancelled) {
                    ++left;
                    const int n = co_await worker;
                    CHECK(n == 1);
                }
            }
            CHECK(joined + left == 500);
        },
        {.cores = 2});
}

// --- misuse of handles ---

TEST_CASE("joining_twice_is_a_panic") {
    test::expect_panic("join_handle: awaited twice, or after it was moved from", [] {
        ringo::run([]() -> task<> {
            auto h = spawn(number, 1);
            co_await h;
            co_await h;
        });
    });
}

TEST_CASE("using_a_moved_from_handle_is_a_panic") {
    test::expect_panic("join_handle: awaited twice, or after it was moved from", [] {
        ringo::run([]() -> task<> {
            auto h = spawn(number, 1);
            auto other = std::move(h);
            h.cancel();
            co_await other;
        });
    });
}

TEST_CASE("joining_from_two_goroutines_at_once_is_a_panic") {
    test::expect_panic("join_handle: awaited by two goroutines at once", [] {
        ringo::run([]() -> task<> {
            auto h = spawn(sleeps_for_ever);
            go([&h]() -> task<> { co_await h; });
            co_await yield();
            co_await h;
        });
    });
}

TEST_CASE("goroutines_outside_a_runtime_are_a_panic") {
    test::expect_panic("go: called outside a runtime's cores", [] { go(sleeps_for_ever); });
    test::expect_panic("this_core: called outside a runtime's cores",
                       [] { (void)ringo::this_core(); });
    test::expect_panic("cores: called outside a runtime's cores", [] { (void)ringo::cores(); });
    test::expect_panic("num_goroutines: called outside a runtime's cores",
                       [] { (void)ringo::num_goroutines(); });
}

// --- handles that outlive the run ---

TEST_CASE("a_handle_may_outlive_the_run_and_be_joined_in_the_next") {
    std::optional<join_handle<int>> h;
    ringo::run(
        [&h]() -> task<> {
            h = spawn(ringo::on(1), number, 9);
            while (!h->done()) {
                co_await yield();
            }
        },
        {.cores = 2});
    CHECK(h->done());
    h->cancel();  // far too late: changes nothing
    ringo::run([&h]() -> task<> {
        const int n = co_await *h;
        CHECK(n == 9);
    });
}

TEST_CASE("joining_a_goroutine_that_was_destroyed_with_its_run_throws_cancelled") {
    std::optional<join_handle<std::string>> h;
    const auto end = test::in_child([&h] {
        ringo::run(
            [&h]() -> task<> {
                h = spawn([]() -> task<std::string> {
                    while (true) {
                        try {
                            co_await yield();
                        } catch (const ringo::cancelled&) {
                        }
                        co_await ringo::shield(yield());
                    }
                });
                co_await yield();
            },
            {.shutdown_grace = 1ms});
        bool was_cancelled = false;
        ringo::run([&]() -> task<> {
            try {
                co_await *h;
            } catch (const ringo::cancelled&) {
                was_cancelled = true;
            }
        });
        ::_exit(was_cancelled ? 0 : 1);
    });
    test::check_exit(end, 0);
}
