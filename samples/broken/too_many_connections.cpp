// Connections that are never closed, until no descriptor is left.
#include "broken.hpp"

#include <ringo/go.hpp>
#include <ringo/metrics.hpp>
#include <ringo/net.hpp>
#include <ringo/result.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>

namespace {

namespace net = ringo::net;

ringo::task<> serve(net::listener l) {
    std::vector<net::conn> all;
    while (true) {
        all.push_back(co_await l.accept());  // wrong: who has gone stays here
    }
}

}  // namespace

ringo::task<> too_many_connections() {
    const rlimit few{64, 64};
    ::setrlimit(RLIMIT_NOFILE, &few);
    net::listener l = net::listen("127.0.0.1:0");
    const std::string address = l.local().to_string();
    ringo::go(serve, std::move(l));
    for (int i = 0; i < 80; ++i) {
        const auto c = co_await ringo::as_result(net::dial(address));
    }
    co_await ringo::sleep(std::chrono::milliseconds(20));
    const ringo::metrics m = ringo::debug::metrics();
    for (const auto& failure : m.cores[0].errors) {
        std::fprintf(stderr, "kernel operations that failed: %s\n", failure.error.c_str());
    }
}
