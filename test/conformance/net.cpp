// The scenarios of conformance that only sockets have, by their numbers.
#include <doctest/doctest.h>

#include "conformance/placements.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <poll.h>

using ringo::as_result;
using ringo::chan;
using ringo::select;
using ringo::spawn;
using ringo::task;
using ringo::net::conn;
using ringo::net::dial;
using ringo::net::listen;
using ringo::net::listener;
using test::connect;
using test::connection;
using test::placement;
using test::yield_times;

namespace {

constexpr std::uint64_t stream_bytes = 15'000;

task<> write_stream(conn& c, unsigned seed) {
    std::minstd_rand random(seed);
    for (std::uint64_t done = 0; done < stream_bytes;) {
        const std::size_t n = std::min<std::uint64_t>(1 + random() % 60, stream_bytes - done);
        co_await c.write(test::patterned(n, done));
        done += n;
        co_await yield_times(static_cast<int>(random() % 3));
    }
    c.close_write();
}

struct stream {
    /// Whether `n` read bytes are the next of the pattern.
    bool takes(std::size_t n) {
        const bool right = test::has_pattern(buffer.data(), n, done);
        done += n;
        over = n == 0;
        return right;
    }
    std::string buffer = std::string(40, ' ');
    std::uint64_t done = 0;
    bool over = false;
};

}  // namespace

TEST_CASE("go_78_select_over_socket_reads_the_loser_has_read_nothing") {
    const test::no_descriptor_leaks check;
    test::for_each_placement([](placement p) -> task<> {
        connection a = co_await connect();
        connection b = co_await connect();
        auto left = spawn(p.wakes(), write_stream, std::ref(a.client), 1);
        auto right = spawn(p.wakes(), write_stream, std::ref(b.client), 2);
        auto reader = spawn(p.waits(), [&]() -> task<bool> {
            stream x;
            stream y;
            bool right_so_far = true;
            while (right_so_far && !x.over && !y.over) {
                const auto r = co_await select(a.server.read(x.buffer), b.server.read(y.buffer));
                right_so_far = r.index() == 0 ? x.takes(std::get<0>(r)) : y.takes(std::get<1>(r));
            }
            while (right_so_far && !x.over) {
                const std::size_t n = co_await a.server.read(x.buffer);
                right_so_far = x.takes(n);
            }
            while (right_so_far && !y.over) {
                const std::size_t n = co_await b.server.read(y.buffer);
                right_so_far = y.takes(n);
            }
            co_return right_so_far&& x.done == stream_bytes&& y.done == stream_bytes;
        });
        const bool exact = co_await reader;
        CHECK(exact);
        co_await left;
        co_await right;
    });
}

// 72, for what is here: whenever they are cancelled, nothing is lost and nothing leaks.

TEST_CASE("go_72_a_select_of_sockets_is_cancelled_in_every_state") {
    const test::no_descriptor_leaks check;
    test::for_each_placement([](placement p) -> task<> {
        connection both = co_await connect();
        listener l = listen("127.0.0.1:0");
        std::string sent;
        std::string got;
        int dialled = 0;
        int accepted = 0;
        std::vector<conn> open;
        for (int i = 0; i < 150; ++i) {
            auto waits = spawn(p.waits(), [&]() -> task<> {
                std::string buffer(20, ' ');
                auto r = co_await as_result(select(both.server.read(buffer), l.accept(),
                                                   ringo::poll(both.server.descriptor(), POLLPRI)));
                if (r && r->index() == 0) {
                    got += buffer.substr(0, std::get<0>(*r));
                } else if (r) {
                    REQUIRE(r->index() == 1);
                    ++accepted;
                } else {
                    CHECK(r.error() == std::errc::operation_canceled);
                }
            });
            auto wakes = spawn(p.wakes(), [&, i]() -> task<> {
                co_await yield_times(i % 5);
                if (i % 3 == 0) {
                    conn c = co_await dial(l.local());
                    ++dialled;
                    open.push_back(std::move(c));
                } else {
                    const std::string piece = test::patterned(7, sent.size());
                    sent += piece;
                    co_await both.client.write(piece);
                }
                co_await yield_times(i / 5 % 4);
            });
            co_await wakes;
            waits.cancel();
            co_await waits;
        }
        both.client.close_write();
        got += co_await test::read_all(both.server);
        CHECK(got == sent);
        for (; accepted < dialled; ++accepted) {
            const conn c = co_await l.accept();
        }
        const auto more = co_await select(l.accept(), ringo::otherwise);
        CHECK(more.index() == 1);
    });
}
