// The states of a kernel operation on each back-end: io_uring with all that it offers and as on an
// old kernel (RINGO_URING=basic), and epoll.
#include <doctest/doctest.h>

#include "blocking_pool.hpp"
#include "kernel.hpp"
#include "operations.hpp"
#include "skip.hpp"
#include "timers.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using ringo::detail::blocking_pool;
using ringo::detail::io_code;
using ringo::detail::io_completion;
using ringo::detail::io_state;
using ringo::detail::kernel;
using ringo::detail::timer_wheel;
using test::descriptor;
using test::listening;
using test::noted;
using test::pipe_pair;
using test::put;
using test::socket_pair;
using test::take;

namespace {

test::machine::maker make_one = nullptr;

std::unique_ptr<kernel> one_uring(blocking_pool&, unsigned entries) {
    return ringo::detail::make_uring(entries);
}
std::unique_ptr<kernel> one_epoll(blocking_pool& pool, unsigned) {
    return ringo::detail::make_epoll(pool);
}

/// One of the kind whose turn it is.
struct ring : test::machine {
    explicit ring(unsigned entries = 64) : machine(make_one, entries) {}
};

/// Armed polls in all rings of this process, as the kernel lists them.
int polls_in_kernel() {
    int polls = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;  // the directory's own descriptor
        if (std::filesystem::read_symlink(entry.path(), gone) != "anon_inode:[io_uring]") {
            continue;
        }
        std::ifstream info("/proc/self/fdinfo/" + entry.path().filename().string());
        bool in_list = false;
        for (std::string line; std::getline(info, line);) {
            if (line.find(':') != std::string::npos) {
                in_list = line.starts_with("PollList");
            } else if (in_list) {
                ++polls;
            }
        }
    }
    return polls;
}

/// Runs `test` on a full ring, then on a basic one. Where there is none, the text says why.
template <class Test>
std::string on_each_ring(Test test) {
    make_one = &one_uring;
    std::string why_not;
    for (const char* const kind : {"", "basic"}) {
        CAPTURE(std::string(kind));
        ::setenv("RINGO_URING", kind, 1);
        try {
            ringo::detail::make_uring(8);
        } catch (const std::system_error& e) {
            why_not = e.what();
            break;
        }
        test();
    }
    ::unsetenv("RINGO_URING");
    return why_not;
}

template <class Test>
void on_each_kernel(Test test) {
    on_each_ring(test);
    CAPTURE("epoll");
    make_one = &one_epoll;
    test();
}

}  // namespace

TEST_CASE("reads_receives_and_sends") {
    on_each_kernel([] {
        ring k;
        auto [out, in] = pipe_pair();
        auto [a, b] = socket_pair();
        std::array<char, 100> buffer{};
        std::array<char, 100> other{};
        noted read(io_code::read, out, buffer.data(), buffer.size());
        noted receive(io_code::receive, a, other.data(), other.size());
        k->start(read);
        k->start(receive);
        CHECK(k->in_flight() == 2);
        k.submit();
        CHECK(read.state == io_state::submitted);
        put(in, "through the pipe");
        k.finish(read);
        CHECK(std::string_view(buffer.data(), static_cast<std::size_t>(read.result())) ==
              "through the pipe");
        char text[] = "through the socket";
        noted send(io_code::send, b, text, sizeof text - 1);
        k->start(send);
        k.finish(send);
        k.finish(receive);
        CHECK(send.result() == sizeof text - 1);
        CHECK(std::string_view(other.data(), static_cast<std::size_t>(receive.result())) == text);
        CHECK(k->in_flight() == 0);

        b.reset();
        k->start(receive);
        k.finish(receive);
        CHECK(receive.result() == 0);  // the end of the stream
    });
}

TEST_CASE("errors_are_negative_errnos_and_no_signal_is_raised") {
    on_each_kernel([] {
        ring k;
        auto [a, b] = socket_pair();
        b.reset();
        char byte = 'x';
        noted send(io_code::send, a, &byte, 1);
        k->start(send);
        k.finish(send);
        CHECK(send.result() == -EPIPE);
        noted bad(io_code::receive, 1'000'000, &byte, 1);
        k->start(bad);
        k.finish(bad);
        CHECK(bad.result() == -EBADF);
    });
}

