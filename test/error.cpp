#include <doctest/doctest.h>

#include <ringo/detail/operation.hpp>
#include <ringo/error.hpp>

#include <cerrno>
#include <ostream>  // doctest prints error codes
#include <set>
#include <string>
#include <system_error>

using ringo::errc;

TEST_CASE("each_code_has_a_text_of_its_own") {
    std::set<std::string> texts;
    for (const errc e :
         {errc::would_block, errc::channel_closed, errc::closed, errc::broken_promise,
          errc::end_of_stream, errc::cancelled, errc::deadline_exceeded}) {
        const std::error_code code = e;
        CHECK(code);
        CHECK(code.category() == ringo::category());
        texts.insert(code.message());
    }
    CHECK(texts.size() == 7);
    CHECK(ringo::category().name() == std::string("ringo"));
    CHECK(std::error_code(1000, ringo::category()).message() == "unknown error");
}

TEST_CASE("codes_equal_the_standards_conditions") {
    CHECK(std::error_code(errc::would_block) == std::errc::operation_would_block);
    CHECK(std::error_code(errc::cancelled) == std::errc::operation_canceled);
    CHECK(std::error_code(errc::deadline_exceeded) == std::errc::timed_out);
    CHECK(std::error_code(errc::channel_closed) != std::errc::broken_pipe);
    CHECK(std::error_code(errc::closed) != std::error_code(errc::channel_closed));
}

TEST_CASE("exceptions_are_system_errors_with_their_codes") {
    const ringo::cancelled c("read 127.0.0.1:80", 12);
    CHECK(c.code() == errc::cancelled);
    CHECK(c.code() == std::errc::operation_canceled);
    CHECK(c.bytes() == 12);
    CHECK(c.what() == std::string("read 127.0.0.1:80: context cancelled"));
    const ringo::deadline_exceeded d("sleep");
    CHECK(d.code() == std::errc::timed_out);
    CHECK(d.bytes() == 0);
    const ringo::channel_closed closed("send");
    CHECK(closed.code() == errc::channel_closed);
    CHECK_THROWS_AS(throw ringo::cancelled("x"), std::system_error);
    CHECK_THROWS_AS(throw ringo::deadline_exceeded("x"), std::system_error);
    CHECK_THROWS_AS(throw ringo::channel_closed("x"), std::system_error);
}

TEST_CASE("failures_become_their_exceptions") {
    namespace detail = ringo::detail;
    CHECK_THROWS_AS(detail::throw_failure(detail::failure_cancelled, "op"), ringo::cancelled);
    CHECK_THROWS_AS(detail::throw_failure(detail::failure_deadline_exceeded, "op"),
                    ringo::deadline_exceeded);
    CHECK_THROWS_AS(detail::throw_failure(detail::failure_channel_closed, "op"),
                    ringo::channel_closed);
    CHECK_THROWS_WITH(detail::throw_failure(detail::failure_broken_promise, "op"),
                      "op: callback dropped without having been called");
    CHECK_THROWS_WITH(detail::throw_failure(ECONNRESET, "read"), "read: Connection reset by peer");
    CHECK(detail::failure_code(EPIPE) == std::errc::broken_pipe);
    CHECK(detail::failure_code(detail::failure_closed) == errc::closed);
    CHECK(detail::failure_code(detail::failure_end_of_stream) == errc::end_of_stream);
}
