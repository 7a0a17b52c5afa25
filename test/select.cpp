#include <doctest/doctest.h>

#include "conformance/placements.hpp"
#include "misuse.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::chan;
using ringo::join_handle;
using ringo::otherwise;
using ringo::recv_chan;
using ringo::select;
using ringo::send_chan;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::placement;
using test::until_parked;

namespace {

using receive = decltype(std::declval<chan<int>>().recv());

template <class Op>
concept operand = requires(Op&& op) {
    ringo::detail::operand(std::forward<Op>(op));
};

static_assert(operand<receive>);
static_assert(!operand<receive&> && !operand<const receive&>, "made where it is selected");
static_assert(operand<join_handle<int>&>);
static_assert(!operand<task<int>>, "a task cannot be taken back");
static_assert(!operand<task<int>&>);
static_assert(!operand<int>);

task<int> number(int n) { co_return n; }

/// How far `seen` is from uniform: chi-square with seen.size() - 1 degrees of freedom.
double chi_square(std::span<const int> seen, int rounds) {
    const double expected = static_cast<double>(rounds) / static_cast<double>(seen.size());
    double sum = 0;
    for (const int n : seen) {
        sum += (n - expected) * (n - expected) / expected;
    }
    return sum;
}

}  // namespace

// --- results ---

TEST_CASE("gives_the_result_of_the_arm_that_won") {
    test::virtual_run([]() -> task<> {
        const chan<int> numbers(1);
        const chan<std::string> strings(1);
        CHECK(numbers.try_send(4));
        auto received = co_await select(strings.recv(), numbers.recv());
        static_assert(std::is_same_v<decltype(received),
                                     std::variant<std::optional<std::string>, std::optional<int>>>);
        CHECK(received.index() == 1);
        CHECK(std::get<1>(received) == 4);
        auto sent = co_await select(numbers.recv(), strings.send(std::string(100, 'x')));
        CHECK(sent.index() == 1);
        CHECK(strings.try_recv() == std::string(100, 'x'));
        auto none = co_await select(numbers.recv(), otherwise);
        CHECK(std::holds_alternative<ringo::otherwise_t>(none));
        auto slept = co_await select(numbers.recv(), ringo::sleep(1s));
        CHECK(slept.index() == 1);
        CHECK(test::now() >= 1s);
        auto joins = spawn(number, 6);
        auto joined = co_await select(numbers.recv(), joins);
        CHECK(std::get<1>(joined) == 6);
        auto only = co_await select(otherwise);
        CHECK(only.index() == 0);
    });
}

TEST_CASE("without_operands_it_waits_for_ever") {
    test::virtual_run([]() -> task<> {
        auto waits = spawn([]() -> task<> { co_await select(); });
        co_await ringo::sleep(1h);
        CHECK_FALSE(waits.done());
        waits.cancel();
        CHECK_THROWS_AS(co_await waits, ringo::cancelled);
    });
}

TEST_CASE("temporaries_of_an_operand_live_as_long_as_the_select") {
    ringo::run([]() -> task<> {
        const chan<std::string> c;
        const chan<std::string> d;
        auto receives = spawn([c, d]() -> task<> {
            for (int i = 0; i < 3; ++i) {
                auto r = co_await select(c.recv(), d.recv());
                CHECK((r.index() == 0 ? std::get<0>(r) : std::get<1>(r)) == std::string(100, 'x'));
            }
        });
        co_await select(c.send(std::string(100, 'x')), d.recv());
        const std::string kept(100, 'x');
        co_await select(c.recv(), d.send(kept));
        co_await as_result(ringo::timeout(1h, select(c.send(std::string(100, 'x')), d.recv())));
        co_await receives;
        CHECK(kept.size() == 100);
        auto r = co_await select(c.send(std::string(100, 'x')), d.recv(), otherwise);
        CHECK(r.index() == 2);
    });
}

