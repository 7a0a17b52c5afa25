#include <doctest/doctest.h>

#include "contains.hpp"
#include "counted.hpp"
#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>
#include <ringo/runtime.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::go;
using ringo::options;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::contains;
using test::counted;
using test::for_ever;

namespace {

/// Sets an environment variable for as long as it lives.
class environment {
public:
    environment(const char* name, const char* value) : name_(name) {
        if (const char* const old = std::getenv(name)) {
            old_ = old;
        }
        ::setenv(name, value, 1);
    }
    environment(const environment&) = delete;
    environment& operator=(const environment&) = delete;
    ~environment() {
        if (old_) {
            ::setenv(name_, old_->c_str(), 1);
        } else {
            ::unsetenv(name_);
        }
    }

private:
    const char* name_;
    std::optional<std::string> old_;
};

task<std::size_t> count_cores() { co_return ringo::cores(); }

std::string refusal(const options& o) {
    try {
        ringo::run(count_cores, o);
    } catch (const std::system_error& e) {
        return e.what();
    }
    return "it was accepted";
}

/// Never ends by itself, whatever its context says.
task<> ignores_cancellation(std::atomic<int>& alive) {
    const counted c(alive);
    while (true) {
        co_await ringo::shield(ringo::sleep(1h));
    }
}

}  // namespace

TEST_CASE("returns_the_result_of_the_main_task") {
    CHECK(ringo::run([]() -> task<int> { co_return 3; }()) == 3);
    CHECK(ringo::run([]() -> task<int> { co_return 4; }) == 4);
    CHECK(ringo::run([]() -> task<std::string> { co_return "text"; }) == "text");
    CHECK(ringo::run([]() -> task<> { co_return; }) == 0);
}

TEST_CASE("rethrows_what_left_the_main_task") {
    CHECK_THROWS_WITH(ringo::run([]() -> task<> {
                          co_await yield();
                          throw std::runtime_error("from main");
                      }),
                      "from main");
    CHECK_THROWS_WITH(
        ringo::run([]() -> task<> { throw std::logic_error("before there is a task"); }),
        "before there is a task");
}

TEST_CASE("rethrows_only_after_all_goroutines_have_ended") {
    std::atomic<int> alive = 0;
    CHECK_THROWS_AS(ringo::run([&alive]() -> task<> {
                        go([](counted) -> task<> { co_await ringo::sleep(for_ever); },
                           counted(alive));
                        co_await yield();
                        throw std::runtime_error("early");
                    }),
                    std::runtime_error);
    CHECK(alive == 0);
}

TEST_CASE("runs_again_and_again_in_one_process") {
    for (int i = 0; i < 30; ++i) {
        const int n = ringo::run(
            [i]() -> task<int> {
                auto h = spawn(ringo::on(static_cast<std::size_t>(i) % 2), [i]() -> task<int> {
                    co_await ringo::sleep(1us);
                    co_return i;
                });
                const int result = co_await h;
                co_return result;
            },
            {.cores = 2});
        CHECK(n == i);
    }
}

TEST_CASE("run_inside_a_goroutine_is_a_panic") {
    test::expect_panic("run: called inside a goroutine", [] {
        ringo::run([]() -> task<> {
            ringo::run([]() -> task<> { co_return; });
            co_return;
        });
    });
}

// --- options ---

TEST_CASE("options_that_cannot_be_used_are_refused_by_name") {
    CHECK(contains(refusal({.cores = 1025}), "options.cores is 1025"));
    CHECK(contains(refusal({.cores = ~0U}), "options.cores is 4294967295"));
    CHECK(contains(refusal({.ring_entries = 32769}), "options.ring_entries is 32769"));
    CHECK(contains(refusal({.ring_entries = ~0U}), "options.ring_entries is 4294967295"));
    CHECK(contains(refusal({.shutdown_grace = -1ms}), "options.shutdown_grace is negative"));
}

TEST_CASE("a_refused_run_destroys_its_task_and_leaves_the_next_one_alone") {
    std::atomic<int> alive = 0;
    const auto main = [](counted) -> task<> { co_return; };
    CHECK_THROWS_AS(ringo::run(main(counted(alive)), {.cores = 5000}), std::system_error);
    CHECK_THROWS_AS(ringo::run([c = counted(alive)]() -> task<> { co_return; }, {.cores = 5000}),
                    std::system_error);
    CHECK(alive == 0);
    CHECK(ringo::run(count_cores, {.cores = 1}) == 1);
}

