// Says which TCP ports of a host somebody listens on.
//     port_scan [HOST [FIRST-LAST]]
//
// HOST is localhost, and the ports 1-1024, unless given. It scans this machine's loopback addresses
// only: other machines have owners who may not like it.
#include <ringo/error.hpp>
#include <ringo/net.hpp>
#include <ringo/result.hpp>
#include <ringo/run.hpp>
#include <ringo/task_group.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ringo::task;
namespace net = ringo::net;

constexpr std::size_t at_once = 256;
constexpr auto patience = 500ms;  // with a port that says nothing

struct port_range {
    std::uint16_t first = 1;
    std::uint16_t last = 1024;
};

task<> probe(std::string host, std::uint16_t port, std::vector<net::endpoint>& open) {
    const std::vector<net::endpoint> where = co_await net::resolve(host, std::to_string(port));
    const auto c = co_await ringo::as_result(ringo::timeout(patience, net::dial(where.front())));
    if (c) {
        open.push_back(where.front());
    }
}

bool is_loopback(const std::string& address) {
    return address == "::1" || address.starts_with("127.");
}

task<int> scan(std::string host, port_range ports) {
    std::vector<net::endpoint> open;
    ringo::task_group probes;
    probes.limit(at_once);
    for (const net::endpoint& e : co_await net::resolve(host)) {
        if (!is_loopback(e.host())) {
            std::fprintf(stderr, "port_scan: %s is not this machine's loopback\n",
                         e.host().c_str());
            co_return 1;
        }
        for (unsigned port = ports.first; port <= ports.last; ++port) {
            probes.go(probe, e.host(), static_cast<std::uint16_t>(port), std::ref(open));
        }
    }
    co_await probes.wait();
    std::sort(open.begin(), open.end(), [](const net::endpoint& a, const net::endpoint& b) {
        return a.port() != b.port() ? a.port() < b.port() : a.host() < b.host();
    });
    for (const net::endpoint& e : open) {
        std::puts(e.to_string().c_str());
    }
    co_return 0;
}

/// "FIRST-LAST"; first is 0 when it is none.
port_range parse(std::string_view text) {
    port_range r;
    const char* const end = text.data() + text.size();
    const auto [dash, error] = std::from_chars(text.data(), end, r.first);
    if (error != std::errc() || dash == end || *dash != '-') {
        return {0, 0};
    }
    const auto [rest, other] = std::from_chars(dash + 1, end, r.last);
    return other == std::errc() && rest == end && r.first <= r.last ? r : port_range{0, 0};
}

}  // namespace

int main(int argc, char** argv) {
    const port_range ports = argc > 2 ? parse(argv[2]) : port_range();
    if (argc > 3 || ports.first == 0) {
        std::fputs("usage: port_scan [HOST [FIRST-LAST]]\n", stderr);
        return 2;
    }
    try {
        return ringo::run(scan(argc > 1 ? argv[1] : "localhost", ports));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "port_scan: %s\n", e.what());
        return 1;
    }
}
