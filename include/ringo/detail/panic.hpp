// What a program does when its caller is wrong.
#pragma once

namespace ringo::detail {

/// Prints `panic: message` and the goroutine on stderr, then aborts. core: any thread
[[noreturn]] void panic(const char* message) noexcept;

}  // namespace ringo::detail

/// ringo's own invariants; on in release too.
#define RINGO_ASSERT(condition)         \
    ((condition) ? static_cast<void>(0) \
                 : ::ringo::detail::panic("ringo is wrong, please report: " #condition))
