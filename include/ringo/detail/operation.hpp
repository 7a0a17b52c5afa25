// What a goroutine can wait in: the part that all operations share.
#pragma once

#include <ringo/detail/goroutine.hpp>

#include <coroutine>
#include <cstdint>

namespace ringo::detail {

/// How an operation failed, where no errno (all are less) says it. Kept in goroutine::error.
enum failure : std::uint8_t {
    failure_cancelled = 250,
    failure_deadline_exceeded,
    failure_channel_closed,
    failure_closed,
    failure_broken_promise,
    failure_end_of_stream,
};

/// Whom to wake when a wait is over.
enum class waker : std::uint8_t { goroutine, select, thread };

class selection;
class parked_thread;
struct arm_type;

struct wait_type {
    const char* name;  // the state as debug output shows it

    // Asks the wait to give up; called on the goroutine's core. It wakes the goroutine now or
    // later, with an error only if the operation has had no effect.
    void (*cancel)(wait&) noexcept;

    // What it waits for has come: a deadline has passed, a context has ended.
    void (*fire)(wait&) noexcept = nullptr;

    waker wakes = waker::goroutine;
};

/// A wait lies in the awaiting frame; at most one is a goroutine's `waiting`.
class wait {
public:
    explicit wait(const wait_type& t) noexcept : type(&t) {}

    const wait_type* type;
    union {  // as type->wakes says
        goroutine* self = nullptr;
        selection* select;
        parked_thread* thread;
    };
};

/// The failure that the goroutine's ended context stands for.
std::uint8_t context_failure(const goroutine& g) noexcept;

/// Throws what goroutine::error says; `operation` names it in the text.
[[noreturn]] void throw_failure(std::uint8_t error, const char* operation);

/// The awaiter of every operation. Op defines
///     bool start() noexcept;   // false: ended at once, with self->error set if it failed
///     T value();               // the result of a success
/// and may define `void raise()`, which throws with a text of its own. Base holds what the
/// compiled core knows of the operation.
template <class Op, class Base = wait>
class operation : public Base {
public:
    using Base::Base;
    using Base::self;
    using Base::type;

    bool await_ready() const noexcept { return false; }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) noexcept {
        goroutine& g = *h.promise().self;
        self = &g;
        if (g.cancelled && !requires { Op::starts_when_cancelled; }) [[unlikely]] {
            g.error = context_failure(g);
            return false;
        }
        g.error = 0;
        park(g, erase(h), this);
        if (static_cast<Op*>(this)->start()) {
            return true;
        }
        unpark(g);
        return false;
    }

    decltype(auto) await_resume() {
        if (self->error != 0) [[unlikely]] {
            static_cast<Op*>(this)->raise();
        }
        return static_cast<Op*>(this)->value();
    }

    [[noreturn]] void raise() { throw_failure(self->error, type->name); }
};

/// An object that stands for an operation: a join handle, a timer.
template <class T>
concept operation_object = requires(T& object) {
    object.operator co_await().await_resume();
};

}  // namespace ringo::detail
