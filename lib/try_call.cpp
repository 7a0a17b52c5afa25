#include "try_call.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace ringo::detail {

namespace {

// What is in the page cache takes a copy, which must not take long either.
constexpr std::size_t cached_max = std::size_t{256} << 10;

attempt done(::ssize_t result) noexcept {
    return {retry::never, result < 0 ? -errno : static_cast<int>(result)};
}
/// ... unless it would have waited.
attempt done_or_ready(::ssize_t result) noexcept {
    return result < 0 && errno == EAGAIN ? attempt{retry::ready, 0} : done(result);
}

bool is_ready(int fd, short events) noexcept {
    pollfd p{.fd = fd, .events = events, .revents = 0};
    return ::poll(&p, 1, 0) != 0;
}

attempt try_poll(const io_operation& op) noexcept {
    pollfd p{.fd = op.fd, .events = static_cast<short>(op.length), .revents = 0};
    const int n = ::poll(&p, 1, 0);
    if (op.fd < 0 || (n > 0 && p.revents == POLLNVAL)) {
        return {retry::never, -EBADF};
    }
    return n == 0 ? attempt{retry::ready, 0} : done(n < 0 ? n : p.revents);
}

/// Whether the call must be made as it is: past the page cache it waits for the device, whatever is
/// asked, and what is appended in one call stays together.
bool is_for_a_thread(const io_operation& op, bool writes, std::int64_t offset) noexcept {
    if (op.code == io_code::read) {
        return false;
    }
    const int flags = ::fcntl(op.fd, F_GETFL);
    const bool in_one = writes && (offset >= 0 || (flags & O_APPEND) != 0);
    return flags >= 0 && ((flags & O_DIRECT) != 0 || (in_one && op.length > cached_max));
}

/// Whatever it reads or writes: the descriptor need not be non-blocking.
attempt try_transfer(const io_operation& op, bool writes, std::int64_t offset) noexcept {
    if (is_for_a_thread(op, writes, offset)) {
        return {retry::blocking, 0};
    }
    const iovec data{.iov_base = op.address,
                     .iov_len = std::min<std::size_t>(op.length, cached_max)};
    const ::ssize_t n = writes ? ::pwritev2(op.fd, &data, 1, offset, RWF_NOWAIT)
                               : ::preadv2(op.fd, &data, 1, offset, RWF_NOWAIT);
    if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) {
        return done_or_ready(n);
    }
    // Kernel: not everything knows RWF_NOWAIT. Once it is ready, the call does not wait for long.
    if (!is_ready(op.fd, writes ? POLLOUT : POLLIN)) {
        return {retry::ready, 0};
    }
    return op.code == io_code::read ? done(::read(op.fd, op.address, op.length))
                                    : attempt{retry::blocking, 0};
}

int set_flags(int fd, int flags) noexcept { return ::fcntl(fd, F_SETFL, flags); }

attempt try_connect(const io_operation& op) noexcept {
    const int flags = ::fcntl(op.fd, F_GETFL);
    if (flags < 0 || set_flags(op.fd, flags | O_NONBLOCK) != 0) {
        return done(-1);
    }
    const int n = ::connect(op.fd, static_cast<const sockaddr*>(op.address), op.length);
    const int error = errno;
    set_flags(op.fd, flags);
    if (n == 0 || error == EISCONN) {
        return {retry::never, 0};
    }
    if (error == EINPROGRESS || error == EALREADY) {
        return {retry::ready, 0};
    }
    if (error ==
        EAGAIN) {  // Kernel: a Unix listener whose queue is full tells nobody when it is not
        return {retry::blocking, 0};
    }
    return {retry::never, -error};
}

}  // namespace

attempt try_call(const io_operation& op) noexcept {
    switch (op.code) {
        case io_code::read:
            return try_transfer(op, false, -1);
        case io_code::receive:
            return done_or_ready(::recv(op.fd, op.address, op.length, MSG_DONTWAIT));
        case io_code::send:
            return done_or_ready(::send(op.fd, op.address, op.length, MSG_DONTWAIT | MSG_NOSIGNAL));
        case io_code::send_message:
            return done_or_ready(::sendmsg(op.fd, static_cast<const msghdr*>(op.address),
                                           MSG_DONTWAIT | MSG_NOSIGNAL));
        case io_code::accept:
            return done_or_ready(::accept4(op.fd, nullptr, nullptr, SOCK_CLOEXEC));
        case io_code::connect:
            return try_connect(op);
        case io_code::poll:
            return try_poll(op);
        case io_code::file_read:
            return try_transfer(op, false, static_cast<const file_operation&>(op).offset);
        case io_code::file_write:
            return try_transfer(op, true, static_cast<const file_operation&>(op).offset);
        case io_code::file_close:
            return done(::close(op.fd));
        default:
            return {retry::blocking, 0};
    }
}

void prepare_to_accept(int fd) noexcept {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
        set_flags(fd, flags | O_NONBLOCK);
    }
}

std::uint32_t events_of(const io_operation& op) noexcept {
    switch (op.code) {
        case io_code::poll:
            return op.length;  // Kernel: epoll's events are poll's
        case io_code::send:
        case io_code::send_message:
        case io_code::connect:
        case io_code::file_write:
            return EPOLLOUT;
        default:
            return EPOLLIN;
    }
}

}  // namespace ringo::detail
