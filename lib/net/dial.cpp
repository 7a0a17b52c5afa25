#include <ringo/net/dial.hpp>

#include "../kernel_operation.hpp"
#include "resolve.hpp"

#include <ringo/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/socket.h>

namespace ringo::net {

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
    const std::vector<endpoint> candidates =
        co_await detail::resolve_address("dial", std::move(address), {});
    std::exception_ptr first;
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
