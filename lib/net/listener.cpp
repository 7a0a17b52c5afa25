#include <ringo/net/listener.hpp>

#include "acceptor.hpp"
#include "address.hpp"

#include <ringo/detail/panic.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ringo::net {

namespace {

/// A descriptor until it has an owner.
class descriptor {
public:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

[[noreturn]] void fail(const std::string& name, int error) {
    throw std::system_error(error, std::system_category(), fmt::format("listen {}", name));
}

bool switch_option(int fd, int level, int option, int value) noexcept {
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/// A Unix socket leaves its file behind. True: nobody listens behind this one, and it is gone.
bool remove_stale(const endpoint& where) noexcept {
    const std::string path = where.host();
    if (!where.is_unix() || path.empty() || path.front() == '@') {
        return false;
    }
    const descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return probe.get() >= 0 &&
           ::connect(probe.get(), where.address(), static_cast<socklen_t>(where.size())) != 0 &&
           errno == ECONNREFUSED && ::unlink(path.c_str()) == 0;
}

bool bind_to(int fd, const endpoint& where) noexcept {
    return ::bind(fd, where.address(), static_cast<socklen_t>(where.size())) == 0;
}

}  // namespace

listener listen(std::string_view address, const listen_options& o) {
    endpoint where;
    try {
        where = endpoint::parse(address);
    } catch (const std::system_error& e) {
        detail::throw_refused("listen", e);
    }
    return listen(where, o);
}

listener listen(const endpoint& where, const listen_options& o) {
    const std::string name = where.to_string();
    descriptor fd(::socket(where.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd.get() < 0) {
        fail(name, errno);
    }
    const auto set = [&](const char* option, int level, int number, int value) {
        if (!switch_option(fd.get(), level, number, value)) {
            const int error = errno;
            fail(fmt::format("{}: {}", name, option), error);
        }
    };
    if (!where.is_unix()) {
        set("reuse_address", SOL_SOCKET, SO_REUSEADDR, 1);
        set("no_delay", IPPROTO_TCP, TCP_NODELAY, 1);  // what is accepted inherits it
    }
    if (where.family() == AF_INET6) {
        const bool every = IN6_IS_ADDR_UNSPECIFIED(
            &reinterpret_cast<const sockaddr_in6*>(where.address())->sin6_addr);
        switch_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, every && !o.v6_only ? 0 : 1);
    }
    if (o.reuse_port && !where.is_unix()) {
        set("reuse_port", SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (o.receive_buffer != 0) {
        set("receive_buffer", SOL_SOCKET, SO_RCVBUF, o.receive_buffer);
    }
    if (o.send_buffer != 0) {
        set("send_buffer", SOL_SOCKET, SO_SNDBUF, o.send_buffer);
    }
    if (!bind_to(fd.get(), where) &&
        !(errno == EADDRINUSE && remove_stale(where) && bind_to(fd.get(), where))) {
        fail(name, errno);
    }
    if (::listen(fd.get(), o.backlog) != 0) {
        fail(name, errno);
    }
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
        fail(name, errno);
    }
    const endpoint local(reinterpret_cast<const sockaddr*>(&bound), size);
    return listener(new detail::acceptor(fd.release(), local));
}

listener::~listener() {
    if (acceptor_ != nullptr) {
        acceptor_->close();
        acceptor_->release();
    }
}

detail::accept_operation listener::accept() {
    if (acceptor_ == nullptr) {
        ringo::detail::panic("listener: accept on one that does not listen");
    }
    return detail::accept_operation(*acceptor_);
}

void listener::close() noexcept {
    if (acceptor_ != nullptr) {
        acceptor_->close();
    }
}

endpoint listener::local() const {
    if (acceptor_ == nullptr) {
        ringo::detail::panic("listener: local of one that does not listen");
    }
    return acceptor_->local();
}

}  // namespace ringo::net
