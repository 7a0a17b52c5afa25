#include <ringo/detail/gate.hpp>

namespace ringo::detail {

namespace {

gate_waiter& waiter_of(wait& w) noexcept { return static_cast<gate_waiter&>(w); }

}  // namespace

void gate_waiter::cancel(wait& w) noexcept {
    gate& g = *waiter_of(w).on;
    cancel_waiter(waiter_of(w), g.lock, g.waiters);
}

void gate_waiter::withdraw(wait& w) noexcept {
    gate& g = *waiter_of(w).on;
    withdraw_waiter(waiter_of(w), g.lock, g.waiters);
}

constinit const arm_type gate_operation::arm = make_arm(&gate_waiter::withdraw);

bool arrival::arrive_last(std::ptrdiff_t refill) noexcept {
    is_last = on->count == 1;
    if (is_last) {
        on->count = refill;
        others = on->waiters.pop_all();
    }
    return is_last;
}

void arrival::enlist() noexcept {
    --on->count;
    on->waiters.push_back(*this);
}

void arrival::cancel(wait& w) noexcept {
    gate& g = *waiter_of(w).on;
    cancel_waiter(waiter_of(w), g.lock, g.waiters,
                  [](waiter& left, woken_list&) noexcept { ++waiter_of(left).on->count; });
}

}  // namespace ringo::detail
