// task<T>: a lazy coroutine that runs inside the goroutine that awaits it.
#pragma once

#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/outcome.hpp>
#include <ringo/detail/panic.hpp>

#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

namespace ringo {

template <class T = void>
class task;

namespace detail {

template <class T>
class task_promise;

/// The current exception leaves a goroutine that nobody waits for: a panic, unless `g` was
/// cancelled and it says just that.
void fail_detached(goroutine& g) noexcept;

/// The current exception, which leaves the frame of `left`: reports will say so.
///
/// in       a place in the frame's function
std::exception_ptr leave_frame(const promise_base& left, call_site in) noexcept;

/// Runs a task to its end inside the awaiting goroutine.
template <class T>
class task_awaiter : public callee_slot {
public:
    explicit task_awaiter(frame_handle frame) noexcept : callee_slot{frame} {}
    task_awaiter(task_awaiter&& other) noexcept
        : callee_slot{std::exchange(other.callee, nullptr)} {}
    task_awaiter& operator=(task_awaiter&&) = delete;
    ~task_awaiter() {
        if (callee) {
            callee.destroy();
        }
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h,
                       call_site where = call_site::current()) noexcept {
        callee.promise().begin(erase(h, where), *this);
        this_core_state->frame = callee;
    }
    T await_resume() { return result.take(); }

    outcome<T> result;
};

template <class T>
class task_promise_common : public promise_base {
public:
    task<T> get_return_object() noexcept;
    void unhandled_exception(call_site in = call_site::current()) noexcept {
        std::exception_ptr error = leave_frame(*this, in);
        if constexpr (std::is_void_v<T>) {
            if (is_root() && this_core_state->current->drops_outcome) {
                fail_detached(*this_core_state->current);
                return;
            }
        }
        result().fail(std::move(error));
    }

protected:
    outcome<T>& result() noexcept { return static_cast<task_awaiter<T>*>(slot)->result; }
};

template <class T>
class task_promise : public task_promise_common<T> {
public:
    template <class U = T>
        requires std::is_convertible_v<U&&, T>
    void return_value(U&& value) { this->result().set(std::forward<U>(value)); }
};

template <>
class task_promise<void> : public task_promise_common<void> {
public:
    void return_void() const noexcept {}
};

}  // namespace detail

/// A computation that may suspend. Nothing of it runs until it is awaited, and then it runs as
/// part of the awaiting goroutine; `go` and `spawn` run it as one of its own.
///
/// throws   what the coroutine throws, from `co_await`
/// panics   when awaited twice, or after it was moved from
/// core     made on any thread; runs on the core of the goroutine that awaits it
/// cost     one pooled frame; constant stack, however long a loop of awaits is
template <class T>
class [[nodiscard]] task {
public:
    using value_type = T;
    using promise_type = detail::task_promise<T>;

    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&& other) noexcept {
        std::swap(frame_, other.frame_);
        return *this;
    }
    ~task() {
        if (frame_) {
            frame_.destroy();
        }
    }

    detail::task_awaiter<T> operator co_await() && {
        return detail::task_awaiter<T>(std::move(*this).release());
    }

    /// For ringo's own adapters: hands the frame over.
    detail::frame_handle release() && {
        if (!frame_) [[unlikely]] {
            detail::panic("task: awaited twice, or after it was moved from");
        }
        return std::exchange(frame_, nullptr);
    }

private:
    friend class detail::task_promise_common<T>;
    explicit task(detail::frame_handle frame) noexcept : frame_(frame) {}

    detail::frame_handle frame_;
};

namespace detail {

template <class T>
task<T> task_promise_common<T>::get_return_object() noexcept {
    auto& promise = static_cast<task_promise<T>&>(*this);
    const auto handle = std::coroutine_handle<task_promise<T>>::from_promise(promise);
    check_frame(handle.address());
    return task<T>(erase(handle));
}

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

}  // namespace detail
}  // namespace ringo
