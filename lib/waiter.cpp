#include <ringo/detail/waiter.hpp>

#include "parked_thread.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/detail/selection.hpp>

#include <string>

namespace ringo::detail {

namespace {

const wait_type thread_wait{"thread", nullptr, nullptr, waker::thread};

}  // namespace

void resume_slow(waiter& w) noexcept {
    if (w.type->wakes == waker::select) {
        wake(*w.select->self);
    } else {
        w.thread->wake();
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

void give_up(wait& w) noexcept {
    w.self->error = context_failure(*w.self);
    wake(*w.self);
}

namespace {

/// False: it has been popped, and will be woken.
bool leave(waiter& w, bias_lock& lock, wait_list& list) noexcept {
    const bias_guard guard(lock);
    if (w.link == nullptr) {
        return false;
    }
    list.remove(w);
    return true;
}

}  // namespace

void withdraw_waiter(waiter& w, bias_lock& lock, wait_list& list) noexcept { leave(w, lock, list); }

void cancel_waiter(waiter& w, bias_lock& lock, wait_list& list) noexcept {
    if (leave(w, lock, list)) {
        give_up(w);
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
