// Go's scenarios for select (test/chan, runtime/chan_test.go), by their numbers in the list of
// conformance.
#include <doctest/doctest.h>

#include "conformance/placements.hpp"

#include <ringo/ringo.hpp>

#include <array>
#include <cstddef>
#include <fstream>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <unistd.h>

using ringo::chan;
using ringo::join_handle;
using ringo::otherwise;
using ringo::recv_chan;
using ringo::select;
using ringo::send_chan;
using ringo::spawn;
using ringo::task;
using test::placement;
using test::until_parked;

namespace {

/// Of this process.
std::size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::size_t size = 0;
    std::size_t resident = 0;
    statm >> size >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("go_09_one_arm_ready_is_never_the_default") {
    test::for_each_placement([](placement p) -> task<> {
        for (int round = 0; round < 300; ++round) {
            const chan<int> a(1);
            const chan<int> b(1);
            CHECK(a.try_send(1));
            auto chooses = spawn(
                p.waits(),
                [](recv_chan<int> x, recv_chan<int> y) -> task<std::size_t> {
                    auto r = co_await select(x.recv(), y.recv(), otherwise);
                    co_return r.index();
                },
                a, b);
            auto moves = spawn(
                p.wakes(),
                [](chan<int> x, chan<int> y) -> task<> {
                    CHECK(y.try_send(1));  // from here on b is ready
                    (void)x.try_recv();
                    co_return;
                },
                a, b);
            const std::size_t index = co_await chooses;
            CHECK(index < 2);
            co_await moves;
        }
    });
}

TEST_CASE("go_10_one_arm_ready_by_close_is_never_the_default") {
    test::for_each_placement([](placement p) -> task<> {
        for (int round = 0; round < 300; ++round) {
            const chan<int> a(1);
            const chan<int> b;
            CHECK(a.try_send(1));
            auto chooses = spawn(
                p.waits(),
                [](recv_chan<int> x, recv_chan<int> y) -> task<std::size_t> {
                    auto r = co_await select(x.recv(), y.recv(), otherwise);
                    co_return r.index();
                },
                a, b);
            auto moves = spawn(
                p.wakes(),
                [](chan<int> x, chan<int> y) -> task<> {
                    y.close();
                    (void)x.try_recv();
                    co_return;
                },
                a, b);
            const std::size_t index = co_await chooses;
            CHECK(index < 2);
            co_await moves;
        }
    });
}

TEST_CASE("go_11_a_select_never_pairs_with_itself") {
    test::for_each_placement([](placement p) -> task<> {
        for (const int capacity : {0, 10}) {
            const chan<int> c(capacity);
            const auto both = [](chan<int> it, int me, bool own_allowed) -> task<> {
                for (int i = 0; i < 300; ++i) {
                    if (i % 2 == 0) {
                        auto r = co_await select(it.send(me), it.recv());
                        if (r.index() == 1) {
                            CHECK((own_allowed || std::get<1>(r) != me));
                        }
                    } else {
                        auto r = co_await select(it.recv(), it.send(me));
                        if (r.index() == 0) {
                            CHECK((own_allowed || std::get<0>(r) != me));
                        }
                    }
                }
            };
            // In the buffer a value may wait for who sent it.
            auto a = spawn(p.waits(), both, c, 0, capacity != 0);
            auto b = spawn(p.wakes(), both, c, 1, capacity != 0);
            // When one is done, the other may wait for a partner.
            while (!(a.done() && b.done())) {
                (void)c.try_recv();
                co_await ringo::yield();
            }
            co_await a;
            co_await b;
        }
    });
}

TEST_CASE("go_12_select_stress_without_loss_or_hang") {
    test::for_each_core_count([](placement p) -> task<> {
        constexpr int count = 500;
        const std::array<chan<int>, 4> c{chan<int>(0), chan<int>(0), chan<int>(2), chan<int>(3)};
        std::vector<join_handle<void>> all;
        // Each channel has a sender and a receiver of its own...
        for (std::size_t k = 0; k < 4; ++k) {
            all.push_back(spawn(
                p.nth(k),
                [](send_chan<int> out) -> task<> {
                    for (int i = 0; i < count; ++i) {
                        co_await out.send(0);
                    }
                },
                c[k]));
            all.push_back(spawn(
                p.nth(k + 1),
                [](recv_chan<int> in) -> task<> {
                    for (int i = 0; i < count; ++i) {
                        co_await in.recv();
                    }
                },
                c[k]));
        }
        // ... and all of them one of each that selects, until it has done `count` on each.
        all.push_back(spawn(
            p.wakes(),
            [](std::array<chan<int>, 4> it) -> task<> {
                std::array<int, 4> n{};
                for (int i = 0; i < 4 * count; ++i) {
                    auto r =
                        co_await select(it[3].send(0), it[2].send(0), it[0].send(0), it[1].send(0));
                    const std::size_t k = std::array<std::size_t, 4>{3, 2, 0, 1}[r.index()];
                    if (++n[k] == count) {
                        it[k] = nullptr;
                    }
                }
            },
            c));
        all.push_back(spawn(
            p.waits(),
            [](std::array<chan<int>, 4> it) -> task<> {
                std::array<int, 4> n{};
                for (int i = 0; i < 4 * count; ++i) {
                    auto r =
                        co_await select(it[0].recv(), it[1].recv(), it[2].recv(), it[3].recv());
                    if (++n[r.index()] == count) {
                        it[r.index()] = nullptr;
                    }
                }
            },
            c));
        for (auto& h : all) {
            co_await h;
        }
        for (const chan<int>& it : c) {
            CHECK(it.len() == 0);
            CHECK_FALSE(it.try_recv().has_value());
            CHECK((it.cap() != 0 || !it.try_send(1)));
        }
    });
}

TEST_CASE("go_13_every_ready_arm_wins_in_the_end") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> done;
        const chan<int> a;
        const chan<int> b;
        const auto floods = [](send_chan<int> out, recv_chan<int> end) -> task<> {
            while ((co_await select(out.send(1), end.recv())).index() == 0) {
            }
        };
        auto x = spawn(p.wakes(), floods, a, done);
        auto y = spawn(p.waits(), floods, b, done);
        std::array<int, 2> wins{};
        while (wins[0] < 100 || wins[1] < 100) {
            auto r = co_await select(a.recv(), b.recv());
            ++wins[r.index()];
        }
        done.close();
        co_await x;
        co_await y;
    });
}

