// Datagrams: over UDP, and between Unix sockets.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/detail/descriptor.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/polled_io.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/net/endpoint.hpp>
#include <ringo/net/lease.hpp>
#include <ringo/net/options.hpp>
#include <ringo/task.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ringo::detail {

struct message_header;

}  // namespace ringo::detail

namespace ringo::net {

/// What recv_from(buffer) has received.
struct datagram {
    std::size_t bytes = 0;
    endpoint from;  // empty: a Unix socket without a name
};

/// What recv_from() gives.
struct leased_datagram {
    leased_datagram() noexcept = default;
    leased_datagram(lease b, const endpoint& f) noexcept : bytes(std::move(b)), from(f) {}

    lease bytes;
    endpoint from;  // as datagram's
};

/// Bytes of a datagram that a lease has room for.
inline constexpr std::size_t leased_datagram_max = 3952;

namespace detail {

class datagram_inbox;

extern const ringo::detail::polled_type datagram_recv_wait;
extern const ringo::detail::polled_type datagram_send_wait;

/// What the compiled core knows of a datagram on its way.
class datagram_io : public ringo::detail::polled_io {
public:
    datagram_io(const ringo::detail::polled_type& t, ringo::detail::descriptor& d,
                std::span<const std::byte> b, const endpoint* to = nullptr) noexcept
        : polled_io(t, d), buffer(b) {
        if (to != nullptr) {
            peer = *to;
        }
    }
    datagram_io(datagram_io&& o) noexcept : datagram_io(o.what(), o.on(), o.buffer, &o.peer) {}
    datagram_io& operator=(const datagram_io&) = delete;
    ~datagram_io() {
        if (turnstile >= 0) [[unlikely]] {
            leave_turnstile();
        }
    }

    [[noreturn]] void raise();
    bool wait_for_room() noexcept;

    std::span<const std::byte> buffer;
    std::size_t size = 0;  // of the datagram that was received
    endpoint peer;         // where it comes from, or goes to

private:
    void leave_turnstile() noexcept;

    int turnstile = -1;
};

class datagram_recv : public ringo::detail::operation<datagram_recv, datagram_io> {
public:
    using datagram_io::arm;
    using datagram_io::raise;
    using datagram_io::start;
    using operation::operation;
    std::size_t value() const noexcept { return size; }
};

class datagram_recv_from : public ringo::detail::operation<datagram_recv_from, datagram_io> {
public:
    using datagram_io::arm;
    using datagram_io::raise;
    using datagram_io::start;
    using operation::operation;
    datagram value() const noexcept { return {size, peer}; }
};

/// What the compiled core knows of who receives a datagram by a lease.
class leased_recv : public ringo::detail::waiter {
public:
    explicit leased_recv(datagram_inbox& b) noexcept;
    leased_recv(leased_recv&& o) noexcept : leased_recv(*o.inbox_) {}
    leased_recv& operator=(const leased_recv&) = delete;
    ~leased_recv() {
        if (taken_ != nullptr || keeps_) [[unlikely]] {
            let_go();
        }
    }

    ringo::detail::bias_lock* lock() const noexcept;
    bool attempt(ringo::detail::waiter*& woken) noexcept;
    void enlist() noexcept;
    [[noreturn]] void raise();
    static const ringo::detail::arm_type arm;

    datagram_inbox& inbox() const noexcept { return *inbox_; }

protected:
    /// Once.
    lease bytes() noexcept;
    /// Before `bytes`.
    endpoint sender() const noexcept;

private:
    friend class datagram_inbox;

    void let_go() noexcept;

    datagram_inbox* inbox_;
    ringo::detail::message_header* taken_ = nullptr;
    std::size_t lost_ = 0;  // bytes of one that is too large
    bool keeps_ = false;    // the inbox, whose socket may be gone
};

class datagram_lease : public ringo::detail::locked_operation<datagram_lease, leased_recv> {
public:
    using leased_recv::raise;
    using locked_operation::locked_operation;
    lease value() noexcept { return bytes(); }
};

class datagram_lease_from
    : public ringo::detail::locked_operation<datagram_lease_from, leased_recv> {
public:
    using leased_recv::raise;
    using locked_operation::locked_operation;
    leased_datagram value() noexcept {
        const endpoint from = sender();
        return {bytes(), from};
    }
};

class datagram_send : public ringo::detail::operation<datagram_send, datagram_io> {
public:
    using datagram_io::raise;
    using datagram_io::start;
    using operation::operation;
    void value() const noexcept {}
};

/// Closes a descriptor when all uses of it have ended.
class datagram_close : public ringo::detail::operation<datagram_close> {
public:
    explicit datagram_close(ringo::detail::descriptor& d) noexcept;
    datagram_close(datagram_close&& o) noexcept : datagram_close(*o.on_) {}
    datagram_close& operator=(const datagram_close&) = delete;
    ~datagram_close() { value(); }

    static constexpr bool starts_when_cancelled = true;

    bool start() noexcept;
    void value() noexcept;

private:
    ringo::detail::descriptor* on_;
    bool closes_ = false;
};

}  // namespace detail

/// A socket of datagrams: each is received whole, or is lost. Its destructor closes it, once nobody
/// uses it any more.
///
/// Any number of goroutines may receive and send at once, on any cores, as in Go.
/// Each operation throws std::system_error with the operation and the socket's addresses in its
/// text.
///
/// follows  Go net.UDPConn, net.UnixConn ("unixgram")
class datagram_socket {
public:
    /// Not open; any operation is a panic.
    datagram_socket() noexcept = default;
    /// takes    a bound or connected socket, which is this one's from here on
    explicit datagram_socket(int descriptor);
    datagram_socket(datagram_socket&& other) noexcept
        : socket_(std::exchange(other.socket_, nullptr)),
          inbox_(other.inbox_.exchange(nullptr, std::memory_order_relaxed)),
          local_(other.local_),
          remote_(other.remote_) {}
    datagram_socket& operator=(datagram_socket&& other) noexcept {
        datagram_socket taken(std::move(other));
        std::swap(socket_, taken.socket_);
        inbox_.store(taken.inbox_.exchange(inbox_.load(std::memory_order_relaxed),
                                           std::memory_order_relaxed),
                     std::memory_order_relaxed);
        local_ = taken.local_;
        remote_ = taken.remote_;
        return *this;
    }
    ~datagram_socket();

