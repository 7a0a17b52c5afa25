#include <ringo/net/unix.hpp>

#include <doctest/doctest.h>

#include "no_descriptors.hpp"
#include "skip.hpp"
#include "sockets.hpp"
#include "steps.hpp"

#include <ringo/ringo.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::errc;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::net::conn;
using ringo::net::datagram;
using ringo::net::datagram_socket;
using ringo::net::dial_unixgram;
using ringo::net::endpoint;
using ringo::net::listen_unixgram;
using ringo::net::owned_descriptor;
using ringo::net::received_with;
using ringo::net::recv_with;
using ringo::net::send_with;
using test::connect;
using test::connection;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::no_descriptors;
using test::open_descriptors;
using test::other_core;
using test::unix_address;
using test::yield_times;

namespace {

task<> send(datagram_socket& s, ringo::const_buffer b) { co_await s.send(b); }
task<> send_to(datagram_socket& s, ringo::const_buffer b, endpoint to) {
    co_await s.send_to(b, to);
}
task<> send_one(datagram_socket& s, bool connected, endpoint to) {
    if (connected) {
        co_await s.send("one");
    } else {
        co_await s.send_to("one", to);
    }
}
task<> send_other(datagram_socket& s, std::span<const int> descriptors, endpoint to) {
    co_await send_with(s, "one", descriptors, to);
}

task<std::string> text(datagram_socket& s) {
    std::string t(100, '\0');
    const std::size_t n = co_await s.recv(t);
    t.resize(n);
    co_return t;
}

/// Fills the queue of who is connected to. returns  how many it took
int fill(const datagram_socket& s) {
    int n = 0;
    while (::send(s.descriptor(), "full", 4, MSG_DONTWAIT) == 4) {
        ++n;
    }
    REQUIRE(n > 0);
    return n;
}

task<connection> unix_pair() { return connect(unix_address("pair")); }

/// The pipe that was sent can be written to, and is read here.
task<> check_pipe(owned_descriptor writer, ringo::io::pipe_reader& reader) {
    CHECK((::fcntl(writer.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(::write(writer.get(), "through", 7) == 7);
    std::string b(10, ' ');
    const std::size_t n = co_await reader.read(b);
    CHECK(b.substr(0, n) == "through");
}

}  // namespace

TEST_CASE("unix_datagrams_go_both_ways") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        datagram_socket server = listen_unixgram(unix_address("gram"));
        datagram_socket client = dial_unixgram(server.local());
        std::string b(10, ' ');
        co_await client.send("hello");
        const datagram d = co_await server.recv_from(b);
        CHECK(b.substr(0, d.bytes) == "hello");
        CHECK(d.from == client.local());
        co_await server.send_to("answer", d.from);
        CHECK(co_await text(client) == "answer");

        co_await client.send("more than ten bytes");
        const failure f = co_await failure_of(text(server));
        CHECK_FALSE(f.code);
        co_await client.send("more than ten bytes");
        const auto r = co_await as_result(server.recv(b));
        CHECK(r.error() == std::errc::message_size);
    });
}

TEST_CASE("a_stale_file_is_replaced_and_a_live_one_is_not") {
    const std::string path = "/tmp/ringo-test-" + std::to_string(::getpid()) + ".sock";
    run([where = "unix:" + path]() -> task<> {
        { const datagram_socket s = listen_unixgram(where); }
        datagram_socket s = listen_unixgram(where);
        const std::string in_use = "listen_unixgram " + where + ": Address already in use";
        CHECK_THROWS_WITH_AS((void)listen_unixgram(where), in_use.c_str(), std::system_error);
        datagram_socket client = dial_unixgram(where);
        co_await client.send("hello");
        CHECK(co_await text(s) == "hello");
    });
    ::unlink(path.c_str());
}

