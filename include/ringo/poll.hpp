// poll: waits until a descriptor is ready, for event-driven libraries that do their own I/O.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>

namespace ringo {

namespace detail {

class fd_poll;

extern const wait_type poll_wait;

class poll_operation : public operation<poll_operation, waiter> {
public:
    poll_operation(int descriptor, short events) noexcept
        : operation(poll_wait), fd_(descriptor), events_(events) {}
    poll_operation(poll_operation&& other) noexcept : poll_operation(other.fd_, other.events_) {}

    bool start() noexcept;
    short value() const noexcept { return ready_; }
    [[noreturn]] void raise();

    static const arm_type arm;

private:
    friend class fd_poll;

    int fd_;
    short events_;
    short ready_ = 0;
    fd_poll* polled_ = nullptr;
};

}  // namespace detail

/// Waits until one of `events` has come to a descriptor, which is not ringo's: it must stay open
/// until this returns.
///
/// takes    what poll(2) takes as events: POLLIN, POLLOUT, POLLPRI, POLLRDHUP
/// returns  those that have come, with POLLERR and POLLHUP if they have; at least one
/// throws   std::system_error; cancelled, deadline_exceeded
/// core     any; resumes on the same core
/// cancel   leaves at once
/// cost     no allocation but from the core's pool
[[nodiscard]] inline detail::poll_operation poll(int descriptor, short events) noexcept {
    return {descriptor, events};
}

}  // namespace ringo
