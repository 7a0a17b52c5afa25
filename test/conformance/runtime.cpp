// The scenarios of conformance that concern a run as a whole, by their numbers: deadlocks, fork,
// and its end.
#include "counted.hpp"
#include "misuse.hpp"
#include "placements.hpp"
#include "skip.hpp"
#include "steps.hpp"

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
using test::counted;
using test::for_ever;
using test::placement;
using test::sleeps_for_ever;

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
    // What follows is the list of them, with traces: test/debug.cpp.
    const std::string begin =
        "fatal error: all goroutines are asleep - deadlock!\n\n" + parked + "\n\ngoroutine 1 [";
    CHECK(end.output.substr(0, begin.size()) == begin);
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

// What waits takes or does not, whoever is cancelled when, on whatever cores. Sockets are in net.cpp.

namespace {

/// Something to wait for, and what a wait that ended without an error must have done.
struct waited_for {
    const char* name;
    std::function<void()> prepare;
    std::function<task<>()> wait;
    std::function<void()> give;
    std::function<bool(bool taken)> settle;  // whether all is accounted for
};

/// Cancels `what` before it waits, while it waits, while it is woken and after that.
task<> cancel_in_every_state(placement p, const waited_for& what) {
    for (int i = 0; i < 60; ++i) {
        what.prepare();
        auto waits = spawn(p.waits(), [&what]() -> task<bool> {
            const auto r = co_await ringo::as_result(what.wait());
            const bool cancelled = !r && r.error() == std::errc::operation_canceled;
            CHECK((r || cancelled));
            co_return r.has_value();
        });
        auto gives = spawn(p.wakes(), [&what, i]() -> task<> {
            for (int n = i % 5; n > 0; --n) {
                co_await ringo::yield();
            }
            what.give();
        });
        for (int n = i / 5 % 6; n > 0; --n) {
            co_await ringo::yield();
        }
        waits.cancel();
        bool taken = false;
        try {
            taken = co_await waits;
        } catch (const ringo::cancelled&) {  // before its first step
        }
        co_await gives;
        CAPTURE(what.name);
        CAPTURE(i);
        CHECK(what.settle(taken));
    }
}

}  // namespace

TEST_CASE("go_72_every_wait_is_cancelled_in_every_state") {
    test::for_each_placement([](placement p) -> task<> {
        const chan<int> c(1);
        ringo::mutex m;
        ringo::mutex::guard lock;
        ringo::shared_mutex s;
        ringo::shared_mutex::guard exclusive;
        ringo::semaphore two(2);
        ringo::permit both;
        ringo::event e;
        const auto has = [c](bool value) { return c.try_recv().has_value() == value; };
        const waited_for all[] = {
            {"recv", [] {}, [c]() -> task<> { co_await c.recv(); }, [c] { c.try_send(1); },
             [has](bool taken) { return has(!taken); }},
            {"send", [c] { c.try_send(1); }, [c]() -> task<> { co_await c.send(2); },
             [c] { CHECK(c.try_recv().value() == 1); }, has},
            {"select",
             [&] {
                 c.try_send(1);
                 lock = m.try_lock();
             },
             [&, c]() -> task<> { co_await ringo::select(m.lock(), c.send(2), e.wait()); },
             [c] { CHECK(c.try_recv().value() == 1); },
             [&lock, has](bool taken) {
                 lock.unlock();
                 return has(taken);
             }},
            {"mutex", [&] { lock = m.try_lock(); },
             [&m]() -> task<> { const auto g = co_await m.lock(); }, [&lock] { lock.unlock(); },
             [&m](bool) { return static_cast<bool>(m.try_lock()); }},
            {"shared_mutex", [&] { exclusive = s.try_lock(); },
             [&s]() -> task<> { const auto g = co_await s.lock_shared(); },
             [&exclusive] { exclusive.unlock(); },
             [&s](bool) { return static_cast<bool>(s.try_lock()); }},
            {"semaphore", [&] { both = two.try_acquire(1); },
             [&two]() -> task<> { const auto g = co_await two.acquire(2); },
             [&both] { both.release(); },
             [&two](bool) { return static_cast<bool>(two.try_acquire(2)); }},
            {"event", [&e] { e.reset(); }, [&e]() -> task<> { co_await e.wait(); },
             [&e] { e.set(); }, [&e](bool) { return e.is_set(); }},
        };
        for (const waited_for& each : all) {
            co_await cancel_in_every_state(p, each);
        }
    });
}

