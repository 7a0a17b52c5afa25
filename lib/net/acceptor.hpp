// The state behind a listener.
//
// The core of the first accept that waits is its home: there the kernel accepts. Under the lock are
// the descriptors that nobody has taken, and the one line in which the accepts of all cores wait.
#pragma once

#include "../inbox.hpp"

#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/resident.hpp>
#include <ringo/detail/timer.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/net/endpoint.hpp>
#include <ringo/net/listener.hpp>

#include <atomic>
#include <cstdint>
#include <deque>

namespace ringo::net::detail {

class acceptor final : private ringo::detail::resident {
public:
    acceptor(int descriptor, endpoint where) noexcept;
    acceptor(const acceptor&) = delete;
    acceptor& operator=(const acceptor&) = delete;

    // --- any core ---
    void close() noexcept;
    void release() noexcept;
    const endpoint& local() const noexcept { return local_; }
    int descriptor() const noexcept { return fd_; }

    /// How many connections are accepted before anybody wants them; before the first accept.
    void accept_ahead(std::size_t most) noexcept { ahead_max_ = most; }

    // under the line's lock
    bool attempt(socket_accept& a) noexcept;
    void enlist(socket_accept& a) noexcept;

    accept_line line;

private:
    struct accept_io : ringo::detail::io_operation {
        explicit accept_io(acceptor& a) noexcept;
        acceptor& owner;
    };
    struct pause_timer : ringo::detail::timer_entry {
        explicit pause_timer(acceptor& a) noexcept;
        static const ringo::detail::wait_type pause_wait;
        acceptor& owner;
    };
    struct errand;
    void send_home(ringo::detail::shard& to, void (acceptor::*work)() noexcept) noexcept;

    ~acceptor();
    void core_ends() noexcept override;

    // home core
    void accepted(const ringo::detail::io_completion& c) noexcept;
    void start() noexcept;
    void stop() noexcept;

    // under the line's lock
    int accept_now() const noexcept;
    void end_all(int error, ringo::detail::woken_list& woken) noexcept;
    // ... on the home core
    void failed(int error, ringo::detail::woken_list& woken) noexcept;
    void rearm() noexcept;
    void settle() noexcept;
    void leave_home() noexcept;

    // fixed after start
    const int fd_;
    const endpoint local_;
    std::size_t ahead_max_ = 128;

    // any core
    std::atomic<std::uint32_t> references_{1};  // the listener, errands, the kernel's operation

    // home core
    accept_io io_{*this};
    pause_timer pause_{*this};

    // under the line's lock
    ringo::detail::shard* home_ = nullptr;
    bool closed_ = false;
    bool armed_ = false;  // `io_` is under way
    bool pausing_ = false;
    std::int64_t pause_ns_ = 0;  // how long the next one is
    std::deque<int> ready_;
};

}  // namespace ringo::net::detail
