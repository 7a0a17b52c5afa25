// copy: from one stream into another.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/detail/descriptor.hpp>
#include <ringo/error.hpp>
#include <ringo/io/stream.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace ringo::net::detail {
class socket;
}

namespace ringo::io {

namespace detail {

/// An end of a copy that the kernel knows: one of the two, or neither when it is not open.
struct kernel_end {
    ringo::detail::descriptor* file = nullptr;
    net::detail::socket* stream = nullptr;
};

/// A stream whose bytes the kernel can move without showing them.
template <class Stream>
concept has_descriptor = requires(Stream& s) {
    { s.handle() } -> std::convertible_to<ringo::detail::descriptor&>;
};
template <class Stream>
concept has_socket = requires(Stream& s) {
    { s.socket() } -> std::convertible_to<net::detail::socket*>;
};
template <class Stream>
concept in_kernel = has_descriptor<Stream> || has_socket<Stream>;

template <in_kernel Stream>
kernel_end end_of(Stream& s) {
    if constexpr (has_descriptor<Stream>) {
        return {.file = &s.handle()};
    } else {
        return {.stream = s.socket()};
    }
}

/// False: the kernel cannot do it for these two, and the rest is to be copied. `copied` counts.
task<bool> copy_in_kernel(kernel_end to, kernel_end from, std::uint64_t& copied);

constexpr std::size_t copy_step = 65536;

template <writable To, readable From>
task<> copy_all(To& to, From& from, std::uint64_t& copied) {
    const std::unique_ptr<std::byte[]> memory(new std::byte[copy_step]);
    const mutable_buffer buffer(memory.get(), copy_step);
    while (const std::size_t n = co_await from.read(buffer)) {
        co_await to.write(const_buffer(memory.get(), n));
        copied += n;
    }
}

}  // namespace detail

/// Copies until `from` ends. Between files the kernel copies; between sockets, files and pipes it
/// passes pages on (splice). It does not end the other stream: `close_write` does.
/// A socket is left non-blocking (O_NONBLOCK), as all of Go's are. That is of no concern to its
/// conn, but to other processes that are given the same socket: a child's standard stream, say.
///
/// returns  how many bytes
/// throws   what the streams throw; cancelled, deadline_exceeded: `bytes()` says how many have
///          been written. What the kernel copies is never lost then: `from` still has the rest.
///          Otherwise up to 64 KiB more may have been read, which are lost.
/// core     any
/// follows  Go io.Copy
template <writable To, readable From>
[[nodiscard]] task<std::uint64_t> copy(To& to, From& from) {
    std::uint64_t copied = 0;
    try {
        bool done = false;
        if constexpr (detail::in_kernel<To> && detail::in_kernel<From>) {
            done =
                co_await detail::copy_in_kernel(detail::end_of(to), detail::end_of(from), copied);
        }
        if (!done) {
            co_await detail::copy_all(to, from, copied);
        }
    } catch (const cancelled& e) {
        throw cancelled("copy", copied + e.bytes());
    } catch (const deadline_exceeded& e) {
        throw deadline_exceeded("copy", copied + e.bytes());
    }
    co_return copied;
}

}  // namespace ringo::io
