// What does a channel cost between two cores?    two_cores [COUNT] [ROUNDS]
//
// "Busy": a goroutine on each core yields all the time, so that neither sleeps.
#include "bench.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/wait_group.hpp>

#include <atomic>

namespace {

using ringo::chan;
using ringo::on;
using ringo::task;

task<> echo(chan<long> in, chan<long> out) {
    while (const auto v = co_await in.recv()) {
        co_await out.send(*v + 1);
    }
}

task<long> ping_pong(long count) {
    const chan<long> there;
    const chan<long> back;
    ringo::go(on(1), echo, there, back);
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        co_await there.send(i);
        sum += *co_await back.recv();
    }
    there.close();
    co_return sum;
}

task<> produce(chan<long> c, long count) {
    for (long i = 0; i < count; ++i) {
        co_await c.send(i);
    }
}

task<> consume(chan<long> c, std::atomic<long>& total) {
    long sum = 0;
    while (const auto v = co_await c.recv()) {
        sum += *v;
    }
    total += sum;
}

/// `pairs` producers on core 0, or spread, and as many consumers on core 1, or spread.
task<long> stream(long count, int pairs) {
    const chan<long> c(128);
    std::atomic<long> total = 0;
    ringo::wait_group producers;
    ringo::wait_group consumers;
    for (int i = 0; i < pairs; ++i) {
        producers.go(on(static_cast<std::size_t>(i) % 2), produce, c, count / pairs);
        consumers.go(on(static_cast<std::size_t>(i + 1) % 2), consume, c, std::ref(total));
    }
    co_await producers.wait();
    c.close();
    co_await consumers.wait();
    co_return total;
}

task<long> buffered(long count) { return stream(count, 1); }
task<long> two_by_two(long count) { return stream(count, 2); }

task<> keep_busy(const std::atomic<bool>& stop) {
    while (!stop) {
        co_await ringo::yield();
    }
}

task<> co_main(long count, long repeat) {
    co_await bench::measure("ping-pong, round trip", &ping_pong, count / 20, repeat);
    co_await bench::measure("buffered 128, item", &buffered, count, repeat);
    co_await bench::measure("2 to 2, buffered 128, item", &two_by_two, count, repeat);
    std::atomic<bool> stop = false;
    ringo::wait_group busy;
    busy.go(on(0), keep_busy, std::cref(stop));
    busy.go(on(1), keep_busy, std::cref(stop));
    co_await bench::measure("busy: ping-pong", &ping_pong, count / 4, repeat);
    co_await bench::measure("busy: buffered 128, item", &buffered, count, repeat);
    stop = true;
    co_await busy.wait();
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 5)),
        {.cores = 2});
}
