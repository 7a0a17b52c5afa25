// debug: goroutines that wait for descriptors, and those of a server.
#include <doctest/doctest.h>

#include "contains.hpp"

#include <ringo/context.hpp>
#include <ringo/debug.hpp>
#include <ringo/event.hpp>
#include <ringo/go.hpp>
#include <ringo/io/pipe.hpp>
#include <ringo/net/dial.hpp>
#include <ringo/net/listener.hpp>
#include <ringo/net/serve.hpp>
#include <ringo/net/udp.hpp>
#include <ringo/result.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

using namespace std::chrono_literals;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::contains;
namespace debug = ringo::debug;

namespace {

/// The state of the goroutine that was made in `line` of this file.
std::string state_of(unsigned line) {
    for (const debug::goroutine& g : debug::goroutines()) {
        if (g.made_at.line == line && contains(g.made_at.file, "debug_io.cpp")) {
            return g.state;
        }
    }
    FAIL("no goroutine of line " << line);
    return {};
}

/// `io accept fd 7 127.0.0.1:80`
void check_state(unsigned line, const std::string& what, const std::string& object) {
    const std::string state = state_of(line);
    CAPTURE(state);
    CHECK(state.substr(0, what.size() + 7) == "io " + what + " fd ");
    CHECK(contains(state, ' ' + object));
}

}  // namespace

TEST_CASE("goroutines_of_a_server_name_the_call_of_serve") {
    ringo::run([]() -> task<> {
        auto all = ringo::net::listen_on_cores("127.0.0.1:0");
        const std::string address = all.front().local().to_string();
        ringo::event served;
        const auto handler = [&served](ringo::net::conn c) -> task<> {
            std::byte b{};
            (void)co_await c.read(ringo::mutable_buffer(&b, 1));
            served.set();
        };
        auto ends = ringo::with_cancel(ringo::this_context());
        const unsigned line = __LINE__ + 2;
        auto serving = spawn(ringo::with(ends), [&all, handler]() -> task<> {
            co_await ringo::net::serve(std::move(all), handler);
        });
        auto client = co_await ringo::net::dial(address);
        const auto reads = [] {
            for (const debug::goroutine& g : debug::goroutines()) {
                if (g.made_at.line == line && contains(g.state, "read")) {
                    return contains(g.made_at.file, "debug_io.cpp");
                }
            }
            return false;
        };
        while (!reads()) {
            co_await ringo::sleep(1ms);
        }
        co_await client.close();
        co_await served.wait();
        ends.cancel();
        (void)co_await ringo::as_result(serving);
    });
}

TEST_CASE("a_read_names_its_descriptor_and_its_peer") {
    ringo::run([]() -> task<> {
        auto l = ringo::net::listen("127.0.0.1:0");
        auto client = co_await ringo::net::dial(l.local().to_string());
        auto server = co_await l.accept();
        const std::string peer = client.local().to_string();
        const unsigned line = __LINE__ + 1;
        auto reading = spawn([&]() -> task<> {
            std::byte b{};
            (void)co_await server.read(ringo::mutable_buffer(&b, 1));
        });
        co_await yield();
        check_state(line, "read", peer);
        co_await client.close();
        co_await reading;
    });
}

TEST_CASE("what_waits_for_a_descriptor_names_it_and_its_address_or_path") {
    ringo::run([]() -> task<> {
        auto l = ringo::net::listen("127.0.0.1:0");
        auto udp = ringo::net::listen_udp("127.0.0.1:0");
        auto [reader, writer] = ringo::io::pipe();
        std::byte b[1];
        const ringo::mutable_buffer into(b, 1);
        const unsigned line = __LINE__ + 1;
        auto accepting = spawn([&l]() -> task<> { (void)co_await l.accept(); });
        auto receiving = spawn([&udp, into]() -> task<> { (void)co_await udp.recv_from(into); });
        auto reading = spawn([&r = reader, into]() -> task<> { (void)co_await r.read(into); });
        co_await yield();
        check_state(line, "accept", l.local().to_string());
        check_state(line + 1, "recv", udp.local().to_string());
        check_state(line + 2, "pipe read", "pipe:[");
        for (auto* const waits : {&accepting, &receiving, &reading}) {
            waits->cancel();
            CHECK(!co_await ringo::as_result(*waits));
        }
    });
}
