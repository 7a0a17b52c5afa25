// Operations on what a bias_lock guards: channels, mutexes and their like.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>

#include <coroutine>

namespace ringo::detail {

/// The awaiter of an operation on what a bias_lock guards, and at the same time its waiter and its
/// arm in a select. Op defines
///     bias_lock* lock() const noexcept;          // null: it can never be done
///     bool attempt(waiter*& woken) noexcept;     // under the lock: does it if it can
///     void enlist() noexcept;                    // under the lock: gets in line
///     T value();                                 // the result of a success; without `self`
///     static constexpr arm_type arm = make_arm(…)
/// and may define `void raise()`, which throws with a text of its own, and
///     bool may_come_soon() const noexcept;       // another core may let it be done in a moment
///     bool meets_select() const noexcept;        // under the lock: it may wake a select next
/// With the latter, `attempt` is a template that takes whom it may meet. `enlist` must resume nobody
/// at once. An attempt may fail by setting error_of(*this) and returning true. Base is `waiter`, or
/// what the compiled core knows of the operation.
template <class Op, class Base = waiter>
class locked_operation : public Base {
public:
    using Base::Base;
    using Base::self;
    using Base::type;

    // Inlined is what needs no call, so that a coroutine need not save registers for one.
    [[gnu::always_inline]] bool await_ready() noexcept {
        core_state& here = *this_core_state;
        goroutine& g = *here.current;
        self = &g;
        g.error = 0;
        bias_lock* const l = op().lock();
        if (l == nullptr || g.cancelled) [[unlikely]] {
            return is_cancelled();
        }
        bias_slot* const entered = l->enter_at_home(here);
        if (entered == nullptr || select_is_met()) [[unlikely]] {
            return await_ready_slow(here, entered);
        }
        waiter* woken = nullptr;
        const bool ended = attempt_at_home(woken);
        if (!ended) {
            op().enlist();
        }
        l->leave(entered);
        if (woken != nullptr) {
            wake_here(here, *woken->self);
        }
        return ended;
    }
    // It is in line already. Its goroutine cannot be resumed before it has suspended, for only this
    // core does that.
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h,
                       call_site where = call_site::current()) noexcept {
        park(*self, erase(h, where), this);
    }
    [[gnu::always_inline]] decltype(auto) await_resume() {
        if (self->error != 0) [[unlikely]] {
            op().raise();
        }
        return op().value();
    }
    [[noreturn]] void raise() { throw_failure(self->error, type->name); }

    /// Does it at once if it can. The lock is not null.
    [[gnu::always_inline]] bool now() noexcept {
        waiter* woken = nullptr;
        bool ended = false;
        {
            const bias_guard guard(*op().lock());
            ended = op().attempt(woken);
        }
        resume(woken);
        return ended;
    }

    /// For wait_blocking. The lock is not null.
    static bool now_or_enlist(waiter& w) noexcept {
        auto& me = static_cast<Op&>(w);
        waiter* woken = nullptr;
        bool ended = false;
        {
            const bias_guard guard(*me.lock());
            ended = me.attempt(woken);
            if (!ended) {
                me.enlist();
            }
        }
        resume(woken);
        return ended;
    }

protected:
    /// As an arm of a select. withdraw: see arm_type
    static constexpr arm_type make_arm(void (*withdraw)(wait&) noexcept,
                                       void (*describe)(const wait&,
                                                        wait_state&) noexcept = nullptr) {
        return {{"select", nullptr, nullptr, waker::select, describe},
                [](wait& w) noexcept { return static_cast<Op&>(w).lock(); },
                [](wait& w, waiter*& woken) noexcept {
                    auto& me = static_cast<Op&>(w);
                    return me.lock() != nullptr && me.attempt(woken);
                },
                [](wait& w) noexcept {
                    auto& me = static_cast<Op&>(w);
                    if (me.lock() != nullptr) {
                        me.enlist();
                    }
                },
                withdraw};
    }

private:
    bool select_is_met() noexcept {
        if constexpr (requires { op().meets_select(); }) {
            return op().meets_select();
        } else {
            return false;
        }
    }
    [[gnu::always_inline]] bool attempt_at_home(waiter*& woken) noexcept {
        if constexpr (requires { op().meets_select(); }) {
            return op().template attempt<meets::goroutines>(woken);
        } else {
            return op().attempt(woken);
        }
    }

    /// False: it waits, for it can never be done.
    [[gnu::noinline]] bool is_cancelled() noexcept {
        if (self->cancelled) {
            self->error = context_failure(*self);
        }
        return self->cancelled;
    }
    /// entered: of the lock; null: not yet
    [[gnu::noinline]] bool await_ready_slow(core_state& here, bias_slot* entered) noexcept {
        bias_lock& l = *op().lock();
        if (entered == nullptr) {
            l.enter_elsewhere();
        }
        waiter* woken = nullptr;
        bool ended = op().attempt(woken);
        if constexpr (requires { op().may_come_soon(); }) {
            if (!ended && entered == nullptr && here.ready.empty() && op().may_come_soon()) {
                ended = attempt_again(here, l, woken);
            }
        }
        if (!ended) {
            op().enlist();
        }
        l.leave(entered);
        resume(here, woken);
        return ended;
    }
    /// Inside the lock, which is shared, before and after.
    bool attempt_again(core_state& here, bias_lock& l, waiter*& woken) noexcept {
        for (unsigned look = 0; may_look_again(here, look); ++look) {
            l.leave(nullptr);
            pause_before_look();
            l.enter_elsewhere();
            if (op().attempt(woken)) {
                found_soon(here);
                return true;
            }
        }
        return false;
    }

    Op& op() noexcept { return static_cast<Op&>(*this); }
};

}  // namespace ringo::detail
