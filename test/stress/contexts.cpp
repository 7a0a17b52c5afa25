// Random goroutines on several cores: they sleep, yield, start, join, cancel and time out one
// another. In the end everyone has ended and every count matches.
// RINGO_STRESS scales it (default 1), RINGO_SEED repeats it.
#include <doctest/doctest.h>

#include "random.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::context;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::generator;
using test::somewhere;

namespace {

struct counts {
    std::atomic<std::int64_t> budget;       // goroutines that may still be started
    std::atomic<std::int64_t> started = 0;  // blocks of goroutines that were made
    std::atomic<std::int64_t> ended = 0;    // ... and destroyed
    std::atomic<std::int64_t> finished = 0;
    std::atomic<std::int64_t> cancelled = 0;
    std::atomic<std::int64_t> frames = 0;  // of tasks that are alive
    std::atomic<std::int64_t> wrong = 0;   // what should never happen
};

/// An argument that counts the goroutine that holds it.
class ticket {
public:
    explicit ticket(counts& c) : counts_(&c) { ++c.started; }
    ticket(ticket&& other) noexcept : counts_(std::exchange(other.counts_, nullptr)) {}
    ticket& operator=(const ticket&) = delete;
    ~ticket() {
        if (counts_ != nullptr) {
            ++counts_->ended;
        }
    }

private:
    counts* counts_;
};

struct in_frame {
    explicit in_frame(counts& c) : frames(&c.frames) { ++*frames; }
    in_frame(const in_frame&) = delete;
    in_frame& operator=(const in_frame&) = delete;
    ~in_frame() { --*frames; }
    std::atomic<std::int64_t>* frames;
};

ringo::duration short_time(generator& random) { return std::chrono::microseconds(random() % 300); }

struct level {
    using type = int;
};

task<> work(counts& c, std::uint32_t seed, int depth, ticket);

/// A few steps of anything.
task<int> steps(counts& c, generator& random, int depth) {
    const in_frame frame(c);
    int done = 0;
    for (auto left = random() % 4; left > 0; --left, ++done) {
        switch (random() % 10) {
            case 0:
                co_await ringo::sleep(short_time(random));
                break;
            case 1:
            case 2:
                co_await yield();
                break;
            case 3: {
                const auto r = co_await ringo::as_result(
                    ringo::timeout(short_time(random), steps(c, random, depth)));
                c.wrong += !r && r.error() != std::errc::timed_out &&
                                   r.error() != std::errc::operation_canceled
                               ? 1
                               : 0;
                break;
            }
            case 4: {
                const bool before = ringo::this_context().cancelled();
                co_await ringo::shield(ringo::sleep(short_time(random) / 4));
                c.wrong += before && !ringo::this_context().cancelled() ? 1 : 0;
                break;
            }
            case 5:
                if (random() % 8 == 0) {
                    co_await ringo::blocking([] {});
                }
                break;
            case 6: {
                auto scope = ringo::with_timeout(ringo::this_context(), short_time(random));
                const auto r = co_await ringo::as_result(
                    ringo::within(scope, ringo::sleep(ringo::duration::max())));
                // By its own deadline, with what it derives from, or by the goroutine's handle.
                c.wrong += r || (r.error() == std::errc::timed_out && !scope.ctx().cancelled());
                break;
            }
            case 7: {
                const auto ctx = ringo::with_value<level>(ringo::this_context(), depth);
                co_await ringo::within(ctx, yield());
                break;
            }
            default:
                for (auto n = random() % 4; n > 0 && --c.budget >= 0; --n) {
                    ringo::go(somewhere(random), work, std::ref(c), random(), depth + 1, ticket(c));
                }
                break;
        }
    }
    co_return done;
}

/// Starts some under a context of its own, then cancels, joins or forgets them.
task<> family(counts& c, generator& random, int depth) {
    const in_frame frame(c);
    std::optional<ringo::cancel_scope> scope;
    if (random() % 2 == 0) {
        scope.emplace(random() % 2 == 0
                          ? ringo::with_cancel(ringo::this_context())
                          : ringo::with_timeout(ringo::this_context(), short_time(random)));
    }
    const context ctx = scope ? scope->ctx() : ringo::this_context();
    std::vector<ringo::join_handle<void>> handles;
    for (auto n = 1 + random() % 3; n > 0 && --c.budget >= 0; --n) {
        handles.push_back(
            spawn(somewhere(random).with(ctx), work, std::ref(c), random(), depth + 1, ticket(c)));
    }
    const auto r = co_await ringo::as_result(steps(c, random, depth + 1));
    c.wrong += r && *r > 3 ? 1 : 0;
    if (scope && random() % 2 == 0) {
        scope->cancel(std::make_exception_ptr(depth));
    }
    for (auto& h : handles) {
        if (random() % 3 == 0) {
            h.cancel();
        }
        if (random() % 4 != 0) {
            const auto joins = [](ringo::join_handle<void>& j) -> task<> { co_await j; };
            co_await ringo::as_result(joins(h));
        }
    }
}

task<> work(counts& c, std::uint32_t seed, int depth, ticket) {
    const in_frame frame(c);
    generator random(seed);
    try {
        while (random() % 4 != 0) {
            if (random() % 2 == 0) {
                co_await steps(c, random, depth);
            } else {
                co_await family(c, random, depth);
            }
        }
        ++c.finished;
    } catch (const std::system_error& e) {
        ++c.cancelled;
        c.wrong +=
            e.code() == std::errc::operation_canceled || e.code() == std::errc::timed_out ? 0 : 1;
        throw;
    }
}

task<> all_of_it(counts& c, std::uint32_t seed) {
    generator random(seed);
    while (c.budget > 0) {
        std::vector<ringo::join_handle<void>> handles;
        for (int i = 0; i < 20 && --c.budget >= 0; ++i) {
            handles.push_back(spawn(somewhere(random), work, std::ref(c), random(), 0, ticket(c)));
        }
        for (auto& h : handles) {
            const auto joins = [](ringo::join_handle<void>& j) -> task<> { co_await j; };
            co_await ringo::as_result(joins(h));
        }
    }
    while (ringo::num_goroutines() > 1) {
        co_await ringo::sleep(100us);
    }
}

}  // namespace

