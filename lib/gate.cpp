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

bool arrival::is_last(std::ptrdiff_t refill) noexcept {
    if (on->count > 1) {
        return false;
    }
    on->count = refill;
    others = on->waiters.pop_all();
    return true;
}

void arrival::enlist() noexcept {
    // Not to zero: two arms of one select may arrive here, and neither lets the other go.
    counted_ = on->count > 1;
    if (counted_) {
        --on->count;
    }
    on->waiters.push_back(*this);
}

void arrival::take_back(waiter& w, woken_list&) noexcept {
    auto& self = static_cast<arrival&>(w);
    if (self.counted_) {
        ++self.on->count;
    }
}

void arrival::cancel(wait& w) noexcept {
    gate& g = *waiter_of(w).on;
    cancel_waiter(waiter_of(w), g.lock, g.waiters, &take_back);
}

void arrival::withdraw(wait& w) noexcept {
    gate& g = *waiter_of(w).on;
    withdraw_waiter(waiter_of(w), g.lock, g.waiters, &take_back);
}

}  // namespace ringo::detail
