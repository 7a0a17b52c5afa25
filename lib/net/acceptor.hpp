// The state behind a listener.
//
// The core of the first accept is its home: there the kernel accepts, there descriptors wait for
// who takes them, and there the waiting accepts of all cores stand in one line.
#pragma once

#include "../inbox.hpp"

#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/resident.hpp>
#include <ringo/detail/timer.hpp>
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
    bool accept(socket_accept& a) noexcept;
    void cancel_accept(socket_accept& a) noexcept;
    void close() noexcept;
    void release() noexcept;
    const endpoint& local() const noexcept { return local_; }

private:
    static constexpr std::size_t waiting_max = 128;  // descriptors that nobody has taken

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
    template <void (acceptor::*Do)(socket_accept*) noexcept>
    void send_home(ringo::detail::shard& to, socket_accept* a) noexcept;

    ~acceptor();
    void core_ends() noexcept override;

    // home core
    bool begin(socket_accept& a) noexcept;
    void take_in(socket_accept* a) noexcept;
    void give_up(socket_accept* a) noexcept;
    void stop(socket_accept*) noexcept;
    void accepted(const ringo::detail::io_completion& c) noexcept;
    void failed(int error) noexcept;
    void rearm() noexcept;
    void end(socket_accept& a, int error) noexcept;
    void end_all(int error) noexcept;
    void settle() noexcept;

    // fixed after start
    const int fd_;
    const endpoint local_;

    // any core
    std::atomic<ringo::detail::shard*> home_{nullptr};
    std::atomic<std::uint32_t> references_{1};  // the listener, errands, the kernel's operation
    std::atomic<bool> closed_{false};

    // home core
    accept_io io_{*this};
    pause_timer pause_{*this};
    bool pausing_ = false;
    std::int64_t pause_ns_ = 0;  // how long the next one is
    socket_accept* first_ = nullptr;
    socket_accept** last_ = &first_;
    std::deque<int> ready_;
};

}  // namespace ringo::net::detail