TEST_CASE("small_and_large_rings_work") {
    for (const unsigned entries : {1U, 3U, 4096U}) {
        ringo::run(
            []() -> task<> {
                std::vector<ringo::join_handle<void>> handles;
                for (int i = 0; i < 100; ++i) {
                    handles.push_back(spawn([]() -> task<> { co_await ringo::sleep(1us); }));
                }
                for (auto& h : handles) {
                    co_await h;
                }
            },
            {.ring_entries = entries});
    }
}

TEST_CASE("RINGO_CORES_gives_the_number_of_cores") {
    const environment e("RINGO_CORES", "3");
    CHECK(ringo::run(count_cores) == 3);
    CHECK(ringo::run(count_cores, {.cores = 2}) == 2);  // the program knows better
}

TEST_CASE("without_RINGO_CORES_there_is_one_core_per_CPU_of_the_mask") {
    const environment e("RINGO_CORES", "");
    cpu_set_t set;
    REQUIRE(::sched_getaffinity(0, sizeof set, &set) == 0);
    CHECK(ringo::run(count_cores) == static_cast<std::size_t>(CPU_COUNT(&set)));
}

TEST_CASE("a_RINGO_CORES_that_is_no_number_is_refused") {
    for (const char* const text : {"0", "two", "2x", "-1", "99999", "1e3"}) {
        CAPTURE(text);
        const environment e("RINGO_CORES", text);
        CHECK(contains(refusal({}), std::string("RINGO_CORES is \"") + text + "\""));
    }
}

TEST_CASE("a_RINGO_BACKEND_that_does_not_exist_is_refused") {
    {
        const environment e("RINGO_BACKEND", "kqueue");
        CHECK(contains(refusal({}), "RINGO_BACKEND is \"kqueue\""));
    }
    const environment e("RINGO_BACKEND", "automatic");
    CHECK(ringo::run(count_cores, {.cores = 2}) == 2);
}

TEST_CASE("the_calling_thread_keeps_its_affinity") {
    cpu_set_t before;
    cpu_set_t after;
    REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
    ringo::run(count_cores, {.cores = static_cast<unsigned>(CPU_COUNT(&before)), .pin = true});
    REQUIRE(::sched_getaffinity(0, sizeof after, &after) == 0);
    CHECK(CPU_EQUAL(&before, &after));
}

// --- the end of a run ---

TEST_CASE("the_end_cancels_goroutines_and_waits_for_them") {
    std::atomic<int> alive = 0;
    std::atomic<int> cancelled = 0;
    ringo::run(
        [&]() -> task<> {
            for (std::size_t i = 0; i < 20; ++i) {
                go(
                    ringo::on(i % 2),
                    [&](counted) -> task<> {
                        try {
                            co_await ringo::sleep(for_ever);
                        } catch (const ringo::cancelled&) {
                            ++cancelled;
                        }
                        // It may still do what takes a while, out of reach of the cancellation.
                        co_await ringo::shield(ringo::sleep(1ms));
                    },
                    counted(alive));
            }
            for (int i = 0; i < 3; ++i) {
                co_await yield();
            }
        },
        {.cores = 2, .shutdown_grace = 1h});
    CHECK(alive == 0);
    CHECK(cancelled == 20);
}

TEST_CASE("the_end_is_noticed_whichever_core_ends_last") {
    // With an hour of grace a wake-up that gets lost shows as a test that hangs.
    for (int round = 0; round < 300; ++round) {
        ringo::run(
            [round]() -> task<> {
                for (std::size_t core = 0; core < ringo::cores(); ++core) {
                    go(
                        ringo::on(core),
                        [](int spins) -> task<> {
                            try {
                                co_await ringo::sleep(for_ever);
                            } catch (const ringo::cancelled&) {
                            }
                            for (int i = 0; i < spins; ++i) {
                                co_await ringo::shield(yield());
                            }
                        },
                        round % 40);
                }
                co_await yield();
            },
            {.cores = 2, .shutdown_grace = 1h});
    }
}

TEST_CASE("goroutines_that_ignore_cancellation_are_destroyed_and_counted") {
    const auto end = test::in_child([] {
        std::atomic<int> alive = 0;
        ringo::run(
            [&alive]() -> task<> {
                for (std::size_t i = 0; i < 5; ++i) {
                    go(ringo::on(i % 2), ignores_cancellation, std::ref(alive));
                }
                while (alive != 5) {
                    co_await yield();
                }
            },
            {.cores = 2, .shutdown_grace = 20ms});
        ::_exit(alive == 0 ? 0 : 1);
    });
    test::check_exit(end, 0);  // all destructors have run
    CAPTURE(end.output);
    CHECK(contains(end.output, "ringo: 5 goroutines did not end within 20 ms"));
}

