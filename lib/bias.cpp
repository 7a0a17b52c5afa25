#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/panic.hpp>

#include "pause_cpu.hpp"

#include <mutex>
#include <thread>
#include <utility>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ringo::detail {

constinit bias_slot no_home;

namespace {

constexpr std::uint32_t review_interval = 256;  // locks made between two looks
constexpr std::uint32_t revoked_max = 32;       // of them; more, and the next are shared
constexpr std::uint32_t unbiased_interval = 16'384;

int membarrier(int command) noexcept {
    return static_cast<int>(::syscall(SYS_membarrier, command, 0, 0));
}

/// Whether the kernel can make other threads execute a fence. Registers on the first call.
bool can_revoke() noexcept {
    static const bool registered = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    return registered;
}

class slot_pool {
public:
    bias_slot& take() {
        const std::lock_guard guard(lock_);
        if (free_ == nullptr) {
            auto* const slot = new bias_slot;
            slot->tag = ++made_;
            return *slot;
        }
        bias_slot& slot = *free_;
        free_ = slot.next_free;
        return slot;
    }
    void give_back(bias_slot& slot) noexcept {
        const std::lock_guard guard(lock_);
        slot.next_free = free_;
        free_ = &slot;
    }

private:
    std::mutex lock_;
    bias_slot* free_ = nullptr;
    std::uint16_t made_ = 0;
};

slot_pool& slots() {
    static slot_pool* const pool = new slot_pool;  // never freed, as its slots
    return *pool;
}

/// Longer and longer: the holder gets a run of operations before the line moves to this core.
class backoff {
public:
    void wait() noexcept {
        for (int i = 0; i < pauses_; ++i) {
            pause_cpu();
        }
        if (pauses_ < pauses_max) {
            pauses_ *= 2;
        } else {
            std::this_thread::yield();  // the holder may have lost its CPU
        }
    }

private:
    // With 1 two cores on one channel spend half of their time on moving the line.
    static constexpr int pauses_first = 12;
    static constexpr int pauses_max = 64;
    int pauses_ = pauses_first;
};

}  // namespace

std::uint16_t bias::acquire() {
    slot_ = &slots().take();
    home_ = can_revoke() ? slot_ : &no_home;
    until_review_ = review_interval;
    return slot_->tag;
}

void bias::release() noexcept {
    slots().give_back(*std::exchange(slot_, nullptr));
    home_ = &no_home;
}

void bias::review() noexcept {
    // Where much is made here to be used elsewhere, taking the biases away costs more than they save.
    const bool too_many = slot_->revoked.exchange(0, std::memory_order_relaxed) > revoked_max;
    home_ = too_many || !can_revoke() ? &no_home : slot_;
    until_review_ = too_many ? unbiased_interval : review_interval;
}

void bias_lock::refuse_nested() noexcept { panic("ringo: a lock taken inside another one"); }

void bias_lock::lock_shared() noexcept {
    for (backoff b; !try_lock_shared();) {
        b.wait();
    }
    bias_slot* const home = home_.load(std::memory_order_relaxed);
    if (home == &no_home) [[likely]] {
        return;
    }
    home_.store(&no_home, std::memory_order_relaxed);
    if (this_core_state != nullptr && home == this_core_state->biases.slot()) {
        return;  // this core's own, which is not inside
    }
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    home->revoked.fetch_add(1, std::memory_order_relaxed);
    // acquire: pairs with the home core's leaving.
    for (backoff b; home->inside.load(std::memory_order_acquire);) {
        b.wait();
    }
}

}  // namespace ringo::detail
