#include <doctest/doctest.h>

#include "conformance/placements.hpp"
#include "counted.hpp"
#include "misuse.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::chan;
using ringo::join_handle;
using ringo::recv_chan;
using ringo::select;
using ringo::send_chan;
using ringo::spawn;
using ringo::task;
using ringo::timeout;
using ringo::within;
using ringo::yield;
using test::counted;
using test::placement;
using test::until_parked;

// --- what compiles ---

namespace {

template <class C, class V>
concept can_send = requires(const C& c, V&& v) {
    c.send(std::forward<V>(v));
    c.try_send(std::forward<V>(v));
    c.close();
};
template <class C>
concept can_receive = requires(const C& c) {
    c.recv();
    c.try_recv();
};
template <class Op>
concept copied = requires(const Op& op) {
    Op(op);
};

using owner = std::unique_ptr<int>;

static_assert(can_send<chan<int>, int> && can_receive<chan<int>>);
static_assert(can_send<send_chan<int>, int> && !can_receive<send_chan<int>>);
static_assert(can_receive<recv_chan<int>> && !can_send<recv_chan<int>, int>);
static_assert(can_send<chan<owner>, owner> && !can_send<chan<owner>, const owner&>);
static_assert(std::is_convertible_v<chan<int>, send_chan<int>>);
static_assert(std::is_convertible_v<chan<int>, recv_chan<int>>);
static_assert(!std::is_convertible_v<send_chan<int>, recv_chan<int>>);
static_assert(!std::is_convertible_v<recv_chan<int>, chan<int>>);
static_assert(!std::is_convertible_v<send_chan<int>, chan<int>>);
static_assert(!std::is_convertible_v<int, chan<int>>, "a capacity is given, not converted");
static_assert(std::is_convertible_v<std::nullptr_t, chan<int>>);
static_assert(!std::is_constructible_v<chan<int>, double>);
static_assert(std::is_nothrow_move_constructible_v<chan<int>>);
static_assert(!copied<decltype(std::declval<chan<int>>().recv())>);
static_assert(!copied<decltype(std::declval<chan<int>>().send(1))>);

template <class T>
bool would_block(const ringo::result<T>& r) {
    return !r.has_value() && r.error() == ringo::errc::would_block;
}
template <class T>
bool says_closed(const ringo::result<T>& r) {
    return !r.has_value() && r.error() == ringo::errc::channel_closed;
}

// --- kinds of values ---

/// Copies and moves may throw, and leave a mark in what they leave behind.
struct throws_on_move {
    explicit throws_on_move(int n) : value(std::make_unique<int>(n)) {}
    throws_on_move(const throws_on_move& other) : value(copy(other)) {}
    throws_on_move(throws_on_move&& other) noexcept(false) : value(std::move(other.value)) {}
    throws_on_move& operator=(throws_on_move&&) = default;
    bool is(int n) const { return value != nullptr && *value == n; }
    static owner copy(const throws_on_move& other) { return std::make_unique<int>(*other.value); }
    owner value;
};
struct throws_on_move_only {
    explicit throws_on_move_only(int n) : value(std::make_unique<int>(n)) {}
    throws_on_move_only(throws_on_move_only&& other) noexcept(false)
        : value(std::move(other.value)) {}
    throws_on_move_only& operator=(throws_on_move_only&& other) noexcept(false) {
        value = std::move(other.value);
        return *this;
    }
    bool is(int n) const { return value != nullptr && *value == n; }
    owner value;
};
struct move_only {
    explicit move_only(int n) : value(std::make_unique<int>(n)) {}
    bool is(int n) const { return value != nullptr && *value == n; }
    owner value;
};
struct text {
    explicit text(int n) : value(std::to_string(n) + std::string(100, 'x')) {}
    bool is(int n) const { return value == std::to_string(n) + std::string(100, 'x'); }
    std::string value;
};

/// A channel of T between the two places, through every form of send and receive.
template <class T>
task<> carries(placement p) {
    constexpr bool copies = std::is_copy_constructible_v<T>;
    for (const int capacity : {0, 1, 5}) {
        const chan<T> c(capacity);
        const chan<int> never;
        auto sends = spawn(
            p.wakes(),
            [](send_chan<T> out, chan<int> other) -> task<> {
                for (int i = 0; i < 24; i += 4) {
                    co_await out.send(T(i));
                    T value(i + 1);
                    if constexpr (copies) {
                        co_await out.send(value);
                        CHECK(value.is(i + 1));
                    } else {
                        co_await out.send(std::move(value));
                    }
                    co_await select(out.send(T(i + 2)), other.recv());
                    T last(i + 3);
                    while (!out.try_send(std::move(last))) {
                        CHECK(last.is(i + 3));
                        co_await yield();
                    }
                }
                out.close();
            },
            c, never);
        auto receives = spawn(
            p.waits(),
            [](recv_chan<T> in, chan<int> other) -> task<int> {
                for (int n = 0;; ++n) {
                    std::optional<T> v;
                    if (n % 4 == 1) {
                        auto r = co_await select(other.recv(), in.recv());
                        if (auto& got = std::get<1>(r)) {
                            v.emplace(*std::move(got));
                        }
                    } else if (n % 4 == 0) {
                        for (auto r = in.try_recv(); !v && !says_closed(r); r = in.try_recv()) {
                            if (r.has_value()) {
                                v.emplace(*std::move(r));
                                break;
                            }
                            co_await yield();
                        }
                    } else if (auto got = co_await in.recv()) {
                        v.emplace(*std::move(got));
                    }
                    if (!v) {
                        co_return n;
                    }
                    CHECK(v->is(n));
                }
            },
            c, never);
        const int n = co_await receives;
        CHECK(n == 24);
        co_await sends;
    }
}

}  // namespace

