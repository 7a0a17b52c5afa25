// What is special of the epoll back-end; what all have in common is in kernel.cpp.
#include <doctest/doctest.h>

#include "operations.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using ringo::detail::blocking_pool;
using ringo::detail::io_code;
using ringo::detail::io_completion;
using ringo::detail::io_state;
using ringo::detail::kernel;
using test::descriptor;
using test::listening;
using test::noted;
using test::pipe_pair;
using test::put;
using test::socket_pair;
using test::take;

namespace {

struct epoll : test::machine {
    epoll() : machine([](blocking_pool& p, unsigned) { return ringo::detail::make_epoll(p); }) {}

    bool parks(const noted& op) {
        submit();
        return op.state == io_state::submitted && op.seen.empty();
    }
};

noted poll_of(int fd, short events) {
    return {io_code::poll, fd, nullptr, static_cast<std::size_t>(events)};
}

/// Fills a socket until it takes no more.
std::size_t fill(int fd) {
    const std::vector<char> data(1U << 20);
    std::size_t all = 0;
    for (::ssize_t n = 0;
         (n = ::send(fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0;) {
        all += static_cast<std::size_t>(n);
    }
    return all;
}
void drain(int fd, std::size_t size) {
    std::vector<char> data(1U << 20);
    while (size != 0) {
        const ::ssize_t n = ::recv(fd, data.data(), data.size(), 0);
        REQUIRE(n > 0);
        size -= static_cast<std::size_t>(n);
    }
}

/// A folder with a FIFO in it.
struct fifo {
    fifo() {
        REQUIRE(::mkdtemp(folder.data()) != nullptr);
        name = folder + "/fifo";
        REQUIRE(::mkfifo(name.c_str(), 0600) == 0);
    }
    fifo(const fifo&) = delete;
    fifo& operator=(const fifo&) = delete;
    ~fifo() {
        ::unlink(name.c_str());
        ::rmdir(folder.c_str());
    }
    noted open(int flags = O_RDONLY) {
        noted op(io_code::file_open, AT_FDCWD, name.data());
        op.flags = flags;
        return op;
    }
    std::string folder = "/tmp/ringo-epoll-XXXXXX";
    std::string name;
};

}  // namespace

// --- readiness ---

TEST_CASE("one_descriptor_serves_a_receive_a_send_and_polls_at_once") {
    epoll k;
    auto [a, b] = socket_pair();
    const std::size_t filled = fill(a);
    noted receive(io_code::receive_multishot, a);
    std::array<char, 4> data{'s', 'e', 'n', 't'};
    noted send(io_code::send, a, data.data(), data.size());
    noted readable = poll_of(a, POLLIN);
    noted writable = poll_of(a, POLLOUT);
    for (noted* const op : {&receive, &send, &readable, &writable}) {
        k->start(*op);
    }
    CHECK(k.parks(send));
    CHECK(k.parks(writable));
    put(b, "to a");
    k.finish(readable);
    k.until([&] { return !receive.seen.empty(); });
    CHECK(receive.seen[0].more);
    k->give_back(receive.seen[0].buffer);
    CHECK(k.parks(send));
    drain(b, filled);
    k.finish(send);
    k.finish(writable);
    CHECK(send.result() == 4);
    CHECK(take(b) == "sent");
    CHECK(receive.seen.size() == 1);
    k->cancel(receive);
    k.finish(receive);
    CHECK(receive.result() == -ECANCELED);
}

TEST_CASE("two_receives_on_one_descriptor_get_what_comes_in_turn") {
    epoll k;
    auto [a, b] = socket_pair();
    std::array<char, 2> one{};
    std::array<char, 2> other{};
    noted first(io_code::receive, a, one.data(), 1);
    noted second(io_code::receive, a, other.data(), 1);
    k->start(first);
    k->start(second);
    CHECK(k.parks(first));
    put(b, "x");
    k.finish(first);
    CHECK(k.parks(second));
    put(b, "y");
    k.finish(second);
    CHECK(one[0] == 'x');
    CHECK(other[0] == 'y');
}

TEST_CASE("a_number_that_is_used_again_is_another_descriptor") {
    epoll k;
    char byte = 0;
    for (const io_code code : {io_code::receive, io_code::receive_multishot, io_code::poll}) {
        for (int round = 0; round < 20; ++round) {
            auto [a, b] = socket_pair();  // the same numbers, round after round
            noted op(code, a, &byte, code == io_code::poll ? POLLIN : 1);
            k->start(op);
            CHECK(k.parks(op));
            if (round % 2 == 0) {
                k->cancel(op);
                put(b, "late");
            } else {
                put(b, "x");
            }
            k.until([&op] { return !op.seen.empty(); });
            CHECK((op.seen[0].result == -ECANCELED) == (round % 2 == 0));
            if (op.seen[0].buffer >= 0) {
                k->give_back(op.seen[0].buffer);
                k->cancel(op);
                k.finish(op);
            }
        }
    }
}

TEST_CASE("an_event_of_a_descriptor_that_was_replaced_is_nobodys") {
    epoll k;
    auto [a, a2] = socket_pair();
    auto [b, b2] = socket_pair();
    auto [c, c2] = socket_pair();
    char byte = 0;
    noted first(io_code::receive, a, &byte, 1);
    noted victim(io_code::receive, b, &byte, 1);
    noted heir(io_code::receive, b, &byte, 1);
    k->start(first);
    k->start(victim);
    CHECK(k.parks(victim));
    put(a2, "1");
    put(b2, "2");
    k->cancel(victim);
    k.finish(victim);
    REQUIRE(::dup2(c, b) == b);  // closes b; its number is c's from here on
    k->start(heir);
    CHECK(k.parks(heir));
    put(c2, "3");
    k.finish(heir);
    CHECK(byte == '3');
    k.finish(first);
}

TEST_CASE("a_listener_is_accepted_from_in_bounded_turns_and_does_not_block") {
    epoll k;
    const listening l;
    std::vector<descriptor> clients;
    for (int i = 0; i < 100; ++i) {
        clients.push_back(l.connect());
    }
    noted accept(io_code::accept_multishot, l.fd);
    k->start(accept);
    k.submit();
    CHECK(accept.seen.size() >= 1);
    CHECK(accept.seen.size() < clients.size());
    k.until([&] { return accept.seen.size() == clients.size(); });
    k.submit();
    CHECK_FALSE(accept.idle());
    k->cancel(accept);
    k.finish(accept);
    for (const io_completion& c : accept.seen) {
        ::close(c.result);
    }
}

TEST_CASE("a_cancel_from_a_handler_ends_a_multishot_operation_at_once") {
    struct once : noted {
        explicit once(int listener, kernel& k)
            : noted(io_code::accept_multishot, listener), owner(k) {
            complete = [](ringo::detail::io_operation& op, const io_completion& c) noexcept {
                note(op, c);
                if (c.more) {
                    static_cast<once&>(op).owner.cancel(op);
                }
            };
        }
        kernel& owner;
    };
    epoll k;
    const listening l;
    const descriptor one = l.connect();
    const descriptor two = l.connect();
    once accept(l.fd, *k.operator->());
    k->start(accept);
    k.finish(accept);
    REQUIRE(accept.seen.size() == 2);
    CHECK(accept.seen[0].result >= 0);
    CHECK(accept.result() == -ECANCELED);
    ::close(accept.seen[0].result);
    const descriptor left(::accept(l.fd, nullptr, nullptr));
    CHECK(left >= 0);
}

TEST_CASE("connecting_to_a_unix_listener_whose_queue_is_full_waits_for_room") {
    epoll k;
    const listening l;
    REQUIRE(::listen(l.fd, 0) == 0);
    const descriptor fills = l.connect();
    sockaddr_un address = l.address;
    for (const bool cancels : {true, false}) {
        const descriptor client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        noted connect(io_code::connect, client, &address, l.length);
        k->start(connect);
        k.until([&] { return connect.state == io_state::on_thread; });
        if (cancels) {
            k->cancel(connect);
            k.finish(connect);
            CHECK(connect.result() == -ECANCELED);
        } else {
            const descriptor makes_room(::accept(l.fd, nullptr, nullptr));
            k.finish(connect);
            CHECK(connect.result() == 0);
            CHECK((::fcntl(client, F_GETFL) & O_NONBLOCK) == 0);  // as it was
        }
    }
}

// --- files ---

TEST_CASE("a_descriptor_that_blocks_is_read_and_written_without_a_thread") {
    epoll k;
    auto [out, in] = pipe_pair();
    char byte = 0;
    noted read(io_code::file_read, out, &byte, 1);
    k->start(read);
    CHECK(k.parks(read));
    char x = 'x';
    noted write(io_code::file_write, in, &x, 1);
    k->start(write);
    k.finish(write);
    k.finish(read);
    CHECK(byte == 'x');
    read.seen.clear();
    k->start(read);
    CHECK(k.parks(read));
    k->cancel(read);
    k.finish(read);
    CHECK(read.result() == -ECANCELED);
    CHECK(k.pool().threads() == 0);
}

TEST_CASE("what_epoll_refuses_is_read_and_polled_all_the_same") {
    epoll k;
    const descriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    std::vector<char> data(1U << 20);
    for (const std::size_t size : {std::size_t{4}, data.size()}) {
        noted read(io_code::file_read, file, data.data(), size);
        read.offset = 0;
        k->start(read);
        k.finish(read);
        CHECK(read.result() > 0);
        CHECK(data[1] == 'E');
    }
    noted poll = poll_of(file, POLLIN);
    k->start(poll);
    k.finish(poll);
    CHECK(poll.result() == POLLIN);
    noted bad = poll_of(1'000'000, POLLIN);
    k->start(bad);
    k.finish(bad);
    CHECK(bad.result() == -EBADF);
}

TEST_CASE("past_the_page_cache_and_beyond_what_is_copied_soon_a_thread_takes_it") {
    epoll k;
    std::string name = "ringo-epoll-XXXXXX";
    const descriptor file(::mkstemp(name.data()));
    REQUIRE(file >= 0);
    std::vector<char> data(1U << 20, 'x');
    noted write(io_code::file_write, file, data.data(), data.size());
    write.offset = 0;
    k->start(write);
    k.finish(write);
    CHECK(write.result() == static_cast<int>(data.size()));
    CHECK(k.pool().threads() == 1);
    const descriptor direct(::open(name.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    ::unlink(name.c_str());
    if (direct < 0) {
        return;  // the file system has no such thing
    }
    auto* const aligned = static_cast<char*>(std::aligned_alloc(4096, 4096));
    noted read(io_code::file_read, direct, aligned, 4096);
    read.offset = 4096;
    k->start(read);
    k.submit();
    CHECK((read.ended() || read.state == io_state::on_thread));
    k.finish(read);
    CHECK(read.result() == 4096);
    CHECK(aligned[4095] == 'x');
    std::free(aligned);
}

TEST_CASE("a_call_that_waits_on_a_thread_is_interrupted_by_its_cancel") {
    epoll k;
    fifo f;
    for (int round = 0; round < 200; ++round) {
        noted open = f.open();
        k->start(open);
        k.submit();
        if (round % 2 == 0) {  // or it may not have begun
            k.until([&k] { return k.pool().threads() != 0; });
        }
        k->cancel(open);
        k.finish(open);
        CHECK(open.result() == -ECANCELED);
    }
}

TEST_CASE("calls_beyond_the_threads_there_are_wait_and_are_withdrawn") {
    epoll k;
    fifo f;
    std::list<noted> opens;
    for (std::size_t i = 0; i < blocking_pool::threads_max; ++i) {
        k->start(opens.emplace_back(f.open()));
    }
    noted& last = opens.emplace_back(f.open());
    k->start(last);
    k.submit();
    k->cancel(last);
    k.submit();
    CHECK(last.result() == -ECANCELED);
    CHECK(k->in_flight() == blocking_pool::threads_max);
    const descriptor writer(::open(f.name.c_str(), O_RDWR | O_CLOEXEC));
    for (const noted& op : opens) {
        k.finish(op);
        CHECK((&op == &last || op.result() >= 0));
        ::close(op.result());
    }
}
