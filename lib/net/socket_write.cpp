// The part of a socket that writes: any number of operations, on any cores.
#include "socket.hpp"

#include "../readiness.hpp"
#include "../shard.hpp"

#include <ringo/detail/arm.hpp>
#include <ringo/detail/selection.hpp>
#include <ringo/error.hpp>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace ringo::net::detail {

using ringo::detail::bias_lock;
using ringo::detail::claim_select;
using ringo::detail::context_failure;
using ringo::detail::error_of;
using ringo::detail::failure_closed;
using ringo::detail::io_code;
using ringo::detail::readiness;
using ringo::detail::resume;
using ringo::detail::selection;
using ringo::detail::wait;
using ringo::detail::waiter;
using ringo::detail::wake;
using ringo::detail::waker;

namespace {

std::size_t size_of(const socket_write& w) noexcept {
    if (!w.gathers) {
        return w.data.size();
    }
    const auto& m = *static_cast<const msghdr*>(w.send.address);
    std::size_t all = 0;
    for (std::size_t i = 0; i < m.msg_iovlen; ++i) {
        all += m.msg_iov[i].iov_len;
    }
    return all;
}

/// What a socket, or the system's limits, may say to sending without a copy alone.
bool sends_again(socket_write& w, int result) noexcept {
    const bool in_place =
        w.send.code == io_code::send_zero_copy || w.send.code == io_code::send_message_zero_copy;
    if (!in_place || (result != -EOPNOTSUPP && result != -ENOMEM && result != -ENOBUFS)) {
        return false;
    }
    w.send.code = w.gathers ? io_code::send_message : io_code::send;
    return true;
}

void cancel_socket_write(wait& w) noexcept {
    auto& op = static_cast<socket_write&>(w);
    op.home->io().cancel(op.send);
}

}  // namespace

const ringo::detail::wait_type write_wait{
    "write", &cancel_socket_write, nullptr, waker::goroutine,
    [](const wait& w, ringo::detail::wait_state& s) noexcept {
        s.fd = static_cast<const socket_write&>(w).to->descriptor();
    }};

socket_write::send_operation::send_operation(socket_write& w) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          socket_write& writer = static_cast<send_operation&>(op).owner;
          socket& s = *writer.to;
          if (c.result >= 0) {
              writer.sent = static_cast<std::size_t>(c.result);
          } else if (c.result == -EINTR || c.result == -EAGAIN || sends_again(writer, c.result)) {
              writer.home->io().start(op);
              return;
          } else if (s.closed()) {
              writer.self->error = failure_closed;
          } else if (c.result == -ECANCELED) {
              writer.self->error = context_failure(*writer.self);
          } else {
              writer.self->error = static_cast<std::uint8_t>(-c.result);
          }
          wake(*writer.self);
          s.leave();
      }),
      owner(w) {
    code = io_code::send;
    fd = w.to->descriptor();
    address = const_cast<std::byte*>(w.data.data());
    length = static_cast<std::uint32_t>(std::min<std::size_t>(w.data.size(), 1U << 30));
}

socket_write::socket_write(socket& s, std::span<const std::byte> what) noexcept
    : waiter(write_wait), to(&s), data(what), send(*this) {}

// `data` is the first part that there is, so that an empty one means that all is empty.
gather_write::gather_write(socket& s, std::span<const const_buffer> what, std::size_t skip) noexcept
    : socket_write(s, {}), parts(what), skipped(skip) {
    static_assert(sizeof(header_) == sizeof(msghdr) && sizeof(vector_[0]) == sizeof(iovec));
    auto* const vector = reinterpret_cast<iovec*>(vector_);
    std::size_t n = 0;
    for (const const_buffer& part : parts) {
        const std::size_t left_out = std::min(skip, part.bytes().size());
        skip -= left_out;
        const auto rest = part.bytes().subspan(left_out);
        if (rest.empty()) {
            continue;
        }
        data = n == 0 ? rest : data;
        new (&vector[n++]) iovec{const_cast<std::byte*>(rest.data()), rest.size()};
        if (n == parts_max) {
            break;
        }
    }
    auto* const header = new (&header_) msghdr{};
    header->msg_iov = vector;
    header->msg_iovlen = n;
    gathers = true;
    send.code = io_code::send_message;
    send.address = header;
}

