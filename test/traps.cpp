// The traps that bit the projects before ringo, by their numbers in the design's list.
#include <doctest/doctest.h>

#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::go;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::for_ever;

namespace {

#if RINGO_SANITIZED
constexpr int awaits_many = 1'000'000;
constexpr int frames_many = 100'000;
#else
constexpr int awaits_many = 10'000'000;
constexpr int frames_many = 1'000'000;
#endif

/// Where about the stack is.
[[gnu::noinline]] std::uintptr_t stack_here() {
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}
std::uintptr_t distance(std::uintptr_t a, std::uintptr_t b) { return a < b ? b - a : a - b; }

task<int> leaf() { co_return 1; }
task<int> leaf_that_throws() {
    throw 1;
    co_return 0;
}

struct unwinding {
    explicit unwinding(int& n) : alive(&n) { ++*alive; }
    unwinding(const unwinding&) = delete;
    unwinding& operator=(const unwinding&) = delete;
    ~unwinding() { --*alive; }
    int* alive;
};

/// `n` frames deep; the innermost awaits what `bottom` makes.
task<int> dig(int n, int& alive, const std::function<task<int>()>& bottom) {
    const unwinding u(alive);
    if (n == 0) {
        const int result = co_await bottom();
        co_return result;
    }
    const int result = co_await dig(n - 1, alive, bottom);
    co_return result + 1;
}

/// Counts its lives: how often each was made and destroyed.
struct balanced {
    explicit balanced(int& n, std::string s = "a string that is too long to lie inside")
        : alive(&n), text(std::move(s)) {
        ++*alive;
    }
    balanced(const balanced& o) : alive(o.alive), text(o.text) { ++*alive; }
    balanced(balanced&& o) noexcept : alive(o.alive), text(std::move(o.text)) { ++*alive; }
    balanced& operator=(const balanced&) = default;
    balanced& operator=(balanced&&) = default;
    ~balanced() { --*alive; }
    int* alive;
    std::string text;
};

task<std::size_t> by_value(balanced b) {
    co_await yield();
    co_return b.text.size();
}
task<std::size_t> by_reference(const balanced& b) {
    co_await yield();
    co_return b.text.size();
}
task<std::size_t> text_by_value(std::string s) {
    co_await yield();
    co_return s.size();
}
task<balanced> makes(int& alive) {
    co_await yield();
    co_return balanced(alive);
}

}  // namespace

TEST_CASE("trap_22_a_wake_from_a_goroutine_resumes_nobody_inline") {
    // Each goroutine wakes the next as it ends: were the next resumed there and then, a chain of
    // them would nest, and the stack of the last would be far from that of the first.
    ringo::run([]() -> task<> {
        std::uintptr_t lowest = UINTPTR_MAX;
        std::uintptr_t highest = 0;
        const auto joins = [&](std::unique_ptr<ringo::join_handle<void>> previous) -> task<> {
            if (previous) {
                co_await *previous;
            }
            lowest = std::min(lowest, stack_here());
            highest = std::max(highest, stack_here());
        };
        std::unique_ptr<ringo::join_handle<void>> last;
        for (int i = 0; i < 10'000; ++i) {
            last = std::make_unique<ringo::join_handle<void>>(spawn(joins, std::move(last)));
        }
        co_await *last;
        CHECK(highest - lowest < 4096);

        auto scope = ringo::with_cancel(ringo::this_context());
        bool inline_resume = false;
        bool cancelling = false;
        auto waits = spawn(ringo::with(scope), [&]() -> task<> {
            co_await ringo::as_result(ringo::sleep(for_ever));
            inline_resume = cancelling;
        });
        co_await yield();
        cancelling = true;
        scope.cancel();
        cancelling = false;
        co_await waits;
        CHECK_FALSE(inline_resume);
    });
}

TEST_CASE("trap_23_frames_freed_on_other_cores_and_at_the_end") {
    std::atomic<int> alive = 0;
    struct counts {
        explicit counts(std::atomic<int>& n) : alive(&n) { ++*alive; }
        counts(counts&& o) noexcept : alive(o.alive) { ++*alive; }
        counts& operator=(const counts&) = delete;
        ~counts() { --*alive; }
        std::atomic<int>* alive;
    };
    ringo::run(
        [&alive]() -> task<> {
            // Tasks made here, run and freed there, back and forth.
            for (int round = 0; round < 100; ++round) {
                std::vector<ringo::join_handle<int>> handles;
                for (int i = 0; i < 64; ++i) {
                    handles.push_back(spawn(
                        ringo::on(1),
                        [](task<int> made_there, counts) -> task<int> {
                            const int n = co_await std::move(made_there);
                            co_return n;
                        },
                        leaf(), counts(alive)));
                }
                for (auto& h : handles) {
                    co_await h;
                }
            }
            // Queued when the run ends.
            for (int i = 0; i < 100; ++i) {
                go(
                    ringo::on(1), [](counts) -> task<> { co_await yield(); }, counts(alive));
            }
        },
        {.cores = 2});
    CHECK(alive == 0);
}