TEST_CASE("go_14_of_two_sends_on_one_channel_both_are_chosen") {
    test::for_each_placement([](placement p) -> task<> {
        for (const int capacity : {0, 1}) {
            const chan<int> c(capacity);
            auto sends = spawn(
                p.wakes(),
                [](send_chan<int> out) -> task<> {
                    for (int i = 0; i < 400; ++i) {
                        co_await select(out.send(0), out.send(1));
                    }
                    out.close();
                },
                c);
            auto counts = spawn(
                p.waits(),
                [](recv_chan<int> in) -> task<std::array<int, 2>> {
                    std::array<int, 2> n{};
                    while (const auto v = co_await in.recv()) {
                        ++n[static_cast<std::size_t>(*v)];
                    }
                    co_return n;
                },
                c);
            const auto n = co_await counts;
            CHECK(n[0] + n[1] == 400);
            // Of 400 fair throws fewer than 100 on one side: less likely than 1e-24. Only with
            // room at once are they throws: a waiting select's arms are served in their order.
            if (capacity == 1 && p.waiter == p.waker) {
                CHECK(n[0] > 0);
            }
            co_await sends;
        }
    });
}

TEST_CASE("go_14_random_bits_from_a_buffered_channel") {
    test::for_each_placement([](placement) -> task<> {
        const chan<int> c(400);
        for (int i = 0; i < 400; ++i) {
            co_await select(c.send(0), c.send(1));
        }
        int ones = 0;
        while (const auto v = c.try_recv()) {
            ones += *v;
        }
        CHECK(ones > 100);  // else it is less likely than 1e-24
        CHECK(ones < 300);
    });
}

