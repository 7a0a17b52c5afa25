// Reports of goroutines as text.
#pragma once

#include "snapshot.hpp"

#include <ringo/debug.hpp>

#include <cstdint>
#include <cstdio>
#include <string>

namespace ringo::detail {

/// `goroutine 7 [chan receive, 1.2s, core 0, age 3s]:` and the trace.
std::string goroutine_text(const debug::goroutine& g, std::int64_t now_ns);

void print_snapshot(const snapshot& s, std::FILE* out);

/// On stderr, if any: goroutines that wait on channels that nobody has a handle of.
///
/// spared: see leak_question. core: the run's first
void report_leaks(cores_state& run, std::uint32_t spared);

}  // namespace ringo::detail
