// Operations as system calls that do not wait.
#pragma once

#include <ringo/detail/io_operation.hpp>

#include <cstdint>

namespace ringo::detail {

/// Another attempt makes sense ...
enum class retry : std::uint8_t {
    never,     // it is done
    ready,     // when the descriptor is ready for it
    blocking,  // as a call that blocks, on a thread of the pool
};

struct attempt {
    retry when;
    int result;  // never: the result, or a negative errno
};

/// Carries out an operation, but none of the multishot ones, as far as that takes no waiting.
attempt try_call(const io_operation& op) noexcept;

/// Has `accept` fail where it would wait.
void prepare_to_accept(int fd) noexcept;

/// What epoll has to tell for the next attempt to make sense.
std::uint32_t events_of(const io_operation& op) noexcept;

}  // namespace ringo::detail
