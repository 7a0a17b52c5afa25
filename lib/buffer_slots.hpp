// A core's registered buffers: memory that the kernel has pinned, by number.
#pragma once

#include <ringo/detail/goroutine.hpp>

#include <array>
#include <atomic>
#include <cstdint>

namespace ringo::detail {

// Lifetime: buffers may outlive the core. The last of them, or the core, frees this.
//
// Kernel: only the ring's own thread may change its table. So a buffer that goes elsewhere says so
// here, and the home looks before it registers the next. Until then its pages stay pinned.
class buffer_slots {
public:
    static constexpr int count = 256;

    explicit buffer_slots(core_state& home) noexcept : home_(&home) {}
    buffer_slots(const buffer_slots&) = delete;
    buffer_slots& operator=(const buffer_slots&) = delete;

    // --- home core ---

    /// Calls `f(slot)` for each that has been given back elsewhere.
    template <class F>
    void collect(F f) noexcept {
        if (!any_returned_.exchange(false, std::memory_order_acquire)) {
            return;
        }
        for (int i = 0; i < count; ++i) {
            if (at(i).returned.exchange(false, std::memory_order_acquire)) {
                f(i);
            }
        }
    }
    /// -1: all are taken.
    int take() noexcept {
        for (int i = 0; i < count; ++i) {
            if (!at(i).taken) {
                at(i).taken = true;
                owners_.fetch_add(1, std::memory_order_relaxed);
                return i;
            }
        }
        return -1;
    }
    /// What `take` gave, and nobody has any more.
    void free(int slot) noexcept { at(slot).taken = false; }
    /// By the core, which is about to end.
    void retire() noexcept {
        home_.store(nullptr, std::memory_order_release);
        release();
    }

    // --- any thread ---

    bool is_home() const noexcept {
        return this_core_state != nullptr &&
               home_.load(std::memory_order_acquire) == this_core_state;
    }
    void give_back(int slot) noexcept {
        at(slot).returned.store(true, std::memory_order_release);
        any_returned_.store(true, std::memory_order_release);
    }
    void release() noexcept {
        if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            delete this;
        }
    }

private:
    struct entry {
        bool taken = false;  // home core
        std::atomic<bool> returned{false};
    };

    ~buffer_slots() = default;
    entry& at(int i) noexcept { return entries_[static_cast<std::size_t>(i)]; }

    std::atomic<core_state*> home_;         // null: retired
    std::atomic<std::uint32_t> owners_{1};  // buffers, and the core
    std::atomic<bool> any_returned_{false};
    std::array<entry, count> entries_;
};

}  // namespace ringo::detail
