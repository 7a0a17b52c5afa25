#include <ringo/net/unix.hpp>

#include "../kernel_operation.hpp"
#include "../shard.hpp"
#include "address.hpp"
#include "open_socket.hpp"
#include "socket.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace ringo::net {

namespace {

using ringo::detail::io_code;
using ringo::detail::kernel_operation;
using ringo::detail::operation;
using ringo::detail::polled_io;
using ringo::detail::polled_type;

constexpr std::size_t descriptors_max = 253;  // Kernel: SCM_MAX_FD
constexpr std::uint32_t immediate_mean = 32;  // operations that end at once, in a row

// --- one system call ---

/// What goes beside the bytes, aligned as the kernel wants it.
struct control_space {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(descriptors_max * sizeof(int))> bytes;
};

/// returns  bytes that were sent; or -1, and errno
::ssize_t send_message(int fd, std::span<const std::byte> data, std::span<const int> descriptors,
                       const endpoint& to) noexcept {
    control_space control{};
    iovec part{.iov_base = const_cast<std::byte*>(data.data()), .iov_len = data.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    if (to.size() != 0) {
        m.msg_name = const_cast<sockaddr*>(to.address());
        m.msg_namelen = static_cast<socklen_t>(to.size());
    }
    if (!descriptors.empty()) {
        m.msg_control = control.bytes.data();
        m.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr& c = *CMSG_FIRSTHDR(&m);
        c.cmsg_level = SOL_SOCKET;
        c.cmsg_type = SCM_RIGHTS;
        c.cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(&c), descriptors.data(), descriptors.size_bytes());
    }
    return ::sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void take_descriptors(msghdr& m, received_with& into) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (std::size_t at = CMSG_LEN(0); at < c->cmsg_len; at += sizeof(int)) {
            int fd = -1;
            std::memcpy(&fd, reinterpret_cast<const std::byte*>(c) + at, sizeof fd);
            into.descriptors.emplace_back(fd);
        }
    }
    into.some_lost = (m.msg_flags & MSG_CTRUNC) != 0;
}

/// returns  0, or an errno
int receive_message(int fd, std::span<std::byte> buffer, int flags, received_with& into) noexcept {
    control_space control;
    sockaddr_storage from;
    iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_name = &from;
    m.msg_namelen = sizeof from;
    m.msg_control = control.bytes.data();
    m.msg_controllen = control.bytes.size();
    const ::ssize_t n = ::recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
    if (n < 0) {
        return errno;
    }
    into.bytes = static_cast<std::size_t>(n);
    into.from = endpoint(reinterpret_cast<const sockaddr*>(&from), m.msg_namelen);
    take_descriptors(m, into);
    return (m.msg_flags & MSG_TRUNC) != 0 ? EMSGSIZE : 0;
}

void check_sendable(const char* what, std::size_t n) {
    if (n > descriptors_max) {
        throw std::system_error(
            EINVAL, std::system_category(),
            fmt::format("{}: {} descriptors; at most {} go at once", what, n, descriptors_max));
    }
}

[[noreturn]] void refuse_other(const char* what, const endpoint& local) {
    throw std::system_error(
        EOPNOTSUPP, std::system_category(),
        fmt::format("{} {}: only Unix sockets take descriptors", what, local.to_string()));
}

// --- with datagrams ---

struct message_io : detail::datagram_io {
    using datagram_io::datagram_io;

    std::span<const int> descriptors;
    received_with received;
};

int attempt_receive(polled_io& p) noexcept {
    auto& r = static_cast<message_io&>(p);
    const std::span<std::byte> into(const_cast<std::byte*>(r.buffer.data()), r.buffer.size());
    const int error = receive_message(r.on().fd(), into, MSG_TRUNC, r.received);
    r.size = r.received.bytes;
    return error;
}

int attempt_send(polled_io& p) noexcept {
    auto& s = static_cast<message_io&>(p);
    if (send_message(s.on().fd(), s.buffer, s.descriptors, s.peer) >= 0) {
        return 0;
    }
    const int error = errno;
    return error == EAGAIN && s.peer.is_unix() && !s.wait_for_room() ? errno : error;
}

constexpr polled_type receive_wait("recv_with", POLLIN, &attempt_receive);
constexpr polled_type send_wait("send_with", POLLOUT, &attempt_send);

class message_operation : public operation<message_operation, message_io> {
public:
    using message_io::raise;
    using message_io::start;
    using operation::operation;
    void value() const noexcept {}
};

// --- with a conn ---

detail::socket& unix_socket_of(conn& c, const char* what) {
    if (c.socket() == nullptr) {
        ringo::detail::panic("conn: send_with or recv_with of one that is not connected");
    }
    if (const endpoint local = c.local(); c.is_open() && !local.is_unix()) {
        refuse_other(what, local);
    }
    return *c.socket();
}

/// Nobody closes the socket's descriptor as long as this lives.
class socket_use {
public:
    socket_use(detail::socket& s, const char* what) : socket_(s) {
        if (!s.enter()) {
            throw std::system_error(errc::closed, what);
        }
    }
    socket_use(const socket_use&) = delete;
    socket_use& operator=(const socket_use&) = delete;
    ~socket_use() { socket_.leave(); }

private:
    detail::socket& socket_;
};

