// Sockets as operands of select.
#include <ringo/net/conn.hpp>
#include <ringo/net/listener.hpp>
#include <ringo/poll.hpp>
#include <ringo/select.hpp>

#include <doctest/doctest.h>

#include "conformance/placements.hpp"
#include "misuse.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::chan;
using ringo::errc;
using ringo::on;
using ringo::otherwise;
using ringo::run;
using ringo::select;
using ringo::spawn;
using ringo::task;
using ringo::net::conn;
using ringo::net::dial;
using ringo::net::listen;
using ringo::net::listener;
using test::connect;
using test::connection;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::other_core;
using test::until;
using test::yield_times;

namespace {

template <class T>
concept operand = requires {
    ringo::detail::operand(std::declval<T>());
};

static_assert(operand<ringo::net::detail::read_operation>);
static_assert(operand<ringo::net::detail::write_operation>);
static_assert(operand<ringo::net::detail::accept_operation>);
static_assert(operand<ringo::detail::poll_operation>);
// What cannot be taken back: write, read_exactly, serve and dial are tasks.
static_assert(!operand<decltype(std::declval<conn&>().write(std::string_view()))>);
static_assert(!operand<decltype(dial(ringo::net::endpoint()))>);
static_assert(!operand<task<int>>);
static_assert(!operand<ringo::net::detail::close_operation>);

std::vector<std::string> addresses() { return {"127.0.0.1:0", test::unix_address("select")}; }

/// The same, but not in use: a name lives on for as long as the kernel accepts for it.
std::string fresh(const std::string& where) {
    static std::atomic<int> last = 0;
    return where.rfind("unix:", 0) == 0 ? where + '-' + std::to_string(++last) : where;
}

/// Runs `body(address, core)` at each address, with the core where the selects are.
template <class F>
void at_each(F body) {
    for (const std::string& where : addresses()) {
        for (const bool elsewhere : {false, true}) {
            CAPTURE(where);
            CAPTURE(elsewhere);
            run([&]() -> task<> {
                if (elsewhere && test::one_core_only()) {
                    co_return;
                }
                co_await body(where, elsewhere ? other_core() : 0);
            });
        }
    }
}

int unread(const conn& c) {
    int n = 0;
    ::ioctl(c.descriptor(), FIONREAD, &n);
    return n;
}

/// Makes this core the one that receives for `c`.
task<> receive_here(conn& c, conn& peer) {
    co_await peer.write("!");
    char one = 0;
    co_await c.read_exactly({&one, 1});
}

/// Fills what the kernel keeps between the two; how many bytes. Each is the pattern's.
task<std::uint64_t> fill(connection& both) {
    both.client.set_send_buffer(16'384);
    both.server.set_receive_buffer(16'384);
    std::uint64_t sent = 0;
    for (int full = 0; full < 20;) {
        const std::string piece = test::patterned(5'000, sent);
        const auto r = co_await select(both.client.write_some(piece), otherwise);
        if (r.index() == 0) {
            sent += std::get<0>(r);
            full = 0;
        } else {
            ++full;  // the kernel may yet move some of it to the peer
            co_await yield_times(5);
        }
    }
    co_return sent;
}

task<> write_pieces(conn& c, std::uint64_t total, unsigned seed) {
    std::minstd_rand random(seed);
    for (std::uint64_t done = 0; done < total;) {
        const std::size_t n = std::min<std::uint64_t>(1 + random() % 300, total - done);
        co_await c.write(test::patterned(n, done));
        done += n;
        co_await yield_times(static_cast<int>(random() % 4));
    }
    c.close_write();
}

/// A reader that checks that what it gets is the pattern, and nothing else changes its buffer.
struct checked_stream {
    explicit checked_stream(std::size_t size) : buffer(size, '\1') {}

    /// A read would begin at its front.
    bool untouched() const { return buffer.compare(0, 8, "\1\1\1\1\1\1\1\1") == 0; }
    bool take(std::size_t n) {
        const bool right = test::has_pattern(buffer.data(), n, done);
        done += n;
        std::fill_n(buffer.begin(), n, '\1');
        return right;
    }

    std::string buffer;
    std::uint64_t done = 0;
};

}  // namespace

// --- reading ---

TEST_CASE("a_read_wins_with_what_is_there_and_with_what_comes") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        connection both = co_await connect(fresh(where));
        auto reader = spawn(on(core), [&]() -> task<> {
            chan<int> never;
            for (int i = 0; i < 100; ++i) {
                std::string buffer(10, ' ');
                const auto r = co_await select(both.server.read(buffer), never.recv());
                REQUIRE(r.index() == 0);
                CHECK(std::get<0>(r) == 3);
                CHECK(buffer.substr(0, 3) == "abc");
                co_await both.server.write("k");
            }
        });
        for (int i = 0; i < 100; ++i) {
            co_await yield_times(i % 3);
            co_await both.client.write("abc");
            char ok = 0;
            co_await both.client.read_exactly({&ok, 1});
        }
        co_await reader;
    });
}

