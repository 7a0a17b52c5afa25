// Random goroutines and threads that use one set of locks, on several cores: with deadlines,
// cancellation and selects. Plain variables under each lock show that it excludes, sums that
// nobody was left out. Primitives go while others wait for them. Beside them a once, a barrier,
// task groups and a timer, whose functions, phases, members and ticks are counted. Every program
// can end; one that does not has lost a wake-up.
// RINGO_STRESS scales it (default 1), RINGO_SEED repeats it, beginning with the program that had
// this seed.
#include <doctest/doctest.h>

#include "random.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::otherwise;
using ringo::select;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::generator;
using test::short_time;
using test::somewhere;

namespace {

task<> nap(ringo::duration d) {
    if (d > 2us) {
        co_await ringo::sleep(d);
    }
}

task<> cancel_soon(std::shared_ptr<ringo::cancel_scope> scope, ringo::duration d) {
    co_await nap(d);
    scope->cancel();
}

class program {
public:
    explicit program(std::uint32_t seed) : random_(seed) {}
    program(const program&) = delete;
    program& operator=(const program&) = delete;

    std::uint64_t done() const { return done_; }

    bool run() {
        ringo::run([this]() -> task<> { co_await everything(); }, {.cores = 1U << random_() % 3});
        for (std::thread& t : threads_) {
            t.join();
        }
        check(under_m_ == locked_, "a mutex let two in");
        check(under_s_ == written_, "a shared_mutex let two write");
        check(put_ == taken_ && queue_.empty(), "a queue under a condition_variable lost a value");
        check(bool(m_.try_lock()), "a mutex stays locked");
        check(bool(permits_.try_acquire(permits)), "a semaphore keeps permits");
        check(turns_ == std::vector<int>(turns_.size(), phases_), "a barrier let some go on early");
        check(ticks_ + taken_back_ == starts_, "a start of a timer had not one end");
        return wrong_ == 0;
    }

private:
    static constexpr int permits = 3;
    static constexpr std::size_t queue_max = 2;

    void check(bool right, const char* what) {
        if (!right) {
            std::printf("wrong: %s\n", what);
            ++wrong_;
        }
    }

    task<> linger(generator& random) {
        if (random() % 4 == 0) {
            co_await as_result(nap(random() % 2 == 0 ? 0us : short_time(random)));
            co_await as_result(yield());
        }
    }

    // --- while one is held ---

    task<> with_m(ringo::mutex::guard g, generator& random) {
        check(bool(g), "an empty guard");
        const long before = under_m_;
        co_await linger(random);
        under_m_ = before + 1;
        ++locked_;
    }
    task<> with_s(ringo::shared_mutex::guard g, generator& random) {
        check(bool(g), "an empty guard");
        check(readers_ == 0, "a shared_mutex let a writer in beside readers");
        const long before = under_s_;
        co_await linger(random);
        under_s_ = before + 1;
        ++written_;
    }
    task<> with_shared_s(ringo::shared_mutex::shared_guard g, generator& random) {
        check(bool(g), "an empty guard");
        ++readers_;
        const long before = under_s_;
        co_await linger(random);
        check(under_s_ == before, "a shared_mutex let a writer in");
        --readers_;
    }
    task<> with_permits(ringo::permit p, int k, generator& random) {
        check(bool(p), "an empty permit");
        check((permits_out_ += k) <= permits, "a semaphore gave too many permits");
        co_await linger(random);
        permits_out_ -= k;
    }

    // --- steps ---

