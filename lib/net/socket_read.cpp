// The part of a socket that reads.
#include "socket.hpp"

#include "../shard.hpp"

#include <ringo/detail/arm.hpp>
#include <ringo/detail/panic.hpp>
#include <ringo/detail/selection.hpp>
#include <ringo/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <poll.h>
#include <sys/socket.h>

namespace ringo::net::detail {

using ringo::detail::bias_guard;
using ringo::detail::claim_select;
using ringo::detail::context_failure;
using ringo::detail::error_of;
using ringo::detail::failure_closed;
using ringo::detail::io_code;
using ringo::detail::lent;
using ringo::detail::lent_block;
using ringo::detail::message;
using ringo::detail::pooled_buffer;
using ringo::detail::resume;
using ringo::detail::selection;
using ringo::detail::wait;
using ringo::detail::waiter;
using ringo::detail::waker;

namespace {

constexpr std::size_t bulk_bytes = 4096;     // what has come at once
constexpr std::uint8_t small_reads_max = 8;  // before it is bulk no more

using kind = socket_read::kind;

bool is_large(const socket_read& r) noexcept {
    return r.is != kind::buffer || static_cast<const buffer_read&>(r).buffer.size() >= large_bytes;
}
bool has_no_room(const socket_read& r) noexcept {
    return r.is == kind::buffer && static_cast<const buffer_read&>(r).buffer.empty();
}

/// Empty: there is no memory.
lease copy_of(const std::byte* data, std::size_t size) noexcept {
    lent_block* const b = ringo::detail::make_block(size);
    if (b == nullptr) {
        return {};
    }
    std::memcpy(b->data(), data, size);
    return {b->data(), size, b};
}

socket_read& read_of(wait& w) noexcept { return static_cast<socket_read&>(w); }
bool is_arm(const wait& w) noexcept { return w.type->wakes == waker::select; }

void cancel_socket_read(wait& w) noexcept { read_of(w).from->cancel_read(read_of(w)); }

}  // namespace

const ringo::detail::wait_type read_wait{
    "read", &cancel_socket_read, nullptr, waker::goroutine,
    [](const wait& w, ringo::detail::wait_state& s) noexcept {
        s.fd = static_cast<const socket_read&>(w).from->descriptor();
    }};

socket::receive_operation::receive_operation(socket& s) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          static_cast<receive_operation&>(op).owner.received(c);
      }),
      owner(s) {
    fd = s.fd_;
}

// --- reading: any core ---

/// Has the home call `f` with this socket.
template <class F>
void socket::send_home(shard& home, F f) noexcept {
    struct errand : message {
        errand(socket& s, F&& what)
            : message([](message& m) noexcept {
                  auto& self = static_cast<errand&>(m);
                  socket& owner = self.to;
                  F work = self.f;
                  delete &self;
                  work(owner);
                  owner.release();
              }),
              to(s),
              f(what) {}
        socket& to;
        F f;
    };
    retain();
    home.post(*new errand(*this, std::move(f)));
}

void socket::send_stop(shard& home) noexcept {
    send_home(home, [](socket& s) noexcept { s.stop_receiving(); });
}

bool socket::read(socket_read& r) noexcept {
    const bias_guard guard(lock_);
    check_alone();
    if (serve(r)) {
        return false;
    }
    enlist_read(r);
    return true;
}

void socket::unread(lent_block& bytes) noexcept {
    const bias_guard guard(lock_);
    lent_block* const rest = std::exchange(unread_, &bytes);
    if (rest == nullptr) {
        return;
    }
    const std::size_t left = rest->capacity - rest->taken;
    if (lent_block* const both = ringo::detail::make_block(bytes.capacity + left)) {
        std::memcpy(both->data(), bytes.data(), bytes.capacity);
        std::memcpy(both->data() + bytes.capacity, rest->data() + rest->taken, left);
        unread_ = both;
        bytes.give_back(bytes);
    }
    rest->give_back(*rest);
}

void socket::cancel_read(socket_read& r) noexcept {
    shard* home = nullptr;
    {
        const bias_guard guard(lock_);
        if (reader_ != &r) {
            return;  // served in the meantime
        }
        if (!direct_) {
            reader_ = nullptr;
        }
        r.given_up = direct_;
        home = home_.load(std::memory_order_relaxed);  // the socket may leave it any moment
    }
    if (!r.given_up) {
        ringo::detail::give_up(r);
        return;
    }
    // Its completion says whether bytes had come. Lifetime: it may come first, and `r` be gone.
    const auto cancel = [&r](socket& s) noexcept {
        const bias_guard guard(s.lock_);
        if (s.reader_ == &r && r.given_up) {
            shard::here().io().cancel(static_cast<buffer_read&>(r).direct);
        }
    };
    if (home == shard::this_thread()) {
        cancel(*this);
    } else {
        send_home(*home, cancel);
    }
}

