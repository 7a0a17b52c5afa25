// In which order ready goroutines run: what one makes ready runs right after it, and still nobody
// is kept waiting for ever.
#include <doctest/doctest.h>

#include <ringo/ringo.hpp>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

using ringo::chan;
using ringo::go;
using ringo::task;
using ringo::yield;
using ringo::detail::goroutine;
using ringo::detail::ready_queue;

namespace {

const ringo::detail::goroutine_type no_type{};

/// The same, of which nobody could doubt that it is right.
struct model {
    std::deque<goroutine*> made, front, rest;

    void make_front() {
        front.insert(front.begin(), made.begin(), made.end());
        made.clear();
    }
    goroutine* pop() {
        make_front();
        std::deque<goroutine*>& from = front.empty() ? rest : front;
        if (from.empty()) {
            return nullptr;
        }
        goroutine* const g = from.front();
        from.pop_front();
        return g;
    }
    void settle() {
        make_front();
        rest.insert(rest.end(), front.begin(), front.end());
        front.clear();
    }
};

task<> note(std::string& said, char what) {
    said += what;
    co_return;
}

}  // namespace

TEST_CASE("as_its_model") {
    std::minstd_rand random(7);
    std::vector<std::unique_ptr<goroutine>> all;
    std::vector<goroutine*> idle;
    for (int i = 0; i < 50; ++i) {
        all.push_back(std::make_unique<goroutine>(no_type));
        idle.push_back(all.back().get());
    }
    const auto take_idle = [&] {
        goroutine* const g = idle.back();
        idle.pop_back();
        return g;
    };
    ready_queue queue;
    model expected;
    for (int i = 0; i < 20'000; ++i) {
        switch (random() % 8) {
            case 0:
                queue.settle();
                expected.settle();
                CHECK(queue.last() == (expected.rest.empty() ? nullptr : expected.rest.back()));
                break;
            case 1:
                if (!idle.empty()) {
                    goroutine* const g = take_idle();
                    queue.push_last(*g);
                    expected.settle();
                    expected.rest.push_back(g);
                }
                break;
            case 2:
            case 3:
            case 4:
                if (!idle.empty()) {
                    goroutine* const g = take_idle();
                    queue.push(*g);
                    expected.made.push_back(g);
                }
                break;
            default: {
                goroutine* const g = queue.pop();
                REQUIRE(g == expected.pop());
                if (g != nullptr) {
                    idle.insert(idle.begin(), g);
                }
            }
        }
        REQUIRE(queue.empty() == (idle.size() == all.size()));
    }
}

TEST_CASE("what_a_goroutine_starts_runs_right_after_it") {
    std::string order;
    ringo::run(
        [&order]() -> task<> {
            go([&order]() -> task<> {
                go(note, std::ref(order), 'b');
                go(note, std::ref(order), 'c');
                order += 'a';
                co_return;
            });
            go(note, std::ref(order), 'd');
            co_await yield();
        },
        {.cores = 1});
    CHECK(order == "abcd");
}

TEST_CASE("what_a_goroutine_wakes_runs_right_after_it") {
    std::string order;
    ringo::run(
        [&order]() -> task<> {
            const chan<int> c;
            go([&order, c]() -> task<> {
                co_await c.recv();
                order += 'b';
            });
            co_await yield();
            go([&order, c]() -> task<> {
                order += 'a';
                co_await c.send(1);
                order += '-';
            });
            go(note, std::ref(order), 'c');
            co_await yield();
        },
        {.cores = 1});
    CHECK(order == "a-bc");
}

namespace {

/// A tree whose leaves number `size`.
task<> grow(long size, std::size_t& most) {
    most = std::max(most, ringo::num_goroutines());
    if (size == 1) {
        co_return;
    }
    ringo::wait_group children;
    for (int i = 0; i < 10; ++i) {
        children.go(grow, size / 10, std::ref(most));
    }
    co_await children.wait();
}

}  // namespace

TEST_CASE("who_yields_goes_on_after_all_that_are_ready") {
    int ran = 0;
    ringo::run(
        [&ran]() -> task<> {
            for (int i = 0; i < 10'000; ++i) {
                go([&ran]() -> task<> {
                    ++ran;
                    co_return;
                });
            }
            co_await yield();
            CHECK(ran == 10'000);
        },
        {.cores = 1});
}

TEST_CASE("of_a_tree_of_goroutines_few_are_alive_at_a_time") {
    std::size_t most = 0;
    ringo::run([&most]() -> task<> { co_await grow(100'000, most); }, {.cores = 1});
    CHECK(most < 10'000);  // of 111,111
}

namespace {

struct crowd {
    std::vector<chan<int>> lines;
    chan<int> all_heard{1};
    std::size_t heard = 0;
    int rounds = 0;
};

task<> hear(crowd& c, std::size_t at) {
    while (true) {
        const auto told = co_await c.lines[at].recv();
        if (!told) {
            co_return;
        }
        if (++c.heard == c.lines.size()) {
            co_await c.all_heard.send(0);
        }
    }
}

task<> tell_all(crowd& c, int rounds_max) {
    while (c.rounds < rounds_max) {
        ++c.rounds;
        c.heard = 0;
        for (const chan<int>& line : c.lines) {
            co_await line.send(1);
        }
        co_await c.all_heard.recv();
    }
    for (const chan<int>& line : c.lines) {
        line.close();
    }
}

}  // namespace

TEST_CASE("goroutines_that_wake_each_other_keep_nobody_waiting") {
    // So many that all together take a turn of the loop, or a part of one, or one more or less.
    for (const std::size_t size : {1, 2, 30, 31, 32, 33, 127, 128, 254, 255, 256, 257, 600}) {
        CAPTURE(size);
        crowd c;
        int rounds = 0;
        ringo::run(
            [&]() -> task<> {
                for (std::size_t i = 0; i < size; ++i) {
                    c.lines.emplace_back();
                    go(hear, std::ref(c), i);
                }
                co_await yield();
                go(tell_all, std::ref(c), 2000);
                for (int i = 0; i < 10; ++i) {
                    co_await yield();
                }
                rounds = c.rounds;
                while (ringo::num_goroutines() > 1) {
                    co_await yield();
                }
            },
            {.cores = 1});
        CHECK(rounds <= 10 * 256);
        CHECK(c.rounds == 2000);
    }
}
