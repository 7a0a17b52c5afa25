// Telling that nothing can ever run again, and what everyone waits in then.
//
// A core naps when it sleeps with nothing of its own to wake up for: no timer, no kernel operation,
// no function or callback under way outside. While all of them nap, with their inboxes empty, only
// a thread that is not the run's could still wake one.
#pragma once

#include <cstddef>
#include <string>

namespace ringo::detail {

class cores_state;

inline constexpr const char* deadlock_message = "all goroutines are asleep - deadlock!";

/// `3 goroutines: chan receive (2), join`. The cores must be this thread, or nap.
std::string describe_parked(cores_state& all);

/// True: no other core leaves its nap any more. core: one that naps
bool is_deadlock(cores_state& all) noexcept;

/// Whether there are threads that are not the run's, but so many. True also where that is not known.
bool has_other_threads(cores_state& all, std::size_t but) noexcept;

/// As Go does: a message, and status 2.
[[noreturn]] void end_by_deadlock(cores_state& all) noexcept;

}  // namespace ringo::detail
