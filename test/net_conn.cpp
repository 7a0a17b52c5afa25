#include <ringo/net/conn.hpp>

#include <doctest/doctest.h>

#include "misuse.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::errc;
using ringo::go;
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
using test::read_all;
using test::read_some;
using test::until;
using test::write_some;
using test::yield_times;

namespace {

/// Whether the kernel would take no more for this socket.
bool is_full(const conn& c) {
    pollfd p{.fd = c.descriptor(), .events = POLLOUT, .revents = 0};
    return ::poll(&p, 1, 0) == 0;
}

int option(const conn& c, int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    ::getsockopt(c.descriptor(), level, name, &value, &size);
    return value;
}

/// Ends the connection with a reset instead of an orderly end.
void reset(conn& c) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(c.descriptor(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    const conn closed = std::move(c);
}

task<> write_pattern(conn& c, std::size_t size, bool then_end) {
    std::vector<char> chunk(100'000);
    for (std::size_t done = 0; done < size;) {
        const std::size_t n = std::min(chunk.size(), size - done);
        test::fill_pattern(chunk.data(), n, done);
        co_await c.write({chunk.data(), n});
        done += n;
    }
    if (then_end) {
        c.close_write();
    }
}

/// Reads `size` patterned bytes in pieces of `step`; how many were right.
task<std::size_t> read_pattern(conn& c, std::size_t size, std::size_t step) {
    std::vector<char> buffer(step);
    std::size_t done = 0;
    while (done < size) {
        const std::size_t n = co_await c.read(buffer);
        if (n == 0 || !test::has_pattern(buffer.data(), n, done)) {
            break;
        }
        done += n;
    }
    co_return done;
}

}  // namespace

TEST_CASE("what_is_written_is_read") {
    const no_descriptor_leaks check;
    for (const std::string& where :
         {std::string("127.0.0.1:0"), std::string("[::1]:0"), test::unix_address("conn")}) {
        CAPTURE(where);
        run([&where]() -> task<> {
            connection both = co_await connect(where);
            co_await both.client.write("ping");
            std::string four(4, ' ');
            co_await both.server.read_exactly(four);
            CHECK(four == "ping");
            co_await both.server.write("pong");
            co_await both.client.read_exactly(four);
            CHECK(four == "pong");
        });
    }
}

TEST_CASE("read_takes_what_is_there_and_does_not_wait_for_more") {
    run([]() -> task<> {
        connection both = co_await connect();
        co_await both.client.write("abcdef");
        std::string two(2, ' ');
        std::string many(100, ' ');
        CHECK(co_await both.server.read(two) == 2);
        CHECK(two == "ab");
        CHECK(co_await both.server.read(many) == 4);
        CHECK(many.substr(0, 4) == "cdef");
    });
}

TEST_CASE("empty_buffers_are_done_at_once") {
    run([]() -> task<> {
        connection both = co_await connect();
        std::string nothing;
        CHECK(co_await both.server.read(nothing) == 0);
        CHECK(co_await both.server.write_some(nothing) == 0);
        co_await both.server.read_exactly(nothing);
        co_await both.server.write("");
    });
}

TEST_CASE("half_close_ends_one_direction_and_leaves_the_other") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        co_await both.client.write("question");
        both.client.close_write();
        CHECK(co_await read_all(both.server) == "question");
        char one = 0;
        CHECK(co_await both.server.read({&one, 1}) == 0);  // and again
        co_await both.server.write("answer");
        both.server.close_write();
        CHECK(co_await read_all(both.client) == "answer");
    });
}

TEST_CASE("read_exactly_says_how_much_came_before_the_end") {
    run([]() -> task<> {
        connection both = co_await connect();
        const std::string from = both.server.local().to_string();
        const std::string to = both.server.remote().to_string();
        co_await both.client.write("abc");
        both.client.close_write();
        std::string ten(10, ' ');
        const failure f = co_await failure_of(both.server.read_exactly(ten));
        CHECK(f.code == errc::end_of_stream);
        CHECK(test::contains(f.text, "3 of 10 bytes"));
        CHECK(test::contains(f.text, from + "->" + to));
    });
}

