// debug: what goroutines are doing, and the reports that say so.
#include <doctest/doctest.h>

#include "contains.hpp"
#include "misuse.hpp"
#include "virtual_run.hpp"

#include <ringo/blocking.hpp>
#include <ringo/chan.hpp>
#include <ringo/context.hpp>
#include <ringo/debug.hpp>
#include <ringo/go.hpp>
#include <ringo/mutex.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>
#include <ringo/time.hpp>
#include <ringo/timer.hpp>
#include <ringo/wait_group.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::chan;
using ringo::go;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::check_exit;
using test::contains;
namespace debug = ringo::debug;

namespace {

/// `debug.cpp:12`, as reports show it.
std::string at(unsigned line) { return "debug.cpp:" + std::to_string(line); }

/// The state of the goroutine that was made in `line` of this file.
debug::goroutine made_in(unsigned line) {
    for (const debug::goroutine& g : debug::goroutines()) {
        if (g.made_at.line == line && contains(g.made_at.file, "debug.cpp")) {
            return g;
        }
    }
    FAIL("no goroutine of line " << line);
    return {};
}

bool is_function(const debug::location& l, const char* name) {
    return l.function.empty() || contains(l.function, name);  // clang 14 does not say
}

unsigned receive_line = 0;

task<int> receive(chan<int> c) {
    receive_line = __LINE__ + 1;
    co_return (co_await c.recv()).value_or(0);
}

task<> through_a_task(chan<int> c) { (void)co_await receive(c); }
constexpr unsigned through_line = __LINE__ - 1;

/// stderr as a pipe of the program's own, for a child that reads what is reported about it.
class own_stderr {
public:
    own_stderr() {
        REQUIRE(::pipe2(fds_, O_NONBLOCK) == 0);
        outer_ = ::dup(STDERR_FILENO);
        ::dup2(fds_[1], STDERR_FILENO);
    }
    own_stderr(const own_stderr&) = delete;
    own_stderr& operator=(const own_stderr&) = delete;
    ~own_stderr() {
        read_more();
        ::dup2(outer_, STDERR_FILENO);
        std::fputs(text_.c_str(), stderr);
    }
    /// Whether `part` has been written by now.
    bool has(const char* part) {
        read_more();
        return contains(text_, part);
    }

private:
    void read_more() {
        char buffer[4096];
        for (::ssize_t n = 0; (n = ::read(fds_[0], buffer, sizeof buffer)) > 0;) {
            text_.append(buffer, static_cast<std::size_t>(n));
        }
    }

    int fds_[2];
    int outer_ = -1;
    std::string text_;
};

}  // namespace

TEST_CASE("states_say_what_goroutines_wait_for") {
    test::virtual_run([]() -> task<> {
        const chan<int> c;
        const chan<int> full;
        ringo::mutex m;
        ringo::wait_group group;
        auto held = co_await m.lock();
        group.add();
        auto sleeper = spawn([]() -> task<> { co_await ringo::sleep(1200ms); });
        const unsigned line = __LINE__ + 1;
        go([&]() -> task<> { (void)co_await c.recv(); });
        go([&]() -> task<> { co_await full.send(1); });
        go([&]() -> task<> { (void)co_await m.lock(); });
        go([&]() -> task<> { co_await group.wait(); });
        go([&]() -> task<> { co_await sleeper; });
        co_await yield();
        CHECK(made_in(line).state == "chan receive");
        CHECK(made_in(line + 1).state == "chan send");
        CHECK(made_in(line + 2).state == "mutex");
        CHECK(made_in(line + 3).state == "wait_group");
        CHECK(made_in(line + 4).state == "join");
        CHECK(made_in(line - 2).state == "sleep 1.2s");
        const debug::goroutine waiting = made_in(line);
        CHECK(waiting.core == 0);
        CHECK(waiting.made_by == 1);
        REQUIRE(waiting.trace.size() == 1);
        CHECK(waiting.trace[0].line == line);
        group.done();
        c.close();
        (void)full.try_recv();
        held.unlock();
        co_await yield();
    });
}

