// The state behind a conn.
//
// Reading. A core receives for the socket: its home, the core of the first read. The home keeps a
// multishot receive armed; bytes arrive in its pooled buffers and wait there, in order, for
// read() to copy them out, or for recv() to take the buffer. So a read that is given up has taken
// nothing, and an idle connection owns no buffer. Receiving pauses while `waiting_max` buffers
// wait. Where pooled buffers don't serve (none left, an old kernel, a Unix socket, bulk data), the
// home receives straight into the reader's buffer; the two never run at once, so the order of the
// bytes holds. What has arrived and who reads is under a lock, which costs the home next to
// nothing.
//
// A read in a select takes bytes only once it has won, and a recv has no buffer. Where pooled
// buffers don't serve, the home polls for these instead of receiving, then reads without waiting.
// A poll, like the multishot receive, stays when its reader is gone: it takes nothing from anybody.
//
// Bulk. What comes in pooled buffers comes in pieces, each with a completion, and leaves the cache
// on its way through all of them. So where much comes for who takes much, it is read at once, into
// blocks which who writes at once soon gives back: so many connections do with a few.
//
// Closing. The descriptor is closed when `close` has been asked for and no operation uses it: the
// kernel does not cancel operations on close, and reuses the number at once.
#pragma once

#include "../inbox.hpp"
#include "../lent_block.hpp"

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/resident.hpp>
#include <ringo/net/conn.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/socket.h>

namespace ringo::net::detail {

using ringo::detail::bias_lock;
using ringo::detail::goroutine;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::shard;

inline constexpr std::size_t large_bytes = 8192;  // a buffer, to read into or to write (Bulk)

class socket final : private ringo::detail::resident {
public:
    explicit socket(int descriptor) noexcept;
    socket(const socket&) = delete;
    socket& operator=(const socket&) = delete;

    static void* operator new(std::size_t size) { return ringo::detail::frame_allocate(size); }
    static void operator delete(void* block, std::size_t size) noexcept {
        ringo::detail::frame_free(block, size);
    }

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

    /// Writes of so many bytes are sent without a copy; 0: none is.
    std::int64_t zero_copy() const noexcept { return zero_copy_.load(std::memory_order_relaxed); }
    /// returns  0, or an errno
    int set_zero_copy(std::int64_t bytes) noexcept;
    /// Of a write: whether it is that large.
    bool sends_in_place(std::size_t bytes) const noexcept {
        const std::int64_t least = zero_copy();
        return least != 0 && static_cast<std::int64_t>(bytes) >= least && !is_unix_;
    }

    /// Gives bytes back that were read, for the next read. core: any, the reader's
    void unread(ringo::detail::lent_block& bytes) noexcept;

    /// False: it has ended at once.
    bool read(socket_read& r) noexcept;
    void cancel_read(socket_read& r) noexcept;

    // A read as an arm of a select; under the lock.
    bias_lock& lock() noexcept { return lock_; }
    bool attempt_read(socket_read& r) noexcept;
    void enlist_read(socket_read& r) noexcept;
    /// ... which this takes.
    void withdraw_read(socket_read& r) noexcept;

    void direct_completed(buffer_read& r, const io_completion& c) noexcept;

private:
    static constexpr std::uint32_t closed_bit = 1;
    static constexpr std::uint32_t one_operation = 2;
    static constexpr std::uint16_t waiting_max = 8;  // buffers

    struct receive_operation : io_operation {
        explicit receive_operation(socket& s) noexcept;
        socket& owner;
    };
    template <class F>
    void send_home(shard& home, F f) noexcept;

    ~socket();
    void close_descriptor() noexcept;
    endpoint name(int (*get)(int, sockaddr*, socklen_t*)) noexcept;
    void core_ends() noexcept override;

    // under the lock, any core
    void check_alone() noexcept;
    bool serve(socket_read& r) noexcept;
    void copy_waiting(buffer_read& r) noexcept;
    void lend_waiting(lease_read& r) noexcept;
    void take_unread(socket_read& r) noexcept;
    void give_back(std::int32_t first) noexcept;
    bool read_now(socket_read& r) noexcept;
    ::ssize_t receive_now(socket_read& r) noexcept;
    void took(std::size_t n) noexcept;
    void end_read(int error) noexcept;
    void drop_waiting() noexcept;

    // under the lock, home core
    void receive() noexcept;
    void offer(bool readable) noexcept;
    void settle() noexcept;
    void leave_home() noexcept;

    // home core
    void received(const io_completion& c) noexcept;
    void stop_receiving() noexcept;
    void send_stop(shard& home) noexcept;

    // fixed after start
    int fd_;
    // Kernel: a multishot receive of a Unix socket (6.18) can miss the end of the stream that comes
    // right after bytes. It trusts a count of unread bytes which, unlike TCP's, does not know of
    // the end, and takes the wake-up of the one for that of the other.
    const bool is_unix_;

    // any core
    std::atomic<std::uint32_t> state_{0};   // closed_bit, and operations in units of one_operation
    std::atomic<std::uint32_t> owners_{2};  // handles, and the open descriptor
    std::atomic<shard*> home_{nullptr};
    std::atomic<std::int64_t> zero_copy_{0};
    goroutine* closer_ = nullptr;  // written by who sets closed_bit, before it leaves

    // home core
    receive_operation receive_{*this};  // multishot, or a poll

    // under the lock
    bias_lock lock_;
    socket_read* reader_ = nullptr;
    ringo::detail::lent_block* unread_ = nullptr;  // comes before what waits
    std::int32_t first_waiting_ = -1;  // the oldest buffer; the others are linked behind it
    std::int32_t last_waiting_ = -1;
    std::uint16_t waiting_ = 0;
    std::uint8_t small_ = 0;   // reads in a row that got little, while `bulk_`
    std::uint8_t error_ = 0;   // an errno that ends all reading
    std::uint32_t taken_ = 0;  // bytes of the oldest buffer that have been read
    bool receiving_ = false;   // `receive_` is under way
    bool direct_ = false;      // the kernel receives into the reader's buffer
    bool end_ = false;         // the peer sends no more
    bool starved_ = false;     // the core has no pooled buffer left
    bool large_ = false;       // the last read takes much
    bool bulk_ = false;        // ... and much arrives
};

/// Waits until there is something to read, or the end, and takes nothing. Meanwhile, and until the
/// next read, the home receives nothing.
class readable_wait : public ringo::detail::operation<readable_wait, socket_read> {
public:
    explicit readable_wait(socket& s) noexcept : operation(s, kind::readiness) {}

    /// True: it has been received already, and `read` takes it without waiting.
    bool value() const noexcept { return buffered; }

    bool buffered = false;
};

[[noreturn]] void raise_failure(socket& s, const char* operation, std::uint8_t error);

}  // namespace ringo::net::detail
