#include <ringo/net/dial.hpp>

#include "../blocking_pool.hpp"
#include "../cores.hpp"
#include "../kernel_operation.hpp"
#include "../shard.hpp"
#include "address.hpp"

#include <ringo/callback.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ringo::net {

namespace {

using ringo::detail::shard;

class resolver_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "resolver"; }
    std::string message(int code) const override { return ::gai_strerror(code); }
};

/// Blocks. throws  std::system_error that names what was looked up
std::vector<endpoint> look_up(const detail::host_and_service& name) {
    static const resolver_category category;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    const char* const host = name.host.empty() ? nullptr : name.host.c_str();
    const int error = ::getaddrinfo(host, name.service.c_str(), &hints, &found);
    if (error != 0) {
        const auto code = error == EAI_SYSTEM ? std::error_code(errno, std::system_category())
                                              : std::error_code(error, category);
        throw std::system_error(code, fmt::format("resolve {}:{}", name.host, name.service));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
    std::vector<endpoint> all;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
        all.emplace_back(a->ai_addr, a->ai_addrlen);
    }
    return all;
}

/// A look-up that outlives who asked for it: the system's resolver cannot be interrupted.
struct look_up_job : ringo::detail::blocking_job {
    look_up_job(detail::host_and_service n, completion<std::vector<endpoint>> d)
        : blocking_job(&run), name(std::move(n)), done(std::move(d)) {}

    static void run(blocking_job& job) noexcept {
        const std::unique_ptr<look_up_job> self(&static_cast<look_up_job&>(job));
        std::exception_ptr failure;
        try {
            self->done(look_up(self->name));
            return;
        } catch (...) {
            failure = std::current_exception();
        }
        // Out of the handler, so that the exception belongs to the receiver alone.
        self->done.fail(std::move(failure));
    }

    detail::host_and_service name;
    completion<std::vector<endpoint>> done;
};

task<std::vector<endpoint>> resolve(const std::string& address) {
    if (detail::is_unix(address)) {
        co_return std::vector<endpoint>{endpoint::parse(address)};
    }
    detail::host_and_service parts = detail::split(address);
    if (const std::optional<endpoint> e = detail::parse_numeric(address, parts)) {
        co_return std::vector<endpoint>{*e};
    }
    auto look_up =
        from_callback<std::vector<endpoint>>([&parts](completion<std::vector<endpoint>> done) {
            auto* const job = new look_up_job(std::move(parts), std::move(done));
            if (const int error = shard::here().all.pool().push(*job); error != 0) {
                const std::unique_ptr<look_up_job> owned(job);
                job->done.fail(std::make_exception_ptr(
                    std::system_error(error, std::system_category(), "resolve")));
            }
        });
    co_return co_await std::move(look_up);
}

}  // namespace

task<conn> dial(endpoint to) {
    const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        throw std::system_error(errno, std::system_category(),
                                fmt::format("dial {}", to.to_string()));
    }
    conn c(fd);
    co_await ringo::detail::kernel_operation(fmt::format("dial {}", to.to_string()),
                                             ringo::detail::io_code::connect, fd,
                                             const_cast<sockaddr*>(to.address()), to.size());
    c.set_no_delay(true);
    co_return c;
}

task<conn> dial(std::string address) {
    std::vector<endpoint> candidates;
    std::exception_ptr first;
    try {
        candidates = co_await resolve(address);
    } catch (const cancelled&) {
        throw;
    } catch (const deadline_exceeded&) {
        throw;
    } catch (const std::system_error& e) {
        if (e.code() == std::errc::invalid_argument) {
            detail::throw_refused("dial", e);
        }
        throw std::system_error(e.code(), fmt::format("dial {}", address));
    }
    for (const endpoint& to : candidates) {
        try {
            co_return co_await dial(to);
        } catch (const cancelled&) {
            throw;
        } catch (const deadline_exceeded&) {
            throw;
        } catch (const std::system_error&) {
            if (!first) {
                first = std::current_exception();
            }
        }
    }
    std::rethrow_exception(first);
}

}  // namespace ringo::net
