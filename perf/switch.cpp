// What does a switch cost: a yield, and an await that does not suspend?    switch [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/go.hpp>
#include <ringo/run.hpp>

namespace {

ringo::task<long> leaf(long i) { co_return i; }

ringo::task<long> yields(long count) {
    for (long i = 0; i < count; ++i) {
        co_await ringo::yield();
    }
    co_return count;
}

ringo::task<long> awaits(long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        sum += co_await leaf(i);
    }
    co_return sum;
}

/// `width` goroutines that yield in turn.
ringo::task<long> yields_among(long count) {
    constexpr long width = 100;
    std::vector<ringo::join_handle<long>> handles;
    for (long i = 0; i < width; ++i) {
        handles.push_back(ringo::spawn(yields, count / width));
    }
    long sum = 0;
    for (auto& h : handles) {
        sum += co_await h;
    }
    co_return sum;
}

ringo::task<> co_main(long count, long repeat) {
    co_await bench::measure("yield, alone", &yields, count, repeat);
    co_await bench::measure("yield, among 100", &yields_among, count, repeat);
    co_await bench::measure("synchronous co_await", &awaits, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 10'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