TEST_CASE("many_arms_and_many_channels") {
    ringo::run([]() -> task<> {
        const chan<int> a;
        const chan<int> b(1);
        CHECK(b.try_send(1));
        auto r = co_await select(a.recv(), a.recv(), a.recv(), a.recv(), a.recv(), a.recv(),
                                 a.recv(), a.recv(), a.recv(), a.recv(), a.recv(), a.recv(),
                                 a.recv(), a.recv(), a.recv(), a.recv(), a.recv(), b.recv());
        CHECK(r.index() == 17);
        std::vector<chan<int>> all(1'000);
        auto waits = spawn([&all]() -> task<std::size_t> {
            const auto won = co_await select(std::span(all));
            CHECK(won.second == 5);
            co_return won.first;
        });
        co_await until_parked(0, waits, "select");
        CHECK(all[777].try_send(5));
        CHECK(co_await waits == 777);
        for (const chan<int>& c : all) {
            CHECK_FALSE(c.try_send(1));
        }
        std::vector<recv_chan<int>> half(all.begin(), all.begin() + 500);
        all[499].close();
        const auto closed = co_await select(std::span(half));
        CHECK((closed.first == 499 && !closed.second));
        CHECK_THROWS_AS(co_await ringo::timeout(0s, select(std::span<chan<int>>())),
                        ringo::deadline_exceeded);
    });
}

TEST_CASE("meets_who_waits") {
    test::virtual_run([]() -> task<> {
        const chan<int> a;
        const chan<int> b;
        auto receives = spawn([a]() -> task<int> { co_return *co_await a.recv(); });
        co_await yield();
        CHECK((co_await select(b.recv(), a.send(1), otherwise)).index() == 1);
        CHECK(co_await receives == 1);
        auto sends = spawn([a]() -> task<> { co_await a.send(2); });
        co_await yield();
        CHECK(std::get<0>(co_await select(a.recv(), b.send(0), otherwise)) == 2);
        co_await sends;
        auto chooses = spawn([a, b]() -> task<std::size_t> {
            co_return (co_await select(a.recv(), b.send(3))).index();
        });
        co_await yield();
        CHECK(std::get<1>(co_await select(a.recv(), b.recv(), otherwise)) == 3);
        CHECK(co_await chooses == 1);
    });
}

TEST_CASE("does_not_meet_who_has_been_served_otherwise") {
    test::virtual_run([]() -> task<> {
        const chan<int> a;
        const chan<int> b;
        auto receives = spawn([a, b]() -> task<std::size_t> {
            co_return (co_await select(a.recv(), b.recv())).index();
        });
        co_await yield();
        CHECK(b.try_send(1));
        CHECK((co_await select(a.send(1), otherwise)).index() == 1);
        CHECK((co_await select(a.send(1), ringo::sleep(1s))).index() == 1);
        CHECK(co_await receives == 1);
        auto sends = spawn([a, b]() -> task<std::size_t> {
            co_return (co_await select(a.send(1), b.send(2))).index();
        });
        co_await yield();
        CHECK(b.try_recv() == 2);
        CHECK((co_await select(a.recv(), otherwise)).index() == 1);
        CHECK((co_await select(a.recv(), a.recv(), ringo::sleep(1s))).index() == 2);
        CHECK(co_await sends == 1);
    });
}

// --- choice ---

TEST_CASE("chooses_uniformly_among_ready_arms") {
    // Limits: chi-square with 3 degrees of freedom is above 50 once in 1e10.
    ringo::run([]() -> task<> {
        constexpr int rounds = 20'000;
        const chan<int> a(1);
        const chan<int> b(1);
        const chan<int> c(1);
        const chan<int> closed;
        closed.close();
        std::array<int, 4> seen{};
        for (int i = 0; i < rounds; ++i) {
            (void)a.try_send(1);
            (void)b.try_recv();
            (void)c.try_send(1);
            auto r = co_await select(a.recv(), b.send(1), c.recv(), closed.recv());
            ++seen[r.index()];
        }
        CHECK(chi_square(seen, rounds) < 50);
        std::vector<chan<int>> all(4, closed);
        seen = {};
        for (int i = 0; i < rounds; ++i) {
            const auto won = co_await select(std::span(all));
            ++seen[won.first];
        }
        CHECK(chi_square(seen, rounds) < 50);
    });
}

TEST_CASE("chooses_uniformly_among_those_who_wait") {
    ringo::run([]() -> task<> {
        constexpr int rounds = 20'000;
        const chan<int> a;
        const chan<int> b;
        const chan<int> never;
        auto sends = spawn([a]() -> task<> {
            while (true) {
                co_await a.send(1);
            }
        });
        auto selects = spawn([b, never]() -> task<> {
            while (true) {
                co_await select(b.send(1), never.recv());
            }
        });
        std::array<int, 2> seen{};
        for (int i = 0; i < rounds; ++i) {
            co_await yield();
            const auto r = co_await select(a.recv(), b.recv());
            ++seen[r.index()];
        }
        CHECK(chi_square(seen, rounds) < 50);
        sends.cancel();
        selects.cancel();
        co_await as_result(sends);
        co_await as_result(selects);
    });
}

// --- errors, cancellation, deadlines ---

TEST_CASE("throws_what_the_arm_that_won_throws") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c;
        const chan<int> d;
        auto waits = spawn(
            p.waits(),
            [](send_chan<int> out, recv_chan<int> in) -> task<> {
                auto r = co_await as_result(select(out.send(1), in.recv()));
                CHECK((!r.has_value() && r.error() == ringo::errc::channel_closed));
                CHECK_THROWS_AS(co_await select(in.recv(), out.send(1)), ringo::channel_closed);
            },
            c, d);
        co_await until_parked(p.waiter, waits, "select");
        auto closes = spawn(
            p.wakes(),
            [](send_chan<int> out) -> task<> {
                out.close();
                co_return;
            },
            c);
        co_await closes;
        co_await waits;
        CHECK_FALSE(d.try_send(1));
    });
}

