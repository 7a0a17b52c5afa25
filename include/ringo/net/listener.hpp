// listen and accept: the server's side of a connection.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/net/conn.hpp>
#include <ringo/net/endpoint.hpp>

#include <string_view>
#include <utility>

namespace ringo::net {

namespace detail {

class acceptor;

/// Where accepts wait, in order.
struct accept_line {
    ringo::detail::bias_lock lock;
    ringo::detail::wait_list waiting;
};

extern const ringo::detail::wait_type accept_wait;

/// What the compiled core knows of an accept, served by the core that listens.
class socket_accept : public ringo::detail::waiter {
public:
    explicit socket_accept(acceptor& a) noexcept;
    socket_accept(socket_accept&& other) noexcept : socket_accept(*other.from) {}
    ~socket_accept();

    ringo::detail::bias_lock* lock() const noexcept { return &line->lock; }
    bool attempt(ringo::detail::waiter*& woken) noexcept;
    void enlist() noexcept;
    [[noreturn]] void raise();

    acceptor* from;
    accept_line* line;   // of `from`, which may be gone when an accept leaves it
    int accepted = -1;   // a descriptor that nobody has taken yet
    int listening = -1;  // that of `from`
};

class accept_operation : public ringo::detail::locked_operation<accept_operation, socket_accept> {
public:
    using locked_operation::locked_operation;
    using socket_accept::raise;
    conn value() { return conn(std::exchange(accepted, -1)); }

    static const ringo::detail::arm_type arm;
};

}  // namespace detail

struct listen_options {
    int backlog = 4096;       // connections that wait to be accepted; the kernel caps it
    bool reuse_port = false;  // several listeners share the address
    // Whether [::] leaves IPv4 alone, which otherwise it takes too.
    bool v6_only = false;
    // Bytes of the kernel's buffers, for what is accepted; 0: the system's choice.
    int receive_buffer = 0;
    int send_buffer = 0;
};

/// A listening socket. Its destructor closes it and what nobody has accepted.
class listener {
public:
    /// Not listening; any operation is a panic.
    listener() noexcept = default;
    explicit listener(detail::acceptor* owned) noexcept : acceptor_(owned) {}
    listener(listener&& other) noexcept : acceptor_(std::exchange(other.acceptor_, nullptr)) {}
    listener& operator=(listener&& other) noexcept {
        listener taken(std::move(other));
        std::swap(acceptor_, taken.acceptor_);
        return *this;
    }
    ~listener();

    /// Waits for the next connection. Waiting goroutines, selects among them, are served in order.
    ///
    /// throws   cancelled, deadline_exceeded: no connection was taken; errc::closed. Running out
    ///          of descriptors is no error: accepting pauses for 5 ms to 1 s, and goes on
    /// core     any; the listener's connections arrive on the core that waits first
    /// follows  Go net.Listener.Accept
    [[nodiscard]] detail::accept_operation accept();

    /// Stops listening. Whoever waits gets errc::closed.
    void close() noexcept;

    /// Where it listens; with the port that was chosen for port 0.
    [[nodiscard]] endpoint local() const;

    /// For ringo's own parts.
    detail::acceptor* acceptor() const noexcept { return acceptor_; }

private:
    detail::acceptor* acceptor_ = nullptr;
};

/// Listens for stream connections. Connections have no-delay set, as in Go.
///
/// takes    an address as endpoint::parse does; port 0: the system chooses one. A Unix socket that
///          nobody listens on any more is replaced
/// throws   std::system_error that names the address
/// core     any
listener listen(std::string_view address, const listen_options& o = {});
listener listen(const endpoint& where, const listen_options& o = {});

}  // namespace ringo::net