TEST_CASE("names_both_ends") {
    run([]() -> task<> {
        connection both = co_await connect();
        CHECK(both.client.local() == both.server.remote());
        CHECK(both.client.remote() == both.server.local());
        CHECK(both.client.remote().host() == "127.0.0.1");
        CHECK(both.client.remote().port() != 0);
    });
}

TEST_CASE("options_reach_the_socket") {
    run([]() -> task<> {
        connection both = co_await connect();
        CHECK(option(both.client, IPPROTO_TCP, TCP_NODELAY) == 1);  // from the start, at both ends
        CHECK(option(both.server, IPPROTO_TCP, TCP_NODELAY) == 1);
        both.client.set_no_delay(false);
        CHECK(option(both.client, IPPROTO_TCP, TCP_NODELAY) == 0);
        both.client.set_keep_alive(true);
        CHECK(option(both.client, SOL_SOCKET, SO_KEEPALIVE) == 1);
        both.client.set_send_buffer(10'000);
        CHECK(option(both.client, SOL_SOCKET, SO_SNDBUF) == 20'000);  // the kernel doubles it
        both.client.set_receive_buffer(10'000);
        CHECK(option(both.client, SOL_SOCKET, SO_RCVBUF) == 20'000);
        CHECK((::fcntl(both.server.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
        CHECK((::fcntl(both.client.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
        co_await both.client.close();
        const failure f = co_await failure_of([](conn& c) -> task<> {
            c.set_keep_alive(true);
            co_return;
        }(both.client));
        CHECK(f.code == errc::closed);
    });
}

template <class Option>
void check_option(conn& c, Option o, Option expected) {
    CAPTURE(ringo::net::detail::text_of(Option::name));
    c.set(o);
    CHECK(c.get<Option>() == expected.value);
}

TEST_CASE("options_have_types") {
    namespace net = ringo::net;
    run([]() -> task<> {
        connection both = co_await connect();
        conn& c = both.client;
        CHECK(c.get<net::no_delay>());
        CHECK(c.get<net::linger>() < 0s);
        check_option<net::no_delay>(c, {false}, {false});
        check_option<net::quick_ack>(c, {false}, {false});
        check_option<net::keep_alive>(c, {true}, {true});
        check_option<net::keep_alive_idle>(c, {7s}, {7s});
        check_option<net::keep_alive_interval>(c, {3s}, {3s});
        check_option<net::keep_alive_count>(c, {4}, {4});
        check_option<net::user_timeout>(c, {1500ms}, {1500ms});
        check_option<net::linger>(c, {0s}, {0s});
        check_option<net::linger>(c, {-1s}, {-1s});
        check_option<net::send_buffer>(c, {10'000}, {20'000});
        check_option<net::receive_buffer>(c, {10'000}, {20'000});
    });
}

TEST_CASE("a_refused_option_names_itself_and_both_ends") {
    namespace net = ringo::net;
    run([]() -> task<> {
        connection both = co_await connect();
        failure f = co_await failure_of([](conn& c) -> task<> {
            c.set(net::keep_alive_count{-1});
            co_return;
        }(both.client));
        CHECK(f.code == std::errc::invalid_argument);
        CHECK(test::contains(f.text, "set keep_alive_count " + both.client.local().to_string()));
        co_await both.client.close();
        f = co_await failure_of([](conn& c) -> task<> {
            static_cast<void>(c.get<net::linger>());
            co_return;
        }(both.client));
        CHECK(f.code == errc::closed);
        CHECK(test::contains(f.text, "get linger"));
    });
}

TEST_CASE("megabytes_in_both_directions_at_once") {
    const no_descriptor_leaks check;
    static constexpr std::size_t size = test::many(50'000'000);
    for (const std::string& where : {std::string("127.0.0.1:0"), test::unix_address("bulk")}) {
        CAPTURE(where);
        run([&where]() -> task<> {
            connection both = co_await connect(where);
            auto a = spawn(write_pattern, std::ref(both.client), size, true);
            auto b = spawn(on(other_core()), write_pattern, std::ref(both.server), size, true);
            auto c = spawn(read_pattern, std::ref(both.client), size, 65536);
            auto d = spawn(on(other_core()), read_pattern, std::ref(both.server), size, 3000);
            CHECK(co_await c == size);
            CHECK(co_await d == size);
            co_await a;
            co_await b;
            char one = 0;
            CHECK(co_await both.client.read({&one, 1}) == 0);
        });
    }
}

TEST_CASE("small_and_large_reads_may_alternate") {
    run([]() -> task<> {
        connection both = co_await connect();
        constexpr std::size_t size = 3'000'000;
        auto writer = spawn(write_pattern, std::ref(both.client), size, true);
        std::vector<char> buffer(70'000);
        std::size_t done = 0;
        std::size_t turn = 0;
        while (true) {
            const std::size_t most = turn % 7 < 3 ? 65'536 : 1 + turn * 131 % 5000;
            const std::size_t n = co_await both.server.read({buffer.data(), most});
            if (n == 0) {
                break;
            }
            REQUIRE(n <= most);
            REQUIRE(test::has_pattern(buffer.data(), n, done));
            done += n;
            ++turn;
        }
        CHECK(done == size);
        co_await writer;
    });
}

// --- on several cores ---

TEST_CASE("reading_goes_on_on_another_core") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        std::size_t done = 0;
        for (std::size_t turn = 0; turn < 60; ++turn) {
            const std::string text = patterned(5000, done);
            co_await both.client.write(text);
            auto reader = spawn(on(turn % ringo::cores()), [&]() -> task<bool> {
                std::string got(5000, ' ');
                co_await both.server.read_exactly(got);
                co_return got == text;
            });
            CHECK(co_await reader);
            done += 5000;
        }
    });
}

TEST_CASE("a_connection_moves_to_another_core_with_what_has_arrived") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        co_await both.client.write("abcdef");
        std::string two(2, ' ');
        co_await both.server.read_exactly(two);
        CHECK(two == "ab");
        auto rest = spawn(
            on(other_core()), [](conn c) -> task<std::string> { co_return co_await read_all(c); },
            std::move(both.server));
        co_await both.client.write("ghi");
        both.client.close_write();
        CHECK(co_await rest == "cdefghi");
    });
}

TEST_CASE("a_reader_on_another_core_than_the_first_can_be_cancelled") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        co_await both.client.write("a");
        std::string one(1, ' ');
        co_await both.server.read_exactly(one);  // this core receives from here on
        for (int i = 0; i < 50; ++i) {
            std::atomic<bool> running = false;
            auto reader = spawn(on(other_core()), [&]() -> task<failure> {
                running = true;
                std::string buffer(10, ' ');
                co_return co_await failure_of(read_some(both.server, buffer));
            });
            co_await until([&] { return running.load(); });
            co_await yield_times(i % 5);
            reader.cancel();
            CHECK((co_await reader).code == std::errc::operation_canceled);
        }
        co_await both.client.write("still here");
        both.client.close_write();
        CHECK(co_await read_all(both.server) == "still here");
    });
}

// --- cancellation ---

TEST_CASE("a_read_in_a_cancelled_context_takes_nothing") {
    run([]() -> task<> {
        connection both = co_await connect();
        co_await both.client.write("abc");
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        std::string buffer(3, ' ');
        const auto r = co_await as_result(ringo::within(scope, both.server.read(buffer)));
        CHECK(r.error() == std::errc::operation_canceled);
        const auto w = co_await as_result(ringo::within(scope, both.server.write_some("x")));
        CHECK(w.error() == std::errc::operation_canceled);
        co_await both.server.read_exactly(buffer);
        CHECK(buffer == "abc");
        both.server.close_write();
        CHECK(co_await read_all(both.client) == "");
    });
}

TEST_CASE("a_cancelled_read_loses_no_byte_whenever_it_is_cancelled") {
    const no_descriptor_leaks check;
    // The bytes arrive before, while and after the read is given up.
    for (const std::size_t buffer_size : {std::size_t{10}, std::size_t{65'536}}) {
        CAPTURE(buffer_size);
        run([buffer_size]() -> task<> {
            connection both = co_await connect();
            std::string got;
            std::string sent;
            std::string large(100'000, 'L');
            co_await both.client.write(large);  // so that a large buffer is received into directly
            std::string in(100'000, ' ');
            co_await both.server.read_exactly(in);
            for (int i = 0; i < 400; ++i) {
                auto reader = spawn([&]() -> task<std::size_t> {
                    std::string buffer(buffer_size, ' ');
                    const auto n = co_await as_result(both.server.read(buffer));
                    got += buffer.substr(0, n.value_or(0));
                    co_return n.value_or(0);
                });
                co_await yield_times(i % 4);
                const std::string text = patterned(5, sent.size());
                auto writer = spawn([&]() -> task<> { co_await both.client.write(text); });
                sent += text;
                co_await yield_times(i / 4 % 6);
                reader.cancel();
                const auto r = co_await as_result(reader.operator co_await());
                CHECK(r.has_value());
                co_await writer;
            }
            both.client.close_write();
            got += co_await read_all(both.server);
            CHECK(got == sent);
        });
    }
}

TEST_CASE("a_read_that_times_out_leaves_the_bytes_for_the_next") {
    run([]() -> task<> {
        connection both = co_await connect();
        std::string buffer(8, ' ');
        const auto r = co_await as_result(ringo::timeout(1ms, both.server.read(buffer)));
        CHECK(r.error() == std::errc::timed_out);
        co_await both.client.write("late");
        CHECK(co_await both.server.read(buffer) == 4);
        CHECK(buffer.substr(0, 4) == "late");
    });
}

TEST_CASE("a_cancelled_read_exactly_says_how_far_it_got") {
    run([]() -> task<> {
        connection both = co_await connect();
        std::string buffer(100, ' ');
        co_await both.client.write(patterned(40));
        auto reader = spawn([&]() -> task<failure> {
            co_return co_await failure_of(both.server.read_exactly(buffer));
        });
        int unread = 1;  // in the kernel: once it is 0, the reader has them all
        co_await until([&] {
            ::ioctl(both.server.descriptor(), FIONREAD, &unread);
            return unread == 0;
        });
        co_await yield_times(10);
        reader.cancel();
        const failure f = co_await reader;
        CHECK(f.code == std::errc::operation_canceled);
        CHECK(f.bytes == 40);
        CHECK(buffer.substr(0, f.bytes) == patterned(40));
        co_await both.client.write(patterned(60, 40));
        std::string rest(60, ' ');
        co_await both.server.read_exactly(rest);
        CHECK(rest == patterned(60, 40));
    });
}

TEST_CASE("a_write_to_a_peer_that_never_reads_waits_and_says_when_cancelled_how_far_it_got") {
    const no_descriptor_leaks check;
    for (const std::string& where : {std::string("127.0.0.1:0"), test::unix_address("full")}) {
        CAPTURE(where);
        run([&where]() -> task<> {
            connection both = co_await connect(where);
            const std::string text = patterned(30'000'000);
            auto writer = spawn(
                [&]() -> task<failure> { co_return co_await failure_of(both.client.write(text)); });
            co_await until([&] { return is_full(both.client); });
            writer.cancel();
            const failure f = co_await writer;
            CHECK(f.code == std::errc::operation_canceled);
            CHECK(f.bytes > 0);
            CHECK(f.bytes < text.size());
            both.client.close_write();
            const std::string got = co_await read_all(both.server);
            CHECK(got.size() == f.bytes);
            CHECK(got == text.substr(0, f.bytes));
        });
    }
}

TEST_CASE("a_cancelled_write_some_reports_what_went_whenever_it_is_cancelled") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        both.client.set_send_buffer(20'000);
        both.server.set_receive_buffer(20'000);
        std::size_t sent = 0;
        std::size_t received = 0;
        std::vector<char> buffer(50'000);
        for (int i = 0; i < 300; ++i) {
            const std::string text = patterned(40'000, sent);
            auto writer = spawn([&]() -> task<std::size_t> {
                const auto n = co_await as_result(both.client.write_some(text));
                if (!n) {
                    CHECK(n.error() == std::errc::operation_canceled);
                }
                co_return n.value_or(0);
            });
            co_await yield_times(i % 5);
            if (i % 3 == 0) {
                const auto n = co_await as_result(ringo::timeout(1ms, both.server.read(buffer)));
                if (n) {
                    CHECK(test::has_pattern(buffer.data(), *n, received));
                    received += *n;
                }
            }
            writer.cancel();
            sent += co_await writer;
        }
        both.client.close_write();
        const std::string rest = co_await read_all(both.server);
        CHECK(test::has_pattern(rest.data(), rest.size(), received));
        CHECK(received + rest.size() == sent);
    });
}

// --- closing ---

TEST_CASE("close_ends_a_read_and_a_write_with_closed") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const std::size_t core : {std::size_t{0}, other_core()}) {
            for (const std::size_t closer : {std::size_t{0}, other_core()}) {
                CAPTURE(core);
                CAPTURE(closer);
                connection both = co_await connect();
                const std::string text = patterned(30'000'000);
                std::string buffer(100, ' ');
                auto reader = spawn(on(core), [&]() -> task<failure> {
                    co_return co_await failure_of(read_some(both.client, buffer));
                });
                auto writer = spawn(on(core), [&]() -> task<failure> {
                    co_return co_await failure_of(both.client.write(text));
                });
                co_await until([&] { return is_full(both.client); });
                auto closing = spawn(on(closer), [&]() -> task<> { co_await both.client.close(); });
                co_await closing;
                CHECK(both.client.descriptor() == -1);
                CHECK((co_await reader).code == errc::closed);
                CHECK((co_await writer).code == errc::closed);
            }
        }
    });
}

TEST_CASE("a_closed_connection_answers_closed_and_closes_once") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        const int number = both.client.descriptor();
        co_await both.client.close();
        CHECK_FALSE(both.client.is_open());
        // The number belongs to somebody else now.
        const int other = ::fcntl(both.server.descriptor(), F_DUPFD_CLOEXEC, number);
        CHECK(other == number);
        std::string buffer(3, ' ');
        CHECK((co_await failure_of(read_some(both.client, buffer))).code == errc::closed);
        CHECK((co_await failure_of(write_some(both.client, "abc"))).code == errc::closed);
        CHECK(both.client.local().to_string() == "");
        CHECK(both.client.remote().to_string() == "");
        both.client.close_write();
        co_await both.client.close();
        both.client = conn();
        CHECK(::fcntl(other, F_GETFD) >= 0);
        CHECK(co_await read_all(both.server) == "");
        ::close(other);
    });
}

