// Operations on a kernel without a core around it, and descriptors for them.
#pragma once

#include <doctest/doctest.h>

#include "blocking_pool.hpp"
#include "kernel.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace test {

using ringo::detail::blocking_pool;
using ringo::detail::file_operation;
using ringo::detail::io_code;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::io_state;
using ringo::detail::kernel;

struct noted : file_operation {
    noted() : file_operation(&note) {}
    noted(io_code c, int descriptor, void* memory = nullptr, std::size_t size = 0) : noted() {
        code = c;
        fd = descriptor;
        address = memory;
        length = static_cast<std::uint32_t>(size);
    }
    static void note(io_operation& op, const io_completion& c) noexcept {
        static_cast<noted&>(op).seen.push_back(c);
    }
    bool ended() const { return !seen.empty() && idle(); }
    int result() const { return seen.back().result; }

    std::vector<io_completion> seen;
};

/// A kernel on this thread, drained at its end.
class machine {
public:
    using maker = std::unique_ptr<kernel> (*)(blocking_pool&, unsigned entries);

    explicit machine(maker make, unsigned entries = 64)
        : pool_(std::make_unique<blocking_pool>()), kernel_(make(*pool_, entries)) {
        kernel_->attach();
    }
    machine(const machine&) = delete;
    machine& operator=(const machine&) = delete;
    ~machine() {
        kernel_->cancel_all();
        until([this] { return kernel_->in_flight() == 0; });
        pool_ = nullptr;
    }

    kernel* operator->() { return kernel_.get(); }
    blocking_pool& pool() { return *pool_; }

    /// Turns until it is so. What never comes shows as a test that hangs.
    template <class Condition>
    void until(Condition so) {
        while (!so()) {
            kernel_->turn(kernel_->now_ns() + 1'000'000);
        }
    }
    void finish(const noted& op) {
        until([&op] { return op.ended(); });
    }
    void submit() { kernel_->turn(0); }

private:
    std::unique_ptr<blocking_pool> pool_;
    std::unique_ptr<kernel> kernel_;
};

class descriptor {
public:
    descriptor() = default;
    explicit descriptor(int fd) : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor() { reset(); }
    void reset() {
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
    }
    operator int() const { return fd_; }

private:
    int fd_ = -1;
};

inline std::pair<descriptor, descriptor> socket_pair() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    return {descriptor(fds[0]), descriptor(fds[1])};
}
inline std::pair<descriptor, descriptor> pipe_pair() {
    int fds[2];
    REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
    return {descriptor(fds[0]), descriptor(fds[1])};
}

inline void put(int fd, std::string_view text) {
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}
/// What lies ready in a socket or pipe.
inline std::string take(int fd) {
    int n = 0;
    REQUIRE(::ioctl(fd, FIONREAD, &n) == 0);
    std::string text(static_cast<std::size_t>(n), '\0');
    REQUIRE(::read(fd, text.data(), text.size()) == n);
    return text;
}

/// A listening Unix socket without a name in the file system.
struct listening {
    listening() : fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        address.sun_family = AF_UNIX;
        length = sizeof(sa_family_t);
        REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0);  // picks a name
        length = sizeof address;
        REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
        REQUIRE(::listen(fd, 128) == 0);
    }
    descriptor connect() const {
        descriptor c(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(c, reinterpret_cast<const sockaddr*>(&address), length) == 0);
        return c;
    }
    descriptor fd;
    sockaddr_un address{};
    socklen_t length = 0;
};

}  // namespace test
