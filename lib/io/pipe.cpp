#include <ringo/io/pipe.hpp>

#include "../readiness.hpp"
#include "../shard.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/detail/selection.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace ringo::io {

namespace detail {

using ringo::detail::bias_lock;
using ringo::detail::claim_select;
using ringo::detail::context_failure;
using ringo::detail::descriptor;
using ringo::detail::descriptor_use;
using ringo::detail::error_of;
using ringo::detail::failure_cancelled;
using ringo::detail::failure_closed;
using ringo::detail::io_code;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::readiness;
using ringo::detail::resume;
using ringo::detail::selection;
using ringo::detail::shard;
using ringo::detail::wait;
using ringo::detail::wait_type;
using ringo::detail::waiter;
using ringo::detail::wake;
using ringo::detail::waker;

constexpr std::uint32_t immediate_mean = 32;  // operations that end at once, in a row

void cancel_pipe_io(wait& w) noexcept { shard::here().io().cancel(static_cast<pipe_io&>(w).poll_); }

const wait_type pipe_read_wait{"pipe read", &cancel_pipe_io};
const wait_type pipe_write_wait{"pipe write", &cancel_pipe_io};

pipe_io::poll_operation::poll_operation(pipe_io& p) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          static_cast<poll_operation&>(op).owner.polled(c.result);
      }),
      owner(p) {
    code = io_code::poll;
    fd = p.on_->fd();
    length = p.writes() ? POLLOUT : POLLIN;
}

pipe_io::pipe_io(const wait_type& t, descriptor& d, void* data, std::size_t size) noexcept
    : waiter(t), what_(t), on_(&d), data_(data), size_(size) {}

bool pipe_io::start() noexcept {
    if (size_ == 0) {
        return false;
    }
    if (!on_->enter(use_)) {
        fail(failure_closed);
        return false;
    }
    if (attempt_now()) {
        on_->leave(use_);
        return let_others_run();
    }
    use_.home->io().start(poll_);
    return true;
}

/// What is always ready must not keep the core for itself. True: queued behind the others.
bool pipe_io::let_others_run() noexcept {
    if (shard::here().random() % immediate_mean != 0) {
        return false;
    }
    wake(*self);
    return true;
}

/// Reads or writes without waiting, as long as nobody can close the descriptor. False: not now.
bool pipe_io::attempt_now() noexcept {
    ::ssize_t n = -1;
    do {
        n = writes() ? ::write(on_->fd(), data_, size_) : ::read(on_->fd(), data_, size_);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        return false;
    }
    if (n < 0) {
        fail(errno);
    } else {
        done_ = static_cast<std::size_t>(n);
    }
    return true;
}

void pipe_io::fail(int error) noexcept {
    error_of(*this) = static_cast<std::uint8_t>(error);
    if (error < failure_cancelled && !keeps_) {
        keeps_ = true;  // for its name
        on_->retain();
    }
}

void pipe_io::polled(int result) noexcept {
    if (result == -ECANCELED) {
        fail(on_->closed() ? int{failure_closed} : context_failure(*self));
    } else if (result < 0 && result != -EINTR) {
        fail(-result);
    } else if (!attempt_now()) {
        // Somebody else took what there was. A cancel may have come with the poll's end.
        if (!on_->closed() && !self->cancelled) {
            use_.home->io().start(poll_);
            return;
        }
        fail(on_->closed() ? int{failure_closed} : context_failure(*self));
    }
    on_->leave(use_);
    resume(this);
}

void pipe_io::raise() {
    const std::uint8_t error = self->error;
    const char* const name = writes() ? "write" : "read";
    ringo::detail::throw_failure(
        error, error < failure_cancelled ? fmt::format("{} {}", name, on_->name()) : name, 0);
}

// --- as an arm of a select ---

/// Tells an arm when to try. Left behind when the select is over.
class pipe_poll : public readiness {
public:
    explicit pipe_poll(pipe_io& p) noexcept
        : readiness(p.on_->fd(), p.writes() ? POLLOUT : POLLIN, &p, &completed), on_(*p.on_) {}