TEST_CASE("a_read_after_close_leaves_nothing_behind_on_its_core") {
    run([]() -> task<> {
        connection both = co_await connect();
        co_await both.client.write("abc");
        std::string buffer(3, ' ');
        co_await both.server.read_exactly(buffer);
        co_await both.server.close();
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            auto reader = spawn(on(core), [&]() -> task<failure> {
                std::string b(3, ' ');
                co_return co_await failure_of(read_some(both.server, b));
            });
            CHECK((co_await reader).code == errc::closed);
        }
    });
}

TEST_CASE("closing_from_several_cores_at_once_closes_once") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (int i = 0; i < 200; ++i) {
            connection both = co_await connect();
            std::string buffer(10, ' ');
            auto reader = spawn([&]() -> task<failure> {
                co_return co_await failure_of(read_some(both.client, buffer));
            });
            std::vector<ringo::join_handle<void>> closers;
            for (std::size_t core = 0; core < 4; ++core) {
                closers.push_back(spawn(on(core % ringo::cores()),
                                        [&both]() -> task<> { co_await both.client.close(); }));
            }
            for (auto& c : closers) {
                co_await c;
            }
            const failure f = co_await reader;
            CHECK(f.code == errc::closed);
        }
    });
}

TEST_CASE("close_goes_through_in_a_cancelled_goroutine") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        co_await ringo::within(scope, both.client.close());
        CHECK_FALSE(both.client.is_open());
        CHECK(co_await read_all(both.server) == "");
    });
}

