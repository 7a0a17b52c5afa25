#include <doctest/doctest.h>

#include "misuse.hpp"

#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/task.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using ringo::task;

namespace {

/// Says on which side of its life it is.
class tracked {
public:
    explicit tracked(int& alive) : alive_(&alive) { ++*alive_; }
    tracked(const tracked& other) : alive_(other.alive_) { ++*alive_; }
    tracked(tracked&& other) noexcept : alive_(other.alive_) { ++*alive_; }
    tracked& operator=(const tracked&) = default;
    ~tracked() { --*alive_; }

private:
    int* alive_;
};

class no_default {
public:
    explicit no_default(int v) : value(v) {}
    int value;
};

struct base {
    virtual ~base() = default;
    virtual int id() const { return 1; }
};
struct derived : base {
    int id() const override { return 2; }
};

task<int> number(int n) { co_return n; }
task<> nothing() { co_return; }
task<int&> refers(int& to) { co_return to; }
task<const std::string&> refers_to_const(const std::string& to) { co_return to; }
task<std::unique_ptr<int>> owner(int n) { co_return std::make_unique<int>(n); }
task<no_default> wrapped(int n) { co_return no_default(n); }
task<std::unique_ptr<base>> converted() { co_return std::make_unique<derived>(); }
task<std::string> text() { co_return "text"; }
task<int> throws(const char* what) {
    throw std::runtime_error(what);
    co_return 0;
}
task<> mark(bool& ran) {
    ran = true;
    co_return;
}
task<int> holds(tracked) { co_return 5; }
task<int> sum_to(int n) {
    if (n == 0) {
        co_return 0;
    }
    const int below = co_await sum_to(n - 1);
    co_return n + below;
}
task<> steps(std::vector<int>& seen, int n) {
    seen.push_back(n);
    co_await ringo::yield();
    seen.push_back(n + 1);
}

}  // namespace

TEST_CASE("nothing_runs_until_awaited") {
    ringo::run([]() -> task<> {
        bool ran = false;
        task<> t = mark(ran);
        co_await ringo::yield();
        CHECK_FALSE(ran);
        co_await std::move(t);
        CHECK(ran);
    });
}

TEST_CASE("yields_values_of_every_kind") {
    ringo::run([]() -> task<> {
        const int n = co_await number(7);
        CHECK(n == 7);

        co_await nothing();

        int target = 1;
        int& same = co_await refers(target);
        CHECK(&same == &target);
        const std::string constant = "constant";
        const std::string& same_constant = co_await refers_to_const(constant);
        CHECK(&same_constant == &constant);

        const std::unique_ptr<int> owned = co_await owner(9);
        CHECK(*owned == 9);
        const no_default w = co_await wrapped(3);
        CHECK(w.value == 3);
        const std::unique_ptr<base> b = co_await converted();
        CHECK(b->id() == 2);
        const std::string s = co_await text();
        CHECK(s == "text");
    });
}

TEST_CASE("rethrows_what_left_it") {
    ringo::run([]() -> task<> {
        std::string caught;
        try {
            co_await throws("from within");
        } catch (const std::runtime_error& e) {
            caught = e.what();
        }
        CHECK(caught == "from within");

        // The goroutine goes on as before.
        const int n = co_await number(2);
        CHECK(n == 2);
    });
}

TEST_CASE("passes_exceptions_through_callers_that_do_not_catch") {
    static int unwound;
    unwound = 0;
    struct unwinding {
        ~unwinding() { ++unwound; }
    };
    static const auto middle = []() -> task<int> {
        const unwinding u;
        const int n = co_await throws("deep");
        co_return n;
    };
    static const auto outer = []() -> task<int> {
        const unwinding u;
        const int n = co_await middle();
        co_return n;
    };
    CHECK_THROWS_WITH(ringo::run([]() -> task<int> { return outer(); }), "deep");
    CHECK(unwound == 2);
}

TEST_CASE("arguments_live_until_its_frame_goes") {
    ringo::run([]() -> task<> {
        int alive = 0;
        {
            task<int> t = holds(tracked(alive));
            CHECK(alive == 1);
            const int n = co_await std::move(t);
            CHECK(n == 5);
            CHECK(alive == 0);  // they go with the await, not with the task
        }
        {
            const task<int> never_awaited = holds(tracked(alive));
            CHECK(alive == 1);
        }
        CHECK(alive == 0);
    });
}

TEST_CASE("moves_keep_the_one_frame") {
    static_assert(!std::is_copy_constructible_v<task<int>>);
    static_assert(!std::is_copy_assignable_v<task<int>>);
    static_assert(std::is_nothrow_move_constructible_v<task<int>>);
    ringo::run([]() -> task<> {
        int alive = 0;
        {
            task<int> a = holds(tracked(alive));
            task<int> b = std::move(a);
            task<int> c = holds(tracked(alive));
            c = std::move(b);
            const int n = co_await std::move(c);
            CHECK(n == 5);
        }
        CHECK(alive == 0);
    });
}

TEST_CASE("recursion_returns_to_each_caller") {
    const int sum = ringo::run([] { return sum_to(1000); });
    CHECK(sum == 500500);
}

TEST_CASE("suspends_and_resumes_its_whole_chain") {
    ringo::run([]() -> task<> {
        std::vector<int> seen;
        ringo::go([&seen]() -> task<> { co_await steps(seen, 10); });
        co_await steps(seen, 20);
        co_await ringo::yield();
        CHECK(seen == std::vector<int>{20, 10, 21, 11});
    });
}

TEST_CASE("may_be_made_anywhere_and_awaited_elsewhere") {
    // Made on this thread, awaited on a core; made on one core, awaited on another.
    task<int> outside = number(1);
    const int sum = ringo::run(
        [](task<int> given) -> task<int> {
            const int first = co_await std::move(given);
            task<int> made_here = number(2);
            auto h = ringo::spawn(
                ringo::on(1),
                [](task<int> t) -> task<int> {
                    const int n = co_await std::move(t);
                    co_return n;
                },
                std::move(made_here));
            const int second = co_await h;
            co_return first + second;
        }(std::move(outside)),
        {.cores = 2});
    CHECK(sum == 3);
}

TEST_CASE("awaiting_twice_is_a_panic") {
    test::expect_panic("task: awaited twice, or after it was moved from", [] {
        ringo::run([]() -> task<> {
            task<int> t = number(1);
            const int once = co_await std::move(t);
            const int twice = co_await std::move(t);
            CHECK(once == twice);
        });
    });
}

TEST_CASE("awaiting_a_moved_from_task_is_a_panic") {
    test::expect_panic("task: awaited twice, or after it was moved from", [] {
        ringo::run([]() -> task<> {
            task<int> t = number(1);
            const task<int> taken = std::move(t);
            const int n = co_await std::move(t);
            CHECK(n == 1);
        });
    });
}
