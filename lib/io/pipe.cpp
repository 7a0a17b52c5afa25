#include <ringo/io/pipe.hpp>

#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace ringo::io {

namespace detail {

using ringo::detail::polled_io;
using ringo::detail::polled_type;

namespace {

int attempt_read(polled_io& p) noexcept {
    auto& r = static_cast<pipe_io&>(p);
    const ::ssize_t n = ::read(r.on().fd(), r.data, r.size);
    r.done = n < 0 ? 0 : static_cast<std::size_t>(n);
    return n < 0 ? errno : 0;
}

int attempt_write(polled_io& p) noexcept {
    auto& w = static_cast<pipe_io&>(p);
    const ::ssize_t n = ::write(w.on().fd(), w.data, w.size);
    w.done = n < 0 ? 0 : static_cast<std::size_t>(n);
    return n < 0 ? errno : 0;
}

}  // namespace

const polled_type pipe_read_wait("pipe read", POLLIN, &attempt_read);
const polled_type pipe_write_wait("pipe write", POLLOUT, &attempt_write);

void pipe_io::raise() {
    const char* const name = &what() == &pipe_write_wait ? "write" : "read";
    ringo::detail::throw_failure(self->error,
                                 has_errno() ? fmt::format("{} {}", name, on().name()) : name, 0);
}

// --- the ends ---

pipe_end::pipe_end(int fd, std::string name) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        throw std::system_error(errno, std::system_category(), name);
    }
    pipe_ = new ringo::detail::descriptor(fd, std::move(name));
}

void pipe_end::close() noexcept {
    if (ringo::detail::descriptor* const d = std::exchange(pipe_, nullptr)) {
        d->close(nullptr);
        d->release();
    }
}

ringo::detail::descriptor& pipe_end::handle() const {
    if (pipe_ == nullptr) {
        ringo::detail::panic("pipe: use of an end that is not open");
    }
    return *pipe_;
}

}  // namespace detail

detail::pipe_operation pipe_reader::read(mutable_buffer buffer) {
    return {detail::pipe_read_wait, handle(), buffer.bytes().data(), buffer.bytes().size()};
}

detail::pipe_operation pipe_writer::write_some(const_buffer data) {
    return {detail::pipe_write_wait, handle(), const_cast<std::byte*>(data.bytes().data()),
            data.bytes().size()};
}

task<> pipe_writer::write(const_buffer data) {
    const std::span<const std::byte> all = data.bytes();
    std::size_t done = 0;
    while (done < all.size()) {
        const auto rest = all.subspan(done);
        try {
            done += co_await write_some(rest);
        } catch (const cancelled&) {
            throw cancelled("write", done);
        } catch (const deadline_exceeded&) {
            throw deadline_exceeded("write", done);
        }
    }
}

pipe_ends pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) {
        throw std::system_error(errno, std::system_category(), "pipe");
    }
    pipe_reader reader(fds[0], "pipe");
    return {std::move(reader), pipe_writer(fds[1], "pipe")};
}

}  // namespace ringo::io
