// Go's scenarios for channels (test/chan, runtime/chan_test.go), by their numbers in the list of
// conformance.
#include <doctest/doctest.h>

#include "conformance/placements.hpp"

#include <ringo/ringo.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::chan;
using ringo::join_handle;
using ringo::recv_chan;
using ringo::select;
using ringo::send_chan;
using ringo::spawn;
using ringo::task;
using test::placement;
using test::until_parked;

namespace {

task<std::optional<int>> receive(recv_chan<int> c) {
    const std::optional<int> v = co_await c.recv();
    co_return v;
}
task<> send(send_chan<int> c, int value) { co_await c.send(value); }
task<> send_all(send_chan<int> c, int first, int last, int step = 1) {
    for (int i = first; i < last; i += step) {
        co_await c.send(i);
    }
}
task<> close_it(send_chan<int> c) {
    c.close();
    co_return;
}

bool would_block(const ringo::result<int>& r) {
    return !r.has_value() && r.error() == ringo::errc::would_block;
}
bool is_closed(const ringo::result<int>& r) {
    return !r.has_value() && r.error() == ringo::errc::channel_closed;
}

}  // namespace

TEST_CASE("go_01_empty_recv_parks_and_try_fails") {
    test::for_each_placement([](placement p) -> task<> {
        for (const int capacity : {0, 1, 10}) {
            const chan<int> c(capacity);
            CHECK(would_block(c.try_recv()));
            auto receiver = spawn(p.waits(), receive, c);
            co_await until_parked(p.waiter, receiver, "chan receive");
            CHECK_FALSE(receiver.done());
            auto sender = spawn(p.wakes(), send, c, capacity);
            co_await sender;
            const auto v = co_await receiver;
            CHECK(v == capacity);
        }
    });
}

TEST_CASE("go_02_full_send_parks_and_try_fails") {
    test::for_each_placement([](placement p) -> task<> {
        for (const int capacity : {0, 1, 10}) {
            const chan<int> c(capacity);
            for (int i = 0; i < capacity; ++i) {
                CHECK(c.try_send(i));
            }
            CHECK_FALSE(c.try_send(capacity));
            auto sender = spawn(p.waits(), send, c, capacity);
            co_await until_parked(p.waiter, sender, "chan send");
            CHECK_FALSE(sender.done());
            CHECK_FALSE(c.try_send(-1));
            for (int i = 0; i <= capacity; ++i) {
                auto receiver = spawn(p.wakes(), receive, c);
                const auto v = co_await receiver;
                CHECK(v == i);
            }
            co_await sender;
        }
    });
}

TEST_CASE("go_03_close_drains_the_buffer_then_empty_for_ever") {
    test::for_each_placement([](placement p) -> task<> {
        for (const int capacity : {0, 1, 10}) {
            const chan<int> c(capacity);
            auto sender = spawn(p.wakes(), send_all, c, 0, capacity, 1);
            co_await sender;
            auto closer = spawn(p.wakes(), close_it, c);
            co_await closer;
            CHECK(c.closed());
            for (int i = 0; i < capacity; ++i) {
                auto receiver = spawn(p.waits(), receive, c);
                const auto v = co_await receiver;
                CHECK(v == i);
            }
            for (int i = 0; i < 3; ++i) {
                auto receiver = spawn(p.waits(), receive, c);
                const auto v = co_await receiver;
                CHECK_FALSE(v.has_value());
                CHECK(is_closed(c.try_recv()));
            }
        }
    });
}

TEST_CASE("go_04_close_wakes_all_receivers") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c;
        std::vector<join_handle<std::optional<int>>> receivers;
        for (int i = 0; i < 50; ++i) {
            receivers.push_back(spawn(p.waits(), receive, c));
        }
        co_await until_parked(p.waiter, receivers.back(), "chan receive");
        auto closer = spawn(p.wakes(), close_it, c);
        for (auto& r : receivers) {
            const auto v = co_await r;
            CHECK_FALSE(v.has_value());
        }
        co_await closer;
    });
}

