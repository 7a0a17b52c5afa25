// debug: what every goroutine is doing.
#pragma once

#include <ringo/time.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace ringo::debug {

/// A place in the source.
struct location {
    std::string function;  // without parameters; empty: unknown, as where clang 14 compiled it
    std::string file;      // empty: the place is unknown
    unsigned line = 0;
};

/// What a goroutine was doing when it was looked at.
struct goroutine {
    std::uint64_t id = 0;
    std::size_t core = 0;
    std::string state;   // `chan receive`, `select (3 arms)`, `sleep 1.2s`, `runnable`, …
    duration age{0};     // since it was made, a few percent too much
    duration waited{0};  // in this state, if it waits for something; within 5 ms
    std::optional<time_point> deadline;  // of its context
    std::uint64_t made_by = 0;           // a goroutine's id; 0: none, it was made from outside
    location made_at;                    // the `go`, `spawn`, … that made it
    std::vector<location> trace;         // where it is, then the co_await that waits for that, …
    std::size_t omitted = 0;             // places of the trace beyond the 64 innermost
};

/// All goroutines of this runtime; on a thread that is no core, of all runtimes. Each core looks at
/// its own between two turns, a few hundred at a time, and the program runs on meanwhile: it is no
/// picture of one moment. A core that does not pause for a second is interrupted by a signal
/// (SIGURG), and looks at them then; where the program has taken that signal, they are left out.
///
/// core     any, foreign threads included; blocks the calling thread
/// cost     some 40 ns for each goroutine on its core, more on the caller's thread
/// follows  Go runtime/pprof, profile "goroutine"
[[nodiscard]] std::vector<goroutine> goroutines();

/// Those that wait for what can never come, whatever the others do: for a channel that no handle is
/// left of, or whose handles are all in the frames of such goroutines; for the nil channel; in a
/// select of nothing else. Only the end of their context ends them.
///
/// What is in frames alone is found as a garbage collector would: all cores halt, and the memory of
/// the program is read for what may be pointers. So none is told of wrongly, but some may be missed:
/// where something still looks like a handle, where a frame has over 1,024 bytes, under a deadline.
/// They are not looked for while there are threads that are not ringo's, but the calling one, while
/// `blocking` functions run, but the calling one, under sanitizers, or where process_vm_readv(2) is
/// forbidden.
///
/// core     any, foreign threads included; blocks the calling thread
/// cost     halts all cores while memory is read, 0.4 s of CPU time a gigabyte
[[nodiscard]] std::vector<goroutine> leaks();

/// Prints `goroutines()`, and which cores did not pause. SIGQUIT does so too, on stderr.
///
/// core     any, foreign threads included; blocks the calling thread
void print(std::FILE* out = stderr);

}  // namespace ringo::debug
