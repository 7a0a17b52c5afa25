// The parts of an address's text.
#pragma once

#include <ringo/net/endpoint.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace ringo::net::detail {

struct host_and_service {
    std::string host;
    std::string service;
    bool bracketed;  // the host stood in [brackets]
};

/// throws   std::system_error, invalid_argument, when `text` is not "host:service"
host_and_service split(std::string_view text);

bool is_unix(std::string_view text) noexcept;

/// Empty when host or service is a name. throws  as split
std::optional<endpoint> parse_numeric(std::string_view text, const host_and_service& parts);

/// Throws a refusal of `split` or `endpoint::parse` again, with the operation before its text.
[[noreturn]] void throw_refused(const char* operation, const std::system_error& refusal);

}  // namespace ringo::net::detail
