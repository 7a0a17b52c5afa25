// Runs a group, as the programs of perf/ do: here those of goroutines and time, and the echo server.
//
//     asio GROUP [COUNT] [ROUNDS]
//     asio echo 127.0.0.1:PORT
//     asio http 127.0.0.1:PORT
#include "peer.hpp"

#include <map>

using namespace peer;

namespace {

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

awaitable<> accepts(executor on, asio::basic_socket_acceptor<tcp, executor>& acceptor) {
    while (true) {
        socket_type s = co_await acceptor.async_accept(use_awaitable);
        s.set_option(tcp::no_delay(true));
        go(on, serve(std::move(s)));
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::map<std::string_view, void (*)(long, long)> groups = {
        {"chan", channels},   {"context", contexts},        {"mutex", mutexes},
        {"parked", parked},   {"select_many", select_many}, {"sieve", sieves},
        {"skynet", skynets},  {"sleepers", sleepers},       {"spawn", spawns},
        {"switch", switches}, {"timers", timers},           {"two_cores", two_cores},
    };
    const std::string_view group = argc > 1 ? argv[1] : "";
    if (group == "echo" && argc > 2) {
        return serve_forever(argv[2], accepts);
    } else if (group == "http" && argc > 2) {
        return http_server(argv[2]);
    } else if (const auto found = groups.find(group); found != groups.end()) {
        found->second(bench::argument(argc, argv, 2, 100'000), bench::argument(argc, argv, 3, 3));
    }
    return 0;
}