TEST_CASE("go_04_close_fails_all_senders") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c;
        std::vector<join_handle<void>> senders;
        for (int i = 0; i < 50; ++i) {
            senders.push_back(spawn(p.waits(), send, c, i));
        }
        co_await until_parked(p.waiter, senders.back(), "chan send");
        auto closer = spawn(p.wakes(), close_it, c);
        for (auto& s : senders) {
            CHECK_THROWS_AS(co_await s, ringo::channel_closed);
        }
        co_await closer;
    });
}

TEST_CASE("go_05_values_come_in_order") {
    test::for_each_placement([](placement p) -> task<> {
        for (const int capacity : {0, 1, 10, 1000}) {
            const chan<int> c(capacity);
            auto sender = spawn(p.wakes(), send_all, c, 0, 300, 1);
            auto receiver = spawn(
                p.waits(),
                [](recv_chan<int> in) -> task<> {
                    for (int i = 0; i < 300; ++i) {
                        const auto v = co_await in.recv();
                        CHECK(v == i);
                    }
                },
                c);
            co_await receiver;
            co_await sender;
        }
    });
}

TEST_CASE("go_05_who_waits_is_served_in_order") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c;
        std::vector<join_handle<std::optional<int>>> receivers;
        for (int i = 0; i < 20; ++i) {
            receivers.push_back(spawn(p.waits(), receive, c));
            co_await until_parked(p.waiter, receivers.back(), "chan receive");
        }
        auto all = spawn(p.wakes(), send_all, c, 0, 20, 1);
        for (int i = 0; i < 20; ++i) {
            const auto v = co_await receivers[static_cast<std::size_t>(i)];
            CHECK(v == i);
        }
        co_await all;

        std::vector<join_handle<void>> senders;
        for (int i = 0; i < 20; ++i) {
            senders.push_back(spawn(p.waits(), send, c, i));
            co_await until_parked(p.waiter, senders.back(), "chan send");
        }
        for (int i = 0; i < 20; ++i) {
            auto receiver = spawn(p.wakes(), receive, c);
            const auto v = co_await receiver;
            CHECK(v == i);
            co_await senders[static_cast<std::size_t>(i)];
        }
    });
}

TEST_CASE("go_06_many_to_many_each_value_exactly_once") {
    test::for_each_core_count([](placement p) -> task<> {
        for (const int capacity : {0, 1, 7}) {
            constexpr int senders = 8;
            constexpr int each = 250;
            const chan<int> c(capacity);
            std::vector<join_handle<void>> sending;
            std::vector<join_handle<std::vector<int>>> receiving;
            for (int i = 0; i < senders; ++i) {
                const auto n = static_cast<std::size_t>(i);
                sending.push_back(spawn(p.nth(n), send_all, c, i, each * senders, senders));
                receiving.push_back(spawn(
                    p.nth(n + 1),
                    [](recv_chan<int> in) -> task<std::vector<int>> {
                        std::vector<int> got;
                        while (const auto v = co_await in.recv()) {
                            got.push_back(*v);
                        }
                        co_return got;
                    },
                    c));
            }
            for (auto& s : sending) {
                co_await s;
            }
            c.close();
            std::vector<int> seen(each * senders);
            for (auto& r : receiving) {
                // Of each sender's values a receiver sees some, in order.
                std::array<int, senders> latest;
                latest.fill(-1);
                const std::vector<int> got = co_await r;
                for (const int v : got) {
                    ++seen[static_cast<std::size_t>(v)];
                    int& before = latest[static_cast<std::size_t>(v % senders)];
                    CHECK(before < v);
                    before = v;
                }
            }
            CHECK(seen == std::vector<int>(each * senders, 1));
        }
    });
}

