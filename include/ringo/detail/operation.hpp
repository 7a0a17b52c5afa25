// What a goroutine can wait in: the part that all operations share.
#pragma once

#include <ringo/detail/call_site.hpp>
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

/// Whether `wait_state::forever` is asked for.
struct leak_question {
    bool sought = false;
    bool nil_counts = true;    // the nil channel, which may be meant so
    std::uint32_t spared = 0;  // channels that the main task gave up in that turn, its last
};

/// What a goroutine waits in, as debug output shows it.
struct wait_state {
    const char* name;
    std::int64_t until_ns = 0;  // of a sleep; 0: none
    std::uint32_t arms = 0;     // of a select
    int fd = -1;                // of an operation of the kernel
    leak_question leaks;
    bool forever = false;  // nobody is left who could end it but its context
};

struct wait_type {
    const char* name;  // in the text of errors, and the state unless `describe` knows better

    // Asks the wait to give up; called on the goroutine's core. It wakes the goroutine now or
    // later, with an error only if the operation has had no effect.
    void (*cancel)(wait&) noexcept;

    // What it waits for has come: a deadline has passed, a context has ended.
    void (*fire)(wait&) noexcept = nullptr;

    waker wakes = waker::goroutine;

    // Fills in what is more than the name. core: the goroutine's
    void (*describe)(const wait&, wait_state&) noexcept = nullptr;

    // Another core or thread has woken its goroutine. core: the goroutine's, before it goes on
    void (*arrive)(wait&) noexcept = nullptr;
};

/// A wait lies in the awaiting frame; at most one is a goroutine's `waiting`.
class wait {
public:
    explicit wait(const wait_type& t) noexcept : type(&t) {}

    const wait_type* type;
    union {  // as type->wakes says
        goroutine* self;
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
    bool await_suspend(std::coroutine_handle<Promise> h,
                       call_site where = call_site::current()) noexcept {
        goroutine& g = *this_core_state->current;
        self = &g;
        if (g.cancelled && !requires { Op::starts_when_cancelled; }) [[unlikely]] {
            g.error = context_failure(g);
            return false;
        }
        g.error = 0;
        park(g, erase(h, where), this);
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
