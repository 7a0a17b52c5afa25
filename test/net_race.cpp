// dial with several addresses.
#include <ringo/net/dial.hpp>

#include <doctest/doctest.h>

#include "no_descriptors.hpp"
#include "skip.hpp"
#include "sockets.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::detail::io_operation;
using ringo::net::conn;
using ringo::net::dial;
using ringo::net::dial_options;
using ringo::net::endpoint;
using ringo::net::listen;
using ringo::net::listener;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::open_descriptors;
using test::virtual_run;

namespace {

/// An address of this machine where nobody listens.
endpoint unused_port() {
    const listener l = listen(test::own_address());
    return l.local();
}

std::vector<endpoint> endpoints(std::initializer_list<const char*> texts) {
    std::vector<endpoint> all;
    for (const char* t : texts) {
        all.push_back(endpoint::parse(t));
    }
    return all;
}

const std::vector<endpoint> mixed =
    endpoints({"[::1]:1", "[::1]:2", "127.0.0.1:3", "[::1]:4", "127.0.0.1:5"});
const std::vector<endpoint> three = endpoints({"127.0.0.1:1", "127.0.0.2:2", "127.0.0.3:3"});

/// What a test's kernel saw, and lets happen, when a dial connects.
class network {
public:
    static constexpr int silent = 1;

    /// answers: a connect's result, by port; `silent`: it is not answered
    explicit network(std::vector<int> answers) : answers_(std::move(answers)) {}

    void operator()(io_operation& op) {
        const endpoint to(static_cast<const sockaddr*>(op.address), op.length);
        attempts +=
            to.to_string() + " at " +
            std::to_string(std::chrono::floor<std::chrono::milliseconds>(test::now()).count()) +
            "\n";
        const int answer = answers_.at(to.port());
        if (answer != silent) {
            test::this_kernel().complete(op, {.result = answer, .more = false});
        }
    }

    std::string attempts;

private:
    std::vector<int> answers_;
};

}  // namespace

TEST_CASE("a_silent_address_delays_the_next_by_250_ms") {
    const no_descriptor_leaks check;
    network net({0, network::silent, network::silent, 0});
    virtual_run(
        []() -> task<> {
            const std::size_t before = open_descriptors();
            const conn c = co_await dial(three);
            CHECK(test::now() == 500ms);
            CHECK(test::at_most_open(before + 1));  // the losers are closed
            CHECK(ringo::num_goroutines() == 1);
        },
        std::ref(net));
    CHECK(net.attempts == "127.0.0.1:1 at 0\n127.0.0.2:2 at 250\n127.0.0.3:3 at 500\n");
}

TEST_CASE("a_failure_starts_the_next_at_once") {
    const no_descriptor_leaks check;
    network net({0, -ECONNREFUSED, network::silent, 0});
    virtual_run(
        []() -> task<> {
            const dial_options o{.attempt_delay = 10ms};
            const conn c = co_await dial(three, o);
            CHECK(test::now() == 10ms);
        },
        std::ref(net));
    CHECK(net.attempts == "127.0.0.1:1 at 0\n127.0.0.2:2 at 0\n127.0.0.3:3 at 10\n");
}

TEST_CASE("families_take_turns") {
    const no_descriptor_leaks check;
    network net(std::vector<int>(6, -ECONNREFUSED));
    virtual_run(
        []() -> task<> {
            const failure f = co_await failure_of(dial(mixed));
            CHECK(f.text == "dial [::1]:1: Connection refused");
        },
        std::ref(net));
    CHECK(net.attempts ==
          "[::1]:1 at 0\n127.0.0.1:3 at 0\n[::1]:2 at 0\n127.0.0.1:5 at 0\n[::1]:4 at 0\n");
}

TEST_CASE("the_failure_is_that_of_the_first_address") {
    const no_descriptor_leaks check;
    io_operation* first = nullptr;
    virtual_run(
        []() -> task<> {
            const failure f = co_await failure_of(dial(three));
            CHECK(f.code == std::errc::timed_out);
            CHECK(f.text == "dial 127.0.0.1:1: Connection timed out");
            CHECK(test::now() == 250ms);
        },
        [&first](io_operation& op) {
            const endpoint to(static_cast<const sockaddr*>(op.address), op.length);
            if (to.port() == 1) {
                first = &op;
                return;
            }
            test::this_kernel().complete(op, {.result = -ECONNREFUSED, .more = false});
            if (to.port() == 3) {  // the first fails last
                test::this_kernel().complete(*first, {.result = -ETIMEDOUT, .more = false});
            }
        });
}

