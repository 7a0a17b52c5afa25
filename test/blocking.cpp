#include <doctest/doctest.h>

#include <ringo/ringo.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <csignal>

using namespace std::chrono_literals;
using ringo::blocking;
using ringo::spawn;
using ringo::task;
using ringo::yield;

namespace {

/// Holds threads back until it is opened.
class gate {
public:
    void open() {
        const std::lock_guard guard(lock_);
        open_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock guard(lock_);
        ++waiting_;
        most_ = std::max(most_, waiting_);
        changed_.wait(guard, [this] { return open_; });
        --waiting_;
    }
    int waiting() {
        const std::lock_guard guard(lock_);
        return waiting_;
    }
    int most() {
        const std::lock_guard guard(lock_);
        return most_;
    }

private:
    std::mutex lock_;
    std::condition_variable changed_;
    bool open_ = false;
    int waiting_ = 0;
    int most_ = 0;
};

}  // namespace

TEST_CASE("runs_on_another_thread_and_resumes_on_the_same_core") {
    ringo::run([]() -> task<> {
        const auto here = std::this_thread::get_id();
        const auto there = co_await blocking([] { return std::this_thread::get_id(); });
        CHECK(here != there);
        CHECK(std::this_thread::get_id() == here);
    });
}

TEST_CASE("gives_results_of_every_kind_and_rethrows") {
    ringo::run([]() -> task<> {
        int target = 0;
        co_await blocking([&target] { target = 1; });
        CHECK(target == 1);
        int& same = co_await blocking([&target]() -> int& { return target; });
        CHECK(&same == &target);
        auto makes = [p = std::make_unique<int>(4)]() mutable { return std::move(p); };
        const std::unique_ptr<int> owner = co_await blocking(std::move(makes));
        CHECK(*owner == 4);
        std::string caught;
        try {
            co_await blocking([]() -> int { throw std::runtime_error("from the thread"); });
        } catch (const std::runtime_error& e) {
            caught = e.what();
        }
        CHECK(caught == "from the thread");
    });
}

TEST_CASE("other_goroutines_run_meanwhile") {
    ringo::run(
        []() -> task<> {
            gate g;
            auto h = spawn([&g]() -> task<> { co_await blocking([&g] { g.wait(); }); });
            while (g.waiting() == 0) {
                co_await yield();
            }
            CHECK_FALSE(h.done());
            g.open();
            co_await h;
        },
        {.cores = 1});
}

TEST_CASE("at_most_64_run_at_once_and_the_others_wait_their_turn") {
    ringo::run([]() -> task<> {
        gate g;
        std::atomic<int> ran = 0;
        std::vector<ringo::join_handle<void>> handles;
        for (int i = 0; i < 200; ++i) {
            handles.push_back(spawn([&]() -> task<> {
                co_await blocking([&] {
                    g.wait();
                    ++ran;
                });
            }));
        }
        while (g.waiting() != 64) {
            co_await yield();
        }
        for (int i = 0; i < 100; ++i) {
            co_await yield();
        }
        CHECK(g.most() == 64);
        g.open();
        for (auto& h : handles) {
            co_await h;
        }
        CHECK(ran == 200);
        CHECK(g.most() == 64);
    });
}

TEST_CASE("cancelled_before_a_thread_takes_it_up_it_is_never_called") {
    ringo::run([]() -> task<> {
        gate g;
        std::vector<ringo::join_handle<void>> busy;
        for (int i = 0; i < 64; ++i) {
            busy.push_back(spawn([&g]() -> task<> { co_await blocking([&g] { g.wait(); }); }));
        }
        while (g.waiting() != 64) {
            co_await yield();
        }
        std::atomic<int> called = 0;
        std::vector<ringo::join_handle<bool>> queued;
        for (int i = 0; i < 9; ++i) {
            queued.push_back(spawn([&called]() -> task<bool> {
                const auto r = co_await ringo::as_result(blocking([&called] { ++called; }));
                co_return r.has_value();
            }));
        }
        co_await yield();
        // The first, the last, and one in the middle.
        for (const std::size_t i : {0, 4, 8}) {
            queued[i].cancel();
            const bool ran = co_await queued[i];
            CHECK_FALSE(ran);
        }
        g.open();
        for (const std::size_t i : {1, 2, 3, 5, 6, 7}) {
            const bool ran = co_await queued[i];
            CHECK(ran);
        }
        CHECK(called == 6);
        for (auto& h : busy) {
            co_await h;
        }
    });
}

TEST_CASE("cancelled_while_it_runs_it_is_waited_for_and_its_result_given") {
    ringo::run([]() -> task<> {
        gate g;
        auto h = spawn([&g]() -> task<int> {
            const int n = co_await blocking([&g] {
                g.wait();
                return 6;
            });
            co_return n;
        });
        while (g.waiting() == 0) {
            co_await yield();
        }
        h.cancel();
        for (int i = 0; i < 10; ++i) {
            co_await yield();
        }
        CHECK_FALSE(h.done());
        g.open();
        const int n = co_await h;
        CHECK(n == 6);
    });
}

TEST_CASE("all_cores_share_the_pool") {
    ringo::run(
        []() -> task<> {
            std::vector<ringo::join_handle<int>> handles;
            for (int i = 0; i < 1000; ++i) {
                handles.push_back(
                    spawn(ringo::on(static_cast<std::size_t>(i) % 3), [i]() -> task<int> {
                        const int n = co_await blocking([i] { return i; });
                        co_return n;
                    }));
            }
            int sum = 0;
            for (auto& h : handles) {
                sum += co_await h;
            }
            CHECK(sum == 999 * 1000 / 2);
        },
        {.cores = 3});
}

TEST_CASE("cancellation_races_with_threads_that_take_it_up") {
    ringo::run(
        []() -> task<> {
            for (int round = 0; round < 500; ++round) {
                std::atomic<bool> called = false;
                auto h = spawn(ringo::on(1), [&called]() -> task<bool> {
                    const auto r =
                        co_await ringo::as_result(blocking([&called] { called = true; }));
                    co_return r.has_value();
                });
                for (int i = 0; i < round % 6; ++i) {
                    co_await yield();
                }
                h.cancel();
                const bool ran = co_await h;
                CHECK(ran == called);
            }
        },
        {.cores = 2});
}

TEST_CASE("signals_are_not_delivered_to_its_threads") {
    ringo::run([]() -> task<> {
        const bool blocked = co_await blocking([] {
            sigset_t set;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &set);
            return ::sigismember(&set, SIGINT) == 1 && ::sigismember(&set, SIGTERM) == 1;
        });
        CHECK(blocked);
    });
}
