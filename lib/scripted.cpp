#include "scripted.hpp"

#include "timers.hpp"

#include <ringo/detail/panic.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ringo::detail {

void scripted::start(io_operation& op) noexcept {
    RINGO_ASSERT(op.idle());
    op.state = io_state::queued;
    active_.push_back(op);
    queue_.push_back(&op);
    ++in_flight_;
}

void scripted::complete(io_operation& op, io_completion c) { due_.push_back({&op, c}); }

void scripted::cancel(io_operation& op) noexcept {
    if (op.state != io_state::queued && op.state != io_state::submitted) {
        return;
    }
    op.state = io_state::cancelling;
    const auto won = std::any_of(due_.begin(), due_.end(),
                                 [&op](const due& d) { return d.op == &op && !d.completion.more; });
    if (!won) {
        complete(op, {.result = -ECANCELED, .more = false});
    }
}

void scripted::cancel_all() noexcept {
    for (io_operation* op = active_.front(); op != nullptr; op = op->next) {
        cancel(*op);
    }
}

void scripted::turn(std::int64_t until_ns) noexcept {
    for (io_operation* const op : std::exchange(queue_, {})) {
        if (op->state == io_state::queued) {
            op->state = io_state::submitted;
            if (on_start_) {
                on_start_(*op);
            }
        }
    }
    if (due_.empty() && until_ns > now_ns_ && !woken_.exchange(false)) {
        if (until_ns == timer_wheel::never) {
            panic("all goroutines are asleep - deadlock!");
        }
        now_ns_ = until_ns;
    }
    for (const due& d : std::exchange(due_, {})) {
        if (!d.completion.more) {
            active_.remove(*d.op);
            d.op->state = io_state::idle;
            --in_flight_;
        }
        d.op->complete(*d.op, d.completion);
    }
}

}  // namespace ringo::detail
