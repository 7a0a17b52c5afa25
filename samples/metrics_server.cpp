// A program at work whose numbers Prometheus can scrape.    metrics_server [ADDRESS]
//
// ADDRESS is 127.0.0.1:9464 unless given; port 0 lets the system choose. GET /metrics shows them:
//     curl http://127.0.0.1:9464/metrics
// Ctrl-C ends it.
#include <ringo/chan.hpp>
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/io.hpp>
#include <ringo/metrics.hpp>
#include <ringo/net.hpp>
#include <ringo/os.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using ringo::chan;
using ringo::task;

/// Something to count: jobs that come a few hundred times a second, for workers on all cores.
task<> work(chan<int> jobs) {
    while (const auto job = co_await jobs.recv()) {
        co_await ringo::sleep(std::chrono::milliseconds(10 + *job % 20));
    }
}

task<> make_jobs() {
    const chan<int> jobs(64);
    for (int i = 0; i < 16; ++i) {
        ringo::go(ringo::anywhere, work, jobs);
    }
    for (int job = 0;; ++job) {
        co_await jobs.send(job);
        co_await ringo::sleep(std::chrono::milliseconds(2));
    }
}

std::string response(std::string_view status, std::string_view type, std::string_view body) {
    std::string text = "HTTP/1.1 ";
    text.append(status).append("\r\nContent-Type: ").append(type);
    text.append("\r\nContent-Length: ").append(std::to_string(body.size()));
    return text.append("\r\nConnection: close\r\n\r\n").append(body);
}

std::string answer(std::string_view request) {
    if (request.substr(0, 13) != "GET /metrics ") {
        return response("404 Not Found", "text/plain", "only GET /metrics\n");
    }
    std::string numbers;
    ringo::debug::write_prometheus(numbers);
    return response("200 OK", "text/plain; version=0.0.4", numbers);
}

/// One request per connection is enough for a scraper.
task<> handle(ringo::net::conn c) {
    try {
        ringo::io::buffered_reader<ringo::net::conn> in(c);
        const auto first = co_await ringo::timeout(std::chrono::seconds(10), in.read_line());
        const std::string request(first.value_or(""));
        for (auto line = co_await in.read_line(); line && !line->empty();) {
            line = co_await in.read_line();
        }
        co_await c.write(answer(request));
        c.close_write();
    } catch (const ringo::cancelled&) {
        throw;
    } catch (const std::system_error&) {
        // The peer is gone, or too slow; so is this connection.
    }
}

task<int> co_main(std::string address) {
    namespace net = ringo::net;
    std::vector<net::listener> listeners = net::listen_on_cores(address);
    std::printf("listening %s\n", listeners.front().local().to_string().c_str());
    std::fflush(stdout);
    ringo::go(make_jobs);
    auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    try {
        co_await ringo::within(interrupted, net::serve(std::move(listeners), handle));
    } catch (const ringo::cancelled&) {
        std::puts("drained");
    }
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return ringo::run(co_main(argc > 1 ? argv[1] : "127.0.0.1:9464"));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "metrics_server: %s\n", e.what());
        return 1;
    }
}
