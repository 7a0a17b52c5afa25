// result<T>: a value or an error code; as_result: an operation or a task that does not throw.
#pragma once

#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/task.hpp>

#include <coroutine>
#include <system_error>
#include <type_traits>
#include <utility>
#include <version>

#ifdef __cpp_lib_expected
#include <expected>
#else
#include <tl/expected.hpp>
#endif

namespace ringo {

#ifdef __cpp_lib_expected
template <class T>
using result = std::expected<T, std::error_code>;
using failed = std::unexpected<std::error_code>;
#else
template <class T>
using result = tl::expected<T, std::error_code>;
using failed = tl::unexpected<std::error_code>;
#endif

namespace detail {

/// The code of the exception that is being handled; rethrows what has none.
std::error_code current_error_code();

template <class Awaiter>
class result_awaiter {
    using value_type = decltype(std::declval<Awaiter&>().await_resume());

public:
    explicit result_awaiter(Awaiter&& inner) noexcept : inner_(std::move(inner)) {}

    bool await_ready() { return inner_.await_ready(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h,
                       call_site where = call_site::current()) noexcept {
        return suspend(inner_, h, where);
    }
    result<value_type> await_resume() {
        if constexpr (requires { inner_.self->error; }) {
            if (inner_.self->error != 0) {  // an operation's own failure: nothing is thrown
                return failed(failure_code(inner_.self->error));
            }
        }
        try {
            return take();
        } catch (const std::system_error&) {
            return failed(current_error_code());
        }
    }

private:
    result<value_type> take() {
        if constexpr (std::is_void_v<value_type>) {
            inner_.await_resume();
            return {};
        } else {
            return inner_.await_resume();
        }
    }

    Awaiter inner_;
};

}  // namespace detail

/// Awaits an operation or a task, and gives its error as a code instead of throwing it.
///
/// takes    an operation, a task by rvalue, or an object that has one (a join handle, …)
/// returns  awaited: result<T>, with the code of a std::system_error
/// throws   what a task throws that is not a std::system_error
/// core     any
/// cost     nothing is thrown where an operation itself fails
template <class T>
[[nodiscard]] auto as_result(task<T> t) {
    return detail::result_awaiter(std::move(t).operator co_await());
}
template <detail::operation_object Object>
[[nodiscard]] auto as_result(Object& object) {
    return detail::result_awaiter(object.operator co_await());
}
template <class Op>
    requires requires(Op op) { op.await_resume(); }
[[nodiscard]] auto as_result(Op op) { return detail::result_awaiter<Op>(std::move(op)); }

}  // namespace ringo
