#include <doctest/doctest.h>

#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::result;
using ringo::task;

namespace {

task<std::string> text() { co_return "text"; }
task<std::unique_ptr<int>> owner() { co_return std::make_unique<int>(2); }
task<> nothing() { co_return; }
task<int> fails_with(std::error_code code) {
    co_await ringo::yield();
    throw std::system_error(code, "of a task");
}
task<int> throws_something_else() {
    co_await ringo::yield();
    throw std::runtime_error("no code");
}

}  // namespace

TEST_CASE("gives_the_value_of_a_task") {
    test::virtual_run([]() -> task<> {
        const result<std::string> s = co_await as_result(text());
        CHECK(s.value() == "text");
        const auto p = co_await as_result(owner());
        CHECK(**p == 2);
        const result<void> v = co_await as_result(nothing());
        CHECK(v.has_value());
    });
}

TEST_CASE("gives_the_code_of_a_system_error") {
    test::virtual_run([]() -> task<> {
        const auto system = std::make_error_code(std::errc::no_such_file_or_directory);
        const auto r = co_await as_result(fails_with(system));
        CHECK_FALSE(r);
        CHECK(r.error() == std::errc::no_such_file_or_directory);
        const auto own = co_await as_result(fails_with(ringo::errc::closed));
        CHECK(own.error() == ringo::errc::closed);
        const auto late = co_await as_result(ringo::timeout(1s, ringo::sleep(1h)));
        CHECK(late.error() == ringo::errc::deadline_exceeded);
    });
}

TEST_CASE("gives_the_code_of_an_operation_that_was_cancelled_in_its_wait_or_before") {
    test::virtual_run([]() -> task<> {
        auto scope = ringo::with_timeout(ringo::this_context(), 1s);
        auto h = ringo::spawn(ringo::with(scope), []() -> task<int> {
            int failed = 0;
            for (int i = 0; i < 3; ++i) {
                const auto r = co_await as_result(ringo::sleep(1h));
                failed += !r && r.error() == std::errc::timed_out ? 1 : 0;
            }
            co_return failed;
        });
        const int failed = co_await h;
        CHECK(failed == 3);
    });
}

TEST_CASE("lets_what_has_no_code_pass") {
    test::virtual_run([]() -> task<> {
        std::string caught;
        try {
            co_await as_result(throws_something_else());
        } catch (const std::runtime_error& e) {
            caught = e.what();
        }
        CHECK(caught == "no code");
    });
}

TEST_CASE("bounds_a_join_and_leaves_the_handle_usable") {
    test::virtual_run([]() -> task<> {
        auto h = ringo::spawn([]() -> task<int> {
            co_await ringo::sleep(1h);
            co_return 7;
        });
        auto late = co_await as_result(ringo::timeout(1s, h));
        CHECK(!late);
        CHECK(late.error() == std::errc::timed_out);
        auto value = co_await as_result(h);
        REQUIRE(value);
        CHECK(*value == 7);
    });
}
