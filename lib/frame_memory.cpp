#include "frame_blocks.hpp"

#include <ringo/detail/frame_memory.hpp>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include <sys/mman.h>

namespace ringo::detail {

constinit thread_local frame_cache this_frames;

namespace {

// Fresh memory comes in slabs that are never returned: what has been a frame will be one again.
constexpr std::size_t slab_bytes_first = std::size_t{64} << 10;
constexpr std::size_t slab_bytes = std::size_t{2} << 20;  // a huge page, where those are allowed
// What is cut into blocks of one size at a time. Not a page: then a goroutine's block, its frame and
// its channel would lie equally far into their pages, and a CPU takes a load for one that depends on
// a store equally far into another page. That made a round trip between two goroutines 12 % slower.
constexpr std::size_t cut_bytes = 4096 + 1088;

/// Full magazines on their way between threads.
class depot {
public:
    /// An empty magazine goes in, another comes out; false when there is none.
    bool exchange(std::size_t index, magazine& empty_for_full) {
        const std::lock_guard guard(lock_);
        std::vector<magazine>& shelf = shelves_[index];
        if (shelf.empty()) {
            return false;
        }
        if (empty_for_full.blocks != nullptr) {
            empty_.push_back(empty_for_full);
        }
        empty_for_full = shelf.back();
        shelf.pop_back();
        return true;
    }

    void give(std::size_t index, magazine m) {
        const std::lock_guard guard(lock_);
        (m.count != 0 ? shelves_[index] : empty_).push_back(m);
    }

    magazine empty() {
        const std::lock_guard guard(lock_);
        if (empty_.empty()) {
            return {.blocks = new void*[magazine_max](), .count = 0};
        }
        const magazine m = empty_.back();
        empty_.pop_back();
        return m;
    }

    void new_slab(frame_cache& cache) {
        // The one that is full may become a huge page in the background. Not before: to touch fresh
        // huge pages takes several times as long where a host must find their memory.
        if (cache.slab_bytes > slab_bytes_first) {
            ::madvise(cache.bump_end - slab_bytes, slab_bytes, MADV_HUGEPAGE);
        }
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
        cache.slab_bytes = cache.slab_bytes + bytes;
    }

    /// `count` blocks of `bytes` each begin at `start`, for good.
    void note_cut(const std::byte* start, std::size_t bytes, std::size_t count) {
        const std::lock_guard guard(lock_);
        cuts_.push_back({reinterpret_cast<std::uintptr_t>(start) / frame_granule,
                         static_cast<std::uint32_t>(bytes), static_cast<std::uint32_t>(count)});
    }
    std::vector<frame_cut>& cuts() noexcept { return cuts_; }

    template <class F>
    void for_each(F f) const {
        for (const std::vector<magazine>& shelf : shelves_) {
            for (const magazine& m : shelf) {
                f(m);
            }
        }
        for (const magazine& m : empty_) {
            f(m);
        }
    }

private:
    std::vector<frame_cut> cuts_;
    std::mutex lock_;
    std::vector<magazine> shelves_[frame_class_count];
    std::vector<magazine> empty_;
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
                if (m->blocks != nullptr) {
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

/// Blocks that were never used, so that the lowest is handed out first.
void cut_fresh_blocks(frame_cache& cache, std::size_t index) {
    const std::size_t bytes = index * frame_granule;
    const std::size_t wanted = std::max<std::size_t>(cut_bytes / bytes, 1);
    if (static_cast<std::size_t>(cache.bump_end - cache.bump) < bytes) {
        the_depot().new_slab(cache);
    }
    const auto room = static_cast<std::size_t>(cache.bump_end - cache.bump) / bytes;
    const std::size_t count = std::min({wanted, room, std::size_t{magazine_max}});
    the_depot().note_cut(cache.bump, bytes, count);
    magazine& m = cache.loaded[index];
    for (std::size_t i = 0; i < count; ++i) {
        m.blocks[count - 1 - i] = cache.bump;
        cache.bump += bytes;
    }
    m.count = static_cast<std::uint32_t>(count);
}

}  // namespace

std::span<const frame_cut> frame_cuts() noexcept {
    std::vector<frame_cut>& all = the_depot().cuts();
    std::sort(all.begin(), all.end(),
              [](const frame_cut& a, const frame_cut& b) { return a.start < b.start; });
    return all;
}

void for_each_magazine(const frame_cache& cache, void (*f)(void*, const magazine&), void* with) {
    for (std::size_t c = 0; c < frame_class_count; ++c) {
        f(with, cache.loaded[c]);
        f(with, cache.spare[c]);
    }
}

void for_each_shelved_magazine(void (*f)(void*, const magazine&), void* with) {
    the_depot().for_each([f, with](const magazine& m) { f(with, m); });
}

void* frame_allocate_slow(std::size_t size) {
    const std::size_t index = frame_class(size);
    if (RINGO_SANITIZED || index >= frame_class_count) {
        return ::operator new(size);
    }
    guard().arm();
    frame_cache& cache = this_frames;
    magazine& m = cache.loaded[index];
    if (cache.spare[index].count != 0) {
        std::swap(m, cache.spare[index]);
        return frame_allocate(size);
    }
    if (the_depot().exchange(index, m)) {
        return frame_allocate(size);
    }
    if (m.blocks == nullptr) {
        m = the_depot().empty();
    }
    cut_fresh_blocks(cache, index);
    return frame_allocate(size);
}

void frame_free_slow(void* memory, std::size_t size) noexcept {
    const std::size_t index = frame_class(size);
    if (RINGO_SANITIZED || index >= frame_class_count) {
        ::operator delete(memory);
        return;
    }
    guard().arm();
    magazine& m = this_frames.loaded[index];
    magazine& spare = this_frames.spare[index];
    if (m.blocks != nullptr) {  // it is full
        std::swap(m, spare);
    }
    if (m.count != 0) {
        the_depot().give(index, std::exchange(m, {}));
    }
    if (m.blocks == nullptr) {
        m = the_depot().empty();
    }
    frame_free(memory, size);
}

}  // namespace ringo::detail
