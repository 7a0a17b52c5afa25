#include <ringo/mutex.hpp>

namespace ringo::detail {

namespace {

void cancel(wait& w) noexcept {
    auto& op = static_cast<mutex_waiter&>(w);
    cancel_waiter(op, op.on->lock, op.on->waiting);
}

void withdraw(wait& w) noexcept {
    auto& op = static_cast<mutex_waiter&>(w);
    withdraw_waiter(op, op.on->lock, op.on->waiting);
}

}  // namespace

const wait_type lock_wait{"mutex lock", &cancel, nullptr, waker::goroutine,
                          [](const wait&, wait_state& s) noexcept { s.name = "mutex"; }};

const arm_type lock_operation::arm = make_arm(&withdraw);

void mutex_state::hand_over(bias_slot* entered) noexcept {
    waiter* const next = waiting.pop();
    if (next != nullptr) {
        static_cast<mutex_waiter*>(next)->owns = true;
    } else {
        locked = false;
    }
    lock.leave(entered);
    resume(next);
}

}  // namespace ringo::detail
