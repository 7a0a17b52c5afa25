// resolve: the addresses behind a name.
#pragma once

#include <ringo/net/endpoint.hpp>
#include <ringo/task.hpp>

#include <string>
#include <system_error>
#include <vector>

namespace ringo::net {

struct resolve_options {
    int family = 0;         // AF_INET or AF_INET6: only such addresses; 0: both
    bool datagram = false;  // the service is one of UDP
};

/// The addresses of a host, the best first. The system's resolver looks the name up, so /etc/hosts
/// and nsswitch.conf hold, on threads that do nothing else: at most 64 look-ups are made at once in
/// a runtime, more wait in order.
///
/// takes    a name, or an address without brackets, which needs no look-up; empty: this machine's
///          loopback addresses. A port's number, or a service's name
/// returns  at least one
/// throws   std::system_error that names the host, in `resolver_category` for what the resolver
///          says; invalid_argument; cancelled, deadline_exceeded
/// core     any
/// cancel   at once. The resolver cannot be interrupted: it ends on its own, unheard, and the end
///          of the run waits for it; a look-up that no thread has taken up is never made
/// follows  Go net.Resolver.LookupNetIP, LookupPort
[[nodiscard]] task<std::vector<endpoint>> resolve(std::string host, std::string service = "0",
                                                  resolve_options o = {});

/// Of the EAI_ codes of <netdb.h>: EAI_NONAME, EAI_AGAIN, …
const std::error_category& resolver_category() noexcept;

}  // namespace ringo::net
