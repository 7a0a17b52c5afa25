// Which goroutines wait for ever, since nobody else has what they wait for.
//
// As a garbage collector would tell: with all cores halted, the program's memory is read for words
// that point to the channels that goroutines wait on, or into the frames of those goroutines. What
// nothing points to, but the frames of others of that kind, nobody can ever use.
#pragma once

#include "snapshot.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>

namespace ringo::detail {

class cores_state;

/// Calls `f` with those of `run` that hold each other's only handles of the channels that they wait
/// on, selects included. A word that looks like a pointer counts as one, so some may be missed.
/// None, where any thread might hold something that is in no memory at this moment: one that is
/// neither the caller nor of ringo, or that runs a `blocking` function.
///
/// stack       of this thread, from where on the caller's frames are, with all that its registers held
/// spared      channels that the main task gave up in that turn count as reached; 0: none
/// memory_max  none either, where the program has more bytes resident
/// core        any, foreign threads included; one at a time
void for_each_unreachable(cores_state& run, const void* stack, std::uint32_t spared,
                          std::size_t memory_max, const std::function<void(debug::goroutine&&)>& f);

}  // namespace ringo::detail