TEST_CASE("go_07_len_and_cap_are_exact") {
    test::for_each_placement([](placement p) -> task<> {
        for (const std::size_t capacity : {0U, 1U, 10U}) {
            const chan<int> c(capacity);
            CHECK(c.cap() == capacity);
            CHECK(c.len() == 0);
            for (std::size_t i = 1; i <= capacity; ++i) {
                auto sender = spawn(p.wakes(), send, c, 1);
                co_await sender;
                CHECK(c.len() == i);
            }
            auto waits = spawn(p.waits(), send, c, 2);  // who waits does not count
            co_await until_parked(p.waiter, waits, "chan send");
            CHECK(c.len() == capacity);
            auto receiver = spawn(p.wakes(), receive, c);
            co_await receiver;
            co_await waits;
            CHECK(c.len() == capacity);
            c.close();
            CHECK(c.len() == capacity);
            CHECK(c.cap() == capacity);
            for (std::size_t i = capacity; i > 0; --i) {
                CHECK(c.try_recv().has_value());
                CHECK(c.len() == i - 1);
            }
        }
        const chan<int> nil = nullptr;
        CHECK(nil.len() == 0);
        CHECK(nil.cap() == 0);
        CHECK_FALSE(nil.closed());
    });
}

TEST_CASE("go_08_a_try_recv_that_races_with_close_never_finds_it_empty") {
    test::for_each_placement([](placement p) -> task<> {
        for (int round = 0; round < 300; ++round) {
            const chan<int> c(1);
            CHECK(c.try_send(1));
            auto tries = spawn(
                p.waits(),
                [](recv_chan<int> in) -> task<bool> { co_return would_block(in.try_recv()); }, c);
            auto closes = spawn(p.wakes(), close_it, c);
            const bool empty = co_await tries;
            CHECK_FALSE(empty);
            co_await closes;
        }
    });
}

TEST_CASE("go_15_a_pipeline_with_many_consumers_has_the_exact_sum") {
    test::for_each_core_count([](placement p) -> task<> {
        constexpr int workers = 23;
        constexpr int count = 2'000;
        static constexpr std::array<int, 8> primes{2, 3, 7, 11, 13, 17, 23, 31};
        const chan<int> q(workers * 3);
        const chan<int> r(workers * 3);
        std::vector<join_handle<void>> all;
        for (std::size_t i = 0; i < workers; ++i) {
            all.push_back(spawn(
                p.nth(i),
                [](recv_chan<int> in, send_chan<int> out, std::size_t me) -> task<> {
                    while (const auto v = co_await in.recv()) {
                        if (primes[me % primes.size()] == *v) {
                            co_await ringo::yield();
                        }
                        co_await out.send(*v);
                    }
                },
                q, r, i));
        }
        auto feeds = spawn(
            p.wakes(),
            [](send_chan<int> out) -> task<long> {
                long sum = 0;
                for (std::size_t i = 0; i < count; ++i) {
                    const int v = primes[i % primes.size()];
                    sum += v;
                    co_await out.send(v);
                }
                out.close();
                co_return sum;
            },
            q);
        long sum = 0;
        for (int i = 0; i < count; ++i) {
            const auto v = co_await r.recv();
            sum += v.value();
        }
        const long expected = co_await feeds;
        CHECK(sum == expected);
        for (auto& w : all) {
            co_await w;
        }
        CHECK(would_block(r.try_recv()));
    });
}

namespace {

template <std::size_t Size>
struct sized {
    explicit sized(int n) noexcept { bytes.fill(static_cast<unsigned char>(n)); }
    bool is(int n) const noexcept { return *this == sized(n); }
    friend bool operator==(const sized&, const sized&) = default;
    std::array<unsigned char, Size> bytes;
};
struct nothing {
    explicit nothing(int) noexcept {}
    bool is(int) const noexcept { return true; }
};

template <class T>
task<> carries(placement p) {
    for (const int capacity : {0, 1, 5}) {
        const chan<T> c(capacity);
        auto sender = spawn(
            p.wakes(),
            [](send_chan<T> out) -> task<> {
                for (int i = 0; i < 20; ++i) {
                    const T value(i);
                    if (i % 2 == 0) {
                        co_await out.send(value);
                    } else {
                        co_await out.send(T(i));
                    }
                }
                out.close();
            },
            c);
        auto receiver = spawn(
            p.waits(),
            [](recv_chan<T> in) -> task<int> {
                int n = 0;
                while (const auto v = co_await in.recv()) {
                    CHECK(v->is(n++));
                }
                co_return n;
            },
            c);
        const int n = co_await receiver;
        CHECK(n == 20);
        co_await sender;
    }
}

}  // namespace

