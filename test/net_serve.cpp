#include <ringo/net/serve.hpp>

#include <doctest/doctest.h>

#include "misuse.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::go;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::within;
using ringo::yield;
using ringo::net::conn;
using ringo::net::dial;
using ringo::net::endpoint;
using ringo::net::listen;
using ringo::net::listen_on_cores;
using ringo::net::listener;
using ringo::net::serve;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::read_all;
using test::until;
using test::yield_times;

namespace {

/// A server that one test runs; `end` cancels it and says how it ended.
class server {
public:
    template <class Handler>
    server(std::vector<listener> listeners, Handler handler, ringo::net::serve_options o = {})
        : where(listeners.front().local()),
          scope_(ringo::with_cancel(ringo::this_context())),
          serving_(spawn(
              ringo::with(scope_),
              [](auto... args) { return failure_of(serve(std::move(args)...)); },
              std::move(listeners), handler, o)) {}

    void cancel() { scope_.cancel(); }
    task<failure> end() {
        cancel();
        co_return co_await serving_;
    }
    bool ended() const { return serving_.done(); }

    const endpoint where;

private:
    ringo::cancel_scope scope_;
    ringo::join_handle<failure> serving_;
};

/// Answers with what it has read up to the end.
task<> echo_to_the_end(conn c) {
    const std::string all = co_await read_all(c);
    co_await c.write(all);
}

task<std::string> ask(endpoint where, std::string question) {
    conn c = co_await dial(where);
    co_await c.write(question);
    c.close_write();
    co_return co_await read_all(c);
}

}  // namespace

TEST_CASE("every_core_accepts_and_serves_what_it_accepted") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::vector<std::atomic<int>> served(ringo::cores());
        server s(listen_on_cores("127.0.0.1:0"), [&served](conn c) -> task<> {
            const std::size_t core = ringo::this_core();
            const std::string all = co_await read_all(c);
            co_await c.write(all);
            CHECK(ringo::this_core() == core);
            ++served[core];
        });
        for (int i = 0; i < 300; ++i) {
            const std::string question = "question " + std::to_string(i);
            CHECK(co_await ask(s.where, question) == question);
        }
        CHECK((co_await s.end()).code == std::errc::operation_canceled);
        int all = 0;
        for (const auto& n : served) {
            CHECK(n > 0);
            all += n;
        }
        CHECK(all == 300);
    });
}

TEST_CASE("serves_an_address_given_as_text") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        auto scope = ringo::with_cancel(ringo::this_context());
        auto serving = spawn(ringo::with(scope), [] {
            return failure_of(serve(test::unix_address("serve"), echo_to_the_end));
        });
        const auto where = endpoint::parse(test::unix_address("serve"));
        std::string answer;
        while (answer.empty()) {  // refused until it listens
            const auto r = co_await as_result(ask(where, "hello"));
            answer = r.value_or("");
        }
        CHECK(answer == "hello");
        scope.cancel();
        CHECK((co_await serving).code == std::errc::operation_canceled);
    });
}

TEST_CASE("the_listeners_of_all_cores_share_one_port") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const std::vector<listener> all = listen_on_cores("127.0.0.1:0");
        CHECK(all.size() == ringo::cores());
        for (const listener& l : all) {
            CHECK(l.local() == all.front().local());
        }
        const std::vector<listener> local = listen_on_cores(test::unix_address("cores"));
        CHECK(local.size() == 1);
        co_return;
    });
}

TEST_CASE("an_address_that_is_taken_is_an_error_and_leaks_nothing") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const listener taken = listen("127.0.0.1:0");
        const std::string where = taken.local().to_string();
        const failure f = co_await failure_of(serve(where, echo_to_the_end));
        CHECK(f.text == "listen " + where + ": Address already in use");
    });
}

TEST_CASE("serves_several_addresses_more_or_fewer_than_cores") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::vector<listener> listeners;
        std::vector<endpoint> addresses;
        const std::string local = test::unix_address("several");
        for (const char* where :
             {"127.0.0.1:0", "[::1]:0", local.c_str(), "127.0.0.1:0", "127.0.0.1:0"}) {
            listeners.push_back(listen(where));
            addresses.push_back(listeners.back().local());
        }
        server s(std::move(listeners), echo_to_the_end);
        for (const endpoint& where : addresses) {
            CHECK(co_await ask(where, "hello") == "hello");
        }
        CHECK((co_await s.end()).code == std::errc::operation_canceled);
    });
}

