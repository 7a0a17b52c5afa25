// What does an arm of a select over many channels cost?    select_many [ARMS] [ROUNDS]
#include "bench.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>

#include <span>
#include <vector>

namespace {

using ringo::chan;
using ringo::task;

task<> produce(std::span<chan<long>> to, long selects) {
    for (long i = 0; i < selects; ++i) {
        co_await to[static_cast<std::size_t>(i * 7919) % to.size()].send(i);
    }
}

/// Each waits for all the channels, then one of them gets a value.
task<> co_main(long arms, long repeat) {
    constexpr long selects = 20;
    bench::rounds r("select of n, an arm", arms);
    std::vector<chan<long>> from(static_cast<std::size_t>(arms));
    long sum = 0;
    for (long round = 0; round < repeat; ++round) {
        const auto start = bench::wall_ns();
        ringo::go(produce, std::span(from), selects);
        for (long i = 0; i < selects; ++i) {
            sum += *(co_await ringo::select(std::span(from))).second;
        }
        r.add((bench::wall_ns() - start) / selects);
    }
    r.print(sum);
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(co_main(bench::argument(argc, argv, 1, 1000), bench::argument(argc, argv, 2, 7)),
               {.cores = 1});
}
