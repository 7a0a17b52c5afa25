// Buffers in users' hands that no core has provided: where a pool does not serve, or serves others.
#pragma once

#include <ringo/detail/lent.hpp>

#include <cstddef>
#include <cstdint>

namespace ringo::detail {

inline constexpr std::size_t large_block_bytes = 32768;

/// Memory of its own, behind it.
struct lent_block : lent {
    explicit lent_block(std::size_t bytes) noexcept;

    std::byte* data() noexcept { return reinterpret_cast<std::byte*>(this + 1); }

    const std::uint32_t capacity;
    std::uint32_t taken = 0;  // bytes, by who reads it piece by piece
};

/// Null: there is no memory.
lent_block* make_block(std::size_t bytes) noexcept;

/// One of `large_block_bytes`; the last that came back on this thread, which is warm.
lent_block* take_large_block() noexcept;

}  // namespace ringo::detail
