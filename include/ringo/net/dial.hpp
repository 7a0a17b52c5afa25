// dial: the client's side of a connection.
#pragma once

#include <ringo/net/conn.hpp>
#include <ringo/net/endpoint.hpp>
#include <ringo/task.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace ringo::net {

struct dial_options {
    // How long one address may keep silent before the next is tried beside it.
    duration attempt_delay = std::chrono::milliseconds(250);
};

/// Connects. A name is resolved, and its addresses race: those of IPv6 and IPv4 in turn, one more
/// each time that an attempt fails or `attempt_delay` has passed. The first connection wins; the
/// other attempts have ended, and are closed, when this returns.
///
/// takes    "127.0.0.1:80", "[::1]:80", "example.com:80", "example.com:http", ":80" (this machine),
///          "unix:/run/x.sock"
/// throws   std::system_error that names the address: the failure of the first that was tried;
///          cancelled, deadline_exceeded
/// core     any
/// cancel   at once, whatever the resolver does
/// follows  Go net.Dial; RFC 8305
[[nodiscard]] task<conn> dial(std::string address, dial_options o = {});
[[nodiscard]] task<conn> dial(endpoint to);
/// Connects to one of several addresses, which race in the same way.
///
/// throws   also invalid_argument when there is none
[[nodiscard]] task<conn> dial(std::vector<endpoint> any_of, dial_options o = {});

}  // namespace ringo::net
