// A descriptor that is closed when it should be and nobody uses it any more.
#pragma once

#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/io_operation.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

namespace ringo::detail {

class descriptor;

/// A kernel operation's share in a descriptor. It lies beside the operation.
struct descriptor_use {
    explicit descriptor_use(io_operation& op) noexcept : operation(op) {}
    descriptor_use(const descriptor_use&) = delete;
    descriptor_use& operator=(const descriptor_use&) = delete;

    io_operation& operation;
    shard* home = nullptr;  // whose kernel carries it out
    descriptor_use* next = nullptr;
    descriptor_use** link = nullptr;
};

// Why: the kernel does not cancel operations when a descriptor is closed, and reuses the number at
// once. So `close` asks each operation to end, on its own core; the last one to leave closes.
class descriptor {
public:
    /// takes    a descriptor, whose owner this is from here on; how errors name it
    descriptor(int fd, std::string name) noexcept : fd_(fd), name_(std::move(name)) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;

    // --- any core ---

    /// Before an operation uses it; false: it is closed.
    bool enter(descriptor_use& u) noexcept;
    /// Lifetime: it may be gone after that.
    void leave(descriptor_use& u) noexcept;

    enum class closing { refused, at_once, later };

    /// Starts to close, once: who comes later is refused.
    /// closer: whoever waits for the end of all uses and then closes the descriptor itself, woken
    /// unless that is at once; null: it is closed here.
    closing close(goroutine* closer) noexcept;
    void retain() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;

    /// Calls `f(fd)`, which must not block, while nobody can close it. False: it is closed.
    template <class F>
    bool while_open(F f) noexcept {
        const std::lock_guard guard(lock_);
        if (!closed()) {
            f(fd_);
        }
        return !closed();
    }

    bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
    int fd() const noexcept { return fd_; }
    const std::string& name() const noexcept { return name_; }

private:
    struct errand;

    ~descriptor() = default;
    void cancel_uses() noexcept;
    void close_now() noexcept;

    // fixed after start
    const int fd_;
    const std::string name_;

    // any core
    std::atomic<std::uint32_t> owners_{2};  // handles, and the open descriptor
    std::atomic<bool> closed_{false};       // written under the lock

    // under the lock; not a bias_lock, for a select attempts its arms while it holds those
    std::mutex lock_;
    descriptor_use* uses_ = nullptr;
    goroutine* closer_ = nullptr;
};

}  // namespace ringo::detail
