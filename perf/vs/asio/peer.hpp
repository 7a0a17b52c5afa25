// The workloads of perf/*.cpp on Boost.Asio's coroutines: the same names, sizes and checksums.
//
// The executor's own type everywhere instead of any_io_executor. Asio has no mutex for coroutines:
// a channel of 1 stands in.
#pragma once

#include "../../bench.hpp"

#include <boost/asio.hpp>
#include <boost/asio/experimental/as_tuple.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>

#include <array>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace peer {

namespace asio = boost::asio;
using boost::system::error_code;
using executor = asio::io_context::executor_type;
template <class T = void>
using awaitable = asio::awaitable<T, executor>;
/// For one thread.
using channel = asio::experimental::channel<executor, void(error_code, long)>;
using channel_ptr = std::shared_ptr<channel>;
/// For any.
using shared_channel = asio::experimental::concurrent_channel<executor, void(error_code, long)>;
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

/// Times `work(executor, count, sum)` and all that it starts, on one thread.
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

/// `threads` run it until the end.
class crew {
public:
    explicit crew(std::size_t threads) : context_(static_cast<int>(threads)) {
        for (std::size_t i = 0; i < threads; ++i) {
            threads_.emplace_back([this] { context_.run(); });
        }
    }
    crew(const crew&) = delete;
    crew& operator=(const crew&) = delete;
    ~crew() {
        work_.reset();
        for (std::thread& t : threads_) {
            t.join();
        }
    }
    executor get_executor() { return context_.get_executor(); }

private:
    asio::io_context context_;
    asio::executor_work_guard<executor> work_{context_.get_executor()};
    std::vector<std::thread> threads_;
};

/// Times `work(here, there, count)`, an awaitable<long>.
template <class Work>
void measure_between(const char* name, executor here, executor there, long count, long repeat,
                     Work work) {
    bench::rounds r(name, count);
    long checksum = 0;
    for (long i = 0; i < repeat; ++i) {
        const auto start = bench::wall_ns();
        checksum += asio::co_spawn(here, work(here, there, count), asio::use_future).get();
        r.add(bench::wall_ns() - start);
    }
    r.print(checksum);
}

/// ... on two threads that both run whatever is ready.
template <class Work>
void measure_on_two(const char* name, long count, long repeat, Work work) {
    crew two(2);
    measure_between(name, two.get_executor(), two.get_executor(), count, repeat, work);
}

/// Runs `accepts(executor, acceptor)` on one thread.
template <class Accepts>
int serve_forever(std::string_view address, Accepts accepts) {
    const char* port = address.data() + address.rfind(':') + 1;
    asio::io_context context(1);
    const tcp::endpoint local(asio::ip::address_v4::loopback(),
                              static_cast<unsigned short>(std::atoi(port)));
    asio::basic_socket_acceptor<tcp, executor> acceptor(context.get_executor(), local);
    std::printf("listening 127.0.0.1:%d\n", static_cast<int>(acceptor.local_endpoint().port()));
    std::fflush(stdout);
    go(context.get_executor(), accepts(context.get_executor(), acceptor));
    context.run();
    return 0;
}

void channels(long count, long repeat);
void contexts(long count, long repeat);
void mutexes(long count, long repeat);
void parked(long count, long repeat);
void select_many(long arms, long repeat);
void sieves(long count, long repeat);
void skynets(long count, long repeat);
void two_cores(long count, long repeat);
int http_server(std::string_view address);

}  // namespace peer
