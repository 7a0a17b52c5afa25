#include <ringo/net/lease.hpp>

#include <doctest/doctest.h>

#include "misuse.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <sys/socket.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::errc;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::net::conn;
using ringo::net::lease;
using test::connect;
using test::connection;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::other_core;
using test::patterned;
using test::yield_times;

namespace {

// More than a core lends, and more than it has.
constexpr std::size_t more_than_all = 300;

/// 0: TCP, 1: a Unix socket, each time of another name.
std::string place(int i) {
    static int number = 0;
    return i == 0 ? "127.0.0.1:0" : test::unix_address("lease" + std::to_string(number++));
}

task<> write_all(conn& c, std::size_t size, std::size_t step) {
    const std::string all = patterned(size);
    for (std::size_t done = 0; done < size;) {
        const std::size_t n = std::min(step, size - done);
        co_await c.write({all.data() + done, n});
        done += n;
        co_await ringo::yield();
    }
    c.close_write();
}

/// How many bytes came, and were right, until the end.
task<std::size_t> recv_all(conn& c) {
    std::size_t done = 0;
    while (const lease b = co_await c.recv()) {
        if (!test::has_pattern(b.text().data(), b.size(), done)) {
            co_return 0;
        }
        done += b.size();
    }
    co_return done;
}

task<lease> recv_once(conn& c) { co_return co_await c.recv(); }

/// Sends one byte after the other, each of which is received before the next: all in a buffer of
/// their own.
task<> recv_one_by_one(connection& both, std::size_t count, std::vector<lease>& into) {
    for (std::size_t i = 0; i < count; ++i) {
        const std::string byte = patterned(1, i);
        co_await both.client.write(byte);
        into.push_back(co_await both.server.recv());
    }
}

bool are_right(const std::vector<lease>& leases) {
    std::size_t done = 0;
    for (const lease& b : leases) {
        if (!test::has_pattern(b.text().data(), b.size(), done)) {
            return false;
        }
        done += b.size();
    }
    return true;
}

/// Whether bytes still go to and fro.
task<> check_echo(connection& both, std::size_t times) {
    for (std::size_t i = 0; i < times; ++i) {
        const std::string ping = patterned(64, i);
        co_await both.client.write(ping);
        lease there = co_await both.server.recv();
        co_await both.server.write(there);
        lease back = co_await both.client.recv();
        REQUIRE(back.text() == ping);
    }
}

}  // namespace

TEST_CASE("recv_gives_what_has_come_and_nothing_at_the_end") {
    const no_descriptor_leaks check;
    for (const int i : {0, 1}) {
        run([i]() -> task<> {
            connection both = co_await connect(place(i));
            co_await both.client.write("hello");
            both.client.close_write();
            lease b = co_await both.server.recv();
            CHECK(b);
            CHECK(b.text() == "hello");
            const std::span<const std::byte> bytes = b;
            CHECK(bytes.size() == 5);
            b.data()[0] = std::byte{'j'};
            co_await both.server.write(b);
            for (int again = 0; again < 2; ++again) {
                const lease end = co_await both.server.recv();
                CHECK(end.empty());
                CHECK_FALSE(end);
            }
            CHECK((co_await both.client.recv()).text() == "jello");
        });
    }
}

