// A chain of filters, as long as there are primes.    sieve [PRIMES] [ROUNDS]
#include "bench.hpp"

#include <ringo/chan.hpp>
#include <ringo/context.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>

namespace {

using ringo::chan;
using ringo::task;

task<> generate(chan<int> out) {
    for (int i = 2;; ++i) {
        co_await out.send(i);
    }
}

task<> filter(chan<int> in, chan<int> out, int prime) {
    while (true) {
        const int i = *co_await in.recv();
        if (i % prime != 0) {
            co_await out.send(i);
        }
    }
}

task<long> sieve(long primes) {
    const auto scope = ringo::with_cancel(ringo::this_context());
    chan<int> numbers;
    ringo::go(ringo::with(scope), generate, numbers);
    int prime = 0;
    for (long i = 0; i < primes; ++i) {
        prime = *co_await numbers.recv();
        chan<int> rest;
        ringo::go(ringo::with(scope), filter, numbers, rest, prime);
        numbers = rest;
    }
    co_return prime;
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(bench::measure("sieve, a prime", &sieve, bench::argument(argc, argv, 1, 2500),
                              bench::argument(argc, argv, 2, 3)),
               {.cores = 1});
}
