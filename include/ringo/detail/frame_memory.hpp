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

/// A number that its owner alone writes, and any thread reads; it costs what a plain one does.
template <class T>
class seen_by_all {
public:
    constexpr seen_by_all(T n = 0) noexcept : value_(n) {}
    seen_by_all(const seen_by_all& other) noexcept : value_(other) {}
    seen_by_all& operator=(const seen_by_all& other) noexcept { return *this = T{other}; }
    seen_by_all& operator=(T n) noexcept {
        __atomic_store_n(&value_, n, __ATOMIC_RELAXED);
        return *this;
    }
    operator T() const noexcept { return __atomic_load_n(&value_, __ATOMIC_RELAXED); }

private:
    T value_;
};

/// Free blocks of one size. An array, not a list through the blocks: taking one must not wait
/// for its memory to come into the cache.
struct magazine {
    void** blocks = nullptr;  // room for magazine_max
    seen_by_all<std::uint32_t> count;
};

/// A thread's free blocks. Owner: the thread; full magazines pass through a process-wide depot.
struct frame_cache {
    magazine loaded[frame_class_count];
    magazine spare[frame_class_count];
    std::byte* bump = nullptr;  // fresh memory, cut from the front
    std::byte* bump_end = nullptr;
    seen_by_all<std::size_t> slab_bytes;  // taken from the system, for good
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
        const std::uint32_t count = m.count;
        if (count != 0) [[likely]] {
            // Memory for those that come soon, while this one is being filled.
            void** const blocks = m.blocks;
            void* const soon = blocks[(count - 6) % magazine_max];
            __builtin_prefetch(soon, 1);
            __builtin_prefetch(static_cast<std::byte*>(soon) + 64, 1);
            m.count = count - 1;
            return blocks[count - 1];
        }
    }
    return frame_allocate_slow(size);
}

inline void frame_free(void* memory, std::size_t size) noexcept {
    if (!RINGO_SANITIZED && frame_class(size) < frame_class_count) [[likely]] {
        magazine& m = this_frames.loaded[frame_class(size)];
        const std::uint32_t count = m.count;
        if (void** const blocks = m.blocks; count < magazine_max && blocks != nullptr) [[likely]] {
            m.count = count + 1;
            blocks[count] = memory;
            return;
        }
    }
    frame_free_slow(memory, size);
}

}  // namespace ringo::detail
