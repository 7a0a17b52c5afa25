// What the world does to a server: no descriptors, no buffers, signals, peers that do nothing.
#include <doctest/doctest.h>

#include "misuse.hpp"
#include "no_descriptors.hpp"
#include "skip.hpp"
#include "sockets.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::detail::io_operation;
using ringo::net::conn;
using ringo::net::dial;
using ringo::net::endpoint;
using ringo::net::listen;
using ringo::net::listener;
using test::connect;
using test::connection;
using test::failure;
using test::failure_of;
using test::needs_descriptors_to_check_types;
using test::no_descriptor_leaks;
using test::no_descriptors;
using test::other_core;
using test::patterned;
using test::read_all;
using test::until;

namespace {

/// A client socket that has its descriptor before they run out.
class raw_client {
public:
    raw_client() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) { REQUIRE(fd_ >= 0); }
    raw_client(raw_client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    raw_client& operator=(const raw_client&) = delete;
    ~raw_client() { ::close(fd_); }
    void connect(const endpoint& to) const {
        REQUIRE(::connect(fd_, to.address(), static_cast<socklen_t>(to.size())) == 0);
    }

private:
    int fd_;
};

/// Goes round the loop of its core: what was started reaches the kernel, and its answer is heard.
task<> turns(int n) {
    for (int i = 0; i < n; ++i) {
        co_await ringo::sleep(1us);
    }
}

task<> accept_one(listener& l) { const conn c = co_await l.accept(); }

std::atomic<int> interruptions = 0;
void interrupt(int) { ++interruptions; }

/// Interrupts a thread again and again, without SA_RESTART.
class interrupter {
public:
    interrupter() {
        struct sigaction action {};
        action.sa_handler = &interrupt;
        ::sigaction(SIGUSR1, &action, &before_);
        interruptions = 0;
        thread_ = std::thread([this, whom = ::pthread_self()] {
            while (!stop_) {
                ::pthread_kill(whom, SIGUSR1);
                ::kill(::getpid(), SIGUSR1);  // and any other
                std::this_thread::yield();
            }
        });
    }
    interrupter(const interrupter&) = delete;
    interrupter& operator=(const interrupter&) = delete;
    ~interrupter() {
        stop_ = true;
        thread_.join();
        ::sigaction(SIGUSR1, &before_, nullptr);
    }

private:
    struct sigaction before_ {};
    std::atomic<bool> stop_ = false;
    std::thread thread_;
};

}  // namespace

// --- descriptors ---

// On the scripted kernel, whose time jumps: each attempt is seen.
TEST_CASE("accepting_tries_again_after_5_ms_up_to_1_s_while_descriptors_are_short") {  // trap 12
    const no_descriptor_leaks check;
    std::vector<std::chrono::nanoseconds> attempts;
    test::virtual_run(
        [&]() -> task<> {
            listener l = listen("127.0.0.1:0");
            auto accepting = spawn([&l]() -> task<> {
                while (true) {
                    const conn c = co_await l.accept();
                }
            });
            co_await ringo::sleep(4s);
            CHECK_FALSE(accepting.done());
            accepting.cancel();
            co_await as_result(accepting);
        },
        [&](io_operation& op) {
            attempts.push_back(test::now());
            // The tenth finds one, and it begins anew.
            const int result = attempts.size() == 10 ? ::dup(STDERR_FILENO) : -EMFILE;
            test::this_kernel().complete(op, {.result = result, .more = false});
        });
    const std::vector<std::chrono::milliseconds> expected{
        0ms, 5ms, 15ms, 35ms, 75ms, 155ms, 315ms, 635ms, 1275ms, 2275ms, 2275ms, 2280ms, 2290ms};
    REQUIRE(attempts.size() >= expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        CHECK(std::chrono::floor<std::chrono::milliseconds>(attempts[i]) == expected[i]);
    }
}

TEST_CASE("go_76_accepting_pauses_while_descriptors_are_short_and_then_goes_on") {
    if (needs_descriptors_to_check_types()) {
        return test::skip(no_descriptors::why_not);
    }
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        std::vector<raw_client> clients(10);
        auto accepting = spawn([&l]() -> task<int> {
            int n = 0;
            for (; n < 10; ++n) {
                const conn c = co_await l.accept();
            }
            co_return n;
        });
        {
            const no_descriptors none;
            for (const raw_client& c : clients) {
                c.connect(l.local());  // completed by the kernel; nobody can take it
            }
            co_await turns(5);
            CHECK_FALSE(accepting.done());
        }
        CHECK(co_await accepting == 10);
    });
}

