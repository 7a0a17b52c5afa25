// The way of an exception that nobody catches, as the panic's trace shows it.
#include <doctest/doctest.h>

#include "misuse.hpp"

#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>

#include <sys/wait.h>

using namespace std::chrono_literals;
using ringo::go;
using ringo::spawn;
using ringo::task;
using ringo::yield;

namespace {

std::string at(unsigned line) { return "debug_passage.cpp:" + std::to_string(line) + '\n'; }

/// Where `part` is in `text`, behind `from`.
std::size_t find(const std::string& text, const std::string& part, std::size_t from = 0) {
    const std::size_t place = text.find(part, from);
    CAPTURE(text);
    CAPTURE(part);
    CHECK(place != std::string::npos);
    return place;
}

/// Of a program whose goroutine, made by its main task, ends by an exception.
std::string output_of(task<> (*f)()) {
    const test::child_end end = test::in_child([f] {
        ringo::run([f]() -> task<> {
            go(f);
            co_await ringo::sleep(1h);
        });
    });
    CHECK(WTERMSIG(end.status) == SIGABRT);
    return end.output;
}

task<int> fails_at_once() {
    throw std::runtime_error("of this test");
    co_return 0;
}
task<int> fails(const char* text = "of this test") {
    co_await yield();
    throw std::runtime_error(text);
}
constexpr unsigned yield_line = __LINE__ - 3;

task<> middle() { (void)co_await fails(); }
constexpr unsigned middle_line = __LINE__ - 1;

}  // namespace

TEST_CASE("the_trace_leads_from_where_it_was_thrown_to_where_the_goroutine_was_made") {
    const std::string text = output_of([]() -> task<> { co_await middle(); });
    constexpr unsigned root_line = __LINE__ - 1;
    const std::size_t first = find(text, "after ");
    const std::size_t thrown = find(text, at(yield_line), first);
    const std::size_t passed = find(text, at(middle_line), thrown);
    const std::size_t left = find(text, at(root_line), passed);
    find(text, "made by goroutine 1", left);
}

TEST_CASE("who_throws_before_its_first_suspension_is_named") {
    const std::string text = output_of([]() -> task<> { (void)co_await fails_at_once(); });
    constexpr unsigned root_line = __LINE__ - 1;
#ifdef __cpp_lib_source_location
    find(text, "fails_at_once\n    not suspended yet, in ");
#endif
    find(text, at(root_line), find(text, "debug_passage.cpp\n"));
}

TEST_CASE("one_that_was_caught_leaves_no_trace_for_the_next") {
    const std::string text = output_of([]() -> task<> {
        try {
            co_await middle();
        } catch (const std::runtime_error&) {
        }
        throw std::runtime_error("of this test");  // at the same address, in all likelihood
    });
    constexpr unsigned await_line = __LINE__ - 5;
    CAPTURE(text);
    CHECK(text.find(at(middle_line)) == std::string::npos);
    CHECK(text.find(at(yield_line)) == std::string::npos);
    find(text, "after ");
    find(text, at(await_line));
}

TEST_CASE("one_that_was_caught_leaves_no_trace_for_one_that_comes_the_same_way") {
    const std::string text = output_of([]() -> task<> {
        try {
            co_await middle();
        } catch (const std::runtime_error&) {
        }
        co_await fails();
    });
    CAPTURE(text);
    CHECK(text.find(at(middle_line)) == std::string::npos);
    find(text, at(__LINE__ - 4), find(text, at(yield_line)));
}

TEST_CASE("one_that_was_kept_and_thrown_again_keeps_its_trace") {
    const std::string text = output_of([]() -> task<> {
        std::exception_ptr kept;
        try {
            co_await middle();
        } catch (const std::runtime_error&) {
            kept = std::current_exception();
        }
        co_await yield();
        std::rethrow_exception(kept);
    });
    constexpr unsigned last_line = __LINE__ - 3;
    find(text, at(last_line), find(text, at(middle_line), find(text, at(yield_line))));
}

TEST_CASE("one_that_a_join_brings_shows_both_goroutines") {
    const std::string text = output_of([]() -> task<> {
        auto child = spawn(middle);
        co_await child;
    });
    constexpr unsigned spawn_line = __LINE__ - 3;
    const std::size_t inner = find(text, at(middle_line), find(text, at(yield_line)));
    const std::size_t made = find(text, at(spawn_line), inner);
    find(text, at(spawn_line + 1), find(text, "who awaited it:\n", made));
}

TEST_CASE("a_failure_that_nobody_awaits_is_told_with_its_own_trace") {
    const std::string text = output_of([]() -> task<> {
        auto child = spawn(ringo::on(0), middle);
        co_await ringo::sleep(1ms);
    });
    find(text, at(middle_line), find(text, at(yield_line)));
    CHECK(text.find("sleep") == std::string::npos);
}

TEST_CASE("a_long_way_ends_where_it_was_made") {
    struct deep {
        static task<> down(int n) {
            co_await yield();
            if (n == 0) {
                throw std::runtime_error("of this test");
            }
            co_await down(n - 1);
        }
    };
    const std::string text = output_of([]() -> task<> { co_await deep::down(100); });
    find(text, "made by goroutine 1", find(text, "... 79 more\n"));
}