TEST_CASE("cancelled_before_submission_the_kernel_never_sees_it") {
    on_each_kernel([] {
        ring k;
        auto [a, b] = socket_pair();
        put(b, "untouched");
        std::array<char, 100> buffer{};
        noted receive(io_code::receive, a, buffer.data(), buffer.size());
        k->start(receive);
        k->cancel(receive);
        k->cancel(receive);
        CHECK(receive.seen.empty());
        k.finish(receive);
        CHECK(receive.seen.size() == 1);
        CHECK(receive.result() == -ECANCELED);
        CHECK(take(a) == "untouched");
        CHECK(k->in_flight() == 0);
    });
}

TEST_CASE("cancelled_after_submission_it_leaves_the_bytes_and_the_buffer_alone") {
    on_each_kernel([] {
        ring k;
        auto [a, b] = socket_pair();
        std::array<char, 100> buffer{};
        noted receive(io_code::receive, a, buffer.data(), buffer.size());
        k->start(receive);
        k.submit();
        CHECK(receive.state == io_state::submitted);
        k->cancel(receive);
        k->cancel(receive);
        k.finish(receive);
        CHECK(receive.seen.size() == 1);
        CHECK(receive.result() == -ECANCELED);
        put(b, "for the next reader");
        k.submit();
        CHECK(buffer == std::array<char, 100>{});
        CHECK(take(a) == "for the next reader");
    });
}

TEST_CASE("cancelling_an_idle_operation_changes_nothing_and_it_can_be_started_again") {
    on_each_kernel([] {
        ring k;
        auto [a, b] = socket_pair();
        char byte = 0;
        noted receive(io_code::receive, a, &byte, 1);
        k->cancel(receive);
        CHECK(receive.idle());
        for (const char c : {'x', 'y', 'z'}) {
            k->start(receive);
            k.submit();
            put(b, std::string_view(&c, 1));
            k.finish(receive);
            k->cancel(receive);
            k.submit();
            CHECK(receive.result() == 1);
            CHECK(byte == c);
        }
        CHECK(receive.seen.size() == 3);
    });
}

TEST_CASE("cancelled_while_it_completes_no_byte_is_lost") {
    const std::uint64_t seed = std::random_device()();
    INFO("seed " << seed);
    on_each_kernel([seed] {
        std::mt19937_64 random(seed);
        ring k;
        auto [a, b] = socket_pair();
        int won = 0;
        int cancelled = 0;
        for (int round = 0; round < 2000; ++round) {
            std::array<char, 8> buffer{};
            noted receive(io_code::receive, a, buffer.data(), buffer.size());
            k->start(receive);
            // Write, submit and cancel in any order that makes sense.
            const auto order = random() % 5;
            if (order != 0) {
                k.submit();
            }
            if (order % 2 == 0) {
                put(b, "data");
            }
            if (order == 4) {
                k.submit();
            }
            k->cancel(receive);
            if (order % 2 == 1) {
                put(b, "data");
            }
            k.finish(receive);
            CHECK(receive.seen.size() == 1);
            if (receive.result() == -ECANCELED) {
                ++cancelled;
                CHECK(take(a) == "data");
            } else {
                ++won;
                CHECK(receive.result() == 4);
                CHECK(take(a).empty());
            }
        }
        CHECK(won + cancelled == 2000);
        CHECK(cancelled > 0);
    });
}

TEST_CASE("a_late_completion_hits_no_new_operation_at_the_same_address") {
    on_each_kernel([] {
        ring k;
        auto [a, b] = socket_pair();
        auto [c, d] = socket_pair();
        alignas(noted) std::byte place[sizeof(noted)];
        std::array<char, 8> buffer{};
        for (int round = 0; round < 500; ++round) {
            auto* const first = ::new (place) noted(io_code::receive, a, buffer.data(), 8);
            k->start(*first);
            k.submit();
            k->cancel(*first);
            k.finish(*first);
            first->~noted();
            auto* const second = ::new (place) noted(io_code::receive, c, buffer.data(), 8);
            k->start(*second);
            k.submit();
            k.submit();
            CHECK(second->seen.empty());
            put(d, "2nd");
            k.finish(*second);
            CHECK(second->result() == 3);
            second->~noted();
        }
    });
}

TEST_CASE("cancel_all_ends_everything_in_every_state") {
    on_each_kernel([] {
        auto [a, b] = socket_pair();
        auto [out, in] = pipe_pair();
        std::list<noted> ops;
        std::array<char, 8> buffer{};
        {
            ring k;
            for (int i = 0; i < 300; ++i) {
                noted& op = ops.emplace_back(i % 2 == 0 ? io_code::receive : io_code::poll,
                                             i % 2 == 0 ? a : out, buffer.data(), 8);
                if (i % 2 == 1) {
                    op.length = POLLIN;
                }
                k->start(op);
                if (i % 100 == 0) {
                    k.submit();
                }
                if (i % 7 == 0) {
                    k->cancel(op);
                }
            }
            CHECK(k->in_flight() > 0);
            k->cancel_all();
            k.until([&k] { return k->in_flight() == 0; });
        }
        for (const noted& op : ops) {
            CHECK(op.idle());
            CHECK(op.seen.size() == 1);
            CHECK(op.result() == -ECANCELED);
        }
    });
}

