#include "timers.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace ringo::detail {

void timer_wheel::add(timer_entry& t) {
    // The end of time and the past are ticks like any other.
    t.deadline_ns = std::max<std::int64_t>(t.deadline_ns, 0);
    place(t);
    ++count_;
}

void timer_wheel::place(timer_entry& t) {
    const std::int64_t tick = t.deadline_ns >> tick_bits;
    if (tick <= wheel_tick_) {
        t.link = nullptr;
        near_.push_back({t.deadline_ns, &t});
        t.heap_index = near_.size() - 1;
        __builtin_prefetch(t.self);  // who is about to be woken
        sift_up(t.heap_index);
        return;
    }
    const auto differs = static_cast<std::uint64_t>(tick ^ wheel_tick_);
    const auto level = static_cast<unsigned>(std::bit_width(differs) - 1) / level_bits;
    const auto slot = static_cast<unsigned>(tick >> (level * level_bits)) % slot_count;
    timer_entry*& head = slots_[level][slot][next_lane_++ % lane_count];
    t.next = head;
    t.link = &head;
    if (head != nullptr) {
        head->link = &t.next;
    }
    head = &t;
    occupied_[level] |= std::uint64_t{1} << slot;
}

void timer_wheel::remove(timer_entry& t) noexcept {
    if (t.link != nullptr) {
        *t.link = t.next;
        if (t.next != nullptr) {
            t.next->link = t.link;
        } else {
            note_if_empty(t.link);
        }
        t.link = nullptr;
        t.next = nullptr;
        --count_;
    } else if (t.heap_index < near_.size() && near_[t.heap_index].timer == &t) {
        const std::size_t hole = t.heap_index;
        const due_entry last = near_.back();
        near_.pop_back();
        if (last.timer != &t) {
            set(hole, last);
            sift_up(hole);
            sift_down(last.timer->heap_index);
        }
        t.next = nullptr;
        --count_;
    }
}

/// `emptied` pointed to a timer that was the last of its list.
void timer_wheel::note_if_empty(timer_entry** emptied) noexcept {
    timer_entry** const first = &slots_[0][0][0];
    if (emptied < first || emptied >= first + level_count * slot_count * lane_count) {
        return;  // it is another timer's `next`
    }
    const auto index = static_cast<std::size_t>(emptied - first) / lane_count;
    const unsigned level = static_cast<unsigned>(index / slot_count);
    if (slots_[level][index % slot_count] == slot_lists{}) {
        occupied_[level] &= ~(std::uint64_t{1} << index % slot_count);
    }
}

bool timer_wheel::find_next_slot(next_slot& found) const noexcept {
    for (unsigned level = 0; level < level_count; ++level) {
        if (occupied_[level] != 0) {
            // Timers of a level differ from the wheel's tick in this level's digit first, so the
            // lowest level comes first, and in it the lowest slot.
            const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
            const unsigned shift = level * level_bits;
            const std::int64_t above = (wheel_tick_ >> shift >> level_bits) << level_bits << shift;
            found = {level, slot, above | (std::int64_t{slot} << shift)};
            return true;
        }
    }
    return false;
}

std::int64_t timer_wheel::next_ns() const noexcept {
    if (!near_.empty()) {
        return near_.front().deadline_ns;
    }
    next_slot found;
    return find_next_slot(found) ? found.tick << tick_bits : never;
}

int timer_wheel::expire(std::int64_t now_ns) noexcept {
    const std::int64_t now_tick = now_ns >> tick_bits;
    next_slot found;
    while (wheel_tick_ < now_tick && find_next_slot(found) && found.tick <= now_tick) {
        wheel_tick_ = found.tick;
        occupied_[found.level] &= ~(std::uint64_t{1} << found.slot);
        move_down(std::exchange(slots_[found.level][found.slot], slot_lists{}));
    }
    wheel_tick_ = std::max(wheel_tick_, now_tick);
    int fired = 0;
    for (; fired < expiries_max && !near_.empty() && near_.front().deadline_ns <= now_ns; ++fired) {
        timer_entry& due = *near_.front().timer;
        remove(due);
        due.type->fire(due);
    }
    return fired;
}

void timer_wheel::move_down(slot_lists lists) {
    for (bool more = true; more;) {
        more = false;
        for (timer_entry*& head : lists) {
            if (timer_entry* const t = head) {
                head = t->next;
                __builtin_prefetch(head);
                place(*t);
                more = true;
            }
        }
    }
}

void timer_wheel::set(std::size_t i, due_entry d) noexcept {
    near_[i] = d;
    d.timer->heap_index = i;
}

void timer_wheel::sift_up(std::size_t i) noexcept {
    const due_entry d = near_[i];
    while (i > 0 && near_[(i - 1) / 2].deadline_ns > d.deadline_ns) {
        set(i, near_[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    set(i, d);
}

void timer_wheel::sift_down(std::size_t i) noexcept {
    const due_entry d = near_[i];
    for (std::size_t child = 2 * i + 1; child < near_.size(); child = 2 * i + 1) {
        if (child + 1 < near_.size() && near_[child + 1].deadline_ns < near_[child].deadline_ns) {
            ++child;
        }
        if (near_[child].deadline_ns >= d.deadline_ns) {
            break;
        }
        set(i, near_[child]);
        i = child;
    }
    set(i, d);
}

}  // namespace ringo::detail
