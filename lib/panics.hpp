// The ways to end the program, for lib/.
#pragma once

#include <ringo/detail/panic.hpp>

#include <cstdint>
#include <exception>

namespace ringo::detail {

/// For an exception that nobody can catch any more.
[[noreturn]] void panic_unhandled(std::uint64_t goroutine_id,
                                  const std::exception_ptr& error) noexcept;

}  // namespace ringo::detail
