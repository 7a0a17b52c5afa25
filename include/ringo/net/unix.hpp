// Unix sockets: datagrams, and descriptors that go from one process to another.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/net/conn.hpp>
#include <ringo/net/endpoint.hpp>
#include <ringo/net/udp.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ringo::net {

/// A descriptor that is closed with its owner.
class owned_descriptor {
public:
    owned_descriptor() noexcept = default;
    explicit owned_descriptor(int fd) noexcept : fd_(fd) {}
    owned_descriptor(owned_descriptor&& other) noexcept : fd_(other.release()) {}
    owned_descriptor& operator=(owned_descriptor&& other) noexcept {
        owned_descriptor taken(std::move(other));
        std::swap(fd_, taken.fd_);
        return *this;
    }
    ~owned_descriptor() {
        if (fd_ >= 0) {
            close();
        }
    }

    explicit operator bool() const noexcept { return fd_ >= 0; }
    [[nodiscard]] int get() const noexcept { return fd_; }
    /// The caller's from here on.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

private:
    void close() const noexcept;

    int fd_ = -1;
};

/// A datagram socket with an address of its own.
///
/// takes    "unix:/run/x.sock", "unix:@abstract". A file that no socket has open is replaced
/// throws   std::system_error that names the address
/// core     any
/// follows  Go net.ListenUnixgram
[[nodiscard]] datagram_socket listen_unixgram(std::string_view address);
[[nodiscard]] datagram_socket listen_unixgram(const endpoint& where);

/// ... that is connected to one. It gets an abstract address, so that it can be answered.
///
/// follows  Go net.DialUnix
[[nodiscard]] datagram_socket dial_unixgram(std::string_view address);
[[nodiscard]] datagram_socket dial_unixgram(const endpoint& to);

/// What recv_with has received.
struct received_with {
    std::size_t bytes = 0;
    std::vector<owned_descriptor> descriptors;  // close-on-exec
    // Some more came, but this process could not have them: its limit of open files is reached.
    bool some_lost = false;
    endpoint from;  // of a datagram
};

/// Sends descriptors of this process through a Unix socket, with at least one byte of data; they
/// stay open here. The other side gets its own ones, with the first byte, if it uses recv_with:
/// a plain read drops them.
///
/// takes    at most 253 descriptors
/// throws   EOPNOTSUPP: it is no Unix socket; EBADF; as write and send_to
/// cancel   as for write: `bytes()` says how far it got, and with the first byte went all descriptors
/// follows  Go net.UnixConn.WriteMsgUnix
[[nodiscard]] task<> send_with(conn& c, const_buffer data, std::span<const int> descriptors);
/// takes    where to, unless the socket is connected
[[nodiscard]] task<> send_with(datagram_socket& s, const_buffer data,
                               std::span<const int> descriptors, endpoint to = {});

/// Receives bytes and the descriptors that came with them. Nobody else may read a conn meanwhile.
///
/// returns  as read and recv_from; 0 bytes of a conn: the end of the stream
/// throws   as read and recv_from
/// follows  Go net.UnixConn.ReadMsgUnix
[[nodiscard]] task<received_with> recv_with(conn& c, mutable_buffer buffer);
[[nodiscard]] task<received_with> recv_with(datagram_socket& s, mutable_buffer buffer);

}  // namespace ringo::net
