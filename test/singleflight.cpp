#include <doctest/doctest.h>

#include "misuse.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::join_handle;
using ringo::singleflight;
using ringo::spawn;
using ringo::task;
using ringo::yield;

namespace {

/// A call that ends when the test says so.
struct gate {
    std::atomic<int> calls = 0;
    std::atomic<int> ended = 0;
    std::atomic<bool> open = false;

    struct at_end {
        explicit at_end(std::atomic<int>& n) : count(&n) {}
        at_end(const at_end&) = delete;
        at_end& operator=(const at_end&) = delete;
        ~at_end() { ++*count; }
        std::atomic<int>* count;
    };

    task<std::string> pass() {
        const at_end counter(ended);
        const int number = ++calls;
        while (!open) {
            co_await yield();
        }
        co_return std::string(100, static_cast<char>('a' + number - 1));
    }
    auto entry() {
        return [this] { return pass(); };
    }
};

using flights = singleflight<std::string, std::string>;

task<std::string> ask(flights& f, gate& g, std::string key = "key") {
    return f.call(std::move(key), g.entry());
}
/// The result, or what was thrown.
task<std::string> outcome(flights& f, gate& g) {
    std::string result;
    try {
        result = co_await f.call("key", g.entry());
    } catch (const ringo::cancelled&) {
        result = "cancelled";
    } catch (const ringo::deadline_exceeded&) {
        result = "deadline";
    } catch (const std::runtime_error& e) {
        result = e.what();
    }
    co_return result;
}
task<> yields(int n) {
    for (; n > 0; --n) {
        co_await yield();
    }
}

struct non_default {
    explicit non_default(int n) : value(n) {}
    non_default(const non_default&) = default;
    non_default& operator=(const non_default&) = delete;
    int value;
};

}  // namespace

TEST_CASE("a_call_gives_what_f_gives") {
    ringo::run([]() -> task<> {
        singleflight<int, non_default> plain;
        const non_default a = co_await plain.call(1, [] { return non_default(1); });
        CHECK(a.value == 1);
        const non_default b = co_await plain.call(1, []() -> task<non_default> {
            co_await yield();
            co_return non_default(2);
        });
        CHECK(b.value == 2);
        singleflight<int, void> nothing;
        int ran = 0;
        co_await nothing.call(1, [&ran] { ++ran; });
        co_await nothing.call(1, [&ran]() -> task<> {
            ++ran;
            co_return;
        });
        CHECK(ran == 2);
        singleflight<std::string, std::shared_ptr<int>> shared;
        auto owns = [owned = std::make_unique<int>(3)] { return std::make_shared<int>(*owned); };
        const auto p = co_await shared.call("key", std::move(owns));
        CHECK(*p == 3);
    });
}

TEST_CASE("callers_of_one_key_share_a_call_and_callers_of_others_do_not") {
    ringo::run([]() -> task<> {
        flights f;
        gate g;
        std::vector<join_handle<std::string>> callers;
        for (int i = 0; i < 10; ++i) {
            callers.push_back(spawn(ask, std::ref(f), std::ref(g), i % 2 == 0 ? "even" : "odd"));
        }
        co_await yields(3);
        CHECK(g.calls == 2);
        g.open = true;
        for (std::size_t i = 0; i < 10; ++i) {
            const std::string s = co_await callers[i];
            CHECK(s == std::string(100, i % 2 == 0 ? 'a' : 'b'));
        }
        CHECK(g.calls == 2);
        co_await ask(f, g, "even");  // that call is over: a new one
        CHECK(g.calls == 3);
    });
}

TEST_CASE("f_of_one_who_joins_is_never_called") {
    ringo::run([]() -> task<> {
        flights f;
        gate g;
        auto first = spawn(ask, std::ref(f), std::ref(g), "key");
        co_await yields(2);
        g.open = true;
        bool called = false;
        const std::string s = co_await f.call("key", [&called]() -> std::string {
            called = true;
            return "";
        });
        CHECK_FALSE(called);
        CHECK(s == std::string(100, 'a'));
        co_await first;
    });
}

