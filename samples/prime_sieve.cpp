// The first primes, from a chain of goroutines: each lets through what its prime does not divide.
//     prime_sieve [COUNT]
#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>

#include <charconv>
#include <cstdio>
#include <string_view>

namespace {

using ringo::chan;
using ringo::recv_chan;
using ringo::send_chan;

/// 2, 3, 4, … without end.
ringo::task<> generate(send_chan<int> out) {
    for (int i = 2;; ++i) {
        co_await out.send(i);
    }
}

ringo::task<> filter(recv_chan<int> in, send_chan<int> out, int prime) {
    while (const auto i = co_await in.recv()) {
        if (*i % prime != 0) {
            co_await out.send(*i);
        }
    }
}

ringo::task<int> co_main(int count) {
    chan<int> numbers;
    ringo::go(generate, numbers);
    for (int i = 0; i < count; ++i) {
        const auto prime = co_await numbers.recv();
        std::printf("%d\n", *prime);
        chan<int> rest;
        ringo::go(filter, numbers, rest, *prime);
        numbers = rest;
    }
    co_return 0;  // the goroutines that are left are cancelled
}

}  // namespace

int main(int argc, char** argv) {
    int count = 10;
    if (argc == 2) {
        const std::string_view text = argv[1];
        const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), count);
        count = error == std::errc() && rest == text.data() + text.size() ? count : 0;
    }
    if (argc > 2 || count < 1 || count > 10'000) {
        std::fputs("usage: prime_sieve [COUNT], from 1 to 10000\n", stderr);
        return 2;
    }
    return ringo::run(co_main(count));
}
