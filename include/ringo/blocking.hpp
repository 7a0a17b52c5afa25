// blocking: runs what may block on a thread of its own, never on a core.
#pragma once

#include <ringo/detail/operation.hpp>
#include <ringo/detail/outcome.hpp>

#include <exception>
#include <type_traits>
#include <utility>

namespace ringo {

namespace detail {

extern const wait_type blocking_wait;

/// A function on its way through the pool. It lies in the awaiting frame.
class blocking_job : public wait {
public:
    using function = void (*)(blocking_job&) noexcept;

    explicit blocking_job(function f) noexcept : wait(blocking_wait), call(f) {}

    function call;  // on the pool's thread; nobody touches the job after it
    shard* home = nullptr;
    blocking_job* next = nullptr;
};

/// False: there is no thread to run it.
bool start_blocking(blocking_job& job) noexcept;
/// Wakes the job's goroutine. Lifetime: it may end at once, and the job with it.
void finish_blocking(blocking_job& job) noexcept;

template <class F>
class blocking_operation : public operation<blocking_operation<F>, blocking_job> {
    using result_type = std::invoke_result_t<F&>;

public:
    explicit blocking_operation(F&& f)
        : operation<blocking_operation, blocking_job>(&run), f_(std::move(f)) {}
    blocking_operation(blocking_operation&& other) : blocking_operation(std::move(other.f_)) {}

    bool start() noexcept { return start_blocking(*this); }
    result_type value() { return result_.take(); }

private:
    static void run(blocking_job& job) noexcept {
        auto& self = static_cast<blocking_operation&>(job);
        try {
            if constexpr (std::is_void_v<result_type>) {
                self.f_();
            } else {
                self.result_.set(self.f_());
            }
        } catch (...) {
            self.result_.fail(std::current_exception());
        }
        finish_blocking(self);
    }

    F f_;
    outcome<result_type> result_;
};

}  // namespace detail

/// Runs `f` on a pool thread. At most 64 run at once in a runtime; more wait in order.
///
/// returns  what `f` returns
/// throws   what `f` throws; cancelled, deadline_exceeded, std::system_error where not one thread
///          can be started: `f` has not been called
/// core     any; resumes on the same core
/// cancel   until a thread has taken it up; after that the wait lasts as long as `f`
/// cost     two thread switches
///
/// With g++ 12, give a closure that captures by value a name before awaiting: its temporaries in a
/// co_await expression are destroyed twice when they hold more than plain data.
template <class F>
[[nodiscard]] auto blocking(F&& f) {
    return detail::blocking_operation<std::decay_t<F>>(std::decay_t<F>(std::forward<F>(f)));
}

}  // namespace ringo
