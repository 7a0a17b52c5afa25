// chan<T>: values from goroutine to goroutine, on whatever cores.
#pragma once

#include <ringo/context.hpp>
#include <ringo/detail/chan_core.hpp>
#include <ringo/detail/chan_operation.hpp>
#include <ringo/detail/chan_state.hpp>
#include <ringo/error.hpp>
#include <ringo/result.hpp>
#include <ringo/time.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <utility>

namespace ringo {

template <class T>
class chan;

namespace detail {

/// A counted reference to a channel; null: the nil channel.
template <class T>
class chan_handle {
public:
    [[nodiscard]] std::size_t len() const noexcept { return state_ ? state_->len() : 0; }
    [[nodiscard]] std::size_t cap() const noexcept { return state_ ? state_->capacity : 0; }
    [[nodiscard]] bool closed() const noexcept { return state_ && state_->is_closed(); }
    /// False: the nil channel.
    explicit operator bool() const noexcept { return state_ != nullptr; }
    friend bool operator==(const chan_handle& a, const chan_handle& b) noexcept {
        return a.state_ == b.state_;
    }

protected:
    explicit chan_handle(chan_state<T>* owned) noexcept : state_(owned) {}
    chan_handle(const chan_handle& other) noexcept : state_(other.state_) {
        if (state_ != nullptr) {
            state_->retain();
        }
    }
    chan_handle(chan_handle&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    chan_handle& operator=(const chan_handle& other) noexcept { return *this = chan_handle(other); }
    chan_handle& operator=(chan_handle&& other) noexcept {
        chan_handle taken(std::move(other));
        std::swap(state_, taken.state_);
        return *this;
    }
    ~chan_handle() {
        if (state_ != nullptr) {
            state_->release();
        }
    }

    chan_state<T>* state_;
};

template <class T>
auto until(time_point t, T&& operation) {
    return within_awaiter(std::forward<T>(operation), deadline_context(t));
}

/// What can be done with a channel that values go into.
template <class Self, class T>
class sending {
public:
    /// Sends a value, suspending while no receiver waits and the buffer is full. Senders are
    /// served in arrival order. The nil channel: waits for ever.
    ///
    /// takes    an lvalue is copied; an rvalue stays the caller's until it is sent
    /// throws   channel_closed, also when it is closed meanwhile; cancelled, deadline_exceeded:
    ///          in all these cases nothing was sent, and an rvalue's object still holds it.
    ///          What T's copy throws
    /// core     any
    /// cancel   leaves the wait list at once, then resumes from the ready queue
    /// cost     no allocation (a value whose move may throw: one); no switch when there is room
    /// follows  Go spec, "Send statements"
    [[nodiscard]] auto send(const T& value) const requires std::copy_constructible<T> {
        return detail::send_operation<T, sent_copy<T>>(state(), value);
    }
    [[nodiscard]] auto send(T&& value) const {
        return detail::send_operation<T, sent_rvalue<T>>(state(), std::move(value));
    }

    /// Sends if that needs no waiting.
    ///
    /// returns  false: it would have to wait (always so on the nil channel); `value` is untouched
    /// throws   channel_closed
    /// core     any, foreign threads included
    bool try_send(const T& value) const requires std::copy_constructible<T> {
        sent_copy<T> copy(value);
        return try_now(copy.get());
    }
    bool try_send(T&& value) const {
        sent_rvalue<T> lent(std::move(value));
        return try_now(lent.get());
    }

    /// As `send`, until `t` at the latest. throws: deadline_exceeded
    [[nodiscard]] auto send_until(const T& value,
                                  time_point t) const requires std::copy_constructible<T> {
        return until(t, send(value));
    }
    [[nodiscard]] auto send_until(T&& value, time_point t) const {
        return until(t, send(std::move(value)));
    }

    /// As `send`, for threads that are no core: blocks the thread.
    ///
    /// throws   channel_closed: an rvalue's object still holds the value; std::system_error on the
    ///          nil channel
    /// panics   on a core
    void send_blocking(const T& value) const requires std::copy_constructible<T> {
        wait_blocking(send_operation<T, sent_copy<T>>(state(), value));
    }
    void send_blocking(T&& value) const {
        wait_blocking(send_operation<T, sent_rvalue<T>>(state(), std::move(value)));
    }

