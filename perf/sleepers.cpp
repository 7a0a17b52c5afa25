// What does a sleeping goroutine cost, in memory and in time?    sleepers [COUNT]
//
// COUNT goroutines sleep until the same instant; resident memory is read when all
// of them do.
#include "bench.hpp"

#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

namespace {

long ended = 0;

ringo::task<> co_main(long count) {
    bench::rounds memory("asleep, each", count, "bytes");
    bench::rounds starting("fall asleep, CPU", count);
    bench::rounds waking("wake and end, CPU", count);
    const auto before = bench::resident_bytes();
    const auto start = bench::cpu_ns();
    const auto until =
        ringo::clock::now() + std::chrono::milliseconds(50) + count * std::chrono::microseconds(8);
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
    memory.add(bench::resident_bytes() - before);
    const auto asleep = bench::cpu_ns();
    starting.add(asleep - start);
    co_await ringo::sleep_until(until);
    while (ringo::num_goroutines() > 1) {
        co_await ringo::yield();
    }
    waking.add(bench::cpu_ns() - asleep);
    memory.print(count);
    starting.print(count);
    waking.print(ended);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(co_main(bench::argument(argc, argv, 1, 1'000'000)), {.cores = 1});
}
