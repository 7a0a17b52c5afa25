// A child process, from its start until it is reaped.
#pragma once

#include <ringo/os/command.hpp>
#include <ringo/time.hpp>

#include <optional>
#include <string>

#include <sys/types.h>

namespace ringo::os::detail {

// States:  running -> asked to end -> reaped     by who waits for it or stops it
//                 \-> dropped -> reaped          by a thread of its own
// Why a pidfd: unlike the pid it names no other process once this one is reaped, and every kernel
// back-end can wait for it.
class child {
public:
    /// takes    a process that nobody else reaps, and its pidfd: both its own from here on
    child(::pid_t pid, int pidfd, std::string program, bool leads_group, duration grace) noexcept;
    child(const child&) = delete;
    child& operator=(const child&) = delete;
    /// As os::process says of one that is dropped.
    ~child();

    ::pid_t pid() const noexcept { return pid_; }
    int pidfd() const noexcept { return pidfd_; }
    const std::string& program() const noexcept { return program_; }
    duration grace() const noexcept { return grace_; }

    /// Empty until it is reaped.
    const std::optional<exit_status>& status() const noexcept { return status_; }
    /// Once it has ended. throws: std::system_error
    void reap();
    /// 0; or an errno, ESRCH when it has been reaped.
    int signal(int number) noexcept;
    /// SIGTERM, or SIGKILL when it has no grace (any more).
    void ask_to_end() noexcept;
    /// Before it is reaped, for one that was stopped.
    void kill_rest_of_group() noexcept;
    void detach() noexcept { detached_ = true; }

private:
    bool try_reap() noexcept;

    const ::pid_t pid_;
    const int pidfd_;
    const std::string program_;
    const bool leads_group_;
    const duration grace_;
    std::optional<exit_status> status_;
    bool asked_ = false;
    bool detached_ = false;
};

}  // namespace ringo::os::detail
