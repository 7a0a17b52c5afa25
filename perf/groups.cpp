// What do groups cost, per member and per group?    groups [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/run.hpp>
#include <ringo/singleflight.hpp>
#include <ringo/task_group.hpp>
#include <ringo/when.hpp>

#include <algorithm>

namespace {

long ended = 0;

ringo::task<> empty() {
    ++ended;
    co_return;
}
ringo::task<int> one() { co_return 1; }

ringo::task<> groups_of_100(long count, std::size_t limit) {
    for (long i = 0; i < count; i += 100) {
        ringo::task_group g;
        g.limit(limit);
        for (long n = std::min(100L, count - i); n > 0; --n) {
            g.go(empty);
        }
        co_await g.wait();
    }
}
ringo::task<> unlimited(long count) { return groups_of_100(count, ringo::task_group::unlimited); }
ringo::task<> limited(long count) { return groups_of_100(count, 10); }

ringo::task<> all_of_two(long count) {
    for (long i = 0; i < count; ++i) {
        const auto r = co_await ringo::when_all(one(), one());
        ended += std::get<1>(r);
    }
}

ringo::task<> any_of_two(long count) {
    for (long i = 0; i < count; ++i) {
        const auto r = co_await ringo::when_any(one(), one());
        ended += static_cast<long>(r.index()) + 1;
    }
}

ringo::task<> flights(long count) {
    ringo::singleflight<long, int> f;
    for (long i = 0; i < count; ++i) {
        ended += co_await f.call(i, one);
    }
}

ringo::task<> measure(const char* name, ringo::task<> (*work)(long), long count, long repeat) {
    bench::rounds r(name, count);
    ended = 0;
    for (long i = 0; i < repeat; ++i) {
        const auto start = bench::wall_ns();
        co_await work(count);
        r.add(bench::wall_ns() - start);
    }
    r.print(ended);
}

ringo::task<> co_main(long count, long repeat) {
    co_await measure("task_group, a member of 100", &unlimited, count, repeat);
    co_await measure("... with a limit of 10", &limited, count, repeat);
    co_await measure("when_all of two", &all_of_two, count, repeat);
    co_await measure("when_any of two", &any_of_two, count, repeat);
    co_await measure("singleflight, alone", &flights, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