TEST_CASE("an_end_of_stream_and_an_empty_buffer_win_with_0") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t) -> task<> {
        connection both = co_await connect(fresh(where));
        chan<int> never;
        std::string nothing;
        const auto empty = co_await select(both.server.read(nothing), never.recv());
        CHECK(std::get<0>(empty) == 0);
        const auto unwritten = co_await select(both.server.write_some(nothing), never.recv());
        CHECK(std::get<0>(unwritten) == 0);
        std::string buffer(10, ' ');
        auto closer = spawn([&both]() -> task<> {
            both.client.close_write();
            co_return;
        });
        for (int i = 0; i < 2; ++i) {
            const auto end = co_await select(both.server.read(buffer), never.recv());
            CHECK(std::get<0>(end) == 0);
        }
        co_await closer;
    });
}

TEST_CASE("a_read_that_loses_has_read_nothing") {
    const no_descriptor_leaks check;
    for (const std::size_t size : {std::size_t{64}, std::size_t{10'000}}) {
        CAPTURE(size);
        for (const bool moved : {false, true}) {  // the core that receives is not the reader's
            CAPTURE(moved);
            at_each([=](const std::string& where, std::size_t core) -> task<> {
                static constexpr std::uint64_t total = test::many(12'000);
                connection a = co_await connect(fresh(where));
                connection b = co_await connect(fresh(where));
                if (moved) {
                    co_await receive_here(a.server, a.client);
                    co_await receive_here(b.server, b.client);
                }
                auto left = spawn(write_pieces, std::ref(a.client), total, 1);
                auto right = spawn(on(core), write_pieces, std::ref(b.client), total, 2);
                chan<int> c;
                auto rival = spawn([c]() -> task<> {
                    for (int i = 0;; ++i) {
                        co_await c.send(i);
                        co_await ringo::yield();
                    }
                });
                auto reader = spawn(on(core), [&, size]() -> task<bool> {
                    checked_stream x(size);
                    checked_stream y(size);
                    int next = 0;
                    bool right_so_far = true;
                    for (int open = 3; open != 0 && right_so_far;) {
                        const auto r =
                            co_await select(a.server.read((open & 1) != 0 ? x.buffer : y.buffer),
                                            c.recv(), ringo::sleep(20us),
                                            b.server.read((open & 2) != 0 ? y.buffer : x.buffer));
                        if (r.index() == 0) {
                            const std::size_t n = std::get<0>(r);
                            if (n == 0) {
                                open &= ~1;
                                co_await ringo::yield();  // at its end it is always ready
                            }
                            right_so_far = y.untouched() && x.take(n);
                        } else if (r.index() == 3) {
                            const std::size_t n = std::get<3>(r);
                            if (n == 0) {
                                open &= ~2;
                                co_await ringo::yield();
                            }
                            right_so_far = x.untouched() && y.take(n);
                        } else {
                            right_so_far = x.untouched() && y.untouched() &&
                                           (r.index() == 2 || std::get<1>(r) == next++);
                        }
                    }
                    co_return right_so_far&& x.done == total&& y.done == total;
                });
                CHECK(co_await reader);
                co_await left;
                co_await right;
                rival.cancel();
            });
        }
    }
}

TEST_CASE("plain_reads_and_selects_take_turns_on_one_stream") {
    const no_descriptor_leaks check;
    for (const std::size_t size : {std::size_t{50}, std::size_t{20'000}}) {
        CAPTURE(size);
        at_each([size](const std::string& where, std::size_t core) -> task<> {
            static constexpr std::uint64_t total = 40'000;
            connection both = co_await connect(fresh(where));
            auto writer = spawn(write_pieces, std::ref(both.client), total, 3);
            auto reader = spawn(on(core), [&, size]() -> task<bool> {
                checked_stream x(size);
                for (int i = 0;; ++i) {
                    std::size_t n = 0;
                    if (i % 3 == 0) {
                        n = co_await both.server.read(x.buffer);
                    } else if (i % 3 == 1) {
                        const auto r =
                            co_await as_result(ringo::timeout(10us, both.server.read(x.buffer)));
                        if (!r) {
                            continue;
                        }
                        n = *r;
                    } else {
                        const auto r =
                            co_await select(both.server.read(x.buffer), ringo::sleep(10us));
                        if (r.index() == 1) {
                            continue;
                        }
                        n = std::get<0>(r);
                    }
                    if (n == 0) {
                        co_return x.done == total;
                    }
                    if (!x.take(n)) {
                        co_return false;
                    }
                }
            });
            CHECK(co_await reader);
            co_await writer;
        });
    }
}

TEST_CASE("a_select_with_otherwise_reads_what_the_kernel_has") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        connection both = co_await connect(fresh(where));
        for (int i = 0; i < 3; ++i) {
            auto tries = spawn(on(core), [&]() -> task<> {
                std::string buffer(10, ' ');
                const auto nothing = co_await select(both.server.read(buffer), otherwise);
                CHECK(nothing.index() == 1);
                co_await both.client.write("abc");
                std::size_t n = 0;
                co_await until([&] { return unread(both.server) == 3; });
                const auto r = co_await select(both.server.read(buffer), otherwise);
                REQUIRE(r.index() == 0);
                n = std::get<0>(r);
                CHECK(buffer.substr(0, n) == "abc");
            });
            co_await tries;
        }
        // From here on the first core receives ahead of its reads.
        co_await receive_here(both.server, both.client);
        auto tries = spawn(on(core), [&]() -> task<> {
            std::string buffer(10, ' ');
            co_await both.client.write("abc");
            std::size_t n = 0;
            while (n == 0) {
                const auto r = co_await select(both.server.read(buffer), otherwise);
                n = r.index() == 0 ? std::get<0>(r) : 0;
                co_await ringo::yield();
            }
            CHECK(buffer.substr(0, n) == "abc");
        });
        co_await tries;
    });
}

TEST_CASE("whoever_reads_while_a_select_waits_to_read_panics") {
    test::expect_panic("conn: read while another goroutine reads", [] {
        run([]() -> task<> {
            connection both = co_await connect();
            std::string a(1, ' ');
            std::string b(1, ' ');
            chan<int> never;
            auto waits = spawn([&]() -> task<> {
                const auto r = co_await select(both.server.read(a), never.recv());
                CHECK(r.index() == 0);
            });
            co_await yield_times(2);
            co_await both.server.read(b);
        });
    });
    test::expect_panic("conn: read while another goroutine reads", [] {
        run([]() -> task<> {
            connection both = co_await connect();
            std::string a(1, ' ');
            std::string b(1, ' ');
            co_await select(both.server.read(a), both.server.read(b));
        });
    });
}

TEST_CASE("a_select_that_another_arm_has_ended_reads_no_more") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        connection both = co_await connect(fresh(where));
        chan<int> c;
        for (int i = 0; i < 200; ++i) {
            auto waits = spawn(on(core), [&]() -> task<> {
                std::string buffer(1, ' ');
                const auto r = co_await select(both.server.read(buffer), c.recv());
                CHECK(r.index() == 1);
            });
            co_await c.send(i);
            // It may not have run yet; to read is allowed all the same.
            auto next = spawn([&]() -> task<> {
                std::string buffer(1, ' ');
                CHECK(co_await both.server.read(buffer) == 1);
            });
            co_await ringo::yield();
            co_await both.client.write("x");
            co_await next;
            co_await waits;
        }
    });
}

