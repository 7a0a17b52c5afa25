#include <ringo/poll.hpp>

#include "readiness.hpp"
#include "shard.hpp"

#include <ringo/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include <poll.h>

namespace ringo::detail {

class fd_poll : public readiness {
public:
    explicit fd_poll(poll_operation& op) noexcept
        : readiness(op.fd_, op.events_, &op, &completed) {}

    static poll_operation& of(wait& w) noexcept { return static_cast<poll_operation&>(w); }

    static void begin(wait& w) noexcept {
        of(w).polled_ = new fd_poll(of(w));
        shard::here().io().start(*of(w).polled_);
    }
    static void leave(wait& w) noexcept {
        if (fd_poll* const p = std::exchange(of(w).polled_, nullptr)) {
            p->waits = nullptr;
            shard::here().io().cancel(*p);
        }
    }
    static void describe(const wait& w, wait_state& s) noexcept {
        s.fd = static_cast<const poll_operation&>(w).fd_;
    }
    static void cancel(wait& w) noexcept {
        if (of(w).polled_ != nullptr) {  // else it has ended, and will be resumed
            leave(w);
            give_up(w);
        }
    }
    static bool attempt(wait& w, waiter*&) noexcept {
        pollfd p{.fd = of(w).fd_, .events = of(w).events_, .revents = 0};
        const int n = ::poll(&p, 1, 0);
        if (of(w).fd_ >= 0 && n <= 0) {
            return false;
        }
        tell(of(w), n > 0 && p.revents != POLLNVAL ? p.revents : -EBADF);
        return true;
    }

private:
    static void completed(io_operation& op, const io_completion& c) noexcept {
        auto& me = static_cast<fd_poll&>(op);
        if (me.waits != nullptr) {
            poll_operation& p = of(*me.waits);
            p.polled_ = nullptr;
            if (p.type->wakes != waker::select || claim_select(p)) {
                tell(p, c.result);
                resume(&p);
            }
        }
        delete &me;
    }
    static void tell(poll_operation& p, int result) noexcept {
        if (result < 0) {
            error_of(p) = static_cast<std::uint8_t>(-result);
        } else {
            p.ready_ = static_cast<short>(result);
        }
    }
};

const wait_type poll_wait{"poll", &fd_poll::cancel, nullptr, waker::goroutine, &fd_poll::describe};

const arm_type poll_operation::arm{
    {"select", nullptr, nullptr, waker::select},
    [](wait&) noexcept -> bias_lock* { return nullptr; },
    &fd_poll::attempt,
    &fd_poll::begin,
    &fd_poll::leave,
};

bool poll_operation::start() noexcept {
    fd_poll::begin(*this);
    return true;
}

void poll_operation::raise() {
    throw_failure(self->error,
                  self->error < failure_cancelled ? fmt::format("poll {}", fd_) : "poll", 0);
}

}  // namespace ringo::detail