// Values that are bytes are carried in every size by conformance/chan.cpp.
TEST_CASE_TEMPLATE("carries_every_kind_of_value", T, text, move_only, throws_on_move,
                   throws_on_move_only) {
    for (const placement& p : {placement{1, 0, 0}, placement{2, 1, 0}}) {
        ringo::run([&]() -> task<> { return carries<T>(p); }, {.cores = p.cores});
    }
}

TEST_CASE("carries_bools_optionals_strings_and_channels") {
    ringo::run([]() -> task<> {
        const chan<bool> bools(2);
        co_await bools.send(true);
        const bool no = false;
        co_await bools.send(no);
        CHECK(bools.try_recv() == true);
        CHECK(bools.try_recv() == false);

        const chan<std::optional<int>> maybes(2);
        co_await maybes.send(std::nullopt);
        co_await maybes.send(5);
        auto nothing = co_await maybes.recv();
        CHECK((nothing.has_value() && !nothing->has_value()));
        auto something = co_await maybes.recv();
        CHECK(something->value() == 5);

        const chan<std::string> strings;
        auto echo = spawn([strings]() -> task<> {
            const auto s = co_await strings.recv();
            co_await strings.send(*s + *s);
        });
        co_await strings.send(std::string(100, 'x'));
        CHECK(co_await strings.recv() == std::string(200, 'x'));
        co_await echo;

        // A reply channel inside a request, as Go does it.
        const chan<chan<int>> requests;
        auto server = spawn([requests]() -> task<> {
            while (const auto reply = co_await requests.recv()) {
                co_await reply->send(42);
            }
        });
        const chan<int> mine;
        co_await requests.send(mine);
        CHECK(co_await mine.recv() == 42);
        co_await requests.send(chan<int>(1));  // whose answer nobody awaits
        requests.close();
        co_await server;
    });
}

// --- a value that is not sent stays ---