TEST_CASE("unix_sockets_refuse_other_addresses_and_say_who_is_not_there") {
    const std::string nobody = unix_address("nobody");
    const std::string text = "dial_unixgram " + nobody + ": Connection refused";
    CHECK_THROWS_WITH_AS((void)dial_unixgram(nobody), text.c_str(), std::system_error);
    CHECK_THROWS_WITH_AS((void)listen_unixgram("127.0.0.1:0"),
                         "listen_unixgram 127.0.0.1:0: Address family not supported by protocol",
                         std::system_error);
    CHECK_THROWS_AS((void)dial_unixgram("unix:"), std::system_error);
}

TEST_CASE("a_sender_waits_for_room_and_can_be_cancelled") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const bool connected : {true, false}) {
            datagram_socket server = listen_unixgram(unix_address("full"));
            datagram_socket client = dial_unixgram(server.local());
            datagram_socket unconnected = listen_unixgram(unix_address("sender"));
            datagram_socket& s = connected ? client : unconnected;
            int sent = fill(client);

            auto waits = spawn([&] { return send_one(s, connected, server.local()); });
            co_await test::until_parked(0, waits, "send");
            for (int i = 0; i < 20; ++i) {
                auto cancelled = spawn(on(i % 2 == 0 ? 0 : other_core()), [&] {
                    return failure_of(send_one(s, connected, server.local()));
                });
                co_await yield_times(i % 5);
                cancelled.cancel();
                const failure f = co_await cancelled;
                CHECK(f.code == std::errc::operation_canceled);
            }
            for (; sent > 0; --sent) {
                CHECK(co_await text(server) == "full");
            }
            co_await waits;
            CHECK(co_await text(server) == "one");
            const auto late = co_await as_result(ringo::timeout(1ms, text(server)));
            CHECK(late.error() == std::errc::timed_out);
        }
    });
}

TEST_CASE("closing_ends_a_sender_that_waits") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        datagram_socket server = listen_unixgram(unix_address("full"));
        datagram_socket client = dial_unixgram(server.local());
        datagram_socket s = listen_unixgram(unix_address("sender"));
        fill(client);
        auto waits = spawn([&] { return failure_of(send_to(s, "one", server.local())); });
        co_await test::until_parked(0, waits, "send");
        co_await s.close();
        failure f = co_await waits;
        CHECK(f.code == errc::closed);

        auto other = spawn([&] { return failure_of(send(client, "one")); });
        co_await test::until_parked(0, other, "send");
        co_await server.close();
        f = co_await other;
        CHECK(f.code == std::errc::connection_refused);
    });
}

TEST_CASE("a_descriptor_goes_through_a_conn") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection c = co_await unix_pair();
        ringo::io::pipe_ends ends = ringo::io::pipe();
        const std::array<int, 2> both{ends.writer.descriptor(), STDERR_FILENO};
        std::string b(10, ' ');

        auto receiving = spawn([&] { return recv_with(c.server, b); });
        co_await test::parked();
        co_await send_with(c.client, "here", both);
        received_with r = co_await receiving;
        CHECK(b.substr(0, r.bytes) == "here");
        REQUIRE(r.descriptors.size() == 2);
        CHECK_FALSE(r.some_lost);
        co_await check_pipe(std::move(r.descriptors[0]), ends.reader);

        // Bytes without descriptors, and the end.
        co_await c.client.write("more");
        r = co_await recv_with(c.server, b);
        CHECK(b.substr(0, r.bytes) == "more");
        CHECK(r.descriptors.empty());
        co_await c.client.close();
        r = co_await recv_with(c.server, b);
        CHECK(r.bytes == 0);
    });
}

TEST_CASE("a_plain_read_drops_descriptors") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection c = co_await unix_pair();
        const std::array<int, 1> one{STDERR_FILENO};
        co_await send_with(c.client, "here", one);
        const std::size_t before = open_descriptors();
        std::string b(4, ' ');
        co_await c.server.read_exactly(b);
        CHECK(b == "here");
        CHECK(test::at_most_open(before));
    });
}

