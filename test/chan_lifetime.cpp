// Channels whose last handle goes while goroutines still have to do with them.
#include <doctest/doctest.h>

#include <ringo/ringo.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>

using ringo::chan;
using ringo::select;
using ringo::spawn;
using ringo::task;
using ringo::yield;

namespace {

/// Keeps a core from learning what another one does meanwhile.
struct hold {
    std::atomic<bool> held = false;
    std::atomic<bool> go_on = false;

    void wait_until_held() const {
        while (!held) {
            std::this_thread::yield();
        }
    }
    /// On the core to be held.
    void here() {
        held = true;
        while (!go_on) {
            std::this_thread::yield();
        }
    }
};

}  // namespace

TEST_CASE("a_select_leaves_a_channel_that_went_after_another_arm_had_won") {
    for (const bool close : {true, false}) {
        CAPTURE(close);
        ringo::run(
            [close]() -> task<> {
                chan<int> a;
                chan<int> b;
                auto h = spawn([&]() -> task<int> {
                    auto r = co_await select(a.recv(), b.recv());
                    co_return std::get<0>(r).value();
                });
                co_await yield();
                CHECK(a.try_send(1));
                if (close) {
                    b.close();
                } else {
                    CHECK_FALSE(b.try_send(2));  // finds that the select is taken
                }
                b = nullptr;
                CHECK(co_await h == 1);
            },
            {.cores = 1});
    }
}

TEST_CASE("a_select_that_is_cancelled_leaves_a_channel_that_went") {
    ringo::run(
        []() -> task<> {
            chan<int> a;
            chan<int> b(1);
            CHECK(b.try_send(1));
            auto h = spawn([&]() -> task<> { co_await select(a.recv(), b.send(2)); });
            co_await yield();
            a = nullptr;
            b = nullptr;
            h.cancel();
            CHECK_THROWS_AS(co_await h, ringo::cancelled);
        },
        {.cores = 1});
}

TEST_CASE("a_wait_that_has_ended_is_cancelled_when_its_channel_is_gone") {
    for (const bool receives : {true, false}) {
        CAPTURE(receives);
        ringo::run(
            [receives]() -> task<> {
                chan<int> c;
                hold h;
                auto scope = ringo::with_cancel(ringo::this_context());
                auto waits = spawn(ringo::on(1).with(scope), [&]() -> task<int> {
                    if (receives) {
                        co_return (co_await c.recv()).value();
                    }
                    co_await c.send(1);
                    co_return 1;
                });
                auto cancels = spawn(ringo::on(1), [&]() -> task<> {
                    h.here();
                    scope.cancel();
                    co_return;
                });
                h.wait_until_held();
                if (receives) {
                    CHECK(c.try_send(1));
                } else {
                    CHECK(c.try_recv() == 1);
                }
                c = nullptr;
                h.go_on = true;
                co_await cancels;
                CHECK(co_await waits == 1);  // it had its value
            },
            {.cores = 2});
    }
}

TEST_CASE("a_channel_goes_with_the_last_of_its_waits") {
    ringo::run(
        []() -> task<> {
            const auto value = std::make_shared<int>(1);
            chan<std::shared_ptr<int>> c(1);
            CHECK(c.try_send(value));
            auto first = spawn([&]() -> task<> { co_await c.send(value); });
            auto second = spawn([&]() -> task<> { co_await c.send(value); });
            co_await yield();
            c = nullptr;
            first.cancel();
            CHECK_THROWS_AS(co_await first, ringo::cancelled);
            CHECK(value.use_count() == 3);  // this, the buffer's, the second's
            second.cancel();
            CHECK_THROWS_AS(co_await second, ringo::cancelled);
            CHECK(value.use_count() == 1);
        },
        {.cores = 1});
}

TEST_CASE("a_channel_that_another_core_served_goes_with_its_last_handle") {
    enum class kind { recv, send, won_arm, lost_arm };
    for (const kind k : {kind::recv, kind::send, kind::won_arm, kind::lost_arm}) {
        CAPTURE(k);
        ringo::run(
            [k]() -> task<> {
                const auto value = std::make_shared<int>(1);
                chan<std::shared_ptr<int>> c(1);
                chan<int> other;
                std::atomic<bool> waits = false;
                if (k == kind::send) {
                    CHECK(c.try_send(value));
                }
                auto waiter = spawn(ringo::on(1), [&]() -> task<> {
                    // It waits when this one runs, and stays on this core until it has been served.
                    ringo::go([&]() -> task<> {
                        waits = true;
                        co_return;
                    });
                    if (k == kind::recv) {
                        co_await c.recv();
                    } else if (k == kind::send) {
                        co_await c.send(value);
                    } else {
                        co_await select(c.recv(), other.recv());
                    }
                });
                while (!waits) {
                    std::this_thread::yield();
                }
                if (k == kind::send) {
                    CHECK(c.try_recv().has_value());
                } else if (k == kind::lost_arm) {
                    CHECK(other.try_send(1));
                } else {
                    CHECK(c.try_send(value));
                }
                if (k != kind::send) {
                    CHECK(c.try_send(value));  // into the buffer: nobody waits
                }
                co_await waiter;
                CHECK(value.use_count() == 2);  // this, the buffer's
                c = nullptr;
                CHECK(value.use_count() == 1);
            },
            {.cores = 2});
    }
}

TEST_CASE("handles_are_assigned") {
    chan<int> a(1);
    const chan<int> b(2);
    a = b;
    CHECK(a == b);
    chan<int> c = nullptr;
    c = std::move(a);
    CHECK(c == b);
    CHECK_FALSE(a);
    auto& same = c;
    c = same;
    CHECK(c == b);
    c = nullptr;
    CHECK_FALSE(c);
    ringo::recv_chan<int> r;
    r = b;
    CHECK(r.cap() == 2);
}