namespace {

template <class T>
task<> keeps(chan<T> full, chan<T> closed) {
    T v(7);
    CHECK_FALSE(full.try_send(std::move(v)));
    CHECK(v.is(7));
    CHECK_THROWS_AS(closed.try_send(std::move(v)), ringo::channel_closed);
    CHECK(v.is(7));
    CHECK_THROWS_AS(co_await closed.send(std::move(v)), ringo::channel_closed);
    CHECK(v.is(7));
    CHECK_THROWS_AS(co_await timeout(1s, full.send(std::move(v))), ringo::deadline_exceeded);
    CHECK(v.is(7));
    CHECK_THROWS_AS(co_await full.send_until(std::move(v), ringo::time_point(5s)),
                    ringo::deadline_exceeded);
    CHECK(v.is(7));
    const ringo::result<void> refused = co_await as_result(closed.send(std::move(v)));
    CHECK(refused.error() == ringo::errc::channel_closed);
    CHECK(v.is(7));
    const ringo::result<void> late = co_await as_result(timeout(1s, full.send(std::move(v))));
    CHECK(late.error() == std::errc::timed_out);
    CHECK(v.is(7));
    {
        auto r = co_await select(full.send(std::move(v)), ringo::sleep(1s));
        CHECK(r.index() == 1);
    }
    CHECK(v.is(7));
    {
        auto r = co_await select(full.send(std::move(v)), ringo::otherwise);
        CHECK(r.index() == 1);
    }
    CHECK(v.is(7));
    CHECK_THROWS_AS(co_await select(closed.send(std::move(v)), full.send(T(8))),
                    ringo::channel_closed);
    CHECK(v.is(7));
    if constexpr (std::is_copy_constructible_v<T>) {
        CHECK_FALSE(full.try_send(v));
        CHECK_THROWS_AS(co_await closed.send(v), ringo::channel_closed);
        CHECK_THROWS_AS(co_await timeout(1s, full.send(v)), ringo::deadline_exceeded);
        CHECK(v.is(7));
    }
    auto ended = ringo::with_cancel(ringo::this_context());
    ended.cancel();
    CHECK_THROWS_AS(co_await within(ended, full.send(std::move(v))), ringo::cancelled);
    CHECK(v.is(7));
    // At last it goes.
    auto takes = spawn([full]() -> task<bool> {
        const auto got = co_await full.recv();
        co_return got->is(7);
    });
    co_await full.send(std::move(v));
    CHECK(co_await takes);
}

}  // namespace

TEST_CASE_TEMPLATE("a_value_that_is_not_sent_stays_with_the_sender", T, move_only, throws_on_move) {
    test::virtual_run([]() -> task<> {
        const chan<T> full;
        const chan<T> closed(1);
        closed.close();
        co_await keeps<T>(full, closed);
    });
}

TEST_CASE_TEMPLATE("a_value_that_a_close_finds_waiting_stays_with_the_sender", T, text,
                   throws_on_move_only) {
    for (const placement& p : {placement{1, 0, 0}, placement{2, 1, 0}}) {
        ringo::run(
            [p]() -> task<> {
                const chan<T> c;
                auto sends = spawn(
                    p.waits(),
                    [](send_chan<T> out) -> task<> {
                        T v(7);
                        CHECK_THROWS_AS(co_await out.send(std::move(v)), ringo::channel_closed);
                        CHECK(v.is(7));
                    },
                    c);
                co_await until_parked(p.waiter, sends, "chan send");
                c.close();
                co_await sends;
            },
            {.cores = p.cores});
    }
}

TEST_CASE("a_blocking_send_that_fails_leaves_the_value_with_the_caller") {
    const chan<owner> closed;
    closed.close();
    auto v = std::make_unique<int>(7);
    CHECK_THROWS_AS(closed.send_blocking(std::move(v)), ringo::channel_closed);
    CHECK((v != nullptr && *v == 7));
}

namespace {

/// Throws at its `n`th move.
struct throws_at {
    explicit throws_at(int n) : left(n) {}
    throws_at(throws_at&& other) noexcept(false) : left(other.left - 1) {
        if (left == 0) {
            throw std::runtime_error("the move");
        }
    }
    throws_at& operator=(throws_at&& other) noexcept(false) {
        left = other.left;
        return *this;
    }
    int left;
};

}  // namespace

TEST_CASE("what_a_move_throws_reaches_the_one_who_moves") {
    ringo::run([]() -> task<> {
        // By the sender: nothing was sent. By the receiver: the value is gone, the channel works.
        const chan<throws_at> c(3);
        CHECK_THROWS_WITH(co_await c.send(throws_at(1)), "the move");
        CHECK_THROWS_WITH(c.try_send(throws_at(1)), "the move");
        CHECK_THROWS_WITH(co_await select(c.send(throws_at(1)), c.recv()), "the move");
        CHECK(c.len() == 0);
        co_await c.send(throws_at(2));
        co_await c.send(throws_at(2));
        co_await c.send(throws_at(100));
        CHECK_THROWS_WITH(co_await c.recv(), "the move");
        CHECK_THROWS_WITH((void)c.try_recv(), "the move");
        CHECK(c.len() == 1);
        const auto v = co_await c.recv();
        CHECK(v.has_value());
    });
}