TEST_CASE("an_accept_that_pauses_can_be_cancelled_and_its_listener_closed") {
    if (needs_descriptors_to_check_types()) {
        return test::skip(no_descriptors::why_not);
    }
    run([]() -> task<> {
        const std::size_t open = test::open_descriptors();
        for (int i = 0; i < 6; ++i) {
            const std::size_t core = i % 2 == 0 ? 0 : other_core();
            {
                listener l = listen("127.0.0.1:0");
                const raw_client client;
                const no_descriptors none;
                client.connect(l.local());
                auto accepting = spawn(on(core), [&l] { return failure_of(accept_one(l)); });
                auto round = spawn(on(core), turns, 5);
                co_await round;  // it pauses by now
                CHECK_FALSE(accepting.done());
                if (i % 3 == 0) {
                    accepting.cancel();
                    CHECK((co_await accepting).code == std::errc::operation_canceled);
                } else if (i % 3 == 1) {
                    l.close();
                    CHECK((co_await accepting).code == ringo::errc::closed);
                } else {
                    l = listener();
                    CHECK((co_await accepting).code == ringo::errc::closed);
                }
            }
            // The core that accepted closes it: until then there is a descriptor to be had.
            co_await until([open] { return test::open_descriptors() == open; });
        }
    });
}

TEST_CASE("a_run_ends_while_accepting_pauses") {
    if (needs_descriptors_to_check_types()) {
        return test::skip(no_descriptors::why_not);
    }
    const no_descriptor_leaks check;
    listener l = listen("127.0.0.1:0");
    const raw_client client;
    run([&l, &client]() -> task<> {
        const no_descriptors none;
        client.connect(l.local());
        ringo::go([&l]() -> task<> { const conn c = co_await l.accept(); });
        co_await turns(5);
    });
    run([&l]() -> task<> { const conn c = co_await l.accept(); });  // it is still there
}

TEST_CASE("a_copy_without_a_descriptor_for_its_pipe_goes_through_a_buffer") {
    if (needs_descriptors_to_check_types()) {
        test::skip(no_descriptors::why_not);
        return;
    }
    run([]() -> task<> {
        connection in = co_await connect();
        connection out = co_await connect();
        co_await in.client.write(patterned(1000));
        in.client.close_write();
        {
            const no_descriptors none;
            CHECK(co_await ringo::io::copy(out.client, in.server) == 1000);
        }
        out.client.close_write();
        CHECK(co_await read_all(out.server) == patterned(1000));
    });
}

TEST_CASE("dial_and_listen_say_that_there_is_no_descriptor") {
    if (needs_descriptors_to_check_types()) {
        return test::skip(no_descriptors::why_not);
    }
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        const std::string where = l.local().to_string();
        const no_descriptors none;
        const failure f = co_await failure_of(dial(l.local()));
        CHECK(f.text == "dial " + where + ": Too many open files");
        try {
            listen("127.0.0.1:0");
            FAIL("it listens");
        } catch (const std::system_error& e) {
            CHECK(std::string(e.what()) == "listen 127.0.0.1:0: Too many open files");
        }
    });
}

// --- signals ---

TEST_CASE("signals_with_a_handler_interrupt_nothing") {  // trap 13
    const no_descriptor_leaks check;
    const interrupter storm;
    run([]() -> task<> {
        for (int round = 0; round < 20; ++round) {
            connection both = co_await connect();
            constexpr std::size_t size = 300'000;
            const std::string text = patterned(size);
            auto writer = spawn([&]() -> task<> {
                co_await both.client.write(text);
                both.client.close_write();
            });
            auto reader = spawn(on(other_core()), read_all, std::ref(both.server));
            CHECK(co_await reader == text);
            co_await writer;
            co_await ringo::sleep(1ms);
        }
    });
    CHECK(interruptions > 0);
}

TEST_CASE("a_signal_in_a_long_wait_does_not_end_it") {
    const interrupter storm;
    run([]() -> task<> {
        connection both = co_await connect();
        auto reader = spawn([&both]() -> task<std::size_t> {
            char one = 0;
            co_return co_await both.server.read({&one, 1});
        });
        const int before = interruptions;
        co_await until([&] { return interruptions > before + 100; });
        CHECK_FALSE(reader.done());
        co_await both.client.write("x");
        CHECK(co_await reader == 1);
    });
}

TEST_CASE("a_peer_that_is_gone_raises_no_sigpipe_in_any_path") {
    const test::child_end end = test::in_child([] {
        std::signal(SIGPIPE, SIG_DFL);
        run([]() -> task<> {
            for (std::size_t core = 0; core < ringo::cores(); ++core) {
                for (const std::size_t size : {std::size_t{1}, std::size_t{1'000'000}}) {
                    connection both = co_await connect();
                    both.server = conn();
                    const std::string text = patterned(size);
                    auto writer = spawn(on(core), [&]() -> task<> {
                        failure f;
                        while (!f.code) {
                            f = co_await failure_of(both.client.write(text));
                        }
                        both.client.close_write();
                    });
                    co_await writer;
                }
            }
        });
    });
    test::check_exit(end, 0);
}

// --- peers ---

