#include <ringo/net/udp.hpp>

#include <doctest/doctest.h>

#include "datagrams.hpp"
#include "misuse.hpp"
#include "no_descriptors.hpp"
#include "skip.hpp"
#include "sockets.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::errc;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::net::datagram;
using ringo::net::dial_udp;
using ringo::net::endpoint;
using ringo::net::listen_udp;
using ringo::net::udp_socket;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::no_descriptors;
using test::open_descriptors;
using test::other_core;

namespace {

task<std::size_t> recv(udp_socket& s, ringo::mutable_buffer b) { co_return co_await s.recv(b); }
task<> send(udp_socket& s, ringo::const_buffer b) { co_await s.send(b); }
task<> send_to(udp_socket& s, ringo::const_buffer b, endpoint to) { co_await s.send_to(b, to); }

void listen(const std::string& where) { const udp_socket s = listen_udp(where); }

/// What the next datagram says.
task<std::string> text(udp_socket& s) {
    std::string t(100, '\0');
    const std::size_t n = co_await s.recv(t);
    t.resize(n);
    co_return t;
}

/// Receives until it is cancelled. returns  how many came
task<int> count_all(udp_socket& s) {
    int n = 0;
    std::string b(100, '\0');
    while (true) {
        const auto r = co_await as_result(s.recv(b));
        if (!r) {
            co_return n;
        }
        ++n;
    }
}

}  // namespace

TEST_CASE("datagrams_go_both_ways_and_say_where_they_come_from") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const char* where : {"127.0.0.1:0", "[::1]:0"}) {
            udp_socket server = listen_udp(where);
            udp_socket client = co_await dial_udp(server.local());
            CHECK(client.remote() == server.local());
            CHECK(server.remote() == endpoint());
            for (const std::string& said :
                 {std::string("hello"), std::string(), std::string(64000, 'x')}) {
                std::string b(65536, '\0');
                co_await client.send(said);
                const datagram d = co_await server.recv_from(b);
                CHECK(d.bytes == said.size());
                CHECK(b.compare(0, d.bytes, said) == 0);
                CHECK(d.from == client.local());
                co_await server.send_to("answer", d.from);
                CHECK(co_await text(client) == "answer");
            }
        }
    });
}

TEST_CASE("every_address_means_ipv4_and_ipv6") {
    run([]() -> task<> {
        udp_socket server = listen_udp(":0");
        const std::string port = std::to_string(server.local().port());
        for (const std::string& to : {"127.0.0.1:" + port, "[::1]:" + port}) {
            udp_socket client = co_await dial_udp(to);
            co_await client.send("hello");
            std::string b(5, ' ');
            const datagram d = co_await server.recv_from(b);
            co_await server.send_to(b, d.from);
            CHECK(co_await text(client) == "hello");
        }
    });
}

TEST_CASE("a_name_is_dialled") {
    run([]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp("LOCALHOST:" + std::to_string(server.local().port()));
        co_await client.send("hello");
        CHECK(co_await text(server) == "hello");
        const failure f = co_await failure_of(dial_udp("no-such-name.invalid:80"));
        CHECK(test::contains(f.text, "dial_udp no-such-name.invalid:80: "));
    });
}

TEST_CASE("a_datagram_larger_than_the_buffer_is_said_and_the_next_is_whole") {
    run([]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        co_await client.send("more than four");
        co_await client.send("four");
        std::string four(4, ' ');
        const failure f = co_await failure_of(recv(server, four));
        CHECK(f.code == std::errc::message_size);
        CHECK(f.text == "recv " + server.local().to_string() +
                            ": 14 bytes do not fit into 4: Message too long");
        const std::size_t n = co_await server.recv(four);
        CHECK(n == 4);
        CHECK(four == "four");

        // Nor are empty buffers a way to lose one silently.
        co_await client.send("x");
        const auto r = co_await as_result(server.recv_from(ringo::mutable_buffer(nullptr, 0)));
        CHECK(r.error() == std::errc::message_size);
    });
}

TEST_CASE("a_datagram_that_the_network_does_not_take_is_said") {
    run([]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        const std::string huge(70000, 'x');
        failure f = co_await failure_of(send(client, huge));
        CHECK(f.code == std::errc::message_size);
        CHECK(f.text == "send " + client.local().to_string() + "->" + server.local().to_string() +
                            ": Message too long");
        f = co_await failure_of(send_to(server, huge, client.local()));
        CHECK(f.text == "send " + server.local().to_string() + "->" + client.local().to_string() +
                            ": Message too long");
        f = co_await failure_of(send(server, "to nobody"));
        CHECK(f.code == std::errc::destination_address_required);
    });
}

