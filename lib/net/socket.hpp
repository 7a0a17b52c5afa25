// The state behind a conn.
//
// Reading. A core receives for the socket: its home, the core of the first read. The home keeps a
// multishot receive armed; bytes arrive in its pooled buffers and wait there, in order, for
// read() to copy them out. So a read that is given up has taken nothing, and an idle connection
// owns no buffer. Receiving pauses while `leases_max` buffers wait. Where pooled buffers don't
// serve (none left, an old kernel, bulk data), the home receives straight into the reader's
// buffer; the two never run at once, so the order of the bytes holds. A reader on another core
// sends itself to the home, and is woken from there.
//
// Closing. The descriptor is closed when `close` has been asked for and no operation uses it: the
// kernel does not cancel operations on close, and reuses the number at once.
#pragma once

#include "../inbox.hpp"

#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/resident.hpp>
#include <ringo/net/conn.hpp>

#include <atomic>
#include <cstdint>
#include <span>

#include <sys/socket.h>

namespace ringo::net::detail {

using ringo::detail::goroutine;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::message;
using ringo::detail::shard;

class socket final : private ringo::detail::resident {
public:
    explicit socket(int descriptor) noexcept;
    socket(const socket&) = delete;
    socket& operator=(const socket&) = delete;

    // --- any core ---

    /// To be called before an operation uses the descriptor; false: the socket is closed.
    bool enter() noexcept;
    void leave() noexcept;

    /// Starts to close; once. `waiter`: woken when the descriptor is closed. False: it is already.
    bool close(goroutine* waiter) noexcept;
    void retain() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;

    bool closed() const noexcept {
        return (state_.load(std::memory_order_acquire) & closed_bit) != 0;
    }
    int descriptor() const noexcept { return fd_; }
    /// Empty when closed.
    endpoint local() noexcept;
    endpoint remote() noexcept;
    void shutdown(int how) noexcept;

    /// False: it has ended at once.
    bool read(socket_read& r) noexcept;
    /// By the reader's core.
    void cancel_read(socket_read& r) noexcept;

    void direct_completed(socket_read& r, const io_completion& c) noexcept;

private:
    static constexpr std::uint32_t closed_bit = 1;
    static constexpr std::uint32_t one_operation = 2;
    static constexpr std::uint16_t leases_max = 8;

    struct receive_operation : io_operation {
        explicit receive_operation(socket& s) noexcept;
        socket& owner;
    };
    struct errand : message {
        errand(socket& s, socket_read* r, action a) noexcept : message(a), owner(s), reader(r) {}
        socket& owner;
        socket_read* reader;
    };
    template <void (socket::*Do)(socket_read*) noexcept>
    void send_home(shard& to, socket_read* r) noexcept;

    ~socket();
    void close_descriptor() noexcept;
    endpoint name(int (*get)(int, sockaddr*, socklen_t*)) noexcept;
    void core_ends() noexcept override;

    // home core
    bool begin(socket_read& r) noexcept;
    bool serve(socket_read& r) noexcept;
    void receive_for(socket_read& r) noexcept;
    void received(const io_completion& c) noexcept;
    void end_read(socket_read& r, int error) noexcept;
    void take_in(socket_read* r) noexcept;
    void give_up(socket_read* r) noexcept;
    void stop_receiving(socket_read*) noexcept;
    void drop_leases() noexcept;
    void settle() noexcept;

    // fixed after start
    int fd_;

    // any core
    std::atomic<std::uint32_t> state_{0};   // closed_bit, and operations in units of one_operation
    std::atomic<std::uint32_t> owners_{2};  // handles, and the open descriptor
    std::atomic<shard*> home_{nullptr};
    goroutine* closer_ = nullptr;  // written by who sets closed_bit, before it leaves

    // home core
    receive_operation receive_{*this};
    socket_read* reader_ = nullptr;
    std::int32_t first_lease_ = -1;  // the oldest buffer; the others are linked behind it
    std::int32_t last_lease_ = -1;
    std::uint16_t leases_ = 0;
    std::uint32_t taken_ = 0;  // bytes of the oldest buffer that have been read
    int error_ = 0;            // an errno that ends all reading
    bool end_ = false;         // the peer sends no more
    bool starved_ = false;     // the core has no pooled buffer left
    bool bulk_ = false;        // reads are large, and so is what arrives
};

}  // namespace ringo::net::detail
