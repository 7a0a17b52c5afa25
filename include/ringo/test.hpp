// For tests: a run on virtual time, in an order that a seed decides.
#pragma once

#include <ringo/detail/launch.hpp>
#include <ringo/detail/outcome.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <utility>

namespace ringo::test {

/// When virtual time begins, in every run_virtual: `now() - time_begin` is how long it has run.
inline constexpr time_point time_begin{std::chrono::hours(24)};

struct virtual_options {
    std::uint64_t seed = 1;                          // any number, 0 too
    std::chrono::milliseconds shutdown_grace{1000};  // virtual; as options.shutdown_grace
    std::chrono::milliseconds outside_wait{10'000};  // real; for threads that are not ringo's
};

/// No goroutine can ever run again. The text says how many there are and what they wait in:
/// `all goroutines are asleep - deadlock! 3 goroutines: chan receive (2), join`.
class deadlock : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

namespace detail {

/// Runs `main` and all that it starts, and returns when everything has ended.
void run_virtual(ringo::detail::goroutine& main, const virtual_options& o);

}  // namespace detail

/// Runs a task like `run`, on one core and as in a dream: when all goroutines wait, the clock
/// jumps to the next timer, and while one can run it stands still. Which of the ready goroutines
/// runs next is random, decided by the seed: the same seed gives the same run, exactly, and other
/// seeds find what goes wrong in another order.
///
/// There is no kernel: what would read, write, accept or connect fails with
/// std::errc::function_not_supported, in an error that names it. `blocking` and `from_callback`
/// work. For functions that `blocking` runs, the run really waits, and the clock stands still
/// (beyond `outside_wait` it moves on). For callbacks it really waits, for as long as that, when
/// there is nothing else left, not even a timer. When several threads are under way at once, the
/// order in which they end is the one thing that the seed does not decide.
///
/// takes    a task, or a callable that returns one
/// returns  what the task returns
/// throws   what leaves the task; deadlock, once all goroutines have been cancelled and have ended;
///          std::system_error when an option cannot be used
/// panics   inside a goroutine
/// core     a thread that is not a core; several may do so at once
/// follows  Go testing/synctest
template <class F>
decltype(auto) run_virtual(F&& f, const virtual_options& o = {},
                           ringo::detail::call_site made = ringo::detail::call_site::current()) {
    namespace core = ringo::detail;
    auto& main = core::launch<core::main_goroutine>(std::forward<F>(f));
    using value = decltype(main.root.await_resume());
    core::outcome<value> result;
    main.result = &result;
    core::set_made(main, made);
    detail::run_virtual(main, o);
    return result.take();
}

}  // namespace ringo::test
