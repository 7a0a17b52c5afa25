#include "acceptor.hpp"

#include "../shard.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace ringo::net::detail {

using ringo::detail::context_failure;
using ringo::detail::failure_closed;
using ringo::detail::io_code;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::message;
using ringo::detail::shard;
using ringo::detail::timer_entry;
using ringo::detail::wait;
using ringo::detail::wake;

namespace {

// As Go's net/http does when descriptors run out.
constexpr std::int64_t pause_ns_first = 5'000'000;
constexpr std::int64_t pause_ns_max = 1'000'000'000;

void cancel_socket_accept(wait& w) noexcept {
    auto& a = static_cast<socket_accept&>(w);
    a.from->cancel_accept(a);
}

/// Whether the failure is of one connection, and the next may do better.
bool passes(int error) noexcept {
    switch (error) {
        case ECONNABORTED:
        case EINTR:
        case EAGAIN:
        case EPROTO:
        case EPERM:
        case ENETDOWN:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case ENONET:
        case ENOPROTOOPT:
        case EOPNOTSUPP:
            return true;
        default:
            return false;
    }
}

bool out_of_resources(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

const ringo::detail::wait_type accept_wait{"accept", &cancel_socket_accept};

const ringo::detail::wait_type acceptor::pause_timer::pause_wait{
    "pause", nullptr, [](wait& t) noexcept {
        acceptor& self = static_cast<pause_timer&>(t).owner;
        self.pausing_ = false;
        self.rearm();
    }};

acceptor::accept_io::accept_io(acceptor& a) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          static_cast<accept_io&>(op).owner.accepted(c);
      }),
      owner(a) {
    fd = a.fd_;
}

acceptor::pause_timer::pause_timer(acceptor& a) noexcept : timer_entry(pause_wait), owner(a) {}

acceptor::acceptor(int descriptor, endpoint where) noexcept : fd_(descriptor), local_(where) {}

acceptor::~acceptor() {
    for (const int fd : ready_) {
        ::close(fd);
    }
    ::close(fd_);
}

void acceptor::release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete this;
    }
}

// --- any core ---

struct acceptor::errand : message {
    errand(acceptor& s, socket_accept* a, action f) noexcept : message(f), owner(s), waiter(a) {}
    acceptor& owner;
    socket_accept* waiter;
};

template <void (acceptor::*Do)(socket_accept*) noexcept>
void acceptor::send_home(shard& to, socket_accept* a) noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);
    to.post(*new errand(*this, a, [](message& m) noexcept {
        auto& self = static_cast<errand&>(m);
        acceptor& owner = self.owner;
        socket_accept* const waiter = self.waiter;
        delete &self;
        (owner.*Do)(waiter);
        owner.release();
    }));
}

bool acceptor::accept(socket_accept& a) noexcept {
    if (closed_.load(std::memory_order_acquire)) {
        a.self->error = failure_closed;
        return false;
    }
    shard& here = shard::here();
    shard* home = nullptr;
    // seq_cst: pairs with close(). We make a home, then look whether it is closed; it closes, then
    // looks for a home. One of the two sees the other.
    if (home_.compare_exchange_strong(home, &here, std::memory_order_seq_cst)) {
        here.add_resident(*this);
        home = &here;
    }
    if (home == &here) {
        return begin(a);
    }
    send_home<&acceptor::take_in>(*home, &a);
    return true;
}

void acceptor::cancel_accept(socket_accept& a) noexcept {
    shard* const home = home_.load(std::memory_order_acquire);
    if (home == shard::this_thread()) {
        give_up(&a);
    } else if (home != nullptr) {
        send_home<&acceptor::give_up>(*home, &a);
    }
}

void acceptor::close() noexcept {
    if (closed_.exchange(true, std::memory_order_seq_cst)) {
        return;
    }
    // New connections are refused from here on, and the address is free, not only from the last
    // reference on.
    ::shutdown(fd_, SHUT_RDWR);
    shard* const home = home_.load(std::memory_order_seq_cst);
    if (home == shard::this_thread() && home != nullptr) {
        stop(nullptr);
    } else if (home != nullptr) {
        send_home<&acceptor::stop>(*home, nullptr);
    }
}

// --- the home core ---

