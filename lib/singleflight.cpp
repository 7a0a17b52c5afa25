#include <ringo/singleflight.hpp>

#include "context.hpp"

#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/panic.hpp>

namespace ringo::detail {

namespace {

void cancel_flight(wait& w) noexcept {
    auto& op = static_cast<flight_operation&>(w);
    cancel_waiter(op, op.on->lock, op.on->waiters);
}

}  // namespace

const wait_type flight_wait{"singleflight call", &cancel_flight};

flight_core::flight_core()
    : scope(with_cancel(ringo::context(without_cancel(*this_context().node())))) {}

void flight_core::land() noexcept {
    waiter* woken = nullptr;
    {
        const bias_guard guard(lock);
        landed = true;
        woken = waiters.pop_all();
    }
    resume_all(woken);
}

void check_may_call() {
    const core_state* const here = this_core_state;
    if (here == nullptr || here->current == nullptr) {
        panic("singleflight call: called outside a goroutine");
    }
    if (here->current->cancelled) {
        throw_failure(context_failure(*here->current), flight_wait.name);
    }
}

void throw_call_destroyed() { throw_failure(failure_cancelled, flight_wait.name); }

}  // namespace ringo::detail