TEST_CASE("serving_nothing_is_refused") {
    run([]() -> task<> {
        const failure f = co_await failure_of(serve(std::vector<listener>(), echo_to_the_end));
        CHECK(f.code == std::errc::invalid_argument);
    });
}

// --- draining ---

TEST_CASE("a_cancelled_server_lets_its_handlers_finish_their_answers") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::atomic<int> asked = 0;
        std::atomic<bool> may_answer = false;
        server s(listen_on_cores("127.0.0.1:0"), [&](conn c) -> task<> {
            std::string four(4, ' ');
            co_await c.read_exactly(four);
            ++asked;
            while (!may_answer) {
                co_await yield();
            }
            co_await c.write("answer to " + four);
            char more = 0;
            CHECK(co_await c.read({&more, 1}) == 0);  // the reading side has been ended
        });
        std::vector<conn> clients;
        for (int i = 0; i < 20; ++i) {
            clients.push_back(co_await dial(s.where));
            co_await clients.back().write("ping");
        }
        co_await until([&] { return asked == 20; });
        s.cancel();
        co_await yield_times(20);
        CHECK_FALSE(s.ended());
        may_answer = true;
        for (conn& c : clients) {
            CHECK(co_await read_all(c) == "answer to ping");
        }
        CHECK((co_await s.end()).code == std::errc::operation_canceled);
    });
}

TEST_CASE("a_handler_that_waits_for_its_peer_ends_when_draining_begins") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::atomic<int> serving = 0;
        server s(listen_on_cores("127.0.0.1:0"),
                 [&serving](conn c) -> task<> {
                     ++serving;
                     co_await echo_to_the_end(std::move(c));
                     --serving;
                 },
                 {.drain = 1h});
        std::vector<conn> clients;
        for (int i = 0; i < 10; ++i) {
            clients.push_back(co_await dial(s.where));
            co_await clients.back().write("so far");
        }
        co_await until([&] { return serving == 10; });
        CHECK((co_await s.end()).code == std::errc::operation_canceled);
        CHECK(serving == 0);
        for (conn& c : clients) {
            const auto all = co_await as_result(read_all(c));
            CHECK((!all || *all == "so far" || all->empty()));
        }
    });
}

TEST_CASE("who_comes_while_it_drains_is_refused") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::atomic<bool> serving = false;
        std::atomic<bool> done = false;
        server s(listen_on_cores(test::own_address()),
                 [&](conn) -> task<> {
                     serving = true;
                     while (!done) {
                         co_await yield();
                     }
                 },
                 {.drain = 1h});
        const conn first = co_await dial(s.where);
        co_await until([&] { return serving.load(); });
        s.cancel();
        failure f;
        while (!f.code) {
            f = co_await failure_of(dial(s.where));
        }
        CHECK((f.code == std::errc::connection_refused || f.code == std::errc::connection_reset));
        CHECK_FALSE(s.ended());
        done = true;
        co_await s.end();
    });
}

TEST_CASE("handlers_that_do_not_end_are_cancelled_when_the_drain_is_over") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::atomic<int> serving = 0;
        std::atomic<int> cancelled = 0;
        server s(listen_on_cores("127.0.0.1:0"),
                 [&](conn) -> task<> {
                     ++serving;
                     const auto slept = co_await as_result(ringo::sleep(1h));
                     cancelled += slept.error() == std::errc::operation_canceled ? 1 : 0;
                 },
                 {.drain = 1ms});
        std::vector<conn> clients;
        for (int i = 0; i < 10; ++i) {
            clients.push_back(co_await dial(s.where));
        }
        co_await until([&] { return serving == 10; });
        CHECK((co_await s.end()).code == std::errc::operation_canceled);
        CHECK(cancelled == 10);
    });
}

