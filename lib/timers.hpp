// A core's timers: a hierarchical wheel for what is far, an exact heap for what is near.
//
// A timer whose tick has begun is in the heap; all others are in a slot of the level at which
// their tick first differs from the wheel's. When a slot's time comes, its timers move down.
// Adding and removing cost a few stores, each expiry at most a handful of moves.
#pragma once

#include <ringo/detail/timer.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace ringo::detail {

class timer_wheel {
public:
    static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

    void add(timer_entry& t);
    /// Nothing happens when `t` is not among them.
    void remove(timer_entry& t) noexcept;

    /// Fires what is due at `now_ns`, earliest first; at most `expiries_max`, so that those who
    /// are woken run while the cache still holds them. What is left is due at once.
    /// returns  how many
    int expire(std::int64_t now_ns) noexcept;
    static constexpr int expiries_max = 1024;

    /// When `expire` must run next; not after the earliest deadline. `never` without timers.
    std::int64_t next_ns() const noexcept;

    bool empty() const noexcept { return count_ == 0; }
    std::size_t count() const noexcept { return count_; }

private:
    static constexpr unsigned tick_bits = 16;  // a tick is 65.5 us
    static constexpr unsigned level_bits = 6;
    static constexpr unsigned level_count = 8;  // 16 + 8 * 6 bits: all of time
    static constexpr unsigned slot_count = 1U << level_bits;

    // Why lanes: a million timers are not in the cache, and walking one list waits for memory at
    // each step. Several at once wait together.
    static constexpr unsigned lane_count = 4;
    using slot_lists = std::array<timer_entry*, lane_count>;

    /// With the deadline beside it, so that ordering touches no timer.
    struct due_entry {
        std::int64_t deadline_ns;
        timer_entry* timer;
    };
    struct next_slot {
        unsigned level;
        unsigned slot;
        std::int64_t tick;  // when it begins
    };

    void place(timer_entry& t);
    void move_down(slot_lists lists);
    void note_if_empty(timer_entry** emptied) noexcept;
    bool find_next_slot(next_slot& found) const noexcept;
    void sift_up(std::size_t i) noexcept;
    void sift_down(std::size_t i) noexcept;
    void set(std::size_t i, due_entry d) noexcept;

    std::int64_t wheel_tick_ = 0;  // every timer of this tick or an earlier one is in the heap
    std::size_t count_ = 0;
    std::vector<due_entry> near_;
    std::uint64_t occupied_[level_count] = {};
    unsigned next_lane_ = 0;
    slot_lists slots_[level_count][slot_count] = {};
};

}  // namespace ringo::detail
