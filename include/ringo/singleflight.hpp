// singleflight: callers who ask for the same thing at the same time share one call.
#pragma once

#include <ringo/context.hpp>
#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/locked_operation.hpp>
#include <ringo/detail/outcome.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/go.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>

namespace ringo {

namespace detail {

extern const wait_type flight_wait;

/// One call, apart from its value.
class flight_core {
public:
    flight_core();

    /// Wakes all who wait. Before it, `error` or the value has been set.
    void land() noexcept;

    std::size_t callers = 0;  // under the table's lock

    cancel_scope scope;  // of the call: cancelled when nobody wants it any more
    std::exception_ptr error;

    bias_lock lock;
    bool landed = false;
    wait_list waiters;
};

template <class Value>
struct flight : flight_core {
    std::optional<std::conditional_t<std::is_void_v<Value>, std::monostate, Value>> value;
};

/// Waits until a call has ended.
class flight_operation : public locked_operation<flight_operation> {
public:
    explicit flight_operation(flight_core& f) noexcept : locked_operation(flight_wait), on(&f) {}
    flight_operation(flight_operation&& other) noexcept : flight_operation(*other.on) {}

    bias_lock* lock() const noexcept { return &on->lock; }
    bool attempt(waiter*&) const noexcept { return on->landed; }
    void enlist() noexcept { on->waiters.push_back(*this); }
    void value() const noexcept {}

    flight_core* on;
};

/// Throws where the running goroutine is cancelled. panics: outside a goroutine
void check_may_call();
/// For a call that its run has destroyed.
[[noreturn]] void throw_call_destroyed();

/// The calls that are under way. It outlives the singleflight, for its calls may.
// Why not a bias_lock: a key's hash and comparison are user code.
template <class Key, class Value>
class flight_table {
public:
    using flight_ptr = std::shared_ptr<flight<Value>>;

    /// The call for `key`, one caller more; true: a new one, which the caller must start.
    std::pair<flight_ptr, bool> join(const Key& key) {
        const std::lock_guard guard(lock_);
        flight_ptr& entry = flights_[key];
        const bool is_new = entry == nullptr;
        if (is_new) {
            try {
                entry = std::make_shared<flight<Value>>();
            } catch (...) {
                flights_.erase(key);
                throw;
            }
        }
        ++entry->callers;
        return {entry, is_new};
    }
    void leave(const Key& key, const flight_ptr& f) {
        {
            const std::lock_guard guard(lock_);
            if (--f->callers != 0) {
                return;
            }
            erase(key, f);
        }
        f->scope.cancel();
    }
    void land(const Key& key, const flight_ptr& f) {
        {
            const std::lock_guard guard(lock_);
            erase(key, f);
        }
        f->land();
    }
    void forget(const Key& key) {
        const std::lock_guard guard(lock_);
        flights_.erase(key);
    }

private:
    void erase(const Key& key, const flight_ptr& f) {
        const auto it = flights_.find(key);
        if (it != flights_.end() && it->second == f) {
            flights_.erase(it);
        }
    }

    std::mutex lock_;
    std::unordered_map<Key, flight_ptr> flights_;
};

}  // namespace detail

/// Calls that are made once for all who ask for the same key while the call is under way.
///
///     singleflight<std::string, page> loads;
///     auto load = [url] { return fetch(url); };
///     page p = co_await loads.call(url, load);
///
/// takes    Key: std::hash and ==. Value: copyable, or void
/// core     any; callers on several cores share a call too
/// follows  Go golang.org/x/sync/singleflight
template <class Key, class Value>
class singleflight {
    static_assert(!std::is_reference_v<Value>,
                  "ringo: a singleflight's value is copied; use a "
                  "pointer");

    using table = detail::flight_table<Key, Value>;
    using flight_ptr = typename table::flight_ptr;

public:
    singleflight() : table_(std::make_shared<table>()) {}
    singleflight(const singleflight&) = delete;
    singleflight& operator=(const singleflight&) = delete;

