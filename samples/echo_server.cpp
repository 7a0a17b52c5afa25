// A TCP echo server on every core.    echo_server [ADDRESS]
//
// ADDRESS is 127.0.0.1:7777 unless given; port 0 lets the system choose. Ctrl-C drains and ends.
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/net.hpp>
#include <ringo/os.hpp>
#include <ringo/run.hpp>

#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>
#include <vector>

namespace {

ringo::task<> echo(ringo::net::conn c) {
    try {
        while (ringo::net::lease bytes = co_await c.recv()) {
            co_await c.write(bytes);
        }
    } catch (const ringo::cancelled&) {
        throw;
    } catch (const std::system_error&) {
        // The peer is gone; so is this connection.
    }
}

ringo::task<int> co_main(std::string address) {
    namespace net = ringo::net;
    std::vector<net::listener> listeners = net::listen_on_cores(address);
    std::printf("listening %s, %zu cores (Ctrl-C drains and ends)\n",
                listeners.front().local().to_string().c_str(), ringo::cores());
    std::fflush(stdout);

    auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    try {
        co_await ringo::within(interrupted, net::serve(std::move(listeners), echo));
    } catch (const ringo::cancelled&) {
        std::puts("drained");
    }
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return ringo::run(co_main(argc > 1 ? argv[1] : "127.0.0.1:7777"));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "echo_server: %s\n", e.what());
        return 1;
    }
}