TEST_CASE("close_drops_what_was_not_read_and_gives_the_buffers_back") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        // 400 times 8 buffers of 4 KiB: more than a core has.
        for (int i = 0; i < 400; ++i) {
            connection both = co_await connect();
            std::string one(1, ' ');
            co_await both.client.write(patterned(1));
            co_await both.server.read_exactly(one);
            co_await both.client.write(patterned(20'000));
            co_await yield_times(3);
            if (i % 2 == 0) {
                co_await both.server.close();
            }
        }
    });
}

TEST_CASE("destroying_a_connection_ends_what_waits_in_it") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const std::size_t core : {std::size_t{0}, other_core()}) {
            connection both = co_await connect(test::unix_address("doomed"));
            auto doomed = std::make_unique<conn>(std::move(both.client));
            conn* const raw = doomed.get();
            const std::string text = patterned(1'000'000);
            while (::send(raw->descriptor(), text.data(), text.size(), MSG_DONTWAIT) > 0) {
            }
            std::atomic<int> started = 0;
            const auto read = [&started, raw]() -> task<failure> {
                std::string buffer(10, ' ');
                ++started;
                co_return co_await failure_of(read_some(*raw, buffer));
            };
            const auto write = [&started, &text, raw]() -> task<failure> {
                ++started;
                co_return co_await failure_of(write_some(*raw, text));
            };
            auto reader = spawn(on(core), read);
            auto writer = spawn(on(core), write);
            co_await until([&] { return started == 2; });
            // Both have started on that core, so both operations wait after one more round there.
            auto round = spawn(on(core), yield_times, 1);
            co_await round;
            doomed.reset();
            CHECK((co_await reader).code == errc::closed);
            CHECK((co_await writer).code == errc::closed);
        }
    });
}