TEST_CASE("streams_of_all_sizes_arrive_whole_and_in_order") {
    const no_descriptor_leaks check;
    for (const int i : {0, 1}) {
        run([i]() -> task<> {
            for (const std::size_t step : {100UL, 4096UL, 50'000UL}) {
                CAPTURE(step);
                const std::size_t size = step * 100;
                connection both = co_await connect(place(i));
                auto writer = spawn(write_all, std::ref(both.client), size, step);
                auto reader = spawn(on(other_core()), recv_all, std::ref(both.server));
                CHECK(co_await reader == size);
                co_await writer;
            }
        });
    }
}

TEST_CASE("read_and_recv_take_turns_on_one_stream") {
    run([]() -> task<> {
        for (const std::size_t step : {1000UL, 40'000UL}) {
            connection both = co_await connect();
            auto writer = spawn(write_all, std::ref(both.client), 1'000'000, step);
            std::string got;
            std::string small(10, ' ');
            std::string large(20'000, ' ');
            while (true) {
                lease b = co_await both.server.recv();
                if (b.empty()) {
                    break;
                }
                got += b.text();
                got.append(small, 0, co_await both.server.read(small));
                got.append(large, 0, co_await both.server.read(large));
            }
            CHECK(got == patterned(1'000'000));
            co_await writer;
        }
    });
}

TEST_CASE("who_keeps_leases_keeps_nobody_from_receiving") {
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            connection hoarder = co_await connect();
            connection other = co_await connect();
            std::vector<lease> kept;
            for (int round = 0; round < 3; ++round) {
                co_await recv_one_by_one(hoarder, more_than_all, kept);
                co_await check_echo(other, 20);
                CHECK(are_right(kept));
                kept.clear();
            }
        },
        {.cores = 1});
}

TEST_CASE("connections_that_nobody_reads_do_not_keep_others_from_recv") {
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            // Each arms its receive by a first recv, and is then left with more than its share.
            std::vector<connection> idle;
            const std::string much = patterned(60'000, 1);
            for (int i = 0; i < 64; ++i) {
                idle.push_back(co_await connect());
                co_await idle.back().client.write(patterned(1));
                CHECK((co_await idle.back().server.recv()).size() == 1);
            }
            for (connection& both : idle) {
                co_await both.client.write(much);
                both.client.close_write();
            }
            connection busy = co_await connect();
            co_await check_echo(busy, 500);
            for (connection& both : idle) {
                std::string got;
                while (const lease b = co_await both.server.recv()) {
                    got += b.text();
                }
                CHECK(got == much);
            }
        },
        {.cores = 1});
}

TEST_CASE("a_peer_that_sends_without_end_leaves_the_others_their_turn") {  // trap 6
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            connection flood = co_await connect();
            auto flooding = spawn([&flood]() -> task<> {
                const std::string text(100'000, 'f');
                while (true) {
                    co_await flood.client.write(text);
                }
            });
            std::size_t received = 0;
            auto draining = spawn([&flood, &received]() -> task<> {
                while (true) {
                    const lease b = co_await flood.server.recv();
                    received += b.size();
                }
            });
            connection busy = co_await connect();
            co_await check_echo(busy, 500);
            CHECK(received > 0);
            flooding.cancel();
            draining.cancel();
            co_await as_result(flooding);
            co_await as_result(draining);
        },
        {.cores = 1});
}

TEST_CASE("what_comes_in_bulk_is_taken_as_leases_are_given_back") {
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            std::vector<connection> all;
            for (int i = 0; i < 200; ++i) {
                all.push_back(co_await connect());
            }
            std::size_t held = 0;
            std::size_t most = 0;
            std::vector<ringo::join_handle<void>> echoes;
            for (connection& both : all) {
                echoes.push_back(spawn([&both, &held, &most]() -> task<> {
                    while (lease b = co_await both.server.recv()) {
                        const std::size_t large = b.size() > 4096 ? 1 : 0;
                        held += large;
                        most = std::max(most, held);
                        co_await both.server.write(b);
                        held -= large;
                    }
                }));
            }
            const std::string piece = patterned(16'384);
            std::string back(piece.size(), ' ');
            for (int round = 0; round < 5; ++round) {
                for (connection& both : all) {  // without a turn of the loop
                    REQUIRE(::send(both.client.descriptor(), piece.data(), piece.size(),
                                   MSG_DONTWAIT) == static_cast<ssize_t>(piece.size()));
                }
                for (connection& both : all) {
                    co_await both.client.read_exactly(back);
                    CHECK(back == piece);
                }
            }
            for (connection& both : all) {
                both.client.close_write();
            }
            for (auto& echo : echoes) {
                co_await echo;
            }
            CHECK(most <= 64);  // not as many as there are connections with something to read
        },
        {.cores = 1});
}

TEST_CASE("a_lease_goes_back_from_any_core_and_any_thread") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        for (int round = 0; round < 6; ++round) {
            std::vector<lease> kept;
            co_await recv_one_by_one(both, 200, kept);
            CHECK(are_right(kept));
            if (round % 2 == 0) {
                auto elsewhere = spawn(on(other_core()), [&kept]() -> task<> {
                    kept.clear();
                    co_return;
                });
                co_await elsewhere;
            } else {
                std::thread([&kept] { kept.clear(); }).join();
            }
        }
        co_await check_echo(both, 10);
    });
}

