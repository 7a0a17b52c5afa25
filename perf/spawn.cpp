// What does a goroutine cost, from `go` to its end?    spawn [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/wait_group.hpp>

namespace {

using ringo::task;

long ended = 0;

task<> empty() {
    ++ended;
    co_return;
}

task<long> one_by_one(long count) {
    ended = 0;
    for (long i = 0; i < count; ++i) {
        ringo::go(empty);
        co_await ringo::yield();
    }
    co_return ended;
}

task<long> all_at_once(long count) {
    ended = 0;
    for (long i = 0; i < count; ++i) {
        ringo::go(empty);
    }
    while (ringo::num_goroutines() > 1) {
        co_await ringo::yield();
    }
    co_return ended;
}

task<long> hundreds(long count) {
    long sum = 0;
    for (long i = 0; i < count; i += 100) {
        sum += co_await all_at_once(std::min(100L, count - i));
    }
    co_return sum;
}

task<long> joined(long count) {
    ended = 0;
    for (long i = 0; i < count; ++i) {
        co_await ringo::spawn(empty);
    }
    co_return ended;
}

task<long> grouped(long count) {
    ended = 0;
    ringo::wait_group group;
    for (long i = 0; i < count; ++i) {
        group.go(empty);
    }
    co_await group.wait();
    co_return ended;
}

task<> co_main(long count, long repeat) {
    co_await bench::measure("go+end, one by one, +yield", &one_by_one, count, repeat);
    co_await bench::measure("go+end, 100 at once", &hundreds, count, repeat);
    co_await bench::measure("go+end, all at once", &all_at_once, count, repeat);
    co_await bench::measure("spawn+join, one by one", &joined, count, repeat);
    co_await bench::measure("spawn+join, all at once", &grouped, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