TEST_CASE("after_cancel_all_the_kernel_holds_nothing_of_the_rings_memory") {  // trap 15
    const std::string why_not = on_each_ring([] {
        ring k;
        k.submit();
        CHECK(polls_in_kernel() > 0);  // ringo's own wait for a wake
        k->cancel_all();
        k.until([&k] { return k->in_flight() == 0; });
        CHECK(polls_in_kernel() == 0);
    });
    if (!why_not.empty()) {
        test::skip(why_not.c_str());
    }
}

TEST_CASE("more_operations_than_the_ring_has_entries") {
    on_each_kernel([] {
        ring k(2);
        std::vector<std::pair<descriptor, descriptor>> pairs;
        std::list<noted> ops;
        std::vector<std::array<char, 4>> buffers(300);
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            pairs.push_back(socket_pair());
            k->start(ops.emplace_back(io_code::receive, pairs.back().first, buffers[i].data(), 4));
        }
        k.submit();
        for (auto& [a, b] : pairs) {
            put(b, "full");
        }
        for (const noted& op : ops) {
            k.finish(op);
            CHECK(op.result() == 4);
        }
    });
}

TEST_CASE("a_completion_queue_that_overflows_loses_nothing") {
    on_each_kernel([] {
        ring k(8);
        auto [a, b] = socket_pair();
        std::list<noted> ops;
        for (int i = 0; i < 20'000; ++i) {
            noted& op = ops.emplace_back(io_code::poll, a);
            op.length = POLLIN;
            k->start(op);
        }
        k.submit();
        put(b, "x");  // all of them complete at once
        for (const noted& op : ops) {
            k.finish(op);
            CHECK(op.seen.size() == 1);
            CHECK((op.result() & POLLIN) != 0);
        }
        CHECK(k->in_flight() == 0);
    });
}

TEST_CASE("turn_waits_for_a_wake_from_any_thread") {
    on_each_kernel([] {
        ring k;
        for (int round = 0; round < 200; ++round) {
            std::atomic<bool> said = false;
            std::thread wakes([&] {
                said = true;
                k->wake();
            });
            while (!said) {
                k->turn(timer_wheel::never);  // a lost wake would leave it here
            }
            wakes.join();
        }
        k->wake();
        k->wake();
        k->turn(timer_wheel::never);  // it came before the turn
    });
}

TEST_CASE("turn_waits_until_its_time_and_not_for_one_in_the_past") {
    on_each_kernel([] {
        ring k;
        for (const std::int64_t d : {1'000, 100'000, 3'000'000}) {
            const std::int64_t until = k->now_ns() + d;
            int turns = 0;
            while (k->now_ns() < until) {
                k->turn(until);
                ++turns;
            }
            CHECK(turns < 1000);  // it slept
        }
        k->turn(0);
        k->turn(k->now_ns() - 1);
        k->turn(std::numeric_limits<std::int64_t>::min());
    });
}

TEST_CASE("one_may_be_made_on_one_thread_and_used_on_another") {
    on_each_kernel([] {
        auto pool = std::make_unique<blocking_pool>();
        auto made_here = make_one(*pool, 16);
        std::thread([&made_here] {
            made_here->attach();
            auto [a, b] = socket_pair();
            char byte = 0;
            noted receive(io_code::receive, a, &byte, 1);
            made_here->start(receive);
            put(b, "1");
            while (!receive.ended()) {
                made_here->turn(timer_wheel::never);
            }
            CHECK(byte == '1');
            made_here->cancel_all();
            while (made_here->in_flight() != 0) {
                made_here->turn(timer_wheel::never);
            }
        }).join();
    });
}

TEST_CASE("accepts_and_connects") {
    on_each_kernel([] {
        ring k;
        const listening l;
        noted accept(io_code::accept, l.fd);
        k->start(accept);
        k.submit();
        sockaddr_un address = l.address;
        const descriptor client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        noted connect(io_code::connect, client, &address, l.length);
        k->start(connect);
        k.finish(connect);
        k.finish(accept);
        CHECK(connect.result() == 0);
        const descriptor server(accept.result());
        REQUIRE(server >= 0);
        CHECK((::fcntl(server, F_GETFD) & FD_CLOEXEC) != 0);
        put(client, "hello");
        CHECK(take(server) == "hello");
    });
}

