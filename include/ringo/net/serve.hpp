// serve: a server on every core.
#pragma once

#include <ringo/detail/call_site.hpp>
#include <ringo/net/conn.hpp>
#include <ringo/net/endpoint.hpp>
#include <ringo/net/listener.hpp>
#include <ringo/task.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringo::net {

struct serve_options {
    std::chrono::milliseconds drain{5000};  // for handlers to end by themselves, when cancelled
    int backlog = 4096;
    // Served at a time, by all cores; 0: any number. When it is reached, accepting pauses. Each
    // core may by then have accepted one or a few more, which wait.
    std::size_t connections_max = 0;
};

namespace detail {

/// A handler. Each connection keeps it: one that is destroyed at the end of a run may still use it
/// when `serve` itself is gone.
struct shared_handler {
    std::shared_ptr<void> object;
    task<> (*call)(void* object, conn c);
};

template <class Handler>
shared_handler share(Handler&& handler) {
    return {std::make_shared<Handler>(std::move(handler)),
            [](void* object, conn c) { return (*static_cast<Handler*>(object))(std::move(c)); }};
}

/// made: the call of `serve`, which is that of all goroutines that it starts
task<> serve_all(std::vector<listener> listeners, shared_handler handler, serve_options o,
                 ringo::detail::call_site made);

}  // namespace detail

/// A listener for each core on one address; one for a Unix socket, which has a single queue.
///
/// takes    as `listen` does; port 0: the system chooses one, the same for all
/// throws   as `listen`
/// panics   outside a runtime's cores
std::vector<listener> listen_on_cores(std::string_view address, listen_options o = {});

/// Accepts connections on every core, and runs `handler(conn)` in a goroutine for each, on the
/// core that accepted it. Returns only by an exception.
///
/// When cancelled, it drains: it stops accepting, ends the reading side of each connection, so
/// that a handler reads what has arrived and then the end of the stream, waits until the handlers
/// have ended, for at most `drain`, then cancels those that are left, ends their connections, and
/// waits for them.
///
/// takes    an address as `listen` does; a handler that all cores may call at once, copied (with
///          g++ 12, name a closure that captures by value more than plain data: see README)
/// throws   cancelled, deadline_exceeded, once drained; std::system_error where it cannot listen
/// core     any
/// follows  Go http.Server.Serve and Shutdown
template <class Handler>
[[nodiscard]] task<> serve(std::string address, Handler handler, serve_options o = {},
                           ringo::detail::call_site made = ringo::detail::call_site::current()) {
    static_assert(std::is_same_v<std::invoke_result_t<Handler&, conn>, task<>>,
                  "ringo: the handler must be callable as task<>(conn)");
    detail::shared_handler shared = detail::share(std::move(handler));
    co_await detail::serve_all(listen_on_cores(address, {.backlog = o.backlog}), std::move(shared),
                               o, made);
}
/// ... on listeners that were made before: one for each core, or more, or fewer, but at least one.
template <class Handler>
[[nodiscard]] task<> serve(std::vector<listener> listeners, Handler handler, serve_options o = {},
                           ringo::detail::call_site made = ringo::detail::call_site::current()) {
    detail::shared_handler shared = detail::share(std::move(handler));
    co_await detail::serve_all(std::move(listeners), std::move(shared), o, made);
}

}  // namespace ringo::net
