#include <ringo/net/udp.hpp>

#include <doctest/doctest.h>

#include "datagrams.hpp"
#include "misuse.hpp"
#include "sockets.hpp"
#include "steps.hpp"

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
using ringo::net::datagram_socket;
using ringo::net::dial_udp;
using ringo::net::endpoint;
using ringo::net::lease;
using ringo::net::leased_datagram;
using ringo::net::leased_datagram_max;
using ringo::net::listen_udp;
using ringo::net::udp_socket;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::other_core;
using test::yield_times;

namespace {

task<std::string> text(datagram_socket& s) {
    const lease b = co_await s.recv();
    co_return std::string(b.text());
}
task<> receive(datagram_socket& s) { const lease b = co_await s.recv(); }
task<> send_numbers(udp_socket& s, int from, int to) {
    for (int i = from; i < to; ++i) {
        co_await s.send(std::to_string(i));
    }
}

/// Receives until it fails. returns  how many came
task<int> count_all(datagram_socket& s) {
    int n = 0;
    while (co_await as_result(s.recv())) {
        ++n;
    }
    co_return n;
}

}  // namespace

TEST_CASE("leased_datagrams_say_where_they_come_from_and_are_answered") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const char* where : {"127.0.0.1:0", "[::1]:0"}) {
            udp_socket server = listen_udp(where);
            udp_socket client = co_await dial_udp(server.local());
            for (const std::size_t size : {5UL, 0UL, leased_datagram_max, 0UL, 0UL, 100UL}) {
                const std::string said = test::patterned(size);
                co_await client.send(said);
                leased_datagram d = co_await server.recv_from();
                CHECK(d.bytes.text() == said);
                CHECK(d.bytes.size() == size);
                CHECK(d.from == client.local());
                co_await server.send_to(d.bytes, d.from);
                CHECK(co_await text(client) == said);
            }
        }
    });
}

TEST_CASE("leased_datagrams_go_between_unix_sockets") {
    run([]() -> task<> {
        datagram_socket server = ringo::net::listen_unixgram(test::unix_address("leased"));
        datagram_socket client = ringo::net::dial_unixgram(server.local());
        co_await client.send("hello");
        leased_datagram d = co_await server.recv_from();
        CHECK(d.bytes.text() == "hello");
        CHECK(d.from == client.local());
        datagram_socket named = ringo::net::listen_unixgram(test::unix_address("leased2"));
        co_await named.send_to("hello again", server.local());
        d = co_await server.recv_from();
        CHECK(d.bytes.text() == "hello again");
        CHECK(d.from == named.local());
    });
}

TEST_CASE("a_datagram_larger_than_a_lease_is_said_and_the_next_is_whole") {
    run([]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        for (const std::size_t size : {leased_datagram_max + 1, std::size_t{64000}}) {
            co_await client.send(std::string(size, 'x'));
            co_await client.send("next");
            const failure f = co_await failure_of(receive(server));
            CHECK(f.code == std::errc::message_size);
            CHECK(f.text == "recv " + server.local().to_string() + ": " + std::to_string(size) +
                                " bytes do not fit into 3952: Message too long");
            CHECK(co_await text(server) == "next");
        }
    });
}

TEST_CASE("who_keeps_leased_datagrams_keeps_nobody_from_receiving") {
    const no_descriptor_leaks check;
    std::vector<lease> kept;
    run([&kept]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        for (int round = 0; round < 2; ++round) {
            for (int i = 0; i < 300; ++i) {  // more than a core has
                co_await client.send(std::to_string(i));
                kept.push_back(co_await server.recv());
            }
            for (std::size_t i = 0; i < 300; ++i) {
                CHECK(kept[i].text() == std::to_string(i));
            }
            if (round == 0) {
                kept.clear();
            }
        }
    });
    CHECK(kept[7].text() == "7");
}

TEST_CASE("datagrams_that_nobody_takes_stay_in_order_and_are_bounded") {
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            udp_socket server = listen_udp("127.0.0.1:0");
            udp_socket client = co_await dial_udp(server.local());
            constexpr int total = 200;  // for which the kernel's buffer has room
            for (int round = 0; round < 3; ++round) {
                co_await client.send("first");
                CHECK(co_await text(server) == "first");
                // Turns go by in which all could be received ahead.
                for (int i = 0; i < total; i += 10) {
                    co_await send_numbers(client, i, i + 10);
                    co_await ringo::yield();
                }
                for (int i = 0; i < total; ++i) {
                    CHECK(co_await text(server) == std::to_string(i));
                }
            }
        },
        {.cores = 1});
}

TEST_CASE("sockets_that_nobody_reads_do_not_keep_others_from_their_leases") {
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            std::vector<std::pair<udp_socket, udp_socket>> all;
            for (int i = 0; i < 12; ++i) {
                udp_socket server = listen_udp("127.0.0.1:0");
                udp_socket client = co_await dial_udp(server.local());
                co_await client.send("armed");
                CHECK(co_await text(server) == "armed");
                all.emplace_back(std::move(server), std::move(client));
            }
            for (auto& [server, client] : all) {
                co_await send_numbers(client, 0, 60);
            }
            udp_socket busy = listen_udp("127.0.0.1:0");
            for (int i = 0; i < 100; ++i) {
                co_await busy.send_to("myself", busy.local());
                CHECK(co_await text(busy) == "myself");
            }
            for (auto& [server, client] : all) {
                for (int i = 0; i < 60; ++i) {
                    CHECK(co_await text(server) == std::to_string(i));
                }
            }
        },
        {.cores = 1});
}

