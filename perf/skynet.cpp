// A tree of goroutines, ten children each, whose leaves send their numbers up through channels.
//     skynet [LEAVES] [ROUNDS]
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

task<long> skynet(long leaves) {
    const chan<long> result;
    ringo::go(node, result, 0L, leaves, ringo::cores() > 1);
    co_return *co_await result.recv();
}

}  // namespace

int main(int argc, char** argv) {
    const long leaves = bench::argument(argc, argv, 1, 1'000'000);
    const long repeat = bench::argument(argc, argv, 2, 5);
    ringo::run(bench::measure("skynet, a leaf", &skynet, leaves, repeat), {.cores = 1});
    ringo::run(bench::measure("skynet on 2 cores, a leaf", &skynet, leaves, repeat), {.cores = 2});
}
