#include <ringo/net/options.hpp>

#include <algorithm>
#include <cerrno>
#include <limits>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace ringo::net::detail {

namespace {

struct row {
    const char* text;
    int level;
    int option;
};

// In the order of option_name.
constexpr row rows[] = {
    {"no_delay", IPPROTO_TCP, TCP_NODELAY},
    {"quick_ack", IPPROTO_TCP, TCP_QUICKACK},
    {"keep_alive", SOL_SOCKET, SO_KEEPALIVE},
    {"keep_alive_idle", IPPROTO_TCP, TCP_KEEPIDLE},
    {"keep_alive_interval", IPPROTO_TCP, TCP_KEEPINTVL},
    {"keep_alive_count", IPPROTO_TCP, TCP_KEEPCNT},
    {"user_timeout", IPPROTO_TCP, TCP_USER_TIMEOUT},
    {"linger", SOL_SOCKET, SO_LINGER},
    {"receive_buffer", SOL_SOCKET, SO_RCVBUF},
    {"send_buffer", SOL_SOCKET, SO_SNDBUF},
    {"broadcast", SOL_SOCKET, SO_BROADCAST},
    {"zero_copy", -1, -1},  // ringo's own, of a conn; here refused as the system refuses others
};

const row& row_of(option_name name) noexcept { return rows[static_cast<std::size_t>(name)]; }

int to_int(std::int64_t value) noexcept {
    using limits = std::numeric_limits<int>;
    return static_cast<int>(std::clamp<std::int64_t>(value, limits::min(), limits::max()));
}

}  // namespace

const char* text_of(option_name name) noexcept { return row_of(name).text; }

int set_option(int descriptor, option_name name, std::int64_t value) noexcept {
    const row& r = row_of(name);
    const int number = to_int(value);
    const ::linger lingers{.l_onoff = value >= 0, .l_linger = std::max(number, 0)};
    const bool is_linger = name == option_name::linger;
    const void* const data = is_linger ? static_cast<const void*>(&lingers) : &number;
    const auto size = static_cast<socklen_t>(is_linger ? sizeof lingers : sizeof number);
    return ::setsockopt(descriptor, r.level, r.option, data, size) == 0 ? 0 : errno;
}

int get_option(int descriptor, option_name name, std::int64_t& value) noexcept {
    const row& r = row_of(name);
    int number = 0;
    ::linger lingers{};
    const bool is_linger = name == option_name::linger;
    void* const data = is_linger ? static_cast<void*>(&lingers) : &number;
    auto size = static_cast<socklen_t>(is_linger ? sizeof lingers : sizeof number);
    if (::getsockopt(descriptor, r.level, r.option, data, &size) != 0) {
        return errno;
    }
    value = !is_linger ? number : lingers.l_onoff != 0 ? lingers.l_linger : -1;
    return 0;
}

}  // namespace ringo::net::detail
