#include "acceptor.hpp"

#include "../shard.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ringo::net::detail {

using ringo::detail::bias_guard;
using ringo::detail::cancel_waiter;
using ringo::detail::error_of;
using ringo::detail::failure_closed;
using ringo::detail::io_code;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::message;
using ringo::detail::orphan;
using ringo::detail::shard;
using ringo::detail::timer_entry;
using ringo::detail::wait;
using ringo::detail::waiter;
using ringo::detail::waker;
using ringo::detail::withdraw_waiter;
using ringo::detail::woken_list;

namespace {

// As Go's net/http does when descriptors run out.
constexpr std::int64_t pause_ns_first = 5'000'000;
constexpr std::int64_t pause_ns_max = 1'000'000'000;

socket_accept& accept_of(wait& w) noexcept { return static_cast<socket_accept&>(w); }

void cancel_accept(wait& w) noexcept {
    cancel_waiter(accept_of(w), accept_of(w).line->lock, accept_of(w).line->waiting);
}
void withdraw_accept(wait& w) noexcept {
    withdraw_waiter(accept_of(w), accept_of(w).line->lock, accept_of(w).line->waiting);
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

const ringo::detail::wait_type accept_wait{
    "accept", &cancel_accept, nullptr, waker::goroutine,
    [](const wait& w, ringo::detail::wait_state& s) noexcept {
        s.fd = static_cast<const socket_accept&>(w).listening;
    }};

const ringo::detail::wait_type acceptor::pause_timer::pause_wait{
    "pause", nullptr, [](wait& t) noexcept {
        acceptor& self = static_cast<pause_timer&>(t).owner;
        const bias_guard guard(self.line.lock);
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
    orphan(line.lock, line.waiting);
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
    errand(acceptor& to, void (acceptor::*what)() noexcept) noexcept
        : message(&errand::done), owner(to), work(what) {}

    static void done(message& m) noexcept {
        auto& self = static_cast<errand&>(m);
        acceptor& owner = self.owner;
        const auto work = self.work;
        delete &self;
        (owner.*work)();
        owner.release();
    }

    acceptor& owner;
    void (acceptor::*work)() noexcept;
};

void acceptor::send_home(shard& to, void (acceptor::*work)() noexcept) noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);
    to.post(*new errand(*this, work));
}

void acceptor::close() noexcept {
    woken_list woken;
    shard* home = nullptr;
    {
        const bias_guard guard(line.lock);
        if (std::exchange(closed_, true)) {
            return;
        }
        // New connections are refused from here on, and the address is free, not only from the
        // last reference on.
        ::shutdown(fd_, SHUT_RDWR);
        end_all(failure_closed, woken);
        home = home_;
    }
    woken.resume_all();
    if (home == nullptr) {
        return;
    }
    if (home == shard::this_thread()) {
        stop();
    } else {
        send_home(*home, &acceptor::stop);
    }
}

// --- under the lock ---

bool acceptor::attempt(socket_accept& a) noexcept {
    if (closed_) {
        error_of(a) = failure_closed;
        return true;
    }
    if (!ready_.empty()) {
        a.accepted = ready_.front();
        ready_.pop_front();
        return true;
    }
    // What the kernel accepts for those in line is theirs.
    if (!armed_ && !pausing_ && line.waiting.empty()) {
        a.accepted = accept_now();
    }
    return a.accepted >= 0;
}

/// A connection that waits in the kernel's queue, or a negative number.
int acceptor::accept_now() const noexcept {
    // The descriptor blocks, but nobody else accepts from it.
    pollfd p{.fd = fd_, .events = POLLIN, .revents = 0};
    shard& here = shard::here();
    here.count_system_call();
    if (::poll(&p, 1, 0) != 1 || p.revents != POLLIN) {
        return -1;
    }
    here.count_system_call();
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    here.io().counts.accepts.add(fd >= 0 ? 1 : 0);
    return fd;
}

void acceptor::enlist(socket_accept& a) noexcept {
    line.waiting.push_back(a);
    shard& here = shard::here();
    if (home_ == nullptr) {
        here.add_resident(*this);
        home_ = &here;
    }
    if (home_ == &here) {
        rearm();
    } else if (!armed_) {
        send_home(*home_, &acceptor::start);
    }
}

void acceptor::end_all(int error, woken_list& woken) noexcept {
    while (waiter* const w = line.waiting.pop()) {
        error_of(*w) = static_cast<std::uint8_t>(error);
        woken.add(*w);
    }
}

// --- under the lock, the home core ---

void acceptor::rearm() noexcept {
    if (armed_ || pausing_ || closed_ || line.waiting.empty() || home_ != shard::this_thread()) {
        return;
    }
    auto& kernel = shard::here().io();
    io_.code = kernel.has_multishot() ? io_code::accept_multishot : io_code::accept;
    references_.fetch_add(1, std::memory_order_relaxed);
    armed_ = true;
    kernel.start(io_);
}

void acceptor::failed(int error, woken_list& woken) noexcept {
    if (out_of_resources(error)) {
        // Trying at once would spin: the connection stays in the kernel's queue.
        pause_ns_ = std::clamp(pause_ns_ * 2, pause_ns_first, pause_ns_max);
        pause_.deadline_ns = shard::here().now_ns() + pause_ns_;
        pausing_ = true;
        shard::here().timers.add(pause_);
    } else if (!closed_ && !passes(error)) {  // close() itself makes the kernel complain
        end_all(error, woken);
    }
}

/// Leaves its home for good, when it is closed and the kernel accepts no more for it.
void acceptor::settle() noexcept {
    if (closed_ && !armed_ && home_ == shard::this_thread()) {
        leave_home();
    }
}

void acceptor::leave_home() noexcept {
    if (std::exchange(pausing_, false)) {
        shard::here().timers.remove(pause_);
    }
    shard::here().remove_resident(*this);
    home_ = nullptr;
}

// --- the home core ---

void acceptor::accepted(const io_completion& c) noexcept {
    woken_list woken;
    {
        const bias_guard guard(line.lock);
        armed_ = c.more;
        if (c.result >= 0) {
            pause_ns_ = 0;
            if (waiter* const w = line.waiting.pop()) {
                static_cast<socket_accept*>(w)->accepted = c.result;
                woken.add(*w);
            } else if (closed_) {
                ::close(c.result);
            } else {
                ready_.push_back(c.result);
                if (ready_.size() >= ahead_max_) {
                    shard::here().io().cancel(io_);
                }
            }
        } else if (c.result != -ECANCELED) {
            failed(-c.result, woken);
        }
        if (!c.more) {
            rearm();
            settle();
        }
    }
    woken.resume_all();
    if (!c.more) {
        release();
    }
}

void acceptor::start() noexcept {
    const bias_guard guard(line.lock);
    rearm();
}

void acceptor::stop() noexcept {
    {
        const bias_guard guard(line.lock);
        if (home_ != shard::this_thread()) {
            return;  // it left its home while this was on its way
        }
        settle();
    }
    shard::here().io().cancel(io_);
}

void acceptor::core_ends() noexcept {
    const bias_guard guard(line.lock);
    leave_home();
}

// --- operations ---

socket_accept::socket_accept(acceptor& a) noexcept
    : waiter(accept_wait), from(&a), line(&a.line), listening(a.descriptor()) {}

socket_accept::~socket_accept() {
    if (accepted >= 0) {
        ::close(accepted);
    }
}

bool socket_accept::attempt(waiter*&) noexcept { return from->attempt(*this); }
void socket_accept::enlist() noexcept { from->enlist(*this); }

const ringo::detail::arm_type accept_operation::arm = make_arm(&withdraw_accept);

void socket_accept::raise() {
    ringo::detail::throw_failure(self->error,
                                 self->error < ringo::detail::failure_cancelled
                                     ? fmt::format("accept {}", from->local().to_string())
                                     : "accept",
                                 0);
}

}  // namespace ringo::net::detail