TEST_CASE("a_connected_socket_hears_that_nobody_listens") {
    run([]() -> task<> {
        const endpoint nobody = listen_udp(test::own_address()).local();
        udp_socket client = co_await dial_udp(nobody);
        std::string b(10, ' ');
        co_await client.send("hello?");
        failure f = co_await failure_of(recv(client, b));
        CHECK(f.code == std::errc::connection_refused);

        // ... also while it waits.
        auto receiving = spawn([&] { return failure_of(recv(client, b)); });
        co_await test::parked();
        co_await client.send("hello?");
        f = co_await receiving;
        CHECK(f.code == std::errc::connection_refused);
    });
}

TEST_CASE("many_datagrams_are_received_in_one_turn") {
    int polls = 0;
    test::virtual_run(
        []() -> task<> {
            udp_socket server = listen_udp("127.0.0.1:0");
            udp_socket client = co_await dial_udp(server.local());
            for (int i = 0; i < 50; ++i) {
                co_await client.send(std::to_string(i));
            }
            for (int i = 0; i < 50; ++i) {
                CHECK(co_await text(server) == std::to_string(i));
            }
        },
        [&polls](ringo::detail::io_operation&) { ++polls; });
    CHECK(polls == 0);
}

TEST_CASE("who_always_has_something_to_receive_lets_others_run") {
    run([]() -> task<> {
        udp_socket a = listen_udp("127.0.0.1:0");
        bool ran = false;
        ringo::go([&ran]() -> task<> {
            ran = true;
            co_return;
        });
        while (!ran) {
            co_await a.send_to("myself", a.local());
            CHECK(co_await text(a) == "myself");
        }
    });
}

TEST_CASE("a_receive_is_cancelled_in_every_state_and_loses_nothing") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        co_await test::cancel_receives(server, client, count_all, text);
        const auto late = co_await as_result(ringo::timeout(1ms, text(server)));
        CHECK(late.error() == std::errc::timed_out);
    });
}

TEST_CASE("a_select_receives_only_when_that_wins") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        std::string b(10, ' ');
        const ringo::chan<int> ready(1);
        ready.try_send(1);
        int won = 0;
        for (int i = 0; i < 50; ++i) {
            co_await client.send("one");
            auto r = co_await ringo::select(ready.recv(), server.recv_from(b));
            if (r.index() == 0) {
                CHECK(co_await text(server) == "one");  // it is still there
                ready.try_send(1);
            } else {
                ++won;
                CHECK(std::get<1>(r).from == client.local());
            }
        }
        CHECK(won > 0);
        CHECK(won < 50);

        auto waiting = spawn([&]() -> task<std::size_t> {
            const ringo::chan<int> never;
            auto r = co_await ringo::select(never.recv(), server.recv(b));
            co_return std::get<1>(r);
        });
        co_await test::until_parked(0, waiting, "select");
        co_await client.send("three");
        CHECK(co_await waiting == 5);

        // An arm that loses after it has waited.
        auto r = co_await ringo::select(ringo::sleep(1us), server.recv(b));
        CHECK(r.index() == 0);
        co_await client.send("later");
        CHECK(co_await text(server) == "later");
    });
}

TEST_CASE("each_datagram_goes_to_one_of_many_receivers") {
    run([]() -> task<> {
        constexpr int total = 90;  // for which the kernel's buffer has room
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        std::vector<ringo::join_handle<int>> receivers;
        for (std::size_t i = 0; i < 6; ++i) {
            receivers.push_back(spawn(on(i % ringo::cores()), [&]() -> task<int> {
                int n = 0;
                std::string b(10, ' ');
                while (co_await as_result(server.recv(b))) {
                    ++n;
                }
                co_return n;
            }));
        }
        ringo::wait_group senders;
        for (std::size_t i = 0; i < 3; ++i) {
            senders.go(on(i % ringo::cores()), [&client]() -> task<> {
                for (int k = 0; k < total / 3; ++k) {
                    co_await client.send("one");
                }
            });
        }
        co_await senders.wait();
        std::string b(10, ' ');
        int left = 0;  // that no receiver was quick enough for
        while (co_await as_result(ringo::timeout(1ms, recv(server, b)))) {
            ++left;
        }
        co_await server.close();
        for (auto& r : receivers) {
            left += co_await r;
        }
        CHECK(left == total);
    });
}

