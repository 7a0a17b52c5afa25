#include <ringo/net/dial.hpp>

#include "../kernel_operation.hpp"
#include "open_socket.hpp"
#include "resolve.hpp"

#include <ringo/chan.hpp>
#include <ringo/error.hpp>
#include <ringo/select.hpp>
#include <ringo/task_group.hpp>
#include <ringo/time.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/socket.h>

namespace ringo::net {

namespace {

/// How an attempt ended.
struct attempt_end {
    explicit attempt_end(std::size_t n) noexcept : number(n) {}

    std::size_t number;
    conn made;  // where there is no failure
    std::exception_ptr failure;
};

/// `ended` has room for each attempt.
task<> attempt(endpoint to, std::size_t number, chan<attempt_end> ended) {
    attempt_end end(number);
    try {
        end.made = co_await dial(to);
    } catch (const cancelled&) {
        throw;
    } catch (const deadline_exceeded&) {
        throw;
    } catch (...) {
        end.failure = std::current_exception();
    }
    ended.try_send(std::move(end));
}

/// The families in turn, the first one's first; otherwise in order.
std::vector<endpoint> interleaved(const std::vector<endpoint>& all) {
    std::vector<endpoint> first;
    std::vector<endpoint> other;
    for (const endpoint& e : all) {
        (e.family() == all.front().family() ? first : other).push_back(e);
    }
    std::vector<endpoint> mixed;
    for (std::size_t i = 0; i < first.size() || i < other.size(); ++i) {
        if (i < first.size()) {
            mixed.push_back(first[i]);
        }
        if (i < other.size()) {
            mixed.push_back(other[i]);
        }
    }
    return mixed;
}

class race {
public:
    race(const std::vector<endpoint>& all, duration delay)
        : candidates_(interleaved(all)), delay_(delay), ended_(all.size()) {}

    task<conn> run() {
        conn winner;
        while (!winner.is_open()) {
            if (started_ < candidates_.size()) {
                start_next();
            }
            if (std::optional<attempt_end> end = co_await next_end()) {
                winner = result_of(*end);
            }
        }
        attempts_.cancel();
        co_await attempts_.wait();
        co_return winner;
    }

private:
    void start_next() {
        attempts_.go(attempt, candidates_[started_], started_, ended_);
        ++started_;
    }

    /// Empty: it is time for another one.
    task<std::optional<attempt_end>> next_end() {
        if (started_ == candidates_.size()) {
            co_return co_await ended_.recv();
        }
        auto r = co_await select(ended_.recv(), sleep(delay_));
        if (r.index() == 0) {
            co_return std::get<0>(std::move(r));
        }
        co_return std::nullopt;
    }

    /// Not open: others may still make it. throws  when none can
    conn result_of(attempt_end& end) {
        if (!end.failure) {
            return std::move(end.made);
        }
        if (end.number <= first_) {
            first_ = end.number;
            failure_ = std::move(end.failure);
        }
        if (++failed_ == candidates_.size()) {
            std::rethrow_exception(failure_);
        }
        return {};
    }

    const std::vector<endpoint> candidates_;
    const duration delay_;
    chan<attempt_end> ended_;
    std::size_t started_ = 0;
    std::size_t failed_ = 0;
    std::size_t first_ = candidates_.size();  // of those that have failed
    std::exception_ptr failure_;              // ... its own
    task_group attempts_;
};

}  // namespace

namespace {

constexpr int attempts_max = 3;

/// A socket whose own port was chosen for it may get the one that it dials, and if nobody listens
/// there, it is connected to itself.
bool has_met_itself(const conn& c, const endpoint& to) noexcept {
    return to.port() >= 1024 && detail::name_of(c.descriptor(), &::getsockname) == to;
}

}  // namespace

task<conn> dial(endpoint to) {
    const std::string name = fmt::format("dial {}", to.to_string());
    for (int attempt = 0; attempt < attempts_max; ++attempt) {
        const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            throw std::system_error(errno, std::system_category(), name);
        }
        conn c(fd);
        co_await ringo::detail::kernel_operation(name, ringo::detail::io_code::connect, fd,
                                                 const_cast<sockaddr*>(to.address()), to.size());
        if (!has_met_itself(c, to)) {
            c.set_no_delay(true);
            co_return c;
        }
    }
    throw std::system_error(ECONNREFUSED, std::system_category(), name);
}

task<conn> dial(std::vector<endpoint> any_of, dial_options o) {
    if (any_of.empty()) {
        throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                "dial: there is no address");
    }
    if (any_of.size() == 1) {
        co_return co_await dial(any_of.front());
    }
    race r(any_of, o.attempt_delay);
    try {
        co_return co_await r.run();
    } catch (const cancelled&) {
        throw cancelled("dial");
    } catch (const deadline_exceeded&) {
        throw deadline_exceeded("dial");
    }
}

task<conn> dial(std::string address, dial_options o) {
    auto resolving = detail::resolve_address("dial", std::move(address), {});
    std::vector<endpoint> candidates = co_await std::move(resolving);
    co_return co_await dial(std::move(candidates), o);
}

}  // namespace ringo::net
