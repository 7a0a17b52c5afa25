#include <doctest/doctest.h>

#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using ringo::go;
using ringo::select;
using ringo::spawn;
using ringo::task;
using ringo::wait_group;
using ringo::yield;
using test::sleeps_for_ever;

namespace {

wait_group global;  // made before there is a core

task<> waits(wait_group& group, std::atomic<int>& released) {
    co_await group.wait();
    ++released;
}

}  // namespace

TEST_CASE("wait_returns_at_once_at_zero") {
    ringo::run([]() -> task<> {
        wait_group group;
        bool others_ran = false;
        auto other = spawn([&others_ran]() -> task<> {
            others_ran = true;
            co_return;
        });
        co_await group.wait();
        CHECK_FALSE(others_ran);
        co_await other;
    });
}

TEST_CASE("wait_suspends_until_all_are_done") {
    ringo::run([]() -> task<> {
        wait_group group;
        std::atomic<int> released = 0;
        group.add();
        group.add(2);
        auto w = spawn(waits, std::ref(group), std::ref(released));
        for (int left = 3; left > 0; --left) {
            co_await test::parked(ringo::cores() - 1);
            CHECK(released == 0);
            group.done();
        }
        co_await w;
        CHECK(released == 1);
    });
}

TEST_CASE("add_of_a_negative_number_releases_too") {
    ringo::run([]() -> task<> {
        wait_group group;
        std::atomic<int> released = 0;
        group.add(5);
        auto w = spawn(waits, std::ref(group), std::ref(released));
        co_await test::parked(ringo::cores() - 1);
        group.add(-4);
        co_await test::parked(ringo::cores() - 1);
        CHECK(released == 0);
        group.add(-1);
        co_await w;
    });
}

TEST_CASE("waits_are_released_in_order") {
    ringo::run([]() -> task<> {
        wait_group group;
        group.add();
        std::vector<int> order;
        for (int i = 0; i < 10; ++i) {
            go(
                [&group, &order](int n) -> task<> {
                    co_await group.wait();
                    order.push_back(n);
                },
                i);
        }
        co_await test::parked(ringo::cores() - 1);
        group.done();
        co_await test::parked(ringo::cores() - 1);
        CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    });
}

TEST_CASE("go_counts_until_the_goroutine_has_ended") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                wait_group group;
                std::atomic<int> ended = 0;
                for (std::size_t i = 0; i < 100; ++i) {
                    group.go(
                        ringo::on(i % ringo::cores()),
                        [&ended](std::size_t yields) -> task<> {
                            for (; yields > 0; --yields) {
                                co_await yield();
                            }
                            ++ended;
                        },
                        i % 7);
                }
                group.go(ringo::anywhere, [&ended]() -> task<int> { co_return ++ended; });
                group.go(ringo::with(ringo::this_context()), test::parked());
                co_await group.wait();
                CHECK(ended == 101);
            },
            {.cores = cores});
    }
}

TEST_CASE("go_is_done_after_callable_and_arguments_are_destroyed") {
    ringo::run(
        []() -> task<> {
            for (std::size_t core = 0; core < 2; ++core) {
                wait_group group;
                auto argument = std::make_shared<int>(1);
                auto captured = std::make_shared<int>(2);
                group.go(
                    ringo::on(core),
                    [captured](const std::shared_ptr<int>&) -> task<std::shared_ptr<int>> {
                        co_await yield();
                        co_return captured;
                    },
                    argument);
                co_await group.wait();
                CHECK(argument.use_count() == 1);
                CHECK(captured.use_count() == 1);
            }
        },
        {.cores = 2});
}

TEST_CASE("go_is_done_when_the_goroutine_is_cancelled") {
    ringo::run(
        []() -> task<> {
            wait_group group;
            auto scope = ringo::with_cancel(ringo::this_context());
            for (std::size_t i = 0; i < 10; ++i) {
                group.go(ringo::on(i % 2).with(scope.ctx()), sleeps_for_ever);
            }
            co_await test::parked(ringo::cores() - 1);
            scope.cancel();
            co_await group.wait();
        },
        {.cores = 2});
}

TEST_CASE("go_is_done_when_the_goroutine_is_destroyed_at_the_end_of_the_run") {
    std::optional<wait_group> group(std::in_place);
    ringo::run(
        [&group]() -> task<> {
            for (std::size_t core = 0; core < 2; ++core) {
                group->go(ringo::on(core), []() -> task<> {
                    for (;;) {
                        co_await ringo::shield(ringo::sleep(1h));
                    }
                });
            }
            co_await test::parked(ringo::cores() - 1);
        },
        {.cores = 2, .shutdown_grace = 1ms});
    ringo::run([&group]() -> task<> { co_await group->wait(); });
}

