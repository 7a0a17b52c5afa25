#include <doctest/doctest.h>

#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using ringo::event;
using ringo::go;
using ringo::select;
using ringo::spawn;
using ringo::task;

namespace {

event global;  // made before there is a core

task<> waits(event& e, std::atomic<int>& released) {
    co_await e.wait();
    ++released;
}

}  // namespace

TEST_CASE("an_event_is_set_and_reset") {
    event e;
    CHECK_FALSE(e.is_set());
    e.reset();
    CHECK_FALSE(e.is_set());
    e.set();
    CHECK(e.is_set());
    e.set();
    CHECK(e.is_set());
    e.reset();
    CHECK_FALSE(e.is_set());
    CHECK(event(true).is_set());
}

TEST_CASE("wait_returns_at_once_while_set") {
    ringo::run([]() -> task<> {
        event e(true);
        bool others_ran = false;
        auto other = spawn([&others_ran]() -> task<> {
            others_ran = true;
            co_return;
        });
        co_await e.wait();
        co_await e.wait();
        CHECK_FALSE(others_ran);
        co_await other;
    });
}

TEST_CASE("set_wakes_all_who_wait_and_reset_makes_the_next_wait") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                event e;
                for (int round = 1; round <= 50; ++round) {
                    std::atomic<int> released = 0;
                    for (std::size_t i = 0; i < 8; ++i) {
                        go(ringo::on(i % ringo::cores()), waits, std::ref(e), std::ref(released));
                    }
                    for (std::size_t core = 0; core < ringo::cores(); ++core) {
                        co_await test::parked(core);
                    }
                    CHECK(released == 0);
                    e.set();
                    e.reset();  // who was woken stays so
                    auto late = spawn(waits, std::ref(e), std::ref(released));
                    co_await test::until([&] { return released == 8; });
                    co_await test::parked();
                    CHECK(released == 8);
                    e.set();
                    co_await late;
                    e.reset();
                }
            },
            {.cores = cores});
    }
}

TEST_CASE("a_thread_sets_a_global_in_one_run_after_another") {
    for (int round = 0; round < 3; ++round) {
        ringo::run(
            []() -> task<> {
                std::atomic<int> released = 0;
                auto here = spawn(waits, std::ref(global), std::ref(released));
                auto there = spawn(ringo::on(1), waits, std::ref(global), std::ref(released));
                co_await test::parked(1);
                std::thread([] { global.set(); }).join();
                co_await here;
                co_await there;
                global.reset();
            },
            {.cores = 2});
    }
}

TEST_CASE("an_events_wait_is_cancelled") {
    ringo::run(
        []() -> task<> {
            event e;
            std::atomic<int> released = 0;
            for (std::size_t core = 0; core < 2; ++core) {
                auto w = spawn(ringo::on(core), waits, std::ref(e), std::ref(released));
                auto stays = spawn(ringo::on(core), waits, std::ref(e), std::ref(released));
                co_await test::parked(core);
                const bool was_cancelled = co_await test::ends_cancelled(w);
                CHECK(was_cancelled);
                e.set();
                co_await stays;
                e.reset();
            }
            CHECK(released == 2);
        },
        {.cores = 2});
}

TEST_CASE("an_events_wait_has_a_deadline_and_is_an_operand_of_select") {
    test::virtual_run([]() -> task<> {
        event e;
        auto r = co_await select(e.wait(), ringo::otherwise);
        CHECK(r.index() == 1);
        auto s = co_await select(e.wait(), ringo::sleep(1s));
        CHECK(s.index() == 1);
        bool late = false;
        try {
            co_await ringo::timeout(1s, e.wait());
        } catch (const ringo::deadline_exceeded&) {
            late = true;
        }
        CHECK(late);
        go([&e]() -> task<> {
            co_await ringo::sleep(1s);
            e.set();
        });
        s = co_await select(e.wait(), ringo::sleep(1h));
        CHECK(s.index() == 0);
        CHECK(test::now() == 3s);
        r = co_await select(e.wait(), ringo::otherwise);
        CHECK(r.index() == 0);
    });
}

TEST_CASE("who_waited_may_destroy_the_event_at_once") {
    ringo::run(
        []() -> task<> {
            for (int i = 0; i < 500; ++i) {
                auto e = std::make_unique<event>();
                go(ringo::on(1), [&set = *e]() -> task<> {
                    set.set();
                    co_return;
                });
                co_await e->wait();
                e.reset();
            }
        },
        {.cores = 2});
}

TEST_CASE("a_destroyed_event_leaves_its_waiters_until_they_are_cancelled") {
    ringo::run(
        []() -> task<> {
            auto e = std::make_unique<event>();
            std::atomic<int> released = 0;
            std::vector<ringo::join_handle<void>> waiters;
            for (std::size_t core = 0; core < 2; ++core) {
                waiters.push_back(spawn(ringo::on(core), waits, std::ref(*e), std::ref(released)));
                co_await test::parked(core);
            }
            e.reset();
            for (auto& w : waiters) {
                const bool was_cancelled = co_await test::ends_cancelled(w);
                CHECK(was_cancelled);
            }
            CHECK(released == 0);
        },
        {.cores = 2});
}

TEST_CASE("a_wait_that_has_ended_is_cancelled_when_its_event_is_gone") {
    ringo::run(
        []() -> task<> {
            for (int i = 0; i < 300; ++i) {
                auto e = std::make_unique<event>();
                auto scope = ringo::with_cancel(ringo::this_context());
                std::atomic<int> released = 0;
                auto w = spawn(ringo::on(1).with(scope), waits, std::ref(*e), std::ref(released));
                co_await test::parked(1);
                e->set();
                scope.cancel();
                e.reset();
                co_await w;  // it had been let go before
                CHECK(released == 1);
            }
        },
        {.cores = 2});
}

TEST_CASE("a_select_leaves_an_event_that_is_gone") {
    for (const std::size_t core : {0U, 1U}) {
        ringo::run(
            [core]() -> task<> {
                for (int i = 0; i < 300; ++i) {
                    auto wins = std::make_unique<event>();
                    auto loses = std::make_unique<event>();
                    auto unset = std::make_unique<event>();
                    auto w = spawn(ringo::on(core), [&]() -> task<std::size_t> {
                        const auto r = co_await select(loses->wait(), wins->wait(), unset->wait());
                        co_return r.index();
                    });
                    co_await test::parked(core);
                    wins->set();
                    wins.reset();
                    loses->set();
                    loses.reset();
                    unset.reset();
                    const std::size_t index = co_await w;
                    CHECK(index == 1);
                }
            },
            {.cores = 2});
    }
}
