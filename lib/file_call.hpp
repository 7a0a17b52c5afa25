// File operations as system calls.
#pragma once

#include <ringo/detail/io_operation.hpp>

namespace ringo::detail {

/// Carries out an operation on files. It blocks: this is for a thread of the pool, under a kernel
/// that does not do it itself.
///
/// returns  the result, or a negative errno
int call_now(const file_operation& op) noexcept;

}  // namespace ringo::detail
