// once: something that happens once, whoever asks for it first.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/task.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace ringo {

namespace detail {

// States: idle -> running -> done. Callers wait only while it is running.
class once_state {
public:
    enum class state : std::uint8_t { idle, running, done };

    once_state() noexcept = default;
    once_state(const once_state&) = delete;
    once_state& operator=(const once_state&) = delete;
    ~once_state();

    /// acquire: pairs with `finish`, so that who finds it done sees what was done.
    bool done() const noexcept { return now.load(std::memory_order_acquire) == state::done; }
    void finish() noexcept;

    bias_lock lock;
    std::atomic<state> now{state::idle};  // written under the lock
    wait_list waiting;
};

struct once_waiter : waiter {
    once_waiter(const wait_type& t, once_state* o) noexcept : waiter(t), on(o) {}
    once_state* on;
    bool first = false;  // it began, and must finish it
};

extern const wait_type once_wait;

/// Begins it, or waits until it is done.
class begin_operation : public locked_operation<begin_operation, once_waiter> {
public:
    explicit begin_operation(once_state& o) noexcept : locked_operation(once_wait, &o) {}

    bias_lock* lock() const noexcept { return &on->lock; }
    bool attempt(waiter*&) noexcept {
        if (on->now.load(std::memory_order_relaxed) != once_state::state::idle) {
            return on->done();
        }
        on->now.store(once_state::state::running, std::memory_order_relaxed);
        return first = true;
    }
    void enlist() noexcept { on->waiting.push_back(*this); }
    bool value() const noexcept { return first; }
};

/// However the function ends.
class finish_at_end {
public:
    explicit finish_at_end(once_state& o) noexcept : on_(o) {}
    finish_at_end(const finish_at_end&) = delete;
    finish_at_end& operator=(const finish_at_end&) = delete;
    ~finish_at_end() { on_.finish(); }

private:
    once_state& on_;
};

template <class F>
task<> call_once(once_state& o, F& f) {
    const bool first = co_await begin_operation(o);
    if (!first) {
        co_return;
    }
    const finish_at_end finish(o);
    if constexpr (is_task<F>) {
        co_await std::move(f);
    } else if constexpr (is_task<std::invoke_result_t<F&>>) {
        co_await f();
    } else {
        f();
    }
}

/// The awaiter of once::call; it makes a frame only while it is not done.
template <class F>
class once_operation {
public:
    once_operation(once_state& o, F&& f) : on_(&o), f_(std::move(f)) {}
    once_operation(once_operation&& other) : once_operation(*other.on_, std::move(other.f_)) {}

    bool await_ready() const noexcept {
        return on_->done() && !this_core_state->current->cancelled;
    }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h, call_site where = call_site::current()) {
        call_.callee = call_once(*on_, f_).release();
        call_.await_suspend(h, where);
    }
    void await_resume() { call_.await_resume(); }

private:
    once_state* on_;
    F f_;
    task_awaiter<void> call_{nullptr};
};

}  // namespace detail

/// Does something once.
///
///     co_await opened.call([&] { file = open(); });
///
/// panics   when it is destroyed while its function runs
/// core     any; it may be made outside of a run, and be used in several
/// follows  Go sync.Once
class once {
public:
    once() noexcept = default;

    /// The first call runs `f`; those that come meanwhile wait until it has ended, later ones
    /// return at once. A call from within `f` waits for ever, as in Go.
    ///
    /// takes    a callable, which may return a task (it is awaited), or a task; what it returns is
    ///          dropped. Of later calls it is dropped unused
    /// throws   what `f` throws, in the first call alone; it counts as done, also for the others.
    ///          cancelled, deadline_exceeded: while it waited for another, or before it began
    /// core     any; `f` runs on that of the first caller, as a part of its goroutine
    /// cancel   who waits leaves; `f` runs on as its caller does
    /// cost     once it is done: no lock, no frame
    /// follows  Go sync.Once.Do
    template <class F>
    [[nodiscard]] auto call(F&& f) {
        static_assert(!(detail::is_task<std::decay_t<F>> && std::is_lvalue_reference_v<F>),
                      "ringo: std::move the task into call");
        return detail::once_operation<std::decay_t<F>>(state_, std::decay_t<F>(std::forward<F>(f)));
    }

    /// Whether it has been done.
    ///
    /// core     any, foreign threads included
    [[nodiscard]] bool done() const noexcept { return state_.done(); }

private:
    detail::once_state state_;
};

}  // namespace ringo
