// What a coroutine ended with: a value, nothing, or an exception.
#pragma once

#include <exception>
#include <new>
#include <type_traits>
#include <utility>

namespace ringo::detail {

/// Throws `error` again, into the frame that runs.
[[noreturn]] void rethrow(std::exception_ptr error);

/// Room for a value that comes later. A reference is kept as a pointer.
template <class T>
class late_value {
    using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>;
    static constexpr bool needs_destruction = !std::is_trivially_destructible_v<stored>;

public:
    late_value() noexcept {}
    late_value(const late_value&) = delete;
    late_value& operator=(const late_value&) = delete;
    ~late_value() {
        if constexpr (needs_destruction) {
            if (full_) {
                value_.~stored();
            }
        }
    }

    template <class U>
    void set(U&& value) {
        if constexpr (std::is_reference_v<T>) {
            value_ = __builtin_addressof(value);
        } else {
            ::new (static_cast<void*>(__builtin_addressof(value_))) stored(std::forward<U>(value));
        }
        full_ = needs_destruction;
    }
    T take() {
        if constexpr (std::is_reference_v<T>) {
            return static_cast<T>(*value_);
        } else {
            return std::move(value_);
        }
    }

private:
    union {
        stored value_;
    };
    bool full_ = false;
};

template <>
class late_value<void> {
public:
    void take() const noexcept {}
};

template <class T>
class outcome : public late_value<T> {
public:
    outcome() noexcept {}

    void fail(std::exception_ptr error) noexcept { error_ = std::move(error); }
    const std::exception_ptr& error() const noexcept { return error_; }

    /// The value, once; rethrows what the coroutine threw.
    T take() {
        if (error_) [[unlikely]] {
            rethrow(std::exchange(error_, nullptr));
        }
        return late_value<T>::take();
    }

private:
    std::exception_ptr error_;
};

}  // namespace ringo::detail
