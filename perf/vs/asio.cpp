// The workloads of perf/*.cpp on Boost.Asio's coroutines: the same names, sizes and checksums.
//
//     asio GROUP [COUNT] [ROUNDS]
//     asio echo 127.0.0.1:PORT
//
// One thread, and the executor's own type everywhere instead of any_io_executor. Asio has no mutex
// for coroutines (a channel of 1 stands in), no select that loses nothing, and its channels are
// for one thread, so what needs these is missing.
#include "../bench.hpp"

#include <boost/asio.hpp>
#include <boost/asio/experimental/as_tuple.hpp>
#include <boost/asio/experimental/channel.hpp>

#include <array>
#include <cstring>
#include <memory>
#include <string_view>

namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using executor = asio::io_context::executor_type;
template <class T = void>
using awaitable = asio::awaitable<T, executor>;
using channel = asio::experimental::channel<executor, void(error_code, long)>;
using channel_ptr = std::shared_ptr<channel>;
using timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, executor>;
using tcp = asio::ip::tcp;
using socket_type = asio::basic_stream_socket<tcp, executor>;

constexpr asio::use_awaitable_t<executor> use_awaitable;
/// Ends with an error code instead of an exception.
constexpr auto quiet = asio::experimental::as_tuple(use_awaitable);

template <class Awaitable>
void go(executor on, Awaitable work) {
    asio::co_spawn(on, std::move(work), asio::detached);
}

/// Times `work(context, count)` and all that it starts.
template <class Work>
void measure(const char* name, long count, long repeat, Work work) {
    bench::rounds r(name, count);
    long checksum = 0;
    for (long i = 0; i < repeat; ++i) {
        asio::io_context context(1);
        long sum = 0;
        const auto start = bench::wall_ns();
        go(context.get_executor(), work(context.get_executor(), count, sum));
        context.run();
        r.add(bench::wall_ns() - start);
        checksum += sum;
    }
    r.print(checksum);
}

awaitable<> counts(long& ended) {
    ++ended;
    co_return;
}

awaitable<> joined(executor on, long count, long& ended) {
    for (long i = 0; i < count; ++i) {
        co_await asio::co_spawn(on, counts(ended), use_awaitable);
    }
}

/// That all have ended is when the context has no more to run.
awaitable<> grouped(executor on, long count, long& ended) {
    for (long i = 0; i < count; ++i) {
        go(on, counts(ended));
    }
    co_return;
}

void spawns(long count, long repeat) {
    measure("spawn+join, one by one", count, repeat, joined);
    measure("spawn+join, all at once", count, repeat, grouped);
}

awaitable<> yields(executor on, long count, long& sum) {
    for (long i = 0; i < count; ++i) {
        co_await asio::post(on, use_awaitable);
        ++sum;
    }
}

awaitable<> yields_among(executor on, long count, long& sum) {
    constexpr long width = 100;
    for (long i = 0; i < width; ++i) {
        go(on, yields(on, count / width, sum));
    }
    co_return;
}

void switches(long count, long repeat) {
    measure("yield, alone", count, repeat, yields);
    measure("yield, among 100", count, repeat, yields_among);
}

awaitable<> echo(channel_ptr in, channel_ptr out) {
    while (true) {
        const auto [closed, v] = co_await in->async_receive(quiet);
        if (closed) {
            co_return;
        }
        co_await out->async_send(error_code(), v + 1, use_awaitable);
    }
}

awaitable<> ping_pong(executor on, long count, long& sum) {
    const auto there = std::make_shared<channel>(on);
    const auto back = std::make_shared<channel>(on);
    go(on, echo(there, back));
    for (long i = 0; i < count; ++i) {
        co_await there->async_send(error_code(), i, use_awaitable);
        sum += co_await back->async_receive(use_awaitable);
    }
    there->close();
}

awaitable<> produce(channel_ptr c, long count) {
    for (long i = 0; i < count; ++i) {
        co_await c->async_send(error_code(), i, use_awaitable);
    }
    c->close();
}

