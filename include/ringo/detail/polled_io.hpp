// Reading and writing that never leaves a buffer with the kernel: it tries, and where nothing can
// be done now, it polls and tries again. So a cancelled one has had no effect.
#pragma once

#include <ringo/detail/arm.hpp>
#include <ringo/detail/descriptor.hpp>
#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>

namespace ringo::detail {

class polled_arm;
class polled_io;

struct polled_type : wait_type {
    using attempt_function = int (*)(polled_io&) noexcept;

    constexpr polled_type(const char* operation, short polled_for, attempt_function f) noexcept;

    short events;  // what it polls for

    // One system call that does not wait, while nobody can close the descriptor.
    // returns  0; or its errno, of which EAGAIN means: not now
    attempt_function attempt;
};

/// What the compiled core knows of such an operation. Any number may use a descriptor at once.
class polled_io : public waiter {
public:
    polled_io(const polled_type& t, descriptor& d) noexcept;
    polled_io(const polled_io&) = delete;
    polled_io& operator=(const polled_io&) = delete;
    ~polled_io() {
        if (keeps_) [[unlikely]] {
            on_->release();
        }
    }

    bool start() noexcept;
    static const arm_type arm;
    /// For wait_type.
    static void cancel(wait& w) noexcept;
    static void describe(const wait& w, wait_state& s) noexcept;

    const polled_type& what() const noexcept { return what_; }
    descriptor& on() const noexcept { return *on_; }

protected:
    /// Whether the system has said why it failed. Only then is the descriptor sure to be there.
    bool has_errno() const noexcept { return self->error < failure_cancelled; }

    int polled_fd_;  // where another descriptor becomes ready when this one can go on

private:
    friend class polled_arm;

    struct poll_operation : io_operation {
        explicit poll_operation(polled_io& p) noexcept;
        polled_io& owner;
    };

    bool attempt() noexcept;
    bool attempt_now() noexcept;
    bool let_others_run() noexcept;
    void fail(int error) noexcept;
    void polled(int result) noexcept;

    const polled_type& what_;
    descriptor* on_;
    bool keeps_ = false;  // the descriptor, which may be closed
    polled_arm* arm_ = nullptr;
    poll_operation poll_{*this};
    descriptor_use use_{poll_};
};

constexpr polled_type::polled_type(const char* operation, short polled_for,
                                   attempt_function f) noexcept
    : wait_type{operation, &polled_io::cancel, nullptr, waker::goroutine, &polled_io::describe},
      events(polled_for),
      attempt(f) {}

}  // namespace ringo::detail
