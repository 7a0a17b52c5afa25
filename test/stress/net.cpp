// Many connections, TCP and Unix, that write, read, half-close, are cancelled, time out, move
// between cores and are closed while in use. Each byte is accounted for: what a writer was told is
// what its reader gets, in order, and nothing else.
// RINGO_STRESS scales it (default 1), RINGO_SEED repeats it.
#include <doctest/doctest.h>

#include "../sockets.hpp"
#include "random.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::errc;
using ringo::spawn;
using ringo::task;
using ringo::net::conn;
using test::connection;
using test::generator;

namespace {

using std::uint64_t;

struct counts {
    std::atomic<uint64_t> bytes = 0;
    std::atomic<uint64_t> cut = 0;     // operations that were cancelled or late
    std::atomic<uint64_t> closed = 0;  // connections that were closed while in use
    std::atomic<uint64_t> moved = 0;
    std::atomic<uint64_t> wrong = 0;  // what should never happen
};

/// One direction of a connection.
struct stream {
    uint64_t sent = 0;             // what the writer knows that it wrote
    uint64_t received = 0;         // ... and the reader that it read
    bool sent_is_a_bound = false;  // the writer failed by a close, which says no number
    bool ended = false;            // the reader saw the end of the stream
};

/// What the goroutines of one connection share. Each owns it, as they may end in any order when
/// the run does. The same goes for the buffer of an operation that another goroutine awaits.
struct conversation {
    connection both;
    stream up;    // from the client
    stream down;  // from the server
};
using shared = std::shared_ptr<conversation>;
using shared_data = std::shared_ptr<std::string>;

std::size_t some_size(generator& random) {
    constexpr std::size_t most[] = {16, 1000, 9000, 200'000};
    return 1 + random() % most[random() % 4];
}

ringo::duration short_time(generator& random) { return std::chrono::microseconds(random() % 200); }

ringo::place somewhere(generator& random) { return ringo::on(random() % ringo::cores()); }

bool by_context(std::error_code e) {
    return e == std::errc::operation_canceled || e == std::errc::timed_out;
}
/// What a connection may answer that one side has closed.
bool by_close(std::error_code e) {
    return e == errc::closed || e == std::errc::broken_pipe || e == std::errc::connection_reset;
}

/// Runs `what`. At the end of a run one side may go before the other, whose peer then is gone.
task<> unless_the_run_ends(task<> what) {
    try {
        co_await std::move(what);
    } catch (const std::system_error& e) {
        if (!by_close(e.code()) || !ringo::this_context().cancelled()) {
            throw;
        }
    }
}

struct outcome {
    std::size_t bytes = 0;
    std::error_code error;
};

/// One write of `data`, all or some of it, and how far it came.
task<outcome> write_once(shared t, bool up, shared_data data, bool all) {
    conn& c = up ? t->both.client : t->both.server;
    outcome w;
    try {
        if (all) {
            co_await c.write(*data);
            w.bytes = data->size();
        } else {
            w.bytes = co_await c.write_some(*data);
        }
    } catch (const ringo::cancelled& e) {
        w = {e.bytes(), e.code()};
    } catch (const ringo::deadline_exceeded& e) {
        w = {e.bytes(), e.code()};
    } catch (const std::system_error& e) {
        w = {0, e.code()};
    }
    co_return w;
}

using step = task<outcome> (*)(shared t, bool up, shared_data data, bool all);

/// A step under a deadline, cancelled from beside, or undisturbed.
task<outcome> disturbed(step what, shared t, bool up, shared_data data, bool all,
                        generator& random) {
    switch (random() % 4) {
        case 0: {
            auto scope = ringo::with_timeout(ringo::this_context(), short_time(random));
            co_return co_await ringo::within(scope, what(t, up, data, all));
        }
        case 1: {
            auto other = spawn(somewhere(random), what, t, up, data, all);
            if (random() % 2 == 0) {
                co_await test::yield_times(static_cast<int>(random() % 4));
            } else {
                co_await ringo::sleep(short_time(random));
            }
            other.cancel();
            const auto r = co_await as_result(other);
            if (!r && ringo::this_context().cancelled()) {
                co_await ringo::yield();  // throws: the run ends, and `other` may still be at it
            }
            // Cancelled before its first step: it has done nothing.
            co_return r ? *r : outcome{0, r.error()};
        }
        default:
            co_return co_await what(t, up, data, all);
    }
}

/// Writes until it has written about `target` bytes, or the connection is closed.
task<> write_stream(shared t, bool up, counts& n, uint64_t target, std::uint32_t seed) {
    generator random(seed);
    stream& s = up ? t->up : t->down;
    while (s.sent < target) {
        const auto data = std::make_shared<std::string>(test::patterned(some_size(random), s.sent));
        const bool all = random() % 2 == 0;
        const outcome w = co_await disturbed(&write_once, t, up, data, all, random);
        s.sent += w.bytes;
        n.wrong += w.bytes > data->size() ? 1 : 0;
        if (by_context(w.error)) {
            ++n.cut;
        } else if (w.error) {
            n.wrong += by_close(w.error) ? 0 : 1;
            s.sent_is_a_bound = true;
            co_return;
        }
    }
    (up ? t->both.client : t->both.server).close_write();
}

/// One read into `data`, all of it or what there is, and how far it came.
task<outcome> read_once(shared t, bool up, shared_data data, bool all) {
    conn& c = up ? t->both.server : t->both.client;
    outcome r;
    try {
        if (all) {
            co_await c.read_exactly(*data);
            r.bytes = data->size();
        } else {
            r.bytes = co_await c.read(*data);
        }
    } catch (const ringo::cancelled& e) {
        r = {e.bytes(), e.code()};
    } catch (const ringo::deadline_exceeded& e) {
        r = {e.bytes(), e.code()};
    } catch (const std::system_error& e) {
        r = {0, e.code()};
    }
    co_return r;
}

/// Reads to the end of the stream, or until the connection is closed.
task<> read_stream(shared t, bool up, counts& n, uint64_t target, std::uint32_t seed) {
    generator random(seed);
    stream& s = up ? t->up : t->down;
    while (true) {
        const auto data = std::make_shared<std::string>(some_size(random), '\0');
        // Only where the stream is known to be that long: at its end, the count would be lost.
        const bool exactly = random() % 3 == 0 && s.received + data->size() <= target;
        const outcome r = co_await disturbed(&read_once, t, up, data, exactly, random);
        n.wrong += test::has_pattern(data->data(), r.bytes, s.received) ? 0 : 1;
        s.received += r.bytes;
        if (by_context(r.error)) {
            ++n.cut;
        } else if (r.error) {
            n.wrong += by_close(r.error) || r.error == errc::end_of_stream ? 0 : 1;
            co_return;
        } else if (r.bytes == 0) {
            s.ended = true;
            co_return;
        }
    }
}

task<> close_later(shared t, bool up, counts& n, std::uint32_t seed) {
    generator random(seed);
    co_await ringo::sleep(5 * short_time(random));
    ++n.closed;
    co_await (up ? t->both.client : t->both.server).close();
}

void go_on_echoing(conn c, counts& n, uint64_t left, generator random);

/// A server that answers with what it gets, one piece at a time, each on another core.
task<> echo_moving(conn c, counts& n, uint64_t left, generator random) {
    std::string buffer(1 + some_size(random) % 5000, '\0');
    const std::size_t got = co_await c.read(buffer);
    if (got == 0) {
        c.close_write();
        n.wrong += left == 0 ? 0 : 1;
        co_return;
    }
    n.wrong += got > left ? 1 : 0;
    co_await c.write({buffer.data(), got});
    ++n.moved;
    go_on_echoing(std::move(c), n, left - got, random);
}

void go_on_echoing(conn c, counts& n, uint64_t left, generator random) {
    const auto place = somewhere(random);
    ringo::go(place, unless_the_run_ends(echo_moving(std::move(c), n, left, random)));
}

/// Mostly Unix: each TCP connection leaves a port behind that the machine keeps for a minute.
std::string where(generator& random, unsigned number) {
    return random() % 5 == 0 ? test::own_address()
                             : test::unix_address("stress" + std::to_string(number));
}

/// Both directions at once, and perhaps a close in the middle.
task<> talk(counts& n, unsigned number, std::uint32_t seed) {
    generator random(seed);
    const auto t = std::make_shared<conversation>();
    t->both = co_await test::connect(where(random, number));
    if (random() % 4 == 0) {
        t->both.client.set_send_buffer(10'000);
    }
    const uint64_t target_up = some_size(random) + some_size(random);
    const uint64_t target_down = some_size(random);
    std::vector<ringo::join_handle<void>> parts;
    const auto part = [&](auto f, bool up, auto... more) {
        parts.push_back(spawn(somewhere(random), f, t, up, std::ref(n), more...,
                              static_cast<std::uint32_t>(random())));
    };
    part(&write_stream, true, target_up);
    part(&read_stream, true, target_up);
    part(&write_stream, false, target_down);
    part(&read_stream, false, target_down);
    const bool closes = random() % 3 == 0;
    if (closes) {
        part(&close_later, random() % 2 == 0);
    }
    for (auto& p : parts) {
        co_await p;
    }
    for (const stream& s : {t->up, t->down}) {
        n.bytes += s.received;
        if (!closes) {
            n.wrong += s.ended && !s.sent_is_a_bound && s.received == s.sent ? 0 : 1;
        } else if (!s.sent_is_a_bound) {
            n.wrong += s.received > s.sent ? 1 : 0;
        }
    }
}

/// A client of `echo_moving`.
task<> ask(counts& n, unsigned number, std::uint32_t seed) {
    generator random(seed);
    connection both = co_await test::connect(where(random, number));
    const auto c = std::make_shared<conn>(std::move(both.client));
    const uint64_t target = some_size(random) % 20'000 + 1;
    go_on_echoing(std::move(both.server), n, target, generator(seed + 1));
    const auto write_all = [](std::shared_ptr<conn> to, uint64_t size) -> task<> {
        const std::string all = test::patterned(size);
        co_await to->write(all);
        to->close_write();
    };
    auto writer = spawn(somewhere(random), unless_the_run_ends(write_all(c, target)));
    const std::string answer = co_await test::read_all(*c);
    n.wrong += answer == test::patterned(target) ? 0 : 1;
    n.bytes += answer.size();
    co_await writer;
}

/// Some connections at a time, until `left` have been served.
task<> worker(counts& n, std::atomic<int>& left, std::uint32_t seed) {
    generator random(seed);
    for (int number = --left; number >= 0; number = --left) {
        const auto s = static_cast<std::uint32_t>(random());
        if (random() % 4 == 0) {
            co_await ask(n, static_cast<unsigned>(number), s);
        } else {
            co_await talk(n, static_cast<unsigned>(number), s);
        }
    }
}

}  // namespace

TEST_CASE("no_byte_is_lost_doubled_or_out_of_order") {
    const auto scale = static_cast<int>(test::stress_scale());
    const std::uint32_t seed = test::stress_seed();
    for (const unsigned cores : {1U, 2U, 4U}) {
        CAPTURE(seed);
        CAPTURE(cores);
        const test::no_descriptor_leaks check;
        counts n;
        ringo::run(
            [&]() -> task<> {
                generator random(seed);
                std::atomic<int> left = static_cast<int>(test::many(1500)) * scale;
                std::vector<ringo::join_handle<void>> workers;
                for (int i = 0; i < 24; ++i) {
                    workers.push_back(spawn(somewhere(random), worker, std::ref(n), std::ref(left),
                                            static_cast<std::uint32_t>(random())));
                }
                for (auto& w : workers) {
                    co_await w;
                }
                while (ringo::num_goroutines() > 1) {
                    co_await ringo::sleep(100us);
                }
            },
            {.cores = cores});
        CHECK(n.wrong == 0);
        CHECK(n.bytes > 0);
        CHECK(n.cut > 0);
        CHECK(n.closed > 0);
        CHECK(n.moved > 0);
    }
}

TEST_CASE("a_run_may_end_in_the_middle_of_it") {
    const auto scale = test::stress_scale();
    const std::uint32_t seed = test::stress_seed();
    for (std::uint32_t round = 0; round < test::many(150) * scale; ++round) {
        CAPTURE(seed);
        CAPTURE(round);
        const test::no_descriptor_leaks check;
        counts n;
        std::atomic<int> left = 1'000'000;
        const auto grace = round % 4 == 0 ? 0ms : 10'000ms;
        ringo::run(
            [&]() -> task<> {
                generator random(seed + round);
                for (int i = 0; i < 8; ++i) {
                    ringo::go(
                        somewhere(random),
                        unless_the_run_ends(worker(n, left, static_cast<std::uint32_t>(random()))));
                }
                co_await ringo::sleep(std::chrono::microseconds(random() % 5000));
            },
            {.cores = 1 + round % 4, .shutdown_grace = grace});
    }
}
