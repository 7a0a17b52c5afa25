// A chat room over TCP: what one says, all others hear.    chat [ADDRESS]
//
// ADDRESS is 127.0.0.1:7778 unless given; port 0 lets the system choose. `nc 127.0.0.1 7778` is a
// client. Ctrl-C ends the room.
#include <ringo/chan.hpp>
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/net.hpp>
#include <ringo/os.hpp>
#include <ringo/result.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>

#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace {

using ringo::chan;
using ringo::recv_chan;
using ringo::task;
using line = std::shared_ptr<const std::string>;  // one text for all who hear it

/// What a client has of the room, and the room of a client.
struct room {
    chan<chan<line>> entering;
    chan<chan<line>> leaving;
    chan<line> messages;
};

/// The one goroutine that knows who is there.
task<> run_room(room r) {
    std::vector<chan<line>> members;
    while (true) {
        const auto event =
            co_await ringo::select(r.entering.recv(), r.leaving.recv(), r.messages.recv());
        if (event.index() == 0) {
            members.push_back(*std::get<0>(event));
        } else if (event.index() == 1) {
            std::erase(members, *std::get<1>(event));
            std::get<1>(event)->close();
        } else {
            for (const chan<line>& member : members) {
                member.try_send(*std::get<2>(event));  // who hears too slowly misses it
            }
        }
    }
}

task<> hear(ringo::net::conn& c, recv_chan<line> heard) {
    while (const auto text = co_await heard.recv()) {
        co_await c.write(**text);
    }
}

/// Passes on what the client says, line by line, until it goes.
task<> say(ringo::net::conn& c, room& r, const std::string& name) {
    constexpr std::size_t line_max = 1000;
    std::string begun;
    std::array<char, 4096> buffer;
    while (const std::size_t n = co_await c.read(buffer)) {
        for (std::size_t i = 0; i < n; ++i) {
            begun += buffer[i];
            if (buffer[i] == '\n' || begun.size() == line_max) {
                co_await r.messages.send(std::make_shared<const std::string>(name + ": " + begun));
                begun.clear();
            }
        }
    }
}

task<> announce(room& r, const std::string& text) {
    co_await r.messages.send(std::make_shared<const std::string>(text));
}

task<> visit(ringo::net::conn c, room r) {
    const std::string name = c.remote().to_string();
    const chan<line> heard(64);
    auto hearing = ringo::spawn(hear, std::ref(c), heard);
    co_await r.entering.send(heard);
    co_await announce(r, name + " has come\n");
    co_await ringo::as_result(say(c, r, name));  // until it is gone, reset or cancelled
    co_await ringo::shield(r.leaving.send(heard));
    co_await ringo::shield(announce(r, name + " has gone\n"));
    co_await ringo::as_result(hearing);
}

task<int> co_main(std::string address) {
    namespace net = ringo::net;
    std::vector<net::listener> listeners = net::listen_on_cores(address);
    std::printf("listening %s (Ctrl-C ends)\n", listeners.front().local().to_string().c_str());
    std::fflush(stdout);

    const room r;
    auto open = ringo::spawn(run_room, r);
    auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    const auto handler = [r](net::conn c) { return visit(std::move(c), r); };  // named: see README
    try {
        co_await ringo::within(interrupted, net::serve(std::move(listeners), handler));
    } catch (const ringo::cancelled&) {
        std::puts("closed");
    }
    open.cancel();
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return ringo::run(co_main(argc > 1 ? argv[1] : "127.0.0.1:7778"));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "chat: %s\n", e.what());
        return 1;
    }
}
