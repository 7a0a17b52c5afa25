#include <doctest/doctest.h>

#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::completion;
using ringo::from_callback;
using ringo::spawn;
using ringo::task;
using ringo::yield;

namespace {

template <class Awaitable>
task<std::error_code> code_of(Awaitable what) {
    const auto r = co_await ringo::as_result(std::move(what));
    co_return r ? std::error_code() : r.error();
}

}  // namespace

TEST_CASE("gives_what_the_callback_was_called_with") {
    ringo::run([]() -> task<> {
        const int at_once = co_await from_callback<int>([](completion<int> done) {
            CHECK(done(3));
            CHECK_FALSE(done(4));  // only the first call counts
        });
        CHECK(at_once == 3);
        const auto owner = co_await from_callback<std::unique_ptr<int>>(
            [](completion<std::unique_ptr<int>> done) { done(std::make_unique<int>(5)); });
        CHECK(*owner == 5);
        co_await from_callback<void>([](completion<void> done) { done(); });
    });
}

TEST_CASE("waits_for_a_later_call_on_the_same_core") {
    ringo::run([]() -> task<> {
        std::optional<completion<std::string>> kept;
        ringo::go([&kept]() -> task<> {
            co_await yield();
            (*kept)("later");
            kept.reset();
        });
        const auto keeps = [&kept](completion<std::string> done) { kept = std::move(done); };
        const std::string s = co_await from_callback<std::string>(keeps);
        CHECK(s == "later");
    });
}

TEST_CASE("never_resumes_inside_the_callback") {
    ringo::run([]() -> task<> {
        std::optional<completion<int>> kept;
        bool resumed = false;
        auto h = spawn([&]() -> task<> {
            const auto keeps = [&kept](completion<int> done) { kept = std::move(done); };
            co_await from_callback<int>(keeps);
            resumed = true;
        });
        co_await yield();
        (*kept)(1);
        CHECK_FALSE(resumed);
        co_await h;
        CHECK(resumed);
    });
}

TEST_CASE("threads_may_complete") {
    ringo::run([]() -> task<> {
        std::vector<ringo::join_handle<int>> handles;
        for (int i = 0; i < 50; ++i) {
            handles.push_back(spawn(ringo::anywhere, [i]() -> task<int> {
                const std::size_t core = ringo::this_core();
                std::thread completes;
                const auto starts = [&completes, i](completion<int> done) {
                    completes = std::thread([done = std::move(done), i] { done(i); });
                };
                const int n = co_await from_callback<int>(starts);
                CHECK(ringo::this_core() == core);
                completes.join();
                co_return n;
            }));
        }
        int sum = 0;
        for (auto& h : handles) {
            sum += co_await h;
        }
        CHECK(sum == 49 * 50 / 2);
    });
}

TEST_CASE("a_completion_may_be_failed") {
    ringo::run([]() -> task<> {
        bool caught = false;
        try {
            co_await from_callback<int>([](completion<int> done) {
                CHECK(done.fail(std::make_exception_ptr(std::runtime_error("no result"))));
                CHECK_FALSE(done(1));
            });
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
    });
}

TEST_CASE("throws_what_start_throws") {
    ringo::run([]() -> task<> {
        for (const bool keep : {false, true}) {
            std::optional<completion<int>> kept;
            std::string caught;
            const auto throws = [&kept, keep](completion<int> done) {
                if (keep) {
                    kept = std::move(done);
                }
                throw std::runtime_error("from start");
            };
            try {
                co_await from_callback<int>(throws);
            } catch (const std::runtime_error& e) {
                caught = e.what();
            }
            CHECK(caught == "from start");
            if (keep) {
                CHECK_FALSE((*kept)(1));
            }
        }
    });
}

TEST_CASE("a_call_before_start_throws_is_what_counts") {
    ringo::run([]() -> task<> {
        const auto calls_and_throws = [](completion<int> done) {
            done(7);
            throw std::runtime_error("too late");
        };
        const int n = co_await from_callback<int>(calls_and_throws);
        CHECK(n == 7);
    });
}

TEST_CASE("dropping_every_completion_is_a_broken_promise") {
    ringo::run([]() -> task<> {
        auto code = co_await code_of(from_callback<int>([](completion<int>) {}));
        CHECK(code == ringo::errc::broken_promise);

        std::vector<completion<int>> kept;
        auto h = spawn([&kept]() -> task<std::error_code> {
            const auto copies = [&kept](const completion<int>& done) { kept = {done, done, done}; };
            const auto c = co_await code_of(from_callback<int>(copies));
            co_return c;
        });
        co_await yield();
        co_await yield();
        kept.pop_back();
        kept.pop_back();
        co_await yield();
        CHECK_FALSE(h.done());
        kept.pop_back();
        code = co_await h;
        CHECK(code == ringo::errc::broken_promise);
    });
}

TEST_CASE("cancellation_leaves_at_once_and_a_late_call_has_no_effect") {
    test::virtual_run([]() -> task<> {
        std::optional<completion<std::string>> kept;
        const auto keeps = [&kept](completion<std::string> done) { kept = std::move(done); };
        const auto code = co_await code_of(ringo::timeout(1s, from_callback<std::string>(keeps)));
        CHECK(code == std::errc::timed_out);
        CHECK_FALSE((*kept)("late"));
        CHECK_FALSE(kept->fail(nullptr));
    });
}

TEST_CASE("calls_from_threads_race_with_cancellation") {
    // Whichever wins, the caller and the goroutine agree on it.
    ringo::run(
        []() -> task<> {
            int called = 0;
            int cancelled = 0;
            for (int round = 0; round < 300; ++round) {
                std::atomic<int> accepted = -1;
                std::thread calls;
                auto h = spawn(ringo::on(1), [&]() -> task<bool> {
                    const auto starts = [&](completion<std::string> done) {
                        calls = std::thread([&accepted, done = std::move(done)] {
                            accepted = done("a string that is too long to lie inside") ? 1 : 0;
                        });
                    };
                    const auto r = co_await ringo::as_result(from_callback<std::string>(starts));
                    co_return r.has_value();
                });
                for (int i = 0; i < round % 7; ++i) {
                    co_await yield();
                }
                h.cancel();
                const bool got = co_await h;
                if (calls.joinable()) {
                    calls.join();
                    CHECK(accepted == (got ? 1 : 0));
                }
                ++(got ? called : cancelled);
            }
            CHECK(called + cancelled == 300);
        },
        {.cores = 2});
}

TEST_CASE("a_call_may_be_the_last_thing_that_a_run_waits_for") {
    // The thread may still be inside the call when the cores are gone.
    for (int round = 0; round < 300; ++round) {
        std::thread calls;
        ringo::run(
            [&calls]() -> task<> {
                const auto starts = [&calls](completion<int> done) {
                    calls = std::thread([done = std::move(done)] { done(1); });
                };
                const int n = co_await from_callback<int>(starts);
                CHECK(n == 1);
            },
            {.cores = 1});
        calls.join();
    }
}