void socket::withdraw_read(socket_read& r) noexcept {
    const bias_guard guard(lock_);
    if (reader_ == &r) {
        reader_ = nullptr;
    }
}

// --- reading: under the lock, any core ---

/// A read whose select has ended otherwise is no reader any more.
void socket::check_alone() noexcept {
    if (reader_ == nullptr) {
        return;
    }
    if (!is_arm(*reader_) || !reader_->select->decided()) {
        ringo::detail::panic("conn: read while another goroutine reads");
    }
    reader_ = nullptr;
}

bool socket::attempt_read(socket_read& r) noexcept {
    if (has_no_room(r)) {
        return true;
    }
    check_alone();
    return read_now(r);
}

void socket::enlist_read(socket_read& r) noexcept {
    check_alone();  // a select may read twice
    reader_ = &r;
    shard& here = shard::here();
    shard* home = nullptr;
    if (home_.compare_exchange_strong(home, &here, std::memory_order_acq_rel)) {
        here.add_resident(*this);
        home = &here;
    }
    if (home != &here || is_arm(r)) {
        // Lifetime: others end it, or its select, and may close the conn before it leaves.
        retain();
        r.keeps_socket = true;
    }
    if (home == &here) {
        receive();
    } else if (!receiving_ || r.is == kind::readiness) {
        send_home(*home, [](socket& s) noexcept {
            const bias_guard guard(s.lock_);
            s.receive();
        });
    }
}

/// Gives a reader what has arrived; false when it must wait.
bool socket::serve(socket_read& r) noexcept {
    large_ = is_large(r);
    if (closed()) {
        error_of(r) = failure_closed;
        return true;
    }
    if (waiting_ == 0 && unread_ == nullptr) {
        error_of(r) = error_;
        return error_ != 0 || end_;
    }
    if (r.is == kind::readiness) {
        static_cast<readable_wait&>(r).buffered = true;
    } else if (unread_ != nullptr) {
        take_unread(r);
    } else if (r.is == kind::lease) {
        lend_waiting(static_cast<lease_read&>(r));
    } else {
        copy_waiting(static_cast<buffer_read&>(r));
    }
    return true;
}

void socket::take_unread(socket_read& r) noexcept {
    lent_block& all = *unread_;
    std::byte* const data = all.data() + all.taken;
    const std::size_t left = all.capacity - all.taken;
    if (r.is == kind::lease) {
        static_cast<lease_read&>(r).taken = lease(data, left, &all);
        unread_ = nullptr;
        return;
    }
    auto& into = static_cast<buffer_read&>(r);
    into.received = std::min(left, into.buffer.size());
    std::memcpy(into.buffer.data(), data, into.received);
    all.taken += static_cast<std::uint32_t>(into.received);
    if (into.received == left) {
        unread_ = nullptr;
        all.give_back(all);
    }
}

void socket::copy_waiting(buffer_read& r) noexcept {
    auto& io = home_.load(std::memory_order_relaxed)->io();
    std::int32_t emptied = -1;
    while (waiting_ != 0 && r.received < r.buffer.size()) {
        pooled_buffer& b = io.buffer(first_waiting_);
        const std::size_t n =
            std::min<std::size_t>(b.length - taken_, r.buffer.size() - r.received);
        std::memcpy(r.buffer.data() + r.received, b.data + taken_, n);
        r.received += n;
        taken_ += static_cast<std::uint32_t>(n);
        if (taken_ == b.length) {
            emptied = std::exchange(first_waiting_, std::exchange(b.next, emptied));
            taken_ = 0;
            --waiting_;
        }
    }
    give_back(emptied);
}

/// The oldest buffer, or, where the home cannot do without it, a copy.
void socket::lend_waiting(lease_read& r) noexcept {
    shard& home = *home_.load(std::memory_order_relaxed);
    const std::int32_t id = first_waiting_;
    pooled_buffer& b = home.io().buffer(id);
    const std::size_t n = b.length - taken_;
    lent* const owner = &home == shard::this_thread() ? home.io().lend(id) : nullptr;
    r.taken = owner != nullptr ? lease(b.data + taken_, n, owner) : copy_of(b.data + taken_, n);
    if (r.taken.empty()) {
        error_of(r) = ENOMEM;
        return;
    }
    first_waiting_ = std::exchange(b.next, -1);
    taken_ = 0;
    --waiting_;
    if (owner == nullptr) {
        give_back(id);
    }
}

/// Gives the home's buffers back that are linked from `first` on.
void socket::give_back(std::int32_t first) noexcept {
    shard& home = *home_.load(std::memory_order_relaxed);
    auto here = [first](socket&) mutable noexcept {
        auto& io = shard::here().io();
        while (first >= 0) {
            io.give_back(std::exchange(first, io.buffer(first).next));
        }
    };
    if (&home == shard::this_thread()) {
        here(*this);
    } else if (first >= 0) {
        send_home(home, here);
    }
}

