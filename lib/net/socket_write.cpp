// The part of a socket that writes: any number of operations, on any cores.
#include "socket.hpp"

#include "../readiness.hpp"
#include "../shard.hpp"

#include <ringo/detail/arm.hpp>
#include <ringo/detail/selection.hpp>
#include <ringo/error.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/socket.h>

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

void cancel_socket_write(wait& w) noexcept {
    auto& op = static_cast<socket_write&>(w);
    op.home->io().cancel(op.send);
}

}  // namespace

const ringo::detail::wait_type write_wait{"write", &cancel_socket_write};

socket_write::send_operation::send_operation(socket_write& w) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          socket_write& writer = static_cast<send_operation&>(op).owner;
          socket& s = *writer.to;
          if (c.result >= 0) {
              writer.sent = static_cast<std::size_t>(c.result);
          } else if (c.result == -EINTR || c.result == -EAGAIN) {
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

bool socket_write::start() noexcept {
    if (data.empty()) {
        return false;
    }
    if (!to->enter()) {
        self->error = failure_closed;
        return false;
    }
    home = &shard::here();
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
    const ::ssize_t n =
        ::send(to->descriptor(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    const int error = errno;
    to->leave();
    if (n >= 0) {
        sent = static_cast<std::size_t>(n);
        return true;
    }
    if (error == EAGAIN || error == EINTR) {
        return false;
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

}  // namespace

const ringo::detail::arm_type write_operation::arm{
    {"select", nullptr, nullptr, waker::select},
    [](wait&) noexcept -> bias_lock* { return nullptr; },
    [](wait& w, waiter*&) noexcept { return write_of(w).write_now(); },
    &enlist_write,
    &withdraw_write,
};

void socket_write::raise() { raise_failure(*to, "write", self->error); }

}  // namespace ringo::net::detail