TEST_CASE("destroyed_goroutines_unwind_the_whole_chain_of_callers_innermost_first") {
    std::string order;
    struct says {
        ~says() { *out += c; }
        std::string* out;
        char c;
    };
    test::virtual_run(
        [&order]() -> task<> {
            static const auto inner = [](std::string& out) -> task<> {
                const says s{&out, 'i'};
                co_await ringo::shield(ringo::sleep(for_ever));
            };
            static const auto middle = [](std::string& out) -> task<> {
                const says s{&out, 'm'};
                co_await ringo::timeout(1h, inner(out));
            };
            go(
                [](std::string& out) -> task<> {
                    const says s{&out, 'o'};
                    co_await middle(out);
                },
                std::ref(order));
            co_await yield();
        },
        nullptr, {.shutdown_grace = 1ms});
    CHECK(order == "imo");
}

TEST_CASE("no_grace_at_all_destroys_at_once") {
    std::atomic<int> alive = 0;
    ringo::run(
        [&alive]() -> task<> {
            for (std::size_t i = 0; i < 4; ++i) {
                go(ringo::on(i % 2), ignores_cancellation, std::ref(alive));
            }
            while (alive != 4) {
                co_await yield();
            }
        },
        {.cores = 2, .shutdown_grace = 0ms});
    CHECK(alive == 0);
}

TEST_CASE("destructors_at_the_end_may_start_goroutines") {
    // What they start never runs, but is destroyed like the rest.
    std::atomic<int> alive = 0;
    struct starts_one {
        ~starts_one() {
            go([](counted) -> task<> { co_await yield(); }, counted(*alive));
        }
        std::atomic<int>* alive;
    };
    ringo::run(
        [&alive]() -> task<> {
            go([&alive]() -> task<> {
                const starts_one s{&alive};
                co_await ringo::shield(ringo::sleep(for_ever));
            });
            co_await yield();
        },
        {.shutdown_grace = 1ms});
    CHECK(alive == 0);
}

TEST_CASE("goroutines_that_never_started_are_destroyed") {
    std::atomic<int> alive = 0;
    ringo::run(
        [&alive]() -> task<> {
            for (int i = 0; i < 100; ++i) {
                const auto waits = [](counted) -> task<> { co_await ringo::sleep(for_ever); };
                go(waits, counted(alive));
                go(ringo::anywhere, waits, counted(alive));
                go(ringo::on(1), waits, counted(alive));
                go(ringo::on(1), waits(counted(alive)));
            }
            co_return;
        },
        {.cores = 2});
    CHECK(alive == 0);
}

TEST_CASE("a_run_waits_for_blocking_functions_that_have_begun") {
    std::atomic<bool> begun = false;
    std::atomic<bool> ended = false;
    std::promise<void> may_end;
    std::thread releases;
    ringo::run(
        [&]() -> task<> {
            go([&]() -> task<> {
                co_await ringo::blocking([&] {
                    begun = true;
                    may_end.get_future().wait();
                    ended = true;
                });
            });
            while (!begun) {
                co_await yield();
            }
            releases = std::thread([&] { may_end.set_value(); });
        },
        {.shutdown_grace = 0ms});
    CHECK(ended);
    releases.join();
}

// --- anywhere ---

TEST_CASE("anywhere_spreads_while_one_core_is_busy") {
    std::atomic<int> elsewhere = 0;
    ringo::run(
        [&elsewhere]() -> task<> {
            for (int i = 0; i < 100; ++i) {
                go(ringo::anywhere, [&elsewhere]() -> task<> {
                    CHECK(ringo::this_core() == 1);
                    ++elsewhere;
                    co_return;
                });
            }
            while (elsewhere != 100) {
                // Keeps this core: not one of them can have run here.
            }
            co_return;
        },
        {.cores = 2});
    CHECK(elsewhere == 100);
}

TEST_CASE("anywhere_reaches_a_core_that_never_sleeps") {
    ringo::run(
        []() -> task<> {
            bool ran = false;
            auto h = spawn(ringo::anywhere, [&ran]() -> task<> {
                ran = true;
                co_return;
            });
            while (!ran) {
                co_await yield();
            }
            co_await h;
        },
        {.cores = 1});
}

// --- runtime ---

