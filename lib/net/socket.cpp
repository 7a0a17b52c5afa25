#include "socket.hpp"

#include "../shard.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace ringo::net::detail {

using ringo::detail::context_failure;
using ringo::detail::failure_closed;
using ringo::detail::io_code;
using ringo::detail::pooled_buffer;
using ringo::detail::wait;
using ringo::detail::wait_type;
using ringo::detail::wake;

namespace {

// From here on a read is served by the kernel straight into its buffer, if what arrives is large.
constexpr std::size_t bulk_bytes = 8192;

// Kernel: getpeername fails once the peer has reset the connection. SO_PEERNAME does not, but wants
// the exact size, which is that of the socket's own name.
int peer_name(int fd, sockaddr* into, socklen_t* size) noexcept {
    if (::getpeername(fd, into, size) == 0) {
        return 0;
    }
    const int failed = ::getsockname(fd, into, size);
    return failed != 0 ? failed : ::getsockopt(fd, SOL_SOCKET, SO_PEERNAME, into, size);
}

[[noreturn]] void raise_failure(socket& s, const char* operation, std::uint8_t error) {
    // What ringo itself ends needs no names; what the network did, does.
    std::string text = operation;
    if (error < ringo::detail::failure_cancelled && !s.closed()) {
        text = fmt::format("{} {}->{}", operation, s.local().to_string(), s.remote().to_string());
    }
    ringo::detail::throw_failure(error, text, 0);
}

void cancel_socket_read(wait& w) noexcept {
    auto& r = static_cast<socket_read&>(w);
    r.from->cancel_read(r);
}

void cancel_socket_write(wait& w) noexcept {
    auto& op = static_cast<socket_write&>(w);
    op.home->io().cancel(op.send);
}

// Closing goes on whoever waits for it, and ends soon.
void cancel_close(wait&) noexcept {}

}  // namespace

const wait_type read_wait{"read", &cancel_socket_read};
const wait_type write_wait{"write", &cancel_socket_write};
const wait_type close_wait{"close", &cancel_close};

socket::socket(int descriptor) noexcept : fd_(descriptor) {}
socket::~socket() = default;

socket::receive_operation::receive_operation(socket& s) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          static_cast<receive_operation&>(op).owner.received(c);
      }),
      owner(s) {
    code = io_code::receive_multishot;
    fd = s.fd_;
}

// --- the descriptor ---

// The count never rises once the socket is closed, so it reaches zero after that only once.
bool socket::enter() noexcept {
    auto before = state_.load(std::memory_order_relaxed);
    do {
        if ((before & closed_bit) != 0) {
            return false;
        }
    } while (!state_.compare_exchange_weak(before, before + one_operation,
                                           std::memory_order_acq_rel, std::memory_order_relaxed));
    return true;
}

void socket::leave() noexcept {
    if (state_.fetch_sub(one_operation, std::memory_order_acq_rel) ==
        (one_operation | closed_bit)) {
        close_descriptor();
    }
}

void socket::close_descriptor() noexcept {
    ::close(fd_);
    if (closer_ != nullptr) {
        wake(*closer_);
    }
    release();
}

void socket::release() noexcept {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete this;
    }
}

bool socket::close(goroutine* waiter) noexcept {
    // Counts as an operation itself, so that the descriptor stays until all is arranged.
    if (!enter()) {
        return false;
    }
    const auto before = state_.fetch_or(closed_bit, std::memory_order_acq_rel);
    if ((before & closed_bit) != 0) {
        leave();
        return false;
    }
    closer_ = waiter;
    const bool alone = before == one_operation;
    if (shard* const home = home_.load(std::memory_order_acquire)) {
        if (home == shard::this_thread()) {
            const bool receiving_only = before == 2 * one_operation && !receive_.idle();
            if (!alone && !receiving_only) {
                ::shutdown(fd_, SHUT_RDWR);  // ends the writes that are under way
            }
            stop_receiving(nullptr);
            leave();
            return true;
        }
        send_home<&socket::stop_receiving>(*home, nullptr);
    }
    if (!alone) {
        ::shutdown(fd_, SHUT_RDWR);
    }
    leave();
    return true;
}