TEST_CASE("assigning_to_a_connection_closes_the_one_it_was") {
    run([]() -> task<> {
        connection first = co_await connect();
        connection second = co_await connect();
        first.client = std::move(second.client);
        CHECK(co_await read_all(first.server) == "");
        co_await first.client.write("x");
        std::string one(1, ' ');
        co_await second.server.read_exactly(one);
        CHECK(one == "x");
    });
}

// --- a hostile or dead peer ---

TEST_CASE("a_reset_by_the_peer_is_an_error_that_names_both_ends") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        const std::string ends =
            both.client.local().to_string() + "->" + both.client.remote().to_string();
        std::string buffer(10, ' ');
        auto reader = spawn([&]() -> task<failure> {
            co_return co_await failure_of(read_some(both.client, buffer));
        });
        co_await yield_times(10);
        reset(both.server);
        const failure f = co_await reader;
        CHECK(f.code == std::errc::connection_reset);
        CHECK(test::contains(f.text, "read " + ends));
    });
}

TEST_CASE("a_write_that_waits_ends_when_the_peer_resets") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        const std::string text = patterned(30'000'000);
        auto writer = spawn(
            [&]() -> task<failure> { co_return co_await failure_of(both.client.write(text)); });
        co_await until([&] { return is_full(both.client); });
        reset(both.server);
        const failure f = co_await writer;
        CHECK((f.code == std::errc::connection_reset || f.code == std::errc::broken_pipe));
        CHECK(test::contains(f.text, "write "));
    });
}