/// As serve; what the kernel still has is there, too.
bool socket::read_now(socket_read& r) noexcept {
    if (serve(r)) {
        return true;
    }
    // What is being received comes first.
    if ((receiving_ && receive_.code != io_code::poll) || r.is == kind::readiness) {
        return false;
    }
    if (!enter()) {
        error_of(r) = failure_closed;
        return true;
    }
    const ::ssize_t n = receive_now(r);
    leave();
    if (n >= 0) {
        took(static_cast<std::size_t>(n));
        return true;
    }
    if (n == -EAGAIN || n == -EINTR) {
        return false;
    }
    error_of(r) = static_cast<std::uint8_t>(-n);
    error_ = n == -ENOMEM ? error_ : error_of(r);
    return true;
}

/// returns  bytes, or a negative errno
::ssize_t socket::receive_now(socket_read& r) noexcept {
    shard::here().count_system_call();
    if (r.is == kind::buffer) {
        auto& into = static_cast<buffer_read&>(r);
        const ::ssize_t n = ::recv(fd_, into.buffer.data(), into.buffer.size(), MSG_DONTWAIT);
        into.received = static_cast<std::size_t>(std::max<::ssize_t>(n, 0));
        return n < 0 ? -errno : n;
    }
    lent_block* const block = ringo::detail::take_large_block();
    if (block == nullptr) {
        return -ENOMEM;
    }
    const ::ssize_t n = ::recv(fd_, block->data(), block->capacity, MSG_DONTWAIT);
    const int error = errno;
    lease all(block->data(), static_cast<std::size_t>(std::max<::ssize_t>(n, 0)), block);
    if (n <= 0) {
        return n < 0 ? -error : 0;
    }
    // Who keeps a few bytes shall not keep a large block.
    auto& into = static_cast<lease_read&>(r);
    if (all.size() < bulk_bytes) {
        into.taken = copy_of(all.data(), all.size());
    } else {
        shard::here().io().has_read_at_once(block->capacity);
    }
    if (into.taken.empty()) {
        into.taken = std::move(all);
    }
    return n;
}

/// A read has received `n` bytes without pooled buffers.
void socket::took(std::size_t n) noexcept {
    end_ = n == 0;
    if (n >= bulk_bytes) {
        bulk_ = true;
        small_ = 0;
    } else if (bulk_ && ++small_ >= small_reads_max) {
        bulk_ = false;
    }
}

void socket::end_read(int error) noexcept {
    socket_read& r = *std::exchange(reader_, nullptr);
    if (!is_arm(r) || claim_select(r)) {
        error_of(r) = static_cast<std::uint8_t>(error);
        resume(&r);
    }
}

// --- reading: under the lock, the home core ---

/// Has the kernel receive for a reader that waits, unless it does.
void socket::receive() noexcept {
    if (reader_ == nullptr || direct_ ||
        home_.load(std::memory_order_relaxed) != shard::this_thread()) {
        return;
    }
    auto& io = shard::here().io();
    if (receiving_) {
        if (reader_->is == kind::readiness && receive_.code != io_code::poll) {
            io.cancel(receive_);
        }
        return;
    }
    if (!enter()) {
        end_read(failure_closed);
        settle();
        return;
    }
    socket_read& r = *reader_;
    const bool pooled = io.has_multishot() && !is_unix_ && !std::exchange(starved_, false) &&
                        !(bulk_ && is_large(r)) && r.is != kind::readiness;
    if (!pooled && !is_arm(r) && r.is == kind::buffer) {
        direct_ = true;
        io.start(static_cast<buffer_read&>(r).direct);
        return;
    }
    receiving_ = true;
    receive_.code = pooled ? io_code::receive_multishot : io_code::poll;
    receive_.length = pooled ? 0 : POLLIN;
    io.start(receive_);
}

/// Something may have come for the reader. readable: it is still the kernel's.
void socket::offer(bool readable) noexcept {
    socket_read& r = *reader_;
    bool done = false;
    if (!is_arm(r)) {
        done =
            r.is == kind::lease ? read_now(r) : serve(r) || (readable && r.is == kind::readiness);
    } else if (selection& s = *r.select; s.try_claim()) {
        done = read_now(r);
        s.decide(done ? &r : nullptr);
    } else {
        reader_ = nullptr;  // its select has ended otherwise
        return;
    }
    if (done) {
        reader_ = nullptr;
        resume(&r);
    } else {
        receive();
    }
}