// --- writing ---

TEST_CASE("a_write_some_that_loses_has_written_nothing") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        static constexpr std::uint64_t total = 300'000;
        connection both = co_await connect(fresh(where));
        both.client.set_send_buffer(20'000);
        both.server.set_receive_buffer(20'000);
        auto reader = spawn([&]() -> task<bool> {
            std::minstd_rand random(7);
            checked_stream x(20'000);
            while (true) {
                co_await yield_times(static_cast<int>(random() % 5));
                const std::size_t n =
                    co_await both.server.read({x.buffer.data(), 1 + random() % 20'000});
                if (n == 0) {
                    co_return x.done == total;
                }
                if (!x.take(n)) {
                    co_return false;
                }
            }
        });
        chan<int> c;
        auto rival = spawn([c]() -> task<> {
            for (int i = 0;; ++i) {
                co_await c.send(i);
                co_await ringo::yield();
            }
        });
        auto writer = spawn(on(core), [&]() -> task<> {
            int next = 0;
            for (std::uint64_t done = 0; done < total;) {
                const std::string piece =
                    test::patterned(std::min<std::uint64_t>(9'000, total - done), done);
                const auto r =
                    co_await select(c.recv(), both.client.write_some(piece), ringo::sleep(20us));
                if (r.index() == 1) {
                    done += std::get<1>(r);
                } else if (r.index() == 0) {
                    REQUIRE(std::get<0>(r) == next++);
                }
            }
            both.client.close_write();
        });
        co_await writer;
        CHECK(co_await reader);
        rival.cancel();
    });
}

TEST_CASE("one_select_reads_and_writes_one_conn") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        static constexpr std::uint64_t total = 800'000;
        connection both = co_await connect(fresh(where));
        const auto exchange = [](conn& c) -> task<bool> {
            checked_stream in(10'000);
            std::uint64_t out = 0;
            bool right = true;
            while (right && (in.done < total || out < total)) {
                const std::string piece =
                    test::patterned(std::min<std::uint64_t>(30'000, total - out), out);
                // At the end of one direction its channel is nil, as it were.
                if (out == total) {
                    const std::size_t n = co_await c.read(in.buffer);
                    right = n != 0 && in.take(n);
                } else if (in.done == total) {
                    out += co_await c.write_some(piece);
                } else {
                    const auto r = co_await select(c.read(in.buffer), c.write_some(piece));
                    if (r.index() == 1) {
                        right = in.untouched();
                        out += std::get<1>(r);
                    } else {
                        right = std::get<0>(r) != 0 && in.take(std::get<0>(r));
                    }
                }
            }
            co_return right;
        };
        auto a = spawn(exchange, std::ref(both.client));
        auto b = spawn(on(core), exchange, std::ref(both.server));
        CHECK(co_await a);
        CHECK(co_await b);
    });
}

// --- accepting ---

TEST_CASE("an_accept_that_loses_has_taken_no_connection") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        constexpr int clients = 400;
        listener l = listen(fresh(where));
        listener quiet = listen(fresh(where));
        chan<int> c;
        auto rival = spawn([c]() -> task<> {
            for (int i = 0;; ++i) {
                co_await c.send(i);
                co_await ringo::yield();
            }
        });
        auto dialling = spawn([&l]() -> task<> {
            for (int i = 0; i < clients; ++i) {
                conn one = co_await dial(l.local());
                co_await one.write(std::string(1, static_cast<char>(i)));
                co_await yield_times(i % 4);
            }
        });
        auto server = spawn(on(core), [&]() -> task<std::vector<int>> {
            std::vector<int> seen(256);
            for (int accepted = 0; accepted < clients;) {
                auto r = co_await select(l.accept(), quiet.accept(), c.recv(), ringo::sleep(20us));
                if (r.index() == 0) {
                    conn one = std::get<0>(std::move(r));
                    char name = 0;
                    co_await one.read_exactly({&name, 1});
                    ++seen[static_cast<unsigned char>(name)];
                    ++accepted;
                }
                REQUIRE(r.index() != 1);
            }
            const auto rest = co_await select(l.accept(), otherwise);
            CHECK(rest.index() == 1);
            co_return seen;
        });
        const std::vector<int> seen = co_await server;
        for (int i = 0; i < 256; ++i) {
            CHECK(seen[static_cast<std::size_t>(i)] == (i < clients - 256 ? 2 : 1));
        }
        co_await dialling;
        rival.cancel();
    });
}

TEST_CASE("a_select_with_otherwise_accepts_what_the_kernel_has") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        listener l = listen(fresh(where));
        auto tries = spawn(on(core), [&]() -> task<> {
            const auto nothing = co_await select(l.accept(), otherwise);
            CHECK(nothing.index() == 1);
            const conn client = co_await dial(l.local());
            auto r = co_await select(l.accept(), otherwise);
            REQUIRE(r.index() == 0);
            CHECK(std::get<0>(r).is_open());
        });
        co_await tries;
    });
}