TEST_CASE("writing_to_a_peer_that_is_gone_is_an_error_and_no_signal") {
    std::signal(SIGPIPE, SIG_DFL);
    run([]() -> task<> {
        for (const std::string& where : {std::string("127.0.0.1:0"), test::unix_address("gone")}) {
            connection both = co_await connect(where);
            both.server = conn();
            failure f;
            while (!f.code) {
                f = co_await failure_of(both.client.write("into the void"));
            }
            CHECK((f.code == std::errc::broken_pipe || f.code == std::errc::connection_reset));
            // Again, on what the kernel knows to be dead.
            f = co_await failure_of(both.client.write("x"));
            CHECK(f.code == std::errc::broken_pipe);
        }
    });
}

TEST_CASE("several_buffers_are_written_as_one") {
    const no_descriptor_leaks check;
    for (const std::string& where : {std::string("127.0.0.1:0"), test::unix_address("gather")}) {
        run([&where]() -> task<> {
            connection both = co_await connect(where);
            const std::string body = patterned(1000);
            const std::string nothing;
            co_await both.client.write("head ", nothing, body, std::string(" tail"));
            co_await both.client.write(nothing, nothing);
            const ringo::const_buffer parts[] = {"one ", nothing, "two ", "three"};
            CHECK(co_await both.client.write_some(parts) == 13);
            CHECK(co_await both.client.write_some(std::span(parts).first(0)) == 0);
            co_await both.client.write(std::span(parts).last(1));
            both.client.close_write();
            CHECK(co_await read_all(both.server) == "head " + body + " tailone two threethree");
        });
    }
}