TEST_CASE("a_cancelled_accept_may_win_and_brings_its_descriptor") {
    on_each_kernel([] {
        ring k;
        const listening l;
        for (int round = 0; round < 300; ++round) {
            noted accept(io_code::accept, l.fd);
            k->start(accept);
            k.submit();
            const descriptor client = l.connect();
            k->cancel(accept);
            k.finish(accept);
            int server = accept.result();
            if (server == -ECANCELED) {  // then the connection is there for the next one
                server = ::accept4(l.fd, nullptr, nullptr, SOCK_CLOEXEC);
            }
            REQUIRE(server >= 0);
            ::close(server);
        }
    });
}

TEST_CASE("multishot_accept_brings_one_descriptor_per_connection_until_it_is_cancelled") {
    on_each_kernel([] {
        ring k;
        if (!k->has_multishot()) {
            return;
        }
        const listening l;
        noted accept(io_code::accept_multishot, l.fd);
        k->start(accept);
        std::vector<descriptor> clients;
        for (int i = 0; i < 50; ++i) {
            clients.push_back(l.connect());
            k.until([&] { return accept.seen.size() == clients.size(); });
            CHECK(accept.seen.back().more);
        }
        CHECK_FALSE(accept.idle());
        k->cancel(accept);
        k.finish(accept);
        CHECK(accept.result() == -ECANCELED);
        for (const io_completion& c : accept.seen) {
            if (c.result >= 0) {
                ::close(c.result);
            }
        }
    });
}

TEST_CASE("multishot_receive_brings_the_bytes_in_order_and_ends_when_no_buffer_is_left") {
    on_each_kernel([] {
        ring k;
        if (!k->has_multishot()) {
            return;
        }
        auto [a, b] = socket_pair();
        noted receive(io_code::receive_multishot, a);
        std::string got;
        std::vector<std::int32_t> held;
        const auto collect = [&](const io_completion& c) {
            REQUIRE(c.buffer >= 0);
            const auto& buffer = k->buffer(c.buffer);
            REQUIRE(buffer.length == static_cast<std::uint32_t>(c.result));
            got.append(reinterpret_cast<const char*>(buffer.data), buffer.length);
        };
        k->start(receive);
        k.submit();
        for (int i = 0; i < 100; ++i) {
            const std::string text = std::to_string(i) + ",";
            const std::size_t before = got.size();
            put(b, text);
            k.until([&] {
                for (const io_completion& c : std::exchange(receive.seen, {})) {
                    collect(c);
                    k->give_back(c.buffer);
                }
                return got.size() == before + text.size();
            });
            CHECK(got.substr(before) == text);
        }
        // Held back, the buffers run out: it ends, and the rest stays in the socket.
        for (int i = 0; i < 2000 && receive.seen.empty(); ++i) {
            put(b, "y");
            k.until([&] {
                const auto seen = std::exchange(receive.seen, {});
                for (const io_completion& c : seen) {
                    if (c.buffer >= 0) {
                        held.push_back(c.buffer);
                    } else {
                        receive.seen.push_back(c);
                    }
                }
                return !seen.empty();
            });
        }
        CHECK(receive.ended());
        CHECK(receive.result() == -ENOBUFS);
        std::sort(held.begin(), held.end());
        CHECK(std::unique(held.begin(), held.end()) == held.end());
        CHECK(take(a) == "y");
        for (const std::int32_t id : held) {
            k->give_back(id);
        }
        receive.seen.clear();
        k->start(receive);
        put(b, "again");
        k.until([&] { return !receive.seen.empty(); });
        got.clear();
        collect(receive.seen.back());
        CHECK(got == "again");
        k->give_back(receive.seen.back().buffer);
        k->cancel(receive);
        k.until([&] { return receive.idle(); });
    });
}

TEST_CASE("polls") {
    on_each_kernel([] {
        ring k;
        auto [out, in] = pipe_pair();
        noted poll(io_code::poll, out);
        poll.length = POLLIN;
        k->start(poll);
        k.submit();
        k.submit();
        CHECK(poll.seen.empty());
        put(in, "x");
        k.finish(poll);
        CHECK((poll.result() & POLLIN) != 0);
        CHECK(take(out) == "x");  // polling took nothing
    });
}
