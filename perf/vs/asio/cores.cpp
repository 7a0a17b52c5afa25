// What two threads share; what is the same on one is beside it.
#include "peer.hpp"

namespace peer {

namespace {

using shared_ptr = std::shared_ptr<shared_channel>;

const auto ignore = [](error_code, long) {};

awaitable<> uncontended(executor on, long count, long& sum) {
    channel lock(on, 1U);
    for (long i = 0; i < count; ++i) {
        co_await lock.async_send(error_code(), 0L, use_awaitable);
        sum += i;
        lock.try_receive(ignore);
    }
}

template <class Channel>
awaitable<> adds(std::shared_ptr<Channel> lock, executor on, long count, long& sum, bool yields) {
    for (long i = 0; i < count; ++i) {
        co_await lock->async_send(error_code(), 0L, use_awaitable);
        if (yields) {
            co_await asio::post(on, use_awaitable);
        }
        ++sum;
        lock->try_receive(ignore);
    }
}

awaitable<> contended(executor on, long count, long& sum) {
    constexpr long width = 100;
    const auto lock = std::make_shared<channel>(on, 1U);
    for (long i = 0; i < width; ++i) {
        go(on, adds(lock, on, count / width, sum, true));
    }
    co_return;
}

/// That all have ended is when the channel has as many values.
awaitable<> tells(awaitable<> work, shared_ptr ended) {
    co_await std::move(work);
    co_await ended->async_send(error_code(), 0L, use_awaitable);
}

awaitable<long> contended_by(executor on, long count, long width, bool yields) {
    const auto lock = std::make_shared<shared_channel>(on, 1U);
    const auto ended = std::make_shared<shared_channel>(on, static_cast<std::size_t>(width));
    long sum = 0;
    for (long i = 0; i < width; ++i) {
        go(on, tells(adds(lock, on, count / width, sum, yields), ended));
    }
    for (long i = 0; i < width; ++i) {
        co_await ended->async_receive(use_awaitable);
    }
    co_return sum;
}

awaitable<long> two(executor on, executor, long count) { return contended_by(on, count, 2, false); }
awaitable<long> hundred(executor on, executor, long count) {
    return contended_by(on, count, 100, true);
}

template <class Channel>
awaitable<> node(executor on, std::shared_ptr<Channel> up, long number, long size) {
    long sum = number;
    if (size > 1) {
        sum = 0;
        const auto children = std::make_shared<Channel>(on);
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

awaitable<long> skynet_on_two(executor on, executor, long leaves) {
    const auto result = std::make_shared<shared_channel>(on);
    go(on, node(on, result, 0, leaves));
    co_return co_await result->async_receive(use_awaitable);
}

awaitable<> echo(shared_ptr in, shared_ptr out) {
    while (true) {
        const auto [closed, v] = co_await in->async_receive(quiet);
        if (closed) {
            co_return;
        }
        co_await out->async_send(error_code(), v + 1, use_awaitable);
    }
}

awaitable<long> ping_pong(executor here, executor there, long count) {
    const auto to = std::make_shared<shared_channel>(there);
    const auto back = std::make_shared<shared_channel>(here);
    go(there, echo(to, back));
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        co_await to->async_send(error_code(), i, use_awaitable);
        sum += co_await back->async_receive(use_awaitable);
    }
    to->close();
    co_return sum;
}

awaitable<> produce(shared_ptr c, long count) {
    for (long i = 0; i < count; ++i) {
        co_await c->async_send(error_code(), i, use_awaitable);
    }
}

constexpr long last = -1;

awaitable<> consume(shared_ptr c, shared_ptr sums) {
    long sum = 0;
    while (true) {
        const long v = co_await c->async_receive(use_awaitable);
        if (v == last) {
            break;
        }
        sum += v;
    }
    co_await sums->async_send(error_code(), sum, use_awaitable);
}

/// `pairs` producers `here` and as many consumers `there`. A close would drop what is in the buffer.
awaitable<long> stream(executor here, executor there, long count, long pairs) {
    const auto c = std::make_shared<shared_channel>(here, 128U);
    const auto ended = std::make_shared<shared_channel>(here, 2U);
    const auto sums = std::make_shared<shared_channel>(here, 2U);
    for (long i = 0; i < pairs; ++i) {
        go(here, tells(produce(c, count / pairs), ended));
        go(there, consume(c, sums));
    }
    for (long i = 0; i < pairs; ++i) {
        co_await ended->async_receive(use_awaitable);
    }
    long total = 0;
    for (long i = 0; i < pairs; ++i) {
        co_await c->async_send(error_code(), last, use_awaitable);
    }
    for (long i = 0; i < pairs; ++i) {
        total += co_await sums->async_receive(use_awaitable);
    }
    co_return total;
}

awaitable<long> one_to_one(executor here, executor there, long count) {
    return stream(here, there, count, 1);
}
awaitable<long> two_by_two(executor here, executor there, long count) {
    return stream(here, there, count, 2);
}

}  // namespace

void mutexes(long count, long repeat) {
    measure("lock + unlock", count, repeat, uncontended);
    measure("100 goroutines, yield inside", count, repeat, contended);
    measure_on_two("2 cores, 1 goroutine each", count / 10, repeat, two);
    measure_on_two("2 cores, 100, yield inside", count / 10, repeat, hundred);
}

void skynets(long count, long repeat) {
    measure("skynet, a leaf", count, repeat, skynet);
    measure_on_two("skynet on 2 cores, a leaf", count, repeat, skynet_on_two);
}

void two_cores(long count, long repeat) {
    measure_on_two("2 cores: ping-pong", count / 20, repeat, ping_pong);
    measure_on_two("2 cores: buffered 128, item", count, repeat, one_to_one);
    measure_on_two("2 cores: 2 to 2, item", count, repeat, two_by_two);
    crew here(1);
    crew there(1);
    measure_between("apart: ping-pong", here.get_executor(), there.get_executor(), count / 20,
                    repeat, ping_pong);
    measure_between("apart: buffered 128, item", here.get_executor(), there.get_executor(), count,
                    repeat, one_to_one);
}

}  // namespace peer
