// The scenarios of conformance that concern a run as a whole, by their numbers: deadlocks, fork,
// and its end.
#include "misuse.hpp"
#include "placements.hpp"
#include "skip.hpp"

#include <ringo/blocking.hpp>
#include <ringo/callback.hpp>
#include <ringo/os.hpp>
#include <ringo/poll.hpp>
#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::chan;
using ringo::go;
using ringo::spawn;
using ringo::task;
using test::placement;

namespace {

/// Something outside of the run that happens soon: the kernel's clock.
class soon {
public:
    soon() : fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
        const itimerspec at{{0, 0}, {0, 3'000'000}};
        REQUIRE(::timerfd_settime(fd_, 0, &at, nullptr) == 0);
    }
    soon(const soon&) = delete;
    soon& operator=(const soon&) = delete;
    ~soon() { ::close(fd_); }

    int descriptor() const { return fd_; }
    void wait() const {
        std::uint64_t expirations = 0;
        while (::read(fd_, &expirations, sizeof expirations) < 0) {
        }
    }

private:
    int fd_;
};

/// The run of `body` must end the program, as Go does; `parked` is who waits in what.
template <class F>
void expect_deadlock(unsigned cores, const std::string& parked, F body) {
    // ThreadSanitizer's own thread comes with the first, and a child must not get a second one.
    std::thread([] {}).join();
    const test::child_end end =
        test::in_child([&] { ringo::run(body, {.cores = cores, .pin = false}); });
    CAPTURE(cores);
    CHECK(end.output == "fatal error: all goroutines are asleep - deadlock!\n\n" + parked + "\n");
    CHECK(WIFEXITED(end.status));
    CHECK(WEXITSTATUS(end.status) == 2);
}

bool cannot_tell() {
    const bool no_proc = ::access("/proc/self/task", R_OK) != 0;
    if (no_proc) {
        test::skip("no /proc: whether there are other threads is not to be known");
    }
    return no_proc;
}

task<> receives(chan<int> c) { co_await c.recv(); }

}  // namespace

// runtime.TestSimpleDeadlock, TestLockedDeadlock, TestGoexitDeadlock
TEST_CASE("go_63_total_deadlock_is_reported") {
    if (cannot_tell()) {
        return;
    }
    for (const unsigned cores : {1U, 2U, 4U}) {
        expect_deadlock(cores, "1 goroutine: chan receive",
                        []() -> task<> { co_await chan<int>().recv(); });
        expect_deadlock(cores, "1 goroutine: select (no operands)",
                        []() -> task<> { co_await ringo::select(); });
        // Each waits for the other, on several cores.
        expect_deadlock(cores, "8 goroutines: chan receive (4), join, mutex lock (2), select",
                        [cores]() -> task<> {
                            const chan<int> a;
                            const chan<int> b;
                            ringo::mutex m;
                            const auto held = co_await m.lock();
                            for (std::size_t i = 0; i < 4; ++i) {
                                go(ringo::on(i % cores), receives, i % 2 == 0 ? a : b);
                            }
                            for (std::size_t i = 0; i < 2; ++i) {
                                go(ringo::on(i % cores),
                                   [&m]() -> task<> { const auto g = co_await m.lock(); });
                            }
                            auto last = spawn(ringo::on(cores - 1), [a, b]() -> task<> {
                                co_await ringo::select(a.recv(), b.recv());
                            });
                            co_await last;
                        });
    }
}

TEST_CASE("go_63_a_deadlock_is_reported_once_nothing_is_pending_any_more") {
    if (cannot_tell()) {
        return;
    }
    for (const unsigned cores : {1U, 2U, 4U}) {
        expect_deadlock(cores, "1 goroutine: chan receive", [cores]() -> task<> {
            const chan<int> c;
            const soon ticks;
            co_await ringo::sleep(1ms);
            co_await ringo::blocking([&ticks] { ticks.wait(); });
            std::thread([] {}).join();
            for (std::size_t i = 0; i < 50; ++i) {
                go(ringo::on(i % cores), [c]() -> task<> { co_await c.send(1); });
                co_await c.recv();
            }
            int pipe_fds[2];
            REQUIRE(::pipe(pipe_fds) == 0);
            auto polls =
                spawn([fd = pipe_fds[0]]() -> task<> { co_await ringo::poll(fd, POLLIN); });
            co_await test::until_parked(0, polls, "poll");
            polls.cancel();
            co_await ringo::as_result(polls);
            co_await c.recv();
        });
    }
}

