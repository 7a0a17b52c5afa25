#include <ringo/event.hpp>

namespace ringo {

const detail::wait_type detail::event_wait{"event wait", &gate_waiter::cancel};

void event::set() noexcept {
    detail::waiter* woken = nullptr;
    {
        const detail::bias_guard guard(gate_.lock);
        gate_.add(-gate_.count, woken);
    }
    detail::resume_all(woken);
}

void event::reset() noexcept {
    const detail::bias_guard guard(gate_.lock);
    gate_.count = 1;
}

}  // namespace ringo
