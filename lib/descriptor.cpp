#include <ringo/detail/descriptor.hpp>

#include "shard.hpp"

#include <ringo/detail/message.hpp>

#include <mutex>
#include <utility>

#include <unistd.h>

namespace ringo::detail {

bool descriptor::enter(descriptor_use& u) noexcept {
    const std::lock_guard guard(lock_);
    if (closed_.load(std::memory_order_relaxed)) {
        return false;
    }
    u.home = &shard::here();
    u.next = uses_;
    u.link = &uses_;
    if (uses_ != nullptr) {
        uses_->link = &u.next;
    }
    uses_ = &u;
    return true;
}

void descriptor::leave(descriptor_use& u) noexcept {
    goroutine* closer = nullptr;
    {
        const std::lock_guard guard(lock_);
        *u.link = u.next;
        if (u.next != nullptr) {
            u.next->link = u.link;
        }
        if (uses_ != nullptr || !closed_.load(std::memory_order_relaxed)) {
            return;
        }
        closer = closer_;
    }
    if (closer != nullptr) {
        wake(*closer);
    } else {
        close_now();
    }
}

descriptor::closing descriptor::close(goroutine* closer) noexcept {
    {
        const std::lock_guard guard(lock_);
        if (closed_.load(std::memory_order_relaxed)) {
            return closing::refused;
        }
        closed_.store(true, std::memory_order_release);
        closer_ = closer;
        if (uses_ != nullptr) {
            cancel_uses();
            return closing::later;
        }
    }
    if (closer == nullptr) {
        close_now();
    }
    return closing::at_once;
}

void descriptor::close_now() noexcept {
    ::close(fd_);
    release();
}

void descriptor::release() noexcept {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete this;
    }
}

struct descriptor::errand : message {
    explicit errand(descriptor& d) noexcept : message(&run_here), owner(d) { owner.retain(); }

    static void run_here(message& m) noexcept {
        descriptor& d = static_cast<errand&>(m).owner;
        delete &static_cast<errand&>(m);
        {
            const std::lock_guard guard(d.lock_);
            for (descriptor_use* u = d.uses_; u != nullptr; u = u->next) {
                if (u->home == shard::this_thread()) {
                    u->home->io().cancel(u->operation);
                }
            }
        }
        d.release();
    }

    descriptor& owner;
};

/// Under the lock: as long as a use is listed, its core is there to hear of it.
void descriptor::cancel_uses() noexcept {
    const shard* told = nullptr;
    for (descriptor_use* u = uses_; u != nullptr; u = u->next) {
        if (u->home == shard::this_thread()) {
            u->home->io().cancel(u->operation);
        } else if (std::exchange(told, u->home) != u->home) {
            u->home->post(*new errand(*this));
        }
    }
}

}  // namespace ringo::detail
