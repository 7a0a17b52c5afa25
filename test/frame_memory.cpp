#include <doctest/doctest.h>

#include <ringo/detail/frame_memory.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

using ringo::detail::frame_allocate;
using ringo::detail::frame_class;
using ringo::detail::frame_class_count;
using ringo::detail::frame_free;

namespace {

struct block {
    void* memory;
    std::size_t size;
    unsigned char mark;

    static block make(std::size_t size, unsigned char mark) {
        block b{frame_allocate(size), size, mark};
        std::memset(b.memory, mark, size);
        return b;
    }
    bool intact() const {
        const auto* const p = static_cast<const unsigned char*>(memory);
        return std::all_of(p, p + size, [this](unsigned char c) { return c == mark; });
    }
    void free() const { frame_free(memory, size); }
};

}  // namespace

TEST_CASE("blocks_of_every_size_are_aligned_and_apart") {
    std::vector<block> blocks;
    for (std::size_t size = 1; size <= 3000; size += size < 1100 ? 1 : 97) {
        for (int i = 0; i < 3; ++i) {
            blocks.push_back(
                block::make(size, static_cast<unsigned char>(size + 7 * blocks.size())));
            CHECK(reinterpret_cast<std::uintptr_t>(blocks.back().memory) %
                      alignof(std::max_align_t) ==
                  0);
        }
    }
    for (const block& b : blocks) {
        CHECK(b.intact());
        b.free();
    }
}

TEST_CASE("classes_hold_what_they_say") {
    for (std::size_t size = 1; size <= 2000; ++size) {
        CHECK(frame_class(size) * 16 >= size);
        CHECK(frame_class(size) * 16 < size + 16);
    }
    CHECK(frame_class(1024) == frame_class_count - 1);
}

#if !RINGO_SANITIZED
TEST_CASE("freed_blocks_are_used_again") {
    for (const std::size_t size : {32, 200, 1024}) {
        std::set<void*> seen;
        for (int round = 0; round < 20; ++round) {
            std::vector<void*> blocks;
            for (int i = 0; i < 5000; ++i) {
                blocks.push_back(frame_allocate(size));
                seen.insert(blocks.back());
            }
            for (void* const b : blocks) {
                frame_free(b, size);
            }
        }
        CHECK(seen.size() < 5000 * 2);
    }
}

TEST_CASE("blocks_that_one_thread_makes_and_another_frees_come_back") {
    // Without a way back the maker would need fresh memory for each round.
    constexpr std::size_t size = 208;
    std::set<void*> seen;
    for (int round = 0; round < 50; ++round) {
        std::vector<void*> blocks;
        for (int i = 0; i < 2000; ++i) {
            blocks.push_back(frame_allocate(size));
            seen.insert(blocks.back());
        }
        std::thread([&blocks] {
            for (void* const b : blocks) {
                frame_free(b, size);
            }
        }).join();
    }
    CHECK(seen.size() < 2000 * 3);
}
#endif

TEST_CASE("threads_hand_blocks_around") {
    const std::uint64_t seed = std::random_device()();
    INFO("seed " << seed);
    std::mutex lock;
    std::vector<block> shared;
    std::atomic<int> broken = 0;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            std::mt19937_64 random(seed + t);
            std::vector<block> own;
            for (int i = 0; i < 50'000; ++i) {
                if (own.size() < 300 && random() % 2 == 0) {
                    own.push_back(
                        block::make(1 + random() % 1200, static_cast<unsigned char>(random())));
                } else if (!own.empty()) {
                    std::swap(own[random() % own.size()], own.back());
                    broken += own.back().intact() ? 0 : 1;
                    own.back().free();
                    own.pop_back();
                }
                if (random() % 100 == 0) {
                    const std::lock_guard guard(lock);
                    std::swap(own, shared);
                }
            }
            for (const block& b : own) {
                broken += b.intact() ? 0 : 1;
                b.free();
            }
        });
    }
    for (auto& t : threads) {
        t.join();
    }
    for (const block& b : shared) {
        broken += b.intact() ? 0 : 1;
        b.free();
    }
    CHECK(broken == 0);
}
