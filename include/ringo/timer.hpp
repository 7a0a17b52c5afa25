// Timers: awaited, or with something to do when they are due. The clock is std::chrono::steady_clock.
#pragma once

#include <ringo/chan.hpp>
#include <ringo/context.hpp>
#include <ringo/detail/context_ref.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/launch.hpp>
#include <ringo/detail/timer_core.hpp>
#include <ringo/go.hpp>
#include <ringo/task.hpp>
#include <ringo/time.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace ringo {

namespace detail {

/// throws nothing; panics: `period` is not positive
timer_core* make_ticker(duration period);
timer_core* make_timer(duration d);

}  // namespace detail

/// One tick, some time from now. It is awaited as it is, also as an operand of select:
///
///     timer idle(30s);
///     auto r = co_await select(requests.recv(), idle);
///     …
///     idle.reset(30s);
///
/// Of several goroutines that wait, the first gets the tick. It stays until it is taken, or the
/// timer is stopped or reset; after that no older tick can come.
///
/// takes    how long; nothing or less is now, what is beyond the clock's end is never
/// returns  awaited: the time at which it was due
/// throws   awaited: cancelled, deadline_exceeded; the tick is still there
/// panics   when it was moved from
/// core     any, foreign threads included, for everything but co_await
/// cancel   leaves the wait list at once, then resumes from the ready queue
/// cost     one pooled block; no allocation to reset or to wait, no kernel operation
/// follows  Go time.NewTimer, as of Go 1.23
class timer {
public:
    explicit timer(duration d) : core_(detail::make_timer(d)) {}

    /// Due after `d` from now, whatever it was before.
    ///
    /// returns  whether it was pending; a tick that nobody had taken counts, and is gone
    /// follows  Go Timer.Reset
    bool reset(duration d) { return core_->reset(d, duration(0)); }

    /// It does not tick until it is reset; who waits goes on waiting.
    ///
    /// returns  whether it was pending; a tick that nobody had taken counts, and is gone
    /// follows  Go Timer.Stop
    bool stop() { return core_->stop(); }

    auto operator co_await() const { return detail::timer_operation(*core_); }

private:
    detail::timer_owner core_;
};

/// A tick at each multiple of a period from its start on. Whoever is slow to take one misses
/// those that come meanwhile: one tick waits, never more. Otherwise as `timer`.
///
/// panics   when the period is not positive
/// returns  awaited: the time at which the tick was due; ticks do not drift
/// cost     as timer; nothing while a tick waits to be taken
/// follows  Go time.NewTicker, as of Go 1.23
class ticker {
public:
    explicit ticker(duration period) : core_(detail::make_ticker(period)) {}

    /// Starts anew with this period. A tick that nobody has taken is gone.
    ///
    /// panics   when the period is not positive
    /// follows  Go Ticker.Reset
    void reset(duration period);
    /// follows  Go Ticker.Stop
    void stop() { core_->stop(); }

    auto operator co_await() const { return detail::timer_operation(*core_); }

private:
    detail::timer_owner core_;
};

/// A channel that gets one value: the time, when `d` has passed. It is not closed.
///
/// panics   outside a runtime's cores
/// core     any
/// cost     two pooled blocks, until `d` has passed even if nobody listens; a loop is better
///          served by a timer
/// follows  Go time.After
[[nodiscard]] recv_chan<time_point> after(duration d);

namespace detail {

template <class F>
concept goroutine_function = std::is_invocable_v < std::decay_t<F>
& > ;

task<> nothing_more();
template <class T>
task<> shielded(task<T> t) {
    co_await shield(std::move(t));
}

/// Calls `f`, plain or a coroutine. The task does not hold `f`.
// Why not a coroutine: its frame would have a field of F's type, and g++ 12 warns of that where F
// is a lambda (-Wsubobject-linkage).
template <class F>
auto call_either(F& f) {
    if constexpr (is_task<std::invoke_result_t<F&>>) {
        return f();
    } else {
        static_cast<void>(f());
        return nothing_more();
    }
}

/// A use of a timer, by what it does.
class timer_use {
public:
    explicit timer_use(timer_core& owned) noexcept : core_(&owned) {}
    timer_use(timer_use&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
    timer_use& operator=(timer_use&&) = delete;
    ~timer_use() {
        if (core_ != nullptr) {
            core_->release();
        }
    }
    timer_core& operator*() const noexcept { return *core_; }

private:
    timer_core* core_;
};

/// A timer that starts a goroutine.
template <class F>
class func_core final : public timer_core {
public:
    func_core(F&& f, context_ref ctx, call_site made)
        : timer_core(true), f_(std::move(f)), context_(std::move(ctx)), made_(made) {}

private:
    void act(std::int64_t) noexcept override {
        start_at(launch<detached>(call(timer_use(*this))), place::here, context_.get(), made_);
    }

