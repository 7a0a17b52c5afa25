// Waiting in line for a primitive, on whatever core: the lists, and the hand-over to who is next.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>

#include <atomic>
#include <cstdint>

namespace ringo::detail {

/// A wait that stands in a primitive's list, under that primitive's lock.
struct waiter : wait {
    using wait::wait;

    waiter* next;  // set when it gets in line
    // What points here; null while in no list; `orphan_link` once the list is gone. Written under
    // the lock; its own goroutine reads it without.
    std::atomic<waiter**> link{nullptr};

    bool is_linked() const noexcept { return link.load(std::memory_order_acquire) != nullptr; }
};

/// Whom one may meet in a list: no other than goroutines of this core, each of which waits in that
/// list alone, or anyone.
enum class meets : std::uint8_t { goroutines, anyone };

/// In order of arrival.
class wait_list {
public:
    wait_list() noexcept = default;
    wait_list(const wait_list&) = delete;
    wait_list& operator=(const wait_list&) = delete;

    bool empty() const noexcept { return head_ == nullptr; }
    /// The first is a select's.
    bool starts_with_select() const noexcept {
        return head_ != nullptr && head_->type->wakes == waker::select;
    }
    waiter* front() const noexcept { return head_; }
    void push_back(waiter& w) noexcept {
        w.next = nullptr;
        w.link.store(tail_, std::memory_order_relaxed);
        *tail_ = &w;
        tail_ = &w.next;
    }
    void remove(waiter& w) noexcept {
        waiter** const link = w.link.load(std::memory_order_relaxed);
        *link = w.next;
        if (w.next != nullptr) {
            w.next->link.store(link, std::memory_order_relaxed);
        } else {
            tail_ = link;
        }
        w.link.store(nullptr, std::memory_order_release);  // pairs with is_linked
    }
    /// Takes `w` out. False: something else has woken its goroutine.
    bool take(waiter& w) noexcept;
    /// ... the first, which is there.
    bool take_front() noexcept;
    /// ... and is no select's. That it is in no list its goroutine hears otherwise.
    waiter& take_front_plain() noexcept;
    /// The first that can be taken; null: there is none.
    waiter* pop() noexcept;
    /// All that can be taken, in order, by `next`.
    waiter* pop_all() noexcept;

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

/// False: its goroutine has been woken through another waiter. A select has many; the first that
/// is claimed wins.
inline bool claim(waiter& w) noexcept { return w.type->wakes != waker::select || claim_select(w); }

inline bool wait_list::take(waiter& w) noexcept {
    const bool mine = claim(w);
    // Lifetime: last. A select that is taken goes on once it finds that its waiter is in no list.
    remove(w);
    return mine;
}

inline bool wait_list::take_front() noexcept {
    if (head_->type->wakes == waker::select) [[unlikely]] {
        return take(*head_);
    }
    take_front_plain().link.store(nullptr, std::memory_order_release);  // pairs with is_linked
    return true;
}

inline waiter& wait_list::take_front_plain() noexcept {
    waiter& w = *head_;
    head_ = w.next;
    if (head_ != nullptr) {
        head_->link.store(&head_, std::memory_order_relaxed);
    } else {
        tail_ = &head_;
    }
    return w;
}

inline waiter* wait_list::pop() noexcept {
    while (waiter* const w = head_) {
        if (take_front()) [[likely]] {
            return w;
        }
    }
    return nullptr;
}

inline void resume(core_state& here, waiter* w) noexcept {
    if (w == nullptr) {
        return;
    }
    if (w->type->wakes == waker::goroutine) [[likely]] {
        wake(here, *w->self);
    } else {
        resume_slow(*w);
    }
}
inline void resume(waiter* w) noexcept {
    if (w == nullptr) {
        return;
    }
    if (core_state* const here = this_core_state) [[likely]] {
        resume(*here, w);
    } else {
        resume_slow(*w);
    }
}

/// ... and all that follow it.
void resume_all(waiter* first) noexcept;

/// How the wait of `w` ended, as the goroutine, or the thread's stand-in for one, will see it.
std::uint8_t& error_of(waiter& w) noexcept;

/// Ends a wait that is in no list any more with its context's failure. core: the goroutine's
void give_up(wait& w) noexcept;

class woken_list;

/// Under the lock: `left` waits no more; whom that lets go on goes into `woken`.
using pass_on = void (*)(waiter& left, woken_list& woken) noexcept;

enum class departure { left, popped, orphaned };

/// Takes `w` out of `list`, if it is still there. orphaned: lock and list may be gone.
departure leave_waiter(waiter& w, bias_lock& lock, wait_list& list,
                       pass_on pass = nullptr) noexcept;

/// For arm_type::withdraw of what waits in `list`: out of it, if it is still there.
/// The primitive, with its lock and list, may be gone by now (see `orphan`).
void withdraw_waiter(waiter& w, bias_lock& lock, wait_list& list, pass_on pass = nullptr) noexcept;

/// For wait_type::cancel of what waits in `list` alone: out of it, unless it has been popped.
/// The primitive, with its lock and list, may be gone by now (see `orphan`).
void cancel_waiter(waiter& w, bias_lock& lock, wait_list& list, pass_on pass = nullptr) noexcept;

void orphan_slow(bias_lock& lock, wait_list& list) noexcept;

/// For the destructor of what they belong to: who waits goes on waiting, until it is cancelled.
/// Not a panic, for so ends a program: the frame that owns a primitive unwinds before, or while,
/// other cores cancel those who wait for it.
inline void orphan(bias_lock& lock, wait_list& list) noexcept {
    // Without a lock: what no other core has ever touched, none is about to leave.
    if (!lock.is_biased_here() || !list.empty()) [[unlikely]] {
        orphan_slow(lock, list);
    }
}

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
    void resume_all() noexcept { detail::resume_all(head_); }
    waiter* first() const noexcept { return head_; }

private:
    waiter* head_ = nullptr;
    waiter** tail_ = &head_;
};

}  // namespace ringo::detail
