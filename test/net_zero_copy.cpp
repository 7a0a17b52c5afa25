#include <ringo/net/options.hpp>

#include <doctest/doctest.h>

#include "sockets.hpp"
#include "steps.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

using ringo::as_result;
using ringo::errc;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::net::conn;
using ringo::net::zero_copy;
using test::connect;
using test::connection;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::patterned;

namespace {

constexpr std::size_t threshold = 100'000;

/// How many operations there were that copied nothing. -1: there are none here.
std::int64_t in_place(std::string_view kind) {
    const ringo::metrics m = ringo::debug::metrics();
    if (!test::contains(m.backend, "deferred")) {
        return -1;
    }
    std::int64_t n = 0;
    for (const auto& core : m.cores) {
        for (const auto& op : core.kernel_operations) {
            n += op.kind == kind ? static_cast<std::int64_t>(op.submitted) : 0;
        }
    }
    return n;
}

task<connection> connect_with_threshold() {
    connection both = co_await connect();
    both.client.set(zero_copy{threshold});
    co_return both;
}

task<> read_and_check(conn& c, std::size_t size, std::size_t& done) {
    std::string b(70'000, '\0');
    while (done < size) {
        const std::size_t n = co_await c.read(b);
        REQUIRE(n != 0);
        REQUIRE(test::has_pattern(b.data(), n, done));
        done += n;
    }
}

}  // namespace

TEST_CASE("large_writes_are_sent_in_place_and_their_buffer_is_free_afterwards") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect_with_threshold();
        CHECK(both.client.get<zero_copy>() == threshold);
        std::size_t received = 0;
        constexpr std::size_t size = 1'000'000;
        auto reader = spawn([&] { return read_and_check(both.server, 11 * size, received); });
        std::string data(size, '\0');
        std::size_t sent = 0;
        for (int i = 0; i < 10; ++i, sent += size) {
            test::fill_pattern(data.data(), size, sent);
            co_await both.client.write(data);
            std::fill(data.begin(), data.end(), '?');  // nobody reads it any more
        }
        for (std::size_t i = 0; i < 20; ++i, sent += size / 20) {  // ... and small ones
            const std::string small = patterned(size / 20, sent);
            co_await both.client.write(small);
        }
        co_await reader;
        const std::int64_t n = in_place("send_zero_copy");
        CHECK((n == -1 || n == 10));
    });
}

TEST_CASE("several_buffers_together_are_large") {
    run([]() -> task<> {
        connection both = co_await connect_with_threshold();
        const std::string all = patterned(threshold);
        const std::string_view view = all;
        co_await both.client.write(view.substr(0, 10), view.substr(10, 60'000),
                                   view.substr(60'010));
        std::size_t received = 0;
        co_await read_and_check(both.server, threshold, received);
        const std::int64_t n = in_place("send_message_zero_copy");
        CHECK((n == -1 || n == 1));
    });
}

TEST_CASE("a_cancelled_write_in_place_says_how_far_it_got") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (int i = 0; i < 20; ++i) {
            connection both = co_await connect_with_threshold();
            const std::string all = patterned(i < 10 ? 8'000'000 : threshold);
            auto writer = spawn([&]() -> task<std::size_t> {
                const failure f = co_await failure_of(both.client.write(all));
                CHECK((!f.code || f.code == std::errc::operation_canceled));
                both.client.close_write();
                co_return f.code ? f.bytes : all.size();
            });
            co_await test::yield_times(i % 10 * 5);
            writer.cancel();
            auto reader = spawn([&] { return test::read_all(both.server); });
            const std::size_t sent = co_await writer;
            CHECK(co_await reader == all.substr(0, sent));
        }
    });
}

TEST_CASE("closing_and_the_peer_s_end_end_a_write_in_place") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const std::string all(8'000'000, 'x');
        for (const bool peer : {false, true}) {
            connection both = co_await connect_with_threshold();
            auto writer = spawn([&] { return failure_of(both.client.write(all)); });
            co_await test::parked();
            if (peer) {
                co_await both.server.close();
            } else {
                auto reader = spawn([&]() -> task<> {
                    std::string b(70'000, '\0');
                    while (co_await both.server.read(b) != 0) {
                    }
                });
                co_await both.client.close();
                co_await reader;
            }
            const failure f = co_await writer;
            CHECK((peer ? f.code == std::errc::connection_reset ||
                              f.code == std::errc::broken_pipe || f.code == std::errc::io_error
                        : f.code == errc::closed));
        }
        // Nobody waits for it, and the run ends.
        ringo::go([]() -> task<> {
            connection both = co_await connect_with_threshold();
            const std::string data(8'000'000, 'x');
            co_await both.client.write(data);
        });
        co_await test::parked();
    });
}

TEST_CASE("where_nothing_is_sent_in_place_a_write_is_an_ordinary_one") {
    run([]() -> task<> {
        connection both = co_await connect(test::unix_address("zero_copy"));
        both.client.set(zero_copy{1});
        const std::string all = patterned(50'000);
        auto reader = spawn([&] { return test::read_all(both.server); });
        co_await both.client.write(all);
        both.client.close_write();
        CHECK(co_await reader == all);
        CHECK_THROWS_AS(both.client.set(zero_copy{-1}), std::system_error);
        CHECK(both.server.get<zero_copy>() == 0);
        ringo::net::udp_socket u = ringo::net::listen_udp("127.0.0.1:0");
        CHECK_THROWS_AS(u.set(zero_copy{1}), std::system_error);
    });
}
