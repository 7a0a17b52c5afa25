// What do groups cost, per member and per group?    groups [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/run.hpp>
#include <ringo/singleflight.hpp>
#include <ringo/task_group.hpp>
#include <ringo/when.hpp>

#include <algorithm>
#include <functional>

namespace {

using ringo::task;

task<> counts(long& ended) {
    ++ended;
    co_return;
}
task<int> one() { co_return 1; }

task<long> groups_of_100(long count, std::size_t limit) {
    long ended = 0;
    for (long i = 0; i < count; i += 100) {
        ringo::task_group g;
        g.limit(limit);
        for (long n = std::min(100L, count - i); n > 0; --n) {
            g.go(counts, std::ref(ended));
        }
        co_await g.wait();
    }
    co_return ended;
}
task<long> unlimited(long count) { return groups_of_100(count, ringo::task_group::unlimited); }
task<long> limited(long count) { return groups_of_100(count, 10); }

task<long> all_of_two(long count) {
    long ended = 0;
    for (long i = 0; i < count; ++i) {
        const auto r = co_await ringo::when_all(one(), one());
        ended += std::get<1>(r);
    }
    co_return ended;
}

task<long> any_of_two(long count) {
    long ended = 0;
    for (long i = 0; i < count; ++i) {
        const auto r = co_await ringo::when_any(one(), one());
        ended += static_cast<long>(r.index()) + 1;
    }
    co_return ended;
}

task<long> flights(long count) {
    long ended = 0;
    ringo::singleflight<long, int> f;
    for (long i = 0; i < count; ++i) {
        ended += co_await f.call(i, one);
    }
    co_return ended;
}

task<> co_main(long count, long repeat) {
    co_await bench::measure("task_group, a member of 100", &unlimited, count, repeat);
    co_await bench::measure("... with a limit of 10", &limited, count, repeat);
    co_await bench::measure("when_all of two", &all_of_two, count, repeat);
    co_await bench::measure("when_any of two", &any_of_two, count, repeat);
    co_await bench::measure("singleflight, alone", &flights, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
