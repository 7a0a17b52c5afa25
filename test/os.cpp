#include <ringo/os.hpp>

#include <doctest/doctest.h>

#include "misuse.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::os::notify;
using ringo::os::signal_context;
using test::no_descriptor_leaks;
using test::until;
using test::yield_times;

namespace {

using handler = void (*)(int);

handler handler_of(int number) {
    struct sigaction now {};
    ::sigaction(number, nullptr, &now);
    return now.sa_handler;
}

std::atomic<int> own_calls = 0;
void own_handler(int) { ++own_calls; }

/// A handler of the program's own for as long as it lives.
class own_signal {
public:
    explicit own_signal(int number) : number_(number), before_(std::signal(number, &own_handler)) {
        own_calls = 0;
    }
    own_signal(const own_signal&) = delete;
    own_signal& operator=(const own_signal&) = delete;
    ~own_signal() { std::signal(number_, before_); }

private:
    int number_;
    handler before_;
};

/// Sends this process one signal after the other.
class signal_storm {
public:
    explicit signal_storm(int number)
        : thread_([this, number] {
              while (!stop_) {
                  ::kill(::getpid(), number);
                  std::this_thread::yield();
              }
          }) {}
    ~signal_storm() { end(); }

    void end() {
        stop_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
    }

private:
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

std::string refusal(std::initializer_list<int> numbers) {
    try {
        const auto scope = signal_context(numbers);
        return "it was accepted";
    } catch (const std::system_error& e) {
        return e.what();
    }
}

task<bool> ended(ringo::context ctx) {
    const auto r = co_await as_result(ringo::within(ctx, ringo::sleep(1h)));
    co_return r.error() == std::errc::operation_canceled;
}

}  // namespace

TEST_CASE("a_signal_ends_the_context") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const auto interrupted = signal_context({SIGINT, SIGTERM});
        CHECK_FALSE(interrupted.ctx().cancelled());
        auto waiting = spawn(ended, interrupted.ctx());
        co_await yield_times(3);
        ::raise(SIGTERM);
        CHECK(co_await waiting);
        CHECK(interrupted.ctx().cancelled());
    });
}

TEST_CASE("a_signal_from_any_thread_to_any_thread_ends_it") {
    const no_descriptor_leaks check;
    for (int i = 0; i < 20; ++i) {
        run([]() -> task<> {
            const auto interrupted = signal_context({SIGINT});
            auto waiting = spawn(ended, interrupted.ctx());
            auto sender = spawn(on(test::other_core()), []() -> task<> {
                ::kill(::getpid(), SIGINT);
                co_return;
            });
            co_await sender;
            CHECK(co_await waiting);
        });
    }
}

TEST_CASE("it_does_what_it_did_before_once_the_context_has_ended") {
    const no_descriptor_leaks check;
    const own_signal own(SIGUSR1);
    run([]() -> task<> {
        {
            const auto scope = signal_context({SIGUSR1});
            CHECK((handler_of(SIGUSR1) != &own_handler));
            ::raise(SIGUSR1);
            CHECK(own_calls == 0);
            co_await ended(scope.ctx());
            co_await until([] { return handler_of(SIGUSR1) == &own_handler; });  // by the signal
        }
        {
            const auto scope = signal_context({SIGUSR1});
            CHECK((handler_of(SIGUSR1) != &own_handler));
        }
        co_await until([] { return handler_of(SIGUSR1) == &own_handler; });  // by its scope's end
    });
    CHECK(own_calls == 0);
    ::raise(SIGUSR1);
    CHECK(own_calls == 1);
}

TEST_CASE("the_end_of_the_run_gives_signals_back") {
    const no_descriptor_leaks check;
    const own_signal own(SIGUSR1);
    for (int i = 0; i < 3; ++i) {
        run([]() -> task<> {
            const auto scope = signal_context({SIGUSR1});
            co_await yield_times(2);
        });
        CHECK((handler_of(SIGUSR1) == &own_handler));
    }
}

TEST_CASE("several_contexts_share_a_signal") {
    const no_descriptor_leaks check;
    const own_signal own(SIGUSR1);
    const own_signal other(SIGUSR2);
    run([]() -> task<> {
        const auto first = signal_context({SIGUSR1, SIGUSR2});
        {
            const auto second = signal_context({SIGUSR1});
            auto a = spawn(ended, first.ctx());
            auto b = spawn(on(test::other_core()), ended, second.ctx());
            ::raise(SIGUSR1);
            CHECK(co_await a);
            CHECK(co_await b);
        }
        co_await until([] {
            return handler_of(SIGUSR1) == &own_handler && handler_of(SIGUSR2) == &own_handler;
        });
    });
}

