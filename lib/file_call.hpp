// Operations as system calls that block.
#pragma once

#include <ringo/detail/io_operation.hpp>

namespace ringo::detail {

/// Carries out a file_operation, or a connect. It blocks: this is for a thread of the pool, under a
/// kernel that does not do it itself.
///
/// returns  the result, or a negative errno
int call_now(const io_operation& op) noexcept;

}  // namespace ringo::detail
