// Copies with a socket at one end or at both. The bytes go through a pipe, where the kernel only
// passes their pages on. What lies in it when the copy ends otherwise than with its source goes
// back there: a socket keeps it for the next read, and a file's position moves back.
#include "../net/socket.hpp"
#include "../open_use.hpp"
#include "kernel_copy.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/net/lease.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace ringo::io::detail {

using ringo::detail::io_code;
using ringo::detail::io_operation;
using ringo::detail::kernel_operation;
using ringo::detail::lent_block;
using ringo::detail::open_use;
using ringo::detail::perform;
using ringo::net::detail::readable_wait;
using ringo::net::detail::socket;

namespace {

constexpr int pipe_bytes = 1 << 20;
constexpr std::size_t file_bytes = 1 << 17;  // while they are in the cache
// Passing pages costs more system calls than it saves copying when they are few.
constexpr ::ssize_t small_bytes = 16384;
constexpr int small_max = 8;  // in a row
constexpr std::uint64_t yield_bytes = std::uint64_t{1} << 20;
constexpr unsigned splice_flags = SPLICE_F_NONBLOCK | SPLICE_F_MOVE;

int fd_of(const kernel_end& e) noexcept {
    return e.stream != nullptr ? e.stream->descriptor() : e.file->fd();
}

std::string name_of(const kernel_end& e) {
    return e.stream == nullptr ? e.file->name()
                               : fmt::format("{}->{}", e.stream->local().to_string(),
                                             e.stream->remote().to_string());
}

/// The end may be closed any moment, but not while this lives.
class use_now {
public:
    explicit use_now(const kernel_end& e) : end_(e) {
        if (e.stream == nullptr) {
            use_.emplace(*e.file, none_, "copy");
        } else if (!e.stream->enter()) {
            throw std::system_error(errc::closed, "copy");
        }
    }
    use_now(const use_now&) = delete;
    use_now& operator=(const use_now&) = delete;
    ~use_now() {
        if (end_.stream != nullptr) {
            end_.stream->leave();
        }
    }

private:
    const kernel_end& end_;
    io_operation none_{nullptr};
    std::optional<open_use> use_;
};

/// At the end of a run a copy may be destroyed after what it copies between.
class kept_end {
public:
    explicit kept_end(const kernel_end& e) noexcept : end_(e) {
        if (e.stream != nullptr) {
            e.stream->retain();
        } else {
            e.file->retain();
        }
    }
    kept_end(const kept_end&) = delete;
    kept_end& operator=(const kept_end&) = delete;
    ~kept_end() {
        if (end_.stream != nullptr) {
            end_.stream->release();
        } else {
            end_.file->release();
        }
    }

private:
    const kernel_end end_;
};

/// Splices never wait for a socket, which needs that.
void make_nonblocking(const kernel_end& e) {
    if (e.stream != nullptr) {
        const use_now use(e);
        const int fd = fd_of(e);
        ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
}

void unread(socket& s, std::string_view bytes) noexcept {
    if (lent_block* const b = ringo::detail::make_block(bytes.size())) {
        bytes.copy(reinterpret_cast<char*>(b->data()), bytes.size());
        s.unread(*b);
    }
}

/// The pipe, and how to give back what is in it.
class passage {
public:
    explicit passage(const kernel_end& source) noexcept : source_(source) {
        if (::pipe2(ends_, O_CLOEXEC | O_NONBLOCK) != 0) {
            ends_[0] = ends_[1] = -1;
            return;
        }
        ::fcntl(ends_[1], F_SETPIPE_SZ, pipe_bytes);  // where not so many are allowed: fewer
    }
    passage(const passage&) = delete;
    passage& operator=(const passage&) = delete;
    ~passage() {
        if (held != 0) {
            give_back();
        }
        for (const int fd : ends_) {
            if (fd >= 0) {
                ::close(fd);
            }
        }
    }

    bool is_open() const noexcept { return ends_[0] >= 0; }
    int out() const noexcept { return ends_[0]; }
    int in() const noexcept { return ends_[1]; }

    std::size_t held = 0;

private:
    void give_back() const noexcept {
        if (source_.stream == nullptr) {
            ::lseek(source_.file->fd(), -static_cast<::off_t>(held), SEEK_CUR);
            return;
        }
        // Without memory they are lost; the copy's bytes() does not count them.
        lent_block* const all = ringo::detail::make_block(held);
        if (all == nullptr) {
            return;
        }
        std::size_t got = 0;
        while (got < held) {
            const ::ssize_t n = ::read(ends_[0], all->data() + got, held - got);
            RINGO_ASSERT(n > 0 || errno == EINTR);
            got += static_cast<std::size_t>(std::max<::ssize_t>(n, 0));
        }
        source_.stream->unread(*all);
    }

    const kernel_end source_;
    int ends_[2] = {-1, -1};
};

/// returns  bytes, or a negative errno
::ssize_t splice_now(int from, int to, std::size_t bytes) noexcept {
    ::ssize_t n = -1;
    do {
        n = ::splice(from, nullptr, to, nullptr, bytes, splice_flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

class socket_copy {
public:
    socket_copy(const kernel_end& to, const kernel_end& from, std::uint64_t& copied) noexcept
        : to_(to), from_(from), copied_(copied) {}

    task<bool> from_pipe();
    task<bool> through(passage& p);

private:
    task<> wait_writable();
    task<::ssize_t> splice_file(ringo::detail::descriptor& file, int from, int to);
    task<::ssize_t> fill(passage& p);
    task<::ssize_t> fill_from_socket(passage& p);
    task<bool> pass_pieces();
    task<> count(std::size_t bytes);
    bool refused(::ssize_t result) const;
    [[noreturn]] void fail(int error) const;

    const kernel_end to_;
    const kernel_end from_;
    std::uint64_t& copied_;
    std::uint64_t since_yield_ = 0;
};

/// True: these two don't go together. throws  every other error
bool socket_copy::refused(::ssize_t result) const {
    const int error = static_cast<int>(-result);
    if (copied_ == 0 && is_refusal(error)) {
        return true;
    }
    fail(error);
}

void socket_copy::fail(int error) const {
    throw std::system_error(error, std::system_category(),
                            fmt::format("copy {} to {}", name_of(from_), name_of(to_)));
}

/// A copy that never waits must not keep the core for itself.
task<> socket_copy::count(std::size_t bytes) {
    copied_ += bytes;
    since_yield_ += bytes;
    if (since_yield_ >= yield_bytes) {
        since_yield_ = 0;
        co_await yield();
    }
}

task<> socket_copy::wait_writable() {
    if (to_.stream == nullptr) {
        co_await wait_for(*to_.file, POLLOUT);
        co_return;
    }
    const use_now use(to_);
    kernel_operation op("copy", io_code::poll, fd_of(to_), nullptr, POLLOUT);
    co_await op;
}

task<bool> socket_copy::from_pipe() {
    while (true) {
        co_await wait_for(*from_.file, POLLIN);
        ::ssize_t n = 0;
        {
            const use_now reads(from_);
            const use_now writes(to_);
            n = splice_now(fd_of(from_), fd_of(to_), pipe_bytes);
        }
        if (n > 0) {
            co_await count(static_cast<std::size_t>(n));
        } else if (n == -EAGAIN) {
            co_await wait_writable();
        } else {
            co_return n == 0 || !refused(n);
        }
    }
}

/// On a kernel thread, for a disk may have to be waited for.
task<::ssize_t> socket_copy::splice_file(ringo::detail::descriptor& file, int from, int to) {
    kernel_operation op(fmt::format("copy {}", file.name()), io_code::file_splice, from, nullptr,
                        file_bytes);
    op.to = to;
    op.flags = splice_flags;
    try {
        co_await perform(file, op, "copy");
    } catch (const std::system_error& e) {
        if (e.code().category() != std::system_category()) {
            throw;
        }
        co_return -e.code().value();
    }
    co_return op.value();
}

task<::ssize_t> socket_copy::fill_from_socket(passage& p) {
    if (co_await readable_wait(*from_.stream)) {
        // Received already: before the copy, or because somebody had waited for it.
        const net::lease b = co_await net::detail::recv_operation(*from_.stream);
        const ::ssize_t n = ::write(p.in(), b.data(), b.size());
        const std::size_t done = static_cast<std::size_t>(std::max<::ssize_t>(n, 0));
        if (done < b.size()) {
            unread(*from_.stream, b.text().substr(done));
        }
        co_return b.empty() ? 0 : n < 0 ? -EAGAIN : n;
    }
    const use_now reads(from_);
    co_return splice_now(fd_of(from_), p.in(), pipe_bytes);
}

task<::ssize_t> socket_copy::fill(passage& p) {
    return from_.stream != nullptr ? fill_from_socket(p)
                                   : splice_file(*from_.file, from_.file->fd(), p.in());
}

/// From socket to socket, as long as small pieces come. False: the source has ended.
task<bool> socket_copy::pass_pieces() {
    while (true) {
        const net::lease b = co_await net::detail::recv_operation(*from_.stream);
        std::string_view rest = b.text();
        try {
            while (!rest.empty()) {
                const std::size_t n = co_await net::detail::write_operation(
                    *to_.stream, std::as_bytes(std::span(rest)));
                copied_ += n;
                rest.remove_prefix(n);
            }
        } catch (const std::system_error& e) {
            unread(*from_.stream, rest);
            if (e.code().category() == std::system_category()) {
                fail(e.code().value());
            }
            throw;
        }
        if (static_cast<::ssize_t>(b.size()) >= small_bytes || b.empty()) {
            co_return !b.empty();
        }
    }
}

task<bool> socket_copy::through(passage& p) {
    const bool sockets = to_.stream != nullptr && from_.stream != nullptr;
    int small = small_max;
    const bool to_file = to_.stream == nullptr && kind_of(to_.file->fd()) == kind::file;
    while (true) {
        if (sockets && small >= small_max) {
            small = 0;
            if (!co_await pass_pieces()) {
                co_return true;
            }
        }
        const ::ssize_t got = co_await fill(p);
        small = got < small_bytes ? small + 1 : 0;
        if (got <= 0 && got != -EAGAIN) {
            co_return got == 0 || !refused(got);
        }
        p.held = static_cast<std::size_t>(std::max<::ssize_t>(got, 0));
        while (p.held != 0) {
            ::ssize_t n = 0;
            if (to_file) {
                n = co_await splice_file(*to_.file, p.out(), to_.file->fd());
            } else {
                const use_now writes(to_);
                n = splice_now(p.out(), fd_of(to_), p.held);
            }
            if (n > 0) {
                p.held -= static_cast<std::size_t>(n);
                co_await count(static_cast<std::size_t>(n));
            } else if (n == -EAGAIN) {
                co_await wait_writable();
            } else {
                co_return !refused(n);
            }
        }
    }
}

}  // namespace

task<bool> copy_with_socket(kernel_end to, kernel_end from, std::uint64_t& copied) {
    const auto usable = [](const kernel_end& e) {
        return e.stream != nullptr || (e.file != nullptr && kind_of(e.file->fd()) != kind::other);
    };
    if (!usable(to) || !usable(from)) {
        co_return false;
    }
    const kept_end keeps_to(to);
    const kept_end keeps_from(from);
    make_nonblocking(to);
    make_nonblocking(from);
    socket_copy copy(to, from, copied);
    if (from.stream == nullptr && kind_of(from.file->fd()) == kind::pipe) {
        co_return co_await copy.from_pipe();
    }
    passage p(from);
    if (!p.is_open()) {
        co_return false;
    }
    co_return co_await copy.through(p);
}

}  // namespace ringo::io::detail