TEST_CASE("leases_outlive_their_connection_and_their_run") {
    const no_descriptor_leaks check;
    std::vector<lease> kept;
    run([&kept]() -> task<> {
        connection both = co_await connect();
        co_await recv_one_by_one(both, more_than_all, kept);
    });
    run([&kept]() -> task<> {
        CHECK(are_right(kept));
        kept.resize(kept.size() / 2);
        connection both = co_await connect();
        co_await check_echo(both, 10);
    });
    std::thread([&kept] { kept.clear(); }).join();
}

TEST_CASE("a_recv_wins_and_loses_in_a_select_and_loses_no_byte") {
    const no_descriptor_leaks check;
    for (const int i : {0, 1}) {
        for (const std::size_t step : {7UL, 9000UL}) {
            run([i, step]() -> task<> {
                connection a = co_await connect(place(i));
                connection b = co_await connect(place(i));
                auto left = spawn(write_all, std::ref(a.client), step * 100, step);
                auto right = spawn(write_all, std::ref(b.client), step * 100, step);
                auto reader = spawn(on(other_core()), [&, step]() -> task<bool> {
                    std::size_t done[2] = {0, 0};
                    bool good = true;
                    while (good && (done[0] < step * 100 || done[1] < step * 100)) {
                        auto r = co_await ringo::select(a.server.recv(), ringo::sleep(20us),
                                                        b.server.recv());
                        if (r.index() == 1) {
                            continue;
                        }
                        const std::size_t from = r.index() / 2;
                        const lease got =
                            from == 0 ? std::get<0>(std::move(r)) : std::get<2>(std::move(r));
                        good = test::has_pattern(got.text().data(), got.size(), done[from]);
                        done[from] += got.size();
                        if (got.empty()) {
                            co_await ringo::yield();  // at its end it is always ready
                        }
                    }
                    co_return good;
                });
                CHECK(co_await reader);
                co_await left;
                co_await right;
            });
        }
    }
}

TEST_CASE("a_cancelled_recv_loses_no_byte_whenever_it_is_cancelled") {
    const no_descriptor_leaks check;
    for (const int i : {0, 1}) {
        run([i]() -> task<> {
            connection both = co_await connect(place(i));
            std::string got;
            std::size_t sent = 0;
            for (int k = 0; k < 200; ++k) {
                auto reader = spawn(recv_once, std::ref(both.server));
                co_await yield_times(k % 4);
                auto writer = spawn([&both, sent]() -> task<> {
                    const std::string five = patterned(5, sent);
                    co_await both.client.write(five);
                });
                sent += 5;
                co_await yield_times(k / 4 % 6);
                reader.cancel();
                const auto r = co_await as_result(reader);
                got += r ? r->text() : std::string_view();
                CHECK((r || r.error() == std::errc::operation_canceled));
                co_await writer;
            }
            both.client.close_write();
            while (const lease b = co_await both.server.recv()) {
                got += b.text();
            }
            CHECK(got == patterned(sent));
        });
    }
}

TEST_CASE("a_recv_fails_as_a_read_does") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        CHECK((co_await as_result(ringo::timeout(1ms, both.client.recv()))).error() ==
              std::errc::timed_out);
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(both.server.descriptor(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        co_await both.server.close();
        const failure f = co_await failure_of(recv_once(both.client));
        CHECK(f.code == std::errc::connection_reset);
        CHECK(test::contains(f.text, "recv " + both.client.local().to_string()));

        connection other = co_await connect();
        auto reader = spawn(recv_once, std::ref(other.client));
        co_await yield_times(5);
        co_await other.client.close();
        CHECK((co_await as_result(reader)).error() == errc::closed);
        CHECK((co_await as_result(other.client.recv())).error() == errc::closed);
    });
}

TEST_CASE("recv_while_another_goroutine_reads_is_a_panic") {
    test::expect_panic("conn: read while another goroutine reads", [] {
        run([]() -> task<> {
            connection both = co_await connect();
            auto first = spawn(recv_once, std::ref(both.client));
            co_await yield_times(3);
            co_await both.client.recv();
        });
    });
}
