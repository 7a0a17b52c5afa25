#include <doctest/doctest.h>

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using ringo::spawn;
using ringo::task;
using ringo::when_all;
using ringo::when_any;
using ringo::yield;

namespace {

struct non_default {
    explicit non_default(int n) : value(n) {}
    non_default(non_default&&) = default;
    int value;
};

/// Gives `value` after some turns.
template <class T>
task<T> after(int turns, T value) {
    for (; turns > 0; --turns) {
        co_await yield();
    }
    co_return value;
}
task<> nothing_after(int turns) {
    for (; turns > 0; --turns) {
        co_await yield();
    }
}
task<int&> reference_after(int turns, int& target) {
    co_await nothing_after(turns);
    co_return target;
}
template <class T = int>
task<T> fails_after(int turns, const char* what) {
    co_await nothing_after(turns);
    throw std::runtime_error(what);
}

struct at_end {
    explicit at_end(int& n) : count(&n) {}
    at_end(const at_end&) = delete;
    at_end& operator=(const at_end&) = delete;
    ~at_end() { ++*count; }
    int* count;
};

/// Ends only when it is cancelled, and some turns later.
task<int> waits_for_ever(int& ended) {
    const at_end counter(ended);
    try {
        co_await ringo::sleep(ringo::duration::max());
    } catch (const std::system_error&) {
    }
    for (int i = 0; i < 5; ++i) {
        co_await ringo::shield(yield());
    }
    co_await yield();
    co_return 0;
}

/// What awaiting it throws: "", "cancelled", "deadline" or a runtime_error's text.
template <class Awaitable>
task<std::string> end_of(Awaitable what) {
    try {
        co_await std::move(what);
    } catch (const ringo::cancelled&) {
        co_return "cancelled";
    } catch (const ringo::deadline_exceeded&) {
        co_return "deadline";
    } catch (const std::runtime_error& e) {
        co_return e.what();
    }
    co_return "";
}

template <class... Tasks>
concept operands = requires(Tasks&&... tasks) {
    when_all(std::forward<Tasks>(tasks)...);
    when_any(std::forward<Tasks>(tasks)...);
};

static_assert(operands<task<int>, task<>>);
static_assert(!operands<task<int>, task<>&>, "a task is given away");
static_assert(!operands<ringo::detail::sleep_operation>, "an operation is no task");

}  // namespace

TEST_CASE("when_all_gives_all_results_in_order") {
    ringo::run([]() -> task<> {
        int target = 0;
        std::tuple<int, std::string, std::monostate, std::unique_ptr<int>, non_default, int&> r =
            co_await when_all(after(3, 1), after(0, std::string(100, 'x')), nothing_after(2),
                              after(1, std::make_unique<int>(4)), after(4, non_default(5)),
                              reference_after(2, target));
        CHECK(std::get<0>(r) == 1);
        CHECK(std::get<1>(r) == std::string(100, 'x'));
        CHECK(*std::get<3>(r) == 4);
        CHECK(std::get<4>(r).value == 5);
        CHECK(&std::get<5>(r) == &target);
    });
}

TEST_CASE("when_all_of_a_vector_gives_a_vector") {
    ringo::run([]() -> task<> {
        std::vector<task<non_default>> tasks;
        for (int i = 0; i < 100; ++i) {
            tasks.push_back(after(i % 7, non_default(i)));
        }
        const std::vector<non_default> values = co_await when_all(std::move(tasks));
        CHECK(values.size() == 100);
        for (int i = 0; i < 100; ++i) {
            CHECK(values[static_cast<std::size_t>(i)].value == i);
        }
    });
}

TEST_CASE("when_all_of_vectors_of_references_void_and_bool") {
    ringo::run([]() -> task<> {
        int target = 0;
        std::vector<task<int&>> references;
        references.push_back(reference_after(1, target));
        const std::vector<int*> pointers = co_await when_all(std::move(references));
        CHECK(pointers.at(0) == &target);
        std::vector<task<>> nothings;
        nothings.push_back(nothing_after(1));
        const std::vector<std::monostate> units = co_await when_all(std::move(nothings));
        CHECK(units.size() == 1);
        std::vector<task<bool>> flags;
        flags.push_back(after(1, true));
        const std::vector<bool> values = co_await when_all(std::move(flags));
        CHECK(values.at(0));
    });
}

TEST_CASE("when_all_of_an_empty_vector_is_empty_at_once") {
    ringo::run([]() -> task<> {
        const auto values = co_await when_all(std::vector<task<int>>());
        CHECK(values.empty());
    });
}

TEST_CASE("when_any_of_an_empty_vector_throws") {
    ringo::run([]() -> task<> {
        std::error_code code;
        try {
            co_await when_any(std::vector<task<int>>());
        } catch (const std::system_error& e) {
            code = e.code();
        }
        CHECK(code == std::errc::invalid_argument);
    });
}

