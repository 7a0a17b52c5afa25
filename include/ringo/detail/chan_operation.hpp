// Sending and receiving, as what co_await and select take.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/chan_state.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace ringo::detail {

extern const wait_type recv_wait;
extern const wait_type send_wait;

/// Base is what the core of the channel knows of the wait.
template <class Op, class Base>
class chan_operation : public locked_operation<Op, Base> {
public:
    using locked_operation<Op, Base>::locked_operation;

    /// Null: the nil channel.
    bias_lock* lock() const noexcept { return this->on != nullptr ? &this->on->lock : nullptr; }
    /// Where there is no buffer, sender and receiver meet in the list.
    bool may_come_soon() const noexcept { return this->on->capacity != 0; }
};

template <class T>
class recv_operation : public chan_operation<recv_operation<T>, recv_waiter<T>> {
    using base = chan_operation<recv_operation<T>, recv_waiter<T>>;

public:
    explicit recv_operation(chan_core* c) noexcept : base(recv_wait, c) {}
    recv_operation(recv_operation&& other) noexcept : recv_operation(other.on) {}

    template <meets Meets = meets::anyone>
    [[gnu::always_inline]] bool attempt(waiter*& woken) noexcept {
        return static_cast<chan_state<T>&>(*this->on).template receive<Meets>(*this, woken);
    }
    bool meets_select() const noexcept { return this->on->senders.starts_with_select(); }
    bool may_be_ready() const noexcept {
        const chan_core& c = *this->on;
        return c.count != 0 || !c.senders.empty() || c.closed;
    }
    void enlist() noexcept { this->on->receivers.push_back(*this); }
    std::optional<T> value() {
        if (!*this) {
            return std::nullopt;
        }
        // Not the optional as a whole: value and flag were stored apart a moment ago, and a load
        // of both at once would wait for the stores to leave the core's buffer.
        if constexpr (std::is_same_v<T, chan_stored<T>>) {
            return std::optional<T>(std::in_place, std::move(**this));
        } else {
            return std::optional<T>(std::in_place, std::move(***this));
        }
    }

    static constexpr arm_type arm =
        base::make_arm(&chan_core::withdraw_receive, &chan_core::describe);
};

/// A value that stays in the caller's object until it is sent.
template <class T>
class lent_value {
public:
    explicit lent_value(T&& value) noexcept : value_(&value) {}
    T& get() noexcept { return *value_; }

private:
    T* value_;
};

/// A copy.
template <class T>
class own_value {
public:
    explicit own_value(const T& value) : value_(value) {}
    T& get() noexcept { return value_; }

private:
    T value_;
};

/// A value whose move may throw. What is not sent goes back.
template <class T>
class boxed_value {
public:
    explicit boxed_value(const T& value) : box_(std::make_unique<T>(value)) {}
    explicit boxed_value(T&& value) requires(!std::is_copy_constructible_v<T>)
        : box_(std::make_unique<T>(std::move(value))), lender_(&value) {
        static_assert(std::is_move_assignable_v<T>,
                      "ringo: a chan's values are copyable, movable without throwing, or at least "
                      "assignable, so that what is not sent can go back");
    }
    boxed_value(boxed_value&& other) noexcept = default;
    ~boxed_value() {
        if constexpr (!std::is_copy_constructible_v<T>) {
            if (box_ != nullptr) {
                *lender_ = std::move(*box_);
            }
        }
    }
    std::unique_ptr<T>& get() noexcept { return box_; }

private:
    std::unique_ptr<T> box_;
    T* lender_ = nullptr;
};

template <class T, class Source>
class send_operation : public chan_operation<send_operation<T, Source>, send_waiter> {
    using base = chan_operation<send_operation<T, Source>, send_waiter>;

public:
    template <class Value>
    send_operation(chan_core* c, Value&& value)
        : base(send_wait, c), source_(std::forward<Value>(value)) {}
    send_operation(send_operation&& other)
        : base(send_wait, other.on), source_(std::move(other.source_)) {}

    template <meets Meets = meets::anyone>
    [[gnu::always_inline]] bool attempt(waiter*& woken) noexcept {
        if (this->on->closed) [[unlikely]] {
            error_of(*this) = failure_channel_closed;
            return true;
        }
        return static_cast<chan_state<T>&>(*this->on).template send<Meets>(source_.get(), woken);
    }
    bool meets_select() const noexcept { return this->on->receivers.starts_with_select(); }
    bool may_be_ready() const noexcept {
        const chan_core& c = *this->on;
        return c.count != c.capacity || !c.receivers.empty() || c.closed;
    }
    void enlist() noexcept {
        base::value = &source_.get();
        this->on->senders.push_back(*this);
    }
    void value() const noexcept {}

    static constexpr arm_type arm = base::make_arm(&chan_core::withdraw_send, &chan_core::describe);

private:
    Source source_;
};

// A small value is as cheap to keep as a pointer to it.
template <class T>
using sent_rvalue = std::conditional_t<
    !std::is_nothrow_move_constructible_v<T>, boxed_value<T>,
    std::conditional_t<std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(void*), own_value<T>,
                       lent_value<T>>>;
template <class T>
using sent_copy =
    std::conditional_t<std::is_nothrow_move_constructible_v<T>, own_value<T>, boxed_value<T>>;

}  // namespace ringo::detail