TEST_CASE_TEMPLATE("go_19_every_element_size", T, nothing, sized<1>, sized<2>, sized<3>, sized<7>,
                   sized<8>, sized<9>, sized<16>, sized<31>, sized<64>, sized<100>, sized<255>,
                   sized<1000>, sized<4096>) {
    test::for_each_placement(carries<T>);
}

TEST_CASE("go_23_a_discarded_recv_consumes") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c(2);
        auto sender = spawn(p.wakes(), send_all, c, 0, 3, 1);
        auto receiver = spawn(
            p.waits(),
            [](recv_chan<int> in) -> task<std::optional<int>> {
                co_await in.recv();
                (void)co_await in.recv();
                const auto v = co_await in.recv();
                co_return v;
            },
            c);
        const auto v = co_await receiver;
        CHECK(v == 2);
        co_await sender;
    });
}

TEST_CASE("go_24_double_close_and_send_on_closed_fail_and_change_nothing") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c(3);
        CHECK(c.try_send(1));
        CHECK(c.try_send(2));
        c.close();
        auto misuse = spawn(
            p.wakes(),
            [](chan<int> it) -> task<> {
                CHECK_THROWS_AS(it.close(), ringo::channel_closed);
                CHECK_THROWS_AS(it.try_send(3), ringo::channel_closed);
                CHECK_THROWS_AS(co_await it.send(3), ringo::channel_closed);
                CHECK_THROWS_AS(co_await select(it.send(3)), ringo::channel_closed);
            },
            c);
        co_await misuse;
        CHECK(c.closed());
        CHECK(c.len() == 2);
        CHECK(c.try_recv() == 1);
        CHECK(c.try_recv() == 2);
        CHECK(is_closed(c.try_recv()));
        const chan<int> nil = nullptr;
        CHECK_THROWS_AS(nil.close(), std::system_error);
    });
}

namespace {

task<> generate(send_chan<int> out) {
    for (int i = 2;; ++i) {
        co_await out.send(i);
    }
}
task<> filter(recv_chan<int> in, send_chan<int> out, int prime) {
    while (const auto v = co_await in.recv()) {
        if (*v % prime != 0) {
            co_await out.send(*v);
        }
    }
}

}  // namespace

TEST_CASE("go_25_prime_sieve") {
    test::for_each_core_count([](placement p) -> task<> {
        chan<int> c;
        ringo::go(p.wakes(), generate, c);
        std::vector<int> primes;
        for (std::size_t i = 0; i < 60; ++i) {
            const auto v = co_await c.recv();
            primes.push_back(v.value());
            const chan<int> next;
            ringo::go(p.nth(i), filter, c, next, *v);
            c = next;
        }
        CHECK(primes[0] == 2);
        CHECK(primes[24] == 97);
        CHECK(primes[59] == 281);
    });
}

TEST_CASE("go_26_a_chain_of_ten_thousand_links_ends") {
    test::for_each_core_count([](placement p) -> task<> {
        const chan<int> leftmost;
        chan<int> right = leftmost;
        for (std::size_t i = 0; i < 10'000; ++i) {
            const chan<int> left = right;
            right = chan<int>();
            ringo::go(
                p.nth(i / 1'000),
                [](send_chan<int> out, recv_chan<int> in) -> task<> {
                    const auto v = co_await in.recv();
                    co_await out.send(v.value() + 1);
                },
                left, right);
        }
        ringo::go(p.wakes(), send, right, 0);
        const auto v = co_await leftmost.recv();
        CHECK(v == 10'000);
    });
}

TEST_CASE("go_79_the_value_of_a_cancelled_send_stays_with_the_sender") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<std::unique_ptr<int>> c;
        auto sender = spawn(
            p.waits(),
            [](send_chan<std::unique_ptr<int>> out) -> task<int> {
                auto value = std::make_unique<int>(7);
                CHECK_THROWS_AS(co_await out.send(std::move(value)), ringo::cancelled);
                CHECK_THROWS_AS(co_await out.send(std::move(value)), ringo::cancelled);  // on entry
                CHECK_THROWS_AS(co_await select(out.send(std::move(value))), ringo::cancelled);
                co_return *value;
            },
            c);
        co_await until_parked(p.waiter, sender, "chan send");
        auto cancels = spawn(
            p.wakes(),
            [](join_handle<int>& h) -> task<> {
                h.cancel();
                co_return;
            },
            std::ref(sender));
        co_await cancels;
        const int kept = co_await sender;
        CHECK(kept == 7);
        CHECK(c.len() == 0);
        CHECK_FALSE(c.try_recv().has_value());
    });
}

