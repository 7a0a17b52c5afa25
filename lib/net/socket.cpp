#include "socket.hpp"

#include "../shard.hpp"

#include <ringo/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include <sys/socket.h>
#include <unistd.h>

namespace ringo::net::detail {

using ringo::detail::wait;
using ringo::detail::wait_type;
using ringo::detail::wake;

namespace {

// Kernel: getpeername fails once the peer has reset the connection. SO_PEERNAME does not, but wants
// the exact size, which is that of the socket's own name.
int peer_name(int fd, sockaddr* into, socklen_t* size) noexcept {
    if (::getpeername(fd, into, size) == 0) {
        return 0;
    }
    const int failed = ::getsockname(fd, into, size);
    return failed != 0 ? failed : ::getsockopt(fd, SOL_SOCKET, SO_PEERNAME, into, size);
}

// Closing goes on whoever waits for it, and ends soon.
void cancel_close(wait&) noexcept {}

}  // namespace

const wait_type close_wait{"close", &cancel_close};

void raise_failure(socket& s, const char* operation, std::uint8_t error) {
    // What ringo itself ends needs no names; what the network did, does.
    std::string text = operation;
    if (error < ringo::detail::failure_cancelled && !s.closed()) {
        text = fmt::format("{} {}->{}", operation, s.local().to_string(), s.remote().to_string());
    }
    ringo::detail::throw_failure(error, text, 0);
}

namespace {

bool is_unix(int fd) noexcept {
    int domain = 0;
    ::socklen_t length = sizeof domain;
    return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

}  // namespace

socket::socket(int descriptor) noexcept : fd_(descriptor), is_unix_(is_unix(descriptor)) {}

socket::~socket() {
    if (unread_ != nullptr) {
        unread_->give_back(*unread_);
    }
}

// --- the descriptor ---

// The count never rises once the socket is closed, so it reaches zero after that only once.
bool socket::enter() noexcept {
    auto before = state_.load(std::memory_order_relaxed);
    do {
        if ((before & closed_bit) != 0) {
            return false;
        }
    } while (!state_.compare_exchange_weak(before, before + one_operation,
                                           std::memory_order_acq_rel, std::memory_order_relaxed));
    return true;
}

void socket::leave() noexcept {
    if (state_.fetch_sub(one_operation, std::memory_order_acq_rel) ==
        (one_operation | closed_bit)) {
        close_descriptor();
    }
}

void socket::close_descriptor() noexcept {
    ::close(fd_);
    if (closer_ != nullptr) {
        wake(*closer_);
    }
    release();
}

void socket::release() noexcept {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete this;
    }
}

bool socket::close(goroutine* waiter) noexcept {
    // Counts as an operation itself, so that the descriptor stays until all is arranged.
    if (!enter()) {
        return false;
    }
    const auto before = state_.fetch_or(closed_bit, std::memory_order_acq_rel);
    if ((before & closed_bit) != 0) {
        leave();
        return false;
    }
    closer_ = waiter;
    const bool alone = before == one_operation;
    if (shard* const home = home_.load(std::memory_order_acquire)) {
        if (home == shard::this_thread()) {
            const bool receiving_only = before == 2 * one_operation && !receive_.idle();
            if (!alone && !receiving_only) {
                ::shutdown(fd_, SHUT_RDWR);  // ends the writes that are under way
            }
            stop_receiving();
            leave();
            return true;
        }
        send_stop(*home);
    }
    if (!alone) {
        ::shutdown(fd_, SHUT_RDWR);
    }
    leave();
    return true;
}

void socket::shutdown(int how) noexcept {
    if (enter()) {
        ::shutdown(fd_, how);
        leave();
    }
}

int socket::set_zero_copy(std::int64_t bytes) noexcept {
    if (bytes < 0) {
        return EINVAL;
    }
    zero_copy_.store(bytes, std::memory_order_relaxed);
    return 0;
}

endpoint socket::local() noexcept { return name(&::getsockname); }
endpoint socket::remote() noexcept { return name(&peer_name); }

endpoint socket::name(int (*get)(int, sockaddr*, socklen_t*)) noexcept {
    sockaddr_storage a{};
    socklen_t size = sizeof a;
    if (!enter()) {
        return {};
    }
    const int failed = get(fd_, reinterpret_cast<sockaddr*>(&a), &size);
    leave();
    if (failed != 0) {
        return {};
    }
    return endpoint(reinterpret_cast<const sockaddr*>(&a), std::min<std::size_t>(size, sizeof a));
}

bool close_operation::start() noexcept { return socket_->close(self); }

}  // namespace ringo::net::detail