TEST_CASE("runtime_runs_what_threads_give_it") {
    ringo::runtime rt({.cores = 2});
    CHECK(rt.cores() == 2);
    std::vector<std::thread> threads;
    std::atomic<int> sum = 0;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&rt, &sum, t] {
            std::vector<std::future<int>> futures;
            for (int i = 0; i < 100; ++i) {
                futures.push_back(rt.spawn(
                    [](int n) -> task<int> {
                        co_await yield();
                        co_return n;
                    },
                    t));
            }
            for (auto& f : futures) {
                sum += f.get();
            }
        });
    }
    for (auto& t : threads) {
        t.join();
    }
    CHECK(sum == 100 * (0 + 1 + 2 + 3));
}

TEST_CASE("runtime_honours_places_and_gives_exceptions_to_the_future") {
    // The futures of failures outlive the runtime: libstdc++ counts an exception's owners where
    // TSan does not see it, so the core must not be the last of them.
    std::shared_future<int> failing;
    std::shared_future<void> cancelled;
    ringo::runtime rt({.cores = 2});
    const auto where = []() -> task<std::size_t> { co_return ringo::this_core(); };
    CHECK(rt.spawn(ringo::on(0), where).get() == 0);
    CHECK(rt.spawn(ringo::on(1), where).get() == 1);
    auto nothing = rt.spawn([]() -> task<> { co_await ringo::sleep(1us); });
    nothing.get();
    failing = rt.spawn([]() -> task<int> {
        co_await yield();
        throw std::runtime_error("for the thread");
    }());
    CHECK_THROWS_WITH(failing.get(), "for the thread");

    auto scope = ringo::with_cancel(ringo::context::background());
    cancelled = rt.spawn(ringo::with(scope), []() -> task<> { co_await ringo::sleep(for_ever); });
    scope.cancel();
    CHECK_THROWS_AS(cancelled.get(), ringo::cancelled);
}

TEST_CASE("runtime_on_a_core_that_does_not_exist_is_a_panic") {
    test::expect_panic("runtime::spawn: on(core) names a core that does not exist", [] {
        ringo::runtime rt({.cores = 1});
        rt.spawn(ringo::on(1), []() -> task<> { co_return; });
    });
}

TEST_CASE("runtime_cancels_what_is_left_when_it_goes") {
    std::atomic<int> alive = 0;
    std::future<void> cancelled;
    {
        ringo::runtime rt({.cores = 2});
        cancelled =
            rt.spawn([](counted) -> task<> { co_await ringo::sleep(for_ever); }, counted(alive));
    }
    CHECK(alive == 0);
    CHECK_THROWS_AS(cancelled.get(), ringo::cancelled);
}

TEST_CASE("runtime_breaks_the_promise_of_what_it_must_destroy") {
    std::future<int> broken;
    std::atomic<int> alive = 0;
    {
        ringo::runtime rt({.cores = 1, .shutdown_grace = 0ms});
        broken = rt.spawn([&alive]() -> task<int> {
            co_await ignores_cancellation(alive);
            co_return 1;
        });
        rt.spawn([&alive]() -> task<> {
              while (alive != 1) {
                  co_await yield();
              }
          }).get();
    }
    CHECK(alive == 0);
    CHECK_THROWS_AS(broken.get(), std::future_error);
}

TEST_CASE("runtimes_live_beside_each_other_and_beside_run") {
    ringo::runtime a({.cores = 2});
    ringo::runtime b({.cores = 1});
    const auto cores = []() -> task<std::size_t> { co_return ringo::cores(); };
    auto from_a = a.spawn(cores);
    auto from_b = b.spawn(cores);
    CHECK(ringo::run(cores, {.cores = 3}) == 3);
    CHECK(from_a.get() == 2);
    CHECK(from_b.get() == 1);
}

TEST_CASE("a_runtime_refuses_options_like_run") {
    CHECK_THROWS_AS(ringo::runtime({.cores = 5000}), std::system_error);
}

// --- fork ---

TEST_CASE("fork_and_exec_in_a_program_with_a_runtime") {
    ringo::runtime rt({.cores = 2});
    std::atomic<bool> stop = false;
    auto busy = rt.spawn([&stop]() -> task<int> {
        int turns = 0;
        while (!stop) {
            co_await ringo::sleep(10us);
            ++turns;
        }
        co_return turns;
    });
    for (int i = 0; i < 5; ++i) {
        const ::pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            // Nothing of the runtime may be left in the program that follows.
            ::execl("/bin/sh", "sh", "-c",
                    "ls -l /proc/$$/fd | grep -E 'io_uring|eventfd' && exit 1; exit 42", nullptr);
            ::_exit(127);
        }
        int status = 0;
        while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 42);
    }
    stop = true;
    CHECK(busy.get() > 0);
}
