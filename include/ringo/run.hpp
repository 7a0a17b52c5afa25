// run: the whole life of the cores, inside main().
#pragma once

#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/launch.hpp>
#include <ringo/detail/outcome.hpp>
#include <ringo/task.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

namespace ringo {

/// What stands between a core and the kernel. automatic: io_uring, or epoll where that is forbidden,
/// absent or older than Linux 5.15's; with RINGO_LOG=1 a run says on stderr which, and why.
///
/// On epoll, what blocks on files runs on threads, those of `blocking`. A call that has begun there
/// and is cancelled is interrupted by the last real-time signal that the program does not use; one
/// that the kernel does not interrupt, as most of regular files, goes on, and its goroutine resumes
/// when it has ended.
enum class backend { automatic, uring, epoll };

/// How a runtime is set up. A value that cannot be used is refused with a std::system_error that
/// names the option.
struct options {
    unsigned cores = 0;  // 0: RINGO_CORES, else the CPUs of the affinity mask; at most 1,024
    bool pin = true;     // a CPU for each core, where there are as many cores as CPUs
    ringo::backend backend = ringo::backend::automatic;  // RINGO_BACKEND overrides
    unsigned ring_entries = 0;                       // of each core's ring; 0: 256; at most 32,768
    std::chrono::milliseconds shutdown_grace{1000};  // for goroutines to end, after the main task
    // A core that stays in one turn for longer is reported on stderr, once; 0: none is.
    std::chrono::milliseconds stall_after{100};
    bool sigquit_prints = true;  // SIGQUIT prints all goroutines, unless the program has a handler
};

namespace detail {

/// Runs `main` and all that it starts, and returns when everything has ended.
void run_cores(goroutine& main, const options& o);
/// Tells the cores of this thread that the main task has ended.
void main_ended() noexcept;

template <class T>
class main_goroutine : public goroutine {
public:
    using goroutine::goroutine;

    static void deliver(main_goroutine& self) noexcept {
        if (self.root.result.error()) {
            self.result->fail(self.root.result.error());
        } else if constexpr (!std::is_void_v<T>) {
            if (!self.abandoned) {  // otherwise there is none
                self.result->set(self.root.result.take());
            }
        }
        self.type->destroy(self);
        main_ended();
    }

    task_awaiter<T> root{nullptr};
    outcome<T>* result = nullptr;
};

}  // namespace detail

/// Runs a task as the first goroutine, on the first core, which is the calling thread; returns
/// when it and all goroutines have ended. When the task ends, the root context is cancelled, and
/// goroutines have `shutdown_grace` to unwind; what is left then is destroyed, and counted on
/// stderr.
///
/// When nothing can ever run again, the program ends as Go's does: `all goroutines are asleep -
/// deadlock!` and what they wait in, with traces, on stderr, status 2. That is no deadlock which a timer, a
/// kernel operation, `blocking` or a callback may end, or a thread of the program's own: where
/// there is one, nothing is reported.
///
/// While it runs, SIGQUIT prints all goroutines on stderr, and the program goes on; a core that
/// stays in one turn for longer than `stall_after` is reported there. For that a thread looks on,
/// and asks by SIGURG, unless the program has a handler of its own for that. At the end goroutines
/// that have leaked (debug::leaks) are reported, but for those that waited on what the main task
/// gave up as it ended. For that memory is read, up to 1 GiB of it, if any of those that are left
/// wait on channels.
///
/// takes    a task, or a callable that returns one
/// returns  what the task returns; 0 for task<>
/// throws   what leaves the task; std::system_error when the options or the kernel do not allow it
/// panics   inside a goroutine
/// core     a thread that is not a core; again and again in one process
template <class F>
auto run(F&& f, const options& o = {}, detail::call_site made = detail::call_site::current()) {
    auto& main = detail::launch<detail::main_goroutine>(std::forward<F>(f));
    using value = decltype(main.root.await_resume());
    detail::outcome<value> result;
    main.result = &result;
    detail::set_made(main, made);
    detail::run_cores(main, o);
    if constexpr (std::is_void_v<value>) {
        result.take();
        return 0;
    } else {
        return result.take();
    }
}

}  // namespace ringo