awaitable<> items(executor on, std::size_t capacity, long count, long& sum) {
    const auto c = std::make_shared<channel>(on, capacity);
    go(on, produce(c, count));
    while (true) {
        const auto [closed, v] = co_await c->async_receive(quiet);
        if (closed) {
            co_return;
        }
        sum += v;
    }
}

awaitable<> unbuffered(executor on, long count, long& sum) { return items(on, 0, count, sum); }
awaitable<> buffered(executor on, long count, long& sum) { return items(on, 128, count, sum); }

void channels(long count, long repeat) {
    measure("ping-pong, round trip", count, repeat, ping_pong);
    measure("unbuffered, item", count, repeat, unbuffered);
    measure("buffered 128, item", count, repeat, buffered);
}

awaitable<> adds(channel_ptr lock, executor on, long count, long& sum, bool yields) {
    for (long i = 0; i < count; ++i) {
        co_await lock->async_send(error_code(), 0L, use_awaitable);
        if (yields) {
            co_await asio::post(on, use_awaitable);
        }
        sum += yields ? 1 : i;
        lock->try_receive([](error_code, long) {});
    }
}

awaitable<> uncontended(executor on, long count, long& sum) {
    return adds(std::make_shared<channel>(on, 1U), on, count, sum, false);
}

awaitable<> contended(executor on, long count, long& sum) {
    constexpr long width = 100;
    const auto lock = std::make_shared<channel>(on, 1U);
    for (long i = 0; i < width; ++i) {
        go(on, adds(lock, on, count / width, sum, true));
    }
    co_return;
}

void mutexes(long count, long repeat) {
    measure("lock + unlock", count, repeat, uncontended);
    measure("100 goroutines, yield inside", count, repeat, contended);
}

void parked(long count, long repeat) {
    bench::rounds memory("parked on a channel, each", count, "bytes");
    bench::rounds waking("closed, wake each", count);
    const auto before = bench::resident_bytes();
    long woken = 0;
    const auto waits = [](channel& gate, long& n) -> awaitable<> {
        const auto [closed, v] = co_await gate.async_receive(quiet);
        n += closed ? 1 : 0;
    };
    for (long round = 0; round < repeat; ++round) {
        asio::io_context context(1);
        const auto keep = asio::make_work_guard(context);
        channel gate(context.get_executor());
        for (long i = 0; i < count; ++i) {
            go(context.get_executor(), waits(gate, woken));
        }
        context.poll();  // all have run, and wait
        if (round == 0) {
            memory.add(bench::resident_bytes() - before);
        }
        const auto start = bench::wall_ns();
        gate.close();
        context.poll();
        waking.add(bench::wall_ns() - start);
    }
    memory.print(count);
    waking.print(woken);
}

awaitable<> generate(channel_ptr out) {
    for (long i = 2;; ++i) {
        co_await out->async_send(error_code(), i, use_awaitable);
    }
}

awaitable<> filter(channel_ptr in, channel_ptr out, long prime) {
    while (true) {
        const long i = co_await in->async_receive(use_awaitable);
        if (i % prime != 0) {
            co_await out->async_send(error_code(), i, use_awaitable);
        }
    }
}

awaitable<> sieve(executor on, long primes, long& prime) {
    auto numbers = std::make_shared<channel>(on);
    go(on, generate(numbers));
    for (long i = 0; i < primes; ++i) {
        prime = co_await numbers->async_receive(use_awaitable);
        const auto rest = std::make_shared<channel>(on);
        go(on, filter(numbers, rest, prime));
        numbers = rest;
    }
    on.context().stop();  // the rest goes with it
}

awaitable<> node(executor on, channel_ptr up, long number, long size) {
    long sum = number;
    if (size > 1) {
        sum = 0;
        const auto children = std::make_shared<channel>(on);
        for (long i = 0; i < 10; ++i) {
            go(on, node(on, children, number + i * (size / 10), size / 10));
        }
        for (int i = 0; i < 10; ++i) {
            sum += co_await children->async_receive(use_awaitable);
        }
    }
    co_await up->async_send(error_code(), sum, use_awaitable);
}