TEST_CASE("trap_24_a_throw_in_one_goroutine_leaves_the_others_of_its_core_alone") {
    ringo::run([]() -> task<> {
        int ended = 0;
        std::vector<ringo::join_handle<void>> good;
        std::vector<ringo::join_handle<int>> bad;
        for (int i = 0; i < 100; ++i) {
            good.push_back(spawn([&ended]() -> task<> {
                co_await yield();
                co_await ringo::sleep(1us);
                ++ended;
            }));
            bad.push_back(spawn([]() -> task<int> {
                co_await yield();
                throw std::runtime_error("bad");
            }));
            bad.push_back(spawn([]() -> task<int> {
                co_await ringo::blocking([] { throw std::runtime_error("on another thread"); });
                co_return 0;
            }));
        }
        for (auto& h : good) {
            co_await h;
        }
        int failed = 0;
        for (auto& h : bad) {
            try {
                co_await h;
            } catch (const std::runtime_error&) {
                ++failed;
            }
        }
        CHECK(ended == 100);
        CHECK(failed == 200);
    });
}

TEST_CASE("trap_24_exceptions_pass_through_a_million_frames") {
    ringo::run([]() -> task<> {
        int alive = 0;
        bool caught = false;
        try {
            co_await dig(frames_many / 10, alive, [] { return leaf_that_throws(); });
        } catch (int n) {
            caught = n == 1;
        }
        CHECK(caught);
        CHECK(alive == 0);
    });
}

TEST_CASE("trap_25_ten_million_sequential_awaits_in_constant_stack") {
    ringo::run([]() -> task<> {
        const std::uintptr_t before = stack_here();
        std::int64_t sum = 0;
        for (int i = 0; i < awaits_many; ++i) {
            sum += co_await leaf();
        }
        CHECK(sum == awaits_many);
        CHECK(distance(before, stack_here()) < 4096);
        // Operations that end at once, and tasks that throw.
        for (int i = 0; i < awaits_many / 10; ++i) {
            const auto r = co_await ringo::as_result(ringo::within(ringo::this_context(), leaf()));
            sum += r.value();
        }
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        for (int i = 0; i < awaits_many / 10; ++i) {
            const auto r = co_await ringo::as_result(ringo::within(scope, ringo::sleep(1h)));
            sum -= r ? 0 : 1;
        }
        CHECK(sum == awaits_many);
        CHECK(distance(before, stack_here()) < 4096);
    });
}

TEST_CASE("trap_25_a_million_frames_deep_and_back") {
    ringo::run([]() -> task<> {
        int alive = 0;
        const int depth = co_await dig(frames_many, alive, [] { return leaf(); });
        CHECK(depth == frames_many + 1);
        CHECK(alive == 0);
        // Suspended at the bottom, and resumed there.
        const int again = co_await dig(frames_many, alive, []() -> task<int> {
            co_await yield();
            co_return 0;
        });
        CHECK(again == frames_many);
        CHECK(alive == 0);
    });
}

TEST_CASE("trap_25_a_million_frames_parked_at_the_end_are_unwound") {
    for (const bool ignores : {false, true}) {
        int alive = 0;
        test::virtual_run(
            [&]() -> task<> {
                go([&]() -> task<> {
                    if (ignores) {
                        co_await ringo::shield(dig(frames_many, alive, []() -> task<int> {
                            co_await ringo::sleep(for_ever);
                            co_return 0;
                        }));
                    }
                    co_await dig(frames_many, alive, []() -> task<int> {
                        co_await ringo::sleep(for_ever);
                        co_return 0;
                    });
                });
                while (alive != frames_many + 1) {
                    co_await yield();
                }
            },
            nullptr, {.shutdown_grace = 1ms});
        CHECK(alive == 0);
    }
}

TEST_CASE("trap_26_temporaries_in_an_await_are_destroyed_once") {
    int alive = 0;
    ringo::run([&alive]() -> task<> {
        const std::size_t length = balanced(alive).text.size();
        std::size_t n = co_await by_value(balanced(alive));
        CHECK(n == length);
        CHECK(alive == 0);
        n = co_await by_reference(balanced(alive));
        CHECK(n == length);
        CHECK(alive == 0);
        n = co_await text_by_value(std::string(100, 'x'));
        CHECK(n == 100);
        n = co_await text_by_value(std::string(50, 'x') + std::string(51, 'y'));
        CHECK(n == 101);
        n = co_await ringo::timeout(1h, by_value(balanced(alive)));
        CHECK(n == length);
        n = co_await ringo::within(ringo::with_value<int>(ringo::this_context(), 1),
                                   by_reference(balanced(alive)));
        CHECK(n == length);
        CHECK(alive == 0);
        const auto r = co_await ringo::as_result(ringo::shield(by_value(balanced(alive))));
        CHECK(r.value() == length);
        CHECK(alive == 0);
    });
    CHECK(alive == 0);
}