TEST_CASE("tasks_run_at_once_as_goroutines_of_this_core") {
    ringo::run(
        []() -> task<> {
            const auto talk = [](ringo::chan<int> in, ringo::chan<int> out) -> task<std::size_t> {
                for (int i = 0; i < 10; ++i) {
                    co_await out.send(i);
                    co_await in.recv();
                }
                co_return ringo::this_core();
            };
            const ringo::chan<int> a(1);
            const ringo::chan<int> b(1);
            auto other = spawn(ringo::on(1), [&]() -> task<> {
                const auto cores = co_await when_all(talk(a, b), talk(b, a));
                CHECK(std::get<0>(cores) == 1);
                CHECK(std::get<1>(cores) == 1);
                CHECK(ringo::this_core() == 1);
            });
            co_await other;
        },
        {.cores = 2});
}

TEST_CASE("the_first_error_cancels_and_joins_the_others_then_is_rethrown") {
    ringo::run([]() -> task<> {
        int ended = 0;
        std::string what = co_await end_of(
            when_all(waits_for_ever(ended), fails_after(3, "first"), waits_for_ever(ended)));
        CHECK(what == "first");
        CHECK(ended == 2);
        std::vector<task<int>> tasks;
        tasks.push_back(waits_for_ever(ended));
        tasks.push_back(fails_after(1, "one"));
        tasks.push_back(fails_after(1, "two"));
        what = co_await end_of(when_all(std::move(tasks)));
        CHECK(what == "one");
        CHECK(ended == 3);
    });
}

TEST_CASE("when_any_gives_the_first_to_end_and_joins_the_losers") {
    ringo::run([]() -> task<> {
        int ended = 0;
        std::variant<int, std::string, std::monostate> r = co_await when_any(
            waits_for_ever(ended), after(3, std::string(100, 'x')), nothing_after(50));
        CHECK(r.index() == 1);
        CHECK(std::get<1>(r) == std::string(100, 'x'));
        CHECK(ended == 1);
        r = co_await when_any(waits_for_ever(ended), after(60, std::string()), nothing_after(3));
        CHECK(r.index() == 2);
        CHECK(ended == 2);
    });
}

TEST_CASE("when_any_of_every_kind_of_result") {
    ringo::run([]() -> task<> {
        int target = 0;
        auto owner = co_await when_any(after(1, std::make_unique<int>(4)), nothing_after(9));
        CHECK(*std::get<0>(owner) == 4);
        auto plain = co_await when_any(nothing_after(9), after(1, non_default(5)));
        CHECK(std::get<1>(plain).value == 5);
        auto reference = co_await when_any(reference_after(1, target), nothing_after(9));
        CHECK(std::get<0>(reference) == &target);
        auto alike = co_await when_any(after(5, 1), after(1, 2), after(3, 3));
        CHECK(alike.index() == 1);
        CHECK(std::get<1>(alike) == 2);
    });
}

TEST_CASE("when_any_of_a_vector_gives_index_and_result") {
    ringo::run([]() -> task<> {
        int ended = 0;
        std::vector<task<int>> tasks;
        for (int i = 0; i < 10; ++i) {
            tasks.push_back(i == 7 ? after(2, 70) : waits_for_ever(ended));
        }
        const std::pair<std::size_t, int> r = co_await when_any(std::move(tasks));
        CHECK(r.first == 7);
        CHECK(r.second == 70);
        CHECK(ended == 9);
        std::vector<task<>> nothings;
        nothings.push_back(nothing_after(3));
        nothings.push_back(nothing_after(1));
        const auto n = co_await when_any(std::move(nothings));
        CHECK(n.first == 1);
    });
}

TEST_CASE("when_any_rethrows_the_error_of_the_first_to_end") {
    ringo::run([]() -> task<> {
        int ended = 0;
        const std::string what =
            co_await end_of(when_any(waits_for_ever(ended), fails_after(2, "first")));
        CHECK(what == "first");
        CHECK(ended == 1);
    });
}

TEST_CASE("what_losers_end_with_is_dropped") {
    ringo::run([]() -> task<> {
        const auto spoils = []() -> task<int> {
            try {
                co_await ringo::sleep(1h);
            } catch (const ringo::cancelled&) {
                throw std::runtime_error("too late");
            }
            co_return 0;
        };
        // Of those that end in the same turn the first one counts.
        auto r = co_await when_any(spoils(), after(2, 1), after(2, 2), fails_after(2, "second"));
        CHECK(r.index() == 1);
    });
}

