#include <ringo/condition_variable.hpp>

#include <ringo/detail/operation.hpp>
#include <ringo/detail/panic.hpp>

#include <utility>

namespace ringo::detail {

struct condition_wait_type {
    static constexpr wait_type value{"condition_variable wait", &condition_wait::cancel};
};

void condition_state::notify_one() noexcept {
    waiter* first = nullptr;
    {
        const bias_guard guard(lock);
        first = waiting.pop();
    }
    if (first != nullptr) {
        condition_wait::reacquire(*first);
    }
}

void condition_state::notify_all() noexcept {
    waiter* first = nullptr;
    {
        const bias_guard guard(lock);
        first = waiting.pop_all();
    }
    while (first != nullptr) {
        // Lifetime: once it has the mutex, it may be gone.
        waiter* const w = first;
        first = w->next;
        condition_wait::reacquire(*w);
    }
}

condition_wait::condition_wait(condition_state& c, mutex_guard& g) noexcept
    : mutex_waiter(condition_wait_type::value, nullptr), on_(&c), guard_(&g) {}

bool condition_wait::suspend(goroutine& g, frame_handle h) noexcept {
    if (!*guard_) {
        panic("condition_variable: wait without the mutex");
    }
    self = &g;
    g.error = 0;
    if (g.cancelled) [[unlikely]] {
        g.error = context_failure(g);
        return false;
    }
    on = std::exchange(guard_->on_, nullptr);
    {
        const bias_guard guard(on_->lock);
        park(g, h, this);
        on_->waiting.push_back(in_condition_);
    }
    on->unlock();
    return true;
}

void condition_wait::await_resume() {
    if (std::exchange(owns, false)) {
        guard_->on_ = on;
    }
    if (self->error != 0) [[unlikely]] {
        raise();
    }
}

void condition_wait::raise() { throw_failure(self->error, type->name); }

/// Gets in line for the mutex, or takes it.
void condition_wait::reacquire() noexcept {
    {
        const bias_guard guard(on->lock);
        if (!abandoned_) {
            if (on->locked) {
                on->waiting.push_back(*this);
                return;
            }
            on->locked = true;
            owns = true;
        }
    }
    resume(this);
}

/// Out of the mutex's list too. False: it will be woken.
bool condition_wait::abandon() noexcept {
    const bias_guard guard(on->lock);
    if (owns) {
        return false;
    }
    abandoned_ = true;
    if (!is_linked()) {
        return false;  // who notified it is about to call `reacquire`
    }
    on->waiting.remove(*this);
    return true;
}

void condition_wait::cancel(wait& w) noexcept {
    auto& op = static_cast<condition_wait&>(w);
    goroutine& g = *op.self;
    switch (leave_waiter(op.in_condition_, op.on_->lock, op.on_->waiting)) {
        case departure::orphaned:
            give_up(op);
            return;
        case departure::left:
            g.error = context_failure(g);
            op.reacquire();
            break;
        case departure::popped:
            break;
    }
    if (g.abandoned && op.abandon()) {
        wake(g);
    }
}

}  // namespace ringo::detail