TEST_CASE("a_context_for_other_signals_is_left_alone") {
    run([]() -> task<> {
        const auto one = signal_context({SIGUSR1});
        const auto two = signal_context({SIGUSR2});
        ::raise(SIGUSR2);
        CHECK(co_await ended(two.ctx()));
        co_await yield_times(20);
        CHECK_FALSE(one.ctx().cancelled());
    });
}

TEST_CASE("signals_in_a_storm_while_contexts_come_and_go") {
    const no_descriptor_leaks check;
    const own_signal own(SIGUSR1);
    signal_storm storm(SIGUSR1);
    run([]() -> task<> {
        for (std::size_t i = 0; i < 200; ++i) {
            auto one = spawn(on(i % ringo::cores()), []() -> task<bool> {
                const auto scope = signal_context({SIGUSR1});
                co_return co_await ended(scope.ctx());
            });
            CHECK(co_await one);
        }
    });
    storm.end();
    CHECK((handler_of(SIGUSR1) == &own_handler));
}

TEST_CASE("it_ends_with_the_context_that_it_derives_from") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        auto outer = ringo::with_cancel(ringo::this_context());
        auto inner = spawn(ringo::with(outer), []() -> task<bool> {
            const auto scope = signal_context({SIGINT});
            co_return co_await ended(scope.ctx());
        });
        co_await yield_times(3);
        outer.cancel();
        CHECK(co_await inner);
    });
}

TEST_CASE("numbers_of_no_signal_and_uncatchable_ones_are_refused") {
    const no_descriptor_leaks check;
    const own_signal own(SIGUSR1);
    run([]() -> task<> {
        CHECK(refusal({0}) == "signal_context: 0 is no signal: Invalid argument");
        CHECK(refusal({-1}) == "signal_context: -1 is no signal: Invalid argument");
        CHECK(refusal({65}) == "signal_context: 65 is no signal: Invalid argument");
        const std::string number = std::to_string(SIGKILL);
        CHECK(refusal({SIGSEGV}) == "signal_context: 11 is a fault: Invalid argument");
        CHECK(refusal({SIGUSR1, SIGKILL}) ==
              "signal_context: " + number + " cannot be caught: Invalid argument");
        CHECK((handler_of(SIGUSR1) == &own_handler));
        co_return;
    });
}

TEST_CASE("a_second_signal_ends_a_program_whose_core_is_busy") {
    const test::child_end end = test::in_child([] {
        std::signal(SIGTERM, SIG_DFL);
        run([]() -> task<> {
            const auto scope = signal_context({SIGTERM});
            while (true) {  // without letting go of the core
                ::raise(SIGTERM);
            }
            co_return;
        });
    });
    CHECK(WIFSIGNALED(end.status));
    CHECK(WTERMSIG(end.status) == SIGTERM);
}

TEST_CASE("a_second_signal_ends_the_program_that_is_slow_to_end") {
    const test::child_end end = test::in_child([] {
        std::signal(SIGTERM, SIG_DFL);  // doctest has one of its own
        run([]() -> task<> {
            const auto scope = signal_context({SIGTERM});
            ::raise(SIGTERM);
            co_await ended(scope.ctx());
            co_await until([] { return handler_of(SIGTERM) == SIG_DFL; });
            ::raise(SIGTERM);
        });
    });
    CHECK(WIFSIGNALED(end.status));
    CHECK(WTERMSIG(end.status) == SIGTERM);
}

TEST_CASE("outside_a_goroutine_it_is_a_panic") {
    test::expect_panic("go: called outside a runtime's cores",
                       [] { const auto scope = signal_context({SIGUSR1}); });
}

// --- notify ---

namespace {

/// Once it is heard, nothing that was sent before is still on its way.
task<> drained(const ringo::recv_chan<int>& heard, int number) {
    ::raise(number);
    for (std::optional<int> n; n != number;) {
        n = co_await heard.recv();
    }
}

}  // namespace