/// Calls `attempt(fd)`, which gives 0 or an errno, until it needs to wait no longer.
template <class F>
task<> attempt_when_ready(detail::socket& s, short events, const char* what, F& attempt) {
    // What is always ready must not keep the core for itself.
    if (ringo::detail::shard::here().random() % immediate_mean == 0) {
        co_await yield();
    }
    const socket_use use(s, what);
    while (true) {
        const int error = attempt(s.descriptor());
        if (error != 0 && error != EAGAIN && error != EINTR && !s.closed()) {
            throw std::system_error(
                error, std::system_category(),
                fmt::format("{} {}->{}", what, s.local().to_string(), s.remote().to_string()));
        }
        if (s.closed()) {
            throw std::system_error(errc::closed, what);
        }
        if (error == 0) {
            co_return;
        }
        kernel_operation ready(what, io_code::poll, s.descriptor(), nullptr,
                               static_cast<unsigned short>(events));
        co_await ready;
    }
}

}  // namespace

void owned_descriptor::close() const noexcept { ::close(fd_); }

task<received_with> recv_with(conn& c, mutable_buffer buffer) {
    detail::socket& s = unix_socket_of(c, "recv_with");
    received_with r;
    auto attempt = [&](int fd) { return receive_message(fd, buffer.bytes(), 0, r); };
    co_await attempt_when_ready(s, POLLIN, "recv_with", attempt);
    co_return r;
}

task<> send_with(conn& c, const_buffer data, std::span<const int> descriptors) {
    detail::socket& s = unix_socket_of(c, "send_with");
    check_sendable("send_with", descriptors.size());
    const std::span<const std::byte> all = data.bytes();
    if (all.empty()) {
        throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                "send_with: descriptors go with a byte of data at least");
    }
    std::size_t done = 0;
    auto attempt = [&](int fd) {
        const ::ssize_t n = send_message(fd, all, descriptors, endpoint());
        done = n < 0 ? 0 : static_cast<std::size_t>(n);
        return n < 0 ? errno : 0;
    };
    co_await attempt_when_ready(s, POLLOUT, "send_with", attempt);
    const auto rest = all.subspan(done);
    try {
        co_await c.write(rest);
    } catch (const cancelled& e) {
        throw cancelled("send_with", done + e.bytes());
    } catch (const deadline_exceeded& e) {
        throw deadline_exceeded("send_with", done + e.bytes());
    }
}

task<received_with> recv_with(datagram_socket& s, mutable_buffer buffer) {
    message_operation receive(receive_wait,
                              s.handle_to_receive("datagram_socket: recv_with of a closed one"),
                              buffer.bytes());
    co_await receive;
    co_return std::move(receive.received);
}

task<> send_with(datagram_socket& s, const_buffer data, std::span<const int> descriptors,
                 endpoint to) {
    check_sendable("send_with", descriptors.size());
    if (!s.local().is_unix()) {
        refuse_other("send_with", s.local());
    }
    message_operation send(send_wait, s.handle("datagram_socket: send_with of a closed one"),
                           data.bytes(), &to);
    send.descriptors = descriptors;
    co_await send;
}

// --- datagram sockets ---

namespace {

endpoint unix_endpoint(const char* operation, std::string_view address) {
    endpoint e;
    try {
        e = endpoint::parse(address);
    } catch (const std::system_error& refusal) {
        detail::throw_refused(operation, refusal);
    }
    return e;
}

[[noreturn]] void fail(const char* operation, const endpoint& where, int error) {
    throw std::system_error(error, std::system_category(),
                            fmt::format("{} {}", operation, where.to_string()));
}

owned_descriptor open_unixgram(const char* operation, const endpoint& where) {
    owned_descriptor fd = detail::open_socket(AF_UNIX, SOCK_DGRAM);
    if (!where.is_unix()) {
        fail(operation, where, EAFNOSUPPORT);
    }
    if (!fd) {
        fail(operation, where, errno);
    }
    return fd;
}

}  // namespace

datagram_socket listen_unixgram(std::string_view address) {
    return listen_unixgram(unix_endpoint("listen_unixgram", address));
}

datagram_socket listen_unixgram(const endpoint& where) {
    owned_descriptor fd = open_unixgram("listen_unixgram", where);
    if (!detail::bind_to(fd.get(), SOCK_DGRAM, where)) {
        fail("listen_unixgram", where, errno);
    }
    return datagram_socket(fd.release());
}

datagram_socket dial_unixgram(std::string_view address) {
    return dial_unixgram(unix_endpoint("dial_unixgram", address));
}

datagram_socket dial_unixgram(const endpoint& to) {
    owned_descriptor fd = open_unixgram("dial_unixgram", to);
    const sockaddr any{.sa_family = AF_UNIX, .sa_data = {}};  // Kernel: it chooses a name then
    if (::bind(fd.get(), &any, sizeof any.sa_family) != 0 || !detail::connect_to(fd.get(), to)) {
        fail("dial_unixgram", to, errno);
    }
    return datagram_socket(fd.release());
}

}  // namespace ringo::net