    /// Ends the channel: what was sent before is received still, then receives are empty; sends
    /// fail, those that wait now included.
    ///
    /// throws   channel_closed when it is closed; std::system_error when it is nil
    /// core     any, foreign threads included; does not suspend
    /// follows  Go builtin close
    void close() const { close_chan(state()); }

private:
    chan_state<T>* state() const noexcept { return static_cast<const Self*>(this)->state_; }
    template <class Op>
    static void wait_blocking(Op&& op) {
        wait_blocking_on(op.on, op, &op.now_or_enlist, "chan send_blocking");
    }
    bool try_now(chan_stored<T>& value) const {
        waiter* woken = nullptr;
        bool sent = false;
        if (chan_state<T>* const c = state()) {
            const bias_guard guard(c->lock);
            if (c->closed) {
                throw_closed("chan send");
            }
            sent = c->template send<meets::anyone>(value, woken);
        }
        resume(woken);
        return sent;
    }
};

/// What can be done with a channel that values come out of.
template <class Self, class T>
class receiving {
public:
    /// Receives the next value, suspending while the channel is open and empty. Receivers are
    /// served in arrival order. The nil channel: waits for ever.
    ///
    /// returns  the value; empty once the channel is closed and drained
    /// throws   cancelled, deadline_exceeded: no value was taken
    /// core     any
    /// cancel   leaves the wait list at once, then resumes from the ready queue
    /// cost     no allocation; no switch when a value is ready
    /// follows  Go spec, "Receive operator"
    [[nodiscard]] recv_operation<T> recv() const noexcept { return recv_operation<T>(state()); }

    /// Receives if that needs no waiting.
    ///
    /// returns  the value, or errc::would_block (always so on the nil channel), or
    ///          errc::channel_closed: closed and drained
    /// core     any, foreign threads included
    [[nodiscard]] result<T> try_recv() const {
        std::optional<chan_stored<T>> slot;
        waiter* woken = nullptr;
        bool ended = false;
        if (chan_state<T>* const c = state()) {
            const bias_guard guard(c->lock);
            ended = c->template receive<meets::anyone>(slot, woken);
        }
        resume(woken);
        if (!slot) {
            return failed(make_error_code(ended ? errc::channel_closed : errc::would_block));
        }
        if constexpr (std::is_same_v<T, chan_stored<T>>) {
            return *std::move(slot);
        } else {
            return std::move(**slot);
        }
    }

    /// As `recv`, until `t` at the latest. throws: deadline_exceeded
    [[nodiscard]] auto recv_until(time_point t) const { return until(t, recv()); }

    /// As `recv`, for threads that are no core: blocks the thread.
    ///
    /// throws   std::system_error on the nil channel
    /// panics   on a core
    [[nodiscard]] std::optional<T> recv_blocking() const {
        recv_operation<T> op(state());
        wait_blocking_on(op.on, op, &op.now_or_enlist, "chan recv_blocking");
        return op.value();
    }

private:
    chan_state<T>* state() const noexcept { return static_cast<const Self*>(this)->state_; }
};

}  // namespace detail

/// A channel: values go in at one end and come out at the other, in order, each once. Unbuffered,
/// a send waits for its receiver; with a capacity, only while that many values are inside.
/// A handle: copies name the same channel, which lives as long as one of them.
///
///     chan<int> c;             // unbuffered
///     chan<int> c(16);         // up to 16 values inside
///     chan<int> c = nullptr;   // nil: sends and receives wait for ever
///
/// takes    T is movable; it need not be copyable or default-constructible. Its move must not use
///          channels or locks itself
/// throws   std::system_error for a capacity that is negative or that no memory could hold
/// core     any, foreign threads included, for everything but co_await
/// cost     one block, for the buffer too
/// follows  Go spec, "Channel types"
template <class T>
class chan : public detail::chan_handle<T>,
             public detail::sending<chan<T>, T>,
             public detail::receiving<chan<T>, T> {
public:
    using value_type = T;

    chan() : chan(0) {}
    template <std::integral Count>
    explicit chan(Count capacity)
        : detail::chan_handle<T>(detail::chan_state<T>::make(detail::chan_capacity(capacity))) {}
    chan(std::nullptr_t) noexcept : detail::chan_handle<T>(nullptr) {}

private:
    friend class detail::sending<chan<T>, T>;
    friend class detail::receiving<chan<T>, T>;
};

/// A channel's end that values go into.
template <class T>
class send_chan : public detail::chan_handle<T>, public detail::sending<send_chan<T>, T> {
public:
    using value_type = T;

    send_chan(std::nullptr_t = nullptr) noexcept : detail::chan_handle<T>(nullptr) {}
    send_chan(chan<T> c) noexcept : detail::chan_handle<T>(std::move(c)) {}

private:
    friend class detail::sending<send_chan<T>, T>;
};

/// A channel's end that values come out of.
template <class T>
class recv_chan : public detail::chan_handle<T>, public detail::receiving<recv_chan<T>, T> {
public:
    using value_type = T;

    recv_chan(std::nullptr_t = nullptr) noexcept : detail::chan_handle<T>(nullptr) {}
    recv_chan(chan<T> c) noexcept : detail::chan_handle<T>(std::move(c)) {}

private:
    friend class detail::receiving<recv_chan<T>, T>;
};

}  // namespace ringo
