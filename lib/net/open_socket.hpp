// A socket until it has an owner that does I/O.
#pragma once

#include <ringo/net/endpoint.hpp>
#include <ringo/net/unix.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ringo::net::detail {

/// Not open: errno says why.
inline owned_descriptor open_socket(int family, int type) noexcept {
    return owned_descriptor(::socket(family, type | SOCK_CLOEXEC, 0));
}

inline bool switch_option(int fd, int level, int option, int value) noexcept {
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/// [::] stands for every address, those of IPv4 included unless `v6_only`; any other for itself.
inline void choose_families(int fd, const endpoint& where, bool v6_only = false) noexcept {
    const auto& v6 = *reinterpret_cast<const sockaddr_in6*>(where.address());
    const bool every = IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
    switch_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, every && !v6_only ? 0 : 1);
}

inline bool connect_to(int fd, const endpoint& where) noexcept {
    return ::connect(fd, where.address(), static_cast<socklen_t>(where.size())) == 0;
}

/// get: getsockname, getpeername. Empty when that fails.
inline endpoint name_of(int fd, int (*get)(int, sockaddr*, socklen_t*)) noexcept {
    sockaddr_storage a{};
    socklen_t size = sizeof a;
    if (get(fd, reinterpret_cast<sockaddr*>(&a), &size) != 0) {
        return {};
    }
    return endpoint(reinterpret_cast<const sockaddr*>(&a), std::min<std::size_t>(size, sizeof a));
}

/// Takes the file of a Unix socket over that nobody has open any more. False: errno says why not.
inline bool bind_to(int fd, int type, const endpoint& where) noexcept {
    const auto bind = [&] {
        return ::bind(fd, where.address(), static_cast<socklen_t>(where.size())) == 0;
    };
    if (bind()) {
        return true;
    }
    const int error = errno;
    const std::string path = where.is_unix() ? where.host() : "";
    if (error == EADDRINUSE && !path.empty() && path.front() != '@') {
        const owned_descriptor probe = open_socket(AF_UNIX, type | SOCK_NONBLOCK);
        if (probe && !connect_to(probe.get(), where) && errno == ECONNREFUSED &&
            ::unlink(path.c_str()) == 0) {
            return bind();
        }
    }
    errno = error;
    return false;
}

}  // namespace ringo::net::detail