TEST_CASE("go_16_one_wake_takes_one_value_from_a_channel_in_several_arms") {
    test::for_each_placement([](placement p) -> task<> {
        for (int round = 0; round < 50; ++round) {
            const chan<int> c;
            const chan<int> e;
            auto selects = spawn(
                p.waits(),
                [](recv_chan<int> x, recv_chan<int> y) -> task<> {
                    auto r = co_await select(x.recv(), x.recv(), y.recv(), x.recv());
                    CHECK(r.index() != 2);
                },
                c, e);
            co_await until_parked(p.waiter, selects, "select");
            auto plain = spawn(
                p.waits(),
                [](recv_chan<int> in) -> task<std::optional<int>> {
                    const auto v = co_await in.recv();
                    co_return v;
                },
                c);
            co_await until_parked(p.waiter, plain, "chan receive");
            auto sends = spawn(
                p.wakes(),
                [](send_chan<int> out) -> task<> {
                    co_await out.send(7);
                    co_await out.send(8);
                },
                c);
            co_await selects;
            const auto v = co_await plain;
            CHECK(v == 8);
            co_await sends;
            CHECK_FALSE(c.try_send(9));  // nobody is left in the queue
        }
    });
}

namespace {

task<long> deep(int depth) {
    std::array<long, 16> ballast{};
    ballast[static_cast<std::size_t>(depth) % 16] = depth;
    if (depth == 0) {
        co_return 0;
    }
    const long below = co_await deep(depth - 1);
    co_return below + ballast[static_cast<std::size_t>(depth) % 16];
}

}  // namespace

TEST_CASE("go_17_where_a_parked_select_puts_its_value_stays_valid") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<std::string> c;
        const chan<std::string> d;
        const auto selects = [](recv_chan<std::string> x, recv_chan<std::string> y) -> task<> {
            for (int i = 0; i < 50; ++i) {
                const std::string expected(40, static_cast<char>('a' + i % 26));
                auto r = co_await select(x.recv(), y.recv());
                CHECK((r.index() == 0 ? std::get<0>(r) : std::get<1>(r)) == expected);
                co_await deep(i * 10);  // its frames come and go beside those that are parked
            }
        };
        auto waiter = spawn(p.waits(), selects, c, d);
        auto sends = spawn(
            p.wakes(),
            [](send_chan<std::string> x, send_chan<std::string> y) -> task<> {
                for (int i = 0; i < 50; ++i) {
                    co_await deep(500 - i * 10);
                    co_await (i % 2 == 0 ? x : y)
                        .send(std::string(40, static_cast<char>('a' + i % 26)));
                }
            },
            c, d);
        co_await waiter;
        co_await sends;
    });
}

TEST_CASE("go_18_doubleselect_has_no_duplicates") {
    test::for_each_placement([](placement p) -> task<> {
        constexpr int count = 1'000;
        // A sender offers each value on two of four channels; two receivers merge all four.
        const std::array<chan<int>, 4> c;
        const chan<int> merged;
        auto sends = spawn(
            p.wakes(),
            [](std::array<chan<int>, 4> out) -> task<> {
                for (int i = 0; i < count; ++i) {
                    const auto k = static_cast<std::size_t>(i) % 4;
                    co_await select(out[k].send(i), out[(k + 1) % 4].send(i),
                                    out[(k + 2) % 4].send(i));
                }
                for (const chan<int>& it : out) {
                    it.close();
                }
            },
            c);
        const auto merges = [](chan<int> a, chan<int> b, send_chan<int> out) -> task<> {
            for (int open = 2; open > 0;) {
                auto r = co_await select(a.recv(), b.recv());
                const std::optional<int> v = r.index() == 0 ? std::get<0>(r) : std::get<1>(r);
                if (v) {
                    co_await out.send(*v);
                } else {
                    (r.index() == 0 ? a : b) = nullptr;
                    --open;
                }
            }
        };
        auto first = spawn(p.waits(), merges, c[0], c[1], merged);
        auto second = spawn(p.nth(p.waiter + 1), merges, c[3], c[2], merged);
        std::vector<int> seen(count);
        for (int i = 0; i < count; ++i) {
            const auto v = co_await merged.recv();
            ++seen[static_cast<std::size_t>(v.value())];
        }
        CHECK(seen == std::vector<int>(count, 1));
        co_await sends;
        co_await first;
        co_await second;
        CHECK_FALSE(merged.try_recv().has_value());
    });
}