TEST_CASE("a_shielded_handler_ends_with_its_connection_when_the_drain_is_over") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::atomic<bool> serving = false;
        server s(listen_on_cores("127.0.0.1:0"),
                 [&](conn c) -> task<> {
                     serving = true;
                     const std::string text(100'000, 'x');
                     std::error_code end;
                     while (!end) {  // to a peer that never reads
                         const auto r = co_await as_result(ringo::shield(c.write(text)));
                         end = r ? std::error_code() : r.error();
                     }
                     CHECK(end == std::errc::broken_pipe);
                 },
                 {.drain = 1ms});
        const conn client = co_await dial(s.where);
        co_await until([&] { return serving.load(); });
        CHECK((co_await s.end()).code == std::errc::operation_canceled);
    });
}

TEST_CASE("no_more_connections_are_served_at_a_time_than_allowed") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        static constexpr int most = 3;
        static constexpr int many = 40;
        std::atomic<int> serving = 0;
        std::atomic<int> served = 0;
        std::atomic<int> highest = 0;
        server s(listen_on_cores("127.0.0.1:0"),
                 [&](conn c) -> task<> {
                     const int now = ++serving;
                     for (int seen = highest; seen < now;) {
                         highest.compare_exchange_weak(seen, now);
                     }
                     co_await echo_to_the_end(std::move(c));
                     --serving;
                     ++served;
                 },
                 {.connections_max = most});
        std::vector<ringo::join_handle<std::string>> clients;
        for (int i = 0; i < many; ++i) {
            clients.push_back(spawn(ask, s.where, "question " + std::to_string(i)));
        }
        for (int i = 0; i < many; ++i) {
            CHECK(co_await clients[static_cast<std::size_t>(i)] == "question " + std::to_string(i));
        }
        co_await until([&] { return served == many; });
        CHECK(highest <= most);

        // Those that wait for room are refused when it ends.
        std::vector<conn> idle;
        for (int i = 0; i < 2 * most; ++i) {
            idle.push_back(co_await dial(s.where));
        }
        co_await until([&] { return serving == most; });
        co_await s.end();
        CHECK(serving == 0);
        CHECK(served >= many + most);
    });
}

TEST_CASE("a_server_past_its_deadline_drains_and_says_so") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        auto serving = spawn([]() -> task<failure> {
            co_return co_await failure_of([]() -> task<> {
                co_await ringo::timeout(1ms,
                                        serve(listen_on_cores("127.0.0.1:0"), echo_to_the_end));
            }());
        });
        CHECK((co_await serving).code == std::errc::timed_out);
    });
}

TEST_CASE("a_server_is_cancelled_by_its_goroutines_handle_too") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::atomic<bool> served = false;
        const auto handler = [&served](conn c) {
            served = true;
            return echo_to_the_end(std::move(c));
        };
        auto listeners = listen_on_cores("127.0.0.1:0");
        const endpoint where = listeners.front().local();
        auto serving = spawn([](auto... args) { return failure_of(serve(std::move(args)...)); },
                             std::move(listeners), handler, ringo::net::serve_options());
        conn c = co_await dial(where);
        co_await c.write("answered");
        co_await until([&served] { return served.load(); });
        serving.cancel();
        CHECK(co_await read_all(c) == "answered");
        CHECK((co_await serving).code == std::errc::operation_canceled);
    });
}

TEST_CASE("a_connection_accepted_in_the_moment_of_the_cancel_is_served_or_refused") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (int i = 0; i < 200; ++i) {
            std::atomic<int> inside = 0;
            server s(listen_on_cores("127.0.0.1:0"), [&inside](conn c) -> task<> {
                ++inside;
                const auto all = co_await as_result(read_all(c));
                --inside;
            });
            auto client = spawn([where = s.where] { return failure_of(dial(where)); });
            co_await yield_times(i % 8);
            CHECK((co_await s.end()).code == std::errc::operation_canceled);
            CHECK(inside == 0);  // none is left behind
            co_await client;
        }
    });
}

// --- handlers ---

