// Which blocks the memory of frames consists of, and which of them are free: for who reads memory
// while no thread changes any.
#pragma once

#include <ringo/detail/frame_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ringo::detail {

/// Blocks that were cut from fresh memory at once. They are never cut otherwise.
struct frame_cut {
    std::uintptr_t start;  // in granules: it must not look like a pointer to its first block
    std::uint32_t bytes;   // of a block
    std::uint32_t count;
};

/// By address.
std::span<const frame_cut> frame_cuts() noexcept;

void for_each_magazine(const frame_cache& cache, void (*f)(void*, const magazine&), void* with);
/// ... between threads.
void for_each_shelved_magazine(void (*f)(void*, const magazine&), void* with);

}  // namespace ringo::detail
