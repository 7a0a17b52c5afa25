#include <ringo/time.hpp>

#include "shard.hpp"
#include "timers.hpp"

namespace ringo::detail {

namespace {

void cancel_sleep(wait& w) noexcept {
    shard::here().timers.remove(static_cast<timer_entry&>(w));
    w.self->error = context_failure(*w.self);
    wake(*w.self);
}

void end_sleep(wait& w) noexcept { wake(*w.self); }

}  // namespace

const wait_type sleep_wait{"sleep", &cancel_sleep, &end_sleep};

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
    shard::here().timers.add(*this);
    return true;
}

}  // namespace ringo::detail