    task<> lock_one(generator& random) {
        const int k = 1 + static_cast<int>(random() % permits);
        switch (random() % 12) {
            case 10:
                co_await run_once(random);
                break;
            case 11:
                co_await set_timer(random);
                break;
            case 0: {
                auto g = co_await m_.lock();
                co_await with_m(std::move(g), random);
                break;
            }
            case 1: {
                auto g = co_await ringo::timeout(short_time(random), m_.lock());
                co_await with_m(std::move(g), random);
                break;
            }
            case 2:
                if (auto g = m_.try_lock()) {
                    co_await with_m(std::move(g), random);
                }
                break;
            case 3: {
                auto g = co_await s_.lock();
                co_await with_s(std::move(g), random);
                break;
            }
            case 4: {
                auto g = co_await ringo::timeout(short_time(random), s_.lock());
                co_await with_s(std::move(g), random);
                break;
            }
            case 5: {
                auto g = co_await s_.lock_shared();
                co_await with_shared_s(std::move(g), random);
                break;
            }
            case 6: {
                auto g = co_await ringo::timeout(short_time(random), s_.lock_shared());
                co_await with_shared_s(std::move(g), random);
                break;
            }
            case 7: {
                auto p = co_await permits_.acquire(k);
                co_await with_permits(std::move(p), k, random);
                break;
            }
            case 8: {
                auto p = co_await ringo::timeout(short_time(random), permits_.acquire(k));
                co_await with_permits(std::move(p), k, random);
                break;
            }
            default:
                co_await select_one(random);
                break;
        }
    }
    task<> select_one(generator& random) {
        const int k = 1 + static_cast<int>(random() % permits);
        if (random() % 2 == 0) {
            auto r = co_await select(m_.lock(), s_.lock(), permits_.acquire(k),
                                     ringo::sleep(short_time(random)), s_.lock_shared());
            switch (r.index()) {
                case 0:
                    co_await with_m(std::get<0>(std::move(r)), random);
                    break;
                case 1:
                    co_await with_s(std::get<1>(std::move(r)), random);
                    break;
                case 2:
                    co_await with_permits(std::get<2>(std::move(r)), k, random);
                    break;
                case 4:
                    co_await with_shared_s(std::get<4>(std::move(r)), random);
                    break;
                default:
                    break;
            }
        } else {
            auto r = co_await select(s_.lock(), m_.lock(), group_.wait(), otherwise);
            if (r.index() == 0) {
                co_await with_s(std::get<0>(std::move(r)), random);
            } else if (r.index() == 1) {
                co_await with_m(std::get<1>(std::move(r)), random);
            }
        }
    }

    task<> put(generator& random) {
        auto g = co_await m_.lock();
        while (queue_.size() >= queue_max) {
            co_await not_full_.wait(g);
        }
        queue_.push_back(++put_);
        random() % 8 == 0 ? not_empty_.notify_all() : not_empty_.notify_one();
    }
    task<bool> take(bool in_time, generator& random) {
        auto g = co_await m_.lock();
        while (queue_.empty() && putters_ != 0) {
            if (in_time) {
                const auto r =
                    co_await as_result(ringo::timeout(short_time(random), not_empty_.wait(g)));
                check(bool(g), "a wait that failed came back without the mutex");
                if (!r) {
                    // It was not notified, so it need not notify another.
                    co_return true;
                }
            } else {
                co_await not_empty_.wait(g);
            }
        }
        if (queue_.empty()) {
            co_return false;
        }
        check(queue_.front() == ++taken_, "values of a queue out of order");
        queue_.pop_front();
        not_full_.notify_one();
        co_return true;
    }

    task<> run_once(generator& random) {
        const std::size_t i = random() % onces;
        if (random() % 4 == 0) {
            co_await ringo::timeout(short_time(random), once_[i].call([this, i] { ++runs_[i]; }));
        } else {
            co_await once_[i].call([this, i, &random]() -> task<> {
                ++runs_[i];
                co_await linger(random);
            });
        }
        check(runs_[i] == 1, "a once ran not once");
    }

    task<> set_timer(generator& random) {
        bool was_pending = false;
        if (random() % 3 == 0) {
            was_pending = timer_.stop();
        } else {
            ++starts_;
            was_pending = timer_.reset(short_time(random));
        }
        taken_back_ += was_pending ? 1 : 0;
        if (random() % 2 == 0) {
            const auto r = co_await select(ringo::sleep(short_time(random)), timer_, m_.lock());
            ticks_ += r.index() == 1 ? 1 : 0;
        }
    }

    // --- goroutines ---

    /// A party to the barrier, the n-th.
    task<> take_turns(std::size_t n, std::uint32_t seed) {
        generator random(seed);
        for (int turn = 1; turn <= phases; ++turn) {
            turns_[n] = turn;
            while (random() % 4 == 0) {
                co_await as_result(yield());
            }
            // Who gives up has not arrived.
            bool arrived = false;
            while (!arrived) {
                const auto wait = random() % 2 == 0 ? 1h : short_time(random);
                const auto r =
                    co_await as_result(ringo::timeout(wait, barrier_->arrive_and_wait()));
                arrived = r.has_value();
            }
            check(phases_ == turn, "a barrier let one go on early");
            ++done_;
        }
    }
    void end_phase() {
        ++phases_;
        check(turns_ == std::vector<int>(turns_.size(), phases_), "a phase ended early");
    }

