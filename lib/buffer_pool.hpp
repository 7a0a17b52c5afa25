// The buffers of a core that its multishot receives fill, and their way into users' hands and back.
#pragma once

#include "kernel.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringo::detail {

struct core_state;

// A buffer is the kernel's, which fills it; then a socket's; then lent, or the kernel's again.
//
// Lifetime: lent buffers may outlive the core. The last to go frees the pool.
class buffer_pool {
public:
    /// owner: gets back what is returned on its core, the calling thread
    /// throws  std::bad_alloc
    buffer_pool(kernel& owner, unsigned count, std::size_t bytes);
    buffer_pool(const buffer_pool&) = delete;
    buffer_pool& operator=(const buffer_pool&) = delete;

    // --- home core ---

    pooled_buffer& at(std::int32_t id) noexcept { return buffers_[static_cast<std::size_t>(id)]; }
    /// A full buffer goes into a user's hands. Null: so many are there that the rest is needed to
    /// receive.
    lent* lend(std::int32_t id) noexcept {
        if (lent_ >= buffers_.size() / 2) {
            return nullptr;
        }
        ++lent_;
        return &at(id);
    }
    /// Passes on what has been returned on other threads.
    void reclaim() noexcept {
        if (returned_.load(std::memory_order_relaxed) >= 0) [[unlikely]] {
            reclaim_slow();
        }
    }
    /// By its owner, which is about to end.
    void retire() noexcept;

private:
    ~buffer_pool();
    static void returned(lent& l) noexcept;
    void take_back(pooled_buffer& b) noexcept;
    void reclaim_slow() noexcept;
    std::int32_t id_of(const pooled_buffer& b) const noexcept {
        return static_cast<std::int32_t>(&b - buffers_.data());
    }

    // fixed after start
    std::vector<pooled_buffer> buffers_;
    std::byte* memory_ = nullptr;
    std::size_t bytes_;
    kernel& owner_;

    // home core
    std::uint32_t lent_ = 0;          // and not known to be back
    std::int64_t came_remotely_ = 0;  // in all

    // any thread
    std::atomic<core_state*> home_;           // null: retired
    std::atomic<std::int32_t> returned_{-1};  // the last of them; linked
    // Remote returns; from `retire` on, the number of those that are still to come, negative.
    std::atomic<std::int64_t> remote_{0};
};

}  // namespace ringo::detail
