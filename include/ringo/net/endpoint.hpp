// endpoint: where a socket is, or connects to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

struct sockaddr;

namespace ringo::net {

/// An IPv4 or IPv6 address with a port, or the path of a Unix socket.
class endpoint {
public:
    /// No address at all; prints as "".
    endpoint() noexcept = default;
    /// takes    a system's socket address of `size` bytes
    endpoint(const sockaddr* address, std::size_t size) noexcept;

    /// takes    "127.0.0.1:80", "[::1]:80", ":80" (every address), "localhost:80",
    ///          "unix:/run/x.sock", "unix:@abstract"
    /// throws   std::system_error, invalid_argument, with the text and what is wrong with it
    static endpoint parse(std::string_view text);

    /// The form that `parse` takes.
    [[nodiscard]] std::string to_string() const;

    [[nodiscard]] bool is_unix() const noexcept;
    /// 0 for Unix sockets.
    [[nodiscard]] std::uint16_t port() const noexcept;
    /// The address without the port; the path of a Unix socket.
    [[nodiscard]] std::string host() const;

    [[nodiscard]] const sockaddr* address() const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] int family() const noexcept;

    friend bool operator==(const endpoint& a, const endpoint& b) noexcept;

private:
    alignas(8) std::array<std::byte, 112> storage_{};  // holds the largest, sockaddr_un
    std::size_t size_ = 0;
};

}  // namespace ringo::net