    struct membership {
        explicit membership(std::atomic<int>& n) noexcept : count(&n) { ++*count; }
        membership(membership&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
        ~membership() {
            if (count != nullptr) {
                --*count;
            }
        }
        std::atomic<int>* count;
    };
    task<> be_member(std::uint32_t seed, bool fails, std::atomic<int>& running, int limit,
                     std::atomic<int>& ended, membership) {
        generator random(seed);
        check(++running <= limit, "a task_group runs too many");
        co_await linger(random);
        --running;
        if (fails) {
            throw std::system_error(std::make_error_code(std::errc::io_error));
        }
        ++ended;
    }
    task<> run_group(std::uint32_t seed) {
        generator random(seed);
        std::atomic<int> alive = 0;
        std::atomic<int> running = 0;
        std::atomic<int> ended = 0;
        const int n = static_cast<int>(random() % 6);
        const int limit = 1 + static_cast<int>(random() % 4);
        const bool fails = n != 0 && random() % 4 == 0;
        const bool in_time = random() % 2 == 0;
        ringo::task_group g;
        g.limit(static_cast<std::size_t>(limit));
        for (int i = 0; i < n; ++i) {
            g.go(somewhere(random), &program::be_member, this, random(), fails && i == n / 2,
                 std::ref(running), limit, std::ref(ended), membership(alive));
        }
        const auto r = co_await as_result(
            ringo::timeout(in_time ? ringo::duration(1h) : short_time(random), g.wait()));
        check(alive == 0 && running == 0, "a task_group left its members behind");
        check(!r || (!fails && ended == n), "a task_group forgot a member");
        check(r || !in_time || (fails && r.error() == std::errc::io_error),
              "a task_group failed without reason");
        ++done_;
    }

    task<> work(std::uint32_t seed) {
        generator random(seed);
        for (auto left = random() % 60; left > 0; --left) {
            const auto r = co_await as_result(lock_one(random));
            if (r) {
                ++done_;
            }
            co_await yield();
        }
    }
    task<> put_many(std::uint32_t seed) {
        generator random(seed);
        for (auto left = random() % 40; left > 0; --left) {
            co_await put(random);
            ++done_;
        }
        auto g = co_await m_.lock();
        if (--putters_ == 0) {
            not_empty_.notify_all();
        }
    }
    task<> take_many(std::uint32_t seed) {
        generator random(seed);
        while (co_await take(random() % 4 == 0, random)) {
        }
    }

    /// What a goroutine waits for while it goes.
    struct short_lived {
        ringo::event set;
        ringo::wait_group group;
        ringo::semaphore none{1};
        ringo::latch down{1};
    };
    static task<> wait_on(short_lived* p, unsigned way) {
        switch (way) {
            case 0:
                co_await p->set.wait();
                break;
            case 1:
                co_await p->group.wait();
                break;
            case 2:
                co_await p->down.wait();
                break;
            case 3: {
                const auto permit = co_await p->none.acquire();
                break;
            }
            default: {
                const auto r = co_await select(p->set.wait(), p->none.acquire(), p->group.wait());
                static_cast<void>(r);
                break;
            }
        }
    }
    task<> destroy(std::uint32_t seed) {
        generator random(seed);
        auto p = std::make_unique<short_lived>();
        p->group.add();
        auto held = p->none.try_acquire();
        auto scope =
            std::make_shared<ringo::cancel_scope>(ringo::with_cancel(ringo::this_context()));
        std::vector<ringo::join_handle<void>> handles;
        for (auto n = 1 + random() % 3; n > 0; --n) {
            const std::size_t core = random() % ringo::cores();
            handles.push_back(spawn(ringo::on(core).with(*scope), wait_on, p.get(), random() % 5));
            auto after = spawn(ringo::on(core), nap, 0us);
            co_await after;  // now it waits
            if (random() % 2 == 0) {
                ringo::go(ringo::on(core), cancel_soon, scope, 0us);
            }
        }
        switch (random() % 5) {
            case 0:
                p->set.set();
                break;
            case 1:
                p->group.done();
                break;
            case 2:
                held.release();
                break;
            case 3:
                p->down.count_down();
                break;
            default:
                break;
        }
        p = nullptr;
        scope->cancel();
        for (auto& h : handles) {
            co_await as_result(h);
            ++done_;
        }
    }

