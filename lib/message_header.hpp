// What a datagram has before its bytes in a pooled buffer.
#pragma once

#include <ringo/detail/lent.hpp>

#include <cstddef>
#include <cstdint>

#include <sys/socket.h>
#include <sys/uio.h>

namespace ringo::detail {

// Kernel: this is a struct io_uring_recvmsg_out, and the room for the name that is asked for.
// No address takes more of that than a sockaddr_un, so what follows is the holder's.
struct message_header {
    static constexpr std::size_t name_max = 112;

    std::byte* bytes() noexcept { return reinterpret_cast<std::byte*>(this + 1); }

    std::uint32_t name_length;     // of the sender's address; 0: it has none
    std::uint32_t control_length;  // 0: nothing of that is asked for
    std::uint32_t length;          // of the datagram, which may be more than there is room for
    std::uint32_t flags;
    alignas(8) std::byte name[name_max];

    message_header* next;
    lent* owner;
};

static_assert(sizeof(message_header) == 16 + sizeof(sockaddr_storage));

/// Receives a datagram, with its header, into `buffer` of `size`. Does not wait.
///
/// returns  as recvmsg(2): -1 and errno, or how many of its bytes have come
inline ::ssize_t receive_message(int fd, std::byte* buffer, std::size_t size) noexcept {
    auto& h = *reinterpret_cast<message_header*>(buffer);
    iovec data{.iov_base = h.bytes(), .iov_len = size - sizeof h};
    msghdr m{};
    m.msg_name = h.name;
    m.msg_namelen = message_header::name_max;
    m.msg_iov = &data;
    m.msg_iovlen = 1;
    const ::ssize_t n = ::recvmsg(fd, &m, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0) {
        return n;
    }
    h.name_length = m.msg_namelen;
    h.control_length = 0;
    h.length = static_cast<std::uint32_t>(n);
    h.flags = static_cast<std::uint32_t>(m.msg_flags);
    return h.length < data.iov_len ? n : static_cast<::ssize_t>(data.iov_len);
}

}  // namespace ringo::detail
