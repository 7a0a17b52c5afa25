// condition_variable: waits until another goroutine says that something has changed.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/mutex.hpp>
#include <ringo/task.hpp>

#include <coroutine>
#include <utility>

namespace ringo {

namespace detail {

class condition_state {
public:
    condition_state() noexcept = default;
    condition_state(const condition_state&) = delete;
    condition_state& operator=(const condition_state&) = delete;
    ~condition_state() { orphan(lock, waiting); }

    void notify_one() noexcept;
    void notify_all() noexcept;

    bias_lock lock;
    wait_list waiting;
};

// States:  in the condition's list -> in neither -> in the mutex's list -> has the mutex
//                  \-> the condition is gone           \-> abandoned
// Whoever takes it out of the condition's list, who notifies or its own core's cancel, sees to it
// that it gets the mutex (`reacquire`). Only those end without whose condition is gone, and the
// mutex with it perhaps, and the abandoned, whose frames are destroyed.
class condition_wait : public mutex_waiter {
public:
    condition_wait(condition_state& c, mutex_guard& g) noexcept;
    condition_wait(condition_wait&& other) noexcept : condition_wait(*other.on_, *other.guard_) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h,
                       call_site where = call_site::current()) noexcept {
        return suspend(*this_core_state->current, erase(h, where));
    }
    void await_resume();
    [[noreturn]] void raise();

private:
    friend class condition_state;
    friend struct condition_wait_type;

    using mutex_waiter::self;  // so as_result cannot do without await_resume, which fills the guard

    bool suspend(goroutine& g, frame_handle h) noexcept;
    void reacquire() noexcept;
    static void reacquire(waiter& in_condition) noexcept {
        static_cast<condition_waiter&>(in_condition).op.reacquire();
    }
    bool abandon() noexcept;
    static void cancel(wait& w) noexcept;

    /// Its part in the condition's list; it stands in the mutex's as a mutex_waiter.
    struct condition_waiter : waiter {
        explicit condition_waiter(condition_wait& w) noexcept : waiter(*w.type), op(w) {}
        condition_wait& op;
    };

    condition_state* on_;
    mutex_guard* guard_;
    condition_waiter in_condition_{*this};
    bool abandoned_ = false;  // under the mutex's lock
};

}  // namespace detail

/// Lets goroutines wait for a change of what a mutex protects, until another notifies them.
///
///     auto g = co_await m.lock();
///     co_await changed.wait(g, [&] { return !queue.empty(); });
///
/// Where it is destroyed while goroutines wait, they wait until they are cancelled.
///
/// core     any; it may be made outside of a run, and be used in several
/// follows  Go sync.Cond
class condition_variable {
public:
    condition_variable() noexcept = default;

    /// Gives the mutex back, waits until it is notified, and takes the mutex again. No notify that
    /// comes after the mutex was given back is missed, and none that came before is taken. It does
    /// not return without a notify.
    ///
    /// takes    a guard that holds a mutex; goroutines that wait at once may use different ones
    /// returns  awaited, with the guard holding the mutex
    /// throws   cancelled, deadline_exceeded: it was not notified. The guard holds the mutex then
    ///          too, unless the condition_variable has been destroyed
    /// panics   when the guard holds nothing
    /// core     any
    /// cancel   gives up the wait for a notify at once, but not that for the mutex; who has been
    ///          notified already returns as if nothing were
    /// cost     no allocation; one switch: who notifies puts the waiter in the mutex's line
    /// follows  Go sync.Cond.Wait
    [[nodiscard]] detail::condition_wait wait(mutex::guard& g) noexcept {
        return detail::condition_wait(state_, g);
    }

    /// while (!pred()) co_await wait(g);
    ///
    /// throws   what `pred` throws too
    /// cost     a pooled frame
    template <class Predicate>
    [[nodiscard]] task<> wait(mutex::guard& g, Predicate pred) {
        while (!pred()) {
            co_await wait(g);
        }
    }

    /// Ends the wait of the goroutine that has waited longest, or of none. It runs when it gets
    /// the mutex, which the caller may hold or not.
    ///
    /// core     any, foreign threads included; does not suspend
    /// follows  Go sync.Cond.Signal
    void notify_one() noexcept { state_.notify_one(); }

    /// Ends the waits of all; they get the mutex in the order in which they came.
    ///
    /// core     any, foreign threads included; does not suspend
    /// follows  Go sync.Cond.Broadcast
    void notify_all() noexcept { state_.notify_all(); }

private:
    detail::condition_state state_;
};

}  // namespace ringo
