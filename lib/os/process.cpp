#include <ringo/os/command.hpp>

#include "background.hpp"
#include "child.hpp"

#include <ringo/context.hpp>
#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>
#include <ringo/poll.hpp>
#include <ringo/result.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstring>
#include <exception>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ringo::os {

namespace detail {

namespace {

// Not what <sys/wait.h> calls P_PIDFD, which glibc has only since 2.36.
constexpr auto by_pidfd = static_cast<::idtype_t>(3);

int send(int pidfd, int number) noexcept {
    const long n = ::syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0);
    return n == 0 ? 0 : errno;
}

/// False: not within that time; -1: however long it takes.
bool has_ended(int pidfd, int milliseconds) noexcept {
    pollfd p{.fd = pidfd, .events = POLLIN, .revents = 0};
    int n = -1;
    do {
        n = ::poll(&p, 1, milliseconds);
    } while (n < 0 && errno == EINTR);
    return n != 0;
}

int wait_id(int pidfd, siginfo_t& info, int flags) noexcept {
    info = {};
    int n = -1;
    do {
        n = ::waitid(by_pidfd, static_cast<::id_t>(pidfd), &info, WEXITED | flags);
    } while (n < 0 && errno == EINTR);
    return n == 0 ? 0 : errno;
}

int milliseconds(duration d) noexcept {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(d).count();
    return static_cast<int>(std::clamp<std::int64_t>(ms, 0, INT_MAX));
}

/// Blocks until the process is gone.
void bury(int pidfd, ::pid_t group, int grace, bool is_detached) noexcept {
    if (!is_detached && !has_ended(pidfd, grace)) {
        group != 0 ? ::kill(-group, SIGKILL) : send(pidfd, SIGKILL);
    }
    has_ended(pidfd, -1);
    if (!is_detached && group != 0) {
        ::kill(-group, SIGKILL);
    }
    siginfo_t info;
    wait_id(pidfd, info, 0);
    ::close(pidfd);
}

}  // namespace

child::child(::pid_t pid, int pidfd, std::string program, bool leads_group, duration grace) noexcept
    : pid_(pid),
      pidfd_(pidfd),
      program_(std::move(program)),
      leads_group_(leads_group),
      grace_(grace) {}

child::~child() {
    if (status_ || try_reap()) {
        ::close(pidfd_);
        return;
    }
    if (!detached_) {
        ask_to_end();
    }
    const ::pid_t group = leads_group_ ? pid_ : 0;
    const auto reaper = [fd = pidfd_, group, grace = milliseconds(grace_),
                         is_detached = detached_] { bury(fd, group, grace, is_detached); };
    if (start_background(reaper) != 0) {
        bury(pidfd_, group, 0, false);  // better than a process that nobody can reap any more
    }
}

bool child::try_reap() noexcept {
    siginfo_t info;
    return wait_id(pidfd_, info, WNOHANG) != 0 || info.si_pid != 0;
}

void child::reap() {
    siginfo_t info;
    if (const int error = wait_id(pidfd_, info, 0); error != 0) {
        throw std::system_error(error, std::system_category(), fmt::format("wait {}", program_));
    }
    if (info.si_code == CLD_EXITED) {
        status_ = exit_status(info.si_status, 0, false);
    } else {
        status_ = exit_status(-1, info.si_status, info.si_code == CLD_DUMPED);
    }
}

int child::signal(int number) noexcept {
    if (status_) {
        return ESRCH;
    }
    if (leads_group_) {
        return ::kill(-pid_, number) == 0 ? 0 : errno;
    }
    return send(pidfd_, number);
}

void child::ask_to_end() noexcept {
    const bool at_once = std::exchange(asked_, true) || grace_ <= duration::zero();
    signal(at_once ? SIGKILL : SIGTERM);
}

void child::kill_rest_of_group() noexcept {
    if (leads_group_) {
        signal(SIGKILL);
    }
}

namespace {

task<exit_status> end(child& c) {
    if (c.status()) {
        co_return *c.status();
    }
    c.ask_to_end();
    if (c.grace() > duration::zero()) {
        const auto in_time = co_await as_result(timeout(c.grace(), poll(c.pidfd(), POLLIN)));
        if (!in_time) {
            c.ask_to_end();
        }
    }
    co_await poll(c.pidfd(), POLLIN);
    c.kill_rest_of_group();
    c.reap();
    co_return *c.status();
}

}  // namespace

}  // namespace detail

std::string exit_status::to_string() const {
    if (signal_ == 0) {
        return fmt::format("exit status {}", code_);
    }
    return fmt::format("signal: {}{}", ::strsignal(signal_), dumped_ ? " (core dumped)" : "");
}

process::process(std::unique_ptr<detail::child> c) noexcept : child_(std::move(c)) {}
process::process(process&&) noexcept = default;
process& process::operator=(process&&) noexcept = default;
process::~process() = default;

detail::child& process::alive() const {
    if (child_ == nullptr) {
        ringo::detail::panic("process: use of one that was moved from or detached");
    }
    return *child_;
}

::pid_t process::pid() const noexcept { return alive().pid(); }

ringo::detail::poll_operation process::ended() const { return poll(alive().pidfd(), POLLIN); }

task<exit_status> process::wait() {
    detail::child& c = alive();
    in.close();
    if (c.status()) {
        co_return *c.status();
    }
    std::exception_ptr given_up;
    try {
        co_await poll(c.pidfd(), POLLIN);
    } catch (const std::system_error&) {
        given_up = std::current_exception();
    }
    if (given_up) {
        co_await shield(detail::end(c));
        std::rethrow_exception(given_up);
    }
    c.reap();
    co_return *c.status();
}

task<exit_status> process::stop() {
    detail::child& c = alive();
    co_return co_await shield(detail::end(c));
}

bool process::signal(int number) {
    const int error = alive().signal(number);
    if (error != 0 && error != ESRCH) {
        throw std::system_error(error, std::system_category(),
                                fmt::format("signal {}", child_->program()));
    }
    return error == 0;
}

bool process::kill() { return signal(SIGKILL); }

void process::detach() && {
    alive().detach();
    const process gone(std::move(*this));
}

}  // namespace ringo::os
