// conn: a connected stream socket, TCP or Unix.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/detail/arm.hpp>
#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/net/endpoint.hpp>
#include <ringo/net/lease.hpp>
#include <ringo/net/options.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringo::net {

class conn;

namespace detail {

class socket;

extern const ringo::detail::wait_type read_wait;
extern const ringo::detail::wait_type write_wait;
extern const ringo::detail::wait_type close_wait;

/// What the compiled core knows of a read. It is served by the core that receives for the socket,
/// which need not be the reader's.
class socket_read : public ringo::detail::waiter {
public:
    enum class kind : unsigned char {
        buffer,     // a buffer_read
        lease,      // a lease_read
        readiness,  // a readable_wait: takes nothing
    };

    socket_read(socket& s, kind k) noexcept : waiter(read_wait), from(&s), is(k) {}
    socket_read(socket_read&& other) noexcept : socket_read(*other.from, other.is) {}
    ~socket_read() {
        if (keeps_socket) [[unlikely]] {
            release();
        }
    }

    bool start() noexcept;
    ringo::detail::bias_lock* lock() const noexcept;
    [[noreturn]] void raise();

    static const ringo::detail::arm_type arm;

    socket* from;
    const kind is;
    bool given_up = false;      // while the kernel receives into the buffer
    bool keeps_socket = false;  // leaves it when the conn may be gone

private:
    void release() noexcept;
};

/// Fills a buffer.
class buffer_read : public socket_read {
public:
    buffer_read(socket& s, std::span<std::byte> into) noexcept;
    buffer_read(buffer_read&& other) noexcept : buffer_read(*other.from, other.buffer) {}

    std::span<std::byte> buffer;
    std::size_t received = 0;
    struct receive_operation : ringo::detail::io_operation {
        explicit receive_operation(buffer_read& r) noexcept;
        buffer_read& owner;
    } direct;  // receives into `buffer`, where pooled buffers are not used
};

/// Takes a buffer that has been filled.
class lease_read : public socket_read {
public:
    explicit lease_read(socket& s) noexcept : socket_read(s, kind::lease) {}
    lease_read(lease_read&& other) noexcept : lease_read(*other.from) {}

    lease taken;
};

class read_operation : public ringo::detail::operation<read_operation, buffer_read> {
public:
    using buffer_read::raise;
    using buffer_read::start;
    using operation::operation;
    std::size_t value() const noexcept { return received; }
};

class recv_operation : public ringo::detail::operation<recv_operation, lease_read> {
public:
    using lease_read::raise;
    using lease_read::start;
    using operation::operation;
    lease value() noexcept { return std::move(taken); }
};

class write_poll;

class socket_write : public ringo::detail::waiter {
public:
    socket_write(socket& s, std::span<const std::byte> what) noexcept;
    socket_write(socket_write&& other) noexcept : socket_write(*other.to, other.data) {}

    bool start() noexcept;
    [[noreturn]] void raise();
    /// Writes without waiting. False: the socket takes nothing now.
    bool write_now() noexcept;

    socket* to;
    std::span<const std::byte> data;
    bool gathers = false;  // it is a gather_write
    std::size_t sent = 0;
    write_poll* polled = nullptr;          // as an arm: tells when the socket takes something
    ringo::detail::shard* home = nullptr;  // whose kernel sends
    struct send_operation : ringo::detail::io_operation {
        explicit send_operation(socket_write& w) noexcept;
        socket_write& owner;
    } send;
};

class write_operation : public ringo::detail::operation<write_operation, socket_write> {
public:
    using operation::operation;
    using socket_write::raise;
    using socket_write::start;
    std::size_t value() const noexcept { return sent; }

    static const ringo::detail::arm_type arm;
};

/// Writes several buffers at once, from `skip` bytes on.
class gather_write : public socket_write {
public:
    gather_write(socket& s, std::span<const const_buffer> what, std::size_t skip) noexcept;
    gather_write(gather_write&& other) noexcept
        : gather_write(*other.to, other.parts, other.skipped) {}

    std::span<const const_buffer> parts;
    std::size_t skipped;

private:
    static constexpr std::size_t parts_max = 16;  // in one step
    struct alignas(void*) opaque {
        std::byte bytes[56];
    } header_;  // a msghdr
    struct alignas(void*) opaque_part {
        std::byte bytes[16];
    } vector_[parts_max];  // iovecs
};

class gather_operation : public ringo::detail::operation<gather_operation, gather_write> {
public:
    using operation::operation;
    using socket_write::raise;
    using socket_write::start;
    std::size_t value() const noexcept { return sent; }

    static const ringo::detail::arm_type arm;
};

class close_operation : public ringo::detail::operation<close_operation> {
public:
    explicit close_operation(socket& s) noexcept : operation(close_wait), socket_(&s) {}

    static constexpr bool starts_when_cancelled = true;

    bool start() noexcept;
    void value() const noexcept {}

private:
    socket* socket_;
};

}  // namespace detail

