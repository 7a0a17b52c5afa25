#include "buffer_pool.hpp"

#include <ringo/detail/goroutine.hpp>

#include <new>
#include <utility>

#include <sys/mman.h>

namespace ringo::detail {

buffer_pool::buffer_pool(kernel& owner, unsigned count, std::size_t bytes)
    : buffers_(count), bytes_(count * bytes), owner_(owner), home_(this_core_state) {
    void* const p =
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        throw std::bad_alloc();
    }
    memory_ = static_cast<std::byte*>(p);
    for (unsigned id = 0; id < count; ++id) {
        buffers_[id].give_back = &returned;
        buffers_[id].data = memory_ + id * bytes;
        buffers_[id].pool = this;
    }
}

buffer_pool::~buffer_pool() { ::munmap(memory_, bytes_); }

void buffer_pool::returned(lent& l) noexcept {
    auto& b = static_cast<pooled_buffer&>(l);
    b.pool->take_back(b);
}

// A buffer is first pushed, then counted: whoever counts last may free the pool.
void buffer_pool::take_back(pooled_buffer& b) noexcept {
    core_state* const here = this_core_state;
    if (here != nullptr && home_.load(std::memory_order_acquire) == here) [[likely]] {
        --lent_;
        owner_.give_back(id_of(b));
        return;
    }
    b.next = returned_.load(std::memory_order_relaxed);
    while (!returned_.compare_exchange_weak(b.next, id_of(b), std::memory_order_release,
                                            std::memory_order_relaxed)) {
    }
    if (remote_.fetch_add(1, std::memory_order_acq_rel) == -1) {
        delete this;
    }
}

void buffer_pool::reclaim_slow() noexcept {
    std::int32_t id = returned_.exchange(-1, std::memory_order_acquire);
    while (id >= 0) {
        const std::int32_t next = at(id).next;
        --lent_;
        ++came_remotely_;
        owner_.give_back(id);
        id = next;
    }
}

void buffer_pool::retire() noexcept {
    home_.store(nullptr, std::memory_order_release);
    const std::int64_t all = came_remotely_ + lent_;
    if (remote_.fetch_sub(all, std::memory_order_acq_rel) == all) {
        delete this;
    }
}

}  // namespace ringo::detail