TEST_CASE("peers_that_never_read_hold_up_nobody_else") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        std::vector<connection> stuck;
        std::vector<ringo::join_handle<failure>> writers;
        const std::string much = patterned(20'000'000);
        for (int i = 0; i < 8; ++i) {
            stuck.push_back(co_await connect());
        }
        for (std::size_t i = 0; i < stuck.size(); ++i) {
            writers.push_back(spawn(
                on(i % ringo::cores()),
                [&much](conn& c) -> task<failure> { co_return co_await failure_of(c.write(much)); },
                std::ref(stuck[i].client)));
        }
        connection busy = co_await connect();
        for (std::size_t i = 0; i < 300; ++i) {
            std::string pong(64, ' ');
            co_await busy.client.write(patterned(64, i));
            co_await busy.server.read_exactly(pong);
            REQUIRE(pong == patterned(64, i));
        }
        for (std::size_t i = 0; i < stuck.size(); ++i) {
            CHECK_FALSE(writers[i].done());
            writers[i].cancel();
            const failure f = co_await writers[i];
            CHECK(f.code == std::errc::operation_canceled);
            stuck[i].client.close_write();
            const std::string got = co_await read_all(stuck[i].server);
            CHECK(got.size() == f.bytes);
            CHECK(got == much.substr(0, f.bytes));
        }
    });
}

TEST_CASE("a_peer_that_sends_without_end_starves_nobody_else") {  // trap 6
    const no_descriptor_leaks check;
    run(
        []() -> task<> {
            connection flood = co_await connect();
            auto flooding = spawn([&flood]() -> task<> {
                const std::string text(100'000, 'f');
                while (true) {
                    co_await flood.client.write(text);
                }
            });
            std::size_t received = 0;
            auto draining = spawn([&flood, &received]() -> task<> {
                std::string buffer(1000, ' ');
                while (true) {
                    received += co_await flood.server.read(buffer);
                }
            });
            connection busy = co_await connect();
            for (std::size_t i = 0; i < 500; ++i) {
                std::string pong(64, ' ');
                co_await busy.client.write(patterned(64, i));
                co_await busy.server.read_exactly(pong);
                REQUIRE(pong == patterned(64, i));
            }
            CHECK(received > 0);  // and neither is the flood
            flooding.cancel();
            draining.cancel();
            co_await as_result(flooding);
            co_await as_result(draining);
        },
        {.cores = 1});
}

TEST_CASE("hundreds_of_connections_open_talk_and_close_on_all_cores") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        listener l = listen("127.0.0.1:0");
        auto accepting = spawn([&l]() -> task<> {
            for (std::size_t i = 0; i < 400; ++i) {
                conn accepted = co_await l.accept();
                ringo::go(
                    on(i % ringo::cores()),
                    [](conn c) -> task<> {
                        const auto all = co_await as_result(read_all(c));
                        if (all) {
                            co_await as_result(c.write(*all));
                        }
                    },
                    std::move(accepted));
            }
        });
        std::vector<ringo::join_handle<bool>> clients;
        for (std::size_t i = 0; i < 400; ++i) {
            clients.push_back(spawn(on(i % ringo::cores()), [&l, i]() -> task<bool> {
                conn c = co_await dial(l.local());
                const std::string text = patterned(1 + i * 7 % 5000, i);
                co_await c.write(text);
                c.close_write();
                const std::string answer = co_await read_all(c);
                co_return answer == text;
            }));
        }
        int right = 0;
        for (auto& c : clients) {
            right += co_await c ? 1 : 0;
        }
        CHECK(right == 400);
        co_await accepting;
    });
}

// --- fork ---

TEST_CASE("a_child_of_a_program_with_a_runtime_may_exec") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        connection both = co_await connect();
        int pipe_fds[2];
        REQUIRE(::pipe2(pipe_fds, O_CLOEXEC) == 0);
        const ::pid_t child = ::fork();
        if (child == 0) {
            ::dup2(pipe_fds[1], STDOUT_FILENO);
            ::execl("/bin/sh", "sh", "-c", "ls -l /proc/$$/fd", static_cast<char*>(nullptr));
            ::_exit(127);
        }
        ::close(pipe_fds[1]);
        std::string said;
        char buffer[4096];
        for (::ssize_t n = 0; (n = ::read(pipe_fds[0], buffer, sizeof buffer)) > 0;) {
            said.append(buffer, static_cast<std::size_t>(n));
        }
        ::close(pipe_fds[0]);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
        // No ring and no socket went with it.
        CHECK(test::contains(said, " 1 -> pipe:"));
        CHECK_FALSE(test::contains(said, "io_uring"));
        for (const int fd : {both.client.descriptor(), both.server.descriptor()}) {
            char name[100] = "";
            ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name, sizeof name - 1);
            REQUIRE(test::contains(name, "socket:["));
            CHECK_FALSE(test::contains(said, name));
        }
        co_await both.client.write("x");
        both.client.close_write();
        CHECK(co_await read_all(both.server) == "x");
    });
}