TEST_CASE("a_select_says_how_many_arms_it_has") {
    test::virtual_run([]() -> task<> {
        const chan<int> a;
        const chan<int> b;
        const unsigned line = __LINE__ + 1;
        go([&]() -> task<> { (void)co_await ringo::select(a.recv(), b.recv(), ringo::sleep(1h)); });
        co_await yield();
        CHECK(made_in(line).state == "select (3 arms)");
        a.close();
    });
}

TEST_CASE("a_trace_leads_from_where_it_waits_to_where_it_was_made") {
    test::virtual_run([]() -> task<> {
        const chan<int> c;
        const unsigned line = __LINE__ + 1;
        go(through_a_task, c);
        co_await ringo::sleep(3s);
        const debug::goroutine g = made_in(line);
        REQUIRE(g.trace.size() == 2);
        CHECK(g.trace[0].line == receive_line);
        CHECK(is_function(g.trace[0], "receive"));
        CHECK(g.trace[1].line == through_line);
        CHECK(is_function(g.trace[1], "through_a_task"));
        CHECK(g.waited > 2900ms);
        CHECK(g.age >= g.waited);
        CHECK(g.age < 4s);
        CHECK(!g.deadline);
        c.close();
    });
}

TEST_CASE("the_caller_is_running_and_knows_its_deadline") {
    test::virtual_run([]() -> task<> {
        co_await ringo::timeout(5s, []() -> task<> {
            const auto all = debug::goroutines();
            REQUIRE(all.size() == 1);
            CHECK(all[0].state == "running");
            CHECK(all[0].id == 1);
            REQUIRE(all[0].deadline);
            CHECK(*all[0].deadline == ringo::now() + 5s);
            co_return;
        }());
    });
}

TEST_CASE("every_kind_of_start_is_known") {
    test::virtual_run([]() -> task<> {
        const chan<int> c;
        const unsigned line = __LINE__ + 1;
        go(receive, c);
        go(ringo::on(0), receive, c);
        auto spawned = spawn(receive, c);
        auto placed = spawn(ringo::with(ringo::this_context()), receive, c);
        ringo::wait_group group;
        group.go(receive, c);
        ringo::after_func(0s, [c]() -> task<> { (void)co_await c.recv(); });
        co_await ringo::sleep(1ms);
        for (unsigned i = 0; i < 7; ++i) {
            if (i != 4) {
                CHECK(made_in(line + i).state == "chan receive");
            }
        }
        c.close();
        co_await spawned;
        co_await placed;
    });
}

TEST_CASE("starts_with_many_arguments_are_known") {
    test::virtual_run([]() -> task<> {
        const chan<int> c;
        const auto f = [](chan<int> in, auto...) -> task<> { (void)co_await in.recv(); };
        ringo::wait_group group;
        const unsigned line = __LINE__ + 1;
        go(f, c, 1, 2, 3, 4, 5, 6);
        auto spawned = spawn(f, c, 1, 2, 3, 4);
        go(ringo::anywhere, f, c, 1, 2, 3, 4, 5, 6, 7, 8);
        group.go(ringo::place(), f, c, 1, 2, 3, 4, 5, 6, 7, 8);
        co_await ringo::sleep(1ms);
        for (unsigned i = 0; i < 4; ++i) {
            CHECK(made_in(line + i).state == "chan receive");
        }
        c.close();
        co_await spawned;
        co_await group.wait();
    });
}

TEST_CASE("goroutines_that_move_between_contexts_meanwhile_are_seen") {
    test::virtual_run([]() -> task<> {
        bool ends = false;
        for (int i = 0; i < 3000; ++i) {
            go([&ends]() -> task<> {
                while (!ends) {
                    (void)co_await ringo::as_result(ringo::timeout(1ms, ringo::sleep(1h)));
                }
            });
        }
        co_await ringo::sleep(10ms);
        CHECK(debug::goroutines().size() == 3001);
        ends = true;
        co_await ringo::sleep(10ms);
        CHECK(debug::goroutines().size() == 1);
    });
}

