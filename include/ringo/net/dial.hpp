// dial: the client's side of a connection.
#pragma once

#include <ringo/net/conn.hpp>
#include <ringo/net/endpoint.hpp>
#include <ringo/task.hpp>

#include <string>

namespace ringo::net {

/// Connects. A name is resolved by the system's resolver on a pool thread; its addresses are tried
/// in order.
///
/// takes    "127.0.0.1:80", "[::1]:80", "example.com:80", "example.com:http", "unix:/run/x.sock"
/// throws   std::system_error that names the address: the failure of the first address;
///          cancelled, deadline_exceeded
/// core     any
/// cancel   at once, whatever the resolver does
/// follows  Go net.Dial
[[nodiscard]] task<conn> dial(std::string address);
[[nodiscard]] task<conn> dial(endpoint to);

}  // namespace ringo::net
