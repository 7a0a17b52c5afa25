#include "resolve.hpp"

#include "../blocking_pool.hpp"
#include "../cores.hpp"
#include "../shard.hpp"
#include "address.hpp"

#include <ringo/callback.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <netdb.h>
#include <sys/socket.h>

namespace ringo::net {

namespace {

using detail::host_and_service;
using ringo::detail::blocking_job;
using ringo::detail::blocking_pool;
using ringo::detail::shard;
using endpoints = std::vector<endpoint>;

class resolver_category_type final : public std::error_category {
public:
    const char* name() const noexcept override { return "resolver"; }
    std::string message(int code) const override { return ::gai_strerror(code); }
    std::error_condition default_error_condition(int code) const noexcept override {
        switch (code) {
            case EAI_AGAIN:
                return std::errc::resource_unavailable_try_again;
            case EAI_MEMORY:
                return std::errc::not_enough_memory;
            case EAI_FAMILY:
                return std::errc::address_family_not_supported;
            default:
                return {code, *this};
        }
    }
};

/// Blocks. throws  std::system_error, without a text
endpoints ask_system(const host_and_service& name, const resolve_options& o) {
    addrinfo hints{};
    hints.ai_family = o.family;
    hints.ai_socktype = o.datagram ? SOCK_DGRAM : SOCK_STREAM;
    hints.ai_flags = o.family == AF_UNSPEC ? AI_ADDRCONFIG : 0;
    addrinfo* found = nullptr;
    const char* const host = name.host.empty() ? nullptr : name.host.c_str();
    const int error = ::getaddrinfo(host, name.service.c_str(), &hints, &found);
    if (error != 0) {
        throw std::system_error(error == EAI_SYSTEM ? std::error_code(errno, std::system_category())
                                                    : std::error_code(error, resolver_category()));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
    endpoints all;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
        all.emplace_back(a->ai_addr, a->ai_addrlen);
    }
    return all;
}

/// A look-up that may outlive who asked for it.
class look_up : public blocking_job {
public:
    look_up(const host_and_service& n, const resolve_options& o)
        : blocking_job(&run), name_(n), options_(o) {}

    static void start(const std::shared_ptr<look_up>& job, blocking_pool& pool,
                      completion<endpoints> done) {
        job->done_ = std::move(done);
        job->itself_ = job;
        if (const int error = pool.push(*job); error != 0) {
            job->itself_.reset();
            throw std::system_error(error, std::system_category());
        }
    }
    /// Nobody waits for it any more.
    void leave(blocking_pool& pool) noexcept {
        if (pool.withdraw(*this)) {
            itself_.reset();
        }
    }

private:
    static void run(blocking_job& job) noexcept {
        const std::shared_ptr<look_up> self = std::move(static_cast<look_up&>(job).itself_);
        std::exception_ptr failure;
        try {
            self->done_(ask_system(self->name_, self->options_));
            return;
        } catch (...) {
            failure = std::current_exception();
        }
        // Out of the handler, so that the exception belongs to the receiver alone.
        self->done_.fail(std::move(failure));
    }

    const host_and_service name_;
    const resolve_options options_;
    completion<endpoints> done_{nullptr};
    std::shared_ptr<look_up> itself_;  // while the pool has it
};

/// Keeps to a look-up until it has ended or is given up.
class look_up_use {
public:
    look_up_use(const host_and_service& name, const resolve_options& o)
        : pool_(shard::here().all.resolver_pool()), job_(std::make_shared<look_up>(name, o)) {}
    look_up_use(const look_up_use&) = delete;
    look_up_use& operator=(const look_up_use&) = delete;
    ~look_up_use() { job_->leave(pool_); }

    void start(completion<endpoints> done) { look_up::start(job_, pool_, std::move(done)); }

private:
    blocking_pool& pool_;
    const std::shared_ptr<look_up> job_;
};

/// What needs no look-up; empty: this does. throws  as parse_numeric
endpoints numeric(const std::string& text, const host_and_service& parts,
                  const resolve_options& o) {
    if (!detail::parse_numeric(text, {"::1", parts.service, true})) {
        return {};  // its name
    }
    std::vector<host_and_service> hosts{parts};
    if (parts.host.empty() && !parts.bracketed) {
        hosts = {{"::1", parts.service, true}, {"127.0.0.1", parts.service, false}};
    } else if (parts.host == "localhost" || parts.host.find('%') != std::string::npos) {
        return {};  // the system knows
    }
    endpoints all;
    for (const host_and_service& h : hosts) {
        const std::optional<endpoint> e = detail::parse_numeric(text, h);
        if (!e) {
            return {};
        }
        if (o.family == AF_UNSPEC || e->family() == o.family) {
            all.push_back(*e);
        }
    }
    if (all.empty()) {
        throw std::system_error(EAI_ADDRFAMILY, resolver_category());
    }
    return all;
}

/// throws  std::system_error; the text of a refusal names `text`, of any other nothing
task<endpoints> find(const std::string& text, const host_and_service& parts, resolve_options o) {
    endpoints found = numeric(text, parts, o);
    if (found.empty()) {
        look_up_use use(parts, o);
        auto asked = from_callback<endpoints>(
            [&use](completion<endpoints> done) { use.start(std::move(done)); });
        found = co_await std::move(asked);
    }
    co_return found;
}

/// The exception that is being handled, with a text.
[[noreturn]] void throw_named(const char* operation, const std::string& object) {
    try {
        throw;
    } catch (const cancelled&) {
        throw cancelled(operation);
    } catch (const deadline_exceeded&) {
        throw deadline_exceeded(operation);
    } catch (const std::system_error& e) {
        if (e.code() == std::errc::invalid_argument) {
            detail::throw_refused(operation, e);
        }
        throw std::system_error(e.code(), fmt::format("{} {}", operation, object));
    }
}

bool is_number(const std::string& text) {
    return text.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

const std::error_category& resolver_category() noexcept {
    static const resolver_category_type category;
    return category;
}

task<std::vector<endpoint>> resolve(std::string host, std::string service, resolve_options o) {
    const bool is_v6 = host.find(':') != std::string::npos;
    const std::string text =
        is_v6 ? fmt::format("[{}]:{}", host, service) : fmt::format("{}:{}", host, service);
    try {
        const host_and_service parts = detail::split(text);
        co_return co_await find(text, parts, o);
    } catch (...) {
        throw_named("resolve", is_number(service) ? host : text);
    }
}

task<std::vector<endpoint>> detail::resolve_address(const char* operation, std::string address,
                                                    resolve_options o) {
    try {
        if (is_unix(address)) {
            co_return endpoints{endpoint::parse(address)};
        }
        const host_and_service parts = split(address);
        co_return co_await find(address, parts, o);
    } catch (...) {
        throw_named(operation, address);
    }
}

}  // namespace ringo::net
