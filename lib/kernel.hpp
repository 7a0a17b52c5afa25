// What a core needs of the kernel. Behind it stand io_uring, epoll where that is not to be had, and,
// for tests, a script with virtual time.
#pragma once

#include "core_counts.hpp"

#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/lent.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>

namespace ringo::detail {

class buffer_pool;
class buffer_slots;
class blocking_pool;

/// One of the buffers that multishot receives fill.
struct pooled_buffer : lent {
    pooled_buffer() noexcept : lent(nullptr) {}

    std::byte* data = nullptr;
    std::uint32_t length = 0;  // bytes that were received
    std::int32_t next = -1;
    buffer_pool* pool = nullptr;
};

class kernel {
public:
    virtual ~kernel() = default;
    kernel() = default;
    kernel(const kernel&) = delete;
    kernel& operator=(const kernel&) = delete;

    /// Called once on the core's thread, before all else.
    virtual void attach() = 0;

    /// Queues an idle operation; it goes to the kernel in the next `turn`. Its handler is called
    /// in `turn` for each completion, with the operation idle again at the last.
    virtual void start(io_operation& op) noexcept = 0;

    /// Asks a started operation to end. Its last completion says how it did: -ECANCELED, or that
    /// it won. An idle operation is left alone.
    virtual void cancel(io_operation& op) noexcept = 0;

    /// Cancels all that is under way, as `cancel` does.
    virtual void cancel_all() noexcept = 0;

    /// Submits what is queued, waits until there is a completion, `wake` or the time `until_ns`,
    /// and calls the handlers of what has completed. Does not wait for a time in the past.
    void turn(std::int64_t until_ns) noexcept {
        read_left_ = write_left_ = at_once_max;
        take_turn(until_ns);
    }

    /// Whether a `turn` that does not wait would find completions, or a `wake`.
    virtual bool has_completions() const noexcept = 0;

    /// Ends the wait of the present or the next `turn`. core: any thread
    virtual void wake() noexcept = 0;

    /// Nanoseconds of std::chrono::steady_clock, or of virtual time.
    virtual std::int64_t now_ns() const noexcept = 0;
    /// Where time is virtual, to wait costs nothing.
    virtual bool is_real() const noexcept { return true; }

    /// Operations that have not completed; after `cancel_all`, the kernel's own among them.
    virtual std::size_t in_flight() const noexcept = 0;

    /// Whether the multishot operations are served.
    virtual bool has_multishot() const noexcept = 0;

    /// Whether send_zero_copy and send_message_zero_copy are served.
    virtual bool has_zero_copy() const noexcept { return false; }

    /// The pooled buffer that a completion brought. Whoever holds it may link it by `next`.
    virtual pooled_buffer& buffer(std::int32_t id) noexcept = 0;
    virtual void give_back(std::int32_t id) noexcept = 0;

    /// A completion's handler has read so many bytes into memory of ringo's. After 1 MiB the other
    /// completions wait for the next turn: what is given back until then serves them, too, and the
    /// cache still holds it.
    void has_read_at_once(std::size_t bytes) noexcept { read_left_ -= std::min(bytes, read_left_); }
    /// Whether so many bytes may be written by a system call of their own. Not more than 1 MiB
    /// between two turns, for who writes on and on must not keep the others waiting.
    bool may_write_at_once(std::size_t bytes) noexcept {
        const bool may = bytes <= write_left_;
        write_left_ -= may ? bytes : 0;
        return may;
    }

    /// Instead of giving it back: it goes into a user's hands. Null: too many are there already.
    virtual lent* lend(std::int32_t) noexcept { return nullptr; }

    /// Has memory pinned, for file_read and file_write that name the slot. The table is the caller's
    /// to release. Null: it is not to be had.
    virtual buffer_slots* register_buffer(void*, std::size_t, int& /*slot*/) noexcept {
        return nullptr;
    }
    virtual void unregister_buffer(int /*slot*/) noexcept {}

    /// The back-end and what it uses, in a few words. core: any thread
    virtual std::string describe() const = 0;

    // core's thread writes, others read
    kernel_counts counts;

protected:
    virtual void take_turn(std::int64_t until_ns) noexcept = 0;
    bool may_read_at_once() const noexcept { return read_left_ != 0; }

private:
    static constexpr std::size_t at_once_max = std::size_t{1} << 20;  // bytes

    std::size_t read_left_ = at_once_max;
    std::size_t write_left_ = at_once_max;
};

/// An io_uring. entries: of the submission queue.
/// throws  std::system_error that names the cause and the remedy
std::unique_ptr<kernel> make_uring(unsigned entries);

/// Whether what make_uring throws says that there is no io_uring here that serves.
bool is_without_uring(const std::system_error& e) noexcept;

/// An epoll. What blocks runs in the pool, which must end first.
/// throws  std::system_error
std::unique_ptr<kernel> make_epoll(blocking_pool& pool);

}  // namespace ringo::detail