    /// The result for `key`: of the call that is under way, or else of `f`.
    ///
    /// `f` runs in a goroutine of its own, on the core of the caller who starts it, with that
    /// caller's context values but not its end: a caller that is cancelled leaves, and the call
    /// goes on for the others, who never get somebody else's `cancelled`. When the last caller has
    /// left, the call is cancelled and forgotten, and its result or error is dropped. So `f` may
    /// outlive its caller: let it own what it uses.
    ///
    /// takes    f: plain or giving a task; called without arguments, not at all where a call for
    ///          the key is under way. A call that awaits its own key waits for ever
    /// returns  awaited: a copy of the value
    /// throws   what `f` throws, to all who wait; cancelled, deadline_exceeded: this caller left
    /// panics   outside a goroutine
    /// core     any; resumes on the same core
    /// cancel   leaves at once; does not wait for the call to end
    /// cost     a goroutine and its context for a call; a lock and a pooled frame per caller
    ///
    /// With g++ 12, give a closure that captures more than plain data a name before awaiting.
    template <class F>
    [[nodiscard]] task<Value> call(Key key, F f) {
        return call_in(table_, std::move(key), std::move(f));
    }

    /// Lets the next caller of `key` make a call of its own, while those who wait keep theirs.
    void forget(const Key& key) { table_->forget(key); }

private:
    /// A caller's part in a call.
    class caller {
    public:
        caller(table& t, const Key& key) : table_(t), key_(key), joined_(t.join(key)) {}
        caller(const caller&) = delete;
        caller& operator=(const caller&) = delete;
        ~caller() { table_.leave(key_, flight()); }

        const flight_ptr& flight() const noexcept { return joined_.first; }
        bool is_first() const noexcept { return joined_.second; }

    private:
        table& table_;
        const Key& key_;
        std::pair<flight_ptr, bool> joined_;
    };

    /// The call's end, however it comes.
    class landing {
    public:
        landing(table& t, const Key& key, const flight_ptr& f) noexcept
            : table_(t), key_(key), flight_(f) {}
        landing(const landing&) = delete;
        landing& operator=(const landing&) = delete;
        ~landing() { table_.land(key_, flight_); }

    private:
        table& table_;
        const Key& key_;
        const flight_ptr& flight_;
    };

    template <class F>
    static task<Value> call_in(std::shared_ptr<table> in, Key key, F f) {
        detail::check_may_call();
        const caller me(*in, key);
        if (me.is_first()) {
            start(in, key, me.flight(), std::move(f));
        }
        co_await detail::flight_operation(*me.flight());
        if (me.flight()->error) {
            detail::rethrow(me.flight()->error);
        }
        if (!me.flight()->value) {
            detail::throw_call_destroyed();
        }
        if constexpr (!std::is_void_v<Value>) {
            co_return *me.flight()->value;
        }
    }

    template <class F>
    static void start(std::shared_ptr<table> in, Key key, flight_ptr to, F f) {
        const place where = with(to->scope);
        go(where, run<F>, std::move(in), std::move(key), std::move(to), std::move(f));
    }

    template <class F>
    static task<> run(std::shared_ptr<table> in, Key key, flight_ptr to, F f) {
        const landing at_end(*in, key, to);
        try {
            if constexpr (!detail::is_task<std::invoke_result_t<F&>>) {
                if constexpr (std::is_void_v<Value>) {
                    f();
                    to->value.emplace();
                } else {
                    to->value.emplace(f());
                }
            } else if constexpr (std::is_void_v<Value>) {
                co_await f();
                to->value.emplace();
            } else {
                to->value.emplace(co_await f());
            }
        } catch (...) {
            to->error = std::current_exception();
        }
        co_return;
    }

    std::shared_ptr<table> table_;
};

}  // namespace ringo
