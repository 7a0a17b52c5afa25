// Getting goroutines to where a test wants them, without sleeping.
#pragma once

#include <ringo/go.hpp>
#include <ringo/result.hpp>

#include <cstddef>
#include <system_error>

namespace test {

/// Returns when `condition()` holds.
template <class Condition>
ringo::task<> until(Condition condition) {
    while (!condition()) {
        co_await ringo::yield();
    }
}

/// Returns when what was started before, here and on `core`, has run until it waits.
inline ringo::task<> parked(std::size_t core = 0) {
    co_await ringo::yield();
    auto after = ringo::spawn(ringo::on(core), []() -> ringo::task<> { co_return; });
    co_await after;
    co_await ringo::yield();
}

/// Cancels a goroutine. True: that is how it ended.
template <class T>
ringo::task<bool> ends_cancelled(ringo::join_handle<T>& handle) {
    handle.cancel();
    try {
        co_await handle;
    } catch (const std::system_error& e) {
        co_return e.code() == std::errc::operation_canceled;
    }
    co_return false;
}

}  // namespace test
