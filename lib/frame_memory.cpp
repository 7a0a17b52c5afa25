#include <ringo/detail/frame_memory.hpp>

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include <sys/mman.h>

namespace ringo::detail {

constinit thread_local frame_cache this_frames;

namespace {

// Fresh memory comes in slabs that are never returned: what has been a frame will be one again.
constexpr std::size_t slab_bytes_first = std::size_t{64} << 10;
constexpr std::size_t slab_bytes = std::size_t{2} << 20;  // a huge page, where those are allowed

/// Full magazines on their way between threads.
class depot {
public:
    bool take(std::size_t index, magazine& into) {
        const std::lock_guard guard(lock_);
        std::vector<magazine>& shelf = shelves_[index];
        if (shelf.empty()) {
            return false;
        }
        into = shelf.back();
        shelf.pop_back();
        return true;
    }

    void give(std::size_t index, magazine m) {
        const std::lock_guard guard(lock_);
        shelves_[index].push_back(m);
    }

    void new_slab(frame_cache& cache) {
        const std::size_t bytes = cache.bump == nullptr ? slab_bytes_first : slab_bytes;
        // Twice the size, so that an aligned part can be kept.
        void* mapped = ::mmap(nullptr, bytes * 2, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) {
            throw std::bad_alloc();
        }
        auto* start = static_cast<std::byte*>(mapped);
        const std::size_t skip = (bytes - reinterpret_cast<std::uintptr_t>(start) % bytes) % bytes;
        if (skip != 0) {
            ::munmap(start, skip);
        }
        ::munmap(start + skip + bytes, bytes - skip);
        cache.bump = start + skip;
        cache.bump_end = cache.bump + bytes;
        if (bytes == slab_bytes) {
            ::madvise(cache.bump, bytes, MADV_HUGEPAGE);
        }
    }

private:
    std::mutex lock_;
    std::vector<magazine> shelves_[frame_class_count];
};

// Never destroyed: threads end after it.
depot& the_depot() {
    static depot* const d = new depot;
    return *d;
}

/// Hands the thread's blocks on when the thread ends.
class cache_guard {
public:
    ~cache_guard() {
        for (std::size_t c = 0; c < frame_class_count; ++c) {
            for (magazine* m : {&this_frames.loaded[c], &this_frames.spare[c]}) {
                if (m->count != 0) {
                    the_depot().give(c, *m);
                    *m = {};
                }
            }
        }
    }
    void arm() const noexcept {}
};

const cache_guard& guard() {
    static thread_local const cache_guard g;
    return g;
}

}  // namespace

void* frame_allocate_slow(std::size_t size) {
    const std::size_t index = frame_class(size);
    if (RINGO_SANITIZED || index >= frame_class_count) {
        return ::operator new(size);
    }
    guard().arm();
    frame_cache& cache = this_frames;
    magazine& m = cache.loaded[index];
    if (cache.spare[index].count != 0) {
        m = cache.spare[index];
        cache.spare[index] = {};
        return frame_allocate(size);
    }
    if (the_depot().take(index, m)) {
        return frame_allocate(size);
    }
    const std::size_t bytes = index * frame_granule;
    if (static_cast<std::size_t>(cache.bump_end - cache.bump) < bytes) {
        the_depot().new_slab(cache);
    }
    std::byte* block = cache.bump;
    cache.bump += bytes;
    return block;
}

void frame_free_slow(void* memory, std::size_t size) noexcept {
    const std::size_t index = frame_class(size);
    if (RINGO_SANITIZED || index >= frame_class_count) {
        ::operator delete(memory);
        return;
    }
    guard().arm();
    magazine& full = this_frames.loaded[index];
    magazine& spare = this_frames.spare[index];
    if (spare.count != 0) {
        the_depot().give(index, spare);
    }
    spare = full;
    full = {};
    frame_free(memory, size);
}

}  // namespace ringo::detail