TEST_CASE("a_done_arm_of_the_own_context_wins_over_its_cancellation") {
    test::for_each_placement([](placement p) -> task<> {
        auto parent = ringo::with_cancel(ringo::this_context());
        auto scope = ringo::with_cancel(parent);
        const chan<int> c;
        const auto waits = [](recv_chan<int> in) -> task<> {
            for (int i = 0; i < 2; ++i) {  // the second time it has ended on entry
                auto r = co_await select(in.recv(), ringo::this_context().done());
                CHECK(r.index() == 1);
            }
            CHECK_THROWS_AS(co_await select(in.recv()), ringo::cancelled);
        };
        auto own = spawn(p.waits().with(scope), waits, c);
        co_await until_parked(p.waiter, own, "select");
        auto cancels = spawn(p.wakes(), [&]() -> task<> {
            parent.cancel();
            co_return;
        });
        co_await cancels;
        co_await own;
    });
}

TEST_CASE("a_handle_cancels_a_goroutine_in_a_select") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c;
        auto waits = spawn(
            p.waits(),
            [](chan<int> it) -> task<> {
                co_await select(it.recv(), ringo::this_context().done(), ringo::sleep(1h));
            },
            c);
        co_await until_parked(p.waiter, waits, "select");
        waits.cancel();
        CHECK_THROWS_AS(co_await waits, ringo::cancelled);
        CHECK_FALSE(c.try_send(1));
    });
}

TEST_CASE("sleeps_of_every_length_are_arms") {
    test::virtual_run([]() -> task<> {
        const chan<int> c;
        for (const ringo::duration d :
             {ringo::duration(0), ringo::duration(-1s), ringo::duration::min()}) {
            auto r = co_await select(c.recv(), ringo::sleep(d));
            CHECK(r.index() == 1);
        }
        CHECK(test::now() < 1s);
        auto r = co_await select(ringo::sleep(ringo::duration::max()), ringo::sleep(2s), c.recv());
        CHECK(r.index() == 1);
        CHECK(test::now() < 3s);
        CHECK_THROWS_AS(co_await ringo::timeout(1s, select(c.recv(), ringo::sleep(1h))),
                        ringo::deadline_exceeded);
        CHECK_FALSE(c.try_send(1));
    });
}

