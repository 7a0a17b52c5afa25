// semaphore: a number of permits, taken and given back.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>

#include <cstddef>
#include <utility>

namespace ringo {

class semaphore;

namespace detail {

extern const wait_type semaphore_wait;

class semaphore_core;

struct acquiring : waiter {
    acquiring(const wait_type& t, semaphore_core& s, std::ptrdiff_t k) noexcept;

    static void cancel(wait& w) noexcept;
    static void withdraw(wait& w) noexcept;

    semaphore_core* on;
    std::ptrdiff_t weight;
    bool possible;         // there can be as many at all
    bool granted = false;  // it has its share, which is no permit's yet
};

// Invariant: the first in line asks for more than there is. Whoever gives back, or leaves the
// line, serves those that this lets in.
// Lifetime: permits may outlive the semaphore; then the last that is given back frees this.
class semaphore_core {
public:
    /// panics: when n is negative
    static semaphore_core* make(std::ptrdiff_t n);
    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* block, std::size_t size) noexcept { frame_free(block, size); }
    ~semaphore_core() { orphan(lock, waiters); }

    /// By the semaphore that owns it.
    void disown() noexcept;

    /// Under the lock. False: there is not enough, or others came before.
    bool take(std::ptrdiff_t k) noexcept {
        if (k > available || !waiters.empty()) {
            return false;
        }
        available -= k;
        return true;
    }
    bool try_acquire(std::ptrdiff_t k) noexcept {
        const bias_guard guard(lock);
        return take(k);
    }
    void release(std::ptrdiff_t k) noexcept {
        waiter* woken = nullptr;
        bool last = false;
        {
            const bias_guard guard(lock);
            available += k;
            if (!waiters.empty()) [[unlikely]] {
                woken = serve();
            }
            last = ownerless_ && available == capacity;
        }
        if (woken != nullptr) [[unlikely]] {
            resume_all(woken);
        }
        if (last) [[unlikely]] {
            delete this;
        }
    }
    /// Under the lock. Whom it lets go on goes into `woken`, or is returned, by `next`.
    void serve(woken_list& woken) noexcept;
    waiter* serve() noexcept;

    bias_lock lock;
    wait_list waiters;
    std::ptrdiff_t available;
    const std::ptrdiff_t capacity;

private:
    explicit semaphore_core(std::ptrdiff_t n) noexcept : available(n), capacity(n) {}

    bool ownerless_ = false;
};

inline acquiring::acquiring(const wait_type& t, semaphore_core& s, std::ptrdiff_t k) noexcept
    : waiter(t), on(&s), weight(k), possible(k <= s.capacity) {}

/// panics: when k is negative
void check_weight(std::ptrdiff_t k) noexcept;

class acquire_operation;

}  // namespace detail

/// Holds a share of a semaphore, and gives it back in its destructor. Movable; one that was moved
/// from, released, or not granted is empty. It may outlive the semaphore.
class [[nodiscard]] permit {
public:
    permit() noexcept = default;
    permit(permit&& other) noexcept
        : on_(std::exchange(other.on_, nullptr)), weight_(other.weight_) {}
    permit& operator=(permit other) noexcept {
        std::swap(on_, other.on_);
        std::swap(weight_, other.weight_);
        return *this;
    }
    ~permit() { release(); }

    /// Gives it back now; when it is empty: nothing.
    ///
    /// core     any, foreign threads included; does not suspend
    void release() noexcept {
        detail::semaphore_core* const on = std::exchange(on_, nullptr);
        if (on != nullptr && weight_ != 0) {
            on->release(weight_);
        }
    }
    /// False: it is empty.
    explicit operator bool() const noexcept { return on_ != nullptr; }

private:
    friend class semaphore;
    friend class detail::acquire_operation;

    permit(detail::semaphore_core* on, std::ptrdiff_t k) noexcept : on_(on), weight_(k) {}

    detail::semaphore_core* on_ = nullptr;
    std::ptrdiff_t weight_ = 0;
};

namespace detail {

class acquire_operation : public locked_operation<acquire_operation, acquiring> {
public:
    acquire_operation(semaphore_core& s, std::ptrdiff_t k) noexcept
        : locked_operation(semaphore_wait, s, k) {}
    acquire_operation(acquire_operation&& other) noexcept
        : acquire_operation(*other.on, other.weight) {}
    ~acquire_operation() {
        if (granted && weight != 0) [[unlikely]] {
            on->release(weight);  // its goroutine is destroyed before it could run again
        }
    }

    /// Who asks for more than there can be is not in line, and so in nobody's way.
    bias_lock* lock() const noexcept { return possible ? &on->lock : nullptr; }
    bool attempt(waiter*&) noexcept { return granted = on->take(weight); }
    void enlist() noexcept { on->waiters.push_back(*this); }
    permit value() noexcept {
        granted = false;
        return {on, weight};
    }

    static const arm_type arm;
};

}  // namespace detail

/// `n` permits. Who asks for some waits in line until there are enough, so a large request is
/// served in its turn, however many small ones come after it. Destroyed while goroutines wait, it
/// lets them wait on: for the permits that are held, or until they are cancelled.
///
/// core     any; everything but `acquire` on foreign threads too
/// cost     one pooled block
/// follows  Go x/sync/semaphore.Weighted
class semaphore {
public:
    /// panics   when n is negative
    explicit semaphore(std::ptrdiff_t n) : core_(detail::semaphore_core::make(n)) {}
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;
    ~semaphore() { core_->disown(); }

    /// Takes `k` at once, suspending while there are not as many, or while others wait who came
    /// before. More than `n`: waits until it is cancelled, and is in nobody's way. Usable in select.
    ///
    /// returns  the permit for them
    /// throws   cancelled, deadline_exceeded: none was taken
    /// panics   when k is negative
    /// core     any
    /// cancel   leaves at once; those behind it who now have enough go on
    /// cost     no allocation; no switch when there are enough
    [[nodiscard]] auto acquire(std::ptrdiff_t k = 1) noexcept {
        detail::check_weight(k);
        return detail::acquire_operation(*core_, k);
    }

    /// Takes `k` if that needs no waiting.
    ///
    /// returns  an empty permit: there are not as many, or others wait
    /// panics   when k is negative
    /// core     any, foreign threads included
    [[nodiscard]] permit try_acquire(std::ptrdiff_t k = 1) noexcept {
        detail::check_weight(k);
        return {core_->try_acquire(k) ? core_ : nullptr, k};
    }

private:
    detail::semaphore_core* core_;
};

}  // namespace ringo
