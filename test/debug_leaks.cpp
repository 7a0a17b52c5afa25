// debug::leaks: who waits on a channel that only those have who wait, too.
#include <doctest/doctest.h>

#include "contains.hpp"
#include "misuse.hpp"

#include <ringo/blocking.hpp>
#include <ringo/chan.hpp>
#include <ringo/context.hpp>
#include <ringo/debug.hpp>
#include <ringo/detail/frame_memory.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>
#include <ringo/time.hpp>
#include <ringo/wait_group.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using ringo::chan;
using ringo::go;
using ringo::task;
using ringo::yield;
namespace debug = ringo::debug;

namespace {

#if RINGO_SANITIZED
constexpr std::size_t found_of_20 = 0;
#else
constexpr std::size_t found_of_20 = 16;  // at least: what is left somewhere may look like a handle
#endif

/// How many of the goroutines that were made from `line` on, for ten lines, have leaked.
std::size_t leaked(unsigned line) {
    std::size_t count = 0;
    for (const debug::goroutine& g : debug::leaks()) {
        count += g.made_at.line >= line && g.made_at.line < line + 10 ? 1 : 0;
    }
    return count;
}

task<> receive(chan<int> c) { (void)co_await c.recv(); }
task<> receive_deeper(chan<int> c) { co_await receive(c); }
task<> select_of(chan<int> a, chan<int> b) {
    (void)co_await ringo::select(a.recv(), b.recv(), chan<int>(nullptr).recv());
}

// What these start must not be on the stack of who asks, so they are tasks of their own.

constexpr unsigned alone_line = __LINE__ + 4;
task<> leak_alone() {
    for (int i = 0; i < 10; ++i) {
        const chan<int> c;
        go(receive, c);
        go(receive_deeper, c);
    }
    co_await yield();
}

task<> leak_alone_under(ringo::context ctx) { co_await ringo::within(ctx, leak_alone()); }

constexpr unsigned each_other_line = __LINE__ + 5;
task<> leak_each_other() {
    for (int i = 0; i < 10; ++i) {
        const chan<int> a;
        const chan<int> b;
        go(select_of, a, b);
        go(select_of, b, a);
    }
    co_await yield();
}

constexpr unsigned kept_line = __LINE__ + 3;
task<> keep(std::unique_ptr<chan<int>>& on_the_heap, chan<chan<int>> in_a_channel) {
    const chan<int> a;
    go(receive, a);
    on_the_heap = std::make_unique<chan<int>>(a);
    const chan<int> b;
    go(select_of, b, a);
    go(receive, b);  // whom the one before may wake
    const chan<int> c;
    go(receive_deeper, c);
    co_await in_a_channel.send(c);
}

task<> lend_to_the_heap(std::unique_ptr<chan<int>*>& cell) {
    co_await yield();
    chan<int> c;
    *cell = &c;
    (void)co_await c.recv();  // its only handle is here
}

task<> lend_to_a_child(std::chrono::milliseconds d) {
    co_await yield();
    chan<int> c;
    go([d, &c]() -> task<> {
        co_await ringo::sleep(d);
        c.close();
    });
    (void)co_await c.recv();  // its only handle is here
}

struct pool {
    const chan<int> jobs;
    pool() {
        go(receive, jobs);
        go(receive_deeper, jobs);
    }
};

/// All that it has given to others goes as it ends.
task<> has_workers(chan<int> argument) {
    const chan<int> local;
    const auto on_the_heap = std::make_unique<pool>();
    go(select_of, argument, local);
    go(receive, argument);
    go(receive_deeper, local);
    co_await yield();
}

std::size_t count_of(const std::string& part, const std::string& text) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

}  // namespace

TEST_CASE("who_has_the_only_handles_of_the_channel_that_it_waits_on_has_leaked") {
    ringo::run([]() -> task<> {
        const auto until_then = ringo::with_cancel(ringo::this_context());
        co_await leak_alone_under(until_then.ctx());
        co_await yield();
        CHECK(leaked(alone_line) >= found_of_20);
    });
}

TEST_CASE("leaks_in_frames_are_reported_at_the_end_of_a_run") {
    const test::child_end end = test::in_child([] {
        ringo::run([]() -> task<> {
            co_await leak_alone();
            co_await ringo::sleep(1ms);
        });
    });
    test::check_exit(end, 0);
    const std::string here = "debug_leaks.cpp:";
    const std::size_t found = count_of(here + std::to_string(alone_line), end.output) +
                              count_of(here + std::to_string(alone_line + 1), end.output);
    CHECK(found >= found_of_20);
    CHECK(test::contains(end.output, "goroutines leaked") == (found_of_20 != 0));
}

TEST_CASE("what_the_main_task_gives_up_as_it_ends_has_not_leaked") {
    const test::child_end direct = test::in_child([] { ringo::run(has_workers(chan<int>())); });
    test::check_exit(direct, 0);
    CHECK(direct.output == "");
    const test::child_end deeper = test::in_child([] {
        const chan<int> captured;
        ringo::run([captured]() -> task<> {
            go(receive, captured);
            co_await has_workers(chan<int>());
        });
    });
    test::check_exit(deeper, 0);
    CHECK(deeper.output == "");
}

TEST_CASE("those_who_wait_for_each_other_alone_have_leaked") {
    ringo::run([]() -> task<> {
        const auto until_then = ringo::with_cancel(ringo::this_context());
        co_await ringo::within(until_then, leak_each_other());
        co_await yield();
        CHECK(leaked(each_other_line) >= found_of_20);
    });
}

TEST_CASE("who_can_be_woken_by_a_handle_elsewhere_has_not_leaked") {
    ringo::run([]() -> task<> {
        std::unique_ptr<chan<int>> on_the_heap;
        const chan<chan<int>> in_a_channel(1);
        co_await keep(on_the_heap, in_a_channel);
        co_await yield();
        CHECK(leaked(kept_line) == 0);
    });
}

TEST_CASE("who_has_lent_its_channel_has_not_leaked") {
    ringo::run([]() -> task<> {
        ringo::wait_group group;
        auto cell = std::make_unique<chan<int>*>();
        const unsigned line = __LINE__ + 1;
        group.go(lend_to_a_child, 20ms);
        group.go(lend_to_the_heap, std::ref(cell));
        co_await ringo::sleep(2ms);
        CHECK(leaked(line) == 0);
        (*cell)->close();
        co_await group.wait();
    });
}

TEST_CASE("leaks_are_found_on_all_cores_while_they_work") {
    ringo::run([]() -> task<> {
        bool ends = false;
        const auto until_then = ringo::with_cancel(ringo::this_context());
        ringo::wait_group group;
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            group.go(ringo::on(core), leak_alone_under, until_then.ctx());
            group.go(
                ringo::on(core),
                [](const bool& end) -> task<> {
                    while (!__atomic_load_n(&end, __ATOMIC_RELAXED)) {
                        const chan<int> c(1);
                        co_await c.send(1);
                        co_await ringo::sleep(1ms);
                    }
                },
                std::cref(ends));
        }
        std::size_t most = 0;
        for (int i = 0; i < 20; ++i) {
            co_await ringo::sleep(2ms);
            most = std::max(most, leaked(alone_line));
        }
        CHECK(most <= 20 * ringo::cores());
        CHECK(most >= found_of_20);
        const std::size_t from_a_thread =
            co_await ringo::blocking([] { return leaked(alone_line); });
        CHECK(from_a_thread >= found_of_20);
        __atomic_store_n(&ends, true, __ATOMIC_RELAXED);
        co_await group.wait();
    });
}
