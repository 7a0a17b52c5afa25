// Waiting in line for a primitive, on whatever core: the lists, and the hand-over to who is next.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>

#include <cstdint>

namespace ringo::detail {

/// A wait that stands in a primitive's list, under that primitive's lock.
struct waiter : wait {
    using wait::wait;

    waiter* next = nullptr;
    waiter** link = nullptr;  // what points here; null while in no list
};

/// In order of arrival.
class wait_list {
public:
    wait_list() noexcept = default;
    wait_list(const wait_list&) = delete;
    wait_list& operator=(const wait_list&) = delete;

    bool empty() const noexcept { return head_ == nullptr; }
    waiter* front() const noexcept { return head_; }
    void push_back(waiter& w) noexcept {
        w.next = nullptr;
        w.link = tail_;
        *tail_ = &w;
        tail_ = &w.next;
    }
    void remove(waiter& w) noexcept {
        *w.link = w.next;
        (w.next != nullptr ? w.next->link : tail_) = w.link;
        w.link = nullptr;
    }
    /// The first whose goroutine nothing else has woken, out of the list; null: there is none.
    waiter* pop() noexcept;

private:
    waiter* head_ = nullptr;
    waiter** tail_ = &head_;
};

// Whoever takes a waiter out of its list decides how it ends, then wakes it, outside of the lock:
//
//     {  bias_guard guard(lock);  woken = list.pop();  …hand over…  }
//     resume(woken);
//
// Lifetime: a popped waiter stays until it is resumed, and not longer.

bool claim_select(wait& w) noexcept;
void resume_slow(waiter& w) noexcept;

inline waiter* wait_list::pop() noexcept {
    while (waiter* const w = head_) {
        remove(*w);
        // A select takes part through many waiters; the first that is claimed wins.
        if (w->type->wakes != waker::select || claim_select(*w)) [[likely]] {
            return w;
        }
    }
    return nullptr;
}

inline void resume(waiter* w) noexcept {
    if (w == nullptr) {
        return;
    }
    if (w->type->wakes == waker::goroutine) [[likely]] {
        wake(*w->self);
    } else {
        resume_slow(*w);
    }
}

/// The goroutine, or the thread's stand-in for one, that `w` belongs to: its `error` says how the wait ended.
std::uint8_t& error_of(waiter& w) noexcept;

/// Ends a wait that is in no list any more with its context's failure. core: the goroutine's
void give_up(wait& w) noexcept;

/// For arm_type::withdraw of what waits in `list`: out of it, if it is still there.
void withdraw_waiter(waiter& w, bias_lock& lock, wait_list& list) noexcept;

/// For wait_type::cancel of what waits in `list` alone: out of it, unless it has been popped.
void cancel_waiter(waiter& w, bias_lock& lock, wait_list& list) noexcept;

/// Waits as a thread that is no core, which blocks. `begin` takes the lock; it ends the operation
/// at once (true), or puts `w` into a list (false).
///
/// returns  how it ended, as goroutine::error
/// panics   on a core; `operation` names it
std::uint8_t wait_blocking(waiter& w, bool (*begin)(waiter&) noexcept, const char* operation);

/// Waiters to resume once the lock is released, in order.
class woken_list {
public:
    void add(waiter& w) noexcept {
        w.next = nullptr;
        *tail_ = &w;
        tail_ = &w.next;
    }
    void resume_all() noexcept {
        for (waiter* w = head_; w != nullptr;) {
            waiter* const next = w->next;
            resume(w);
            w = next;
        }
    }

private:
    waiter* head_ = nullptr;
    waiter** tail_ = &head_;
};

}  // namespace ringo::detail
