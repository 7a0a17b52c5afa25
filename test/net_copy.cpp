// io::copy with sockets: the bytes stay in the kernel, and none is lost.
#include <ringo/io/copy.hpp>

#include <doctest/doctest.h>

#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

using ringo::as_result;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::net::conn;
using test::connect;
using test::connection;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::other_core;
using test::patterned;
using test::until;
using test::yield_times;

namespace {

constexpr std::size_t total = 3'000'000;

std::string place(int i) {
    static int number = 0;
    return i == 0 ? "127.0.0.1:0" : test::unix_address("copy" + std::to_string(number++));
}

/// A file without a name, of `size` patterned bytes.
ringo::fs::file temporary(std::size_t size) {
    char name[] = "/tmp/ringo-copy-XXXXXX";
    const int fd = ::mkstemp(name);
    ::unlink(name);
    const std::string text = patterned(size);
    REQUIRE(::write(fd, text.data(), size) == static_cast<::ssize_t>(size));
    REQUIRE(::lseek(fd, 0, SEEK_SET) == 0);
    return ringo::fs::file(fd, name);
}

task<> write_all(conn& c, std::size_t from, std::size_t to) {
    const std::string all = patterned(to);
    co_await c.write(std::string_view(all).substr(from));
    c.close_write();
}

bool is_full(const conn& c) {
    pollfd p{.fd = c.descriptor(), .events = POLLOUT, .revents = 0};
    return ::poll(&p, 1, 0) == 0;
}

/// `c.close_write()` once all has been copied into it.
template <class From>
task<std::uint64_t> copy_and_end(conn& to, From& from) {
    const std::uint64_t n = co_await ringo::io::copy(to, from);
    to.close_write();
    co_return n;
}

}  // namespace

TEST_CASE("from_socket_to_socket_with_what_had_arrived_before") {
    const no_descriptor_leaks check;
    for (const int i : {0, 1, 2, 3}) {
        CAPTURE(i);
        run([i]() -> task<> {
            connection in = co_await connect(place(i % 2));
            connection out = co_await connect(place(i / 2));
            // A read arms a receive, which takes more than was asked for.
            co_await in.client.write(patterned(3000));
            std::string one(1, ' ');
            co_await in.server.read_exactly(one);
            auto writer = spawn(write_all, std::ref(in.client), 3000, total);
            co_await yield_times(5);
            auto copying = spawn(on(other_core()), copy_and_end<conn>, std::ref(out.client),
                                 std::ref(in.server));
            CHECK(one + co_await test::read_all(out.server) == patterned(total));
            CHECK(co_await copying == total - 1);
            co_await writer;
        });
    }
}

TEST_CASE("from_file_to_socket_and_from_socket_to_file") {
    const no_descriptor_leaks check;
    for (const int i : {0, 1}) {
        CAPTURE(i);
        run([i]() -> task<> {
            connection both = co_await connect(place(i));
            ringo::fs::file source = temporary(total);
            ringo::fs::file target = temporary(0);
            auto sending =
                spawn(copy_and_end<ringo::fs::file>, std::ref(both.client), std::ref(source));
            CHECK(co_await ringo::io::copy(target, both.server) == total);
            CHECK(co_await sending == total);
            ::lseek(target.descriptor(), 0, SEEK_SET);
            CHECK(co_await ringo::io::read_all(target) == patterned(total));
        });
    }
}

TEST_CASE("from_pipe_to_socket_and_from_socket_to_pipe") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        ringo::io::pipe_ends in = ringo::io::pipe();
        ringo::io::pipe_ends out = ringo::io::pipe();
        auto writer = spawn([&]() -> task<> {
            const std::string all = patterned(total);
            co_await in.writer.write(all);
            in.writer.close();
        });
        auto sending =
            spawn(copy_and_end<ringo::io::pipe_reader>, std::ref(both.client), std::ref(in.reader));
        auto receiving = spawn([&]() -> task<> {
            CHECK(co_await ringo::io::copy(out.writer, both.server) == total);
            out.writer.close();
        });
        CHECK(co_await ringo::io::read_all(out.reader) == patterned(total));
        co_await writer;
        co_await sending;
        co_await receiving;
    });
}

TEST_CASE("a_proxy_passes_a_half_close_on_and_the_answer_back") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection front = co_await connect();
        connection back = co_await connect();
        auto there = spawn(copy_and_end<conn>, std::ref(back.client), std::ref(front.server));
        auto here = spawn(copy_and_end<conn>, std::ref(front.server), std::ref(back.client));
        co_await front.client.write("question");
        front.client.close_write();
        CHECK(co_await test::read_all(back.server) == "question");
        co_await back.server.write("answer");
        back.server.close_write();
        CHECK(co_await test::read_all(front.client) == "answer");
        CHECK(co_await there == 8);
        CHECK(co_await here == 6);
    });
}

