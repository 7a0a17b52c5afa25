// What does a goroutine cost, from `go` to its end?    spawn [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/go.hpp>
#include <ringo/run.hpp>

namespace {

long ended = 0;

ringo::task<> empty() {
    ++ended;
    co_return;
}

ringo::task<> one_by_one(long count) {
    for (long i = 0; i < count; ++i) {
        ringo::go(empty);
        co_await ringo::yield();
    }
}

ringo::task<> all_at_once(long count) {
    for (long i = 0; i < count; ++i) {
        ringo::go(empty);
    }
    while (ringo::num_goroutines() > 1) {
        co_await ringo::yield();
    }
}

ringo::task<> joined(long count) {
    for (long i = 0; i < count; ++i) {
        co_await ringo::spawn(empty);
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
    co_await measure("go+end, one by one, +yield", &one_by_one, count, repeat);
    co_await measure(
        "go+end, 100 at once",
        [](long n) -> ringo::task<> {
            for (long i = 0; i < n; i += 100) {
                co_await all_at_once(std::min(100L, n - i));
            }
        },
        count, repeat);
    co_await measure("go+end, all at once", &all_at_once, count, repeat);
    co_await measure("spawn+join, one by one", &joined, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