// A false alarm would end this program.
TEST_CASE("go_64_pending_io_is_not_a_deadlock") {
    test::for_each_placement([](placement p) -> task<> {
        const soon ticks;
        auto polls = spawn(p.waits(), [&ticks]() -> task<int> {
            const int events = co_await ringo::poll(ticks.descriptor(), POLLIN);
            co_return events;
        });
        const int events = co_await polls;
        CHECK(events == POLLIN);
    });
}

TEST_CASE("go_64_a_pending_timer_is_not_a_deadlock") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c;
        go(p.wakes(), [c]() -> task<> {
            co_await ringo::sleep(3ms);
            co_await c.send(1);
        });
        co_await c.recv();
        auto late = spawn(p.waits(), [c]() -> task<> { co_await ringo::timeout(3ms, c.recv()); });
        const auto r = co_await ringo::as_result(late);
        CHECK(r.error() == std::errc::timed_out);
    });
}

// Not under sanitizers: theirs for threads holds a signal back until its thread calls libc.
#if !RINGO_SANITIZED
TEST_CASE("go_64_an_awaited_signal_is_not_a_deadlock") {
    test::for_each_placement([](placement p) -> task<> {
        auto waits = spawn(p.waits(), []() -> task<> {
            const auto interrupted = ringo::os::signal_context({SIGALRM});
            const itimerval at{{0, 0}, {0, 3'000}};
            REQUIRE(::setitimer(ITIMER_REAL, &at, nullptr) == 0);
            co_await interrupted.ctx().done();
        });
        co_await waits;
    });
}
#endif

TEST_CASE("go_64_blocking_work_and_callbacks_are_no_deadlock") {
    test::for_each_placement([](placement p) -> task<> {
        const soon ticks;
        auto blocks = spawn(p.waits(), [&ticks]() -> task<> {
            co_await ringo::blocking([&ticks] { ticks.wait(); });
        });
        co_await blocks;
        std::thread caller;
        auto called = spawn(p.waits(), [&caller]() -> task<int> {
            const int n = co_await ringo::from_callback<int>([&](ringo::completion<int> done) {
                caller = std::thread([done = std::move(done)] {
                    const soon at;
                    at.wait();
                    done(3);
                });
            });
            co_return n;
        });
        const int n = co_await called;
        CHECK(n == 3);
        caller.join();
    });
}

TEST_CASE("go_64_a_thread_that_may_wake_someone_is_not_a_deadlock") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c;
        // Until it sends, nothing tells that it will.
        std::thread outside([c] {
            const soon at;
            at.wait();
            c.send_blocking(3);
        });
        auto waits = spawn(p.waits(), [c]() -> task<std::optional<int>> {
            const std::optional<int> v = co_await c.recv();
            co_return v;
        });
        const auto v = co_await waits;
        CHECK(v == 3);
        outside.join();
    });
}

TEST_CASE("go_64_cores_that_wake_each_other_are_no_deadlock") {
    test::for_each_core_count([](placement p) -> task<> {
        const chan<int> there;
        const chan<int> back;
        auto echo = spawn(p.wakes(), [there, back]() -> task<> {
            while (const auto v = co_await there.recv()) {
                co_await back.send(*v);
            }
        });
        for (int i = 0; i < 3000; ++i) {
            co_await there.send(i);
            const auto v = co_await back.recv();
            CHECK(v == i);
        }
        there.close();
        co_await echo;
    });
}
