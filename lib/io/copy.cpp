// Copies that stay in the kernel.
#include "../open_use.hpp"
#include "kernel_copy.hpp"

#include <ringo/blocking.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ringo::io::detail {

using ringo::detail::descriptor;
using ringo::detail::io_code;
using ringo::detail::io_operation;
using ringo::detail::kernel_operation;
using ringo::detail::open_use;
using ringo::detail::perform;

namespace {

constexpr std::size_t file_step = std::size_t{8} << 20;
constexpr std::size_t pipe_step = std::size_t{1} << 20;

}  // namespace

kind kind_of(int fd) noexcept {
    struct stat s {};
    if (::fstat(fd, &s) != 0) {
        return kind::other;
    }
    return S_ISREG(s.st_mode) ? kind::file : S_ISFIFO(s.st_mode) ? kind::pipe : kind::other;
}

bool is_refusal(int error) noexcept {
    return error == EINVAL || error == EXDEV || error == ENOSYS || error == EOPNOTSUPP ||
           error == EBADF || error == EPERM;
}

namespace {

/// Blocks. returns  bytes, or a negative errno
::ssize_t copy_range(int from, int to) noexcept {
    const ::ssize_t n = ::copy_file_range(from, nullptr, to, nullptr, file_step, 0);
    return n < 0 ? -errno : n;
}

task<bool> copy_files(descriptor& to, descriptor& from, std::uint64_t& copied) {
    io_operation none(nullptr);
    const open_use reads(from, none, "copy");
    const open_use writes(to, none, "copy");
    while (true) {
        auto step = [in = from.fd(), out = to.fd()] { return copy_range(in, out); };
        const ::ssize_t n = co_await blocking(step);
        if (n < 0 && !is_refusal(static_cast<int>(-n))) {
            throw std::system_error(static_cast<int>(-n), std::system_category(),
                                    fmt::format("copy {} to {}", from.name(), to.name()));
        }
        if (n <= 0) {
            // The kernel also finds nothing in files that it makes up, as those in /proc.
            co_return n == 0 && copied != 0;
        }
        copied += static_cast<std::uint64_t>(n);
    }
}

}  // namespace

task<> wait_for(descriptor& d, short events) {
    kernel_operation op(fmt::format("copy {}", d.name()), io_code::poll, d.fd(), nullptr,
                        static_cast<std::size_t>(events));
    co_await perform(d, op, "copy");
}

namespace {

task<bool> splice_all(descriptor& to, descriptor& from, kind to_kind, kind from_kind,
                      std::uint64_t& copied) {
    while (true) {
        // A splice runs on a kernel thread, of which there are few, so it must not wait there.
        if (from_kind == kind::pipe) {
            co_await wait_for(from, POLLIN);
        }
        if (to_kind == kind::pipe) {
            co_await wait_for(to, POLLOUT);
        }
        kernel_operation op(fmt::format("copy {} to {}", from.name(), to.name()),
                            io_code::file_splice, from.fd(), nullptr, pipe_step);
        op.to = to.fd();
        op.flags = SPLICE_F_NONBLOCK | SPLICE_F_MOVE;
        io_operation none(nullptr);
        try {
            const open_use writes(to, none, "copy");
            co_await perform(from, op, "copy");
        } catch (const std::system_error& e) {
            const int error = e.code().category() == std::system_category() ? e.code().value() : 0;
            if (copied == 0 && is_refusal(error)) {
                co_return false;
            }
            if (error != EAGAIN) {  // somebody else was faster
                throw;
            }
        }
        if (op.value() == 0) {
            co_return true;
        }
        copied += static_cast<std::uint64_t>(std::max(op.value(), 0));
    }
}

task<bool> nothing_copied() { co_return false; }

}  // namespace

task<bool> copy_in_kernel(kernel_end to, kernel_end from, std::uint64_t& copied) {
    if (to.stream != nullptr || from.stream != nullptr) {
        return copy_with_socket(to, from, copied);
    }
    if (to.file == nullptr || from.file == nullptr) {
        return nothing_copied();
    }
    const kind out = kind_of(to.file->fd());
    const kind in = kind_of(from.file->fd());
    if (out == kind::file && in == kind::file) {
        return copy_files(*to.file, *from.file, copied);
    }
    if (out != kind::other && in != kind::other) {
        return splice_all(*to.file, *from.file, out, in, copied);
    }
    return nothing_copied();
}

}  // namespace ringo::io::detail
