// What does a channel cost: a round trip, an item, a select?    chan [COUNT] [ROUNDS]
#include "bench.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>

#include <array>
#include <utility>
#include <variant>

namespace {

using ringo::chan;
using ringo::task;

task<> echo(chan<long> in, chan<long> out) {
    while (const auto v = co_await in.recv()) {
        co_await out.send(*v + 1);
    }
}

task<> produce(chan<long> c, long first, long count) {
    for (long i = first; i < first + count; ++i) {
        co_await c.send(i);
    }
    c.close();
}

task<long> ping_pong(long count) {
    const chan<long> there;
    const chan<long> back;
    ringo::go(echo, there, back);
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        co_await there.send(i);
        sum += *co_await back.recv();
    }
    there.close();
    co_return sum;
}

task<long> items(long count, std::size_t capacity) {
    const chan<long> c(capacity);
    ringo::go(produce, c, 0L, count);
    long sum = 0;
    while (const auto v = co_await c.recv()) {
        sum += *v;
    }
    co_return sum;
}

task<long> unbuffered(long count) { return items(count, 0); }
task<long> buffered(long count) { return items(count, 128); }

/// A producer for each arm. A channel that is closed becomes nil, which is never ready.
template <std::size_t... Arm>
task<long> select_of(long count, std::index_sequence<Arm...>) {
    constexpr long arms = sizeof...(Arm);
    std::array<chan<long>, arms> from{((void)Arm, chan<long>(128))...};
    for (long i = 0; i < arms; ++i) {
        ringo::go(produce, from[static_cast<std::size_t>(i)], i * count, count / arms);
    }
    long sum = 0;
    for (long open = arms; open > 0;) {
        const auto r = co_await ringo::select(from[Arm].recv()...);
        const auto& v = std::visit(
            [](const auto& got) -> const auto& { return got; }, r);
        if (v) {
            sum += *v;
        } else {
            from[r.index()] = nullptr;
            --open;
        }
    }
    co_return sum;
}

task<long> select_of_2(long count) { return select_of(count, std::make_index_sequence<2>()); }
task<long> select_of_16(long count) { return select_of(count, std::make_index_sequence<16>()); }

task<long> select_otherwise(long count) {
    const chan<long> a;
    const chan<long> b;
    long idle = 0;
    for (long i = 0; i < count; ++i) {
        const auto r = co_await ringo::select(a.recv(), b.recv(), ringo::otherwise);
        idle += r.index() == 2 ? 1 : 0;
    }
    co_return idle;
}

task<> co_main(long count, long repeat) {
    co_await bench::measure("ping-pong, round trip", &ping_pong, count, repeat);
    co_await bench::measure("unbuffered, item", &unbuffered, count, repeat);
    co_await bench::measure("buffered 128, item", &buffered, count, repeat);
    co_await bench::measure("select of 2, item", &select_of_2, count, repeat);
    co_await bench::measure("select of 16, item", &select_of_16, count, repeat);
    co_await bench::measure("select, otherwise", &select_otherwise, count, repeat);
}

}  // namespace

int main(int argc, char** argv) {
    return ringo::run(
        co_main(bench::argument(argc, argv, 1, 2'000'000), bench::argument(argc, argv, 2, 7)),
        {.cores = 1});
}
