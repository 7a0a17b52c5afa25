// Memory of coroutine frames and control blocks: per-thread magazines of free blocks, by size class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

// Under a sanitizer every frame is its own heap block, so that a use after free is seen.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RINGO_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RINGO_SANITIZED 1
#endif
#endif
#ifndef RINGO_SANITIZED
#define RINGO_SANITIZED 0
#endif

namespace ringo::detail {

inline constexpr std::size_t frame_granule = 16;
inline constexpr std::size_t frame_class_count = 65;  // class c holds blocks of c * 16 bytes
inline constexpr std::uint32_t magazine_max = 256;    // blocks that move to or from other threads

/// Free blocks of one size. An array, not a list through the blocks: taking one must not wait
/// for its memory to come into the cache.
struct magazine {
    void** blocks = nullptr;  // room for magazine_max
    std::uint32_t count = 0;
};

/// A thread's free blocks. Owner: the thread; full magazines pass through a process-wide depot.
struct frame_cache {
    magazine loaded[frame_class_count];
    magazine spare[frame_class_count];
    std::byte* bump = nullptr;  // fresh memory, cut from the front
    std::byte* bump_end = nullptr;
};

extern constinit thread_local frame_cache this_frames;

void* frame_allocate_slow(std::size_t size);
void frame_free_slow(void* block, std::size_t size) noexcept;

inline constexpr std::size_t frame_class(std::size_t size) noexcept {
    return (size + frame_granule - 1) / frame_granule;
}

inline void* frame_allocate(std::size_t size) {
    if (!RINGO_SANITIZED && frame_class(size) < frame_class_count) [[likely]] {
        magazine& m = this_frames.loaded[frame_class(size)];
        if (m.count != 0) [[likely]] {
            // Memory for those that come soon, while this one is being filled.
            void* const soon = m.blocks[(m.count - 6) % magazine_max];
            __builtin_prefetch(soon, 1);
            __builtin_prefetch(static_cast<std::byte*>(soon) + 64, 1);
            return m.blocks[--m.count];
        }
    }
    return frame_allocate_slow(size);
}

inline void frame_free(void* memory, std::size_t size) noexcept {
    if (!RINGO_SANITIZED && frame_class(size) < frame_class_count) [[likely]] {
        magazine& m = this_frames.loaded[frame_class(size)];
        if (m.count < magazine_max && m.blocks != nullptr) [[likely]] {
            m.blocks[m.count++] = memory;
            return;
        }
    }
    frame_free_slow(memory, size);
}

}  // namespace ringo::detail