/// A connection. Its destructor closes it, once its kernel operations have ended.
///
/// One goroutine may read while another writes, on any cores; two that read at once are a panic.
/// Each operation throws std::system_error with the operation and both ends in its text.
///
/// follows  Go net.Conn
class conn {
public:
    /// Not connected; any operation is a panic.
    conn() noexcept = default;
    /// takes    a connected, blocking stream socket, which is the conn's from here on
    explicit conn(int descriptor);
    conn(conn&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
    conn& operator=(conn&& other) noexcept {
        conn taken(std::move(other));
        std::swap(socket_, taken.socket_);
        return *this;
    }
    ~conn();

    /// Waits for bytes, and takes as many as there are and fit. As an operand of select it takes
    /// them only once it has won.
    ///
    /// returns  how many; 0: the peer will send no more (or the buffer is empty)
    /// throws   cancelled, deadline_exceeded: no byte was taken; errc::closed
    /// panics   when another goroutine reads, or the same select twice
    /// core     any; resumes on the same core
    /// cost     no allocation; no system call of its own while the connection is busy
    [[nodiscard]] detail::read_operation read(mutable_buffer buffer);

    /// Waits for bytes, and takes some of them in a buffer of ringo's. So a connection that waits
    /// owns no buffer. As an operand of select it takes them only once it has won.
    ///
    /// returns  1 byte to 32 KiB; an empty lease: the peer will send no more
    /// throws   cancelled, deadline_exceeded: no byte was taken; errc::closed
    /// panics   when another goroutine reads, or the same select twice
    /// core     any; resumes on the same core
    /// cost     no copy, and no system call of its own while the connection is busy. A core lends
    ///          half of its 256 buffers of 4 KiB at most, so that it can always receive: beyond
    ///          these, where bytes come in bulk, on Unix sockets and on old kernels a lease has
    ///          memory of its own. It never waits for others to be returned.
    [[nodiscard]] detail::recv_operation recv();

    /// Fills the buffer.
    ///
    /// throws   errc::end_of_stream when the peer ends before; cancelled, deadline_exceeded: with
    ///          the bytes that were taken in their `bytes()`
    [[nodiscard]] task<> read_exactly(mutable_buffer buffer);

    /// Writes once: as much as the socket takes, at least one byte. As an operand of select it
    /// writes only once it has won.
    ///
    /// returns  how many bytes
    /// throws   cancelled, deadline_exceeded: nothing was written; EPIPE, never SIGPIPE
    /// cost     no allocation; 8 KiB or more have a system call of their own, at once, as long as
    ///          others are not kept waiting by that
    /// cancel   the buffer must live until the operation returns, as for all of these
    [[nodiscard]] detail::write_operation write_some(const_buffer data);

    /// ... of several buffers, one behind the other; 16 at most are looked at. They must live until
    /// it returns, and so must what lists them.
    [[nodiscard]] detail::gather_operation write_some(std::span<const const_buffer> parts);

    /// Writes all of it.
    ///
    /// throws   as write_some; cancelled, deadline_exceeded: `bytes()` says how far it got
    [[nodiscard]] task<> write(const_buffer data);
    /// ... of several buffers, one behind the other, without copying them together:
    /// `co_await c.write(head, body)`. What a span lists must live until it returns, too.
    template <class... More>
        requires(sizeof...(More) > 0 && (std::is_convertible_v<const More&, const_buffer> && ...))
    [[nodiscard]] task<> write(const_buffer first, const More&... more) {
        return write_parts({first, more...});
    }
    [[nodiscard]] task<> write(std::span<const const_buffer> parts);

    /// Tells the peer that no more will come. Reading goes on.
    void close_write();

    /// Closes the connection, and returns when its operations have ended and its descriptor is
    /// free. Whoever reads or writes gets errc::closed. Also closes in a cancelled goroutine.
    [[nodiscard]] detail::close_operation close();

    [[nodiscard]] bool is_open() const noexcept;
    [[nodiscard]] endpoint local() const;
    [[nodiscard]] endpoint remote() const;

    /// Sets an option (options.hpp): `c.set(net::keep_alive{true})`.
    ///
    /// throws   std::system_error that names the option and both ends
    template <class Option>
    void set(Option o) {
        set_option(Option::name, detail::count_of(o.value));
    }
    /// ... and tells it: `c.get<net::send_buffer>()`.
    template <class Option>
    [[nodiscard]] typename Option::value_type get() const {
        return static_cast<typename Option::value_type>(get_option(Option::name));
    }

    /// As set(no_delay{on}); nothing on a Unix socket, which never delays.
    void set_no_delay(bool on);
    void set_keep_alive(bool on) { set(keep_alive{on}); }
    /// takes    bytes, of the kernel's buffers
    void set_receive_buffer(int bytes) { set(receive_buffer{bytes}); }
    void set_send_buffer(int bytes) { set(send_buffer{bytes}); }

    /// The descriptor, for options that have no name here; -1 when closed.
    [[nodiscard]] int descriptor() const noexcept;

    // For ringo's own parts.
    explicit conn(detail::socket& owned) noexcept : socket_(&owned) {}
    detail::socket* socket() const noexcept { return socket_; }
    detail::socket* release() && noexcept { return std::exchange(socket_, nullptr); }

private:
    detail::socket& open_socket(const char* operation) const;
    task<> write_parts(std::vector<const_buffer> parts);
    void set_option(detail::option_name name, std::int64_t value);
    std::int64_t get_option(detail::option_name name) const;

    detail::socket* socket_ = nullptr;
};

}  // namespace ringo::net
