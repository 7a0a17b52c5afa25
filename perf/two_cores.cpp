// What does a channel cost between two cores?    two_cores [COUNT] [ROUNDS]
//
// By default a goroutine stays with the one that started it. "Apart": the partners are on different
// cores. "Busy": a goroutine on each core also yields all the time, so that neither sleeps.
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

task<long> ping_pong(long count, std::size_t partner) {
    const chan<long> there;
    const chan<long> back;
    ringo::go(on(partner), echo, there, back);
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

/// `pairs` producers and as many consumers. Apart: those of a pair on different cores.
task<long> stream(long count, int pairs, bool apart) {
    const chan<long> c(128);
    std::atomic<long> total = 0;
    ringo::wait_group producers;
    ringo::wait_group consumers;
    for (int i = 0; i < pairs; ++i) {
        const auto core = static_cast<std::size_t>(i) % 2;
        producers.go(on(core), produce, c, count / pairs);
        consumers.go(on(apart ? 1 - core : core), consume, c, std::ref(total));
    }
    co_await producers.wait();
    c.close();
    co_await consumers.wait();
    co_return total;
}

task<long> ping_pong_together(long count) { return ping_pong(count, 0); }
task<long> ping_pong_apart(long count) { return ping_pong(count, 1); }
task<long> buffered_together(long count) { return stream(count, 1, false); }
task<long> buffered_apart(long count) { return stream(count, 1, true); }
task<long> two_by_two(long count) { return stream(count, 2, true); }

task<> keep_busy(const std::atomic<bool>& stop) {
    while (!stop) {
        co_await ringo::yield();
    }
}

task<> co_main(long count, long repeat) {
    co_await bench::measure("2 cores: ping-pong", &ping_pong_together, count / 20, repeat);
    co_await bench::measure("2 cores: buffered 128, item", &buffered_together, count, repeat);
    co_await bench::measure("2 cores: 2 to 2, item", &two_by_two, count, repeat);
    co_await bench::measure("apart: ping-pong", &ping_pong_apart, count / 20, repeat);
    co_await bench::measure("apart: buffered 128, item", &buffered_apart, count, repeat);
    std::atomic<bool> stop = false;
    ringo::wait_group busy;
    busy.go(on(0), keep_busy, std::cref(stop));
    busy.go(on(1), keep_busy, std::cref(stop));
    co_await bench::measure("busy: ping-pong", &ping_pong_apart, count / 4, repeat);
    co_await bench::measure("busy: buffered 128, item", &buffered_apart, count, repeat);
    stop = true;
    co_await busy.wait();
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 5)),
        {.cores = 2});
}
