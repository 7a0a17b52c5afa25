// A kernel poll on behalf of a wait.
#pragma once

#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/operation.hpp>

#include <cstddef>

#include <poll.h>

namespace ringo::detail {

/// Not in the wait's frame: a poll has no buffer, so whoever gives up the wait need not stay until
/// the kernel has let go. It is left behind, and goes with its last completion.
/// core: the wait's own, for everything
struct readiness : io_operation {
    readiness(int descriptor, short events, wait* w, handler h) noexcept
        : io_operation(h), waits(w) {
        code = io_code::poll;
        fd = descriptor;
        length = static_cast<unsigned short>(events);
    }

    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* block, std::size_t size) noexcept { frame_free(block, size); }

    wait* waits;  // null: left behind
};

}  // namespace ringo::detail
