// task_group: goroutines that are waited for together, and stopped by the first that fails.
#pragma once

#include <ringo/context.hpp>
#include <ringo/detail/group.hpp>
#include <ringo/detail/launch.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/go.hpp>

#include <cstddef>
#include <utility>

namespace ringo {

class task_group;

namespace detail {

extern const wait_type task_group_wait;

class task_group_operation : public operation<task_group_operation, group_wait> {
public:
    explicit task_group_operation(group& g) noexcept : operation(task_group_wait), on_(&g) {}
    task_group_operation(task_group_operation&& other) noexcept
        : task_group_operation(*other.on_) {}
    ~task_group_operation() {
        if (in != nullptr) {
            in->let_go();
        }
    }

    static constexpr bool starts_when_cancelled = true;  // for it joins first
    bool start() noexcept { return on_->join(*this); }
    void value() { on_->rethrow(); }

private:
    group* on_;
};

}  // namespace detail

/// Goroutines with a common end. The first error stops the group: its context is cancelled, and
/// with it every member; those that were held back by the limit, or come later, never run.
///
/// A member that is stopped ends with `cancelled`, which is an error like any other where it is
/// the first: so when the context of the group's maker ends, `wait` throws `cancelled`.
///
///     task_group g;
///     for (auto& url : urls) {
///         g.go(fetch, url);
///     }
///     co_await g.wait();
///
/// Await `wait` before the group goes; it is the one way to know that no member runs any more and
/// refers to what goes with the group. Destroyed by an exception that passes, or at the end of a
/// run, it stops its members without waiting, and their errors are dropped: what they refer to
/// should then be declared outside of what can throw, or be their own.
///
/// panics   in the destructor, where no exception passes: members run, or an error was never seen
///          through `wait`
/// core     any; members may run on any
/// cost     two pooled blocks for the group; per member as `go`
/// follows  Go golang.org/x/sync/errgroup
class task_group : public detail::starts<task_group> {
public:
    /// Under the context of the running goroutine.
    task_group() : task_group(this_context()) {}
    explicit task_group(const context& parent)
        : state_(new detail::group(parent, detail::group_kind::until_error)) {}
    task_group(const task_group&) = delete;
    task_group& operator=(const task_group&) = delete;
    ~task_group() { state_->release(); }

    /// Starts a member, otherwise as ringo::go; never suspends. Beyond the limit it is held back,
    /// and started in order as others end. Members may start members.
    ///
    /// takes    before the callable, optionally, a place; a context there must derive from `ctx()`.
    ///          What a member returns is dropped
    /// panics   outside a goroutine; on a core that does not exist; under a foreign context
    using starts::go;

    /// Waits until all members have ended. After that the group may be used again, unless it was
    /// stopped. Several goroutines may wait.
    ///
    /// throws   the first error, each time. cancelled, deadline_exceeded: this goroutine's context
    ///          has ended, which stops the group as an error does; the wait still lasts until the
    ///          last member has ended
    /// core     any; resumes on the same core
    /// cancel   stops the members and waits for them
    [[nodiscard]] auto wait() noexcept { return detail::task_group_operation(*state_); }

    /// From now on at most `n` members run at once. Those that run already go on; those held back
    /// start when there is room. 0 holds all back; `unlimited`, the default, none.
    void limit(std::size_t n) noexcept { state_->limit(n); }
    static constexpr std::size_t unlimited = detail::group::unlimited;

    /// Stops the group, without waiting. Members that then end with `cancelled` or
    /// `deadline_exceeded` have not failed, and `wait` does not throw for it.
    void cancel() noexcept { state_->cancel(); }

    /// The context of the members. Its cause is the first error.
    [[nodiscard]] const context& ctx() const noexcept { return state_->ctx(); }

private:
    friend class detail::starts<task_group>;

    template <class F, class... Args>
    void start(detail::call_site made, F&& f, Args&&... args) {
        start_at(detail::placed_here(place(), made), std::forward<F>(f),
                 std::forward<Args>(args)...);
    }
    template <class F, class... Args>
    void start_at(const place& where, F&& f, Args&&... args) {
        state_->start(
            detail::launch<detail::group_member>(std::forward<F>(f), std::forward<Args>(args)...),
            where);
    }

    detail::group* const state_;
};

}  // namespace ringo
