// One thread of the process that looks after its runs: it prints all goroutines when SIGQUIT comes,
// and reports cores that stay in one turn for too long.
#pragma once

#include "shard.hpp"

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>

namespace ringo::detail {

class cores_state;
struct interrupted_part;

/// From here on the run is looked after. core: that which will be its first
void begin_watch(cores_state& run);
/// Waits until nobody looks at it any more. core: the run's first
void end_watch(cores_state& run) noexcept;

/// Whether cores are halted to look for leaks, which is not to be reported.
extern std::atomic<bool> cores_are_halted;

/// Threads that are nobody's.
std::size_t watchdog_threads() noexcept;

/// Calls `f` with each run that is looked after, which stays meanwhile. core: any thread
void for_each_run(const std::function<void(cores_state&)>& f);

/// Has the core of `p` look at all its goroutines in the midst of a turn. False: it cannot be asked.
/// core: any other thread
bool interrupt(interrupted_part& p);

/// What a core does that is in the midst of a turn: its goroutine, whose trace ends where it was
/// suspended last, and its stack. core: any other thread
std::string running_text(shard& s);

}  // namespace ringo::detail