TEST_CASE("go_79_a_send_is_cancelled_or_received_never_both") {
    test::for_each_placement([](placement p) -> task<> {
        int received = 0;
        int kept = 0;
        for (int round = 0; round < 300; ++round) {
            const chan<std::unique_ptr<int>> c;
            auto sender = spawn(
                p.waits(),
                [](send_chan<std::unique_ptr<int>> out) -> task<bool> {
                    auto value = std::make_unique<int>(7);
                    const auto sent = co_await ringo::as_result(out.send(std::move(value)));
                    CHECK(sent.has_value() == (value == nullptr));
                    co_return value != nullptr;
                },
                c);
            auto receiver = spawn(
                p.wakes(),
                [](recv_chan<std::unique_ptr<int>> in, int turns) -> task<bool> {
                    for (int i = 0; i < turns; ++i) {
                        co_await ringo::yield();
                    }
                    const auto v = in.try_recv();
                    co_return v.has_value();
                },
                c, round % 4);
            for (int i = 0; i < round % 3; ++i) {
                co_await ringo::yield();
            }
            sender.cancel();
            const bool keeps = co_await sender;
            const bool has = co_await receiver;
            CHECK(keeps != has);
            received += has ? 1 : 0;
            kept += keeps ? 1 : 0;
        }
        CHECK(received + kept == 300);
    });
}

namespace {

struct no_copy_today {
    explicit no_copy_today(int n) : value(n) {}
    no_copy_today(const no_copy_today& other) : value(other.value) {
        if (value < 0) {
            throw std::runtime_error("the copy");
        }
    }
    int value;
};

}  // namespace

TEST_CASE("go_80_exceptions_pass_through_every_layer") {
    test::for_each_placement([](placement p) -> task<> {
        // What a goroutine throws between two channel operations reaches who joins it, through
        // timeouts, contexts and shields; what it was receiving from is as it was.
        const chan<int> c(1);
        auto fails = spawn(
            p.waits(),
            [](chan<int> it) -> task<> {
                const auto inner = [](chan<int> in) -> task<> {
                    const auto v = co_await ringo::timeout(1h, in.recv());
                    throw std::runtime_error("after " + std::to_string(v.value()));
                };
                const auto outer = [inner](chan<int> in) -> task<> {
                    co_await ringo::timeout(1h, inner(in));
                };
                co_await ringo::within(ringo::this_context(), ringo::shield(outer(it)));
            },
            c);
        auto wakes = spawn(p.wakes(), send_all, c, 5, 7, 1);
        std::string caught;
        try {
            co_await fails;
        } catch (const std::runtime_error& e) {
            caught = e.what();
        }
        CHECK(caught == "after 5");
        co_await wakes;
        CHECK(c.try_recv() == 6);

        // A copy that throws has sent nothing.
        const chan<no_copy_today> copies(1);
        const no_copy_today bad(-1);
        CHECK_THROWS_WITH(co_await copies.send(bad), "the copy");
        CHECK_THROWS_WITH(co_await select(copies.send(bad), c.recv()), "the copy");
        CHECK_THROWS_WITH(copies.try_send(bad), "the copy");
        CHECK(copies.len() == 0);
        co_await copies.send(no_copy_today(3));
        CHECK(copies.try_recv()->value == 3);
    });
}
