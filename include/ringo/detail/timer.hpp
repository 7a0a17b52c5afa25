// An entry of a core's timers, without allocation: it lies where its owner lies.
#pragma once

#include <ringo/detail/operation.hpp>

#include <cstddef>
#include <cstdint>

namespace ringo::detail {

/// One deadline; when it passes, the core calls the wait type's `fire`. What is no goroutine's
/// wait has no `self`. core: the core that it was added on
struct timer_entry : wait {
    using wait::wait;

    std::int64_t deadline_ns = 0;  // of the core's clock
    union {
        timer_entry* next = nullptr;  // in a slot's list
        std::size_t heap_index;       // among those that are due next
    };
    timer_entry** link = nullptr;  // what points here; null while in the heap or nowhere
};

}  // namespace ringo::detail