    static pipe_io& of(wait& w) noexcept { return static_cast<pipe_io&>(w); }

    static void begin(wait& w) noexcept {
        pipe_io& p = of(w);
        auto* const poll = new pipe_poll(p);
        if (p.on_->enter(poll->use_)) {
            p.arm_poll_ = poll;
            poll->use_.home->io().start(*poll);
            return;
        }
        delete poll;
        if (claim_select(p)) {  // closed since the attempt
            p.fail(failure_closed);
            resume(&p);
        }
    }
    static void leave(wait& w) noexcept {
        if (pipe_poll* const poll = std::exchange(of(w).arm_poll_, nullptr)) {
            poll->waits = nullptr;
            shard::here().io().cancel(*poll);
        }
    }
    static bool attempt(wait& w, waiter*&) noexcept { return of(w).attempt(); }

private:
    static void completed(io_operation& op, const io_completion& c) noexcept {
        auto& me = static_cast<pipe_poll&>(op);
        if (me.waits == nullptr || me.offer(of(*me.waits), c.result)) {
            descriptor& d = me.on_;
            d.leave(me.use_);
            delete &me;
        } else {
            shard::here().io().start(me);
        }
    }
    /// False: there is nothing to be done after all.
    bool offer(pipe_io& p, int result) noexcept {
        selection& s = *p.select;
        if (s.try_claim()) {
            bool ended = true;
            if (result < 0 || on_.closed()) {
                p.fail(on_.closed() ? int{failure_closed} : -result);
            } else {
                ended = p.attempt_now();
            }
            s.decide(ended ? &p : nullptr);
            if (!ended) {
                return false;
            }
            p.arm_poll_ = nullptr;
            resume(&p);
        } else {
            p.arm_poll_ = nullptr;
        }
        return true;
    }

    descriptor& on_;
    descriptor_use use_{*this};
};

bool pipe_io::attempt() noexcept {
    if (size_ == 0) {
        return true;
    }
    if (!on_->enter(use_)) {
        fail(failure_closed);
        return true;
    }
    const bool ended = attempt_now();
    on_->leave(use_);
    return ended;
}

const ringo::detail::arm_type pipe_io::arm{
    {"select", nullptr, nullptr, waker::select},
    [](wait&) noexcept -> bias_lock* { return nullptr; },
    &pipe_poll::attempt,
    &pipe_poll::begin,
    &pipe_poll::leave,
};

// --- the ends ---

pipe_end::pipe_end(int fd, std::string name) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        throw std::system_error(errno, std::system_category(), name);
    }
    pipe_ = new ringo::detail::descriptor(fd, std::move(name));
}

void pipe_end::close() noexcept {
    if (ringo::detail::descriptor* const d = std::exchange(pipe_, nullptr)) {
        d->close(nullptr);
        d->release();
    }
}

ringo::detail::descriptor& pipe_end::handle() const {
    if (pipe_ == nullptr) {
        ringo::detail::panic("pipe: use of an end that is not open");
    }
    return *pipe_;
}

}  // namespace detail

detail::pipe_operation pipe_reader::read(mutable_buffer buffer) {
    return {detail::pipe_read_wait, handle(), buffer.bytes().data(), buffer.bytes().size()};
}

detail::pipe_operation pipe_writer::write_some(const_buffer data) {
    return {detail::pipe_write_wait, handle(), const_cast<std::byte*>(data.bytes().data()),
            data.bytes().size()};
}

task<> pipe_writer::write(const_buffer data) {
    const std::span<const std::byte> all = data.bytes();
    std::size_t done = 0;
    while (done < all.size()) {
        const auto rest = all.subspan(done);
        try {
            done += co_await write_some(rest);
        } catch (const cancelled&) {
            throw cancelled("write", done);
        } catch (const deadline_exceeded&) {
            throw deadline_exceeded("write", done);
        }
    }
}

pipe_ends pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) {
        throw std::system_error(errno, std::system_category(), "pipe");
    }
    pipe_reader reader(fds[0], "pipe");
    return {std::move(reader), pipe_writer(fds[1], "pipe")};
}

}  // namespace ringo::io