void socket::shutdown(int how) noexcept {
    if (enter()) {
        ::shutdown(fd_, how);
        leave();
    }
}

endpoint socket::local() noexcept { return name(&::getsockname); }
endpoint socket::remote() noexcept { return name(&peer_name); }

endpoint socket::name(int (*get)(int, sockaddr*, socklen_t*)) noexcept {
    sockaddr_storage a{};
    socklen_t size = sizeof a;
    if (!enter()) {
        return {};
    }
    const int failed = get(fd_, reinterpret_cast<sockaddr*>(&a), &size);
    leave();
    if (failed != 0) {
        return {};
    }
    return endpoint(reinterpret_cast<const sockaddr*>(&a), std::min<std::size_t>(size, sizeof a));
}

// --- reading: any core ---

template <void (socket::*Do)(socket_read*) noexcept>
void socket::send_home(shard& to, socket_read* r) noexcept {
    retain();
    to.post(*new errand(*this, r, [](message& m) noexcept {
        auto& self = static_cast<errand&>(m);
        socket& owner = self.owner;
        socket_read* const reader = self.reader;
        delete &self;
        (owner.*Do)(reader);
        owner.release();
    }));
}

bool socket::read(socket_read& r) noexcept {
    if (closed()) {
        r.self->error = failure_closed;
        return false;
    }
    shard& here = shard::here();
    shard* home = nullptr;
    if (home_.compare_exchange_strong(home, &here, std::memory_order_acq_rel)) {
        here.add_resident(*this);
        home = &here;
    }
    if (home == &here) {
        return begin(r);
    }
    send_home<&socket::take_in>(*home, &r);
    return true;
}

void socket::cancel_read(socket_read& r) noexcept {
    shard* const home = home_.load(std::memory_order_acquire);
    if (home == shard::this_thread()) {
        give_up(&r);
    } else if (home != nullptr) {
        send_home<&socket::give_up>(*home, &r);
    }
}

// --- reading: the home core ---

bool socket::begin(socket_read& r) noexcept {
    if (reader_ != nullptr) {
        ringo::detail::panic("conn: read while another goroutine reads");
    }
    if (serve(r)) {
        settle();
        return false;
    }
    reader_ = &r;
    if (receive_.idle()) {
        receive_for(r);
    }
    return true;
}

void socket::take_in(socket_read* r) noexcept {
    if (!begin(*r)) {
        wake(*r->self);
    }
}

/// Gives a reader what is there; false when it must wait.
bool socket::serve(socket_read& r) noexcept {
    if (closed()) {
        r.self->error = failure_closed;
        return true;
    }
    if (leases_ != 0) {
        auto& io = shard::here().io();
        bulk_ = r.buffer.size() >= bulk_bytes && leases_ > 1;
        while (leases_ != 0 && r.received < r.buffer.size()) {
            const pooled_buffer& b = io.buffer(first_lease_);
            const std::size_t n =
                std::min<std::size_t>(b.length - taken_, r.buffer.size() - r.received);
            std::memcpy(r.buffer.data() + r.received, b.data + taken_, n);
            r.received += n;
            taken_ += static_cast<std::uint32_t>(n);
            if (taken_ == b.length) {
                io.give_back(std::exchange(first_lease_, b.next));
                taken_ = 0;
                --leases_;
            }
        }
        return true;
    }
    r.self->error = static_cast<std::uint8_t>(error_);
    return error_ != 0 || end_;
}

/// Has the kernel receive for a reader that waits. Nothing is being received.
void socket::receive_for(socket_read& r) noexcept {
    auto& io = shard::here().io();
    if (!enter()) {
        end_read(r, failure_closed);
        settle();
        return;
    }
    const bool pooled = io.has_multishot() && !std::exchange(starved_, false) &&
                        !(bulk_ && r.buffer.size() >= bulk_bytes);
    io.start(pooled ? static_cast<io_operation&>(receive_) : r.direct);
}

void socket::end_read(socket_read& r, int error) noexcept {
    reader_ = nullptr;
    r.self->error = static_cast<std::uint8_t>(error);
    wake(*r.self);
}