TEST_CASE("accepts_and_selects_stand_in_one_line") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        listener l = listen(fresh(where));
        std::vector<int> order;
        std::vector<ringo::join_handle<void>> all;
        chan<int> never;
        std::atomic<int> waiting = 0;
        for (int i = 0; i < 10; ++i) {
            all.push_back(spawn(on(core), [&, i]() -> task<> {
                ++waiting;
                if (i % 2 == 0) {
                    const conn c = co_await l.accept();
                } else {
                    const auto r = co_await select(never.recv(), l.accept());
                    CHECK(r.index() == 1);
                }
                order.push_back(i);
            }));
        }
        co_await until([&] { return waiting == 10; });
        co_await yield_times(2);
        for (auto& one : all) {
            const conn c = co_await dial(l.local());
            co_await one;
        }
        CHECK(std::is_sorted(order.begin(), order.end()));
    });
}

// --- what may happen meanwhile ---

TEST_CASE("close_ends_a_select_that_waits") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        for (int i = 0; i < 40; ++i) {
            connection both = co_await connect(fresh(where));
            listener l = listen(fresh(where));
            if (i % 2 == 0) {
                co_await receive_here(both.server, both.client);
            }
            const auto wait = [](conn& c, listener& a) -> task<> {
                std::string buffer(10, ' ');
                co_await select(c.read(buffer), a.accept());
            };
            // The first ends by its conn, the second by its listener.
            connection other = co_await connect(fresh(where));
            listener open = listen(fresh(where));
            auto reads = spawn(on(core), [&]() -> task<failure> {
                co_return co_await failure_of(wait(both.server, open));
            });
            auto accepts = spawn(on(core), [&]() -> task<failure> {
                co_return co_await failure_of(wait(other.server, l));
            });
            co_await test::until_parked(core, reads, "select");
            co_await test::until_parked(core, accepts, "select");
            if (i % 4 < 2) {
                l.close();
                co_await both.server.close();
            } else {
                const conn closing = std::move(both.server);
                l.close();
            }
            CHECK((co_await accepts).code == errc::closed);
            CHECK((co_await reads).code == errc::closed);
        }
    });
}

