// What does a timer cost?    timers [COUNT] [ROUNDS]
//
// COUNT goroutines sleep 1 to 100 ms each; CPU per timer, everything included.
#include "bench.hpp"

#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

namespace {

long ended = 0;

ringo::task<> co_main(long count, long repeat) {
    bench::rounds r("timer 1-100 ms, CPU", count);
    for (long round = 0; round < repeat; ++round) {
        const auto start = bench::cpu_ns();
        std::uint32_t random = 1;
        for (long i = 0; i < count; ++i) {
            random = random * 1664525 + 1013904223;
            ringo::go([ms = 1 + (random >> 8) % 100]() -> ringo::task<> {
                co_await ringo::sleep(std::chrono::milliseconds(ms));
                ++ended;
            });
        }
        while (ringo::num_goroutines() > 1) {
            co_await ringo::sleep(std::chrono::milliseconds(1));
        }
        r.add(bench::cpu_ns() - start);
    }
    r.print(ended);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
