// What does a sleeping goroutine cost, in memory and in time?    sleepers [COUNT] [SECONDS]
//
// COUNT goroutines sleep for SECONDS; resident memory is read when all of them do.
#include "bench.hpp"

#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

namespace {

long ended = 0;

ringo::task<> co_main(long count, long seconds) {
    const long before = bench::resident_bytes();
    const auto cpu = bench::cpu_ns();
    const auto until = ringo::clock::now() + std::chrono::seconds(seconds);
    for (long i = 0; i < count; ++i) {
        ringo::go([until]() -> ringo::task<> {
            co_await ringo::sleep_until(until);
            ++ended;
        });
        if (i % 1000 == 999) {
            co_await ringo::yield();
        }
    }
    co_await ringo::yield();
    const double bytes = static_cast<double>(bench::resident_bytes() - before);
    const double start_ns = static_cast<double>(bench::cpu_ns() - cpu);
    const auto parked = bench::cpu_ns();
    while (ringo::num_goroutines() > 1) {
        co_await ringo::sleep(std::chrono::milliseconds(1));
    }
    std::printf(
        "%ld sleepers: %.1f bytes each, %.0f MiB; CPU each: %.0f ns to start, %.0f ns to wake "
        "and end; checksum %ld\n",
        count, bytes / static_cast<double>(count), bytes / (1 << 20),
        start_ns / static_cast<double>(count),
        static_cast<double>(bench::cpu_ns() - parked) / static_cast<double>(count), ended);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 3)),
        {.cores = 1});
}
