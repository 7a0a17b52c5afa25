// Options of sockets, by type: c.set(net::keep_alive{true}), c.get<net::send_buffer>().
#pragma once

#include <chrono>
#include <cstdint>

namespace ringo::net {

namespace detail {

enum class option_name : std::uint8_t {
    no_delay,
    quick_ack,
    keep_alive,
    keep_alive_idle,
    keep_alive_interval,
    keep_alive_count,
    user_timeout,
    linger,
    receive_buffer,
    send_buffer,
    broadcast,
    zero_copy,
};

template <option_name Name, class Value>
struct option {
    using value_type = Value;
    static constexpr option_name name = Name;

    Value value;
};

constexpr std::int64_t count_of(std::int64_t value) { return value; }
template <class Rep, class Period>
constexpr std::int64_t count_of(std::chrono::duration<Rep, Period> value) {
    return value.count();
}

/// returns  0, or an errno
int set_option(int descriptor, option_name name, std::int64_t value) noexcept;
int get_option(int descriptor, option_name name, std::int64_t& value) noexcept;
const char* text_of(option_name name) noexcept;

}  // namespace detail

/// Small writes are sent at once, not together. On from the start, as in Go.
using no_delay = detail::option<detail::option_name::no_delay, bool>;
/// What arrives is acknowledged at once. The kernel may turn it off again.
using quick_ack = detail::option<detail::option_name::quick_ack, bool>;

/// Whether the peer is asked for a sign of life when it has been silent for `keep_alive_idle`, then
/// every `keep_alive_interval`; after `keep_alive_count` of these in vain, operations fail with
/// ETIMEDOUT.
using keep_alive = detail::option<detail::option_name::keep_alive, bool>;
using keep_alive_idle = detail::option<detail::option_name::keep_alive_idle, std::chrono::seconds>;
using keep_alive_interval =
    detail::option<detail::option_name::keep_alive_interval, std::chrono::seconds>;
using keep_alive_count = detail::option<detail::option_name::keep_alive_count, int>;
/// How long what was sent may go without acknowledgement before operations fail with ETIMEDOUT; 0:
/// the system's choice.
using user_timeout = detail::option<detail::option_name::user_timeout, std::chrono::milliseconds>;

/// 0: closing resets the connection and drops what was not sent yet. Negative, which is what it is
/// from the start: off. More blocks a core when the socket is closed, so don't.
using linger = detail::option<detail::option_name::linger, std::chrono::seconds>;

/// Bytes of the kernel's buffers. Linux makes twice as many of them, and says so.
using receive_buffer = detail::option<detail::option_name::receive_buffer, int>;
using send_buffer = detail::option<detail::option_name::send_buffer, int>;

/// Writes to a TCP connection of at least so many bytes are sent from where they lie, without being
/// copied into the kernel; 0, which is what it is from the start: none is. Such a write ends when
/// the network has let go of the buffer, that is when the peer has acknowledged all of it; also when
/// it is cancelled, so set `user_timeout`, too. Where the kernel cannot (epoll, before 6.1, a Unix
/// socket), and in a select, it is an ordinary write.
///
/// cost     pays only where a network device reads the memory itself. Over loopback and veth the
///          kernel copies all the same, and of 16 KiB to 1 MiB no size pays: sender's CPU in s/GB,
///          ordinary and zero copy, loopback 0.59 and 2.60 at 16 KiB, 0.29 and 0.60 at 1 MiB; veth
///          0.80 and 1.55, 0.38 and 0.55. Measure before setting it
using zero_copy = detail::option<detail::option_name::zero_copy, std::int64_t>;

/// Whether datagrams may go to broadcast addresses. On from the start, as in Go.
using broadcast = detail::option<detail::option_name::broadcast, bool>;

}  // namespace ringo::net
