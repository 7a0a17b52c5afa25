// What does it cost to wait for many, or for a permit?    gates [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/barrier.hpp>
#include <ringo/event.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/semaphore.hpp>
#include <ringo/wait_group.hpp>

#include <functional>

namespace {

using ringo::task;

task<long> add_done(long count) {
    ringo::wait_group group;
    long open = 0;
    for (long i = 0; i < count; ++i) {
        group.add();
        group.done();
        co_await group.wait();
        ++open;
    }
    co_return open;
}

task<> counts(long& n) {
    ++n;
    co_return;
}

task<long> go_and_wait(long count) {
    constexpr long at_once = 100;
    long n = 0;
    for (long i = 0; i < count; i += at_once) {
        ringo::wait_group group;
        for (long k = 0; k < at_once; ++k) {
            group.go(counts, std::ref(n));
        }
        co_await group.wait();
    }
    co_return n;
}

task<long> wake_all(long count) {
    ringo::event e;
    ringo::wait_group group;
    long n = 0;
    for (long i = 0; i < count; ++i) {
        group.go([&]() -> task<> {
            co_await e.wait();
            ++n;
        });
    }
    co_await ringo::yield();
    e.set();
    co_await group.wait();
    co_return n;
}

task<long> permits(long count) {
    ringo::semaphore s(4);
    long n = 0;
    for (long i = 0; i < count; ++i) {
        const auto p = co_await s.acquire(2);
        n += p ? 1 : 0;
    }
    co_return n;
}

task<long> contended(long count) {
    constexpr long goroutines = 100;
    ringo::semaphore s(4);
    ringo::wait_group group;
    long n = 0;
    for (long g = 0; g < goroutines; ++g) {
        group.go([&]() -> task<> {
            for (long i = 0; i < count / goroutines; ++i) {
                const auto p = co_await s.acquire();
                ++n;
                co_await ringo::yield();
            }
        });
    }
    co_await group.wait();
    co_return n;
}

task<long> phases(long count) {
    constexpr long goroutines = 10;
    ringo::barrier b(goroutines);
    ringo::wait_group group;
    long n = 0;
    for (long g = 0; g < goroutines; ++g) {
        group.go([&]() -> task<> {
            for (long i = 0; i < count / goroutines; ++i) {
                co_await b.arrive_and_wait();
                ++n;
            }
        });
    }
    co_await group.wait();
    co_return n;
}

task<> co_main(long count, long repeat) {
    co_await bench::measure("wait_group add, done, wait", &add_done, count, repeat);
    co_await bench::measure("wait_group go, 100 at once", &go_and_wait, count, repeat);
    co_await bench::measure("event, park and wake all", &wake_all, count, repeat);
    co_await bench::measure("semaphore uncontended", &permits, count, repeat);
    co_await bench::measure("semaphore, 100 for 4", &contended, count, repeat);
    co_await bench::measure("barrier of 10, an arrival", &phases, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 1'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
