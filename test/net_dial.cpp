#include <ringo/net/dial.hpp>

#include <doctest/doctest.h>

#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::net::conn;
using ringo::net::dial;
using ringo::net::endpoint;
using ringo::net::listen;
using ringo::net::listener;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::other_core;
using test::yield_times;

namespace {

/// An address of this machine where nobody listens.
endpoint unused_port() {
    const listener l = listen(test::own_address());
    return l.local();
}

/// A Unix socket whose queue is full, so that connecting to it waits.
class full_listener {
public:
    full_listener() : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        REQUIRE(::bind(fd_, where().address(), static_cast<socklen_t>(where().size())) == 0);
        REQUIRE(::listen(fd_, 0) == 0);
        while (true) {
            const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            const int failed =
                ::connect(client, where().address(), static_cast<socklen_t>(where().size()));
            if (failed != 0) {
                ::close(client);
                break;
            }
            clients_.push_back(client);
        }
    }
    full_listener(const full_listener&) = delete;
    full_listener& operator=(const full_listener&) = delete;
    ~full_listener() {
        for (const int client : clients_) {
            ::close(client);
        }
        ::close(fd_);
    }

    static const endpoint& where() {
        static const endpoint e = endpoint::parse(test::unix_address("full-queue"));
        return e;
    }
    void accept_one() const { ::close(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)); }

private:
    int fd_;
    std::vector<int> clients_;
};

}  // namespace

TEST_CASE("connects_to_each_kind_of_address") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const std::string& where :
             {std::string("127.0.0.1:0"), std::string("[::1]:0"), test::unix_address("dial")}) {
            listener l = listen(where);
            auto client = spawn([&l] { return dial(l.local().to_string()); });
            conn server = co_await l.accept();
            conn c = co_await client;
            CHECK(c.remote() == l.local());
            co_await c.write("hello");
            std::string five(5, ' ');
            co_await server.read_exactly(five);
            CHECK(five == "hello");
        }
    });
}

TEST_CASE("resolves_a_name_on_any_core") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        const std::string port = std::to_string(l.local().port());
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            // "LOCALHOST" is for the resolver, which knows it from /etc/hosts.
            auto client = spawn(on(core), [&port] { return dial("LOCALHOST:" + port); });
            const conn server = co_await l.accept();
            const conn c = co_await client;
            CHECK(c.remote() == l.local());
        }
    });
}

TEST_CASE("failures_name_the_address_and_the_reason") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const endpoint nobody = unused_port();
        failure f = co_await failure_of(dial(nobody));
        CHECK(f.code == std::errc::connection_refused);
        CHECK(f.text == "dial " + nobody.to_string() + ": Connection refused");

        f = co_await failure_of(dial(nobody.to_string()));
        CHECK(f.text == "dial " + nobody.to_string() + ": Connection refused");

        const std::string no_one = test::unix_address("nobody");
        f = co_await failure_of(dial(no_one));
        CHECK(f.text == "dial " + no_one + ": Connection refused");

        f = co_await failure_of(dial("unix:/no/such/file"));
        CHECK(f.text == "dial unix:/no/such/file: No such file or directory");

        f = co_await failure_of(dial("127.0.0.1"));
        CHECK(f.code == std::errc::invalid_argument);
        CHECK(f.text == "dial address \"127.0.0.1\": there is no \":port\": Invalid argument");

        f = co_await failure_of(dial("no-such-name.invalid:80"));
        CHECK(test::contains(f.text, "dial no-such-name.invalid:80: "));

        f = co_await failure_of(dial("127.0.0.1:no-such-service"));
        CHECK(test::contains(f.text, "dial 127.0.0.1:no-such-service: "));
    });
}

TEST_CASE("an_empty_endpoint_is_refused") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const failure f = co_await failure_of(dial(endpoint()));
        CHECK(f.code);
    });
}

TEST_CASE("a_dial_that_waits_can_be_cancelled_and_time_out") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const full_listener full;
        for (int i = 0; i < 20; ++i) {
            auto dialing = spawn([] { return failure_of(dial(full_listener::where())); });
            co_await yield_times(i % 5);
            dialing.cancel();
            const failure f = co_await dialing;
            CHECK(f.code == std::errc::operation_canceled);
        }
        const auto late = co_await as_result(ringo::timeout(1ms, dial(full_listener::where())));
        CHECK(late.error() == std::errc::timed_out);
    });
}

TEST_CASE("a_dial_cancelled_while_it_completes_leaks_nothing") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        int connected = 0;
        for (int i = 0; i < 200; ++i) {
            auto dialing = spawn(on(i % 2 == 0 ? 0 : other_core()), [&l]() -> task<bool> {
                const auto c = co_await as_result(dial(l.local()));
                co_return c.has_value();
            });
            co_await yield_times(i % 6);
            dialing.cancel();
            connected += co_await dialing ? 1 : 0;
        }
        CHECK(connected >= 0);
    });
}

TEST_CASE("a_cancelled_dial_does_not_wait_for_the_resolver") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        auto dialing = spawn([] { return failure_of(dial("ringo-test.invalid:80")); });
        co_await yield_times(2);
        dialing.cancel();
        const failure f = co_await dialing;
        CHECK(f.code);  // it may have failed before
    });
}

TEST_CASE("a_run_ends_while_dials_wait") {
    const no_descriptor_leaks check;
    const full_listener full;
    run([]() -> task<> {
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            ringo::go(on(core), []() -> task<> { co_await dial(full_listener::where()); });
            ringo::go(on(core),
                      []() -> task<> { co_await as_result(dial("ringo-test.invalid:80")); });
        }
        co_await yield_times(5);
    });
}