    /// What its goroutine runs; it keeps `f_` alive.
    class call {
    public:
        explicit call(timer_use use) noexcept : use_(std::move(use)) {}
        auto operator()() { return call_either(static_cast<func_core&>(*use_).f_); }

    private:
        timer_use use_;
    };

    F f_;
    const context_ref context_;
    const call_site made_;
};

/// The context of what is started from here. panics: outside a runtime's cores
context_ref inherited_context(const char* panic_message);

}  // namespace detail

/// What after_func returns. It need not be kept: only `stop` keeps its function from running.
class func_timer {
public:
    explicit func_timer(detail::timer_core* owned) noexcept : core_(owned) {}

    /// Due after `d` from now, whatever it was before. Once it has fired, another call.
    ///
    /// returns  whether it was pending
    /// panics   when it was moved from
    /// core     any, foreign threads included
    /// follows  Go Timer.Reset
    bool reset(duration d) { return core_->reset(d, duration(0)); }

    /// The function is not called any more, unless the timer is reset. Does not wait for a call
    /// that has begun.
    ///
    /// returns  whether it was pending; false: the function has been called or is about to be, or
    ///          the timer was stopped before
    /// core     any, foreign threads included
    /// follows  Go Timer.Stop
    bool stop() { return core_->stop(); }

private:
    detail::timer_owner core_;
};

/// Calls `f` in a goroutine of its own when `d` has passed, unless the run ends before.
///
/// takes    how long; nothing or less is soon, never inside this call. A callable without
///          arguments, plain or a coroutine; it lives until it cannot be called any more
/// panics   outside a runtime's cores; when an exception leaves `f`
/// core     any; `f` runs on this one, under the context of who called after_func
/// cost     one pooled block, no goroutine until it is due
/// follows  Go time.AfterFunc
template <detail::goroutine_function F>
func_timer after_func(duration d, F&& f, detail::call_site made = detail::call_site::current()) {
    func_timer t(new detail::func_core<std::decay_t<F>>(
        std::decay_t<F>(std::forward<F>(f)),
        detail::inherited_context("after_func: called outside a runtime's cores"), made));
    t.reset(d);
    return t;
}

namespace detail {

/// What the goroutine of a context's after_func runs.
template <class F>
class shielded_call {
public:
    explicit shielded_call(F&& f) : f_(std::move(f)) {}
    auto operator()() { return shielded(call_either(f_)); }

private:
    F f_;
};

/// One of two wins: the call, or who stops it.
using call_claim = std::shared_ptr<std::atomic<bool>>;

}  // namespace detail

/// What after_func of a context returns. It need not be kept.
class context_func {
public:
    context_func(context ctx, detail::call_claim claim, join_handle<void> waiting) noexcept
        : ctx_(std::move(ctx)), claim_(std::move(claim)), waiting_(std::move(waiting)) {}

    /// The function is not called any more. Does not wait for a call that has begun.
    ///
    /// returns  whether this kept it from being called; false: the context has ended, or it was
    ///          stopped before
    /// core     any, foreign threads included
    /// follows  Go context.AfterFunc
    bool stop();

private:
    context ctx_;
    detail::call_claim claim_;
    join_handle<void> waiting_;
};

namespace detail {

/// f: new. panics: outside a runtime's cores
context_func start_when_ended(const context& ctx, goroutine& f, call_site made);

}  // namespace detail

/// Calls `f` in a goroutine of its own when `ctx` has ended, soon if it has already; once, and
/// never inside this call or the one that ends the context.
///
/// takes    a callable without arguments, plain or a coroutine
/// panics   outside a runtime's cores; when an exception leaves `f`
/// core     any; `f` runs on this one, with the values of `ctx`, and is not cancelled with it
/// cost     a goroutine that waits
/// follows  Go context.AfterFunc
template <detail::goroutine_function F>
context_func after_func(const context& ctx, F&& f,
                        detail::call_site made = detail::call_site::current()) {
    using call = detail::shielded_call<std::decay_t<F>>;
    return detail::start_when_ended(
        ctx, detail::launch<detail::detached>(call(std::decay_t<F>(std::forward<F>(f)))), made);
}

}  // namespace ringo
