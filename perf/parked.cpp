// What does a goroutine that waits on a channel take, and its waking?    parked [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>

namespace {

using ringo::chan;
using ringo::task;

task<> co_main(long count, long repeat) {
    bench::rounds waking("closed, wake each", count);
    bench::rounds memory("parked on a channel, each", count, "bytes");
    const auto before = bench::resident_bytes();
    long woken = 0;
    for (long round = 0; round < repeat; ++round) {
        const chan<long> gate;
        for (long i = 0; i < count; ++i) {
            ringo::go([&gate, &woken]() -> task<> { woken += co_await gate.recv() ? 0 : 1; });
        }
        co_await ringo::yield();  // all have run, and wait
        if (round == 0) {
            memory.add(bench::resident_bytes() - before);
        }
        const auto start = bench::wall_ns();
        gate.close();
        while (woken != (round + 1) * count) {
            co_await ringo::yield();
        }
        waking.add(bench::wall_ns() - start);
    }
    memory.print(count);
    waking.print(woken);
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 5)),
        {.cores = 1});
}