TEST_CASE("close_ends_a_select_that_waits_to_write") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        connection both = co_await connect(fresh(where));
        co_await fill(both);
        const std::string piece(100, 'x');
        auto writes = spawn(on(core), [&]() -> task<failure> {
            co_return co_await failure_of([](auto& c, auto& p) -> task<> {
                chan<int> never;
                co_await select(never.recv(), c.write_some(p));
            }(both.client, piece));
        });
        co_await test::until_parked(core, writes, "select");
        co_await both.client.close();
        CHECK((co_await writes).code == errc::closed);
    });
}

TEST_CASE("a_reset_ends_a_select_with_its_reason") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (std::size_t core : {std::size_t{0}, other_core()}) {
            connection both = co_await connect();
            auto reads = spawn(on(core), [&]() -> task<failure> {
                co_return co_await failure_of([](auto& c) -> task<> {
                    chan<int> never;
                    std::string buffer(10, ' ');
                    co_await select(never.recv(), c.read(buffer));
                }(both.server));
            });
            co_await test::until_parked(core, reads, "select");
            const linger at_once{.l_onoff = 1, .l_linger = 0};
            ::setsockopt(both.client.descriptor(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            const std::string name = both.server.local().to_string();
            co_await both.client.close();
            const failure f = co_await reads;
            CHECK(f.code == std::errc::connection_reset);
            CHECK(test::contains(f.text, "read " + name));
            const auto w =
                co_await as_result(select(both.server.write_some("abc"), ringo::sleep(10s)));
            REQUIRE(!w);
            CHECK(w.error() == std::errc::broken_pipe);
        }
    });
}

