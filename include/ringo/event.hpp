// event: something that has happened or not; goroutines wait until it has.
#pragma once

#include <ringo/detail/gate.hpp>
#include <ringo/detail/operation.hpp>

namespace ringo {

namespace detail {

extern const wait_type event_wait;

}  // namespace detail

/// A flag to wait for. It stays set until it is reset: `set` lets go all who wait, and all who come
/// later. Destroyed while goroutines wait, it leaves them waiting until they are cancelled.
///
/// core     any; everything but `wait` on foreign threads too
class event {
public:
    explicit event(bool set = false) noexcept : gate_(set ? 0 : 1) {}

    /// All who wait go on, even when `reset` follows at once. On a set event: nothing.
    ///
    /// core     any, foreign threads included; does not suspend. Who waits may then destroy the event
    void set() noexcept;

    /// From now on goroutines wait again. On an event that is not set: nothing.
    ///
    /// core     any, foreign threads included; does not suspend
    void reset() noexcept;

    [[nodiscard]] bool is_set() noexcept { return gate_.is_open(); }

    /// Suspends until the event is set. Usable in select.
    ///
    /// throws   cancelled, deadline_exceeded
    /// core     any
    /// cancel   leaves at once
    /// cost     no allocation; no switch when it is set
    [[nodiscard]] auto wait() noexcept { return detail::gate_operation(detail::event_wait, gate_); }

private:
    detail::gate gate_;  // one is missing until it is set
};

}  // namespace ringo
