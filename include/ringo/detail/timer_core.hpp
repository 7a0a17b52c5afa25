// What a timer or ticker is, apart from its handle: when it is due, who waits for it, and its
// entry among some core's timers.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/message.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/resident.hpp>
#include <ringo/detail/timer.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/time.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace ringo::detail {

class timer_core;

/// A wait for a tick.
struct timer_waiter : waiter {
    timer_waiter(const wait_type& t, timer_core* c) noexcept : waiter(t), on(c) {}

    timer_core* on;
    std::int64_t tick_ns = 0;  // what it got
    bool counted = false;      // among the users of `on`
};

// Where it stands:
//
//     home_ is null        not pending, or no core has had to do with it yet
//     in home_'s timers    from when a core arms it until it is due or stopped
//     with home_ still     one that acts, as long as its handle lives: a later reset may come from
//                          a thread that has no timers
//
// Only its home moves the entry. Others change what is under the lock and send a message, one at
// a time; until that has arrived the entry may stand at the wrong time, and its expiry is ignored.
//
// Invariant: ticked_ means that nobody waits. While a tick is not taken the entry is not armed:
// a ticker that nobody listens to costs nothing.
class timer_core : public timer_entry, public message, public resident {
public:
    /// acts: when it is due it does something, and is not awaited
    explicit timer_core(bool acts) noexcept;

    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* core, std::size_t size) noexcept { frame_free(core, size); }

    /// Due after `d`, then every `period`, unless that is 0. True: it was pending, or had a tick
    /// that was not taken.
    bool reset(duration d, duration period) noexcept;
    bool stop() noexcept;
    /// Its handle goes.
    void disown() noexcept;
    void release() noexcept;

    // --- for those who wait ---

    bias_lock& guarded_by() noexcept { return lock_; }
    /// Under the lock.
    bool take(timer_waiter& w) noexcept;
    void enlist(timer_waiter& w) noexcept;
    static void withdraw(wait& w) noexcept;
    static void cancel(wait& w) noexcept;

protected:
    virtual ~timer_core() = default;

private:
    /// It is due. Called on its core, outside of the lock; takes over a use.
    virtual void act(std::int64_t tick_ns) noexcept;
    void core_ends() noexcept override;
    static void fired(wait& entry) noexcept;
    static void arrived(message& m) noexcept;
    static const wait_type alarm;

    bool is_to_fire() const noexcept;
    waiter* tick(std::int64_t now) noexcept;
    void skip_past(std::int64_t now) noexcept;
    void align() noexcept;
    void arm_on(shard& s) noexcept;
    void align_at_home() noexcept;
    void settle() noexcept;
    void leave_home() noexcept;

    // fixed
    const bool acts_;

    // under the lock
    bias_lock lock_;
    wait_list waiters_;
    std::int64_t due_ns_ = 0;     // when it fires next, while pending
    std::int64_t period_ns_ = 0;  // of a ticker
    std::int64_t tick_ns_ = 0;    // when the latest tick was due
    shard* home_ = nullptr;
    std::uint32_t users_ = 1;  // the handle, waiters, the home, a message, what it does
    bool owned_ = true;        // by its handle
    bool pending_ = false;
    bool ticked_ = false;  // and nobody has taken it
    bool posted_ = false;  // the message is on its way to some core
};

extern const wait_type timer_wait;

class timer_operation : public locked_operation<timer_operation, timer_waiter> {
public:
    explicit timer_operation(timer_core& t) noexcept : locked_operation(timer_wait, &t) {}
    timer_operation(timer_operation&& other) noexcept : timer_operation(*other.on) {}
    ~timer_operation() {
        if (counted) {
            on->release();
        }
    }

    bias_lock* lock() const noexcept { return &on->guarded_by(); }
    bool attempt(waiter*&) noexcept { return on->take(*this); }
    void enlist() noexcept { on->enlist(*this); }
    time_point value() const noexcept { return time_point(duration(tick_ns)); }

    static const arm_type arm;
};

/// The handle's part of a timer.
class timer_owner {
public:
    explicit timer_owner(timer_core* owned) noexcept : core_(owned) {}
    timer_owner(timer_owner&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
    timer_owner& operator=(timer_owner other) noexcept {
        std::swap(core_, other.core_);
        return *this;
    }
    ~timer_owner() {
        if (core_ != nullptr) {
            core_->disown();
        }
    }

    /// panics: after it was moved from
    timer_core& operator*() const;
    timer_core* operator->() const { return &**this; }

private:
    timer_core* core_;
};

}  // namespace ringo::detail
