#include <ringo/net/listener.hpp>

#include "acceptor.hpp"
#include "address.hpp"
#include "open_socket.hpp"

#include <ringo/detail/panic.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace ringo::net {

namespace {

[[noreturn]] void fail(const std::string& name, int error) {
    throw std::system_error(error, std::system_category(), fmt::format("listen {}", name));
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
    owned_descriptor fd = detail::open_socket(where.family(), SOCK_STREAM);
    if (!fd) {
        fail(name, errno);
    }
    const auto set = [&](const char* option, int level, int number, int value) {
        if (!detail::switch_option(fd.get(), level, number, value)) {
            const int error = errno;
            fail(fmt::format("{}: {}", name, option), error);
        }
    };
    if (!where.is_unix()) {
        set("reuse_address", SOL_SOCKET, SO_REUSEADDR, 1);
        set("no_delay", IPPROTO_TCP, TCP_NODELAY, 1);  // what is accepted inherits it
    }
    if (where.family() == AF_INET6) {
        detail::choose_families(fd.get(), where, o.v6_only);
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
    if (!detail::bind_to(fd.get(), SOCK_STREAM, where)) {
        fail(name, errno);
    }
    if (::listen(fd.get(), o.backlog) != 0) {
        fail(name, errno);
    }
    const endpoint local = detail::name_of(fd.get(), &::getsockname);
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
