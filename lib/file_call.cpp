#include "file_call.hpp"

#include <ringo/detail/panic.hpp>

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ringo::detail {

namespace {

::ssize_t call_file(const file_operation& op) noexcept {
    const auto* const path = static_cast<const char*>(op.address);
    const auto* const other = static_cast<const char*>(op.other);
    switch (op.code) {
        case io_code::file_read:
            return op.offset < 0 ? ::read(op.fd, op.address, op.length)
                                 : ::pread(op.fd, op.address, op.length, op.offset);
        case io_code::file_write:
            return op.offset < 0 ? ::write(op.fd, op.address, op.length)
                                 : ::pwrite(op.fd, op.address, op.length, op.offset);
        case io_code::file_sync:
            return op.flags != 0 ? ::fdatasync(op.fd) : ::fsync(op.fd);
        case io_code::file_open:
            return ::openat(op.fd, path, op.flags | O_CLOEXEC, op.length);
        case io_code::file_stat:
            return ::statx(op.fd, path, op.flags, op.length, static_cast<struct statx*>(op.other));
        case io_code::file_rename:
            return ::renameat2(op.fd, path, op.fd, other, static_cast<unsigned>(op.flags));
        case io_code::file_remove:
            return ::unlinkat(op.fd, path, op.flags);
        case io_code::file_make_dir:
            return ::mkdirat(op.fd, path, op.length);
        case io_code::file_symlink:
            return ::symlinkat(other, op.fd, path);
        case io_code::file_splice:
            return ::splice(op.fd, nullptr, op.to, nullptr, op.length,
                            static_cast<unsigned>(op.flags));
        default:
            panic("ringo is wrong, please report: not an operation on files");
    }
}

::ssize_t call(const io_operation& op) noexcept {
    switch (op.code) {
        case io_code::connect:
            return ::connect(op.fd, static_cast<const sockaddr*>(op.address), op.length);
        case io_code::file_close:
            return ::close(op.fd);
        default:
            return call_file(static_cast<const file_operation&>(op));
    }
}

}  // namespace

int call_now(const io_operation& op) noexcept {
    const ::ssize_t result = call(op);
    return result < 0 ? -errno : static_cast<int>(result);
}

}  // namespace ringo::detail
