// wait_group: waits until a number of goroutines are done.
#pragma once

#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/gate.hpp>
#include <ringo/detail/launch.hpp>
#include <ringo/detail/panic.hpp>
#include <ringo/go.hpp>

#include <cstddef>
#include <utility>

namespace ringo {

namespace detail {

extern const wait_type wait_group_wait;

// Lifetime: the goroutines that a wait_group has started may outlive it, since a wait that is
// cancelled returns before they have ended. So the last of them frees this.
class wait_group_core : public gate {
public:
    static wait_group_core* make() { return new wait_group_core; }
    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* block, std::size_t size) noexcept { frame_free(block, size); }

    void start_one() noexcept;
    void end_one() noexcept;
    /// By the wait_group that owns it.
    void disown() noexcept;

private:
    wait_group_core() noexcept : gate(0) {}

    std::size_t started_ = 0;  // by `go`, and not yet ended
    bool ownerless_ = false;
};

/// A goroutine that counts.
template <class T>
class counted : public detached<T> {
public:
    using detached<T>::detached;

    template <class Block>
    static void deliver(Block& self) noexcept {
        wait_group_core& core = *self.group;
        detached<T>::deliver(self);
        // Last, for who waits may destroy what the goroutine has used.
        core.end_one();
    }

    wait_group_core* group = nullptr;
};

[[noreturn]] void panic_negative_wait_group() noexcept;

}  // namespace detail

/// Counts goroutines, or whatever else begins and ends, and waits until none is left.
///
///     wait_group group;
///     for (auto& url : urls) {
///         group.go(fetch, std::ref(url));
///     }
///     co_await group.wait();
///
/// A new round may begin as soon as the count is zero: who waited for the one before goes on.
/// Destroyed while goroutines wait, it lets them wait on: for the goroutines that it has started,
/// or until they are cancelled.
///
/// core     any; `add` and `done` on foreign threads too
/// cost     one pooled block
/// follows  Go sync.WaitGroup
class wait_group : public detail::starts<wait_group> {
public:
    wait_group() : core_(detail::wait_group_core::make()) {}
    wait_group(const wait_group&) = delete;
    wait_group& operator=(const wait_group&) = delete;
    ~wait_group() { core_->disown(); }

    /// Adds to the count, before what it counts begins. At zero, all waits end.
    ///
    /// takes    n may be negative
    /// panics   when the count would be negative
    /// core     any, foreign threads included; does not suspend
    void add(std::ptrdiff_t n = 1) noexcept {
        if (!core_->add(n)) [[unlikely]] {
            detail::panic_negative_wait_group();
        }
    }

    /// Takes one from the count. Who waits for the last one may then destroy the wait_group.
    ///
    /// panics   when the count is zero
    /// core     any, foreign threads included; does not suspend
    void done() noexcept { add(-1); }

    /// Starts a goroutine as ringo::go does, and counts it until it has ended, its callable and
    /// arguments are destroyed: normally, cancelled, or at the end of the run.
    ///
    /// takes    as ringo::go. The wait_group may go before the goroutine
    /// panics   as ringo::go; an exception that leaves the goroutine is a panic
    /// core     any of the runtime's
    /// cost     as ringo::go
    /// follows  Go sync.WaitGroup.Go
    using starts::go;

    /// Suspends until the count is zero. Usable in select.
    ///
    /// throws   cancelled, deadline_exceeded; what is counted runs on
    /// core     any
    /// cancel   leaves at once
    /// cost     no allocation; no switch when the count is zero
    /// follows  Go sync.WaitGroup.Wait
    [[nodiscard]] auto wait() noexcept {
        return detail::gate_operation(detail::wait_group_wait, *core_);
    }

private:
    friend class detail::starts<wait_group>;

    template <class F, class... Args>
    void start(detail::call_site made, F&& f, Args&&... args) {
        detail::start_here(detail::this_core_state,
                           counted(std::forward<F>(f), std::forward<Args>(args)...), made);
    }
    template <class F, class... Args>
    void start_at(const place& p, F&& f, Args&&... args) {
        detail::start_at(counted(std::forward<F>(f), std::forward<Args>(args)...), p.core,
                         p.context.get(), p.made);
    }
    template <class F, class... Args>
    detail::goroutine& counted(F&& f, Args&&... args) {
        auto& g = detail::launch<detail::counted>(std::forward<F>(f), std::forward<Args>(args)...);
        g.group = core_;
        core_->start_one();
        return g;
    }

    detail::wait_group_core* core_;
};

}  // namespace ringo