TEST_CASE("another_thread_sees_all_cores_while_they_run") {
    ringo::run([]() -> task<> {
        const chan<int> c;
        std::atomic<bool> ends{false};
        constexpr int each = 1000;
        ringo::wait_group group;
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            for (int i = 0; i < each; ++i) {
                group.go(ringo::on(core), [c]() -> task<> { (void)co_await c.recv(); });
            }
            group.go(ringo::on(core), [&ends]() -> task<> {
                while (!ends) {
                    (void)co_await ringo::timeout(1h, yield());
                }
            });
        }
        co_await ringo::sleep(1ms);
        const std::size_t expected = ringo::cores() * (each + 1) + 1;
        co_await ringo::blocking([expected] {
            std::size_t seen = 0;
            while (seen != expected) {  // some may be on their way to their core still
                seen = debug::goroutines().size();
            }
        });
        // Two cores that ask each other.
        auto other = spawn(ringo::on(ringo::cores() - 1),
                           []() -> task<std::size_t> { co_return debug::goroutines().size(); });
        CHECK(debug::goroutines().size() >= expected);
        CHECK(co_await other >= expected);
        ends = true;
        c.close();
        co_await group.wait();
    });
}

// --- reports ---

TEST_CASE("a_deadlock_is_reported_with_all_traces") {
    const test::child_end end = test::in_child([] {
        ringo::run([]() -> task<> {
            const chan<int> c;
            go(through_a_task, c);
            co_await receive(c);
        });
    });
    check_exit(end, 2);
    CHECK(contains(end.output,
                   "all goroutines are asleep - deadlock!\n\n2 goroutines: chan receive (2)"));
    CHECK(contains(end.output, "goroutine 1 [chan receive"));
    CHECK(contains(end.output, at(receive_line)));
    CHECK(contains(end.output, at(through_line)));
}

TEST_CASE("a_panic_carries_the_trace") {
    constexpr unsigned begin = __LINE__;
    const auto fails = []() -> task<> {
        co_await yield();
        ringo::wait_group().done();
    };
    const test::child_end end =
        test::in_child([&fails] { ringo::run([&fails]() -> task<> { co_await fails(); }); });
    CAPTURE(end.output);
    CHECK(WTERMSIG(end.status) == SIGABRT);
    CHECK(contains(end.output, "goroutine 1 [running, core 0]:"));
    CHECK(contains(end.output, "after "));
    CHECK(contains(end.output, at(begin + 2)));
    CHECK(contains(end.output, at(begin + 6)));
}

TEST_CASE("an_unhandled_exception_carries_the_trace") {
    constexpr unsigned begin = __LINE__;
    const test::child_end end = test::in_child([] {
        ringo::run([]() -> task<> {
            go([]() -> task<> {
                co_await yield();
                throw std::runtime_error("of this test");
            });
            co_await ringo::sleep(1h);
        });
    });
    CAPTURE(end.output);
    CHECK(WTERMSIG(end.status) == SIGABRT);
    CHECK(contains(end.output, "std::runtime_error: of this test"));
    CHECK(contains(end.output, at(begin + 4)));
    CHECK(contains(end.output, "made by goroutine 1"));
}

TEST_CASE("who_waits_on_a_channel_that_is_gone_has_leaked") {
    test::virtual_run([]() -> task<> {
        auto lost = std::make_unique<chan<int>>();
        const chan<int> kept;
        const auto& l = *lost;
        const chan<int> nil = nullptr;
        const unsigned line = __LINE__ + 1;
        go([&]() -> task<> { (void)co_await l.recv(); });
        go([&]() -> task<> { (void)co_await ringo::select(l.recv(), nil.recv()); });
        go([&]() -> task<> { (void)co_await ringo::select(l.recv(), kept.recv()); });
        go([&]() -> task<> { (void)co_await kept.recv(); });
        co_await yield();
        CHECK(debug::leaks().empty());
        lost.reset();
        const auto leaks = debug::leaks();
        REQUIRE(leaks.size() == 2);
        CHECK(leaks[0].made_at.line == line);
        CHECK(leaks[1].made_at.line == line + 1);
    });
}