TEST_CASE("a_select_of_sockets_is_cancelled_without_effect") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        connection in = co_await connect(fresh(where));
        connection out = co_await connect(fresh(where));
        listener l = listen(fresh(where));
        std::uint64_t sent = co_await fill(out);
        std::string expected;
        std::string got;
        for (int i = 0; i < 120; ++i) {  // few enough for the kernel to keep all of it
            std::atomic<bool> started = false;
            auto waits = spawn(on(core), [&]() -> task<std::string> {
                started = true;
                std::string buffer(10, ' ');
                const auto r = co_await as_result(
                    select(in.server.read(buffer), out.client.write_some("lost"), l.accept()));
                if (!r) {
                    CHECK(r.error() == std::errc::operation_canceled);
                    co_return "";
                }
                if (r->index() == 1) {
                    sent += std::get<1>(*r);  // there was some room after all
                    co_return "";
                }
                co_return buffer.substr(0, std::get<0>(*r));
            });
            if (i % 4 != 0) {
                co_await until([&] { return started.load(); });
            }
            co_await yield_times(i % 5);
            const std::string piece = test::patterned(4, expected.size());
            expected += piece;
            co_await in.client.write(piece);
            co_await yield_times(i / 5 % 5);
            waits.cancel();
            got += co_await waits;
        }
        in.client.close_write();
        got += co_await test::read_all(in.server);
        CHECK(got == expected);
        out.client.close_write();
        const std::string all = co_await test::read_all(out.server);
        CHECK(all.size() == sent);
        const auto none = co_await select(l.accept(), otherwise);
        CHECK(none.index() == 1);
    });
}

TEST_CASE("timeout_within_and_as_result_take_selects_of_sockets") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t) -> task<> {
        connection both = co_await connect(fresh(where));
        listener l = listen(fresh(where));
        std::string buffer(10, ' ');
        chan<int> never;
        const auto late = co_await as_result(
            ringo::timeout(1ms, select(both.server.read(buffer), l.accept(), never.recv())));
        REQUIRE(!late);
        CHECK(late.error() == std::errc::timed_out);
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        const auto r = co_await as_result(
            ringo::within(scope, select(both.server.write_some("x"), never.recv())));
        REQUIRE(!r);
        CHECK(r.error() == std::errc::operation_canceled);
        co_await both.client.write("abc");
        const auto ok = co_await ringo::timeout(10s, select(both.server.read(buffer), l.accept()));
        CHECK(std::get<0>(ok) == 3);
    });
}

// Whoever ends a select may free what its losers wait for before they have left it.
TEST_CASE("what_a_select_has_lost_on_may_go_at_once") {
    const no_descriptor_leaks check;
    at_each([](const std::string& where, std::size_t core) -> task<> {
        for (int i = 0; i < 100; ++i) {
            auto both = std::make_unique<connection>(co_await connect(fresh(where)));
            auto l = std::make_unique<listener>(listen(fresh(where)));
            chan<int> c;
            if (i % 2 == 0) {
                co_await receive_here(both->server, both->client);
            }
            auto waits = spawn(on(core), [&, c]() -> task<> {
                std::string buffer(10, ' ');
                const auto r = co_await select(both->server.read(buffer), l->accept(), c.recv());
                CHECK(r.index() == 2);
            });
            co_await c.send(i);
            l.reset();
            both.reset();
            co_await waits;
        }
    });
}

TEST_CASE("go_73_a_run_ends_with_selects_of_sockets_pending") {
    const no_descriptor_leaks check;
    for (const std::string& where : addresses()) {
        std::optional<connection> both;
        std::optional<connection> full;
        std::optional<listener> l;
        run([&]() -> task<> {
            both.emplace(co_await connect(fresh(where)));
            full.emplace(co_await connect(fresh(where)));
            l.emplace(listen(fresh(where)));
            co_await fill(*full);
            for (const std::size_t core : {std::size_t{0}, other_core()}) {
                ringo::go(on(core), [&, core]() -> task<> {
                    std::string buffer(10, ' ');
                    conn& mine = core == 0 ? both->server : both->client;
                    co_await select(mine.read(buffer), full->client.write_some("x"), l->accept(),
                                    ringo::poll(mine.descriptor(), POLLPRI));
                });
                if (test::one_core_only()) {
                    break;
                }
            }
            co_await yield_times(10);
        });
    }
}

// --- poll ---

