// How an address's text becomes endpoints, for what connects.
#pragma once

#include <ringo/net/endpoint.hpp>
#include <ringo/net/resolve.hpp>
#include <ringo/task.hpp>

#include <string>
#include <vector>

namespace ringo::net::detail {

/// takes    "host:service", "unix:path"; `operation`, which names itself in the errors
/// throws   as resolve
task<std::vector<endpoint>> resolve_address(const char* operation, std::string address,
                                            resolve_options o);

}  // namespace ringo::net::detail