TEST_CASE("go_18_selects_on_two_channels_in_opposite_order") {
    test::for_each_placement([](placement p) -> task<> {
        constexpr int count = 1'000;
        const chan<int> a;
        const chan<int> b;
        auto sends = spawn(
            p.wakes(),
            [](send_chan<int> x, send_chan<int> y) -> task<> {
                for (int i = 0; i < count; ++i) {
                    co_await select(x.send(i), y.send(i));
                }
            },
            a, b);
        auto receives = spawn(
            p.waits(),
            [](recv_chan<int> x, recv_chan<int> y) -> task<> {
                for (int i = 0; i < count; ++i) {
                    auto r = co_await select(y.recv(), x.recv());
                    CHECK((r.index() == 0 ? std::get<0>(r) : std::get<1>(r)) == i);
                }
            },
            a, b);
        co_await sends;
        co_await receives;
    });
}

TEST_CASE("go_20_a_nil_arm_is_never_ready_a_closed_one_always") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> nil = nullptr;
        const chan<int> closed;
        closed.close();
        auto selects = spawn(
            p.waits(),
            [](chan<int> never, chan<int> always) -> task<> {
                for (int i = 0; i < 50; ++i) {
                    auto r = co_await select(never.recv(), always.recv(), never.send(1));
                    CHECK(r.index() == 1);
                    CHECK_FALSE(std::get<1>(r).has_value());
                    auto none = co_await select(never.recv(), never.send(1), otherwise);
                    CHECK(none.index() == 2);
                }
            },
            nil, closed);
        co_await selects;

        // Of nil arms alone: for ever, until it is cancelled.
        auto waits = spawn(
            p.waits(),
            [](chan<int> never) -> task<> { co_await select(never.recv(), never.send(1)); }, nil);
        co_await until_parked(p.waiter, waits, "select");
        auto cancels = spawn(
            p.wakes(),
            [](join_handle<void>& h) -> task<> {
                h.cancel();
                co_return;
            },
            std::ref(waits));
        co_await cancels;
        CHECK_THROWS_AS(co_await waits, ringo::cancelled);
    });
}

TEST_CASE("go_21_losers_leave_queues_and_memory_as_they_were") {
    test::for_each_placement([](placement p) -> task<> {
        const int rounds = p.cores == 1 ? 100'000 : 5'000;
        const chan<int> wins;
        const chan<int> loses;
        auto selects = spawn(
            p.waits(),
            [](recv_chan<int> x, chan<int> y) -> task<> {
                while (true) {
                    auto r = co_await select(y.recv(), x.recv(), y.send(1), y.recv());
                    REQUIRE(r.index() == 1);
                    if (!std::get<1>(r)) {
                        co_return;
                    }
                }
            },
            wins, loses);
        auto sends = spawn(
            p.wakes(),
            [](send_chan<int> out, int n) -> task<> {
                std::size_t before = 0;
                for (int i = 0; i < n; ++i) {
                    co_await out.send(i);
                    before = i == 1'000 ? resident_bytes() : before;
                }
                if (!RINGO_SANITIZED) {  // they keep what is freed
                    CHECK(resident_bytes() < before + (256 << 10));
                }
                out.close();
            },
            wins, rounds);
        co_await selects;
        co_await sends;
        CHECK_FALSE(loses.try_send(1));
        CHECK_FALSE(loses.try_recv().has_value());
    });
}

TEST_CASE("go_22_operands_are_evaluated_once") {
    test::for_each_placement([](placement p) -> task<> {
        auto selects = spawn(p.waits(), []() -> task<> {
            const chan<int> c(1);
            int channels = 0;
            int values = 0;
            const auto channel = [&]() -> chan<int> {
                ++channels;
                return c;
            };
            const auto value = [&] { return ++values; };
            for (int i = 1; i <= 10; ++i) {
                auto r = co_await select(channel().send(value()), channel().recv());
                CHECK(r.index() == static_cast<std::size_t>(1 - i % 2));
                CHECK(channels == 2 * i);
                CHECK(values == i);
                // The value of an arm that loses is evaluated all the same.
                if (r.index() == 1) {
                    CHECK(std::get<1>(r) == i - 1);
                }
            }
        });
        co_await selects;
    });
}

TEST_CASE("go_22_the_index_is_that_of_the_channel_in_the_span") {
    test::for_each_placement([](placement p) -> task<> {
        auto selects = spawn(p.waits(), []() -> task<> {
            std::vector<chan<int>> all(20);
            all[13] = chan<int>(1);
            CHECK(all[13].try_send(5));
            const auto [index, v] = co_await select(std::span(all));
            CHECK(index == 13);
            CHECK(v == 5);
        });
        co_await selects;
    });
}
