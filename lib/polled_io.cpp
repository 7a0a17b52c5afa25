#include <ringo/detail/polled_io.hpp>

#include "readiness.hpp"
#include "shard.hpp"

#include <ringo/detail/selection.hpp>
#include <ringo/error.hpp>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace ringo::detail {

namespace {

constexpr std::uint32_t immediate_mean = 32;  // operations that end at once, in a row

}  // namespace

void polled_io::cancel(wait& w) noexcept {
    shard::here().io().cancel(static_cast<polled_io&>(w).poll_);
}

void polled_io::describe(const wait& w, wait_state& s) noexcept {
    s.fd = static_cast<const polled_io&>(w).on_->fd();
}

polled_io::poll_operation::poll_operation(polled_io& p) noexcept
    : io_operation([](io_operation& op, const io_completion& c) noexcept {
          static_cast<poll_operation&>(op).owner.polled(c.result);
      }),
      owner(p) {
    code = io_code::poll;
    length = static_cast<unsigned short>(p.what_.events);
}

polled_io::polled_io(const polled_type& t, descriptor& d) noexcept
    : waiter(t), polled_fd_(d.fd()), what_(t), on_(&d) {}

bool polled_io::start() noexcept {
    if (!on_->enter(use_)) {
        fail(failure_closed);
        return false;
    }
    if (attempt_now()) {
        on_->leave(use_);
        return let_others_run();
    }
    poll_.fd = polled_fd_;
    use_.home->io().start(poll_);
    return true;
}

/// What is always ready must not keep the core for itself. True: queued behind the others.
bool polled_io::let_others_run() noexcept {
    if (shard::here().random() % immediate_mean != 0) {
        return false;
    }
    wake(*self);
    return true;
}

/// False: not now.
bool polled_io::attempt_now() noexcept {
    shard::here().count_system_call();
    int error = 0;
    do {
        error = what_.attempt(*this);
    } while (error == EINTR);
    if (error != 0 && error != EAGAIN) {
        fail(error);
    }
    return error != EAGAIN;
}

void polled_io::fail(int error) noexcept {
    error_of(*this) = static_cast<std::uint8_t>(error);
    if (error < failure_cancelled && !keeps_) {
        keeps_ = true;  // for its name
        on_->retain();
    }
}

void polled_io::polled(int result) noexcept {
    if (result == -ECANCELED) {
        fail(on_->closed() ? int{failure_closed} : context_failure(*self));
    } else if (result < 0 && result != -EINTR) {
        fail(-result);
    } else if (!attempt_now()) {
        // Somebody else took what there was. A cancel may have come with the poll's end.
        if (!on_->closed() && !self->cancelled) {
            poll_.fd = polled_fd_;
            use_.home->io().start(poll_);
            return;
        }
        fail(on_->closed() ? int{failure_closed} : context_failure(*self));
    }
    on_->leave(use_);
    resume(this);
}

// --- as an arm of a select ---

/// Tells an arm when to try. Left behind when the select is over.
class polled_arm : public readiness {
public:
    explicit polled_arm(polled_io& p) noexcept
        : readiness(p.polled_fd_, p.what_.events, &p, &completed), on_(*p.on_) {}

    static polled_io& of(wait& w) noexcept { return static_cast<polled_io&>(w); }

    static void begin(wait& w) noexcept {
        polled_io& p = of(w);
        auto* const arm = new polled_arm(p);
        if (p.on_->enter(arm->use_)) {
            p.arm_ = arm;
            arm->use_.home->io().start(*arm);
            return;
        }
        delete arm;
        if (claim_select(p)) {  // closed since the attempt
            p.fail(failure_closed);
            resume(&p);
        }
    }
    static void leave(wait& w) noexcept {
        if (polled_arm* const arm = std::exchange(of(w).arm_, nullptr)) {
            arm->waits = nullptr;
            shard::here().io().cancel(*arm);
        }
    }
    static bool attempt(wait& w, waiter*&) noexcept { return of(w).attempt(); }

private:
    static void completed(io_operation& op, const io_completion& c) noexcept {
        auto& me = static_cast<polled_arm&>(op);
        if (me.waits == nullptr || me.offer(of(*me.waits), c.result)) {
            descriptor& d = me.on_;
            d.leave(me.use_);
            delete &me;
        } else {
            shard::here().io().start(me);
        }
    }
    /// False: there is nothing to be done after all.
    bool offer(polled_io& p, int result) noexcept {
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
            p.arm_ = nullptr;
            resume(&p);
        } else {
            p.arm_ = nullptr;
        }
        return true;
    }

    descriptor& on_;
    descriptor_use use_{*this};
};

bool polled_io::attempt() noexcept {
    if (!on_->enter(use_)) {
        fail(failure_closed);
        return true;
    }
    const bool ended = attempt_now();
    on_->leave(use_);
    return ended;
}

const arm_type polled_io::arm{
    {"select", nullptr, nullptr, waker::select},
    [](wait&) noexcept -> bias_lock* { return nullptr; },
    &polled_arm::attempt,
    &polled_arm::begin,
    &polled_arm::leave,
};

}  // namespace ringo::detail
