// One goroutine computes for long, and the others of its core wait.
#include "broken.hpp"

#include <ringo/go.hpp>
#include <ringo/metrics.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <cstdio>

namespace {

ringo::task<> compress() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1200);
    while (std::chrono::steady_clock::now() < end) {
        // wrong: no yield, and not in `blocking`
    }
    co_return;
}

}  // namespace

ringo::task<> starved_core() {
    ringo::go(compress);
    co_await ringo::sleep(std::chrono::milliseconds(1));
    using histogram = ringo::metrics::histogram;
    const histogram turns = ringo::debug::metrics().cores[0].turn_time;
    for (std::size_t i = 1; i < histogram::bucket_count; ++i) {
        if (turns.buckets[i] != 0 && histogram::limit(i - 1) >= std::chrono::milliseconds(500)) {
            std::fputs("there was a turn of more than half a second\n", stderr);
        }
    }
}
