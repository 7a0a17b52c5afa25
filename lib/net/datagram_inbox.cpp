#include "datagram_inbox.hpp"

#include "../lent_block.hpp"
#include "../shard.hpp"

#include <ringo/detail/selection.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <poll.h>

namespace ringo::net::detail {

using ringo::detail::bias_guard;
using ringo::detail::bias_lock;
using ringo::detail::error_of;
using ringo::detail::failure_closed;
using ringo::detail::io_code;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::lent_block;
using ringo::detail::message_header;
using ringo::detail::shard;
using ringo::detail::wait;
using ringo::detail::waiter;
using ringo::detail::waker;
using ringo::detail::woken_list;

namespace {

constexpr std::size_t buffer_bytes = 4096;
static_assert(leased_datagram_max == buffer_bytes - sizeof(message_header));

void give_back(message_header& m) noexcept { m.owner->give_back(*m.owner); }

/// Null: there is no memory.
message_header* copy_of(const std::byte* buffer, std::size_t size) noexcept {
    lent_block* const b = ringo::detail::make_block(size);
    if (b == nullptr) {
        return nullptr;
    }
    std::memcpy(b->data(), buffer, size);
    auto* const m = reinterpret_cast<message_header*>(b->data());
    m->owner = b;
    return m;
}

leased_recv& recv_of(wait& w) noexcept { return static_cast<leased_recv&>(w); }

void cancel_recv(wait& w) noexcept {
    datagram_inbox& b = recv_of(w).inbox();
    ringo::detail::cancel_waiter(recv_of(w), b.lock, b.waiters);
}
void withdraw_recv(wait& w) noexcept {
    datagram_inbox& b = recv_of(w).inbox();
    ringo::detail::withdraw_waiter(recv_of(w), b.lock, b.waiters);
}

constexpr ringo::detail::wait_type leased_wait{"recv", &cancel_recv};

}  // namespace

datagram_inbox::receive_operation::receive_operation(datagram_inbox& b) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          static_cast<receive_operation&>(op).owner.received(c);
      }),
      owner(b) {
    fd = b.on_.fd();
}

datagram_inbox::~datagram_inbox() {
    ringo::detail::orphan(lock, waiters);
    while (message_header* const m = pop()) {
        give_back(*m);
    }
    on_.release();
}

void datagram_inbox::release() noexcept {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete this;
    }
}

// --- under the lock, any core ---

bool datagram_inbox::serve(leased_recv& r) noexcept {
    if (on_.closed()) {
        fail(r, failure_closed);
    } else if (message_header* const m = pop()) {
        if (m->length <= leased_datagram_max) {
            r.taken_ = m;
        } else {
            r.lost_ = m->length;
            give_back(*m);
            fail(r, EMSGSIZE);
        }
    } else if (error_ != 0) {
        fail(r, std::exchange(error_, std::uint8_t{0}));
    } else {
        return false;
    }
    return true;
}

// What is being received comes first. Where nothing is, the next datagrams shall come by themselves.
bool datagram_inbox::serve_now(leased_recv& r) noexcept {
    if (serve(r)) {
        return true;
    }
    if (!armed_) {
        bool came = false;
        on_.while_open([&](int fd) { came = take_from_kernel(fd); });
        if (came) {
            arm();
        }
    }
    return serve(r);
}

void datagram_inbox::fail(leased_recv& r, int error) noexcept {
    error_of(r) = static_cast<std::uint8_t>(error);
    if (error < ringo::detail::failure_cancelled && !r.keeps_) {
        r.keeps_ = true;  // for its name
        retain();
    }
}

void datagram_inbox::enlist(leased_recv& r) noexcept {
    waiters.push_back(r);
    if (!armed_ && !arm() && waiters.take(r)) {  // closed since the attempt
        fail(r, failure_closed);
        // By way of the core's inbox, for it has yet to suspend.
        wake_elsewhere(r.type->wakes == waker::select ? *r.select->self : *r.self);
    }
}

bool datagram_inbox::arm() noexcept {
    if (!on_.enter(use_)) {
        return false;
    }
    retain();
    armed_ = true;
    start();
    return true;
}

void datagram_inbox::start() noexcept {
    auto& io = shard::here().io();
    const bool pooled = io.has_multishot() && !std::exchange(starved_, false);
    receive_.code = pooled ? io_code::receive_messages : io_code::poll;
    receive_.length = pooled ? 0 : POLLIN;
    io.start(receive_);
}

/// Takes one datagram, without a pooled buffer. False: there is none.
bool datagram_inbox::take_from_kernel(int fd) noexcept {
    alignas(message_header) std::byte buffer[buffer_bytes];
    shard::here().count_system_call();
    const ::ssize_t n = ringo::detail::receive_message(fd, buffer, sizeof buffer);
    if (n >= 0) {
        push(copy_of(buffer, sizeof(message_header) + static_cast<std::size_t>(n)));
    } else if (errno != EAGAIN && errno != EINTR) {
        error_ = static_cast<std::uint8_t>(errno);
    }
    return n >= 0;
}

/// A pooled buffer has been filled. Where the core cannot do without it, a copy is made.
void datagram_inbox::take_buffer(std::int32_t id, std::size_t bytes) noexcept {
    auto& io = shard::here().io();
    std::byte* const data = io.buffer(id).data;
    if (bytes < sizeof(message_header)) {
        io.give_back(id);
    } else if (ringo::detail::lent* const owner = io.lend(id)) {
        auto* const m = reinterpret_cast<message_header*>(data);
        m->owner = owner;
        push(m);
    } else {
        push(copy_of(data, bytes));
        io.give_back(id);
    }
}

