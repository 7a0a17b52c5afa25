#include <ringo/net/udp.hpp>

#include "address.hpp"
#include "datagram_inbox.hpp"
#include "open_socket.hpp"
#include "resolve.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace ringo::net {

namespace detail {

using ringo::detail::descriptor;
using ringo::detail::polled_io;
using ringo::detail::polled_type;

namespace {

int attempt_recv(polled_io& p) noexcept {
    auto& r = static_cast<datagram_io&>(p);
    sockaddr_storage from;
    iovec data{.iov_base = const_cast<std::byte*>(r.buffer.data()), .iov_len = r.buffer.size()};
    msghdr m{};
    m.msg_name = &from;
    m.msg_namelen = sizeof from;
    m.msg_iov = &data;
    m.msg_iovlen = 1;
    const ::ssize_t n = ::recvmsg(r.on().fd(), &m, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0) {
        return errno;
    }
    r.size = static_cast<std::size_t>(n);
    r.peer = endpoint(reinterpret_cast<const sockaddr*>(&from), m.msg_namelen);
    return r.size > r.buffer.size() ? EMSGSIZE : 0;
}

int attempt_send(polled_io& p) noexcept {
    auto& s = static_cast<datagram_io&>(p);
    const bool connected = s.peer.size() == 0;
    const ::ssize_t n =
        ::sendto(s.on().fd(), s.buffer.data(), s.buffer.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                 connected ? nullptr : s.peer.address(), static_cast<socklen_t>(s.peer.size()));
    if (n >= 0) {
        return 0;
    }
    const int error = errno;
    return error == EAGAIN && s.peer.is_unix() && !s.wait_for_room() ? errno : error;
}

// Closing goes on whoever waits for it, and ends soon.
void cancel_close(ringo::detail::wait&) noexcept {}

constexpr ringo::detail::wait_type datagram_close_wait{"close", &cancel_close};

}  // namespace

const polled_type datagram_recv_wait("recv", POLLIN, &attempt_recv);
const polled_type datagram_send_wait("send", POLLOUT, &attempt_send);

// Kernel: a Unix socket that is not connected is always ready to send, also where the receiver's
// queue is full. One that is connected to the receiver is not; so that is polled.
// returns  false: errno says why not
bool datagram_io::wait_for_room() noexcept {
    if (turnstile < 0) {
        turnstile = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (turnstile < 0 ||
            ::connect(turnstile, peer.address(), static_cast<socklen_t>(peer.size())) != 0) {
            return false;
        }
        polled_fd_ = turnstile;
    }
    return true;
}

void datagram_io::leave_turnstile() noexcept { ::close(turnstile); }

void datagram_io::raise() {
    const bool receives = what().events == POLLIN;
    std::string text = receives ? "recv" : "send";
    if (has_errno()) {
        text += ' ' + on().name();
        if (receives && self->error == EMSGSIZE) {
            text += fmt::format(": {} bytes do not fit into {}", size, buffer.size());
        } else if (!receives && peer.size() != 0) {
            text += "->" + peer.to_string();
        }
    }
    ringo::detail::throw_failure(self->error, text, 0);
}

datagram_close::datagram_close(descriptor& d) noexcept : operation(datagram_close_wait), on_(&d) {}

bool datagram_close::start() noexcept {
    const descriptor::closing c = on_->close(self);
    closes_ = c != descriptor::closing::refused;
    return c == descriptor::closing::later;
}

void datagram_close::value() noexcept {
    if (std::exchange(closes_, false)) {
        ::close(on_->fd());
        on_->release();
    }
}

}  // namespace detail

namespace {

[[noreturn]] void fail(const char* operation, const std::string& name, int error) {
    throw std::system_error(error, std::system_category(), fmt::format("{} {}", operation, name));
}

std::string text_of(const endpoint& local, const endpoint& remote) {
    return remote.size() == 0 ? local.to_string()
                              : fmt::format("{}->{}", local.to_string(), remote.to_string());
}

}  // namespace

datagram_socket::datagram_socket(int descriptor)
    : local_(detail::name_of(descriptor, &::getsockname)),
      remote_(detail::name_of(descriptor, &::getpeername)) {
    socket_ = new ringo::detail::descriptor(descriptor, text_of(local_, remote_));
}

datagram_socket::~datagram_socket() {
    if (socket_ != nullptr) {
        socket_->close(nullptr);
        socket_->release();
    }
    if (auto* const inbox = inbox_.load(std::memory_order_relaxed)) {
        inbox->release();
    }
}

ringo::detail::descriptor& datagram_socket::handle(const char* operation) const {
    if (socket_ == nullptr) {
        ringo::detail::panic(operation);
    }
    return *socket_;
}