namespace {

struct alignas(256) over_aligned {
    explicit over_aligned(int n) noexcept : value(n) { check(); }
    over_aligned(over_aligned&& other) noexcept : value(other.value) { check(); }
    ~over_aligned() { check(); }
    void check() const { CHECK(reinterpret_cast<std::uintptr_t>(this) % 256 == 0); }
    int value;
};

}  // namespace

TEST_CASE("over_aligned_values_are_aligned_in_the_buffer") {
    // In no coroutine: compilers do not align their frames for them.
    const chan<over_aligned> c(3);
    for (int round = 0; round < 5; ++round) {
        CHECK(c.try_send(over_aligned(round)));
        CHECK(c.try_send(over_aligned(-round)));
        CHECK(c.try_recv()->value == round);
        CHECK(c.try_recv()->value == -round);
    }
    c.send_blocking(over_aligned(7));
    CHECK(c.recv_blocking()->value == 7);
    CHECK(c.try_send(over_aligned(8)));
}

// --- capacity ---

TEST_CASE("refuses_capacities_that_no_memory_could_hold") {
    CHECK_THROWS_AS(chan<int>(-1), std::system_error);
    CHECK_THROWS_AS(chan<int>(INT_MIN), std::system_error);
    CHECK_THROWS_AS(chan<int>(LLONG_MIN), std::system_error);
    CHECK_THROWS_AS(chan<int>(SIZE_MAX), std::system_error);
    CHECK_THROWS_AS(chan<char>(PTRDIFF_MAX), std::system_error);
    CHECK_THROWS_AS(chan<std::string>(SIZE_MAX / sizeof(std::string)), std::system_error);
    CHECK_THROWS_AS(chan<over_aligned>(SIZE_MAX / 256), std::system_error);
    CHECK_THROWS_WITH(chan<int>(-5), "chan: a capacity of -5 values: Invalid argument");
    CHECK(chan<int>(0).cap() == 0);
    CHECK(chan<int>(std::uint8_t{3}).cap() == 3);
    CHECK(chan<char>(1'000'000).cap() == 1'000'000);
}

// --- nil, closed, views ---

TEST_CASE("the_nil_channel_waits_for_ever") {
    test::virtual_run([]() -> task<> {
        const chan<int> nil = nullptr;
        CHECK_FALSE(nil);
        CHECK(nil == chan<int>(nullptr));
        CHECK(would_block(nil.try_recv()));
        CHECK_FALSE(nil.try_send(1));
        CHECK(nil.len() == 0);
        CHECK(nil.cap() == 0);
        CHECK_FALSE(nil.closed());
        CHECK_THROWS_WITH(nil.close(), "chan close: the channel is nil: Invalid argument");
        CHECK_THROWS_AS(co_await timeout(1h, nil.send(1)), ringo::deadline_exceeded);
        CHECK_THROWS_AS(co_await timeout(1h, nil.recv()), ringo::deadline_exceeded);
        CHECK(test::now() >= 2h);
        auto sends = spawn([nil]() -> task<> { co_await nil.send(1); });
        auto receives = spawn([nil]() -> task<> { co_await nil.recv(); });
        co_await yield();
        CHECK_FALSE(sends.done());
        sends.cancel();
        receives.cancel();
        CHECK_THROWS_AS(co_await sends, ringo::cancelled);
        CHECK_THROWS_AS(co_await receives, ringo::cancelled);
    });
    const send_chan<int> out;
    const recv_chan<int> in;
    CHECK_FALSE(out);
    CHECK_THROWS_AS(out.send_blocking(1), std::system_error);
    CHECK_THROWS_AS((void)in.recv_blocking(), std::system_error);
}

TEST_CASE("closing_changes_nothing_the_second_time") {
    const chan<int> c(2);
    CHECK(c.try_send(1));
    CHECK_FALSE(c.closed());
    c.close();
    CHECK(c.closed());
    CHECK_THROWS_AS(c.close(), ringo::channel_closed);
    CHECK_THROWS_AS(c.try_send(2), ringo::channel_closed);
    CHECK(c.len() == 1);
    CHECK(c.try_recv() == 1);
    CHECK(says_closed(c.try_recv()));
    try {
        c.close();
    } catch (const std::system_error& e) {
        CHECK(e.code() == ringo::errc::channel_closed);
        CHECK(std::string(e.what()).find("chan close") == 0);
    }
}