// Polls for more than a completion queue holds end at once, in the midst of messages.
TEST_CASE("go_74_a_message_into_a_full_completion_queue") {
    test::for_each_core_count([](placement p) -> task<> {
        constexpr int polls = 6000;
        constexpr int messages = 1000;
        int fds[2];
        REQUIRE(::pipe(fds) == 0);
        const chan<int> c;
        ringo::wait_group wg;
        std::atomic<int> begun = 0;
        for (int i = 0; i < polls; ++i) {
            wg.go(p.waits(), [&begun, fd = fds[0]]() -> task<> {
                ++begun;
                co_await ringo::poll(fd, POLLIN);
            });
        }
        co_await test::until([&] { return begun == polls; });
        auto sends = spawn(p.wakes(), [c, fd = fds[1]]() -> task<> {
            for (int i = 0; i < messages; ++i) {
                co_await c.send(i);
                if (i == messages / 2) {
                    CHECK(::write(fd, "x", 1) == 1);
                }
            }
        });
        for (int i = 0; i < messages; ++i) {
            const auto v = co_await c.recv();
            CHECK(v == i);
        }
        co_await sends;
        co_await wg.wait();
        ::close(fds[0]);
        ::close(fds[1]);
    });
}

// --- fork ---

TEST_CASE("go_77_a_child_that_does_not_exec_leaves_its_parents_ring_alone") {
    // One core: of several threads, a child has only the one that forked.
    ringo::run(
        []() -> task<> {
            int fds[2];
            REQUIRE(::pipe(fds) == 0);
            auto polls = spawn([fd = fds[0]]() -> task<> { co_await ringo::poll(fd, POLLIN); });
            co_await test::until_parked(0, polls, "poll");
            for (int i = 0; i < 3; ++i) {
                const ::pid_t child = ::fork();
                REQUIRE(child >= 0);
                if (child == 0) {
                    // Its own ring, on a thread that is no core of the parent's run.
                    int result = 1;
                    std::thread([&result] {
                        result = ringo::run(
                            []() -> task<int> {
                                const chan<int> c;
                                go([c]() -> task<> {
                                    co_await ringo::sleep(1us);
                                    co_await c.send(42);
                                });
                                co_return *(co_await c.recv());
                            },
                            {.cores = 1});
                    }).join();
                    ::_exit(result);
                }
                int status = 0;
                REQUIRE(::waitpid(child, &status, 0) == child);
                CHECK(WIFEXITED(status));
                CHECK(WEXITSTATUS(status) == 42);
                co_await ringo::sleep(1us);
                CHECK_FALSE(polls.done());
            }
            CHECK(::write(fds[1], "x", 1) == 1);
            co_await polls;
            ::close(fds[0]);
            ::close(fds[1]);
        },
        {.cores = 1});
}

// --- the end ---

