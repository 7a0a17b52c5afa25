#include <ringo/once.hpp>

#include <ringo/detail/panic.hpp>

namespace ringo::detail {

namespace {

void cancel_call(wait& w) noexcept {
    auto& op = static_cast<once_waiter&>(w);
    cancel_waiter(op, op.on->lock, op.on->waiting);
}

}  // namespace

const wait_type once_wait{"once call", &cancel_call};

once_state::~once_state() {
    if (now.load(std::memory_order_relaxed) == state::running) {
        panic("once: destroyed while its function runs");
    }
}

void once_state::finish() noexcept {
    woken_list woken;
    {
        const bias_guard guard(lock);
        now.store(state::done, std::memory_order_release);  // pairs with done()
        while (waiter* const w = waiting.pop()) {
            woken.add(*w);
        }
    }
    woken.resume_all();
}

}  // namespace ringo::detail
