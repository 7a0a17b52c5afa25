// A request has a deadline, and is over long after it.
#include "broken.hpp"

#include <ringo/context.hpp>
#include <ringo/debug.hpp>
#include <ringo/go.hpp>
#include <ringo/result.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <cstdio>

namespace {

using namespace std::chrono_literals;

ringo::task<> query() { co_await ringo::sleep(500ms); }

ringo::task<> handle() {
    co_await ringo::shield(query());  // wrong: the shield keeps the deadline out
}

ringo::task<> request() {
    const auto begin = ringo::now();
    (void)co_await ringo::as_result(ringo::timeout(20ms, handle()));
    std::fputs(ringo::now() - begin < 400ms ? "in time\n" : "too late\n", stderr);
}

}  // namespace

ringo::task<> cancelled_too_late() {
    auto one = ringo::spawn(request);
    co_await ringo::sleep(60ms);
    ringo::debug::print();
    co_await one;
}
