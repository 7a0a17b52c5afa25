#include <ringo/semaphore.hpp>

#include <ringo/detail/panic.hpp>

namespace ringo::detail {

namespace {

acquiring& acquiring_of(wait& w) noexcept { return static_cast<acquiring&>(w); }

/// The first in line may have been the only one that asked for too much.
void serve_next(waiter& left, woken_list& woken) noexcept {
    static_cast<acquiring&>(left).on->serve(woken);
}

}  // namespace

const wait_type semaphore_wait{"semaphore acquire", &acquiring::cancel};

constinit const arm_type acquire_operation::arm = make_arm(&acquiring::withdraw);

void acquiring::cancel(wait& w) noexcept {
    if (!acquiring_of(w).possible) {
        give_up(w);
        return;
    }
    semaphore_core& s = *acquiring_of(w).on;
    cancel_waiter(acquiring_of(w), s.lock, s.waiters, &serve_next);
}

void acquiring::withdraw(wait& w) noexcept {
    semaphore_core& s = *acquiring_of(w).on;
    withdraw_waiter(acquiring_of(w), s.lock, s.waiters, &serve_next);
}

semaphore_core* semaphore_core::make(std::ptrdiff_t n) {
    check_weight(n);
    return new semaphore_core(n);
}

void semaphore_core::disown() noexcept {
    {
        const bias_guard guard(lock);
        ownerless_ = available != capacity;
        if (ownerless_) {
            return;
        }
    }
    delete this;
}

void semaphore_core::serve(woken_list& woken) noexcept {
    while (auto* const w = static_cast<acquiring*>(waiters.front())) {
        if (w->weight > available) {
            return;
        }
        if (waiters.take(*w)) {
            available -= w->weight;
            w->granted = true;
            woken.add(*w);
        }
    }
}

waiter* semaphore_core::serve() noexcept {
    woken_list woken;
    serve(woken);
    return woken.first();
}

void check_weight(std::ptrdiff_t k) noexcept {
    if (k < 0) {
        panic("semaphore: a negative number of permits");
    }
}

}  // namespace ringo::detail