bool socket_write::start() noexcept {
    if (data.empty()) {
        return false;
    }
    if (!to->enter()) {
        self->error = failure_closed;
        return false;
    }
    home = &shard::here();
    const std::size_t bytes = size_of(*this);
    if (to->sends_in_place(bytes) && home->io().has_zero_copy()) [[unlikely]] {
        send.code = gathers ? io_code::send_message_zero_copy : io_code::send_zero_copy;
    } else if (bytes >= large_bytes && home->io().may_write_at_once(bytes) && write_now()) {
        to->leave();
        return false;
    }
    home->io().start(send);
    return true;
}

bool socket_write::write_now() noexcept {
    if (data.empty()) {
        return true;
    }
    if (!to->enter()) {
        error_of(*this) = failure_closed;
        return true;
    }
    shard::here().count_system_call();
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const ::ssize_t n =
        gathers ? ::sendmsg(to->descriptor(), static_cast<const msghdr*>(send.address), flags)
                : ::send(to->descriptor(), data.data(), data.size(), flags);
    const int error = errno;
    to->leave();
    if (n < 0 && (error == EAGAIN || error == EINTR)) {
        return false;
    }
    auto& counts = shard::here().io().counts;
    counts.started(send);
    counts.completed(send, {.result = n < 0 ? -error : static_cast<int>(n), .more = false});
    if (n >= 0) {
        sent = static_cast<std::size_t>(n);
        return true;
    }
    error_of(*this) = static_cast<std::uint8_t>(to->closed() ? int{failure_closed} : error);
    return true;
}

/// Tells an arm when the socket may take something. It is one of the socket's operations.
class write_poll : public readiness {
public:
    explicit write_poll(socket_write& w) noexcept
        : readiness(w.to->descriptor(), POLLOUT, &w, &completed), on_(*w.to) {}

private:
    static void completed(io_operation& op, const io_completion& c) noexcept {
        auto& me = static_cast<write_poll&>(op);
        if (me.waits == nullptr || me.offer(static_cast<socket_write&>(*me.waits), c.result)) {
            socket& s = me.on_;
            delete &me;
            s.leave();
        } else {
            shard::here().io().start(me);
        }
    }
    /// False: nothing can be written after all.
    static bool offer(socket_write& w, int polled) noexcept {
        selection& s = *w.select;
        if (s.try_claim()) {
            if (polled < 0) {
                error_of(w) = static_cast<std::uint8_t>(-polled);
            } else if (!w.write_now()) {
                s.decide(nullptr);
                return false;
            }
            s.decide(&w);
            resume(&w);
        }
        w.polled = nullptr;
        return true;
    }

    socket& on_;
};

namespace {

socket_write& write_of(wait& w) noexcept { return static_cast<socket_write&>(w); }

void enlist_write(wait& w) noexcept {
    socket_write& op = write_of(w);
    if (op.to->enter()) {
        op.polled = new write_poll(op);
        shard::here().io().start(*op.polled);
    } else if (claim_select(op)) {  // closed since the attempt
        error_of(op) = failure_closed;
        resume(&op);
    }
}

void withdraw_write(wait& w) noexcept {
    if (write_poll* const p = std::exchange(write_of(w).polled, nullptr)) {
        p->waits = nullptr;
        shard::here().io().cancel(*p);
    }
}

constexpr ringo::detail::arm_type write_arm{
    {"select", nullptr, nullptr, waker::select},
    [](wait&) noexcept -> bias_lock* { return nullptr; },
    [](wait& w, waiter*&) noexcept { return write_of(w).write_now(); },
    &enlist_write,
    &withdraw_write,
};

}  // namespace

const ringo::detail::arm_type write_operation::arm = write_arm;
const ringo::detail::arm_type gather_operation::arm = write_arm;

void socket_write::raise() { raise_failure(*to, "write", self->error); }

}  // namespace ringo::net::detail