TEST_CASE("leaks_are_reported_at_the_end_of_a_run") {
    constexpr unsigned begin = __LINE__;
    const test::child_end end = test::in_child([] {
        ringo::run([]() -> task<> {
            auto lost = std::make_unique<chan<int>>();
            go([&c = *lost]() -> task<> { (void)co_await c.recv(); });
            co_await yield();
            lost.reset();
            co_await ringo::sleep(1ms);
        });
    });
    check_exit(end, 0);
    CHECK(contains(end.output, "1 goroutine leaked"));
    CHECK(contains(end.output, at(begin + 4)));
}

TEST_CASE("who_waits_on_a_channel_of_the_main_task_has_not_leaked") {
    const test::child_end end = test::in_child([] {
        ringo::run([]() -> task<> {
            const chan<int> c;
            go([&c]() -> task<> { (void)co_await c.recv(); });
            go(receive, c);
            co_await ringo::sleep(1ms);
        });
    });
    check_exit(end, 0);
    CHECK(end.output == "");
}

TEST_CASE("sigquit_prints_all_and_the_program_goes_on") {
    const test::child_end end = test::in_child([] {
        own_stderr err;
        ringo::run([&err]() -> task<> {
            const chan<int> c;
            go(through_a_task, c);
            co_await yield();
            ::kill(::getpid(), SIGQUIT);
            while (!err.has(at(through_line).c_str())) {
                co_await yield();
            }
        });
    });
    check_exit(end, 0);
    CHECK(contains(end.output, "[chan receive"));
    CHECK(contains(end.output, at(receive_line)));
}

TEST_CASE("sigquit_is_left_alone_where_the_options_say_so") {
    const test::child_end end = test::in_child([] {
        ringo::run(
            []() -> task<> {
                ::kill(::getpid(), SIGQUIT);
                co_await ringo::sleep(1h);
            },
            {.sigquit_prints = false});
    });
    CHECK(WIFSIGNALED(end.status));
    CHECK(WTERMSIG(end.status) == SIGQUIT);
}

TEST_CASE("a_core_that_hangs_is_reported_with_its_goroutine") {
    constexpr unsigned begin = __LINE__;
    const test::child_end end = test::in_child([] {
        own_stderr err;
        ringo::run(
            [&err]() -> task<> {
                co_await yield();
                while (!err.has("stack:\n")) {
                }
            },
            {.stall_after = 20ms});
    });
    check_exit(end, 0);
    CAPTURE(end.output);
    CHECK(contains(end.output, "core 0 has not paused for"));
    CHECK(contains(end.output, "goroutine 1:"));
    CHECK(contains(end.output, at(begin + 5)));
}

TEST_CASE("sigquit_tells_of_a_core_that_hangs_and_of_all_its_goroutines") {
    constexpr unsigned begin = __LINE__;
    const test::child_end end = test::in_child([] {
        own_stderr err;
        ringo::run(
            [&err]() -> task<> {
                const chan<int> c;
                for (int i = 0; i < 100; ++i) {
                    go(through_a_task, c);
                }
                co_await yield();
                go(receive, c);
                ::kill(::getpid(), SIGQUIT);
                while (!err.has("stack:\n")) {
                }
            },
            {.cores = 1, .stall_after = 0ms});
    });
    check_exit(end, 0);
    CAPTURE(end.output);
    CHECK(contains(end.output, "core 0 does not pause\ngoroutine 1:"));
    CHECK(contains(end.output, "goroutine 1 [running, core 0"));
    CHECK(contains(end.output, at(begin + 9)));
    CHECK(contains(end.output, "goroutine 2 [chan receive, "));
    CHECK(contains(end.output, "goroutine 101 [chan receive, "));
    CHECK(contains(end.output, at(through_line)));
    CHECK(contains(end.output, "goroutine 102 [runnable, "));
}
