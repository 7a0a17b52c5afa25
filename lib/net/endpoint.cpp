#include <ringo/net/endpoint.hpp>

#include "address.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace ringo::net {

namespace {

constexpr std::string_view unix_prefix = "unix:";

constexpr const char* has_zero = "there is a zero byte in it";  // C functions would stop there

[[noreturn]] void refuse(std::string_view text, const char* why) {
    throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                            fmt::format("address \"{}\": {}", text, why));
}

template <class Address>
endpoint make(const Address& a) {
    return endpoint(reinterpret_cast<const sockaddr*>(&a), sizeof a);
}

endpoint parse_unix(std::string_view text) {
    const std::string_view path = text.substr(unix_prefix.size());
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    if (path.empty()) {
        refuse(text, "the path is empty");
    }
    if (path.find('\0') != std::string_view::npos) {
        refuse(text, has_zero);
    }
    if (path.size() >= sizeof a.sun_path) {
        refuse(text, "the path is longer than 107 bytes");
    }
    std::memcpy(a.sun_path, path.data(), path.size());
    std::size_t size = offsetof(sockaddr_un, sun_path) + path.size();
    if (path.front() == '@') {
        a.sun_path[0] = '\0';  // the abstract name space: no file, no final zero
    } else {
        ++size;
    }
    return endpoint(reinterpret_cast<const sockaddr*>(&a), size);
}

const sockaddr_un& as_unix(const endpoint& e) {
    return *reinterpret_cast<const sockaddr_un*>(e.address());
}

}  // namespace

namespace detail {

host_and_service split(std::string_view text) {
    if (text.find('\0') != std::string_view::npos) {
        refuse(text, has_zero);
    }
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        refuse(text, "there is no \":port\"");
    }
    std::string_view host = text.substr(0, colon);
    const std::string_view service = text.substr(colon + 1);
    if (service.empty()) {
        refuse(text, "the port is empty");
    }
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string_view::npos) {
        refuse(text, "an IPv6 address must stand in [brackets]");
    }
    return {std::string(host), std::string(service), bracketed};
}

bool is_unix(std::string_view text) noexcept { return text.substr(0, 5) == unix_prefix; }

std::optional<endpoint> parse_numeric(std::string_view text, const host_and_service& parts) {
    std::uint16_t port = 0;
    const char* const end = parts.service.data() + parts.service.size();
    const auto [rest, error] = std::from_chars(parts.service.data(), end, port);
    if (rest != end && error != std::errc::result_out_of_range) {
        return std::nullopt;  // a service's name
    }
    if (error != std::errc()) {
        refuse(text, "the port is not a number from 0 to 65535");
    }
    if (parts.host.empty() && !parts.bracketed) {
        sockaddr_in6 any{};
        any.sin6_family = AF_INET6;
        any.sin6_port = htons(port);
        return make(any);
    }
    const std::string host = parts.host == "localhost" ? "127.0.0.1" : parts.host;
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    if (!parts.bracketed && ::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        return make(v4);
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    if (parts.bracketed) {
        if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) {
            refuse(text, "what stands in brackets is no IPv6 address");
        }
        return make(v6);
    }
    return std::nullopt;
}

void throw_refused(const char* operation, const std::system_error& refusal) {
    std::string_view text = refusal.what();
    const std::string reason = ": " + refusal.code().message();  // will be there again
    if (text.ends_with(reason)) {
        text.remove_suffix(reason.size());
    }
    throw std::system_error(refusal.code(), fmt::format("{} {}", operation, text));
}

}  // namespace detail

endpoint::endpoint(const sockaddr* address, std::size_t size) noexcept
    : size_(size < sizeof storage_ ? size : sizeof storage_) {
    std::memcpy(storage_.data(), address, size_);
}

endpoint endpoint::parse(std::string_view text) {
    if (detail::is_unix(text)) {
        return parse_unix(text);
    }
    const detail::host_and_service parts = detail::split(text);
    const std::optional<endpoint> e = detail::parse_numeric(text, parts);
    if (!e) {
        refuse(text, "it is not numeric; names are for dial");
    }
    return *e;
}

std::string endpoint::to_string() const {
    switch (family()) {
        case AF_INET:
            return fmt::format("{}:{}", host(), port());
        case AF_INET6:
            return fmt::format("[{}]:{}", host(), port());
        case AF_UNIX:
            return fmt::format("{}{}", unix_prefix, host());
        default:
            return {};
    }
}

int endpoint::family() const noexcept {
    return size_ < sizeof(sa_family_t) ? AF_UNSPEC : address()->sa_family;
}

bool endpoint::is_unix() const noexcept { return family() == AF_UNIX; }

std::uint16_t endpoint::port() const noexcept {
    switch (family()) {
        case AF_INET:
            return ntohs(reinterpret_cast<const sockaddr_in*>(address())->sin_port);
        case AF_INET6:
            return ntohs(reinterpret_cast<const sockaddr_in6*>(address())->sin6_port);
        default:
            return 0;
    }
}

std::string endpoint::host() const {
    char text[INET6_ADDRSTRLEN] = {};
    switch (family()) {
        case AF_INET:
            return ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address())->sin_addr,
                               text, sizeof text);
        case AF_INET6:
            return ::inet_ntop(AF_INET6,
                               &reinterpret_cast<const sockaddr_in6*>(address())->sin6_addr, text,
                               sizeof text);
        case AF_UNIX: {
            const std::size_t length = size_ - offsetof(sockaddr_un, sun_path);
            if (length == 0) {
                return {};  // an unnamed socket
            }
            const char* const path = as_unix(*this).sun_path;
            if (path[0] == '\0') {
                return fmt::format("@{}", std::string_view(path + 1, length - 1));
            }
            return std::string(path, ::strnlen(path, length));
        }
        default:
            return {};
    }
}

const sockaddr* endpoint::address() const noexcept {
    return reinterpret_cast<const sockaddr*>(storage_.data());
}

bool operator==(const endpoint& a, const endpoint& b) noexcept {
    return a.size_ == b.size_ && std::memcmp(a.storage_.data(), b.storage_.data(), a.size_) == 0;
}

}  // namespace ringo::net
