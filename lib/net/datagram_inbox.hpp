// What has come for those who receive datagrams by leases.
//
// A core receives for the socket, by a multishot operation into its pooled buffers: the core of the
// first who had to wait. It goes on while nobody waits, and datagrams stand in line here, until
// there are `queued_max`; then it is cancelled, and they stay in the kernel's queue, until somebody
// waits again. Where pooled buffers don't serve (none left, an old kernel), it polls instead.
//
// Invariant: while somebody waits, the operation is under way.
#pragma once

#include "../message_header.hpp"

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/descriptor.hpp>
#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/net/udp.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ringo::net::detail {

class datagram_inbox {
public:
    explicit datagram_inbox(ringo::detail::descriptor& on) noexcept : on_(on) { on.retain(); }
    datagram_inbox(const datagram_inbox&) = delete;
    datagram_inbox& operator=(const datagram_inbox&) = delete;

    static void* operator new(std::size_t size) { return ringo::detail::frame_allocate(size); }
    static void operator delete(void* block, std::size_t size) noexcept {
        ringo::detail::frame_free(block, size);
    }

    // --- any core ---

    void retain() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;
    ringo::detail::descriptor& on() const noexcept { return on_; }

    // Under the lock.
    ringo::detail::bias_lock lock;
    ringo::detail::wait_list waiters;

    /// True: it has ended, with a datagram or an error.
    bool serve_now(leased_recv& r) noexcept;
    void enlist(leased_recv& r) noexcept;

private:
    using message_header = ringo::detail::message_header;

    static constexpr std::size_t queued_max = 64;  // as many as may well come in one turn

    struct receive_operation : ringo::detail::io_operation {
        explicit receive_operation(datagram_inbox& b) noexcept;
        datagram_inbox& owner;
    };

    ~datagram_inbox();

    bool serve(leased_recv& r) noexcept;
    void fail(leased_recv& r, int error) noexcept;
    bool arm() noexcept;
    void start() noexcept;
    bool take_from_kernel(int fd) noexcept;
    void take_buffer(std::int32_t id, std::size_t bytes) noexcept;
    void push(message_header* m) noexcept;
    message_header* pop() noexcept;
    void serve_waiters(ringo::detail::woken_list& woken) noexcept;

    // home core
    void received(const ringo::detail::io_completion& c) noexcept;
    void has_ended(bool cancelled, ringo::detail::woken_list& woken) noexcept;

    ringo::detail::descriptor& on_;
    std::atomic<std::uint32_t> owners_{1};  // the socket, the operation, those that have failed

    // under the lock; `receive_` is its home's while `armed_`
    receive_operation receive_{*this};
    ringo::detail::descriptor_use use_{receive_};
    message_header* first_ = nullptr;
    message_header** last_ = &first_;
    std::size_t queued_ = 0;
    std::uint8_t error_ = 0;  // an errno that nobody has heard of; after what is queued
    bool armed_ = false;
    bool pausing_ = false;  // cancelled, for nobody takes what comes
    bool starved_ = false;  // the core has no pooled buffer left
};

}  // namespace ringo::net::detail