TEST_CASE("cancellation_from_outside_reaches_all_and_is_told_after_all_have_ended") {
    ringo::run([]() -> task<> {
        for (const bool all : {true, false}) {
            int ended = 0;
            auto h = spawn([&, all]() -> task<std::string> {
                if (all) {
                    co_return co_await end_of(
                        when_all(waits_for_ever(ended), waits_for_ever(ended)));
                }
                co_return co_await end_of(when_any(waits_for_ever(ended), waits_for_ever(ended)));
            });
            co_await yield();
            co_await yield();
            h.cancel();
            std::string what = co_await h;
            CHECK(what == "cancelled");
            CHECK(ended == 2);

            auto scope = ringo::with_cancel(ringo::this_context());
            auto under = spawn(ringo::with(scope), [&]() -> task<std::string> {
                return end_of(when_all(waits_for_ever(ended), waits_for_ever(ended)));
            });
            co_await yield();
            co_await yield();
            scope.cancel();
            what = co_await under;
            CHECK(what == "cancelled");
            CHECK(ended == 4);
        }
    });
}

TEST_CASE("a_timeout_reaches_all_as_a_deadline") {
    ringo::run([]() -> task<> {
        int ended = 0;
        const auto fails_late = [](int& n) -> task<> {
            const at_end counter(n);
            co_await ringo::sleep(1h);
        };
        std::string what =
            co_await end_of(ringo::timeout(1ms, when_all(fails_late(ended), fails_late(ended))));
        CHECK(what == "deadline");
        CHECK(ended == 2);
        what = co_await end_of(ringo::timeout(1ms, when_any(fails_late(ended), fails_late(ended))));
        CHECK(what == "deadline");
        CHECK(ended == 4);
    });
}

TEST_CASE("results_that_come_in_spite_of_a_cancellation_are_not_lost") {
    ringo::run([]() -> task<> {
        const auto persists = [](int n) -> task<int> {
            for (int i = 0; i < 5; ++i) {
                co_await ringo::shield(yield());
            }
            co_return n;
        };
        auto h = spawn([&]() -> task<int> {
            const auto [a, b] = co_await when_all(persists(1), persists(2));
            co_return a + b;
        });
        co_await yield();
        co_await yield();
        h.cancel();
        const int sum = co_await h;
        CHECK(sum == 3);
    });
}

TEST_CASE("cancelled_before_it_begins_it_runs_nothing") {
    ringo::run([]() -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        bool ran = false;
        const auto runs = [](bool& out) -> task<> {
            out = true;
            co_return;
        };
        std::string what = co_await end_of(ringo::within(scope, when_all(runs(ran))));
        CHECK(what == "cancelled");
        what = co_await end_of(ringo::within(scope, when_any(runs(ran), runs(ran))));
        CHECK(what == "cancelled");
        CHECK_FALSE(ran);
    });
}

TEST_CASE("tasks_that_are_never_awaited_never_run") {
    ringo::run([]() -> task<> {
        bool ran = false;
        const auto runs = [](bool& out) -> task<> {
            out = true;
            co_return;
        };
        { auto dropped = when_all(runs(ran), runs(ran)); }
        co_await yield();
        CHECK_FALSE(ran);
    });
}

TEST_CASE("as_result_takes_when_all_and_when_any") {
    ringo::run([]() -> task<> {
        auto good = co_await ringo::as_result(when_all(after(1, 1), after(2, 2)));
        CHECK(good.has_value());
        CHECK(std::get<1>(*good) == 2);
        const auto refused = []() -> task<int> {
            co_await yield();
            throw std::system_error(std::make_error_code(std::errc::io_error));
        };
        auto bad = co_await ringo::as_result(when_any(refused(), after(5, 1)));
        CHECK_FALSE(bad.has_value());
        CHECK(bad.error() == std::errc::io_error);
    });
}

TEST_CASE("the_end_of_the_run_ends_all") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        std::atomic<int> ended = 0;
        ringo::run(
            [&]() -> task<> {
                for (unsigned i = 0; i < 4; ++i) {
                    ringo::go(ringo::on(i % cores), [&ended]() -> task<> {
                        int n = 0;
                        const std::string what =
                            co_await end_of(when_all(waits_for_ever(n), waits_for_ever(n)));
                        CHECK(what == "cancelled");
                        ended += n;
                    });
                }
                while (ringo::num_goroutines() != 13) {
                    co_await yield();
                }
            },
            {.cores = cores, .pin = false});
        CHECK(ended == 8);
    }
}

TEST_CASE("nested_ones_are_cancelled_without_growing_the_stack") {
    ringo::run([]() -> task<> {
        struct nest {
            static task<> of(int depth) {
                if (depth == 0) {
                    co_await ringo::sleep(ringo::duration::max());
                    co_return;
                }
                co_await when_all(of(depth - 1));
            }
        };
        auto h = spawn(nest::of, 20000);
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

TEST_CASE("many_in_a_loop_take_no_stack") {
    ringo::run([]() -> task<> {
        long sum = 0;
        for (int i = 0; i < 20000; ++i) {
            const auto [a, b] = co_await when_all(after(0, 1), after(0, 2));
            sum += a + b;
        }
        CHECK(sum == 60000);
    });
}
