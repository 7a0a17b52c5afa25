#include "scripted.hpp"

#include "cores.hpp"
#include "deadlock.hpp"
#include "shard.hpp"
#include "timers.hpp"

#include <ringo/detail/panic.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ringo::detail {

namespace {
// While a run ends, its busy turns take time, so that goroutines that only spin do not hold it up.
constexpr std::int64_t ending_turn_ns = 100'000;
}  // namespace

void scripted::start(io_operation& op) noexcept {
    RINGO_ASSERT(op.idle());
    op.state = io_state::queued;
    active_.push_back(op);
    queue_.push_back(&op);
    ++in_flight_;
    counts.started(op);
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

void scripted::submit() noexcept {
    for (io_operation* const op : std::exchange(queue_, {})) {
        if (op->state == io_state::queued) {
            op->state = io_state::submitted;
            if (on_start_) {
                on_start_(*op);
            }
        }
    }
}

void scripted::take_turn(std::int64_t until_ns) noexcept {
    submit();
    const shard* const core = shard::this_thread();
    if (due_.empty() && until_ns > now_ns_) {
        wait(until_ns);
    } else if (core != nullptr && core->all.stopping()) {
        now_ns_ += ending_turn_ns;
    }
    for (const due& d : std::exchange(due_, {})) {
        counts.completed(*d.op, d.completion);
        if (!d.completion.more) {
            active_.remove(*d.op);
            d.op->state = io_state::idle;
            --in_flight_;
        }
        d.op->complete(*d.op, d.completion);
    }
}

void scripted::wait(std::int64_t until_ns) noexcept {
    if (wait_for_wake(std::chrono::milliseconds(0))) {
        return;
    }
    const bool timers = until_ns != timer_wheel::never;
    std::size_t outside = 0;
    bool stopping = false;
    if (shard* const core = shard::this_thread(); core != nullptr) {
        outside = core->outside().functions + (timers ? 0 : core->outside().callbacks);
        stopping = core->all.stopping();
    }
    late_ = std::min(late_, outside);
    if (outside > (timers ? late_ : 0)) {
        if (wait_for_wake(time_.outside_wait)) {
            return;
        }
        late_ = outside;
    }
    if (timers) {
        now_ns_ = until_ns;
    } else if (stopping && outside != 0) {
        wait_for_wake(std::nullopt);  // the end of a run waits for all threads
    } else if (time_.on_deadlock) {
        time_.on_deadlock();
    } else {
        panic(deadlock_message);
    }
}

/// limit: real time; none: for ever
bool scripted::wait_for_wake(std::optional<std::chrono::milliseconds> limit) noexcept {
    std::unique_lock guard(lock_);
    const auto woken = [this] { return woken_; };
    if (limit) {
        wakes_.wait_for(guard, *limit, woken);
    } else {
        wakes_.wait(guard, woken);
    }
    return std::exchange(woken_, false);
}

void scripted::wake() noexcept {
    const std::lock_guard guard(lock_);  // while notifying too: the run may end at once
    woken_ = true;
    wakes_.notify_one();
}

}  // namespace ringo::detail