    /// Waits for a datagram. As an operand of select it takes one only once it has won.
    ///
    /// returns  its size, which may be 0, and where it comes from
    /// throws   EMSGSIZE: it did not fit into the buffer; it is lost, and the text says how large
    ///          it was. ECONNREFUSED: nobody listens where a connected socket has sent to.
    ///          cancelled, deadline_exceeded: none was taken; errc::closed
    /// panics   when recv() or recv_from() without a buffer has been called on it before
    /// core     any; resumes on the same core
    /// cost     no allocation; one system call when there is one
    [[nodiscard]] detail::datagram_recv_from recv_from(mutable_buffer buffer);
    /// ... its size alone.
    [[nodiscard]] detail::datagram_recv recv(mutable_buffer buffer);

    /// Waits for a datagram, and takes it in a buffer of ringo's. As an operand of select it takes
    /// one only once it has won. From the first call on the socket is received from in this way
    /// alone: datagrams are received ahead, up to 64, and stand in line for whoever comes next;
    /// beyond that they wait in the kernel, which drops those that it has no room for.
    ///
    /// returns  its bytes, in a lease that is empty when it is, and where it comes from
    /// throws   EMSGSIZE: it is larger than leased_datagram_max; it is lost, and the text says how
    ///          large it was. Else as recv_from(buffer)
    /// core     any; resumes on the same core
    /// cost     no copy as long as few are held (conn::recv), no system call of its own, and no
    ///          buffer while nothing comes. An echo takes the CPU that it takes with a buffer of its
    ///          own: 0.95 of it with 64 datagrams in flight, the same with one
    [[nodiscard]] detail::datagram_lease_from recv_from();
    /// ... its bytes alone.
    [[nodiscard]] detail::datagram_lease recv();

    /// Sends a datagram, when the socket has room for it.
    ///
    /// throws   EMSGSIZE: it is larger than the network takes; ECONNREFUSED, of one that was sent
    ///          before; cancelled, deadline_exceeded: it was not sent; errc::closed
    [[nodiscard]] detail::datagram_send send_to(const_buffer data, const endpoint& to);
    /// ... from a connected socket.
    [[nodiscard]] detail::datagram_send send(const_buffer data);

    /// Closes it, and returns when its descriptor is free. Whoever receives or sends gets
    /// errc::closed. Also closes in a cancelled goroutine.
    [[nodiscard]] detail::datagram_close close();

    [[nodiscard]] bool is_open() const noexcept;
    [[nodiscard]] const endpoint& local() const noexcept { return local_; }
    /// Empty unless it is connected.
    [[nodiscard]] const endpoint& remote() const noexcept { return remote_; }

    /// Sets an option (options.hpp): `s.set(net::receive_buffer{1 << 20})`.
    ///
    /// throws   std::system_error that names the option and the socket's addresses
    template <class Option>
    void set(Option o) {
        set_option(Option::name, detail::count_of(o.value));
    }
    /// ... and tells it: `s.get<net::receive_buffer>()`.
    template <class Option>
    [[nodiscard]] typename Option::value_type get() const {
        return static_cast<typename Option::value_type>(get_option(Option::name));
    }

    /// The descriptor, for options that have no name here; -1 when closed.
    [[nodiscard]] int descriptor() const noexcept;

    /// For ringo's own parts. panics: when it is not open
    [[nodiscard]] ringo::detail::descriptor& handle(const char* operation) const;

    /// ... which receives into buffers of its own. panics: also when it gives leases
    [[nodiscard]] ringo::detail::descriptor& handle_to_receive(const char* operation) const;

private:
    detail::datagram_inbox& inbox(const char* operation);
    void set_option(detail::option_name name, std::int64_t value);
    std::int64_t get_option(detail::option_name name) const;

    ringo::detail::descriptor* socket_ = nullptr;
    std::atomic<detail::datagram_inbox*> inbox_{nullptr};  // made by the first who wants leases
    endpoint local_;
    endpoint remote_;
};

using udp_socket = datagram_socket;

struct udp_options {
    bool reuse_port = false;  // several sockets share the address, and what comes
};

/// A UDP socket that is bound to an address, and sends from it to any.
///
/// takes    an address as endpoint::parse does; port 0: the system chooses one
/// throws   std::system_error that names the address
/// core     any
/// follows  Go net.ListenUDP
[[nodiscard]] udp_socket listen_udp(std::string_view address, const udp_options& o = {});
[[nodiscard]] udp_socket listen_udp(const endpoint& where, const udp_options& o = {});

/// A UDP socket that is connected: it receives from one address and sends to it.
///
/// takes    as dial; of a name's addresses the first that there is a way to. No datagram is sent
/// throws   std::system_error that names the address; cancelled, deadline_exceeded
/// core     any
/// follows  Go net.DialUDP
[[nodiscard]] task<udp_socket> dial_udp(std::string address);
[[nodiscard]] task<udp_socket> dial_udp(endpoint to);

}  // namespace ringo::net