TEST_CASE("go_may_outlive_its_wait_group") {
    ringo::run(
        []() -> task<> {
            std::atomic<int> ended = 0;
            std::atomic<bool> end = false;
            {
                wait_group group;
                for (std::size_t i = 0; i < 10; ++i) {
                    group.go(ringo::on(i % 2), [&ended, &end]() -> task<> {
                        while (!end) {
                            co_await yield();
                        }
                        ++ended;
                    });
                }
            }
            end = true;
            co_await test::until([&] { return ended == 10; });
        },
        {.cores = 2});
}

TEST_CASE("an_exception_that_leaves_a_counted_goroutine_is_a_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        ringo::run([]() -> task<> {
            wait_group group;
            group.go([]() -> task<> {
                throw std::runtime_error("nobody listens");
                co_return;
            });
            co_await group.wait();
        });
    });
}

TEST_CASE("a_negative_counter_is_a_panic") {
    test::expect_panic("wait_group: negative counter", [] {
        ringo::run([]() -> task<> {
            wait_group group;
            group.done();
            co_return;
        });
    });
    test::expect_panic("wait_group: negative counter", [] {
        wait_group group;
        group.add(2);
        group.add(-3);
    });
    test::expect_panic("wait_group: negative counter", [] {
        ringo::run([]() -> task<> {
            wait_group group;
            group.go([&group]() -> task<> {
                group.done();
                co_return;
            });
            co_await group.wait();
            co_await sleeps_for_ever();
        });
    });
}

TEST_CASE("wait_is_cancelled") {
    ringo::run(
        []() -> task<> {
            wait_group group;
            group.add();
            std::atomic<int> released = 0;
            for (std::size_t core = 0; core < 2; ++core) {
                auto w = spawn(ringo::on(core), waits, std::ref(group), std::ref(released));
                co_await test::parked(ringo::cores() - 1);
                const bool was_cancelled = co_await test::ends_cancelled(w);
                CHECK(was_cancelled);
            }
            CHECK(released == 0);
            group.done();
            co_await group.wait();
        },
        {.cores = 2});
}

TEST_CASE("wait_has_a_deadline") {
    test::virtual_run([]() -> task<> {
        wait_group group;
        group.add();
        bool late = false;
        try {
            co_await ringo::timeout(1s, group.wait());
        } catch (const ringo::deadline_exceeded&) {
            late = true;
        }
        CHECK(late);
        CHECK(test::now() == 1s);
        group.done();
        co_await ringo::timeout(1s, group.wait());
    });
}

TEST_CASE("wait_fails_at_once_in_a_cancelled_goroutine") {
    ringo::run([]() -> task<> {
        wait_group group;
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        const auto r = co_await ringo::as_result(ringo::within(scope.ctx(), group.wait()));
        CHECK(r.error() == std::errc::operation_canceled);
    });
}

TEST_CASE("wait_is_an_operand_of_select") {
    test::virtual_run([]() -> task<> {
        wait_group group;
        group.add();
        auto r = co_await select(group.wait(), ringo::otherwise);
        CHECK(r.index() == 1);
        go([&group]() -> task<> {
            co_await ringo::sleep(1s);
            group.done();
        });
        const ringo::chan<int> never;
        auto s = co_await select(never.recv(), group.wait());
        CHECK(s.index() == 1);
        CHECK(test::now() == 1s);
        r = co_await select(group.wait(), ringo::otherwise);
        CHECK(r.index() == 0);
        group.add();
        auto t = co_await select(group.wait(), ringo::sleep(1s));
        CHECK(t.index() == 1);
        group.done();
    });
}

TEST_CASE("wait_in_select_wins_or_loses_from_another_core") {
    ringo::run(
        []() -> task<> {
            for (int i = 0; i < 300; ++i) {
                wait_group group;
                group.add();
                const ringo::chan<int> c(1);
                go(
                    ringo::on(1), [](ringo::chan<int> other) -> task<> { co_await other.send(1); },
                    c);
                group.go(ringo::on(1), [&group]() -> task<> {
                    group.done();
                    co_return;
                });
                const auto r = co_await select(group.wait(), c.recv());
                if (r.index() == 0) {
                    const auto v = co_await c.recv();
                    CHECK(v == 1);
                }
                co_await group.wait();
            }
        },
        {.cores = 2});
}

TEST_CASE("a_global_works_from_anywhere_and_again_in_the_next_run") {
    for (int round = 0; round < 3; ++round) {
        global.add();
        ringo::run(
            []() -> task<> {
                std::atomic<int> released = 0;
                auto here = spawn(waits, std::ref(global), std::ref(released));
                auto there = spawn(ringo::on(1), waits, std::ref(global), std::ref(released));
                co_await test::parked(ringo::cores() - 1);
                CHECK(released == 0);
                std::thread([] { global.done(); }).join();
                co_await here;
                co_await there;
            },
            {.cores = 2});
    }
}

