#include <ringo/detail/waiter.hpp>

#include "parked_thread.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/detail/selection.hpp>

#include <atomic>
#include <string>
#include <thread>

namespace ringo::detail {

namespace {

const wait_type thread_wait{"thread", nullptr, nullptr, waker::thread};

}  // namespace

void resume_slow(waiter& w) noexcept {
    switch (w.type->wakes) {
        case waker::goroutine:
            wake(*w.self);
            return;
        case waker::select:
            wake(*w.select->self);
            return;
        case waker::thread:
            w.thread->wake();
            return;
    }
}

std::uint8_t& error_of(waiter& w) noexcept {
    switch (w.type->wakes) {
        case waker::select:
            return w.select->self->error;
        case waker::thread:
            return w.thread->error;
        case waker::goroutine:
            break;
    }
    return w.self->error;
}

waiter* wait_list::pop_all() noexcept {
    woken_list all;
    while (waiter* const w = pop()) {
        all.add(*w);
    }
    return all.first();
}

void resume_all(waiter* first) noexcept {
    while (first != nullptr) {
        // Lifetime: once it is resumed, it may be gone.
        waiter* const w = first;
        first = w->next;
        resume(w);
    }
}

void give_up(wait& w) noexcept {
    w.self->error = context_failure(*w.self);
    wake(*w.self);
}

// --- leaving, while the primitive may go ---
//
// A wait ends by its primitive, which pops it, or by its own goroutine, which is cancelled or has
// another arm. In the latter case the primitive may go at any time: its owner unwinds on another
// core, or was woken together with this goroutine and is already done. So
//
//     who leaves      `leaving` += 1, looks whether it is still in the list, takes the lock…
//     who destroys    marks all in the list, under the lock; waits until nobody is leaving
//
// and as long as `leaving` counts, what was seen alive stays alive.

namespace {

waiter* no_list = nullptr;
waiter** const orphan_link = &no_list;

std::atomic<std::uint32_t> leaving{0};

}  // namespace

departure leave_waiter(waiter& w, bias_lock& lock, wait_list& list, pass_on pass) noexcept {
    if (!w.is_linked()) {
        return departure::popped;
    }
    woken_list woken;
    departure how = departure::popped;
    // seq_cst, also the look that follows: pairs with orphan_slow's. Of `one leaves` and `it is
    // destroyed` the later sees the earlier.
    leaving.fetch_add(1, std::memory_order_seq_cst);
    if (w.link.load(std::memory_order_seq_cst) == orphan_link) {
        how = departure::orphaned;
    } else if (w.is_linked()) {
        const bias_guard guard(lock);
        if (w.link.load(std::memory_order_relaxed) == orphan_link) {
            how = departure::orphaned;
        } else if (w.is_linked()) {
            list.remove(w);
            if (pass != nullptr) {
                pass(w, woken);
            }
            how = departure::left;
        }
    }
    leaving.fetch_sub(1, std::memory_order_release);  // the primitive may go
    woken.resume_all();
    return how;
}

void withdraw_waiter(waiter& w, bias_lock& lock, wait_list& list, pass_on pass) noexcept {
    leave_waiter(w, lock, list, pass);
}

void cancel_waiter(waiter& w, bias_lock& lock, wait_list& list, pass_on pass) noexcept {
    if (leave_waiter(w, lock, list, pass) != departure::popped) {
        give_up(w);
    }
}

void orphan_slow(bias_lock& lock, wait_list& list) noexcept {
    {
        const bias_guard guard(lock);
        for (waiter* w = list.front(); w != nullptr;) {
            // Lifetime: once it is marked, it may leave and be gone. It is never seen in no list,
            // for then it would take itself for popped, and wait for ever.
            waiter* const next = w->next;
            w->link.store(orphan_link, std::memory_order_release);
            w = next;
        }
    }
    // A write, not only a look: of it and of leave's one comes first.
    if (leaving.fetch_add(0, std::memory_order_seq_cst) != 0) {
        while (leaving.load(std::memory_order_acquire) != 0) {
            std::this_thread::yield();  // a few instructions from the end
        }
    }
}

std::uint8_t wait_blocking(waiter& w, bool (*begin)(waiter&) noexcept, const char* operation) {
    if (this_core_state != nullptr) {
        panic((std::string(operation) + ": blocks a core; use co_await").c_str());
    }
    parked_thread me;
    w.type = &thread_wait;
    w.thread = &me;
    if (!begin(w)) {
        me.wait();
    }
    return me.error;
}

void parked_thread::wait() {
    std::unique_lock guard(lock_);
    woken_.wait(guard, [this] { return done_; });
}

void parked_thread::wake() noexcept {
    // Lifetime: notified under the lock, for the waiting thread owns this and leaves at once.
    const std::lock_guard guard(lock_);
    done_ = true;
    woken_.notify_one();
}

}  // namespace ringo::detail
