// Go's scenarios for channels (test/chan, runtime/chan_test.go), by their numbers in the list of
// conformance.
#include <doctest/doctest.h>

#include "conformance/placements.hpp"

#include <ringo/ringo.hpp>

#include <optional>

using ringo::chan;
using ringo::spawn;
using ringo::task;
using test::placement;

namespace {

task<std::optional<int>> receive(ringo::recv_chan<int> c) {
    const std::optional<int> v = co_await c.recv();
    co_return v;
}
bool would_block(const ringo::result<int>& r) {
    return !r.has_value() && r.error() == ringo::errc::would_block;
}
task<> send(ringo::send_chan<int> c, int value) { co_await c.send(value); }

}  // namespace

TEST_CASE("go_01_empty_recv_parks_and_try_fails") {
    test::for_each_placement([](placement p) -> task<> {
        for (const int capacity : {0, 1, 10}) {
            const chan<int> c(capacity);
            CHECK(would_block(c.try_recv()));
            auto receiver = spawn(p.waits(), receive, c);
            co_await test::until_parked(p.waiter, receiver, "chan receive");
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
            co_await test::until_parked(p.waiter, sender, "chan send");
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
