// context: cancellation, deadlines and values, inherited from goroutine to goroutine.
#pragma once

#include <ringo/detail/call_site.hpp>
#include <ringo/detail/context_ref.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/task.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>

namespace ringo {

class context;

namespace detail {

extern const wait_type done_wait;

/// Watches a context's end. It stands on the list of the context's scope on this core.
class done_operation : public operation<done_operation> {
public:
    explicit done_operation(context_ref ctx) noexcept
        : operation(done_wait), ctx_(std::move(ctx)) {}

    bool start() noexcept;
    void value() const noexcept {}
    void unlink() noexcept;

    scope* on = nullptr;
    done_operation* next = nullptr;
    done_operation** link = nullptr;  // null: the context has ended, or is not watched

    static const arm_type arm;

private:
    friend struct done_arm;

    bool ended() const noexcept;

    context_ref ctx_;
};

template <class Key>
struct context_value {
    using type = Key;
};
template <class Key>
    requires requires { typename Key::type; }
struct context_value<Key> {
    using type = typename Key::type;
};

template <class Key>
inline constexpr char context_key = 0;  // its address is the key

context_ref make_value_context(const context_node& parent, const void* key,
                               std::shared_ptr<const void> value);
const void* find_context_value(const context_node& node, const void* key) noexcept;

}  // namespace detail

/// What a piece of work may still do: whether it was cancelled, until when it may run, and values
/// that go with it. Every goroutine has one, inherited from its starter, and each of its
/// suspension points observes it. A handle: copies name the same context.
///
/// core     any, foreign threads included, for everything but `co_await ctx.done()`
/// follows  Go package context
class context {
public:
    /// The context that never ends.
    static context background();
    /// One that ends when `token` is asked to stop.
    static context from(std::stop_token token);

    /// An operation that ends when the context does.
    [[nodiscard]] detail::done_operation done() const noexcept {
        return detail::done_operation(node_);
    }
    [[nodiscard]] bool cancelled() const noexcept;
    /// Why it ended: operation_canceled or timed_out; empty while it has not.
    [[nodiscard]] std::error_code error() const noexcept;
    /// What was given to `cancel` first, here or further up; null: nothing was.
    [[nodiscard]] std::exception_ptr cause() const;
    /// The earliest deadline, here or further up.
    [[nodiscard]] std::optional<time_point> deadline() const noexcept;
    /// A token that is asked to stop when the context ends; it keeps nothing alive.
    [[nodiscard]] std::stop_token stop_token() const;

    /// The nearest value for Key, a const Key::type* (const Key* without such a type); or null.
    template <class Key>
    [[nodiscard]] auto value() const noexcept {
        using type = typename detail::context_value<Key>::type;
        return static_cast<const type*>(
            detail::find_context_value(*node_, &detail::context_key<Key>));
    }

    explicit context(detail::context_ref node) noexcept : node_(std::move(node)) {}
    const detail::context_ref& node() const noexcept { return node_; }

private:
    detail::context_ref node_;
};

/// The running goroutine's context; outside goroutines, the background.
[[nodiscard]] context this_context();

/// Ends its context when it dies, if nothing did so before.
class [[nodiscard]] cancel_scope {
public:
    explicit cancel_scope(detail::context_ref node) noexcept : ctx_(std::move(node)) {}
    cancel_scope(cancel_scope&&) noexcept = default;
    cancel_scope& operator=(cancel_scope&& other) noexcept;
    ~cancel_scope() {
        if (ctx_.node()) {
            cancel();
        }
    }

    [[nodiscard]] const context& ctx() const noexcept { return ctx_; }
    operator const context&() const noexcept { return ctx_; }

    /// Ends the context and all that derive from it. The first cause sticks. core: any
    void cancel(std::exception_ptr cause = nullptr) noexcept;

private:
    context ctx_;
};

/// A context that ends with `parent`, or when its scope is cancelled or dies.
///
/// cost     one pooled block, no kernel operation
/// follows  Go context.WithCancelCause
cancel_scope with_cancel(const context& parent);
/// ... or, with deadline_exceeded, after `d` (at once when it is negative).
cancel_scope with_timeout(const context& parent, duration d);
/// ... or, with deadline_exceeded, at `t`.
cancel_scope with_deadline(const context& parent, time_point t);

/// `parent` with a value added. It ends with its parent.
template <class Key, class Value>
[[nodiscard]] context with_value(const context& parent, Value&& value) {
    using type = typename detail::context_value<Key>::type;
    return context(
        detail::make_value_context(*parent.node(), &detail::context_key<Key>,
                                   std::make_shared<const type>(std::forward<Value>(value))));
}

/// For `go` and `spawn`: here, under `ctx`.
[[nodiscard]] inline place with(const context& ctx,
                                detail::call_site at = detail::call_site::current()) {
    return place().with(ctx, at);
}

namespace detail {

/// Binds a goroutine to another context for as long as it lives.
class rebinding {
public:
    rebinding() noexcept = default;
    rebinding(const rebinding&) = delete;
    rebinding& operator=(const rebinding&) = delete;
    ~rebinding() { undo(); }

