#include <ringo/net/listener.hpp>

#include <doctest/doctest.h>

#include "misuse.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::errc;
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
using test::read_all;
using test::until;
using test::yield_times;

namespace {

std::string refusal(const std::string& address, std::errc expected) {
    try {
        listen(address);
    } catch (const std::system_error& e) {
        CHECK(e.code() == expected);
        return e.what();
    }
    return "it listens";
}

task<conn> accept_one(listener& l) { co_return co_await l.accept(); }

/// A connection that the kernel has completed, whether anybody accepts it or not.
class raw_client {
public:
    explicit raw_client(const endpoint& to)
        : fd_(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        REQUIRE(::connect(fd_, to.address(), static_cast<socklen_t>(to.size())) == 0);
    }
    raw_client(raw_client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    raw_client& operator=(const raw_client&) = delete;
    ~raw_client() { ::close(fd_); }

    void say(char c) const { REQUIRE(::send(fd_, &c, 1, MSG_NOSIGNAL) == 1); }

private:
    int fd_;
};

/// A path that is free, and is removed at the end.
class temporary_path {
public:
    temporary_path() {
        std::string name = "/tmp/ringo-test-XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        directory_ = name;
    }
    temporary_path(const temporary_path&) = delete;
    temporary_path& operator=(const temporary_path&) = delete;
    ~temporary_path() {
        ::unlink(file().c_str());
        ::rmdir(directory_.c_str());
    }
    std::string file() const { return directory_ + "/s"; }
    std::string address() const { return "unix:" + file(); }

private:
    std::string directory_;
};

}  // namespace

TEST_CASE("listens_outside_a_run_and_accepts_in_it") {
    const no_descriptor_leaks check;
    listener l = listen("127.0.0.1:0");
    const raw_client client(l.local());
    client.say('x');
    run([&l]() -> task<> {
        conn c = co_await l.accept();
        char got = 0;
        co_await c.read_exactly({&got, 1});
        CHECK(got == 'x');
    });
}

TEST_CASE("port_0_is_one_that_the_system_chooses") {
    const listener a = listen("127.0.0.1:0");
    const listener b = listen("127.0.0.1:0");
    CHECK(a.local().port() != 0);
    CHECK(a.local().port() != b.local().port());
    CHECK(a.local().host() == "127.0.0.1");
}

TEST_CASE("refusals_name_the_address_and_the_reason") {
    const listener taken = listen("127.0.0.1:0");
    const std::string address = taken.local().to_string();
    CHECK(refusal(address, std::errc::address_in_use) ==
          "listen " + address + ": Address already in use");
    CHECK(refusal("192.0.2.1:0", std::errc::address_not_available) ==
          "listen 192.0.2.1:0: Cannot assign requested address");
    CHECK(refusal("nonsense", std::errc::invalid_argument) ==
          "listen address \"nonsense\": there is no \":port\": Invalid argument");
    CHECK(refusal("unix:/no/such/directory/s", std::errc::no_such_file_or_directory) ==
          "listen unix:/no/such/directory/s: No such file or directory");
}

TEST_CASE("a_refused_listen_leaks_no_descriptor") {
    const no_descriptor_leaks check;
    const listener taken = listen("127.0.0.1:0");
    for (int i = 0; i < 10; ++i) {
        CHECK_THROWS_AS(listen(taken.local()), std::system_error);
    }
}

TEST_CASE("every_address_takes_both_families") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen(":0");
        const std::string port = std::to_string(l.local().port());
        for (const std::string& host : {std::string("127.0.0.1:"), std::string("[::1]:")}) {
            auto client = spawn([&] { return dial(host + port); });
            conn server = co_await l.accept();
            conn c = co_await client;
            co_await c.write("x");
            c.close_write();
            CHECK(co_await read_all(server) == "x");
        }
    });
}

TEST_CASE("options_of_a_listener_reach_what_it_accepts") {
    const no_descriptor_leaks check;
    const listener six = listen("[::]:0", {.v6_only = true});
    const std::string four = "127.0.0.1:" + std::to_string(six.local().port());
    const listener both = listen(four);  // free, for the other one leaves IPv4 alone
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0", {.receive_buffer = 30'000, .send_buffer = 20'000});
        auto client = spawn([to = l.local()] { return ringo::net::dial(to); });
        const conn c = co_await l.accept();
        CHECK(c.get<ringo::net::receive_buffer>() == 60'000);
        CHECK(c.get<ringo::net::send_buffer>() == 40'000);
        co_await client;
    });
}

TEST_CASE("an_address_is_free_again_when_its_listener_is_gone") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        endpoint where;
        for (std::size_t i = 0; i < 20; ++i) {
            std::optional<listener> l;
            if (i == 0) {
                l.emplace(listen(test::own_address()));
                where = l->local();
            } else {
                l.emplace(listen(where));
            }
            auto client = spawn([&where] { return dial(where); });
            auto server = spawn(on(i % ringo::cores()), accept_one, std::ref(*l));
            const conn a = co_await client;
            const conn b = co_await server;
            if (i % 2 == 0) {
                l->close();
            }
        }
    });
}

