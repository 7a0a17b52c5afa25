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
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using ringo::go;
using ringo::permit;
using ringo::select;
using ringo::semaphore;
using ringo::spawn;
using ringo::task;
using ringo::wait_group;
using ringo::yield;

namespace {

semaphore global(3);  // made before there is a core

/// How many permits can be had now.
std::ptrdiff_t available(semaphore& s) {
    std::vector<permit> all;
    for (;;) {
        permit p = s.try_acquire();
        if (!p) {
            return static_cast<std::ptrdiff_t>(all.size());
        }
        all.push_back(std::move(p));
    }
}

task<> takes(semaphore& s, std::ptrdiff_t k, std::atomic<int>& got) {
    const permit p = co_await s.acquire(k);
    CHECK(p);
    ++got;
}

}  // namespace

TEST_CASE("acquire_takes_and_the_permit_gives_back") {
    ringo::run([]() -> task<> {
        semaphore s(3);
        {
            const permit two = co_await s.acquire(2);
            CHECK(two);
            CHECK(available(s) == 1);
            const permit one = co_await s.acquire();
            CHECK(available(s) == 0);
        }
        CHECK(available(s) == 3);
    });
}

TEST_CASE("a_permit_moves_and_is_released_once") {
    semaphore s(4);
    permit a = s.try_acquire(2);
    CHECK(a);
    permit b = std::move(a);
    CHECK_FALSE(a);
    CHECK(b);
    CHECK(available(s) == 2);
    a.release();
    CHECK(available(s) == 2);
    b.release();
    CHECK_FALSE(b);
    CHECK(available(s) == 4);
    b.release();
    CHECK(available(s) == 4);
    b = s.try_acquire(3);
    CHECK(available(s) == 1);
    b = s.try_acquire(1);
    CHECK(available(s) == 3);
    permit& same = b;
    b = std::move(same);
    CHECK(b);
    CHECK(available(s) == 3);
    b = permit();
    CHECK(available(s) == 4);
}

TEST_CASE("try_acquire_takes_all_or_nothing") {
    semaphore s(2);
    CHECK_FALSE(s.try_acquire(3));
    const permit one = s.try_acquire();
    CHECK_FALSE(s.try_acquire(2));
    CHECK(available(s) == 1);
    const permit none = s.try_acquire(0);
    CHECK(none);
    CHECK_FALSE(semaphore(0).try_acquire());
}

TEST_CASE("acquire_does_not_suspend_while_there_are_enough") {
    ringo::run([]() -> task<> {
        semaphore s(1);
        bool others_ran = false;
        auto other = spawn([&others_ran]() -> task<> {
            others_ran = true;
            co_return;
        });
        for (int i = 0; i < 3; ++i) {
            const permit p = co_await s.acquire();
            CHECK(p);
        }
        CHECK_FALSE(others_ran);
        co_await other;
    });
}

TEST_CASE("permits_are_given_in_order") {
    ringo::run([]() -> task<> {
        semaphore s(2);
        std::vector<int> order;
        permit all = co_await s.acquire(2);
        wait_group group;
        for (int i = 0; i < 10; ++i) {
            group.go(
                [&](int n) -> task<> {
                    const permit p = co_await s.acquire(1 + n % 2);
                    order.push_back(n);
                    co_await yield();
                },
                i);
        }
        co_await test::parked();
        all.release();
        co_await group.wait();
        CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
        CHECK(available(s) == 2);
    });
}

TEST_CASE("never_more_than_there_are") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                semaphore s(5);
                std::atomic<std::ptrdiff_t> inside = 0;
                wait_group group;
                for (std::size_t i = 0; i < 16; ++i) {
                    group.go(
                        ringo::on(i % ringo::cores()),
                        [&](std::ptrdiff_t k) -> task<> {
                            for (int round = 0; round < 100; ++round) {
                                const permit p = co_await s.acquire(k);
                                if ((inside += k) > 5) {
                                    CHECK_MESSAGE(false, "too many inside");
                                }
                                co_await yield();
                                inside -= k;
                            }
                        },
                        static_cast<std::ptrdiff_t>(i % 5 + 1));
                }
                co_await group.wait();
                CHECK(inside == 0);
                CHECK(available(s) == 5);
            },
            {.cores = cores});
    }
}

TEST_CASE("more_than_the_capacity_waits_until_cancelled_and_is_in_nobodys_way") {
    for (const std::size_t core : {0U, 1U}) {
        ringo::run(
            [core]() -> task<> {
                semaphore s(2);
                std::atomic<int> got = 0;
                auto greedy = spawn(ringo::on(core), takes, std::ref(s), 3, std::ref(got));
                co_await test::parked(core);
                const permit p = co_await s.acquire(2);
                CHECK(p);
                const ringo::chan<int> ready(1);
                co_await ready.send(1);
                const auto r = co_await select(s.acquire(3), ready.recv());
                CHECK(r.index() == 1);
                const bool was_cancelled = co_await test::ends_cancelled(greedy);
                CHECK(was_cancelled);
                CHECK(got == 0);
            },
            {.cores = 2});
    }
}