TEST_CASE("a_descriptor_goes_with_a_datagram") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        datagram_socket server = listen_unixgram(unix_address("gram"));
        datagram_socket client = dial_unixgram(server.local());
        ringo::io::pipe_ends ends = ringo::io::pipe();
        const std::array<int, 1> one{ends.writer.descriptor()};
        std::string b(10, ' ');
        co_await send_with(client, "here", one);
        received_with r = co_await recv_with(server, b);
        CHECK(b.substr(0, r.bytes) == "here");
        CHECK(r.from == client.local());
        REQUIRE(r.descriptors.size() == 1);
        co_await check_pipe(std::move(r.descriptors[0]), ends.reader);

        auto receiving = spawn([&] { return recv_with(client, b); });
        co_await test::parked();
        co_await send_with(server, "", one, client.local());
        r = co_await receiving;
        CHECK(r.bytes == 0);
        CHECK(r.descriptors.size() == 1);

        // None stays behind of a datagram that is refused.
        const std::size_t before = open_descriptors();
        co_await send_with(client, "more than ten bytes", one);
        const failure f = co_await failure_of(recv_with(server, b));
        CHECK(f.code == std::errc::message_size);
        CHECK(test::contains(f.text, ": 19 bytes do not fit into 10"));
        CHECK(test::at_most_open(before));
    });
}

TEST_CASE("what_cannot_be_sent_is_said") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection c = co_await unix_pair();
        const connection tcp = co_await connect();
        const std::array<int, 1> one{STDERR_FILENO};
        const std::array<int, 1> none{-1};
        const std::vector<int> many(254, STDERR_FILENO);

        failure f = co_await failure_of(send_with(c.client, "", one));
        CHECK(f.code == std::errc::invalid_argument);
        f = co_await failure_of(send_with(c.client, "x", many));
        CHECK(f.code == std::errc::invalid_argument);
        CHECK(f.text == "send_with: 254 descriptors; at most 253 go at once: Invalid argument");
        f = co_await failure_of(send_with(c.client, "x", none));
        CHECK(f.code == std::errc::bad_file_descriptor);
        CHECK(test::contains(f.text, "send_with unix:"));
        conn other = ringo::net::conn(::dup(tcp.client.descriptor()));
        f = co_await failure_of(send_with(other, "x", one));
        CHECK(f.code == std::errc::operation_not_supported);
        co_await c.client.close();
        f = co_await failure_of(send_with(c.client, "x", one));
        CHECK(f.code == errc::closed);
        f = co_await failure_of(send_with(c.server, "x", one));
        CHECK(f.code == std::errc::broken_pipe);
    });
}

TEST_CASE("descriptors_that_this_process_has_no_room_for_are_said_to_be_lost") {
    if (test::needs_descriptors_to_check_types()) {
        return test::skip(no_descriptors::why_not);
    }
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection c = co_await unix_pair();
        const std::array<int, 2> two{STDERR_FILENO, STDERR_FILENO};
        co_await send_with(c.client, "here", two);
        const no_descriptors none;
        std::string b(10, ' ');
        const received_with r = co_await recv_with(c.server, b);
        CHECK(r.bytes == 4);
        CHECK(r.descriptors.empty());
        CHECK(r.some_lost);
    });
}

TEST_CASE("recv_with_is_cancelled_in_every_state_and_loses_nothing") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection c = co_await unix_pair();
        const std::array<int, 1> one{STDERR_FILENO};
        int sent = 0;
        std::size_t received = 0;
        for (int i = 0; i < 100; ++i) {
            auto receiving = spawn(on(i % 2 == 0 ? 0 : other_core()), [&]() -> task<std::size_t> {
                std::string b(1, ' ');
                const auto r = co_await as_result(recv_with(c.server, b));
                co_return r ? r->descriptors.size() : 0;
            });
            co_await yield_times(i % 4);
            if (i % 3 != 0) {
                co_await send_with(c.client, "1", one);
                ++sent;
            }
            co_await yield_times(i % 5);
            receiving.cancel();
            received += co_await receiving;
        }
        co_await c.client.close();
        while (true) {
            std::string b(1, ' ');
            const received_with r = co_await recv_with(c.server, b);
            if (r.bytes == 0) {
                break;
            }
            received += r.descriptors.size();
        }
        CHECK(received == static_cast<std::size_t>(sent));
    });
}