TEST_CASE("a_cancelled_copy_loses_no_byte_of_its_source") {
    const no_descriptor_leaks check;
    for (const int i : {0, 1, 2}) {  // 2: a file
        CAPTURE(i);
        run([i]() -> task<> {
            connection in = co_await connect(place(i % 2));
            connection out = co_await connect();
            ringo::fs::file file = temporary(i == 2 ? total : 0);
            out.client.set_send_buffer(20'000);
            out.server.set_receive_buffer(20'000);
            auto writer = spawn(write_all, std::ref(in.client), 0, total);
            std::uint64_t copied = 0;
            // The copies go on where the one before ended, also with what that one had taken.
            for (int k = 0; k < 8; ++k) {
                auto copying = spawn([&]() -> task<failure> {
                    if (i == 2) {
                        co_return co_await failure_of(ringo::io::copy(out.client, file));
                    }
                    co_return co_await failure_of(ringo::io::copy(out.client, in.server));
                });
                co_await until([&] { return copying.done() || is_full(out.client); });
                co_await yield_times(k);
                copying.cancel();
                const failure f = co_await copying;
                REQUIRE(f.code == std::errc::operation_canceled);
                std::string some(f.bytes, ' ');
                co_await out.server.read_exactly(some);
                CHECK(test::has_pattern(some.data(), some.size(), copied));
                copied += f.bytes;
            }
            CHECK(copied > 0);
            std::string rest;
            if (i == 2) {
                rest = co_await ringo::io::read_all(file);
            } else {
                rest = co_await test::read_all(in.server);
            }
            CHECK(rest == patterned(total).substr(copied));
            if (i == 2) {
                co_await in.server.close();
            }
            co_await as_result(writer);
        });
    }
}

TEST_CASE("a_copy_to_a_peer_that_is_gone_names_both_ends") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection in = co_await connect();
        connection out = co_await connect();
        auto writer = spawn(write_all, std::ref(in.client), 0, total);
        co_await out.server.close();
        const failure f = co_await failure_of(ringo::io::copy(out.client, in.server));
        CHECK((f.code == std::errc::broken_pipe || f.code == std::errc::connection_reset));
        CHECK(test::contains(f.text, "copy " + in.server.local().to_string()));
        CHECK(test::contains(f.text, " to " + out.client.local().to_string()));
        co_await in.server.close();
        co_await as_result(writer);
    });
}

TEST_CASE("closing_either_end_ends_a_copy") {
    const no_descriptor_leaks check;
    for (const bool source : {true, false}) {
        CAPTURE(source);
        run([source]() -> task<> {
            connection in = co_await connect();
            connection out = co_await connect();
            auto writer = spawn([&in, source]() -> task<> {
                if (!source) {
                    co_await in.client.write(patterned(total * 10));
                }
            });
            auto copying = spawn([&]() -> task<failure> {
                co_return co_await failure_of(ringo::io::copy(out.client, in.server));
            });
            co_await until([&] { return source || is_full(out.client); });
            co_await yield_times(10);
            conn& closed = source ? in.server : out.client;
            co_await closed.close();
            const failure f = co_await copying;
            CHECK((f.code == ringo::errc::closed || f.code == std::errc::broken_pipe));
            co_await in.server.close();
            co_await as_result(writer);
        });
    }
}

TEST_CASE("a_socket_is_a_stream_for_lines_gathered_writes_and_read_all") {
    run([]() -> task<> {
        connection both = co_await connect();
        ringo::io::buffered_writer<conn> out(both.client, 64);
        for (int i = 0; i < 50; ++i) {
            co_await out.write("line " + std::to_string(i) + "\r\n");
        }
        co_await out.flush();
        ringo::io::buffered_reader<conn> in(both.server, 16);
        for (int i = 0; i < 49; ++i) {
            const auto line = co_await in.read_line();
            CHECK(line == "line " + std::to_string(i));
        }
        both.client.close_write();
        CHECK(co_await ringo::io::read_all(in) == "line 49\r\n");
        co_await both.server.write("the rest");
        both.server.close_write();
        CHECK(co_await ringo::io::read_all(both.client) == "the rest");
    });
}

TEST_CASE("a_run_ends_while_copies_wait") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection in = co_await connect();
        connection out = co_await connect();
        ringo::go(
            [](connection a, connection b) -> task<> {
                auto writer = spawn(write_all, std::ref(a.client), 0, total * 10);
                co_await ringo::io::copy(b.client, a.server);
            },
            std::move(in), std::move(out));
        co_await yield_times(100);
    });
}

TEST_CASE("a_socket_that_was_copied_with_waits_as_before") {
    const no_descriptor_leaks check;
    const auto operations = [] {
        std::uint64_t n = 0;
        for (const auto& core : ringo::debug::metrics().cores) {
            for (const auto& op : core.kernel_operations) {
                n += op.submitted;
            }
        }
        return n;
    };
    for (const int i : {0, 1}) {
        run([&]() -> task<> {
            connection both = co_await connect(place(i));
            ringo::fs::file f = temporary(1000);
            co_await ringo::io::copy(both.client, f);
            const std::uint64_t before = operations();
            auto answer = spawn([&both]() -> task<std::string> {
                std::string five(5, ' ');
                co_await both.client.read_exactly(five);
                co_return five;
            });
            auto writer = spawn([&both] { return write_all(both.client, 1000, 20'000'000); });
            co_await until([&] { return is_full(both.client); });
            co_await yield_times(100);
            CHECK(operations() - before < 50);
            co_await both.server.write("hello");
            CHECK(co_await answer == "hello");
            CHECK(co_await test::read_all(both.server) == patterned(20'000'000));
            co_await writer;
        });
    }
}