TEST_CASE("a_cancelled_acquire_takes_nothing_and_lets_those_behind_it_go_on") {
    ringo::run(
        []() -> task<> {
            for (std::size_t core = 0; core < 2; ++core) {
                semaphore s(3);
                permit two = co_await s.acquire(2);
                std::atomic<int> got = 0;
                auto head = spawn(ringo::on(core), takes, std::ref(s), 3, std::ref(got));
                co_await test::parked(core);
                auto next = spawn(ringo::on(1 - core), takes, std::ref(s), 1, std::ref(got));
                co_await test::parked(1 - core);
                auto last = spawn(ringo::on(core), takes, std::ref(s), 2, std::ref(got));
                co_await test::parked(core);
                CHECK(got == 0);
                const bool was_cancelled = co_await test::ends_cancelled(head);
                CHECK(was_cancelled);
                co_await next;
                CHECK_FALSE(last.done());
                two.release();
                co_await last;
                CHECK(got == 2);
                CHECK(available(s) == 3);
            }
        },
        {.cores = 2});
}

TEST_CASE("a_permit_that_was_granted_before_the_cancellation_is_kept") {
    ringo::run([]() -> task<> {
        semaphore s(1);
        permit p = co_await s.acquire();
        std::atomic<int> got = 0;
        auto w = spawn(takes, std::ref(s), 1, std::ref(got));
        co_await test::parked();
        p.release();
        w.cancel();
        co_await w;
        CHECK(got == 1);
        CHECK(available(s) == 1);
    });
}

TEST_CASE("a_race_of_cancellation_and_release_loses_no_permit") {
    ringo::run(
        []() -> task<> {
            semaphore s(2);
            for (int i = 0; i < 500; ++i) {
                std::atomic<int> got = 0;
                permit p = co_await s.acquire(2);
                auto a = spawn(ringo::on(1), takes, std::ref(s), 2, std::ref(got));
                auto b = spawn(ringo::on(1), takes, std::ref(s), 1, std::ref(got));
                if (i % 2 == 0) {
                    co_await test::parked(1);
                }
                a.cancel();
                p.release();
                const bool was_cancelled = co_await test::ends_cancelled(a);
                co_await b;
                CHECK(got == (was_cancelled ? 1 : 2));
                CHECK(available(s) == 2);
            }
        },
        {.cores = 2});
}

TEST_CASE("acquire_is_an_operand_of_select") {
    test::virtual_run([]() -> task<> {
        semaphore s(2);
        auto r = co_await select(s.acquire(2), ringo::otherwise);
        CHECK(r.index() == 0);
        {
            const permit won = std::get<0>(std::move(r));
            CHECK(won);
            r = co_await select(s.acquire(), ringo::otherwise);
            CHECK(r.index() == 1);
            auto t = co_await select(s.acquire(), ringo::sleep(1s));
            CHECK(t.index() == 1);
        }
        CHECK(available(s) == 2);
        permit all = co_await s.acquire(2);
        go([&all]() -> task<> {
            co_await ringo::sleep(1s);
            all.release();
        });
        {
            const auto t = co_await select(s.acquire(), s.acquire(), ringo::sleep(1h));
            CHECK(t.index() < 2);
            CHECK(available(s) == 1);
        }
        CHECK(available(s) == 2);
        CHECK(test::now() == 2s);
    });
}

TEST_CASE("a_loser_of_a_select_lets_those_behind_it_go_on") {
    for (const std::size_t core : {0U, 1U}) {
        ringo::run(
            [core]() -> task<> {
                semaphore s(2);
                const permit one = co_await s.acquire();
                const ringo::chan<int> c;
                std::atomic<int> got = 0;
                auto head = spawn(ringo::on(core), [&s, c]() -> task<std::size_t> {
                    const auto r = co_await select(s.acquire(2), c.recv());
                    co_return r.index();
                });
                co_await test::parked(core);
                auto behind = spawn(takes, std::ref(s), 1, std::ref(got));
                co_await test::parked();
                CHECK(got == 0);
                co_await c.send(1);
                co_await behind;
                const std::size_t won = co_await head;
                CHECK(won == 1);
                CHECK(available(s) == 1);
            },
            {.cores = 2});
    }
}