TEST_CASE("closing_wakes_whoever_receives_on_all_cores") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const std::size_t before = open_descriptors();
        udp_socket s = listen_udp("127.0.0.1:0");
        std::vector<ringo::join_handle<failure>> waiting;
        std::vector<std::string> buffers(ringo::cores(), std::string(10, ' '));
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            waiting.push_back(
                spawn(on(core), [&s, &b = buffers[core]] { return failure_of(recv(s, b)); }));
            co_await test::until_parked(core, waiting.back(), "recv");
        }
        co_await s.close();
        CHECK(test::at_most_open(before));
        CHECK_FALSE(s.is_open());
        for (auto& w : waiting) {
            const failure f = co_await w;
            CHECK(f.code == errc::closed);
        }
        failure f = co_await failure_of(recv(s, buffers[0]));
        CHECK(f.code == errc::closed);
        f = co_await failure_of(send(s, "x"));
        CHECK(f.code == errc::closed);
        co_await s.close();  // once more changes nothing
        CHECK_THROWS_AS(s.set(ringo::net::broadcast{true}), std::system_error);
    });
}

TEST_CASE("a_cancelled_goroutine_closes_its_socket") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        udp_socket s = listen_udp("127.0.0.1:0");
        const std::size_t before = open_descriptors();
        auto closing = spawn([&s]() -> task<> {
            co_await as_result(ringo::sleep(1h));
            co_await s.close();
        });
        co_await test::parked();
        closing.cancel();
        co_await closing;
        CHECK(test::at_most_open(before - 1));
    });
}

TEST_CASE("a_run_ends_while_sockets_wait") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            ringo::go(on(core), []() -> task<> {
                udp_socket s = listen_udp("127.0.0.1:0");
                std::string b(10, ' ');
                co_await s.recv(b);
            });
        }
        co_await test::parked(other_core());
    });
}

TEST_CASE("options_are_set_and_refused") {
    run([]() -> task<> {
        udp_socket s = listen_udp("127.0.0.1:0");
        s.set(ringo::net::receive_buffer{100000});
        CHECK(s.get<ringo::net::receive_buffer>() >= 100000);
        CHECK(s.get<ringo::net::broadcast>());
        s.set(ringo::net::broadcast{false});
        CHECK_FALSE(s.get<ringo::net::broadcast>());
        const std::string refused =
            "set no_delay " + s.local().to_string() + ": Protocol not available";
        CHECK_THROWS_WITH_AS(s.set(ringo::net::no_delay{true}), refused.c_str(), std::system_error);
        CHECK(s.descriptor() >= 0);
        CHECK(s.is_open());
        const udp_socket a = listen_udp("127.0.0.1:0", {.reuse_port = true});
        const udp_socket b = listen_udp(a.local(), {.reuse_port = true});
        CHECK(a.local() == b.local());
        const std::string in_use =
            "listen_udp " + s.local().to_string() + ": Address already in use";
        CHECK_THROWS_WITH_AS(listen(s.local().to_string()), in_use.c_str(), std::system_error);
        CHECK_THROWS_WITH_AS(listen("unix:/x"),
                             "listen_udp unix:/x: Address family not supported by protocol",
                             std::system_error);
        CHECK_THROWS_WITH_AS(listen("127.0.0.1"),
                             "listen_udp address \"127.0.0.1\": there is no \":port\": Invalid "
                             "argument",
                             std::system_error);
        co_return;
    });
}

TEST_CASE("no_descriptor_is_left_for_a_socket") {
    if (test::needs_descriptors_to_check_types()) {
        return test::skip(no_descriptors::why_not);
    }
    run([]() -> task<> {
        udp_socket s = listen_udp("127.0.0.1:0");
        const no_descriptors none;
        const failure f = co_await failure_of(dial_udp(s.local()));
        CHECK(f.text == "dial_udp " + s.local().to_string() + ": Too many open files");
        CHECK_THROWS_WITH_AS(listen("127.0.0.1:0"), "listen_udp 127.0.0.1:0: Too many open files",
                             std::system_error);
        co_await s.send_to("no new one is needed", s.local());
        CHECK(co_await text(s) == "no new one is needed");
    });
}

TEST_CASE("use_of_a_socket_that_is_not_open_is_a_panic") {
    test::expect_panic("datagram_socket: recv of one that is not open", [] {
        run([]() -> task<> {
            udp_socket s;
            std::string b(1, ' ');
            co_await s.recv(b);
        });
    });
}