ringo::detail::descriptor& datagram_socket::handle_to_receive(const char* operation) const {
    if (inbox_.load(std::memory_order_relaxed) != nullptr) [[unlikely]] {
        ringo::detail::panic("datagram_socket: recv into a buffer from one that gives leases");
    }
    return handle(operation);
}

detail::datagram_recv_from datagram_socket::recv_from(mutable_buffer buffer) {
    return {detail::datagram_recv_wait,
            handle_to_receive("datagram_socket: recv_from of one that is not open"),
            buffer.bytes()};
}

detail::datagram_recv datagram_socket::recv(mutable_buffer buffer) {
    return {detail::datagram_recv_wait,
            handle_to_receive("datagram_socket: recv of one that is not open"), buffer.bytes()};
}

detail::datagram_send datagram_socket::send_to(const_buffer data, const endpoint& to) {
    return {detail::datagram_send_wait, handle("datagram_socket: send_to of one that is not open"),
            data.bytes(), &to};
}

detail::datagram_send datagram_socket::send(const_buffer data) {
    return {detail::datagram_send_wait, handle("datagram_socket: send of one that is not open"),
            data.bytes()};
}

detail::datagram_close datagram_socket::close() {
    return detail::datagram_close(handle("datagram_socket: close of one that is not open"));
}

bool datagram_socket::is_open() const noexcept { return socket_ != nullptr && !socket_->closed(); }

int datagram_socket::descriptor() const noexcept { return is_open() ? socket_->fd() : -1; }

namespace {

/// Has `call` done to the descriptor; it returns an errno.
template <class F>
void with_descriptor(ringo::detail::descriptor& d, const char* verb, detail::option_name name,
                     F call) {
    int error = 0;
    if (!d.while_open([&](int fd) { error = call(fd); })) {
        throw std::system_error(errc::closed, fmt::format("{} {}", verb, detail::text_of(name)));
    }
    if (error != 0) {
        throw std::system_error(error, std::system_category(),
                                fmt::format("{} {} {}", verb, detail::text_of(name), d.name()));
    }
}

}  // namespace

void datagram_socket::set_option(detail::option_name name, std::int64_t value) {
    with_descriptor(handle("datagram_socket: option of one that is not open"), "set", name,
                    [=](int fd) { return detail::set_option(fd, name, value); });
}

std::int64_t datagram_socket::get_option(detail::option_name name) const {
    std::int64_t value = 0;
    with_descriptor(handle("datagram_socket: option of one that is not open"), "get", name,
                    [&](int fd) { return detail::get_option(fd, name, value); });
    return value;
}

udp_socket listen_udp(std::string_view address, const udp_options& o) {
    endpoint where;
    try {
        where = endpoint::parse(address);
    } catch (const std::system_error& e) {
        detail::throw_refused("listen_udp", e);
    }
    return listen_udp(where, o);
}

udp_socket listen_udp(const endpoint& where, const udp_options& o) {
    const std::string name = where.to_string();
    if (where.is_unix()) {
        fail("listen_udp", name, EAFNOSUPPORT);
    }
    owned_descriptor fd = detail::open_socket(where.family(), SOCK_DGRAM);
    if (!fd || (o.reuse_port && !detail::switch_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1)) ||
        !detail::switch_option(fd.get(), SOL_SOCKET, SO_BROADCAST, 1)) {
        fail("listen_udp", name, errno);
    }
    if (where.family() == AF_INET6) {
        detail::choose_families(fd.get(), where);
    }
    if (!detail::bind_to(fd.get(), SOCK_DGRAM, where)) {
        fail("listen_udp", name, errno);
    }
    return udp_socket(fd.release());
}

task<udp_socket> dial_udp(endpoint to) {
    const std::string name = to.to_string();
    if (to.is_unix()) {
        fail("dial_udp", name, EAFNOSUPPORT);
    }
    owned_descriptor fd = detail::open_socket(to.family(), SOCK_DGRAM);
    if (!fd || !detail::switch_option(fd.get(), SOL_SOCKET, SO_BROADCAST, 1) ||
        !detail::connect_to(fd.get(), to)) {
        fail("dial_udp", name, errno);
    }
    co_return udp_socket(fd.release());
}

task<udp_socket> dial_udp(std::string address) {
    auto resolving = detail::resolve_address("dial_udp", std::move(address), {.datagram = true});
    const std::vector<endpoint> candidates = co_await std::move(resolving);
    std::exception_ptr first;
    for (const endpoint& to : candidates) {
        try {
            co_return co_await dial_udp(to);
        } catch (const std::system_error&) {
            first = first ? first : std::current_exception();
        }
    }
    std::rethrow_exception(first);
}

}  // namespace ringo::net
