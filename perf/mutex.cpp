// What does a lock cost: alone, among waiters, between cores?    mutex [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/go.hpp>
#include <ringo/mutex.hpp>
#include <ringo/once.hpp>
#include <ringo/run.hpp>
#include <ringo/shared_mutex.hpp>

#include <cstddef>
#include <functional>
#include <vector>

namespace {

using ringo::task;

task<long> uncontended(long count) {
    ringo::mutex m;
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        const auto g = co_await m.lock();
        sum += i;
    }
    co_return sum;
}

task<long> uncontended_try(long count) {
    ringo::mutex m;
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        if (const auto g = m.try_lock()) {
            sum += i;
        }
    }
    co_return sum;
}

task<long> uncontended_shared(long count) {
    ringo::shared_mutex m;
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        const auto g = co_await m.lock_shared();
        sum += i;
    }
    co_return sum;
}

task<long> once_done(long count) {
    ringo::once o;
    long calls = 0;
    for (long i = 0; i < count; ++i) {
        co_await o.call([&calls] { ++calls; });
    }
    co_return calls;
}

task<> adds(ringo::mutex& m, long& sum, long count, bool yields) {
    for (long i = 0; i < count; ++i) {
        const auto g = co_await m.lock();
        if (yields) {
            co_await ringo::yield();
        }
        ++sum;
    }
}

/// `width` goroutines, in turn on `cores` cores.
task<long> contended(long count, long width, std::size_t cores, bool yields) {
    ringo::mutex m;
    long sum = 0;
    std::vector<ringo::join_handle<void>> handles;
    for (long i = 0; i < width; ++i) {
        handles.push_back(ringo::spawn(ringo::on(static_cast<std::size_t>(i) % cores), adds,
                                       std::ref(m), std::ref(sum), count / width, yields));
    }
    for (auto& h : handles) {
        co_await h;
    }
    co_return sum;
}

task<long> hundred_yield_inside(long count) { return contended(count, 100, 1, true); }
task<long> two_cores(long count) { return contended(count, 2, 2, false); }
task<long> hundred_on_two_cores(long count) { return contended(count, 100, 2, true); }

task<> on_one_core(long count, long repeat) {
    co_await bench::measure("lock + unlock", &uncontended, count, repeat);
    co_await bench::measure("try_lock + unlock", &uncontended_try, count, repeat);
    co_await bench::measure("lock_shared + unlock", &uncontended_shared, count, repeat);
    co_await bench::measure("once, done", &once_done, count, repeat);
    co_await bench::measure("100 goroutines, yield inside", &hundred_yield_inside, count, repeat);
}

task<> on_two_cores(long count, long repeat) {
    co_await bench::measure("2 cores, 1 goroutine each", &two_cores, count, repeat);
    co_await bench::measure("2 cores, 100, yield inside", &hundred_on_two_cores, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    const long count = bench::argument(argc, argv, 1, 5'000'000);
    const long repeat = bench::argument(argc, argv, 2, 7);
    ringo::run(on_one_core(count, repeat), {.cores = 1});
    return ringo::run(on_two_cores(count / 10, repeat), {.cores = 2});
}
