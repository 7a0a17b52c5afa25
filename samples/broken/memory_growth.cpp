// Memory grows: each request leaves a goroutine behind.
#include "broken.hpp"

#include <ringo/context.hpp>
#include <ringo/go.hpp>
#include <ringo/metrics.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <cstdio>

namespace {

ringo::task<> warn_if_slow() {
    co_await ringo::sleep(std::chrono::hours(1));  // wrong: nobody cancels it
    std::fputs("a request takes an hour\n", stderr);
}

ringo::task<> handle() {
    ringo::go(warn_if_slow);
    co_return;
}

}  // namespace

ringo::task<> memory_growth() {
    for (int round = 1; round <= 3; ++round) {
        for (int i = 0; i < 1000; ++i) {
            co_await handle();
        }
        co_await ringo::yield();
        const ringo::metrics m = ringo::debug::metrics();
        std::fprintf(stderr, "%d000 requests: %ju goroutines\n", round,
                     std::uintmax_t{m.goroutines});
    }
}