TEST_CASE("threads_add_and_are_done") {
    ringo::run(
        []() -> task<> {
            wait_group group;
            std::vector<std::thread> threads;
            for (int t = 0; t < 4; ++t) {
                group.add();
                threads.emplace_back([&group] {
                    for (int i = 0; i < 1000; ++i) {
                        group.add(2);
                        group.done();
                        group.done();
                    }
                    group.done();
                });
            }
            for (int i = 0; i < 1000; ++i) {
                group.add();
                group.done();
            }
            co_await group.wait();
            for (auto& t : threads) {
                t.join();
            }
        },
        {.cores = 1});
}

TEST_CASE("who_waited_may_destroy_it_at_once") {
    for (const std::size_t cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                for (int i = 0; i < 300; ++i) {
                    auto group = std::make_unique<wait_group>();
                    wait_group& g = *group;
                    for (std::size_t n = 0; n < 3; ++n) {
                        g.add();
                        go(ringo::on(n % ringo::cores()), [&g]() -> task<> {
                            g.done();
                            co_return;
                        });
                        g.go(ringo::on(n % ringo::cores()), []() -> task<> { co_return; });
                    }
                    co_await g.wait();
                    group.reset();
                }
            },
            {.cores = static_cast<unsigned>(cores)});
    }
}

TEST_CASE("destroyed_with_waiters_it_leaves_them_waiting_until_they_are_cancelled") {
    for (const unsigned cores : {1U, 2U}) {
        ringo::run(
            []() -> task<> {
                auto group = std::make_unique<wait_group>();
                group->add();
                std::atomic<int> released = 0;
                std::atomic<int> arrived = 0;
                std::vector<ringo::join_handle<void>> waiters;
                for (std::size_t i = 0; i < 6; ++i) {
                    waiters.push_back(spawn(
                        ringo::on(i % ringo::cores()),
                        [&arrived, &released](wait_group& g, bool selects) -> task<> {
                            const ringo::chan<int> never;
                            ++arrived;
                            if (selects) {
                                co_await select(g.wait(), never.recv());
                            } else {
                                co_await g.wait();
                            }
                            ++released;
                        },
                        std::ref(*group), i >= 4));
                }
                co_await test::parked(ringo::cores() - 1);
                CHECK(arrived == 6);
                group.reset();
                for (auto& w : waiters) {
                    const bool was_cancelled = co_await test::ends_cancelled(w);
                    CHECK(was_cancelled);
                }
                CHECK(released == 0);
            },
            {.cores = cores});
    }
}

TEST_CASE("destroyed_while_other_cores_cancel_its_waiters") {
    ringo::run(
        []() -> task<> {
            for (int i = 0; i < 200; ++i) {
                auto scope = ringo::with_cancel(ringo::this_context());
                wait_group cancelled;
                {
                    wait_group group;
                    group.add();
                    std::atomic<int> parked = 0;
                    for (std::size_t n = 0; n < 4; ++n) {
                        cancelled.go(
                            ringo::on(1).with(scope.ctx()),
                            [&parked](wait_group& g, bool selects) -> task<> {
                                if (selects) {
                                    const ringo::chan<int> never;
                                    ++parked;
                                    co_await select(g.wait(), never.recv());
                                } else {
                                    ++parked;
                                    co_await g.wait();
                                }
                            },
                            std::ref(group), n % 2 == 0);
                    }
                    co_await test::parked(1);
                    CHECK(parked == 4);
                    scope.cancel();
                }
                co_await cancelled.wait();
            }
        },
        {.cores = 2});
}

TEST_CASE("waiters_of_a_local_unwind_when_main_ends") {
    std::atomic<int> unwound = 0;
    ringo::run(
        [&unwound]() -> task<> {
            wait_group group;
            group.add();
            std::atomic<int> parked = 0;
            for (std::size_t i = 0; i < 1000; ++i) {
                go(
                    ringo::on(i % 2),
                    [](wait_group& g, std::atomic<int>& n, std::atomic<int>& out) -> task<> {
                        struct at_end {
                            ~at_end() { ++*count; }
                            std::atomic<int>* count;
                        };
                        const at_end guard{&out};
                        ++n;
                        co_await g.wait();
                    },
                    std::ref(group), std::ref(parked), std::ref(unwound));
            }
            co_await test::until([&] { return parked == 1000; });
            co_await test::parked(1);
        },
        {.cores = 2});
    CHECK(unwound == 1000);
}