TEST_CASE("views_and_copies_name_the_same_channel") {
    const chan<int> c(2);
    const send_chan<int> out = c;
    const recv_chan<int> in = c;
    const chan<int> copy = c;
    CHECK(copy == c);
    CHECK_FALSE(copy == chan<int>(2));
    CHECK(out.try_send(1));
    CHECK(copy.try_send(2));
    CHECK(in.len() == 2);
    CHECK(out.cap() == 2);
    CHECK(in.try_recv() == 1);
    out.close();
    CHECK(in.closed());
    CHECK(c.try_recv() == 2);
    CHECK(says_closed(in.try_recv()));
}

// --- what is left behind ---

TEST_CASE("what_is_left_in_the_buffer_is_destroyed_with_the_last_handle") {
    std::atomic<int> alive = 0;
    {
        const chan<counted> c(5);
        for (int round = 0; round < 3; ++round) {  // until the buffer has come round
            for (int i = 0; i < 4; ++i) {
                CHECK(c.try_send(counted(alive)));
            }
            for (int i = 0; i < 3; ++i) {
                CHECK(c.try_recv().has_value());
            }
            CHECK(alive == static_cast<int>(c.len()));
            if (c.len() > 1) {
                (void)c.try_recv();
            }
        }
        CHECK(alive > 0);
    }
    CHECK(alive == 0);
}

TEST_CASE("who_waits_when_the_last_handle_goes_is_cancelled_with_the_run") {
    std::atomic<int> alive = 0;
    std::atomic<int> ended = 0;
    for (const unsigned cores : {1U, 2U, 4U}) {
        ended = 0;
        ringo::run(
            [&]() -> task<> {
                // The goroutines know the channels by reference; main ends first.
                std::vector<chan<counted>> c(3);
                c[1] = chan<counted>(1);
                CHECK(c[1].try_send(counted(alive)));
                std::vector<join_handle<void>> all;
                for (std::size_t i = 0; i < 12; ++i) {
                    all.push_back(spawn(ringo::on(i % cores), [&, i]() -> task<> {
                        const counted mark(alive);
                        try {
                            if (i % 3 == 0) {
                                co_await c[0].recv();
                            } else if (i % 3 == 1) {
                                co_await c[1].send(mark);
                            } else {
                                co_await select(c[2].send(mark), c[0].recv(), c[1].send(mark));
                            }
                        } catch (const ringo::cancelled&) {
                            ++ended;
                            throw;
                        }
                    }));
                }
                for (std::size_t i = 0; i < 12; ++i) {
                    const char* const state = i % 3 == 0   ? "chan receive"
                                              : i % 3 == 1 ? "chan send"
                                                           : "select";
                    // 0 receives what 2 offers: the first of each pair may have ended.
                    if (i % 3 == 1) {
                        co_await until_parked(i % cores, all[i], state);
                    }
                }
            },
            {.cores = cores});
        CHECK(alive == 0);
        CHECK(ended >= 4);
    }
}

// --- threads ---

TEST_CASE("threads_and_goroutines_exchange_values") {
    for (const unsigned cores : {1U, 2U}) {
        for (const int capacity : {0, 3}) {
            const chan<int> to(capacity);  // made before there is a core
            const chan<int> from(capacity);
            std::thread sender([to] {
                for (int i = 0; i < 500; ++i) {
                    to.send_blocking(i);
                }
                to.close();
            });
            long sum = 0;
            std::thread receiver([from, &sum] {
                while (const auto v = from.recv_blocking()) {
                    sum += *v;
                }
            });
            ringo::run(
                [&]() -> task<> {
                    std::vector<join_handle<void>> all;
                    for (std::size_t i = 0; i < 4; ++i) {
                        all.push_back(spawn(ringo::on(i % cores), [to, from]() -> task<> {
                            while (const auto v = co_await to.recv()) {
                                co_await from.send(2 * *v);
                            }
                        }));
                    }
                    for (auto& h : all) {
                        co_await h;
                    }
                    from.close();
                },
                {.cores = cores});
            sender.join();
            receiver.join();
            CHECK(sum == 499 * 500);
        }
    }
}