TEST_CASE("a_leased_receive_is_cancelled_in_every_state_and_loses_nothing") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        co_await test::cancel_receives(server, client, count_all, text);
        const auto late = co_await as_result(ringo::timeout(1ms, server.recv()));
        CHECK(late.error() == std::errc::timed_out);
    });
}

TEST_CASE("a_select_takes_a_leased_datagram_only_when_that_wins") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        co_await client.send("at once");
        auto first = co_await ringo::select(server.recv(), ringo::otherwise);
        CHECK(first.index() == 0);  // nobody has received yet: it is looked for
        const ringo::chan<int> ready(1);
        ready.try_send(1);
        int won = 0;
        for (int i = 0; i < 50; ++i) {
            co_await client.send(std::to_string(i));
            auto r = co_await ringo::select(ready.recv(), server.recv_from());
            if (r.index() == 0) {
                CHECK(co_await text(server) == std::to_string(i));  // it is still there
                ready.try_send(1);
            } else {
                ++won;
                CHECK(std::get<1>(r).bytes.text() == std::to_string(i));
            }
        }
        CHECK(won < 50);
        auto r = co_await ringo::select(ringo::sleep(1us), server.recv());
        CHECK(r.index() == 0);
        co_await client.send("later");
        const ringo::chan<int> never;
        auto waited = co_await ringo::select(never.recv(), server.recv());
        CHECK(std::get<1>(waited).text() == "later");
    });
}

TEST_CASE("each_leased_datagram_goes_to_one_of_many_receivers") {
    run([]() -> task<> {
        constexpr int total = 90;
        udp_socket server = listen_udp("127.0.0.1:0");
        udp_socket client = co_await dial_udp(server.local());
        int received = 0;
        std::vector<ringo::join_handle<int>> receivers;
        for (std::size_t i = 0; i < 6; ++i) {
            receivers.push_back(
                spawn(on(i % ringo::cores()), [&server] { return count_all(server); }));
        }
        co_await send_numbers(client, 0, total);
        for (auto& r : receivers) {
            co_await yield_times(3);
            r.cancel();
            received += co_await r;
        }
        for (; received < total; ++received) {
            co_await server.recv();
        }
    });
}

TEST_CASE("closing_wakes_whoever_waits_for_a_lease") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const bool closed : {true, false}) {
            auto s = std::make_unique<udp_socket>(listen_udp("127.0.0.1:0"));
            std::vector<ringo::join_handle<std::error_code>> waiting;
            for (std::size_t core = 0; core < ringo::cores(); ++core) {
                waiting.push_back(spawn(on(core), [&s]() -> task<std::error_code> {
                    const auto r = co_await as_result(s->recv());
                    co_return r ? std::error_code() : r.error();
                }));
                co_await test::until_parked(core, waiting.back(), "recv");
            }
            if (closed) {
                co_await s->close();
                CHECK((co_await as_result(s->recv())).error() == errc::closed);
            } else {
                s.reset();
            }
            for (auto& w : waiting) {
                CHECK(co_await w == errc::closed);
            }
        }
        // With datagrams that nobody has taken.
        udp_socket s = listen_udp("127.0.0.1:0");
        for (int i = 0; i < 5; ++i) {
            co_await s.send_to("x", s.local());
        }
        CHECK(co_await text(s) == "x");
        co_await s.close();
        CHECK((co_await as_result(s.recv())).error() == errc::closed);
    });
}

TEST_CASE("a_connected_socket_that_leases_hears_that_nobody_listens") {
    run([]() -> task<> {
        const endpoint nobody = listen_udp(test::own_address()).local();
        udp_socket client = co_await dial_udp(nobody);
        auto waiting = spawn([&client] { return failure_of(receive(client)); });
        co_await test::parked();
        co_await client.send("hello?");
        const failure f = co_await waiting;
        CHECK(f.code == std::errc::connection_refused);
        CHECK(test::contains(f.text, "recv " + client.local().to_string()));
        // ... and goes on.
        udp_socket server = listen_udp(nobody);
        co_await client.send("hello");
        leased_datagram d = co_await server.recv_from();
        co_await server.send_to("answer", d.from);
        CHECK(co_await text(client) == "answer");
    });
}

TEST_CASE("a_run_ends_while_leases_are_waited_for_and_the_socket_serves_the_next") {
    const no_descriptor_leaks check;
    udp_socket s;
    for (int i = 0; i < 2; ++i) {
        run([&s, i]() -> task<> {
            if (i == 0) {
                s = listen_udp("127.0.0.1:0");
            }
            for (int k = 0; k < 3; ++k) {
                co_await s.send_to("x", s.local());
            }
            CHECK(co_await text(s) == "x");
            ringo::go(on(other_core()), [&s]() -> task<> {
                while (true) {
                    co_await s.recv();
                }
            });
            co_await test::parked(other_core());
        });
    }
}

TEST_CASE("receiving_into_a_buffer_from_a_socket_that_gives_leases_is_a_panic") {
    test::expect_panic("datagram_socket: recv into a buffer from one that gives leases", [] {
        run([]() -> task<> {
            udp_socket s = listen_udp("127.0.0.1:0");
            co_await s.send_to("x", s.local());
            co_await s.recv();
            std::string b(1, ' ');
            co_await s.recv(b);
        });
    });
    test::expect_panic("datagram_socket: recv_from of one that is not open", [] {
        run([]() -> task<> {
            udp_socket s;
            co_await s.recv_from();
        });
    });
}