TEST_CASE("connections_that_came_before_accept_are_accepted_in_order") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        std::vector<raw_client> clients;
        for (char name = 'a'; name <= 'z'; ++name) {
            clients.emplace_back(l.local());
            clients.back().say(name);
        }
        for (char name = 'a'; name <= 'z'; ++name) {
            conn c = co_await l.accept();
            char got = 0;
            co_await c.read_exactly({&got, 1});
            CHECK(got == name);
        }
    });
}

TEST_CASE("waiting_goroutines_are_served_in_order") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        std::vector<ringo::join_handle<conn>> waiting;
        for (int i = 0; i < 10; ++i) {
            waiting.push_back(spawn(accept_one, std::ref(l)));
        }
        co_await yield_times(2);  // now they wait
        std::vector<raw_client> clients;
        for (auto& w : waiting) {
            clients.emplace_back(l.local());
            const conn c = co_await w;  // the next in line, and nobody else
            CHECK(c.is_open());
        }
    });
}

TEST_CASE("many_more_connections_than_the_listener_keeps_ready") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        // One accept arms it; the others arrive while nobody waits.
        std::vector<raw_client> clients;
        clients.emplace_back(l.local());
        { const conn first = co_await l.accept(); }
        for (int i = 0; i < 1000; ++i) {
            clients.emplace_back(l.local());
            if (i % 50 == 0) {
                co_await yield_times(2);
            }
        }
        for (int i = 0; i < 1000; ++i) {
            const conn c = co_await l.accept();
            CHECK(c.is_open());
        }
    });
}

TEST_CASE("what_nobody_accepted_is_closed_with_the_listener") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::vector<conn> clients;
        {
            listener l = listen("127.0.0.1:0");
            clients.push_back(co_await dial(l.local()));
            { const conn first = co_await l.accept(); }
            for (int i = 0; i < 20; ++i) {
                clients.push_back(co_await dial(l.local()));
            }
            co_await yield_times(5);
        }
        for (conn& c : clients) {
            std::string buffer(1, ' ');
            const auto n = co_await as_result(c.read(buffer));
            CHECK((!n || *n == 0));  // its end or a reset, and no wait for ever
        }
    });
}

// --- several cores ---

TEST_CASE("accepts_on_several_cores_at_once") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        std::atomic<int> accepted = 0;
        std::vector<ringo::join_handle<void>> all;
        for (std::size_t i = 0; i < 8; ++i) {
            all.push_back(spawn(on(i % ringo::cores()), [&]() -> task<> {
                for (int k = 0; k < 50; ++k) {
                    conn c = co_await l.accept();
                    co_await c.write("x");
                    ++accepted;
                }
            }));
        }
        for (int i = 0; i < 400; ++i) {
            conn c = co_await dial(l.local());
            const std::string got = co_await read_all(c);
            CHECK(got == "x");
        }
        for (auto& one : all) {
            co_await one;
        }
        CHECK(accepted == 400);
    });
}

// --- cancellation and closing ---

TEST_CASE("a_cancelled_accept_takes_no_connection_whenever_it_is_cancelled") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        int taken = 0;
        constexpr int rounds = 200;
        std::vector<raw_client> clients;
        for (int i = 0; i < rounds; ++i) {
            auto server = spawn(on(i % 2 == 0 ? 0 : other_core()), [&]() -> task<bool> {
                const auto c = co_await as_result(l.accept());
                if (!c) {
                    CHECK(c.error() == std::errc::operation_canceled);
                }
                co_return c.has_value();
            });
            co_await yield_times(i % 5);
            clients.emplace_back(l.local());
            co_await yield_times(i / 5 % 5);
            server.cancel();
            taken += co_await server ? 1 : 0;
        }
        // Each of the others is still there.
        for (; taken < rounds; ++taken) {
            const conn c = co_await l.accept();
            CHECK(c.is_open());
        }
        const auto none = co_await as_result(ringo::timeout(1ms, l.accept()));
        CHECK(none.error() == std::errc::timed_out);
    });
}

TEST_CASE("close_wakes_who_accepts") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const std::size_t home : {std::size_t{0}, other_core()}) {
            for (const std::size_t closer : {std::size_t{0}, other_core()}) {
                listener l = listen("127.0.0.1:0");
                std::vector<ringo::join_handle<failure>> waiting;
                for (int i = 0; i < 3; ++i) {
                    waiting.push_back(spawn(on(home), [&l] { return failure_of(accept_one(l)); }));
                }
                auto round = spawn(on(home), yield_times, 3);
                co_await round;
                auto closing = spawn(on(closer), [&l]() -> task<> {
                    l.close();
                    co_return;
                });
                co_await closing;
                for (auto& w : waiting) {
                    CHECK((co_await w).code == errc::closed);
                }
            }
        }
    });
}

TEST_CASE("accept_after_close_is_closed_on_every_core") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        const raw_client client(l.local());
        { const conn c = co_await l.accept(); }
        l.close();
        l.close();
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            auto one = spawn(on(core), [&l] { return failure_of(accept_one(l)); });
            CHECK((co_await one).code == errc::closed);
        }
        CHECK(l.local().port() != 0);
    });
}

