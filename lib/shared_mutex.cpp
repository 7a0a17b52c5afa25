#include <ringo/shared_mutex.hpp>

namespace ringo::detail {

namespace {

void let_in_next(waiter& left, woken_list& woken) noexcept {
    static_cast<shared_mutex_waiter&>(left).on->admit(woken);
}

void cancel(wait& w) noexcept {
    auto& op = static_cast<shared_mutex_waiter&>(w);
    cancel_waiter(op, op.on->lock, op.on->waiting, &let_in_next);
}

void withdraw(wait& w) noexcept {
    auto& op = static_cast<shared_mutex_waiter&>(w);
    withdraw_waiter(op, op.on->lock, op.on->waiting, &let_in_next);
}

}  // namespace

const wait_type write_lock_wait{"shared_mutex lock", &cancel};
const wait_type read_lock_wait{"shared_mutex lock_shared", &cancel};

const arm_type write_lock_operation::arm = make_arm(&withdraw);
const arm_type read_lock_operation::arm = make_arm(&withdraw);

void shared_mutex_state::admit(woken_list& woken) noexcept {
    while (waiting.front() != nullptr) {
        auto& first = static_cast<shared_mutex_waiter&>(*waiting.front());
        const bool writes = first.writes;
        if (writing || (writes && readers != 0)) {
            return;
        }
        if (!waiting.take(first)) {
            continue;
        }
        first.owns = true;
        if (writes) {
            writing = true;
        } else {
            ++readers;
        }
        woken.add(first);
    }
}

void shared_mutex_state::admit(bias_guard& guard) noexcept {
    woken_list woken;
    admit(woken);
    guard.unlock();
    woken.resume_all();
}

}  // namespace ringo::detail
