// What does a goroutine that waits on a channel take, and its waking?    parked [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>

#include <cstdio>

namespace {

using ringo::chan;
using ringo::task;

task<> co_main(long count, long repeat) {
    bench::rounds waking("wake, each", count);
    const long before = bench::resident_bytes();
    double bytes = 0;
    long woken = 0;
    for (long round = 0; round < repeat; ++round) {
        const chan<long> gate;
        for (long i = 0; i < count; ++i) {
            ringo::go([&gate, &woken]() -> task<> { woken += co_await gate.recv() ? 0 : 1; });
        }
        co_await ringo::yield();  // all have run, and wait
        if (round == 0) {
            bytes =
                static_cast<double>(bench::resident_bytes() - before) / static_cast<double>(count);
        }
        const auto start = bench::wall_ns();
        gate.close();
        while (woken != (round + 1) * count) {
            co_await ringo::yield();
        }
        waking.add(bench::wall_ns() - start);
    }
    std::printf("parked on a channel, each    %8.0f bytes resident\n", bytes);
    waking.print(woken);
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 5)),
        {.cores = 1});
}