    void bind(goroutine& g, context_node& ctx);
    void undo() noexcept;

private:
    goroutine* g_ = nullptr;
    scope* outer_ = nullptr;
    bool was_shielded_ = false;
};

/// Wraps an awaiter: binds the goroutine to a context before it, and back after it.
/// Make gives the context when the await begins.
template <class Awaiter, class Make>
class within_awaiter {
public:
    within_awaiter(Awaiter&& inner, Make&& make)
        : inner_(std::move(inner)), make_(std::move(make)) {}
    within_awaiter(within_awaiter&& other) noexcept
        : inner_(std::move(other.inner_)), make_(std::move(other.make_)) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h, call_site where = call_site::current()) {
        rebinding_.bind(*this_core_state->current, make_());
        return !inner_.await_ready() && suspend(inner_, h, where);
    }
    decltype(auto) await_resume() {
        // After the inner one, which may have bound the goroutine again.
        const undo_at_end guard(rebinding_);
        return inner_.await_resume();
    }

private:
    class undo_at_end {
    public:
        explicit undo_at_end(rebinding& r) noexcept : r_(r) {}
        undo_at_end(const undo_at_end&) = delete;
        undo_at_end& operator=(const undo_at_end&) = delete;
        ~undo_at_end() { r_.undo(); }

    private:
        rebinding& r_;
    };

    rebinding rebinding_;
    Awaiter inner_;
    Make make_;
};

template <class T>
task_awaiter<T> awaiter_of(task<T>&& t) {
    return std::move(t).operator co_await();
}
template <operation_object Object>
auto awaiter_of(Object& object) {
    return object.operator co_await();
}
template <class Op>
    requires requires(Op op) { op.await_resume(); }
Op awaiter_of(Op&& op) { return std::move(op); }

/// Gives a context that was there before.
class given_context {
public:
    explicit given_context(context_ref ctx) noexcept : ctx_(std::move(ctx)) {}
    context_node& operator()() const noexcept { return *ctx_; }

private:
    context_ref ctx_;
};

/// Derives one with a deadline from the goroutine's own; it ends with the await.
class timeout_context {
public:
    explicit timeout_context(duration d) noexcept : d_(d) {}
    timeout_context(timeout_context&& other) noexcept : d_(other.d_) {}
    context_node& operator()();

private:
    duration d_;
    cancel_scope scope_{context_ref()};  // empty until the await begins
};

/// ... until a point in time.
class deadline_context {
public:
    explicit deadline_context(time_point t) noexcept : until_(t) {}
    deadline_context(deadline_context&& other) noexcept : until_(other.until_) {}
    context_node& operator()();

private:
    time_point until_;
    cancel_scope scope_{context_ref()};
};

/// The goroutine's values without its cancellation.
class shielded_context {
public:
    shielded_context() noexcept = default;
    context_node& operator()();

private:
    context_ref ctx_;
};

}  // namespace detail

/// Awaits an operation, a task or a join handle under `ctx` instead of the goroutine's own context.
template <class Awaitable>
[[nodiscard]] auto within(const context& ctx, Awaitable&& what) {
    return detail::within_awaiter(detail::awaiter_of(std::forward<Awaitable>(what)),
                                  detail::given_context(ctx.node()));
}

/// Awaits an operation, a task or a join handle for at most `d`.
///
/// throws   deadline_exceeded when it has not ended by then; a task runs on to its next
///          suspension point, which fails
template <class Awaitable>
[[nodiscard]] auto timeout(duration d, Awaitable&& what) {
    return detail::within_awaiter(detail::awaiter_of(std::forward<Awaitable>(what)),
                                  detail::timeout_context(d));
}

/// Awaits an operation, a task or a join handle that is not cancelled from outside; the goroutine's own
/// cancellation shows at its next suspension point after it.
///
/// follows  Go context.WithoutCancel
template <class Awaitable>
[[nodiscard]] auto shield(Awaitable&& what) {
    return detail::within_awaiter(detail::awaiter_of(std::forward<Awaitable>(what)),
                                  detail::shielded_context());
}

}  // namespace ringo