TEST_CASE("forget_lets_the_next_caller_make_a_call_of_its_own") {
    ringo::run([]() -> task<> {
        flights f;
        gate g;
        f.forget("key");
        auto a = spawn(ask, std::ref(f), std::ref(g), "key");
        co_await yields(2);
        f.forget("key");
        auto b = spawn(ask, std::ref(f), std::ref(g), "key");
        auto c = spawn(ask, std::ref(f), std::ref(g), "key");
        co_await yields(2);
        CHECK(g.calls == 2);
        g.open = true;
        std::string s = co_await a;
        CHECK(s == std::string(100, 'a'));
        s = co_await b;
        CHECK(s == std::string(100, 'b'));
        s = co_await c;
        CHECK(s == std::string(100, 'b'));
    });
}

TEST_CASE("a_forgotten_call_that_ends_leaves_its_successor_alone") {
    ringo::run([]() -> task<> {
        flights f;
        gate old;
        gate current;
        auto a = spawn(ask, std::ref(f), std::ref(old), "key");
        co_await yields(2);
        f.forget("key");
        auto b = spawn(ask, std::ref(f), std::ref(current), "key");
        co_await yields(2);
        old.open = true;
        co_await a;
        auto c = spawn(ask, std::ref(f), std::ref(current), "key");
        co_await yields(2);
        CHECK(current.calls == 1);
        current.open = true;
        co_await b;
        co_await c;
    });
}

TEST_CASE("a_cancelled_caller_leaves_at_once_and_the_call_goes_on") {
    ringo::run([]() -> task<> {
        flights f;
        gate g;
        auto starts = spawn(outcome, std::ref(f), std::ref(g));
        co_await yields(2);
        auto joins = spawn(outcome, std::ref(f), std::ref(g));
        auto stays = spawn(outcome, std::ref(f), std::ref(g));
        co_await yields(2);
        starts.cancel();  // the one whose f it is
        joins.cancel();
        std::string s = co_await starts;
        CHECK(s == "cancelled");
        s = co_await joins;
        CHECK(s == "cancelled");
        CHECK(g.ended == 0);
        g.open = true;
        s = co_await stays;
        CHECK(s == std::string(100, 'a'));
        CHECK(g.calls == 1);
    });
}

TEST_CASE("a_callers_deadline_is_its_own") {
    ringo::run([]() -> task<> {
        flights f;
        gate g;
        auto late = spawn([&]() -> task<std::string> {
            std::string s;
            try {
                s = co_await ringo::timeout(1ms, ask(f, g));
            } catch (const ringo::deadline_exceeded&) {
                s = "deadline";
            }
            co_return s;
        });
        co_await yields(2);
        auto patient = spawn(outcome, std::ref(f), std::ref(g));
        std::string s = co_await late;
        CHECK(s == "deadline");
        CHECK(g.ended == 0);
        g.open = true;
        s = co_await patient;
        CHECK(s == std::string(100, 'a'));
    });
}

TEST_CASE("when_the_last_caller_has_left_the_call_is_cancelled_and_forgotten") {
    ringo::run([]() -> task<> {
        flights f;
        gate g;
        std::vector<join_handle<std::string>> callers;
        for (int i = 0; i < 3; ++i) {
            callers.push_back(spawn(outcome, std::ref(f), std::ref(g)));
        }
        co_await yields(3);
        for (auto& c : callers) {
            CHECK(g.ended == 0);
            c.cancel();
            const std::string s = co_await c;
            CHECK(s == "cancelled");
        }
        g.open = true;
        const std::string s = co_await ask(f, g);
        CHECK(s == std::string(100, 'b'));
        CHECK(g.calls == 2);
        while (g.ended != 2) {
            co_await yield();
        }
    });
}

TEST_CASE("the_error_of_a_call_that_nobody_wants_is_dropped") {
    ringo::run([]() -> task<> {
        singleflight<int, int> f;
        bool failed = false;
        auto caller = spawn([&]() -> task<int> {
            return f.call(1, [&failed]() -> task<int> {
                try {
                    co_await ringo::sleep(1h);
                } catch (const ringo::cancelled&) {
                    failed = true;
                }
                throw std::runtime_error("nobody hears it");
            });
        });
        co_await yields(3);
        caller.cancel();
        while (!failed) {
            co_await yield();
        }
        co_await yields(3);
    });
}

TEST_CASE("a_cancelled_that_f_throws_by_itself_is_its_failure") {
    ringo::run([]() -> task<> {
        singleflight<int, int> f;
        bool late = false;
        try {
            co_await f.call(1, []() -> task<int> {
                co_await ringo::timeout(1ms, ringo::sleep(1h));
                co_return 0;
            });
        } catch (const ringo::deadline_exceeded&) {
            late = true;
        }
        CHECK(late);
    });
}

