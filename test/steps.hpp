// Getting goroutines to where a test wants them, without sleeping.
#pragma once

#include <ringo/go.hpp>
#include <ringo/result.hpp>
#include <ringo/time.hpp>

#include <cstddef>
#include <system_error>
#include <vector>

namespace test {

inline constexpr auto for_ever = ringo::duration::max();
inline ringo::task<> sleeps_for_ever() { co_await ringo::sleep(for_ever); }

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

inline ringo::task<> join_all(std::vector<ringo::join_handle<void>>& handles) {
    for (auto& h : handles) {
        co_await h;
    }
}

/// How a goroutine ended.
inline ringo::task<std::error_code> end_of(ringo::join_handle<void>& handle) {
    const auto r = co_await ringo::as_result(handle);
    co_return r ? std::error_code() : r.error();
}

}  // namespace test
