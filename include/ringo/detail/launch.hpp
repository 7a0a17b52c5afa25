// A goroutine's one block: control block, slot of its root task, callable and arguments.
#pragma once

#include <ringo/detail/call_site.hpp>
#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/joinable.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ringo::detail {

/// Makes `g` ready on this core, under the current goroutine's context. here: null is a panic
void start_here(core_state* here, goroutine& g, call_site made) noexcept;
/// core: its number, place::here or place::idle_core. ctx: borrowed; null: the current one.
void start_at(goroutine& g, int core, context_node* ctx, call_site made);

/// A goroutine without a handle: its value goes nowhere, its failure is a panic.
template <class T>
class detached : public goroutine {
public:
    using goroutine::goroutine;

    template <class Block>
    static void deliver(Block& self) noexcept {
        if (self.root.result.error()) [[unlikely]] {
            check_detached(self, self.root.result.error());
        }
        delete &self;
    }

    task_awaiter<T> root{nullptr};
};

/// Owns a root frame that leaves no outcome.
struct root_slot : callee_slot {
    root_slot() noexcept = default;
    root_slot(const root_slot&) = delete;
    root_slot& operator=(const root_slot&) = delete;
    ~root_slot() {
        if (callee) {
            callee.destroy();
        }
    }
};

template <>
class detached<void> : public goroutine {
public:
    explicit detached(const goroutine_type& t) noexcept : goroutine(t) { drops_outcome = true; }

    template <class Block>
    static void deliver(Block& self) noexcept {
        delete &self;
    }

    root_slot root;
};

/// A task that was given instead of a callable.
template <class T>
struct call_task {
    task<T> operator()() { return std::move(given); }

    task<T> given;
};

template <class F, class... Args>
struct call_function {
    auto operator()() { return std::apply(f, std::move(args)); }

    [[no_unique_address]] F f;
    [[no_unique_address]] std::tuple<Args...> args;
};

template <class Call>
using call_result = typename std::invoke_result_t<Call&>::value_type;

/// A callable that goes with its goroutine; a handle may keep the block for longer.
template <class Call, bool = std::is_trivially_destructible_v<Call>>
class held_call {
public:
    template <class... A>
    explicit held_call(A&&... a) : call_{std::forward<A>(a)...} {}
    Call& operator*() noexcept { return call_; }
    void destroy() noexcept {}

private:
    [[no_unique_address]] Call call_;
};

template <class Call>
class held_call<Call, false> {
public:
    template <class... A>
    explicit held_call(A&&... a) : call_{std::forward<A>(a)...} {}
    ~held_call() {}
    Call& operator*() noexcept { return call_; }
    void destroy() noexcept { call_.~Call(); }

private:
    union {
        Call call_;
    };
};

/// Base is detached<T>, joinable<T>, or another that has `root` and `deliver`, which may destroy it.
template <class Base, class Call>
class launch_block final : public Base {
public:
    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* block, std::size_t size) noexcept { frame_free(block, size); }

    template <class... A>
    explicit launch_block(A&&... a) : Base(type_), call_(std::forward<A>(a)...) {}
    ~launch_block() {
        if (!this->finished) {  // it never ran
            call_.destroy();
        }
    }

private:
    static launch_block& of(goroutine& g) noexcept { return static_cast<launch_block&>(g); }

    static frame_handle start(goroutine& g) noexcept {
        launch_block& self = of(g);
        try {
            self.root.callee = (*self.call_)().release();
        } catch (...) {
            if constexpr (requires { self.root.result; }) {
                self.root.result.fail(std::current_exception());
            } else {
                fail_detached(g);
            }
            g.finished = true;
            return nullptr;
        }
        self.root.callee.promise().begin(g.frame, self.root);
        return g.frame = self.root.callee;
    }
    static void end(goroutine& g) noexcept {
        launch_block& self = of(g);
        self.call_.destroy();
        Base::deliver(self);
    }
    static void destroy(goroutine& g) noexcept { delete &of(g); }

    static constexpr goroutine_type type_{&start, &end, &destroy};

    [[no_unique_address]] held_call<Call> call_;
};

/// Base<T> is the kind of goroutine; what runs is `f(args...)`, or `f` itself if it is a task.
template <template <class> class Base, class F, class... Args>
auto& launch(F&& f, Args&&... args) {
    using callable = std::decay_t<F>;
    if constexpr (is_task<callable>) {
        static_assert(sizeof...(Args) == 0, "ringo: a task takes no arguments; give a callable");
        static_assert(!std::is_lvalue_reference_v<F>, "ringo: std::move the task into go/spawn");
        using value = typename callable::value_type;
        return *new launch_block<Base<value>, call_task<value>>(std::move(f));
    } else {
        static_assert(std::is_invocable_v<callable&, std::decay_t<Args>...>,
                      "ringo: the callable cannot be called with these arguments, which are moved "
                      "into the goroutine and passed as rvalues (std::ref passes a reference)");
        using call = call_function<callable, std::decay_t<Args>...>;
        static_assert(is_task<std::invoke_result_t<call&>>,
                      "ringo: the callable must return a ringo::task");
        return *new launch_block<Base<call_result<call>>, call>(
            std::forward<F>(f), std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...));
    }
}

}  // namespace ringo::detail