TEST_CASE("many_large_buffers_are_written_whole_to_a_slow_reader") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        const std::string all = patterned(6'000'000);
        std::vector<ringo::const_buffer> parts;
        std::size_t used = 0;
        for (std::size_t size = 0; used < all.size(); size = size * 3 / 2 + 1) {
            const std::size_t n = std::min(size, all.size() - used);
            parts.emplace_back(all.data() + used, n);
            used += n;
        }
        REQUIRE(parts.size() > 16);
        auto writer = spawn(on(other_core()), [&]() -> task<> {
            co_await both.client.write(std::span<const ringo::const_buffer>(parts));
            both.client.close_write();
        });
        CHECK(co_await read_pattern(both.server, all.size(), 10'000) == all.size());
        co_await writer;
    });
}

TEST_CASE("a_cancelled_write_of_several_buffers_says_how_far_it_got") {
    run([]() -> task<> {
        connection both = co_await connect();
        const std::string text = patterned(30'000'000);
        const std::string_view view = text;
        auto writer = spawn([&]() -> task<failure> {
            const ringo::const_buffer parts[] = {view.substr(0, 10), view.substr(10, 20'000'000),
                                                 view.substr(20'000'010)};
            co_return co_await failure_of(both.client.write(parts));
        });
        co_await until([&] { return is_full(both.client); });
        writer.cancel();
        const failure f = co_await writer;
        CHECK(f.code == std::errc::operation_canceled);
        both.client.close_write();
        CHECK(co_await read_all(both.server) == text.substr(0, f.bytes));
    });
}

TEST_CASE("a_write_of_several_buffers_wins_and_loses_in_a_select") {
    run([]() -> task<> {
        connection both = co_await connect();
        const std::string large(10'000'000, 'x');
        const ringo::const_buffer parts[] = {"ab", large};
        std::size_t written = 0;
        while (true) {
            auto r = co_await ringo::select(both.client.write_some(parts), ringo::sleep(1ms));
            if (r.index() == 1) {
                break;
            }
            written += std::get<0>(r);
        }
        both.client.close_write();
        CHECK((co_await read_all(both.server)).size() == written);
    });
}

// --- the pooled buffers ---

TEST_CASE("connections_that_nobody_reads_do_not_starve_the_others") {
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            // Each arms its receive by a first read, and is then left with more than its share.
            std::vector<connection> idle;
            const std::string much = patterned(60'000);
            for (int i = 0; i < 64; ++i) {
                idle.push_back(co_await connect());
                connection& both = idle.back();
                co_await both.client.write("x");
                std::string one(1, ' ');
                co_await both.server.read_exactly(one);
            }
            for (connection& both : idle) {
                co_await both.client.write(much);
            }
            connection busy = co_await connect();
            for (std::size_t i = 0; i < 500; ++i) {
                const std::string ping = patterned(64, i);
                std::string pong(64, ' ');
                co_await busy.client.write(ping);
                co_await busy.server.read_exactly(pong);
                REQUIRE(pong == ping);
                co_await busy.server.write(pong);
                co_await busy.client.read_exactly(pong);
                REQUIRE(pong == ping);
            }
            for (connection& both : idle) {
                std::string got(much.size(), ' ');
                co_await both.server.read_exactly(got);
                CHECK(got == much);
            }
        },
        {.cores = 1});
}