TEST_CASE("everyone_ends_and_every_count_matches") {
    const auto scale = test::stress_scale();
    const std::uint32_t seed = test::stress_seed();
    for (const unsigned cores : {1U, 2U, 4U}) {
        CAPTURE(seed);
        CAPTURE(cores);
        counts c{.budget = static_cast<std::int64_t>(20'000 * scale)};
        ringo::run([&c, seed]() -> task<> { co_await all_of_it(c, seed); }, {.cores = cores});
        CHECK(c.wrong == 0);
        CHECK(c.started == c.ended);
        CHECK(c.frames == 0);
        CHECK(c.started >= static_cast<std::int64_t>(20'000 * scale));
        CHECK(c.finished > 0);
        CHECK(c.cancelled > 0);
        CHECK(c.finished + c.cancelled == c.started);
    }
}

TEST_CASE("everyone_ends_when_the_run_does") {
    const auto scale = test::stress_scale();
    const std::uint32_t seed = test::stress_seed();
    for (std::uint32_t round = 0; round < 100 * scale; ++round) {
        CAPTURE(seed);
        CAPTURE(round);
        counts c{.budget = 300};
        // The main task leaves in the middle of it.
        const auto grace = round % 4 == 0 ? 0ms : 10'000ms;
        ringo::run(
            [&c, s = seed + round]() -> task<> {
                auto h = spawn(all_of_it, std::ref(c), s);
                co_await ringo::sleep(std::chrono::microseconds(s % 700));
            },
            {.cores = 1 + round % 4, .shutdown_grace = grace});
        CHECK(c.wrong == 0);
        CHECK(c.started == c.ended);
        CHECK(c.frames == 0);
    }
}
