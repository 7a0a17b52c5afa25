// A core's side of the locks that are biased to it (bias_lock.hpp).
#pragma once

#include <atomic>
#include <cstdint>

namespace ringo::detail {

/// A core's word about itself. Lifetime: slots are used again, but never freed, so that what was
/// made in an earlier run can still be asked for its home.
struct alignas(64) bias_slot {
    std::atomic<bool> inside{false};        // the core is inside a lock that is biased to it
    std::atomic<std::uint32_t> revoked{0};  // biases that others took away
    bias_slot* next_free = nullptr;
    std::uint16_t tag = 0;  // among all slots
};

/// What locks that have no home are biased to.
extern constinit bias_slot no_home;

/// How a core biases what it makes.
class bias {
public:
    /// Gives this core a slot, and the slot's tag.
    std::uint16_t acquire();
    void release() noexcept;

    /// Null outside of a run.
    bias_slot* slot() const noexcept { return slot_; }
    /// For a new lock.
    bias_slot& home() noexcept {
        if (--until_review_ == 0) [[unlikely]] {
            review();
        }
        return *home_;
    }

private:
    void review() noexcept;

    bias_slot* slot_ = nullptr;
    bias_slot* home_ = &no_home;
    std::uint32_t until_review_ = 0;
};

}  // namespace ringo::detail