TEST_CASE("close_ends_the_waits_of_threads") {
    const chan<int> c;
    std::atomic<int> ended = 0;
    std::thread receiver([&] {
        CHECK_FALSE(c.recv_blocking().has_value());
        ++ended;
    });
    const chan<int> full;
    std::thread sender([&] {
        CHECK_THROWS_AS(full.send_blocking(1), ringo::channel_closed);
        ++ended;
    });
    ringo::run([&]() -> task<> {
        // Whether they wait already or come later, they end.
        co_await yield();
        c.close();
        full.close();
    });
    receiver.join();
    sender.join();
    CHECK(ended == 2);
}

TEST_CASE("blocking_a_core_is_a_panic") {
    test::expect_panic("chan send_blocking: blocks a core; use co_await", [] {
        ringo::run([]() -> task<> {
            chan<int>(1).send_blocking(1);
            co_return;
        });
    });
    test::expect_panic("chan recv_blocking: blocks a core; use co_await", [] {
        ringo::run([]() -> task<> {
            (void)chan<int>(1).recv_blocking();
            co_return;
        });
    });
}

TEST_CASE("a_channel_lives_through_runs") {
    const chan<std::string> c(2);
    CHECK(c.try_send("before"));
    chan<std::string> inner = nullptr;
    for (int round = 0; round < 3; ++round) {
        ringo::run(
            [&]() -> task<> {
                auto h = spawn(ringo::on(1), [c]() -> task<> { co_await c.send("within"); });
                co_await h;
                const auto v = co_await c.recv();
                CHECK(v == (round == 0 ? "before" : "within"));
                if (inner) {
                    const auto old = co_await inner.recv();  // its home is gone, or another's
                    CHECK(old == "from an earlier run");
                }
                auto makes = spawn(ringo::on(1), [&inner]() -> task<> {
                    inner = chan<std::string>(1);
                    CHECK(inner.try_send("from an earlier run"));
                    co_return;
                });
                co_await makes;
            },
            {.cores = 2});
    }
    CHECK(c.try_recv() == "within");
    CHECK(inner.try_recv() == "from an earlier run");
}

TEST_CASE("two_runtimes_share_a_channel") {
    const chan<int> there;
    const chan<int> back;
    std::thread other([&] {
        ringo::run([&]() -> task<> {
            while (const auto v = co_await there.recv()) {
                auto r = co_await select(back.send(*v + 1), there.recv());
                CHECK(r.index() == 0);
            }
        });
    });
    ringo::run([&]() -> task<> {
        for (int i = 0; i < 300; ++i) {
            co_await there.send(i);
            const auto v = co_await back.recv();
            CHECK(v == i + 1);
        }
        there.close();
    });
    other.join();
}

// --- deadlines, results, shields ---

TEST_CASE("until_a_deadline_or_until_it_is_done") {
    test::virtual_run([]() -> task<> {
        const chan<int> c(1);
        const auto in = [](ringo::duration d) { return ringo::time_point(test::now() + d); };
        CHECK_THROWS_AS(co_await c.recv_until(in(1s)), ringo::deadline_exceeded);
        CHECK(test::now() >= 1s);
        co_await c.send_until(1, in(1s));
        CHECK_THROWS_AS(co_await c.send_until(2, in(1s)), ringo::deadline_exceeded);
        CHECK(test::now() >= 2s);
        const auto v = co_await c.recv_until(in(1s));
        CHECK(v == 1);
        CHECK(test::now() < 3s);
        CHECK_THROWS_AS(co_await c.recv_until(in(-1s)), ringo::deadline_exceeded);
        auto sends = spawn([c]() -> task<> {
            co_await ringo::sleep(500ms);
            co_await c.send(3);
        });
        const auto w = co_await c.recv_until(in(1s));
        CHECK(w == 3);
        co_await sends;
        CHECK(c.len() == 0);
    });
}

