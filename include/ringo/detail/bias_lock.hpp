// A lock that costs its home core next to nothing.
//
// It is biased to the core that made it until any other thread touches it; from then on it is an
// ordinary spin lock. Its home core says `inside`, looks whether the lock is still its own, and
// goes on: plain loads and stores. Whoever else wants the lock takes the bias away, makes every
// other thread execute a fence (membarrier(2)), and waits until that core is outside. So either
// the home core sees that the bias is gone, or the other sees it inside.
//
// Why not a message to the home core: it may be busy for long, asleep, or gone for good, and
// try_send or unlock must not wait for it.
#pragma once

#include <ringo/detail/bias.hpp>
#include <ringo/detail/goroutine.hpp>

#include <atomic>
#include <utility>

namespace ringo::detail {

class bias_lock {
public:
    bias_lock() noexcept
        : home_(this_core_state != nullptr ? &this_core_state->biases.home() : &no_home) {}
    bias_lock(const bias_lock&) = delete;
    bias_lock& operator=(const bias_lock&) = delete;

    /// Others will hold it soon. core: any, before anybody else knows of it
    void unbias() noexcept { home_.store(&no_home, std::memory_order_relaxed); }
    /// True: no other core has ever held it.
    bool is_biased_here() const noexcept {
        return this_core_state != nullptr && is_biased_to(this_core_state->biases.slot());
    }
    /// What `leave` needs. On this core, or with null on a thread that is none.
    bias_slot* enter(core_state* here) noexcept {
        if (here != nullptr) [[likely]] {
            if (bias_slot* const slot = enter_at_home(*here)) [[likely]] {
                return slot;
            }
        }
        lock_shared();
        return nullptr;
    }
    /// On this core. Null: it is not biased to it, and not entered.
    bias_slot* enter_at_home(core_state& here) noexcept {
        bias_slot* const slot = here.biases.slot();
        if (RINGO_SANITIZED && slot->inside.load(std::memory_order_relaxed)) {
            refuse_nested();
        }
        slot->inside.store(true, std::memory_order_relaxed);
        // The other side's membarrier makes a fence of it.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (is_biased_to(slot)) [[likely]] {
            return slot;
        }
        slot->inside.store(false, std::memory_order_release);
        return nullptr;
    }
    /// Where it is not biased to this core. For what is often so: without a call if it is free.
    void enter_elsewhere() noexcept {
        // Once it has no home it never has one again.
        if (home_.load(std::memory_order_relaxed) != &no_home || !try_lock_shared()) [[unlikely]] {
            lock_shared();
        }
    }
    /// Under the lock. False: no other core has ever held it.
    bool may_be_shared() const noexcept { return held_.load(std::memory_order_relaxed); }
    /// Between an `inside` of the slot and its end: whether that holds this lock.
    bool is_biased_to(const bias_slot* slot) const noexcept {
        return home_.load(std::memory_order_relaxed) == slot;
    }
    void leave(bias_slot* entered) noexcept {
        if (entered != nullptr) [[likely]] {
            entered->inside.store(false, std::memory_order_release);  // pairs with lock_shared
        } else {
            unlock_shared();
        }
    }

private:
    friend class bias_guards;

    [[noreturn]] static void refuse_nested() noexcept;
    bool try_lock_shared() noexcept {
        return !held_.load(std::memory_order_relaxed) &&
               !held_.exchange(true, std::memory_order_acquire);
    }
    void lock_shared() noexcept;
    void unlock_shared() noexcept { held_.store(false, std::memory_order_release); }

    std::atomic<bias_slot*> home_;
    std::atomic<bool> held_{false};
};

/// Holds one lock. While it is held, nothing may run that could take another one.
class bias_guard {
public:
    explicit bias_guard(bias_lock& lock) noexcept
        : lock_(&lock), entered_(lock.enter(this_core_state)) {}
    bias_guard(const bias_guard&) = delete;
    bias_guard& operator=(const bias_guard&) = delete;
    ~bias_guard() { unlock(); }

    /// Early.
    void unlock() noexcept {
        if (bias_lock* const lock = std::exchange(lock_, nullptr)) {
            lock->leave(entered_);
        }
    }

private:
    bias_lock* lock_;  // null: left
    bias_slot* entered_;
};

}  // namespace ringo::detail