namespace {

/// What goroutines wait for in vain.
struct vain {
    const chan<int> empty;
    ringo::mutex m;
    ringo::mutex::guard lock = m.try_lock();
    ringo::shared_mutex s;
    ringo::shared_mutex::guard exclusive = s.try_lock();
    ringo::mutex free;
    ringo::condition_variable changed;
    ringo::semaphore none{1};
    ringo::permit taken = none.try_acquire(1);
    ringo::wait_group wg;
    ringo::event e;
    ringo::latch l{1};
    ringo::barrier b{1'000'000};
    ringo::once first;
    ringo::timer t{1h};
    int fds[2] = {-1, -1};
};

using wait_in_vain = task<> (*)(vain&);
constexpr wait_in_vain every_wait[] = {
    [](vain&) { return sleeps_for_ever(); },
    [](vain&) -> task<> { co_await ringo::sleep(1h); },
    [](vain&) -> task<> { co_await ringo::context::background().done(); },
    [](vain&) -> task<> { co_await ringo::select(); },
    [](vain&) -> task<> {
        auto h = spawn(sleeps_for_ever);
        co_await h;
    },
    [](vain& v) -> task<> { co_await v.empty.recv(); },
    [](vain& v) -> task<> { co_await ringo::timeout(1h, v.empty.recv()); },
    [](vain&) -> task<> { co_await chan<int>().send(1); },
    [](vain& v) -> task<> { co_await ringo::select(v.empty.recv(), v.m.lock(), v.e.wait()); },
    [](vain& v) -> task<> { const auto g = co_await v.m.lock(); },
    [](vain& v) -> task<> { const auto g = co_await v.s.lock(); },
    [](vain& v) -> task<> { const auto g = co_await v.s.lock_shared(); },
    [](vain& v) -> task<> {
        auto g = co_await v.free.lock();
        co_await v.changed.wait(g);
    },
    [](vain& v) -> task<> { const auto p = co_await v.none.acquire(); },
    [](vain& v) -> task<> { co_await v.wg.wait(); },
    [](vain& v) -> task<> { co_await v.e.wait(); },
    [](vain& v) -> task<> { co_await v.l.wait(); },
    [](vain& v) -> task<> { co_await v.b.arrive_and_wait(); },
    [](vain& v) -> task<> {
        co_await v.first.call(sleeps_for_ever);
        co_await sleeps_for_ever();  // the first caller's end has let the others go
    },
    [](vain& v) -> task<> { co_await v.t; },
    [](vain&) -> task<> {
        ringo::task_group g;
        g.go(sleeps_for_ever);
        co_await g.wait();
    },
    [](vain&) -> task<> { co_await ringo::when_all(sleeps_for_ever(), sleeps_for_ever()); },
    [](vain& v) -> task<> { co_await ringo::poll(v.fds[0], POLLIN); },
    [](vain&) -> task<> {
        std::optional<ringo::completion<int>> kept;
        co_await ringo::from_callback<int>(
            [&kept](ringo::completion<int> c) { kept = std::move(c); });
    },
    [](vain&) -> task<> {
        while (true) {
            co_await ringo::yield();
        }
    },
};

}  // namespace

TEST_CASE("go_81_main_ends_while_thousands_are_parked_in_every_kind_of_wait") {
    constexpr int each = 100;
    for (const unsigned cores : {1U, 2U, 4U}) {
        for (const auto grace : {1000ms, 0ms}) {  // they are cancelled; they are destroyed
            int fds[2];
            REQUIRE(::pipe(fds) == 0);
            std::atomic<int> alive = 0;
            std::atomic<int> parked = 0;
            ringo::run(
                [&]() -> task<> {
                    auto shared = std::make_shared<vain>();
                    shared->wg.add(1);
                    shared->fds[0] = fds[0];
                    int started = 0;
                    for (const wait_in_vain wait : every_wait) {
                        for (int i = 0; i < each; ++i, ++started) {
                            go(
                                ringo::on(static_cast<std::size_t>(i) % cores),
                                [&parked](wait_in_vain w, std::shared_ptr<vain> v,
                                          counted) -> task<> {
                                    ++parked;
                                    co_await w(*v);
                                    FAIL("it was in vain");
                                },
                                wait, shared, counted(alive));
                        }
                    }
                    co_await test::until([&] { return parked == started; });
                    co_await ringo::sleep(1us);
                },
                {.cores = cores, .pin = false, .shutdown_grace = grace});
            CHECK(alive == 0);
            ::close(fds[0]);
            ::close(fds[1]);
        }
    }
}