TEST_CASE("closing_ends_who_waits_to_receive_or_send_descriptors") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const std::size_t core : {std::size_t(0), other_core()}) {
            connection c = co_await unix_pair();
            const std::array<int, 1> one{STDERR_FILENO};
            std::string b(1, ' ');
            auto receiving = spawn(on(core), [&] { return failure_of(recv_with(c.server, b)); });
            const std::string much(1 << 20, 'x');
            auto sending =
                spawn(on(core), [&] { return failure_of(send_with(c.server, much, one)); });
            co_await test::parked(core);
            co_await c.server.close();
            failure f = co_await receiving;
            CHECK(f.code == errc::closed);
            f = co_await sending;
            CHECK(f.code == errc::closed);
        }
    });
}

TEST_CASE("a_cancelled_send_says_how_far_it_got") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection c = co_await unix_pair();
        const std::array<int, 1> one{STDERR_FILENO};
        const std::string much = test::patterned(4 << 20);
        auto sending = spawn([&] { return failure_of(send_with(c.client, much, one)); });
        co_await test::until_parked(0, sending, "write");
        sending.cancel();
        const failure f = co_await sending;
        CHECK(f.code == std::errc::operation_canceled);
        CHECK(f.bytes > 0);
        co_await c.client.close();
        std::string b(1, ' ');
        const received_with r = co_await recv_with(c.server, b);
        CHECK(r.descriptors.size() == 1);
        const std::string rest = co_await test::read_all(c.server);
        CHECK(rest.size() + 1 == f.bytes);
        CHECK(test::has_pattern(rest.data(), rest.size(), 1));
    });
}

TEST_CASE("a_datagram_with_descriptors_waits_for_room") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        datagram_socket server = listen_unixgram(unix_address("full"));
        datagram_socket client = dial_unixgram(server.local());
        datagram_socket s = listen_unixgram(unix_address("sender"));
        int sent = fill(client);
        const std::array<int, 1> one{STDERR_FILENO};
        auto waits = spawn([&] { return send_other(s, one, server.local()); });
        co_await test::until_parked(0, waits, "send_with");
        for (; sent > 0; --sent) {
            co_await text(server);
        }
        co_await waits;
        std::string b(10, ' ');
        const received_with r = co_await recv_with(server, b);
        CHECK(r.descriptors.size() == 1);
    });
}

TEST_CASE("no_descriptor_is_left_for_a_unix_socket") {
    if (test::needs_descriptors_to_check_types()) {
        return test::skip(no_descriptors::why_not);
    }
    const no_descriptor_leaks check;
    run([]() -> task<> {
        datagram_socket server = listen_unixgram(unix_address("full"));
        datagram_socket client = dial_unixgram(server.local());
        datagram_socket s = listen_unixgram(unix_address("sender"));
        fill(client);
        const std::string where = server.local().to_string();
        const no_descriptors none;
        CHECK_THROWS_WITH_AS((void)dial_unixgram(where),
                             ("dial_unixgram " + where + ": Too many open files").c_str(),
                             std::system_error);
        CHECK_THROWS_AS((void)listen_unixgram(unix_address("none")), std::system_error);
        // To wait for room takes one; the datagram was not sent.
        const failure f = co_await failure_of(send_to(s, "one", server.local()));
        CHECK(f.text == "send " + s.local().to_string() + "->" + where + ": Too many open files");
    });
}