namespace {

class pipe_pair {
public:
    pipe_pair() { REQUIRE(::pipe2(fds_, O_CLOEXEC | O_NONBLOCK) == 0); }
    pipe_pair(const pipe_pair&) = delete;
    pipe_pair& operator=(const pipe_pair&) = delete;
    ~pipe_pair() {
        ::close(fds_[0]);
        close_out();
    }
    int in() const { return fds_[0]; }
    int out() const { return fds_[1]; }
    void put() const { REQUIRE(::write(fds_[1], "x", 1) == 1); }
    bool take() const {
        char c = 0;
        return ::read(fds_[0], &c, 1) == 1;
    }
    void close_out() {
        if (fds_[1] >= 0) {
            ::close(std::exchange(fds_[1], -1));
        }
    }

private:
    int fds_[2] = {-1, -1};
};

}  // namespace

TEST_CASE("poll_says_what_has_come") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        pipe_pair p;
        CHECK(co_await ringo::poll(p.out(), POLLOUT) == POLLOUT);
        auto waits =
            spawn([&]() -> task<short> { co_return co_await ringo::poll(p.in(), POLLIN); });
        co_await yield_times(5);
        CHECK_FALSE(waits.done());
        p.put();
        CHECK(co_await waits == POLLIN);
        CHECK(co_await ringo::poll(p.in(), POLLIN) == POLLIN);  // it takes nothing
        CHECK(p.take());
        p.close_out();
        CHECK((co_await ringo::poll(p.in(), POLLIN) & POLLHUP) != 0);
    });
}

TEST_CASE("poll_of_what_is_no_descriptor_names_it") {
    run([]() -> task<> {
        const auto wait_for = [](int fd) -> task<> { co_await ringo::poll(fd, POLLIN); };
        const auto choose = [](int fd) -> task<> {
            co_await select(ringo::poll(fd, POLLIN), ringo::sleep(10s));
        };
        for (const int fd : {-1, 1'000'000}) {
            const std::string text = "poll " + std::to_string(fd) + ": Bad file descriptor";
            const failure f = co_await failure_of(wait_for(fd));
            CHECK(f.code == std::errc::bad_file_descriptor);
            CHECK(f.text == text);
            const failure s = co_await failure_of(choose(fd));
            CHECK(s.code == std::errc::bad_file_descriptor);
            CHECK(s.text == text);
        }
    });
}

TEST_CASE("poll_is_cancelled_and_its_descriptor_may_be_closed_at_once") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (int i = 0; i < 200; ++i) {
            pipe_pair p;
            auto waits = spawn(on(i % 2 == 0 ? 0 : other_core()), [&]() -> task<> {
                const auto r = co_await as_result(ringo::poll(p.in(), POLLIN));
                CHECK((r || r.error() == std::errc::operation_canceled));
            });
            co_await yield_times(i % 5);
            if (i % 3 == 0) {
                p.put();
            }
            waits.cancel();
            co_await waits;
        }
        pipe_pair p;
        const auto r = co_await as_result(ringo::timeout(1ms, ringo::poll(p.in(), POLLIN)));
        REQUIRE(!r);
        CHECK(r.error() == std::errc::timed_out);
    });
}

TEST_CASE("poll_wins_and_loses_in_a_select") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        pipe_pair p;
        pipe_pair never;
        chan<int> c;
        constexpr int rounds = 2'000;
        auto writer = spawn(on(other_core()), [&]() -> task<> {
            for (int i = 0; i < rounds; ++i) {
                p.put();
                co_await yield_times(i % 3);
            }
        });
        auto rival = spawn([c]() -> task<> {
            for (int i = 0;; ++i) {
                co_await c.send(i);
                co_await yield_times(i % 4);
            }
        });
        int taken = 0;
        int next = 0;
        while (taken < rounds) {
            const auto r = co_await select(ringo::poll(p.in(), POLLIN), c.recv(),
                                           ringo::sleep(20us), ringo::poll(never.in(), POLLIN));
            REQUIRE(r.index() != 3);
            if (r.index() == 0) {
                REQUIRE(std::get<0>(r) == POLLIN);
                REQUIRE(p.take());
                ++taken;
            } else if (r.index() == 1) {
                REQUIRE(std::get<1>(r) == next++);
            }
        }
        const auto none = co_await select(ringo::poll(p.in(), POLLIN), otherwise);
        CHECK(none.index() == 1);
        const auto room = co_await select(ringo::poll(p.out(), POLLOUT), otherwise);
        CHECK(room.index() == 0);
        co_await writer;
        rival.cancel();
    });
}