TEST_CASE("timeouts_results_contexts_and_shields_combine") {
    test::virtual_run([]() -> task<> {
        const chan<int> c(1);
        auto late = co_await as_result(timeout(1s, c.recv()));
        CHECK(late.error() == std::errc::timed_out);
        auto nested = co_await as_result(timeout(2s, timeout(1s, c.recv())));
        CHECK(nested.error() == std::errc::timed_out);
        auto scope = ringo::with_cancel(ringo::this_context());
        auto cancels = spawn([&scope]() -> task<> {
            co_await ringo::sleep(1s);
            scope.cancel();
        });
        auto gone = co_await as_result(within(scope, c.recv()));
        CHECK(gone.error() == std::errc::operation_canceled);
        co_await cancels;
        auto on_entry = co_await as_result(within(scope, c.send(1)));
        CHECK(on_entry.error() == std::errc::operation_canceled);
        CHECK(c.len() == 0);
        const auto sent = co_await as_result(timeout(1s, c.send(1)));
        CHECK(sent.has_value());
        auto got = co_await as_result(timeout(1s, c.recv()));
        CHECK((got.has_value() && *got == 1));

        // In a shield it waits on, and takes the value.
        auto shielded = spawn([c]() -> task<int> {
            auto v = co_await ringo::shield(c.recv());
            co_return v.value();
        });
        co_await yield();
        shielded.cancel();
        co_await yield();
        CHECK_FALSE(shielded.done());
        co_await c.send(9);
        CHECK(co_await shielded == 9);
    });
}

TEST_CASE("a_served_wait_is_not_cancelled_any_more") {
    ringo::run([]() -> task<> {
        const chan<int> c;
        auto receives = spawn([c]() -> task<int> {
            const auto v = co_await c.recv();
            co_return v.value();
        });
        co_await yield();
        CHECK(c.try_send(5));
        receives.cancel();
        CHECK(co_await receives == 5);

        auto sends = spawn([c]() -> task<bool> {
            const auto sent = co_await as_result(c.send(6));
            co_return sent.has_value();
        });
        co_await yield();
        CHECK(c.try_recv() == 6);
        sends.cancel();
        CHECK(co_await sends);
    });
}

TEST_CASE("who_is_cancelled_leaves_its_place_to_the_next") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c;
        std::vector<join_handle<std::optional<int>>> all;
        for (int i = 0; i < 9; ++i) {
            all.push_back(spawn(
                p.waits(),
                [](recv_chan<int> in) -> task<std::optional<int>> {
                    const auto v = co_await in.recv();
                    co_return v;
                },
                c));
            co_await until_parked(p.waiter, all.back(), "chan receive");
        }
        for (const std::size_t i : {0U, 4U, 8U, 3U}) {
            all[i].cancel();
            CHECK_THROWS_AS(co_await all[i], ringo::cancelled);
        }
        for (const int i : {1, 2, 5, 6, 7}) {
            CHECK(c.try_send(i));
        }
        CHECK_FALSE(c.try_send(0));
        for (const std::size_t i : {1U, 2U, 5U, 6U, 7U}) {
            CHECK(co_await all[i] == static_cast<int>(i));
        }
    });
}

// --- against a model ---

namespace {

/// One channel and what it should be, on one core.
class modelled {
public:
    explicit modelled(std::uint64_t seed)
        : random_(seed), capacity_(random_() % 4), c_(capacity_) {}

    task<> run(int steps) {
        for (int i = 0; i < steps; ++i) {
            co_await step();
            co_await settle();
            check();
        }
        c_.close();
        co_await settle();
        closed_ = true;
        for (const sender& s : senders_) {
            expected_[s.id] = "closed";
        }
        for (const int id : receivers_) {
            expected_[id] = "empty";
        }
        senders_.clear();
        receivers_.clear();
        check();
        while (!buffer_.empty()) {
            CHECK(c_.try_recv() == buffer_.front());
            buffer_.pop_front();
        }
        CHECK(says_closed(c_.try_recv()));
    }

private:
    struct sender {
        int id;
        int value;
    };

