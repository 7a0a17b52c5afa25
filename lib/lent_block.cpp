#include "lent_block.hpp"

#include <ringo/detail/frame_memory.hpp>

#include <new>

namespace ringo::detail {

namespace {

std::size_t size_of(std::size_t capacity) noexcept { return sizeof(lent_block) + capacity; }

void destroy(lent_block& b) noexcept { frame_free(&b, size_of(b.capacity)); }

/// The thread's large blocks. Under a sanitizer each is given up, so that a use after that is seen.
class warm_blocks {
public:
    warm_blocks() noexcept = default;
    warm_blocks(const warm_blocks&) = delete;
    warm_blocks& operator=(const warm_blocks&) = delete;
    ~warm_blocks() {
        while (lent_block* const b = take()) {
            destroy(*b);
        }
        count_ = kept_max;  // a lease may go after it
    }

    lent_block* take() noexcept { return count_ != 0 ? blocks_[--count_] : nullptr; }
    bool keep(lent_block& b) noexcept {
        const bool room = !RINGO_SANITIZED && count_ < kept_max;
        if (room) {
            blocks_[count_++] = &b;
        }
        return room;
    }

private:
    static constexpr std::size_t kept_max = 256;  // as many as a turn of the loop may fill
    lent_block* blocks_[kept_max];
    std::size_t count_ = 0;
};

thread_local warm_blocks warm;

void keep_or_free(lent& l) noexcept {
    auto& b = static_cast<lent_block&>(l);
    if (b.capacity != large_block_bytes || !warm.keep(b)) {
        destroy(b);
    }
}

}  // namespace

lent_block::lent_block(std::size_t bytes) noexcept
    : lent(&keep_or_free), capacity(static_cast<std::uint32_t>(bytes)) {}

lent_block* make_block(std::size_t bytes) noexcept {
    try {
        return new (frame_allocate(size_of(bytes))) lent_block(bytes);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

lent_block* take_large_block() noexcept {
    lent_block* const b = warm.take();
    return b != nullptr ? b : make_block(large_block_bytes);
}

}  // namespace ringo::detail
