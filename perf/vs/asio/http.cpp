// A server that says hello, with Boost.Beast.
#include "peer.hpp"

#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace peer {

namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

awaitable<> answer(socket_type s) {
    beast::flat_buffer buffer;
    http::response<http::string_body> response(http::status::ok, 11);
    response.set(http::field::content_type, "text/plain");
    while (true) {
        http::request<http::empty_body> request;
        const auto [ended, n] = co_await http::async_read(s, buffer, request, quiet);
        if (ended) {
            co_return;
        }
        const bool found = request.target() == "/hello";
        response.result(found ? http::status::ok : http::status::not_found);
        response.body() = found ? "hello, world\n" : "";
        response.keep_alive(request.keep_alive());
        response.prepare_payload();
        const auto [lost, sent] = co_await http::async_write(s, response, quiet);
        if (lost || !response.keep_alive()) {
            co_return;
        }
    }
}

awaitable<> accepts(executor on, asio::basic_socket_acceptor<tcp, executor>& acceptor) {
    while (true) {
        socket_type s = co_await acceptor.async_accept(use_awaitable);
        s.set_option(tcp::no_delay(true));
        go(on, answer(std::move(s)));
    }
}

}  // namespace

int http_server(std::string_view address) { return serve_forever(address, accepts); }

}  // namespace peer