/// Leaves its home for good, when it is closed and the kernel receives nothing for it any more.
/// A read may find that: it made its core the home while another core closed the socket.
void socket::settle() noexcept {
    if (closed() && receive_.idle() && !direct_ &&
        home_.load(std::memory_order_relaxed) == shard::this_thread()) {
        leave_home();
    }
}

/// What had arrived and was not read is lost with the core.
void socket::leave_home() noexcept {
    if (waiting_ != 0) {
        drop_waiting();
        error_ = ECANCELED;
    }
    shard::here().remove_resident(*this);
    home_.store(nullptr, std::memory_order_release);
}

void socket::drop_waiting() noexcept {
    if (std::exchange(waiting_, 0) != 0) {
        give_back(first_waiting_);
    }
    taken_ = 0;
}

// --- reading: the home core ---

void socket::received(const io_completion& c) noexcept {
    {
        const bias_guard guard(lock_);
        auto& io = shard::here().io();
        receiving_ = c.more;
        if (c.buffer >= 0 && c.result > 0) {
            io.buffer(c.buffer).next = -1;
            (waiting_ == 0 ? first_waiting_ : io.buffer(last_waiting_).next) = c.buffer;
            last_waiting_ = c.buffer;
            ++waiting_;
        } else if (c.buffer >= 0) {
            io.give_back(c.buffer);
        }
        if (c.result == 0) {
            end_ = true;
        } else if (c.result == -ENOBUFS) {
            starved_ = true;
        } else if (c.result < 0 && c.result != -ECANCELED && c.result != -EINTR) {
            error_ = static_cast<std::uint8_t>(-c.result);
        }
        if (c.buffer >= 0 && large_ && c.result >= static_cast<int>(bulk_bytes)) {
            bulk_ = true;
            small_ = 0;
        }
        if (reader_ != nullptr) {
            offer(receive_.code == io_code::poll && c.result > 0);
        } else if (c.more && (waiting_ >= waiting_max || bulk_)) {
            io.cancel(receive_);
        }
        if (!c.more) {
            settle();
        }
    }
    if (!c.more) {
        leave();
    }
}

void socket::direct_completed(buffer_read& r, const io_completion& c) noexcept {
    {
        const bias_guard guard(lock_);
        direct_ = false;
        if (c.result == -EINTR || c.result == -EAGAIN) {
            receive();
        } else if (c.result <= 0 && closed()) {
            end_read(failure_closed);  // whichever came first: the cancel or what close did
        } else if (c.result == -ECANCELED) {
            end_read(context_failure(*r.self));
        } else if (c.result < 0) {
            error_ = static_cast<std::uint8_t>(-c.result);
            end_read(error_);
        } else {
            r.received = static_cast<std::size_t>(c.result);
            took(r.received);
            end_read(0);
        }
        settle();
    }
    leave();
}

void socket::stop_receiving() noexcept {
    {
        const bias_guard guard(lock_);
        if (home_.load(std::memory_order_relaxed) != shard::this_thread()) {
            return;  // it left its home while this was on its way
        }
        drop_waiting();
        if (direct_) {
            shard::here().io().cancel(static_cast<buffer_read*>(reader_)->direct);
        } else if (reader_ != nullptr) {
            end_read(failure_closed);
        }
        settle();
    }
    shard::here().io().cancel(receive_);
}

void socket::core_ends() noexcept {
    const bias_guard guard(lock_);
    leave_home();
}

// --- the operation ---

buffer_read::receive_operation::receive_operation(buffer_read& r) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          buffer_read& reader = static_cast<receive_operation&>(op).owner;
          reader.from->direct_completed(reader, c);
      }),
      owner(r) {
    code = io_code::receive;
    fd = r.from->descriptor();
    address = r.buffer.data();
    length = static_cast<std::uint32_t>(std::min<std::size_t>(r.buffer.size(), 1U << 30));
}

buffer_read::buffer_read(socket& s, std::span<std::byte> into) noexcept
    : socket_read(s, kind::buffer), buffer(into), direct(*this) {}

void socket_read::release() noexcept { from->release(); }

bias_lock* socket_read::lock() const noexcept { return &from->lock(); }

bool socket_read::start() noexcept { return !has_no_room(*this) && from->read(*this); }

const ringo::detail::arm_type socket_read::arm{
    {"select", nullptr, nullptr, waker::select},
    [](wait& w) noexcept { return read_of(w).lock(); },
    [](wait& w, waiter*&) noexcept { return read_of(w).from->attempt_read(read_of(w)); },
    [](wait& w) noexcept { read_of(w).from->enlist_read(read_of(w)); },
    [](wait& w) noexcept { read_of(w).from->withdraw_read(read_of(w)); },
};

void socket_read::raise() {
    const char* const name = is == kind::lease ? "recv" : "read";
    raise_failure(*from, name, self->error);
}

}  // namespace ringo::net::detail
