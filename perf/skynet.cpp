// A tree of goroutines, ten children each, whose leaves send their numbers up through channels.
//     skynet [LEAVES] [ROUNDS] [CORES]
#include "bench.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>

namespace {

using ringo::chan;
using ringo::send_chan;
using ringo::task;

/// Spread: the children of the root may go to any core, with all that they start.
task<> node(send_chan<long> up, long number, long size, bool spread) {
    if (size == 1) {
        co_await up.send(number);
        co_return;
    }
    const chan<long> from_children;
    for (long i = 0; i < 10; ++i) {
        const long first = number + i * (size / 10);
        if (spread) {
            ringo::go(ringo::anywhere, node, from_children, first, size / 10, false);
        } else {
            ringo::go(node, from_children, first, size / 10, false);
        }
    }
    long sum = 0;
    for (int i = 0; i < 10; ++i) {
        sum += *co_await from_children.recv();
    }
    co_await up.send(sum);
}

task<> co_main(long leaves, long repeat) {
    bench::rounds r("skynet, a leaf", leaves);
    long checksum = 0;
    for (long i = 0; i < repeat; ++i) {
        const auto start = bench::wall_ns();
        const chan<long> result;
        ringo::go(node, result, 0L, leaves, ringo::cores() > 1);
        checksum += *co_await result.recv();
        r.add(bench::wall_ns() - start);
    }
    r.print(checksum);
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 5)),
        {.cores = static_cast<unsigned>(bench::argument(argc, argv, 3, 1))});
}