TEST_CASE("cancelled_before_it_begins_nothing_is_called") {
    ringo::run([]() -> task<> {
        flights f;
        gate g;
        auto scope = ringo::with_cancel(ringo::this_context());
        scope.cancel();
        auto caller = spawn(ringo::with(scope), outcome, std::ref(f), std::ref(g));
        const std::string s = co_await caller;
        CHECK(s == "cancelled");
        co_await yields(3);
        CHECK(g.calls == 0);
    });
}

TEST_CASE("the_call_has_the_starters_values_without_its_end") {
    struct key {
        using type = int;
    };
    ringo::run([]() -> task<> {
        singleflight<int, int> f;
        auto scope = ringo::with_deadline(ringo::with_value<key>(ringo::this_context(), 7),
                                          ringo::clock::now() + 1h);
        const int n = co_await ringo::within(scope, f.call(1, [] {
            const auto ctx = ringo::this_context();
            return ctx.deadline() ? 0 : *ctx.value<key>();
        }));
        CHECK(n == 7);
    });
}

TEST_CASE("callers_on_several_cores_share_a_call") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        CAPTURE(cores);
        ringo::run(
            [cores]() -> task<> {
                for (int round = 0; round < 50; ++round) {
                    flights f;
                    gate g;
                    std::vector<join_handle<std::string>> callers;
                    for (unsigned i = 0; i < 16; ++i) {
                        callers.push_back(
                            spawn(ringo::on(i % cores), outcome, std::ref(f), std::ref(g)));
                    }
                    co_await yields(round % 5);
                    for (std::size_t i = 0; i < 16; i += 3) {
                        callers[i].cancel();
                    }
                    co_await yields(round % 3);
                    g.open = true;
                    for (std::size_t i = 0; i < 16; ++i) {
                        const std::string s = co_await callers[i];
                        // One who came when the call was over has made another.
                        const bool is_result = s.size() == 100 && s[0] < 'a' + g.calls.load();
                        CHECK((is_result || (i % 3 == 0 && s == "cancelled")));
                    }
                    while (g.ended != g.calls) {
                        co_await yield();
                    }
                }
            },
            {.cores = cores, .pin = false});
    }
}

TEST_CASE("a_call_may_outlive_its_singleflight") {
    ringo::run([]() -> task<> {
        gate g;
        auto f = std::make_unique<flights>();
        auto caller = spawn(outcome, std::ref(*f), std::ref(g));
        co_await yields(3);
        caller.cancel();
        co_await caller;
        f.reset();
        while (g.ended == 0) {
            co_await yield();
        }
    });
}

TEST_CASE("the_end_of_the_run_ends_calls") {
    for (const unsigned cores : {1U, 2U, 4U}) {
        flights f;
        gate g;
        ringo::run(
            [&]() -> task<> {
                for (unsigned i = 0; i < 4; ++i) {
                    ringo::go(ringo::on(i % cores), [&]() -> task<> {
                        const std::string s = co_await outcome(f, g);
                        CHECK(s == "cancelled");
                    });
                }
                while (g.calls == 0) {
                    co_await yield();
                }
            },
            {.cores = cores, .pin = false});
        CHECK(g.ended == g.calls);
    }
}

TEST_CASE("a_call_that_is_destroyed_with_its_run_takes_nothing_along") {
    const auto end = test::in_child([] {
        flights f;
        std::atomic<bool> called = false;
        const auto stubborn = [&called]() -> task<std::string> {
            called = true;
            while (true) {
                co_await ringo::shield(yield());
            }
        };
        ringo::run(
            [&]() -> task<> {
                ringo::go([&]() -> task<> { co_await f.call("key", stubborn); });
                while (!called) {
                    co_await yield();
                }
            },
            {.shutdown_grace = 1ms});
        ringo::run([&]() -> task<> {
            const std::string s = co_await f.call("key", [] { return std::string("new"); });
            if (s != "new") {
                ::_exit(1);
            }
        });
    });
    test::check_exit(end, 0);
}

TEST_CASE("a_call_outside_a_goroutine_never_begins") {
    flights f;
    gate g;
    { auto dropped = f.call("key", g.entry()); }
    CHECK(g.calls == 0);
}