awaitable<> skynet(executor on, long leaves, long& sum) {
    const auto result = std::make_shared<channel>(on);
    go(on, node(on, result, 0, leaves));
    sum = co_await result->async_receive(use_awaitable);
}

awaitable<> sleeps(executor on, std::chrono::steady_clock::time_point until, long& ended) {
    timer t(on, until);
    co_await t.async_wait(use_awaitable);
    ++ended;
}

void timers(long count, long repeat) {
    bench::rounds r("timer 1-100 ms, CPU", count);
    long ended = 0;
    for (long round = 0; round < repeat; ++round) {
        asio::io_context context(1);
        const auto start = bench::cpu_ns();
        std::uint32_t random = 1;
        for (long i = 0; i < count; ++i) {
            random = random * 1664525 + 1013904223;
            const auto wait = std::chrono::milliseconds(1 + (random >> 8) % 100);
            go(context.get_executor(),
               sleeps(context.get_executor(), std::chrono::steady_clock::now() + wait, ended));
        }
        context.run();
        r.add(bench::cpu_ns() - start);
    }
    r.print(ended);
}

void sleepers(long count, long) {
    bench::rounds memory("asleep, each", count, "bytes");
    bench::rounds starting("fall asleep, CPU", count);
    bench::rounds waking("wake and end, CPU", count);
    asio::io_context context(1);
    long ended = 0;
    const auto before = bench::resident_bytes();
    const auto start = bench::cpu_ns();
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50) +
                       count * std::chrono::microseconds(8);
    for (long i = 0; i < count; ++i) {
        go(context.get_executor(), sleeps(context.get_executor(), until, ended));
    }
    context.poll();
    memory.add(bench::resident_bytes() - before);
    const auto asleep = bench::cpu_ns();
    starting.add(asleep - start);
    context.run();
    waking.add(bench::cpu_ns() - asleep);
    memory.print(count);
    starting.print(count);
    waking.print(ended);
}

awaitable<> serve(socket_type s) {
    std::array<char, 16384> buffer;
    while (true) {
        const auto [ended, n] = co_await s.async_read_some(asio::buffer(buffer), quiet);
        if (ended) {
            co_return;
        }
        const auto [lost, sent] = co_await asio::async_write(s, asio::buffer(buffer, n), quiet);
        if (lost) {
            co_return;
        }
    }
}

awaitable<> listen(executor on, asio::basic_socket_acceptor<tcp, executor>& acceptor) {
    while (true) {
        socket_type s = co_await acceptor.async_accept(use_awaitable);
        s.set_option(tcp::no_delay(true));
        go(on, serve(std::move(s)));
    }
}

int echo_server(std::string_view address) {
    const char* port = address.data() + address.rfind(':') + 1;
    asio::io_context context(1);
    const tcp::endpoint local(asio::ip::address_v4::loopback(),
                              static_cast<unsigned short>(std::atoi(port)));
    asio::basic_socket_acceptor<tcp, executor> acceptor(context.get_executor(), local);
    std::printf("listening 127.0.0.1:%d\n", static_cast<int>(acceptor.local_endpoint().port()));
    std::fflush(stdout);
    go(context.get_executor(), listen(context.get_executor(), acceptor));
    context.run();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view group = argc > 1 ? argv[1] : "";
    const long count = bench::argument(argc, argv, 2, 100'000);
    const long repeat = bench::argument(argc, argv, 3, 3);
    if (group == "echo" && argc > 2) {
        return echo_server(argv[2]);
    } else if (group == "chan") {
        channels(count, repeat);
    } else if (group == "mutex") {
        mutexes(count, repeat);
    } else if (group == "parked") {
        parked(count, repeat);
    } else if (group == "sieve") {
        measure("sieve, a prime", count, repeat, sieve);
    } else if (group == "skynet") {
        measure("skynet, a leaf", count, repeat, skynet);
    } else if (group == "sleepers") {
        sleepers(count, repeat);
    } else if (group == "spawn") {
        spawns(count, repeat);
    } else if (group == "switch") {
        switches(count, repeat);
    } else if (group == "timers") {
        timers(count, repeat);
    }
    return 0;
}
