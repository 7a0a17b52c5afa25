// What does a channel cost: a round trip, an item, a select?    chan [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>

namespace {

using ringo::chan;
using ringo::task;

task<> echo(chan<long> in, chan<long> out) {
    while (const auto v = co_await in.recv()) {
        co_await out.send(*v + 1);
    }
}

task<> produce(chan<long> c, long first, long count) {
    for (long i = first; i < first + count; ++i) {
        co_await c.send(i);
    }
    c.close();
}

task<long> ping_pong(long count) {
    const chan<long> there;
    const chan<long> back;
    ringo::go(echo, there, back);
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        co_await there.send(i);
        sum += *co_await back.recv();
    }
    there.close();
    co_return sum;
}

task<long> items(long count, std::size_t capacity) {
    const chan<long> c(capacity);
    ringo::go(produce, c, 0L, count);
    long sum = 0;
    while (const auto v = co_await c.recv()) {
        sum += *v;
    }
    co_return sum;
}

task<long> unbuffered(long count) { return items(count, 0); }
task<long> buffered(long count) { return items(count, 128); }

task<long> select_of_two(long count) {
    const chan<long> a(128);
    const chan<long> b(128);
    ringo::go(produce, a, 0L, count / 2);
    ringo::go(produce, b, 1'000'000'000L, count / 2);
    long sum = 0;
    for (int open = 2; open > 0;) {
        auto r = co_await ringo::select(a.recv(), b.recv());
        const auto& v = r.index() == 0 ? std::get<0>(r) : std::get<1>(r);
        if (v) {
            sum += *v;
        } else {
            // As one does in Go, but without a nil channel: the other one alone is left.
            open = 0;
            while (const auto rest = co_await (r.index() == 0 ? b : a).recv()) {
                sum += *rest;
            }
        }
    }
    co_return sum;
}

task<long> select_otherwise(long count) {
    const chan<long> a;
    const chan<long> b;
    long idle = 0;
    for (long i = 0; i < count; ++i) {
        const auto r = co_await ringo::select(a.recv(), b.recv(), ringo::otherwise);
        idle += r.index() == 2 ? 1 : 0;
    }
    co_return idle;
}

task<> measure(const char* name, task<long> (*work)(long), long count, long repeat) {
    bench::rounds r(name, count);
    long checksum = 0;
    for (long i = 0; i < repeat; ++i) {
        const auto start = bench::wall_ns();
        checksum += co_await work(count);
        r.add(bench::wall_ns() - start);
    }
    r.print(checksum);
}

task<> co_main(long count, long repeat) {
    co_await measure("ping-pong, round trip", &ping_pong, count, repeat);
    co_await measure("unbuffered, item", &unbuffered, count, repeat);
    co_await measure("buffered 128, item", &buffered, count, repeat);
    co_await measure("select of 2, item", &select_of_two, count, repeat);
    co_await measure("select, otherwise", &select_otherwise, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 2'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