TEST_CASE("a_loser_that_connects_too_is_closed") {
    const no_descriptor_leaks check;
    io_operation* first = nullptr;
    virtual_run(
        []() -> task<> {
            const std::size_t before = open_descriptors();
            const conn c = co_await dial(three);
            CHECK(test::now() == 250ms);
            CHECK(test::at_most_open(before + 1));
        },
        [&first](io_operation& op) {
            if (first == nullptr) {
                first = &op;
                return;
            }
            test::this_kernel().complete(*first, {.result = 0, .more = false});
            test::this_kernel().complete(op, {.result = 0, .more = false});
        });
}

TEST_CASE("a_race_is_cancelled_in_every_state") {
    const no_descriptor_leaks check;
    for (const auto when : {0ms, 1ms, 249ms, 251ms, 10'000ms}) {
        network net(std::vector<int>(4, network::silent));
        virtual_run(
            [when]() -> task<> {
                auto dialing = spawn([] { return failure_of(dial(three)); });
                co_await ringo::sleep(when);
                dialing.cancel();
                const failure f = co_await dialing;
                CHECK(f.code == std::errc::operation_canceled);
                CHECK(test::contains(f.text, "dial"));

                const auto late = co_await ringo::as_result(ringo::timeout(when, dial(three)));
                CHECK(late.error() == std::errc::timed_out);
            },
            std::ref(net));
    }
}

TEST_CASE("a_run_ends_while_addresses_race") {
    const no_descriptor_leaks check;
    network net(std::vector<int>(4, network::silent));
    virtual_run(
        []() -> task<> {
            ringo::go([]() -> task<> { co_await dial(three); });
            co_await ringo::sleep(300ms);
        },
        std::ref(net));
}

TEST_CASE("a_socket_that_is_connected_to_itself_is_none") {
    const no_descriptor_leaks check;
    for (const int times : {1, 3}) {
        int attempts = 0;
        const endpoint to = unused_port();
        test::virtual_run(
            [&]() -> task<> {
                const failure f = co_await failure_of(dial(to));
                CHECK(bool(f.code) == (times == 3));
                CHECK((f.code == std::errc::connection_refused) == (times == 3));
            },
            [&](io_operation& op) {
                if (++attempts <= times) {  // the port that it would have been given
                    REQUIRE(::bind(op.fd, to.address(), static_cast<socklen_t>(to.size())) == 0);
                }
                test::this_kernel().complete(op, {.result = 0, .more = false});
            });
        CHECK(attempts == std::min(times + 1, 3));
    }
}

TEST_CASE("no_descriptor_is_left_for_any_attempt") {
    if (test::needs_descriptors_to_check_types()) {
        return test::skip(test::no_descriptors::why_not);
    }
    run([]() -> task<> {
        const test::no_descriptors none;
        const failure f = co_await failure_of(dial(three));
        CHECK(f.text == "dial 127.0.0.1:1: Too many open files");
    });
}

TEST_CASE("no_address_at_all_is_refused") {
    run([]() -> task<> {
        const failure f = co_await failure_of(dial(std::vector<endpoint>()));
        CHECK(f.code == std::errc::invalid_argument);
    });
}

namespace {

/// An address that answers nothing: its queue is full, so the kernel drops what comes.
class dead_address {
public:
    dead_address() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const endpoint any = endpoint::parse(test::own_address());
        REQUIRE(::bind(fd_, any.address(), static_cast<socklen_t>(any.size())) == 0);
        REQUIRE(::listen(fd_, 0) == 0);
        sockaddr_storage bound{};
        socklen_t size = sizeof bound;
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &size);
        where = endpoint(reinterpret_cast<const sockaddr*>(&bound), size);
        client_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(::connect(client_, where.address(), static_cast<socklen_t>(where.size())) == 0);
    }
    dead_address(const dead_address&) = delete;
    dead_address& operator=(const dead_address&) = delete;
    ~dead_address() {
        ::close(client_);
        ::close(fd_);
    }

    endpoint where;

private:
    int fd_;
    int client_ = -1;
};

}  // namespace

TEST_CASE("a_dead_first_address_is_passed") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const dead_address dead;
        listener l = listen("127.0.0.1:0");
        std::vector<endpoint> both;
        both.push_back(dead.where);
        both.push_back(l.local());
        const dial_options soon{.attempt_delay = 1ms};
        const std::size_t before = open_descriptors();
        const conn c = co_await dial(both, soon);
        CHECK(c.remote() == l.local());
        CHECK(test::at_most_open(before + 1));
    });
}

TEST_CASE("two_that_answer_make_one_connection") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener a = listen("127.0.0.1:0");
        listener b = listen("[::1]:0");
        std::vector<endpoint> both;
        both.push_back(a.local());
        both.push_back(b.local());
        const dial_options at_once{.attempt_delay = 0ms};
        for (int i = 0; i < 50; ++i) {
            const std::size_t before = open_descriptors();
            const conn c = co_await dial(both, at_once);
            CHECK(c.is_open());
            CHECK(test::at_most_open(before + 3));  // those that nobody accepts
        }
    });
}