    task<> step() {
        switch (random_() % 6) {
            case 0: {
                const int id = next_id_++;
                handles_.emplace(id, spawn([this, id]() -> task<> { return sends(id); }));
                send(sender{id, id});
                break;
            }
            case 1: {
                const int id = next_id_++;
                handles_.emplace(id, spawn([this, id]() -> task<> { return receives(id); }));
                if (!receive(id)) {
                    receivers_.push_back(id);
                }
                break;
            }
            case 2: {
                const int value = next_id_++;
                const bool fits = !receivers_.empty() || buffer_.size() < capacity_;
                CHECK(c_.try_send(value) == fits);
                if (fits) {
                    send(sender{-1, value});
                }
                break;
            }
            case 3: {
                const bool has = !buffer_.empty() || !senders_.empty();
                const auto got = c_.try_recv();
                CHECK(got.has_value() == has);
                if (has) {
                    receive(-1);
                    CHECK(got == latest_);
                }
                break;
            }
            case 4:
                cancel_one(senders_, [](const sender& s) { return s.id; });
                break;
            default:
                cancel_one(receivers_, [](int id) { return id; });
                break;
        }
        co_return;
    }

    void send(sender s) {
        if (!receivers_.empty()) {
            expected_[receivers_.front()] = std::to_string(s.value);
            receivers_.pop_front();
        } else if (buffer_.size() < capacity_) {
            buffer_.push_back(s.value);
        } else {
            senders_.push_back(s);
            return;
        }
        expected_[s.id] = "sent";
    }
    bool receive(int id) {
        if (!buffer_.empty()) {
            latest_ = buffer_.front();
            buffer_.pop_front();
            if (!senders_.empty()) {
                buffer_.push_back(senders_.front().value);
                expected_[senders_.front().id] = "sent";
                senders_.pop_front();
            }
        } else if (!senders_.empty()) {
            latest_ = senders_.front().value;
            expected_[senders_.front().id] = "sent";
            senders_.pop_front();
        } else {
            return false;
        }
        expected_[id] = std::to_string(latest_);
        return true;
    }
    template <class Queue, class Id>
    void cancel_one(Queue& queue, Id id_of) {
        if (queue.empty()) {
            return;
        }
        const auto i = static_cast<std::ptrdiff_t>(random_() % queue.size());
        const int id = id_of(queue[static_cast<std::size_t>(i)]);
        queue.erase(queue.begin() + i);
        handles_.at(id).cancel();
        expected_[id] = "cancelled";
    }

    task<> sends(int id) {
        std::string& out = outcomes_[id];
        try {
            if (id % 3 == 0) {
                co_await select(c_.send(id));
            } else {
                co_await c_.send(id);
            }
            out = "sent";
        } catch (const ringo::cancelled&) {
            out = "cancelled";
        } catch (const ringo::channel_closed&) {
            out = "closed";
        }
    }
    task<> receives(int id) {
        std::string& out = outcomes_[id];
        try {
            std::optional<int> v;
            if (id % 3 == 0) {
                auto r = co_await select(c_.recv());
                v = std::get<0>(r);
            } else {
                v = co_await c_.recv();
            }
            out = v ? std::to_string(*v) : "empty";
        } catch (const ringo::cancelled&) {
            out = "cancelled";
        }
    }

    /// Until everybody waits or has ended: one turn to begin, one to end when served.
    static task<> settle() {
        for (int i = 0; i < 3; ++i) {
            co_await yield();
        }
    }
    void check() {
        expected_.erase(-1);
        CHECK(c_.len() == buffer_.size());
        for (auto it = expected_.begin(); it != expected_.end(); it = expected_.erase(it)) {
            CHECK(outcomes_[it->first] == it->second);
            CHECK(handles_.at(it->first).done());
            handles_.erase(it->first);
        }
        // The rest waits.
        CHECK(handles_.size() == senders_.size() + receivers_.size());
        for (const auto& [id, handle] : handles_) {
            CHECK_FALSE(handle.done());
        }
    }

    std::mt19937_64 random_;
    std::size_t capacity_;
    chan<int> c_;
    bool closed_ = false;
    int next_id_ = 0;
    int latest_ = 0;
    std::deque<int> buffer_;
    std::deque<sender> senders_;
    std::deque<int> receivers_;
    std::map<int, join_handle<void>> handles_;
    std::map<int, std::string> outcomes_;
    std::map<int, std::string> expected_;
};

}  // namespace

TEST_CASE("behaves_as_a_deque_with_two_queues") {
    const char* const given = std::getenv("RINGO_SEED");
    const std::uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    for (std::uint64_t seed = first; seed < first + 40; ++seed) {
        INFO("RINGO_SEED=" << seed);
        ringo::run(
            [seed]() -> task<> {
                modelled m(seed);
                co_await m.run(300);
            },
            {.cores = 1});
    }
}