void socket::received(const io_completion& c) noexcept {
    auto& io = shard::here().io();
    if (c.buffer >= 0 && c.result > 0) {
        io.buffer(c.buffer).next = -1;
        (leases_ == 0 ? first_lease_ : io.buffer(last_lease_).next) = c.buffer;
        last_lease_ = c.buffer;
        ++leases_;
    } else if (c.buffer >= 0) {
        io.give_back(c.buffer);
    }
    if (c.result == 0) {
        end_ = true;
    } else if (c.result == -ENOBUFS) {
        starved_ = true;
    } else if (c.result < 0 && c.result != -ECANCELED && c.result != -EINTR) {
        error_ = -c.result;
    }
    if (reader_ != nullptr) {
        socket_read& r = *reader_;
        if (serve(r)) {
            end_read(r, r.self->error);
        } else if (!c.more) {
            receive_for(r);
        }
    } else if (leases_ >= leases_max && c.more) {
        io.cancel(receive_);
    }
    if (!c.more) {
        settle();
        leave();
    }
}

void socket::direct_completed(socket_read& r, const io_completion& c) noexcept {
    if (c.result == -EINTR || c.result == -EAGAIN) {
        receive_for(r);
    } else if (c.result <= 0 && closed()) {
        end_read(r, failure_closed);  // whichever came first: the cancel or what close did
    } else if (c.result == -ECANCELED) {
        end_read(r, context_failure(*r.self));
    } else if (c.result < 0) {
        error_ = -c.result;
        end_read(r, error_);
    } else {
        r.received = static_cast<std::size_t>(c.result);
        end_ = r.received == 0;
        bulk_ = r.received >= bulk_bytes / 2;
        end_read(r, 0);
    }
    leave();
}

void socket::give_up(socket_read* r) noexcept {
    if (reader_ != r) {
        return;  // served in the meantime
    }
    if (r->direct.idle()) {
        end_read(*r, context_failure(*r->self));
    } else {
        shard::here().io().cancel(r->direct);  // its completion says whether bytes had come
    }
}

void socket::stop_receiving(socket_read*) noexcept {
    if (home_.load(std::memory_order_relaxed) != shard::this_thread()) {
        return;  // it left its home while this was on its way
    }
    auto& io = shard::here().io();
    drop_leases();
    if (reader_ != nullptr && reader_->direct.idle()) {
        end_read(*reader_, failure_closed);
    } else if (reader_ != nullptr) {
        io.cancel(reader_->direct);
    }
    settle();
    io.cancel(receive_);
}

/// Leaves its home for good, when it is closed and nothing arrives in pooled buffers any more.
/// A read may find that: it made its core the home while another core closed the socket.
void socket::settle() noexcept {
    if (closed() && receive_.idle() &&
        home_.load(std::memory_order_relaxed) == shard::this_thread()) {
        core_ends();
    }
}

void socket::drop_leases() noexcept {
    auto& io = shard::here().io();
    for (; leases_ != 0; --leases_) {
        io.give_back(std::exchange(first_lease_, io.buffer(first_lease_).next));
    }
    taken_ = 0;
}

/// Leaves its home. What had arrived and was not read is lost with the core.
void socket::core_ends() noexcept {
    if (leases_ != 0) {
        drop_leases();
        error_ = ECANCELED;
    }
    shard::here().remove_resident(*this);
    home_.store(nullptr, std::memory_order_release);
}

// --- operations ---

socket_read::receive_operation::receive_operation(socket_read& r) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          socket_read& reader = static_cast<receive_operation&>(op).owner;
          reader.from->direct_completed(reader, c);
      }),
      owner(r) {
    code = io_code::receive;
    fd = r.from->descriptor();
    address = r.buffer.data();
    length = static_cast<std::uint32_t>(std::min<std::size_t>(r.buffer.size(), 1U << 30));
}

socket_read::socket_read(socket& s, std::span<std::byte> into) noexcept
    : wait(read_wait), from(&s), buffer(into), direct(*this) {}

bool socket_read::start() noexcept { return !buffer.empty() && from->read(*this); }

void socket_read::raise() { raise_failure(*from, "read", self->error); }

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
    : wait(write_wait), to(&s), data(what), send(*this) {}

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

void socket_write::raise() { raise_failure(*to, "write", self->error); }

bool close_operation::start() noexcept { return socket_->close(self); }

}  // namespace ringo::net::detail