TEST_CASE("who_writes_on_and_on_leaves_the_others_their_turn") {
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            connection both = co_await connect();
            std::thread drains([fd = both.server.descriptor()] {
                std::vector<char> buffer(1 << 20);
                pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
                do {
                    ::poll(&p, 1, -1);
                } while (::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT) != 0);
            });
            constexpr std::size_t piece = 65536;
            bool stop = false;
            std::size_t written = 0;
            auto writes = spawn([&]() -> task<> {
                const std::string text(piece, 'w');
                while (!stop) {
                    co_await both.client.write(text);
                    written += text.size();
                }
            });
            std::size_t most = 0;  // while nobody else had a turn
            for (int i = 0; i < 10'000; ++i) {
                const std::size_t before = written;
                co_await ringo::yield();
                most = std::max(most, written - before);
            }
            stop = true;
            co_await writes;
            both.client.close_write();
            drains.join();
            CHECK(most <= (1 << 20) + piece);
        },
        {.cores = 1});
}

TEST_CASE("go_75_thousands_of_connections_that_hold_data_lose_none_of_it") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::vector<connection> all;
        for (int i = 0; i < 300; ++i) {
            all.push_back(co_await connect());
        }
        // More readers wait than there are buffers, then all are served at once.
        std::vector<ringo::join_handle<std::string>> readers;
        for (connection& both : all) {
            readers.push_back(spawn(
                [&both]() -> task<std::string> { co_return co_await read_all(both.server); }));
        }
        for (std::size_t i = 0; i < all.size(); ++i) {
            co_await all[i].client.write(patterned(10'000, i));
        }
        for (connection& both : all) {
            both.client.close_write();
        }
        for (std::size_t i = 0; i < all.size(); ++i) {
            CHECK(co_await readers[i] == patterned(10'000, i));
        }
    });
}

// --- the ends of runs ---

TEST_CASE("a_run_ends_with_reads_and_writes_pending") {
    const no_descriptor_leaks check;
    for (int i = 0; i < 3; ++i) {
        run([]() -> task<> {
            for (std::size_t core = 0; core < ringo::cores(); ++core) {
                auto both = std::make_shared<connection>(co_await connect());
                go(on(core), [both]() -> task<> {
                    std::string buffer(10, ' ');
                    co_await both->client.read(buffer);
                });
                go(on(core),
                   [both]() -> task<> { co_await both->client.write(patterned(30'000'000)); });
                co_await until([&] { return is_full(both->client); });
            }
        });
    }
}

TEST_CASE("a_connection_may_outlive_the_run") {
    const no_descriptor_leaks check;
    connection both;
    run([&both]() -> task<> {
        both = co_await connect();
        co_await both.client.write("abc");
        std::string one(1, ' ');
        co_await both.server.read_exactly(one);
    });
}

TEST_CASE("a_connection_goes_on_in_the_next_run") {
    const no_descriptor_leaks check;
    connection both;
    for (int i = 0; i < 3; ++i) {
        run([&both]() -> task<> {
            if (!both.client.is_open() || both.client.socket() == nullptr) {
                both = co_await connect();
            }
            for (std::size_t core = 0; core < ringo::cores(); ++core) {
                auto part = spawn(on(core), [&both]() -> task<> {
                    co_await both.client.write("hello");
                    std::string five(5, ' ');
                    co_await both.server.read_exactly(five);
                    CHECK(five == "hello");
                });
                co_await part;
            }
        });
    }
}

// --- misuse ---

TEST_CASE("using_a_conn_that_is_not_connected_is_a_panic") {
    test::expect_panic("conn: read of one that is not connected", [] {
        run([]() -> task<> {
            conn c;
            char one = 0;
            co_await c.read({&one, 1});
        });
    });
    test::expect_panic("conn: write to one that is not connected", [] {
        run([]() -> task<> {
            conn c;
            co_await c.write_some("x");
        });
    });
}

TEST_CASE("two_readers_at_once_are_a_panic") {
    test::expect_panic("conn: read while another goroutine reads", [] {
        run([]() -> task<> {
            connection both = co_await connect();
            std::string a(1, ' ');
            std::string b(1, ' ');
            auto first = spawn([&]() -> task<> { co_await both.client.read(a); });
            co_await yield_times(3);
            co_await both.client.read(b);
        });
    });
}
