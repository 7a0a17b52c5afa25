#include <ringo/detail/bias_lock.hpp>

#include <doctest/doctest.h>

#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/task.hpp>

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

using ringo::task;
using ringo::detail::bias_guard;
using ringo::detail::bias_lock;

namespace {

/// A plain counter: a lock that lets two in loses counts, and TSan sees it.
struct guarded {
    bias_lock lock;
    long count = 0;

    void add() {
        const bias_guard guard(lock);
        ++count;
    }
    long get() {
        const bias_guard guard(lock);
        return count;
    }
};

}  // namespace

TEST_CASE("is_its_home_cores_until_another_thread_takes_it") {
    guarded early;  // of no core
    ringo::run([&early]() -> task<> {
        guarded own;
        own.add();
        CHECK_FALSE(early.lock.is_biased_here());
        early.add();
        std::thread([&] {
            own.add();
            early.add();
        }).join();
        CHECK_FALSE(own.lock.is_biased_here());
        own.add();
        CHECK(own.get() == 3);
        CHECK(early.get() == 2);
        co_return;
    });
    CHECK(early.get() == 2);
}

TEST_CASE("a_guard_lets_go_early_once") {
    ringo::run([]() -> task<> {
        guarded a;
        guarded b;
        bias_guard guard(a.lock);
        guard.unlock();
        guard.unlock();
        b.add();  // nothing is held
        a.add();
        std::thread([&] { a.add(); }).join();
        CHECK(a.get() == 2);
        co_return;
    });
}

TEST_CASE("threads_take_fresh_locks_from_a_core_that_uses_them") {
    static constexpr std::size_t locks = 2'000;
    static constexpr int threads = 3;
    static constexpr int each = 20;
    ringo::run([]() -> task<> {
        std::deque<guarded> all;
        std::atomic<std::size_t> made = 0;
        std::atomic<guarded*> latest = nullptr;
        std::vector<std::thread> others;
        for (int t = 0; t < threads; ++t) {
            others.emplace_back([&] {
                // Each lock that it catches is biased when the first comes.
                for (guarded* seen = nullptr; made != locks;) {
                    guarded* const it = latest;
                    if (it == seen) {
                        std::this_thread::yield();
                        continue;
                    }
                    seen = it;
                    for (int i = 0; i < each; ++i) {
                        it->add();
                        it->add();
                        const bias_guard guard(it->lock);
                        it->count -= 2;
                    }
                }
            });
        }
        for (std::size_t n = 1; n <= locks; ++n) {
            guarded& it = all.emplace_back();
            latest = &it;
            for (int i = 0; i < each; ++i) {
                it.add();
            }
            made = n;
        }
        for (std::thread& t : others) {
            t.join();
        }
        for (guarded& it : all) {
            CHECK(it.get() == each);
        }
        co_return;
    });
}

TEST_CASE("cores_hammer_each_others_locks") {
    static constexpr int rounds = 20;
    static constexpr int each = 200;
    for (const unsigned cores : {2U, 4U}) {
        ringo::run(
            [cores]() -> task<> {
                for (int round = 0; round < rounds; ++round) {
                    // One of each core, still biased to it.
                    std::vector<std::unique_ptr<guarded>> all(cores);
                    for (std::size_t core = 0; core < cores; ++core) {
                        auto makes = ringo::spawn(ringo::on(core), [&it = all[core]]() -> task<> {
                            it = std::make_unique<guarded>();
                            co_return;
                        });
                        co_await makes;
                    }
                    std::vector<ringo::join_handle<void>> others;
                    for (std::size_t core = 0; core < cores; ++core) {
                        others.push_back(ringo::spawn(ringo::on(core), [&all, core]() -> task<> {
                            // Its own first, then more and more of the others'.
                            for (std::size_t i = 0; i < each; ++i) {
                                all[(core + i * i / each) % all.size()]->add();
                                if (i % 64 == 0) {
                                    co_await ringo::yield();
                                }
                            }
                        }));
                    }
                    long sum = 0;
                    for (auto& other : others) {
                        co_await other;
                    }
                    for (auto& it : all) {
                        sum += it->get();
                    }
                    CHECK(sum == each * static_cast<long>(cores));
                }
            },
            {.cores = cores, .pin = false});
    }
}

TEST_CASE("the_slots_of_a_run_serve_the_next_and_its_locks_live_on") {
    std::vector<std::unique_ptr<guarded>> kept;
    for (int round = 1; round <= 5; ++round) {
        ringo::run(
            [&]() -> task<> {
                // Those of earlier runs are biased to a slot that some core here may have now.
                for (auto& it : kept) {
                    auto elsewhere = ringo::spawn(ringo::on(1), [&it]() -> task<> {
                        it->add();
                        co_return;
                    });
                    it->add();
                    co_await elsewhere;
                }
                for (const std::size_t core : {0U, 1U}) {
                    auto makes = ringo::spawn(ringo::on(core), [&kept]() -> task<> {
                        kept.push_back(std::make_unique<guarded>());
                        kept.back()->add();
                        co_return;
                    });
                    co_await makes;
                }
            },
            {.cores = 2});
    }
    for (std::size_t i = 0; i < kept.size(); ++i) {
        CHECK(kept[i]->get() == 1 + 2 * (4 - static_cast<long>(i) / 2));
    }
}

TEST_CASE("two_runtimes_share_locks") {
    static constexpr int count = 5'000;
    std::atomic<guarded*> shared = nullptr;
    std::atomic<bool> finished = false;
    std::thread other([&] {
        ringo::run([&]() -> task<> {
            while (shared == nullptr) {
                co_await ringo::yield();
            }
            for (int i = 0; i < count; ++i) {
                shared.load()->add();
            }
            finished = true;
        });
    });
    ringo::run([&]() -> task<> {
        guarded mine;  // its home is here
        shared = &mine;
        for (int i = 0; i < count; ++i) {
            mine.add();
        }
        while (!finished) {
            co_await ringo::yield();
        }
        CHECK(mine.get() == 2 * count);
    });
    other.join();
}