#if defined(__GNUC__) && !defined(__clang__) && \
    (__GNUC__ < 12 || (__GNUC__ == 12 && __GNUC_MINOR__ <= 2))
task<> awaits_in_a_condition(ringo::chan<int> c) {
    while (co_await c.recv()) {
    }
}

TEST_CASE("trap_26_a_frame_laid_out_wrongly_is_refused") {
    test::expect_panic("task: g++ has laid this coroutine out wrongly (GCC bug 106188)",
                       [] { ringo::run(awaits_in_a_condition(ringo::chan<int>())); });
}
#endif

TEST_CASE("trap_26_results_of_an_await_are_destroyed_once") {
    int alive = 0;
    ringo::run([&alive]() -> task<> {
        {
            const balanced b = co_await makes(alive);
            CHECK(alive == 1);
            CHECK(!b.text.empty());
        }
        CHECK(alive == 0);
        co_await makes(alive);
        CHECK(alive == 0);
        const std::size_t n = (co_await makes(alive)).text.size();
        CHECK(n > 0);
        CHECK(alive == 0);
        {
            auto h = spawn(makes, std::ref(alive));
            const balanced b = co_await h;
            CHECK(alive == 1);
            CHECK(!b.text.empty());
        }
        CHECK(alive == 0);
        {
            const auto r = co_await ringo::as_result(makes(alive));
            CHECK(alive == 1);
            CHECK(r.has_value());
        }
        CHECK(alive == 0);
#if defined(__clang__) || __GNUC__ > 12
        // g++ 12 destroys one that was never made; no library can help that.
        for (const bool b : {true, false}) {
            const balanced chosen = b ? co_await makes(alive) : balanced(alive);
            CHECK(alive == 1);
            CHECK(!chosen.text.empty());
        }
        CHECK(alive == 0);
#endif
    });
}

TEST_CASE("trap_26_closures_given_to_operations_are_destroyed_once") {
    int alive = 0;
    ringo::run([&alive]() -> task<> {
        const balanced b(alive);
        {
            const auto f = [b] { return b.text.size(); };
            const std::size_t n = co_await ringo::blocking(f);
            CHECK(n == b.text.size());
        }
        CHECK(alive == 1);
        {
            const auto start = [b](ringo::completion<std::string> done) { done(b.text); };
            const std::string s = co_await ringo::from_callback<std::string>(start);
            CHECK(s == b.text);
        }
        CHECK(alive == 1);
    });
    CHECK(alive == 0);
}

// Clang 14 at -O2 merged what suspensions in two branches have in common, and crashed.
TEST_CASE("suspensions_of_one_kind_follow_each_other_in_branches") {
    ringo::run([]() -> task<> {
        std::size_t in_first = 0;
        for (int round = 0; round < 3; ++round) {
            ringo::go([]() -> task<> { co_await yield(); });
            while (ringo::num_goroutines() != 1) {
                co_await yield();
            }
            co_await yield();
            if (round == 0) {
                in_first = ringo::num_goroutines();
            }
        }
        CHECK(in_first == 1);
    });
}

TEST_CASE("trap_28_a_capturing_lambda_outlives_its_full_expression") {
    ringo::run([]() -> task<> {
        int alive = 0;
        {
            const balanced b(alive);
            auto h = spawn([b]() -> task<std::size_t> {
                co_await yield();
                co_await ringo::sleep(1us);
                co_return b.text.size();
            });
            const std::size_t n = co_await h;
            CHECK(n == b.text.size());
        }
        CHECK(alive == 0);
        go([s = std::make_unique<int>(4), &alive]() -> task<> {
            co_await yield();
            alive = *s;
        });
        while (alive == 0) {
            co_await yield();
        }
        CHECK(alive == 4);
    });
    const auto captured = std::make_shared<int>(6);
    const int n = ringo::run([captured]() -> task<int> {
        co_await yield();
        co_return *captured;
    });
    CHECK(n == 6);
}

TEST_CASE("trap_30_a_goroutine_stays_on_its_core") {
    static thread_local int this_thread_id = 0;
    static std::atomic<int> ids;
    ids = 0;
    ringo::run([]() -> task<> {
        std::vector<ringo::join_handle<bool>> handles;
        for (std::size_t i = 0; i < 64; ++i) {
            handles.push_back(spawn(ringo::anywhere, []() -> task<bool> {
                co_await yield();
                if (this_thread_id == 0) {
                    this_thread_id = ++ids;
                }
                const int before = this_thread_id;
                bool same = true;
                for (int k = 0; k < 20; ++k) {
                    co_await yield();
                    co_await ringo::sleep(1us);
                    co_await ringo::blocking([] {});
                    same = same && this_thread_id == before;
                }
                co_return same;
            }));
        }
        for (auto& h : handles) {
            const bool same = co_await h;
            CHECK(same);
        }
    });
}
