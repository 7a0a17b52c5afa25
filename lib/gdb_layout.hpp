// Where a debugger finds the goroutines, in programs without debug information too.
#pragma once

namespace ringo::detail {

class shard;

/// While it has goroutines. core: the shard's own
void show_to_debuggers(shard& s) noexcept;
void hide_from_debuggers(shard& s) noexcept;

}  // namespace ringo::detail