TEST_CASE("within_and_shield_take_selects") {
    test::virtual_run([]() -> task<> {
        const chan<int> c;
        auto scope = ringo::with_timeout(ringo::this_context(), 1s);
        CHECK_THROWS_AS(co_await ringo::within(scope, select(c.recv(), ringo::sleep(1h))),
                        ringo::deadline_exceeded);
        CHECK_FALSE(c.try_send(1));
        auto r = co_await ringo::within(ringo::context::background(),
                                        select(c.recv(), ringo::sleep(1s)));
        CHECK(r.index() == 1);
        auto shielded = spawn([c]() -> task<std::size_t> {
            auto won = co_await ringo::shield(select(ringo::sleep(1h), c.recv()));
            CHECK_THROWS_AS(co_await yield(), ringo::cancelled);
            co_return won.index();
        });
        co_await until_parked(0, shielded, "select");
        shielded.cancel();
        co_await yield();
        co_await c.send(1);
        CHECK(co_await shielded == 1);
    });
}

// --- races ---

TEST_CASE("a_close_races_with_a_value_and_one_of_them_wins") {
    test::for_each_placement([](placement p) -> task<> {
        for (int round = 0; round < 200; ++round) {
            const chan<int> closes;
            const chan<int> gives(1);
            auto selects = spawn(p.waits(), [=]() -> task<bool> {
                if (round % 2 == 0) {
                    auto r = co_await select(closes.recv(), gives.recv());
                    CHECK((r.index() == 0 ? !std::get<0>(r) : std::get<1>(r) == 1));
                    co_return r.index() == 1;
                }
                auto r = co_await as_result(select(closes.send(2), gives.recv()));
                CHECK((r.has_value() || r.error() == ringo::errc::channel_closed));
                co_return r.has_value();
            });
            auto sends = spawn(p.wakes(), [=]() -> task<> {
                if (round % 3 == 0) {
                    co_await yield();
                }
                co_await gives.send(1);
            });
            if (round % 4 < 2) {
                co_await yield();
            }
            closes.close();
            co_await sends;
            const bool received = co_await selects;
            CHECK(gives.try_recv().has_value() == !received);
        }
    });
}

TEST_CASE("a_join_arm_races_with_the_goroutines_end") {
    test::for_each_placement([](placement p) -> task<> {
        int joined = 0;
        for (int round = 0; round < 200; ++round) {
            const chan<int> c(1);
            auto ends = spawn(p.wakes(), [c, round]() -> task<int> {
                if (round % 2 == 0) {
                    co_await yield();
                }
                CHECK(c.try_send(1));
                co_return 5;
            });
            auto chooses = spawn(
                p.waits(),
                [](recv_chan<int> in, join_handle<int>& h) -> task<std::size_t> {
                    auto r = co_await select(h, in.recv());
                    co_return r.index();
                },
                c, std::ref(ends));
            const std::size_t won = co_await chooses;
            CHECK(c.len() == 1 - won);
            if (won == 0) {
                ++joined;
            } else {
                CHECK(co_await ends == 5);
            }
        }
        CHECK(joined <= 200);
    });
}

TEST_CASE("cancellation_races_with_a_value_to_an_exact_account") {
    test::for_each_placement([](placement p) -> task<> {
        int received = 0;
        int left = 0;
        for (int round = 0; round < 300; ++round) {
            const chan<std::unique_ptr<int>> c;
            const chan<int> other;
            auto waits = spawn(
                p.waits(),
                [](recv_chan<std::unique_ptr<int>> in, recv_chan<int> never) -> task<bool> {
                    auto r = co_await as_result(select(never.recv(), in.recv()));
                    co_return r.has_value();
                },
                c, other);
            auto sends = spawn(
                p.wakes(),
                [](send_chan<std::unique_ptr<int>> out, int turns) -> task<bool> {
                    for (int i = 0; i < turns; ++i) {
                        co_await yield();
                    }
                    auto v = std::make_unique<int>(1);
                    const bool sent = out.try_send(std::move(v));
                    CHECK(sent == (v == nullptr));
                    co_return sent;
                },
                c, round % 4);
            for (int i = 0; i < round % 3; ++i) {
                co_await yield();
            }
            waits.cancel();
            const bool has = co_await waits;
            const bool sent = co_await sends;
            CHECK(has == sent);
            ++(has ? received : left);
            CHECK_FALSE(other.try_send(1));
        }
        CHECK(received + left == 300);
    });
}