TEST_CASE("the_handler_and_what_it_holds_outlive_the_last_connection") {
    const no_descriptor_leaks check;
    auto alive = std::make_shared<int>(0);
    run([&alive]() -> task<> {
        server s(listen_on_cores("127.0.0.1:0"), [alive](conn c) -> task<> {
            const std::string all = co_await read_all(c);
            co_await yield_times(20);
            CHECK(alive.use_count() > 1);
            co_await c.write(all);
        });
        auto answer = spawn(ask, s.where, "x");
        CHECK(co_await answer == "x");
        co_await s.end();
    });
    CHECK(alive.use_count() == 1);
}

TEST_CASE("a_handler_that_cancels_itself_ends_its_connection_alone") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        server s(listen_on_cores("127.0.0.1:0"), [](conn c) -> task<> {
            char first = 0;
            co_await c.read_exactly({&first, 1});
            if (first == 'c') {
                throw ringo::cancelled("by itself");
            }
            if (first == 't') {
                co_await ringo::timeout(1us, ringo::sleep(1h));
            }
            co_await c.write("fine");
        });
        CHECK(co_await ask(s.where, "c") == "");
        CHECK(co_await ask(s.where, "t") == "");
        CHECK(co_await ask(s.where, "x") == "fine");
        co_await s.end();
    });
}

TEST_CASE("an_exception_that_leaves_a_handler_is_a_panic") {
    test::expect_panic("unhandled exception in goroutine", [] {
        run([]() -> task<> {
            server s(listen_on_cores("127.0.0.1:0"), [](conn) -> task<> {
                co_await yield();
                throw std::runtime_error("from a handler");
            });
            co_await ask(s.where, "x");
        });
    });
}

// --- the end of the run ---

TEST_CASE("the_end_of_the_run_drains_a_server_that_goes_on") {
    const no_descriptor_leaks check;
    std::atomic<int> finished = 0;
    run([&finished]() -> task<> {
        std::vector<listener> listeners = listen_on_cores("127.0.0.1:0");
        const endpoint where = listeners.front().local();
        std::atomic<int> serving = 0;
        go(
            [&serving, &finished](std::vector<listener> all) -> task<> {
                co_await serve(std::move(all), [&](conn c) -> task<> {
                    ++serving;
                    const std::string got = co_await read_all(c);
                    finished += got == "so far" ? 1 : 0;
                });
            },
            std::move(listeners));
        std::vector<conn> clients;
        for (int i = 0; i < 5; ++i) {
            clients.push_back(co_await dial(where));
            co_await clients.back().write("so far");
        }
        co_await until([&] { return serving == 5; });
        go([](std::vector<conn>) -> task<> { co_await ringo::shield(ringo::sleep(50ms)); },
           std::move(clients));
    });
    CHECK(finished == 5);
}

TEST_CASE("handlers_that_ignore_the_end_of_the_run_are_destroyed_with_it") {
    const no_descriptor_leaks check;
    std::atomic<int> destroyed = 0;
    run(
        [&destroyed]() -> task<> {
            std::vector<listener> listeners = listen_on_cores("127.0.0.1:0");
            const endpoint where = listeners.front().local();
            auto serving = std::make_shared<std::atomic<int>>(0);
            struct on_exit {
                explicit on_exit(std::atomic<int>& n) : count(&n) {}
                on_exit(const on_exit&) = delete;
                ~on_exit() { ++*count; }
                std::atomic<int>* count;
            };
            go(
                [](std::vector<listener> all, std::shared_ptr<std::atomic<int>> n,
                   std::atomic<int>& out) -> task<> {
                    // Named first: trap 26, of closures in a co_await expression.
                    auto handler = [n, &out](conn) -> task<> {
                        const on_exit guard(out);
                        ++*n;
                        while (true) {
                            co_await ringo::shield(ringo::sleep(1h));
                        }
                    };
                    co_await serve(std::move(all), std::move(handler), {.drain = 1h});
                },
                std::move(listeners), serving, std::ref(destroyed));
            std::vector<conn> clients;
            for (int i = 0; i < 8; ++i) {
                clients.push_back(co_await dial(where));
            }
            co_await until([&] { return *serving == 8; });
        },
        {.shutdown_grace = 1ms});
    CHECK(destroyed == 8);
}
