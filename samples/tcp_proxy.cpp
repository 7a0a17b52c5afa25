// A TCP proxy: passes on each connection, both ways.    tcp_proxy LISTEN TARGET [IDLE_SECONDS]
//
// When one side says that it will send no more, the other hears that, and may go on. A connection
// in which nothing has moved for IDLE_SECONDS (60) is closed. Ctrl-C drains and ends.
#include <ringo/buffer.hpp>
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/io.hpp>
#include <ringo/net.hpp>
#include <ringo/os.hpp>
#include <ringo/run.hpp>
#include <ringo/timer.hpp>
#include <ringo/when.hpp>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

namespace io = ringo::io;
namespace net = ringo::net;
using ringo::task;
using namespace std::chrono_literals;

struct settings {
    std::string listen;
    std::string target;
    std::chrono::seconds idle_max{60};
};

constexpr auto dial_time_max = 10s;
constexpr net::serve_options options{.drain = 2s, .connections_max = 10'000};

/// A connection's reading side, which says each time that something has moved.
class watched {
public:
    watched(net::conn& from, ringo::timer& idle, std::chrono::seconds idle_max)
        : from_(from), idle_(idle), idle_max_(idle_max) {}

    task<std::size_t> read(ringo::mutable_buffer into) {
        const std::size_t n = co_await from_.read(into);
        idle_.reset(idle_max_);
        co_return n;
    }

private:
    net::conn& from_;
    ringo::timer& idle_;
    std::chrono::seconds idle_max_;
};

task<> pass_on(net::conn& to, watched from) {
    co_await io::copy(to, from);
    to.close_write();
}

/// Both ways, until both have ended. When one fails, the other is given up.
task<> pass_both(net::conn& client, net::conn& server, ringo::timer& idle,
                 std::chrono::seconds idle_max) {
    co_await ringo::when_all(pass_on(server, watched(client, idle, idle_max)),
                             pass_on(client, watched(server, idle, idle_max)));
}

task<> expire(ringo::timer& idle) { co_await idle; }

task<net::conn> dial(const settings& s) {
    try {
        co_return co_await ringo::timeout(dial_time_max, net::dial(s.target));
    } catch (const std::system_error& e) {
        std::fprintf(stderr, "tcp_proxy: %s\n", e.what());
        throw;
    }
}

task<> proxy(net::conn client, const settings& s) {
    try {
        net::conn server = co_await dial(s);
        ringo::timer idle(s.idle_max);
        co_await ringo::when_any(pass_both(client, server, idle, s.idle_max), expire(idle));
    } catch (const ringo::cancelled&) {
        throw;
    } catch (const std::system_error&) {
        // Where one side breaks off, so does the other.
    }
}

task<int> co_main(const settings& s) {
    std::vector<net::listener> listeners = net::listen_on_cores(s.listen);
    std::printf("listening %s, %zu cores (Ctrl-C drains and ends)\n",
                listeners.front().local().to_string().c_str(), ringo::cores());
    std::fflush(stdout);

    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    const auto handler = [&s](net::conn c) { return proxy(std::move(c), s); };
    try {
        co_await ringo::within(interrupted, net::serve(std::move(listeners), handler, options));
    } catch (const ringo::cancelled&) {
        std::puts("drained");
    }
    co_return 0;
}

settings parse(int argc, char** argv) {
    if (argc < 3 || argc > 4) {
        throw std::invalid_argument("usage: tcp_proxy LISTEN TARGET [IDLE_SECONDS]");
    }
    settings s{argv[1], argv[2]};
    if (argc == 4) {
        const std::string_view text = argv[3];
        const char* const end = text.data() + text.size();
        std::uint32_t seconds = 0;
        const auto [rest, error] = std::from_chars(text.data(), end, seconds);
        if (error != std::errc() || rest != end || seconds == 0) {
            throw std::invalid_argument("IDLE_SECONDS must be a number from 1 on");
        }
        s.idle_max = std::chrono::seconds(seconds);
    }
    return s;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const settings s = parse(argc, argv);
        return ringo::run(co_main(s));
    } catch (const std::invalid_argument& e) {
        std::fprintf(stderr, "tcp_proxy: %s\n", e.what());
        return 2;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "tcp_proxy: %s\n", e.what());
        return 1;
    }
}
