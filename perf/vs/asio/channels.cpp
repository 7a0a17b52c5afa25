// Channels and what waits on them, on one thread.
#include "peer.hpp"

#include <boost/asio/experimental/parallel_group.hpp>

#include <vector>

namespace peer {

namespace {

using asio::experimental::make_parallel_group;
using asio::experimental::wait_for_one;

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

awaitable<> produce(channel_ptr c, long first, long count) {
    for (long i = first; i < first + count; ++i) {
        co_await c->async_send(error_code(), i, use_awaitable);
    }
    c->close();
}

awaitable<> items(executor on, std::size_t capacity, long count, long& sum) {
    const auto c = std::make_shared<channel>(on, capacity);
    go(on, produce(c, 0, count));
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

using channel_list = std::vector<channel_ptr>;
/// What a select has waited for, by the place of the channel in its list.
using received = std::pair<std::vector<error_code>, std::vector<long>>;

/// Waits until one has a value or is closed. The operator || would be shorter, but drops the value of
/// a channel that comes at the same time as another; a group gives all that has been received.
awaitable<received> select(executor on, const channel_list& from) {
    // Bound, or a group of a range runs its handlers on the threads of the system executor.
    const auto arm = [on](const channel_ptr& c) {
        return c->async_receive(asio::bind_executor(on, asio::deferred));
    };
    std::vector<decltype(arm(from[0]))> arms;
    arms.reserve(from.size());
    for (const channel_ptr& c : from) {
        arms.push_back(arm(c));
    }
    auto [order, errors, values] =
        co_await make_parallel_group(std::move(arms)).async_wait(wait_for_one(), use_awaitable);
    co_return received(std::move(errors), std::move(values));
}

channel_list producers(executor on, long arms, long count) {
    channel_list from;
    for (long i = 0; i < arms; ++i) {
        from.push_back(std::make_shared<channel>(on, 128U));
        go(on, produce(from.back(), i * count, count / arms));
    }
    return from;
}

awaitable<> select_of_16(executor on, long count, long& sum) {
    channel_list open = producers(on, 16, count);
    while (!open.empty()) {
        const received r = co_await select(on, open);
        for (std::size_t i = open.size(); i-- > 0;) {
            if (!r.first[i]) {
                sum += r.second[i];
            } else if (r.first[i] == asio::experimental::error::channel_closed) {
                open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
    }
}

awaitable<> select_of_2(executor on, long count, long& sum) {
    const channel_list from = producers(on, 2, count);
    bool open = true;
    while (open) {
        const auto [order, lost_a, a, lost_b, b] =
            co_await make_parallel_group(from[0]->async_receive(asio::deferred),
                                         from[1]->async_receive(asio::deferred))
                .async_wait(wait_for_one(), use_awaitable);
        sum += (lost_a ? 0 : a) + (lost_b ? 0 : b);
        open = lost_a != asio::experimental::error::channel_closed &&
               lost_b != asio::experimental::error::channel_closed;
    }
    for (const channel_ptr& c : from) {  // one is closed
        for (bool more = true; more;) {
            const auto [closed, v] = co_await c->async_receive(quiet);
            sum += closed ? 0 : v;
            more = !closed;
        }
    }
}

awaitable<> select_otherwise(executor on, long count, long& idle) {
    channel a(on);
    channel b(on);
    const auto ignore = [](error_code, long) {};
    for (long i = 0; i < count; ++i) {
        if (!a.try_receive(ignore) && !b.try_receive(ignore)) {
            ++idle;
        }
    }
    co_return;
}

awaitable<> send_to(const channel_list& to, long count) {
    for (long i = 0; i < count; ++i) {
        co_await to[static_cast<std::size_t>(i * 7919) % to.size()]->async_send(error_code(), i,
                                                                                use_awaitable);
    }
}

awaitable<> selects(executor on, const channel_list& from, long count, long& sum) {
    go(on, send_to(from, count));
    for (long got = 0; got < count;) {
        const received r = co_await select(on, from);
        for (std::size_t i = 0; i < from.size(); ++i) {
            got += r.first[i] ? 0 : 1;
            sum += r.first[i] ? 0 : r.second[i];
        }
    }
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

}  // namespace

void channels(long count, long repeat) {
    measure("ping-pong, round trip", count, repeat, ping_pong);
    measure("unbuffered, item", count, repeat, unbuffered);
    measure("buffered 128, item", count, repeat, buffered);
    measure("select of 2, item", count, repeat, select_of_2);
    measure("select of 16, item", count, repeat, select_of_16);
    measure("select, otherwise", count, repeat, select_otherwise);
}

void select_many(long arms, long repeat) {
    constexpr long count = 20;
    bench::rounds r("select of n, an arm", arms);
    long sum = 0;
    for (long round = 0; round < repeat; ++round) {
        asio::io_context context(1);
        channel_list from;
        for (long i = 0; i < arms; ++i) {
            from.push_back(std::make_shared<channel>(context.get_executor()));
        }
        const auto start = bench::wall_ns();
        go(context.get_executor(), selects(context.get_executor(), from, count, sum));
        context.run();
        r.add((bench::wall_ns() - start) / count);
    }
    r.print(sum);
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

void sieves(long count, long repeat) { measure("sieve, a prime", count, repeat, sieve); }

}  // namespace peer
