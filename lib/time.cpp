#include <ringo/time.hpp>

#include "shard.hpp"
#include "timers.hpp"

#include <ringo/detail/arm.hpp>

#include <limits>

namespace ringo::detail {

namespace {

constexpr std::int64_t fired = std::numeric_limits<std::int64_t>::min();  // as a deadline: is over

void cancel_sleep(wait& w) noexcept {
    shard::here().timers.remove(static_cast<timer_entry&>(w));
    w.self->error = context_failure(*w.self);
    wake(*w.self);
}

void end_sleep(wait& w) noexcept {
    wake(*w.self);
    prefetch(*w.self);
}

bias_lock* no_lock(wait&) noexcept { return nullptr; }
/// Also when it is due: a core's timers fire in its turn, and so reading the clock is saved.
bool not_yet(wait&, waiter*&) noexcept { return false; }
void add_timer(wait& w) noexcept {
    auto& entry = static_cast<timer_entry&>(w);
    if (entry.deadline_ns != timer_wheel::never) {  // or virtual time would run to its end
        shard::here().timers.add(entry);
    }
}
void fire_timer(wait& w) noexcept {
    static_cast<timer_entry&>(w).deadline_ns = fired;
    fire_arm(w);
}
void remove_timer(wait& w) noexcept {
    auto& entry = static_cast<timer_entry&>(w);
    if (entry.deadline_ns != fired) {
        shard::here().timers.remove(entry);
    }
}

}  // namespace

const arm_type sleep_operation::arm{
    {"select", nullptr, &fire_timer, waker::select}, &no_lock, &not_yet, &add_timer, &remove_timer,
};

const wait_type sleep_wait{"sleep", &cancel_sleep, &end_sleep, waker::goroutine,
                           [](const wait& w, wait_state& s) noexcept {
                               s.until_ns = static_cast<const sleep_operation&>(w).deadline_ns;
                           }};

std::int64_t now_ns() noexcept {
    const shard* const here = shard::this_thread();
    return here != nullptr ? here->now_ns() : clock::now().time_since_epoch().count();
}

std::int64_t deadline_after(duration d) noexcept {
    const std::int64_t now = now_ns();
    return d.count() < timer_wheel::never - now ? now + d.count() : timer_wheel::never;
}

bool sleep_operation::start() noexcept {
    // Also when it is due already: a loop of sleeps must not keep the core from its other work.
    add_timer(*this);
    return true;
}

}  // namespace ringo::detail
