// Goroutines: start one, wait for one, choose where it runs.
#pragma once

#include <ringo/detail/call_site.hpp>
#include <ringo/detail/context_ref.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/joinable.hpp>
#include <ringo/detail/launch.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/starts.hpp>
#include <ringo/task.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace ringo {

class context;

/// Where and under which context a goroutine starts; made by `on`, `anywhere` and `with`.
class place {
public:
    place() noexcept = default;

    /// The same place, under `ctx` instead of the starter's context.
    [[nodiscard]] place with(const context& ctx,
                             detail::call_site at = detail::call_site::current()) const;

    static constexpr int here = -1;
    static constexpr int idle_core = -2;

    int core = here;
    detail::context_ref context;                            // empty: the starter's
    detail::call_site made = detail::call_site::unknown();  // where it is given
};

/// takes    the core's number, from 0
/// panics   in `go` and `spawn`, when there is no such core
[[nodiscard]] inline place on(std::size_t core,
                              detail::call_site at = detail::call_site::current()) noexcept {
    place p;
    p.made = at;
    p.core = core < 65536 ? static_cast<int>(core) : 65536;
    return p;
}

struct anywhere_t {
    operator place() const noexcept {
        place p;
        p.core = place::idle_core;
        return p;
    }
    [[nodiscard]] place with(const context& ctx,
                             detail::call_site at = detail::call_site::current()) const {
        return place(*this).with(ctx, at);
    }
};
/// Any core that is idle may take the goroutine, until its first step.
inline constexpr anywhere_t anywhere;

namespace detail {

template <class P>
concept placement = std::convertible_to < const std::remove_cvref_t<P>
&, place > ;

/// A place as an argument, with where it is used unless that is known.
struct placed_here : place {
    template <placement P>
    placed_here(const P& p, call_site at = call_site::current()) : place(p) {
        if (!made) {
            made = at;
        }
    }
};

/// `go` of what is no variable. Self has `start(made, f, args...)` and `start_at(place, f, args...)`.
template <class Self>
class starts {
public:
    RINGO_STARTS(void, go, self().start, self().start_at)

private:
    Self& self() noexcept { return static_cast<Self&>(*this); }
};

template <class F, class... Args>
void go_here(call_site made, F&& f, Args&&... args) {
    start_here(this_core_state, launch<detached>(std::forward<F>(f), std::forward<Args>(args)...),
               made);
}
template <class F, class... Args>
void go_at(const place& p, F&& f, Args&&... args) {
    start_at(launch<detached>(std::forward<F>(f), std::forward<Args>(args)...), p.core,
             p.context.get(), p.made);
}

}  // namespace detail

/// Starts a goroutine and forgets it. It runs when the starter next suspends.
///
/// takes    a task, or a callable and its arguments, which move into the goroutine and live as
///          long as it does (pass references with std::ref); before them, optionally, a place.
///          Arguments are kept as std::decay makes them: a literal stays a const char*, so a
///          callable that takes a const std::string& must be given a std::string
/// panics   outside a goroutine; on a core that does not exist. An exception that leaves the
///          goroutine is a panic; `cancelled` leaving a cancelled goroutine is a normal end
/// core     any; without a place it stays on the starter's
/// cost     a pooled block and the task's pooled frame
/// follows  Go spec, "Go statements"
RINGO_STARTS(void, go, detail::go_here, detail::go_at)

template <class T>
class [[nodiscard]] join_handle;

namespace detail {

/// The wait for a goroutine's end.
template <class T>
class join_operation : public locked_operation<join_operation<T>, joining> {
public:
    explicit join_operation(join_handle<T>& handle) noexcept : handle_(&handle) {
        this->target = handle.state_.get();
    }
    join_operation(join_operation&& other) noexcept : join_operation(*other.handle_) {}

    [[gnu::always_inline]] T value() {
        // The state stays until the value has moved out.
        const joinable_ref<T> state = std::move(handle_->state_);
        return state->take();
    }

private:
    join_handle<T>* handle_;
};

}  // namespace detail