TEST_CASE("selects_race_with_releases_and_no_permit_is_lost") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        ringo::run(
            []() -> task<> {
                semaphore s(3);
                semaphore t(1);
                wait_group group;
                for (std::size_t i = 0; i < 8; ++i) {
                    group.go(
                        ringo::on(i % ringo::cores()),
                        [&](std::ptrdiff_t k) -> task<> {
                            for (int round = 0; round < 200; ++round) {
                                const auto r = co_await select(s.acquire(k), t.acquire());
                                co_await yield();
                            }
                        },
                        static_cast<std::ptrdiff_t>(i % 3 + 1));
                }
                co_await group.wait();
                CHECK(available(s) == 3);
                CHECK(available(t) == 1);
            },
            {.cores = cores});
    }
}

TEST_CASE("acquire_has_a_deadline") {
    test::virtual_run([]() -> task<> {
        semaphore s(1);
        const permit p = co_await s.acquire();
        for (const std::ptrdiff_t k : {1, 2}) {
            bool late = false;
            try {
                const permit q = co_await ringo::timeout(1s, s.acquire(k));
            } catch (const ringo::deadline_exceeded&) {
                late = true;
            }
            CHECK(late);
        }
        CHECK(test::now() == 2s);
    });
}

TEST_CASE("threads_acquire_and_release_a_global_in_one_run_after_another") {
    for (int round = 0; round < 3; ++round) {
        permit before = global.try_acquire(2);
        CHECK(before);
        ringo::run(
            [&before]() -> task<> {
                std::atomic<int> got = 0;
                auto here = spawn(takes, std::ref(global), 3, std::ref(got));
                auto there = spawn(ringo::on(1), takes, std::ref(global), 2, std::ref(got));
                co_await test::parked(1);
                CHECK(got <= 1);
                std::thread([&before] { before.release(); }).join();
                co_await here;
                co_await there;
            },
            {.cores = 2});
        CHECK(available(global) == 3);
    }
}

TEST_CASE("a_permit_granted_to_a_goroutine_that_never_runs_again_is_not_lost") {
    ringo::run(
        []() -> task<> {
            for (std::size_t core = 0; core < 2; ++core) {
                go(ringo::on(core), []() -> task<> {
                    for (;;) {
                        // Not to be cancelled, so it is destroyed at the end of the run, at
                        // whatever point it is.
                        const permit p = co_await ringo::shield(global.acquire(2));
                        co_await ringo::shield(ringo::sleep(0ns));
                    }
                });
            }
            co_await test::parked(1);
        },
        {.cores = 2, .shutdown_grace = 1ms});
    CHECK(available(global) == 3);
}

TEST_CASE("misuse_of_a_semaphore_is_a_panic") {
    const std::string text = "semaphore: a negative number of permits";
    test::expect_panic(text, [] { const semaphore s(-1); });
    test::expect_panic(text, [] {
        semaphore s(1);
        const permit p = s.try_acquire(-1);
    });
    test::expect_panic(text, [] {
        ringo::run([]() -> task<> {
            semaphore s(1);
            const permit p = co_await s.acquire(-1);
        });
    });
}

TEST_CASE("a_destroyed_semaphore_still_serves_its_waiters_or_they_are_cancelled") {
    ringo::run(
        []() -> task<> {
            for (std::size_t core = 0; core < 2; ++core) {
                std::optional<semaphore> s(std::in_place, 2);
                permit all = co_await s->acquire(2);
                std::atomic<int> got = 0;
                auto stays = spawn(ringo::on(core), takes, std::ref(*s), 2, std::ref(got));
                auto goes = spawn(ringo::on(core), takes, std::ref(*s), 1, std::ref(got));
                auto greedy = spawn(ringo::on(core), takes, std::ref(*s), 3, std::ref(got));
                co_await test::parked(core);
                s.reset();
                bool was_cancelled = co_await test::ends_cancelled(goes);
                CHECK(was_cancelled);
                was_cancelled = co_await test::ends_cancelled(greedy);
                CHECK(was_cancelled);
                all.release();
                co_await stays;
                CHECK(got == 1);
            }
        },
        {.cores = 2});
}

TEST_CASE("permits_may_outlive_their_semaphore") {
    std::vector<permit> kept;
    {
        semaphore s(3);
        kept.push_back(s.try_acquire());
        kept.push_back(s.try_acquire(2));
        kept.push_back(s.try_acquire(0));
    }
    kept[1].release();
    kept[0].release();
    CHECK(kept[2]);
}

TEST_CASE("holders_and_waiters_of_a_local_unwind_when_main_ends") {
    for (int round = 0; round < 20; ++round) {
        ringo::run(
            []() -> task<> {
                semaphore s(2);
                for (std::size_t i = 0; i < 20; ++i) {
                    go(ringo::on(i % 2), [&s]() -> task<> {
                        const permit p = co_await s.acquire();
                        co_await ringo::sleep(ringo::duration::max());
                    });
                }
                co_await test::parked(1);
            },
            {.cores = 2});
    }
}
