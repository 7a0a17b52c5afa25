// A goroutine that has a handle, and the hand-over of its end to who waits for it.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/task.hpp>

#include <cstdint>
#include <exception>
#include <utility>

namespace ringo::detail {

extern const wait_type join_wait;
struct waiter;
class joining;
[[noreturn]] void refuse_second_join() noexcept;

/// A panic unless `error` is empty, or `g` was cancelled and `error` says just that.
/// core: the goroutine's, at its end
void check_detached(goroutine& g, const std::exception_ptr& error) noexcept;

/// Lifetime: the handle and the running goroutine hold a reference each.
class joinable_base : public goroutine {
public:
    explicit joinable_base(const goroutine_type& t) noexcept : goroutine(t, true) {}

    /// True: `w` left before the end, and nobody will wake it.
    bool leave(joining& w) noexcept;
    bool done() const noexcept;
    bias_lock& lock() noexcept { return lock_; }
    /// Under the lock.
    bool has_ended() const noexcept { return ended_; }
    /// ... while it has not: the end will wake `w`.
    void enlist(joining& w) noexcept {
        if (joiner_ != nullptr) [[unlikely]] {
            refuse_second_join();
        }
        joiner_ = &w;
    }
    /// Asks the goroutine to end. core: any
    void cancel() noexcept;
    /// It starts on the core that made it. core: that one, before anybody else knows of it
    void begin(shard& here) noexcept { home_ = &here; }
    /// It starts elsewhere. core: any, before anybody else knows of it
    void begin_elsewhere() noexcept { lock_.unbias(); }
    /// Called by its core when it arrives there; false when `cancel` came first.
    bool arrive(shard& at) noexcept;
    void release_handle() noexcept {
        if (observed_ && !cancel_asked_) [[likely]] {
            type->destroy(*this);  // it has ended, and nobody else knows of it
        } else {
            release_unobserved();
        }
    }

protected:
    ~joinable_base() = default;
    /// The last thing that the goroutine's core does with it. True: it is to be destroyed.
    bool finish(core_state& here, const std::exception_ptr& failure) noexcept;
    /// The outcome has been taken. core: the handle's owner
    void observe() noexcept { observed_ = true; }

private:
    struct cancel_message;

    void cancel_here() noexcept;
    void release_unobserved() noexcept;
    void release() noexcept;
    void check_observed() noexcept;

    [[no_unique_address]] mutable bias_lock lock_;  // its padding has room
    bool observed_ = false;                         // its outcome has been taken. owner: the handle

    // under the lock
    bool ended_ = false;
    bool cancel_asked_ = false;
    std::uint8_t references_ = 2;  // the goroutine, the handle, and a message that cancels
    joining* joiner_ = nullptr;
    shard* home_ = nullptr;  // null: it is on its way there

    const std::exception_ptr* failure_ = nullptr;  // fixed at the end
};

/// Waits for one goroutine's end.
class joining : public wait {
public:
    joining() noexcept : wait(join_wait) {}

    bias_lock* lock() const noexcept { return &target->lock(); }
    bool attempt(waiter*&) const noexcept { return target->has_ended(); }
    void enlist() noexcept { target->enlist(*this); }
    goroutine* claim() noexcept;

    joinable_base* target = nullptr;

    static const arm_type arm;
};

template <class T>
class joinable : public joinable_base {
public:
    using joinable_base::joinable_base;

    template <class Block>
    static void deliver(Block& self) noexcept {
        if (self.finish(*this_core_state, self.root.result.error())) {
            delete &self;
        }
    }
    T take() {
        observe();
        if (abandoned) {
            throw_failure(failure_cancelled, "join");  // it was destroyed: there is no result
        }
        return root.result.take();
    }

    task_awaiter<T> root{nullptr};
};

/// The handle's reference.
template <class T>
class joinable_ref {
public:
    explicit joinable_ref(joinable<T>* owned) noexcept : state_(owned) {}
    joinable_ref(joinable_ref&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    joinable_ref& operator=(joinable_ref other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~joinable_ref() {
        if (state_) {
            state_->release_handle();
        }
    }

    explicit operator bool() const noexcept { return state_ != nullptr; }
    joinable<T>* operator->() const noexcept { return state_; }
    joinable<T>* get() const noexcept { return state_; }

private:
    joinable<T>* state_;
};

}  // namespace ringo::detail
