// UDP: a server on every core that sends back what it receives, or a client of one.
//     udp_echo [ADDRESS]          serves; ADDRESS is 127.0.0.1:7777 unless given
//     udp_echo --ask ADDRESS TEXT sends TEXT, up to three times, and prints the answer
//
// Ctrl-C ends the server.
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/net.hpp>
#include <ringo/os.hpp>
#include <ringo/result.hpp>
#include <ringo/run.hpp>
#include <ringo/task_group.hpp>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ringo::task;
namespace net = ringo::net;

constexpr std::size_t datagram_max = 65535;

task<> echo(net::udp_socket s) {
    std::vector<char> buffer(datagram_max);
    while (true) {
        const net::datagram d = co_await s.recv_from(buffer);
        // A client that cannot be reached is no reason to stop.
        const auto sent = co_await ringo::as_result(s.send_to({buffer.data(), d.bytes}, d.from));
        if (!sent && sent.error() == std::errc::operation_canceled) {
            co_return;
        }
    }
}

task<int> serve(std::string address) {
    // A socket per core; the kernel gives each client to one of them.
    std::vector<net::udp_socket> sockets;
    sockets.push_back(net::listen_udp(address, {.reuse_port = true}));
    const net::endpoint where = sockets.front().local();
    while (sockets.size() < ringo::cores()) {
        sockets.push_back(net::listen_udp(where, {.reuse_port = true}));
    }
    std::printf("listening %s, %zu cores (Ctrl-C ends)\n", where.to_string().c_str(),
                ringo::cores());
    std::fflush(stdout);

    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    ringo::task_group servers(interrupted);
    for (std::size_t core = 0; core < sockets.size(); ++core) {
        servers.go(ringo::on(core), echo, std::move(sockets[core]));
    }
    try {
        co_await servers.wait();
    } catch (const ringo::cancelled&) {
    }
    co_return 0;
}

task<int> ask(std::string address, std::string text) {
    net::udp_socket s = co_await net::dial_udp(std::move(address));
    std::vector<char> buffer(datagram_max);
    for (int attempt = 1; attempt <= 3; ++attempt) {
        co_await s.send(text);
        // Datagrams get lost.
        const auto n = co_await ringo::as_result(ringo::timeout(1s, s.recv(buffer)));
        if (n) {
            std::printf("%.*s\n", static_cast<int>(*n), buffer.data());
            co_return 0;
        }
        if (n.error() != std::errc::timed_out) {
            throw std::system_error(n.error(), s.remote().to_string());
        }
    }
    std::fprintf(stderr, "udp_echo: %s does not answer\n", s.remote().to_string().c_str());
    co_return 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        if (argc == 4 && std::string_view(argv[1]) == "--ask") {
            return ringo::run(ask(argv[2], argv[3]));
        }
        if (argc <= 2) {
            return ringo::run(serve(argc == 2 ? argv[1] : "127.0.0.1:7777"));
        }
    } catch (const std::exception& e) {
        std::fprintf(stderr, "udp_echo: %s\n", e.what());
        return 1;
    }
    std::fputs("usage: udp_echo [ADDRESS]\n       udp_echo --ask ADDRESS TEXT\n", stderr);
    return 2;
}