bool acceptor::begin(socket_accept& a) noexcept {
    if (closed_.load(std::memory_order_seq_cst)) {
        a.self->error = failure_closed;
        settle();
        return false;
    }
    if (!ready_.empty()) {
        a.accepted = ready_.front();
        ready_.pop_front();
        return false;
    }
    a.next = nullptr;
    *last_ = &a;
    last_ = &a.next;
    rearm();
    return true;
}

void acceptor::take_in(socket_accept* a) noexcept {
    if (!begin(*a)) {
        wake(*a->self);
    }
}

void acceptor::rearm() noexcept {
    if (!io_.idle() || pausing_ || first_ == nullptr || closed_.load(std::memory_order_acquire)) {
        return;
    }
    auto& kernel = shard::here().io();
    io_.code = kernel.has_multishot() ? io_code::accept_multishot : io_code::accept;
    references_.fetch_add(1, std::memory_order_relaxed);
    kernel.start(io_);
}

void acceptor::end(socket_accept& a, int error) noexcept {
    a.self->error = static_cast<std::uint8_t>(error);
    wake(*a.self);
}

void acceptor::accepted(const io_completion& c) noexcept {
    if (c.result >= 0) {
        pause_ns_ = 0;
        if (first_ != nullptr) {
            socket_accept& a = *first_;
            first_ = a.next;
            if (first_ == nullptr) {
                last_ = &first_;
            }
            a.accepted = c.result;
            end(a, 0);
        } else if (closed_.load(std::memory_order_acquire)) {
            ::close(c.result);
        } else {
            ready_.push_back(c.result);
            if (ready_.size() >= waiting_max) {
                shard::here().io().cancel(io_);
            }
        }
    } else if (c.result != -ECANCELED) {
        failed(-c.result);
    }
    if (!c.more) {
        rearm();
        settle();
        release();
    }
}

void acceptor::failed(int error) noexcept {
    if (out_of_resources(error)) {
        // Trying at once would spin: the connection stays in the kernel's queue.
        pause_ns_ = std::clamp(pause_ns_ * 2, pause_ns_first, pause_ns_max);
        pause_.deadline_ns = shard::here().now_ns() + pause_ns_;
        pausing_ = true;
        shard::here().timers.add(pause_);
    } else if (closed_.load(std::memory_order_acquire)) {
        end_all(failure_closed);  // close() is what the kernel complains about
    } else if (!passes(error)) {
        end_all(error);
    }
}

void acceptor::give_up(socket_accept* a) noexcept {
    for (socket_accept** link = &first_; *link != nullptr; link = &(*link)->next) {
        if (*link == a) {
            *link = a->next;
            if (*link == nullptr) {
                last_ = link;
            }
            end(*a, context_failure(*a->self));
            return;
        }
    }
}

void acceptor::end_all(int error) noexcept {
    for (socket_accept* a = std::exchange(first_, nullptr); a != nullptr;) {
        socket_accept* const next = a->next;
        end(*a, error);
        a = next;
    }
    last_ = &first_;
}

void acceptor::stop(socket_accept*) noexcept {
    if (home_.load(std::memory_order_relaxed) != shard::this_thread()) {
        return;  // it left its home while this was on its way
    }
    end_all(failure_closed);
    settle();
    shard::here().io().cancel(io_);
}

/// Leaves its home for good, when it is closed and the kernel accepts no more for it. An accept
/// may find that: it made its core the home while another core closed the listener.
void acceptor::settle() noexcept {
    if (closed_.load(std::memory_order_acquire) && io_.idle() &&
        home_.load(std::memory_order_relaxed) == shard::this_thread()) {
        core_ends();
    }
}

void acceptor::core_ends() noexcept {
    if (std::exchange(pausing_, false)) {
        shard::here().timers.remove(pause_);
    }
    shard::here().remove_resident(*this);
    home_.store(nullptr, std::memory_order_release);
}

// --- operations ---

socket_accept::socket_accept(acceptor& a) noexcept : wait(accept_wait), from(&a) {}

socket_accept::~socket_accept() {
    if (accepted >= 0) {
        ::close(accepted);
    }
}

bool socket_accept::start() noexcept { return from->accept(*this); }

void socket_accept::raise() {
    ringo::detail::throw_failure(self->error,
                                 self->error < ringo::detail::failure_cancelled
                                     ? fmt::format("accept {}", from->local().to_string())
                                     : "accept",
                                 0);
}

}  // namespace ringo::net::detail
