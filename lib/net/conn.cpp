#include <ringo/net/conn.hpp>

#include "socket.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <system_error>
#include <vector>

#include <sys/socket.h>

namespace ringo::net {

conn::conn(int descriptor) : socket_(new detail::socket(descriptor)) {}

conn::~conn() {
    if (socket_ != nullptr) {
        socket_->close(nullptr);
        socket_->release();
    }
}

detail::socket& conn::open_socket(const char* operation) const {
    if (socket_ == nullptr) {
        ringo::detail::panic(operation);
    }
    return *socket_;
}

detail::read_operation conn::read(mutable_buffer buffer) {
    return detail::read_operation(open_socket("conn: read of one that is not connected"),
                                  buffer.bytes());
}

detail::recv_operation conn::recv() {
    return detail::recv_operation(open_socket("conn: recv of one that is not connected"));
}

detail::write_operation conn::write_some(const_buffer data) {
    return detail::write_operation(open_socket("conn: write to one that is not connected"),
                                   data.bytes());
}

task<> conn::read_exactly(mutable_buffer buffer) {
    const std::span<std::byte> all = buffer.bytes();
    std::size_t done = 0;
    while (done < all.size()) {
        auto rest = all.subspan(done);
        std::size_t n = 0;
        try {
            n = co_await read(rest);
        } catch (const cancelled& e) {
            throw cancelled("read_exactly", done);
        } catch (const deadline_exceeded& e) {
            throw deadline_exceeded("read_exactly", done);
        }
        if (n == 0) {
            throw std::system_error(
                errc::end_of_stream,
                fmt::format("read_exactly {}->{}: {} of {} bytes", local().to_string(),
                            remote().to_string(), done, all.size()));
        }
        done += n;
    }
}

task<> conn::write(const_buffer data) {
    const std::span<const std::byte> all = data.bytes();
    std::size_t done = 0;
    while (done < all.size()) {
        auto rest = all.subspan(done);
        try {
            done += co_await write_some(rest);
        } catch (const cancelled& e) {
            throw cancelled("write", done);
        } catch (const deadline_exceeded& e) {
            throw deadline_exceeded("write", done);
        }
    }
}

detail::gather_operation conn::write_some(std::span<const const_buffer> parts) {
    return {open_socket("conn: write to one that is not connected"), parts, 0};
}

task<> conn::write(std::span<const const_buffer> parts) {
    std::size_t all = 0;
    for (const const_buffer& part : parts) {
        all += part.bytes().size();
    }
    detail::socket& s = open_socket("conn: write to one that is not connected");
    std::size_t done = 0;
    while (done < all) {
        try {
            done += co_await detail::gather_operation(s, parts, done);
        } catch (const cancelled& e) {
            throw cancelled("write", done);
        } catch (const deadline_exceeded& e) {
            throw deadline_exceeded("write", done);
        }
    }
}

task<> conn::write_parts(std::vector<const_buffer> parts) {
    co_await write(std::span<const const_buffer>(parts));
}

void conn::close_write() {
    open_socket("conn: close_write of one that is not connected").shutdown(SHUT_WR);
}

detail::close_operation conn::close() {
    return detail::close_operation(open_socket("conn: close of one that is not connected"));
}

bool conn::is_open() const noexcept { return socket_ != nullptr && !socket_->closed(); }

endpoint conn::local() const {
    return open_socket("conn: local of one that is not connected").local();
}
endpoint conn::remote() const {
    return open_socket("conn: remote of one that is not connected").remote();
}

int conn::descriptor() const noexcept { return is_open() ? socket_->descriptor() : -1; }

namespace {

/// Has `call` done to the descriptor; it returns an errno.
template <class F>
void with_descriptor(detail::socket& s, const char* verb, detail::option_name name, F call) {
    if (!s.enter()) {
        throw std::system_error(errc::closed, fmt::format("{} {}", verb, detail::text_of(name)));
    }
    const int error = call(s.descriptor());
    s.leave();
    if (error != 0) {
        throw std::system_error(error, std::system_category(),
                                fmt::format("{} {} {}->{}", verb, detail::text_of(name),
                                            s.local().to_string(), s.remote().to_string()));
    }
}

}  // namespace

void conn::set_option(detail::option_name name, std::int64_t value) {
    detail::socket& s = open_socket("conn: option of one that is not connected");
    with_descriptor(s, "set", name, [&s, name, value](int fd) {
        return name == detail::option_name::zero_copy ? s.set_zero_copy(value)
                                                      : detail::set_option(fd, name, value);
    });
}

std::int64_t conn::get_option(detail::option_name name) const {
    detail::socket& s = open_socket("conn: option of one that is not connected");
    std::int64_t value = s.zero_copy();
    with_descriptor(s, "get", name, [&](int fd) {
        return name == detail::option_name::zero_copy ? 0 : detail::get_option(fd, name, value);
    });
    return value;
}

void conn::set_no_delay(bool on) {
    if (!local().is_unix()) {
        set(no_delay{on});
    }
}

}  // namespace ringo::net
