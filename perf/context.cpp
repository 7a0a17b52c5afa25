// What does a context cost: to make and cancel one, to cancel many goroutines?
//     context [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/context.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>

namespace {

using ringo::task;

task<long> derive(long count) {
    const ringo::context parent = ringo::this_context();
    long ended = 0;
    for (long i = 0; i < count; ++i) {
        auto scope = ringo::with_cancel(parent);
        scope.cancel();
        ended += scope.ctx().cancelled() ? 1 : 0;
    }
    co_return ended;
}

task<> cancel_waiters(long waiters, long repeat) {
    bench::rounds r("cancel a waiter", waiters);
    long ended = 0;
    for (long round = 0; round < repeat; ++round) {
        auto scope = ringo::with_cancel(ringo::this_context());
        for (long i = 0; i < waiters; ++i) {
            ringo::go(ringo::with(scope), [&ended]() -> task<> {
                co_await ringo::this_context().done();
                ++ended;
            });
        }
        co_await ringo::yield();
        const auto start = bench::wall_ns();
        scope.cancel();
        while (ended != (round + 1) * waiters) {
            co_await ringo::yield();
        }
        r.add(bench::wall_ns() - start);
    }
    r.print(ended);
}

task<> co_main(long count, long repeat) {
    co_await bench::measure("with_cancel and its end", &derive, count, repeat);
    co_await cancel_waiters(count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(co_main(bench::argument(argc, argv, 1, 100'000), bench::argument(argc, argv, 2, 5)),
               {.cores = 1});
}