TEST_CASE("closing_while_other_cores_begin_to_accept") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (int i = 0; i < 300; ++i) {
            listener l = listen("127.0.0.1:0");
            std::vector<ringo::join_handle<failure>> accepting;
            for (std::size_t core = 0; core < ringo::cores(); ++core) {
                accepting.push_back(spawn(on(core), [&l] { return failure_of(accept_one(l)); }));
            }
            co_await yield_times(i % 3);
            l.close();
            for (auto& a : accepting) {
                CHECK((co_await a).code == errc::closed);
            }
        }
    });
}

TEST_CASE("a_closed_listener_refuses_connections") {
    run([]() -> task<> {
        listener l = listen(test::own_address());
        const endpoint where = l.local();
        l.close();
        const failure f = co_await failure_of(dial(where));
        CHECK(f.code == std::errc::connection_refused);
    });
}

TEST_CASE("assigning_to_a_listener_closes_the_one_it_was") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener a = listen(test::own_address());
        listener b = listen(test::own_address());
        const endpoint first = a.local();
        const endpoint second = b.local();
        a = std::move(b);
        CHECK(a.local() == second);
        const failure f = co_await failure_of(dial(first));
        CHECK(f.code == std::errc::connection_refused);
    });
}

// --- Unix sockets ---

TEST_CASE("a_unix_socket_is_a_file_with_a_name") {
    const no_descriptor_leaks check;
    const temporary_path path;
    run([&path]() -> task<> {
        listener l = listen(path.address());
        CHECK(l.local().to_string() == path.address());
        struct stat s {};
        CHECK(::stat(path.file().c_str(), &s) == 0);
        CHECK(S_ISSOCK(s.st_mode));
        auto client = spawn([&path] { return dial(path.address()); });
        conn server = co_await l.accept();
        conn c = co_await client;
        CHECK(c.remote().to_string() == path.address());
        co_await c.write("x");
        c.close_write();
        CHECK(co_await read_all(server) == "x");
    });
}

TEST_CASE("the_file_of_a_dead_unix_socket_is_replaced") {
    const no_descriptor_leaks check;
    const temporary_path path;
    run([&path]() -> task<> {
        for (int i = 0; i < 3; ++i) {
            listener l = listen(path.address());  // the file of the one before is still there
            auto client = spawn([&path] { return dial(path.address()); });
            const conn server = co_await l.accept();
            const conn c = co_await client;
        }
    });
}

TEST_CASE("the_file_of_a_live_unix_socket_is_not_replaced") {
    const temporary_path path;
    const listener live = listen(path.address());
    CHECK(refusal(path.address(), std::errc::address_in_use) ==
          "listen " + path.address() + ": Address already in use");
    const raw_client client(live.local());  // it still answers
}

TEST_CASE("a_file_that_is_no_socket_is_not_replaced") {
    const temporary_path path;
    const int fd = ::open(path.file().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    ::close(fd);
    refusal(path.address(), std::errc::address_in_use);
    CHECK(::access(path.file().c_str(), F_OK) == 0);
}

TEST_CASE("an_abstract_unix_socket_has_no_file_and_goes_with_its_listener") {
    const no_descriptor_leaks check;
    const std::string address = test::unix_address("abstract");
    run([&address]() -> task<> {
        for (int i = 0; i < 3; ++i) {
            listener l = listen(address);
            CHECK(l.local().to_string() == address);
            refusal(address, std::errc::address_in_use);
            auto client = spawn([&address] { return dial(address); });
            const conn server = co_await l.accept();
            const conn c = co_await client;
            CHECK(c.remote() == l.local());
            l = listener();
            // The name is free once the kernel has let go of the listener.
            co_await until([&address] {
                try {
                    listen(address);
                    return true;
                } catch (const std::system_error&) {
                    return false;
                }
            });
        }
    });
}

// --- runs ---

TEST_CASE("a_listener_goes_on_in_the_next_run") {
    const no_descriptor_leaks check;
    listener l = listen("127.0.0.1:0");
    for (std::size_t i = 0; i < 4; ++i) {
        run([&l, i]() -> task<> {
            auto client = spawn([&l] { return dial(l.local()); });
            auto server = spawn(on(i % ringo::cores()), accept_one, std::ref(l));
            const conn a = co_await client;
            const conn b = co_await server;
            // One more, that arrives between the runs as far as its acceptor knows.
            conn left = co_await dial(l.local());
        });
        run([&l]() -> task<> { const conn c = co_await l.accept(); });
    }
}

TEST_CASE("a_run_ends_with_accepts_pending") {
    const no_descriptor_leaks check;
    listener l = listen("127.0.0.1:0");
    run([&l]() -> task<> {
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            ringo::go(on(core), [&l]() -> task<> { const conn c = co_await l.accept(); });
        }
        co_await yield_times(5);
    });
}

TEST_CASE("using_a_listener_that_does_not_listen_is_a_panic") {
    test::expect_panic("listener: accept on one that does not listen", [] {
        run([]() -> task<> {
            listener l;
            co_await l.accept();
        });
    });
}