    void on_thread() {
        threads_.emplace_back([this, n = random_() % 200] {
            for (auto left = n; left > 0; --left) {
                if (auto g = m_.try_lock()) {
                    ++under_m_;
                    ++locked_;
                }
                if (auto p = permits_.try_acquire(1)) {
                    check(++permits_out_ <= permits, "a semaphore gave too many permits");
                    --permits_out_;
                }
            }
        });
    }

    task<> everything() {
        if (!turns_.empty()) {
            barrier_.emplace(static_cast<std::ptrdiff_t>(turns_.size()), [this] { end_phase(); });
        }
        std::vector<ringo::join_handle<void>> handles;
        for (auto n = 1 + random_() % 8; n > 0; --n) {
            handles.push_back(spawn(somewhere(random_), &program::work, this, random_()));
        }
        putters_ = static_cast<int>(random_() % 4);
        for (int n = putters_; n > 0; --n) {
            group_.go(somewhere(random_), &program::put_many, this, random_());
        }
        for (auto n = 1 + random_() % 3; n > 0; --n) {
            group_.go(somewhere(random_), &program::take_many, this, random_());
        }
        for (auto n = random_() % 4; n > 0; --n) {
            group_.go(somewhere(random_), &program::destroy, this, random_());
        }
        for (auto n = random_() % 3; n > 0; --n) {
            group_.go(somewhere(random_), &program::run_group, this, random_());
        }
        for (std::size_t n = 0; n < turns_.size(); ++n) {
            group_.go(somewhere(random_), &program::take_turns, this, n, random_());
        }
        for (auto n = random_() % 3; n > 0; --n) {
            on_thread();
        }
        for (auto& h : handles) {
            if (random_() % 4 == 0) {
                co_await nap(short_time(random_));
                h.cancel();
            }
        }
        for (auto& h : handles) {
            co_await as_result(h);
        }
        co_await group_.wait();
        taken_back_ += timer_.stop() ? 1 : 0;
        while (ringo::num_goroutines() > 1) {
            co_await ringo::sleep(50us);
        }
    }

    generator random_;
    std::atomic<int> wrong_{0};
    std::atomic<std::uint64_t> done_{0};
    std::vector<std::thread> threads_;

    ringo::mutex m_;
    ringo::condition_variable not_empty_;
    ringo::condition_variable not_full_;
    // under m_
    long under_m_ = 0;
    long put_ = 0;
    long taken_ = 0;
    std::deque<long> queue_;
    int putters_ = 0;

    ringo::shared_mutex s_;
    long under_s_ = 0;  // under s_

    static constexpr std::size_t onces = 3;
    static constexpr int phases = 5;
    ringo::once once_[onces];
    int runs_[onces] = {};
    std::vector<int> turns_ = std::vector<int>(random_() % 4);  // of each party to the barrier
    int phases_ = 0;
    std::optional<ringo::barrier> barrier_;

    ringo::timer timer_{1h};
    std::atomic<int> starts_{1};
    std::atomic<int> ticks_{0};
    std::atomic<int> taken_back_{0};

    ringo::semaphore permits_{permits};
    ringo::wait_group group_;

    std::atomic<long> locked_{0};
    std::atomic<long> written_{0};
    std::atomic<int> readers_{0};
    std::atomic<int> permits_out_{0};
};

}  // namespace

TEST_CASE("locks_exclude_and_leave_nobody_out") {
    const auto scale = test::stress_scale();
    const std::uint32_t first = test::stress_seed();
    std::uint64_t done = 0;
    test::watchdog dog;
    for (std::uint32_t i = 0; i < 800 * scale; ++i) {
        dog.begins(first + i);
        INFO("RINGO_SEED=", first + i);
        program p(first + i);
        REQUIRE(p.run());
        done += p.done();
    }
    std::printf("%llu programs: %llu steps\n", static_cast<unsigned long long>(800 * scale),
                static_cast<unsigned long long>(done));
    CHECK(done > 0);
}
