// What holds a lock: mutex::guard and its like.
#pragma once

#include <ringo/detail/panic.hpp>

#include <utility>

namespace ringo::detail {

/// Holds a lock, or nothing; gives it back when it dies. The lock may be given back on another
/// core than it was taken on, and by a foreign thread.
template <class State, void (State::*Unlock)() noexcept>
class [[nodiscard]] lock_guard {
public:
    /// Holds nothing.
    lock_guard() noexcept = default;
    explicit lock_guard(State* locked) noexcept : on_(locked) {}
    lock_guard(lock_guard&& other) noexcept : on_(std::exchange(other.on_, nullptr)) {}
    lock_guard& operator=(lock_guard other) noexcept {
        std::swap(on_, other.on_);
        return *this;
    }
    ~lock_guard() {
        if (on_ != nullptr) {
            (on_->*Unlock)();
        }
    }

    /// Whether it holds a lock.
    explicit operator bool() const noexcept { return on_ != nullptr; }

    /// Gives the lock back, to the first in line if there is one; does not suspend.
    ///
    /// panics   when it holds nothing
    /// core     any, foreign threads included
    void unlock() noexcept {
        if (on_ == nullptr) [[unlikely]] {
            panic(State::unlock_of_unlocked);
        }
        (std::exchange(on_, nullptr)->*Unlock)();
    }

private:
    friend class condition_wait;

    State* on_ = nullptr;
};

}  // namespace ringo::detail
