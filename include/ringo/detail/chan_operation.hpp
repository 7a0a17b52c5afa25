// Sending and receiving, as what co_await and select take.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/chan_state.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>

#include <coroutine>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace ringo::detail {

extern const wait_type recv_wait;
extern const wait_type send_wait;

/// What sends and receives have in common. Op defines
///     bool attempt(waiter*&) noexcept;   // under the lock: does it if it can
///     void enlist() noexcept;            // under the lock: waits in the channel's list
///     T value();                         // the result of a success
template <class Op, class Base>
class chan_operation : public Base {
public:
    using Base::Base;
    using Base::on;
    using Base::self;
    using Base::type;

    bool await_ready() noexcept {
        goroutine& g = *this_core_state->current;
        self = &g;
        g.error = 0;
        if (g.cancelled) [[unlikely]] {
            g.error = context_failure(g);
            return true;
        }
        return on != nullptr && now();
    }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) noexcept {
        return suspend(*h.promise().self, erase(h));
    }
    decltype(auto) await_resume() {
        if (self->error != 0) [[unlikely]] {
            raise();
        }
        return op().value();
    }
    [[noreturn]] void raise() { throw_failure(self->error, type->name); }

    /// Does it at once if it can; the channel is not nil.
    bool now() noexcept {
        waiter* woken = nullptr;
        bool ended = false;
        {
            const bias_guard guard(on->lock);
            ended = op().attempt(woken);
        }
        resume(woken);
        return ended;
    }

    /// For wait_blocking; the channel is not nil.
    static bool now_or_enlist(waiter& w) noexcept {
        auto& me = static_cast<Op&>(w);
        waiter* woken = nullptr;
        bool ended = false;
        {
            const bias_guard guard(me.on->lock);
            ended = me.attempt(woken);
            if (!ended) {
                me.enlist();
            }
        }
        resume(woken);
        return ended;
    }

    // As an arm of a select.
    static bias_lock* arm_lock(wait& w) noexcept {
        chan_core* const c = static_cast<Op&>(w).on;
        return c != nullptr ? &c->lock : nullptr;
    }
    static bool arm_attempt(wait& w, waiter*& woken) noexcept {
        auto& me = static_cast<Op&>(w);
        return me.on != nullptr && me.attempt(woken);
    }
    static void arm_enlist(wait& w) noexcept {
        auto& me = static_cast<Op&>(w);
        if (me.on != nullptr) {
            me.enlist();
        }
    }

private:
    Op& op() noexcept { return static_cast<Op&>(*this); }

    [[gnu::noinline]] bool suspend(goroutine& g, frame_handle h) noexcept {
        self = &g;
        g.error = 0;
        if (g.cancelled) [[unlikely]] {
            g.error = context_failure(g);
            return false;
        }
        if (on == nullptr) {
            park(g, h, this);  // for ever, or until it is cancelled
            return true;
        }
        waiter* woken = nullptr;
        bool ended = false;
        {
            const bias_guard guard(on->lock);
            ended = op().attempt(woken);
            if (!ended) {
                // Lifetime: once the lock is released another core may resume the goroutine.
                park(g, h, this);
                op().enlist();
            }
        }
        resume(woken);
        return !ended;
    }
};

template <class T>
class recv_operation : public chan_operation<recv_operation<T>, recv_waiter<T>> {
    using base = chan_operation<recv_operation<T>, recv_waiter<T>>;

public:
    explicit recv_operation(chan_core* c) noexcept : base(recv_wait, c) {}
    recv_operation(recv_operation&& other) noexcept : recv_operation(other.on) {}

    bool attempt(waiter*& woken) noexcept {
        return static_cast<chan_state<T>&>(*this->on).receive(this->slot, woken);
    }
    void enlist() noexcept { this->on->receivers.push_back(*this); }
    std::optional<T> value() {
        if constexpr (std::is_same_v<T, chan_stored<T>>) {
            return std::move(this->slot);
        } else {
            return this->slot ? std::optional<T>(std::move(**this->slot)) : std::nullopt;
        }
    }

    static constexpr arm_type arm{{"select", nullptr, nullptr, waker::select},
                                  &base::arm_lock,
                                  &base::arm_attempt,
                                  &base::arm_enlist,
                                  &chan_core::withdraw_receive};
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

    bool attempt(waiter*& woken) noexcept {
        if (this->on->closed) [[unlikely]] {
            error_of(*this) = failure_channel_closed;
            return true;
        }
        return static_cast<chan_state<T>&>(*this->on).send(source_.get(), woken);
    }
    void enlist() noexcept {
        base::value = &source_.get();
        this->on->senders.push_back(*this);
    }
    void value() const noexcept {}

    static constexpr arm_type arm{{"select", nullptr, nullptr, waker::select},
                                  &base::arm_lock,
                                  &base::arm_attempt,
                                  &base::arm_enlist,
                                  &chan_core::withdraw_send};

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
