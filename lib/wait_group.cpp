#include <ringo/wait_group.hpp>

namespace ringo::detail {

const wait_type wait_group_wait{"wait_group wait", &gate_waiter::cancel, nullptr, waker::goroutine,
                                [](const wait&, wait_state& s) noexcept { s.name = "wait_group"; }};

void panic_negative_wait_group() noexcept { panic("wait_group: negative counter"); }

void wait_group_core::start_one() noexcept {
    const bias_guard guard(lock);
    ++started_;
    ++count;
}

void wait_group_core::end_one() noexcept {
    waiter* woken = nullptr;
    bool could = false;
    bool last = false;
    {
        const bias_guard guard(lock);
        --started_;
        could = add(-1, woken);
        last = ownerless_ && started_ == 0;
    }
    // Lifetime: unless it is ownerless, its owner may destroy it from here on.
    if (!could) {
        this_core_state->current = nullptr;  // its block is gone, so it cannot be named
        panic_negative_wait_group();
    }
    resume_all(woken);
    if (last) {
        delete this;
    }
}

void wait_group_core::disown() noexcept {
    {
        const bias_guard guard(lock);
        ownerless_ = started_ != 0;
        if (ownerless_) {
            return;
        }
    }
    delete this;
}

}  // namespace ringo::detail
