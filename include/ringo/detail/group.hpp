// Goroutines that end together: what task_group, when_all and when_any share.
#pragma once

#include <ringo/context.hpp>
#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/context_ref.hpp>
#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/go.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <span>

namespace ringo::detail {

class group;

struct member_base : goroutine {
    using goroutine::goroutine;

    group* in = nullptr;
    int at = place::here;  // where it starts: a core's number, or place::idle_core
    std::uint32_t position = 0;
    member_base* next_kept = nullptr;
};

/// Waits until all members have ended.
struct group_wait : waiter {
    using waiter::waiter;

    group* in = nullptr;  // set by `join`
};

/// What stops a group, once: its context ends, and who has not started never will.
enum class group_kind : std::uint8_t {
    until_error,  // the first error
    until_end,    // the first member that ends
};

// Invariant: `running_` counts the members that run and whoever else is busy with the group; all
// of them end with `leave`, which starts those that are held back, or drops them once the group is
// over, and wakes who waits.
//
// Lifetime: an owner that does not wait for the end gives the group up with `release`. Then it
// goes with the last that leaves, or with the last wait: of several goroutines that wait one may
// destroy what it waited for before the others go on.
class group {
public:
    static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* block, std::size_t size) noexcept { frame_free(block, size); }

    group(const ringo::context& parent, group_kind kind);
    group(const group&) = delete;
    group& operator=(const group&) = delete;
    ~group();

    /// One member, at its place; beyond the limit it is held back.
    void start(member_base& m, const place& where);
    /// All members, on this core; they stay until the group goes.
    void start_kept(std::span<member_base* const> all) noexcept;
    void limit(std::size_t n) noexcept;
    /// Stops it. Members that end with `cancelled` have not failed.
    void cancel() noexcept;
    /// False: all have ended. Otherwise `w`, whose goroutine is parked, is woken when they have,
    /// and keeps the group until `let_go`.
    bool join(group_wait& w) noexcept;
    void let_go() noexcept;
    /// Rethrows the first error.
    void rethrow();
    /// The position of the member that stopped it.
    std::uint32_t first() const noexcept { return first_; }
    const ringo::context& ctx() const noexcept { return scope_.ctx(); }
    /// The owner's last. panics: members run, or an error that nobody has seen
    void release() noexcept;

    /// For a member's end, on its core: it goes before it counts as ended.
    void end(member_base& m, const std::exception_ptr& error) noexcept;
    /// ... or it stays.
    void end_kept(member_base& m, const std::exception_ptr& error) noexcept;

    /// For wait_type::cancel: stops the members; the wait lasts until they have ended.
    static void cancel_wait(wait& w) noexcept;
    /// ... and being cancelled is an error of the group.
    static void fail_wait(wait& w) noexcept;

private:
    bool over() const noexcept;
    bool is_last() const noexcept { return !owned_ && waits_ == 0 && idle(); }
    bool idle() const noexcept { return running_ == 0 && held_ == nullptr; }
    void launch(member_base& m) noexcept;
    void leave() noexcept;
    bool record(const std::exception_ptr& error, std::uint32_t id) noexcept;
    void fail(const std::exception_ptr& error, std::uint32_t id) noexcept;
    void stop_for(const goroutine& waiting) noexcept;
    bool forgives() noexcept;

    cancel_scope scope_;
    bias_lock lock_;

    // under the lock
    const group_kind kind_;
    bool owned_ = true;
    bool stopped_ = false;
    bool forgiving_ = false;  // stopped by `cancel`
    bool told_ = false;       // the error has been rethrown
    std::uint32_t first_ = 0;
    std::uint32_t failed_id_ = 0;  // the goroutine that the error is from
    std::size_t running_ = 0;
    std::size_t limit_ = unlimited;
    goroutine* held_ = nullptr;  // members beyond the limit, in order
    goroutine** held_tail_ = &held_;
    wait_list waiters_;
    std::size_t waits_ = 0;  // which have not let go
    std::exception_ptr error_;

    member_base* kept_ = nullptr;  // fixed after start
};

/// Its value goes nowhere.
template <class T>
class group_member : public member_base {
public:
    using member_base::member_base;

    static void deliver(group_member& self) noexcept {
        self.in->end(self, self.root.result.error());
    }

    task_awaiter<T> root{nullptr};
};

/// Its value stays until the group goes.
template <class T>
class kept_member : public member_base {
public:
    using member_base::member_base;

    static void deliver(kept_member& self) noexcept {
        self.in->end_kept(self, self.root.result.error());
    }

    task_awaiter<T> root{nullptr};
};

}  // namespace ringo::detail