/// The right to wait for one goroutine, from `spawn`. Dropped without being awaited, it lets the
/// goroutine run on; a failure that nobody can see any more is a panic.
template <class T>
class [[nodiscard]] join_handle {
public:
    explicit join_handle(detail::joinable<T>* owned) noexcept : state_(owned) {}

    /// Waits until the goroutine has ended.
    ///
    /// returns  what its task returned
    /// throws   what left its task; cancelled, deadline_exceeded: the handle still works
    /// panics   when it has been awaited to the end before, or was moved from
    /// core     any
    /// cancel   leaves the wait at once; the goroutine runs on
    auto operator co_await() & {
        check();
        return detail::join_operation<T>(*this);
    }
    auto operator co_await() && { return operator co_await(); }

    /// Asks the goroutine to end: every suspension point of it fails with `cancelled`.
    /// Does not wait for it. core: any
    void cancel() {
        check();
        state_->cancel();
    }
    [[nodiscard]] bool done() const {
        check();
        return state_->done();
    }
    [[nodiscard]] std::uint64_t id() const {
        check();
        return state_->id;
    }

private:
    friend class detail::join_operation<T>;

    void check() const {
        if (!state_) [[unlikely]] {
            detail::panic("join_handle: awaited twice, or after it was moved from");
        }
    }

    detail::joinable_ref<T> state_;
};

namespace detail {

// Inlined, it hands the handle over in a register.
template <class F, class... Args>
[[gnu::always_inline]] inline auto spawn_here(call_site made, F&& f, Args&&... args) {
    auto& g = launch<joinable>(std::forward<F>(f), std::forward<Args>(args)...);
    join_handle handle(&g);
    start_here(this_core_state, g, made);
    return handle;
}
template <class F, class... Args>
auto spawn_at(const place& p, F&& f, Args&&... args) {
    auto& g = launch<joinable>(std::forward<F>(f), std::forward<Args>(args)...);
    join_handle handle(&g);
    start_at(g, p.core, p.context.get(), p.made);
    return handle;
}

}  // namespace detail

/// Starts a goroutine that can be joined; otherwise as `go`.
///
/// returns  the handle to await; an exception that leaves the goroutine is rethrown there
RINGO_STARTS(auto, spawn, detail::spawn_here, detail::spawn_at)

namespace detail {

/// Not a wait: the goroutine stays ready, so there is nothing to give up.
class yield_operation {
public:
    yield_operation() noexcept {}

    bool await_ready() const noexcept {
        // Two yields in the two branches of an `if` begin alike. Clang 14 would merge what they
        // share, half of a suspension each, and crash; so each shows that it is another one.
        asm volatile("" : : "r"(this));
        return false;
    }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h,
                       call_site where = call_site::current()) noexcept {
        core_state& here = *this_core_state;
        goroutine& g = *here.current;
        if (g.cancelled) [[unlikely]] {
            cancelled_ = &g;
            return false;
        }
        g.frame = erase(h, where);
        here.frame = nullptr;
        here.ready.push_last(g);
        return true;
    }
    void await_resume() const {
        if (cancelled_ != nullptr) [[unlikely]] {
            throw_failure(context_failure(*cancelled_), "yield");
        }
    }

private:
    goroutine* cancelled_ = nullptr;
};

}  // namespace detail

/// Lets the other ready goroutines of this core run first.
///
/// throws   cancelled, deadline_exceeded
/// cost     one switch, a few nanoseconds
/// follows  Go runtime.Gosched
[[nodiscard]] inline detail::yield_operation yield() noexcept { return {}; }

/// The number of the core that runs this goroutine, from 0. panics: outside a runtime's cores
[[nodiscard]] std::size_t this_core();
/// How many cores the runtime has. panics: outside a runtime's cores
[[nodiscard]] std::size_t cores();
/// How many goroutines have started and not ended, on all cores; a snapshot.
/// panics: outside a runtime's cores
[[nodiscard]] std::size_t num_goroutines();

}  // namespace ringo