/// Null: there was no memory for it.
void datagram_inbox::push(message_header* m) noexcept {
    if (m == nullptr) {
        error_ = ENOMEM;
        return;
    }
    m->next = nullptr;
    *last_ = m;
    last_ = &m->next;
    ++queued_;
}

message_header* datagram_inbox::pop() noexcept {
    message_header* const m = first_;
    if (m != nullptr) {
        first_ = m->next;
        last_ = first_ == nullptr ? &first_ : last_;
        --queued_;
    }
    return m;
}

void datagram_inbox::serve_waiters(woken_list& woken) noexcept {
    while (first_ != nullptr || error_ != 0) {
        waiter* const w = waiters.pop();
        if (w == nullptr) {
            return;
        }
        serve(recv_of(*w));
        woken.add(*w);
    }
}

// --- the home core ---

void datagram_inbox::received(const io_completion& c) noexcept {
    woken_list woken;
    bool over = false;
    {
        const bias_guard guard(lock);
        if (c.buffer >= 0) {
            take_buffer(c.buffer, static_cast<std::size_t>(std::max(c.result, 0)));
        } else if (receive_.code == io_code::poll && c.result > 0) {
            while (!waiters.empty() && take_from_kernel(on_.fd())) {
                serve_waiters(woken);
            }
        } else if (c.result == -ENOBUFS) {
            starved_ = true;
        } else if (c.result < 0 && c.result != -ECANCELED && c.result != -EINTR &&
                   c.result != -EAGAIN) {
            error_ = static_cast<std::uint8_t>(-c.result);
        }
        serve_waiters(woken);
        if (!c.more) {
            has_ended(c.result == -ECANCELED, woken);
            over = !armed_;
        } else if (queued_ > queued_max && !pausing_) {
            pausing_ = true;
            shard::here().io().cancel(receive_);
        }
    }
    woken.resume_all();
    if (over) {
        release();
    }
}

// Kernel: an empty datagram ends a multishot operation, as the end of a stream would.
void datagram_inbox::has_ended(bool cancelled, woken_list& woken) noexcept {
    const bool closed = on_.closed();
    const bool core_ends = cancelled && !pausing_ && !closed;
    pausing_ = false;
    if (!closed && !core_ends && !waiters.empty()) {
        start();
        return;
    }
    while (waiter* const w = waiters.pop()) {
        fail(recv_of(*w), closed ? int{failure_closed} : ECANCELED);
        woken.add(*w);
    }
    armed_ = false;
    // Under the lock: another core may arm it next.
    on_.leave(use_);
}

// --- the operation ---

leased_recv::leased_recv(datagram_inbox& b) noexcept : waiter(leased_wait), inbox_(&b) {}

void leased_recv::let_go() noexcept {
    if (taken_ != nullptr) {
        give_back(*taken_);
    }
    if (keeps_) {
        inbox_->release();
    }
}

bias_lock* leased_recv::lock() const noexcept { return &inbox_->lock; }

bool leased_recv::attempt(waiter*&) noexcept { return inbox_->serve_now(*this); }

void leased_recv::enlist() noexcept { inbox_->enlist(*this); }

lease leased_recv::bytes() noexcept {
    message_header& m = *std::exchange(taken_, nullptr);
    return {m.bytes(), m.length, m.owner};
}

endpoint leased_recv::sender() const noexcept {
    return {reinterpret_cast<const sockaddr*>(taken_->name),
            std::min<std::size_t>(taken_->name_length, message_header::name_max)};
}

void leased_recv::raise() {
    std::string text = "recv";
    if (self->error < ringo::detail::failure_cancelled) {
        text += ' ' + inbox_->on().name();
        if (self->error == EMSGSIZE) {
            text += fmt::format(": {} bytes do not fit into {}", lost_, leased_datagram_max);
        }
    }
    ringo::detail::throw_failure(self->error, text, 0);
}

constinit const ringo::detail::arm_type leased_recv::arm{
    {"select", nullptr, nullptr, waker::select},
    [](wait& w) noexcept { return recv_of(w).lock(); },
    [](wait& w, waiter*& woken) noexcept { return recv_of(w).attempt(woken); },
    [](wait& w) noexcept { recv_of(w).enlist(); },
    &withdraw_recv,
};

}  // namespace ringo::net::detail

namespace ringo::net {

detail::datagram_inbox& datagram_socket::inbox(const char* operation) {
    ringo::detail::descriptor& d = handle(operation);
    detail::datagram_inbox* there = inbox_.load(std::memory_order_acquire);
    if (there == nullptr) {
        auto* const made = new detail::datagram_inbox(d);
        if (inbox_.compare_exchange_strong(there, made, std::memory_order_acq_rel)) {
            return *made;
        }
        made->release();  // another core was quicker
    }
    return *there;
}

detail::datagram_lease datagram_socket::recv() {
    return detail::datagram_lease(inbox("datagram_socket: recv of one that is not open"));
}

detail::datagram_lease_from datagram_socket::recv_from() {
    return detail::datagram_lease_from(inbox("datagram_socket: recv_from of one that is not open"));
}

}  // namespace ringo::net