TEST_CASE("notify_gives_the_numbers_of_the_signals_that_come") {
    const no_descriptor_leaks check;
    const own_signal own(SIGUSR1);
    run([]() -> task<> {
        const auto heard = notify(SIGUSR1, SIGUSR2);
        auto waits = spawn(on(test::other_core()), [heard]() -> task<int> {
            const auto first = co_await heard.recv();
            co_return first.value_or(0);
        });
        co_await yield_times(2);
        ::kill(::getpid(), SIGUSR2);
        CHECK(co_await waits == SIGUSR2);
        ::raise(SIGUSR1);
        CHECK(co_await heard.recv() == SIGUSR1);
        const auto r = co_await ringo::select(heard.recv(), ringo::otherwise);
        CHECK(r.index() == 1);
    });
    CHECK(own_calls == 0);
    CHECK((handler_of(SIGUSR1) == &own_handler));
}

TEST_CASE("the_last_copy_gives_the_signal_back") {
    const own_signal own(SIGUSR1);
    ringo::recv_chan<int> kept;
    {
        const auto first = notify(SIGUSR1);  // no run is needed
        const auto second = notify({SIGUSR1}, 1);
        kept = second;
    }
    CHECK((handler_of(SIGUSR1) != &own_handler));
    kept = nullptr;
    CHECK((handler_of(SIGUSR1) == &own_handler));
    ::raise(SIGUSR1);
    CHECK(own_calls == 1);
}

TEST_CASE("what_comes_between_two_runs_is_received_in_the_next") {
    const own_signal own(SIGUSR1);
    ringo::recv_chan<int> heard;
    run([&]() -> task<> {
        heard = notify(SIGUSR1, SIGUSR2);
        co_await drained(heard, SIGUSR2);
    });
    ::raise(SIGUSR1);
    run([&]() -> task<> { CHECK(co_await heard.recv() == SIGUSR1); });
    ::raise(SIGUSR2);
    CHECK(heard.recv_blocking() == SIGUSR2);
    CHECK(own_calls == 0);
}

TEST_CASE("each_channel_and_context_hears_of_a_signal") {
    run([]() -> task<> {
        const auto a = notify(SIGUSR1);
        const auto b = notify(SIGUSR1, SIGUSR2);
        const auto scope = signal_context({SIGUSR1});
        ::raise(SIGUSR1);
        CHECK(co_await a.recv() == SIGUSR1);
        CHECK(co_await b.recv() == SIGUSR1);
        CHECK(co_await ended(scope.ctx()));
        ::raise(SIGUSR1);  // the context was told once; the channels stay
        CHECK(co_await a.recv() == SIGUSR1);
        CHECK(co_await b.recv() == SIGUSR1);
    });
}

TEST_CASE("signals_are_dropped_while_the_channel_is_full") {
    run([]() -> task<> {
        const auto heard = notify({SIGUSR1}, 1);
        const auto also = notify(SIGUSR1, SIGUSR2);
        for (int i = 0; i < 3; ++i) {
            ::raise(SIGUSR1);
            co_await drained(also, SIGUSR2);
        }
        CHECK(heard.len() == 1);
        CHECK(co_await heard.recv() == SIGUSR1);
        CHECK(heard.len() == 0);
    });
}

TEST_CASE("channels_come_and_go_in_a_storm_of_signals") {
    const own_signal own(SIGUSR1);
    signal_storm storm(SIGUSR1);
    run([]() -> task<> {
        for (std::size_t i = 0; i < 200; ++i) {
            auto one = spawn(on(i % ringo::cores()), []() -> task<int> {
                const auto heard = notify(SIGUSR1);
                const auto number = co_await heard.recv();
                co_return number.value_or(0);
            });
            CHECK(co_await one == SIGUSR1);
        }
    });
    storm.end();
    CHECK((handler_of(SIGUSR1) == &own_handler));
}

TEST_CASE("notify_refuses_what_signal_context_does_and_no_signal_at_all") {
    const auto said = [](std::initializer_list<int> numbers) -> std::string {
        try {
            const auto heard = notify(numbers);
        } catch (const std::system_error& e) {
            return e.what();
        }
        return "it was accepted";
    };
    CHECK(said({}) == "notify: no signal is given: Invalid argument");
    CHECK(said({0}) == "notify: 0 is no signal: Invalid argument");
    CHECK(said({SIGKILL}) == "notify: 9 cannot be caught: Invalid argument");
}
