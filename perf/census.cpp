// For how long does a list of all goroutines stop their core?    census [COUNT] [ROUNDS]
// In CPU time of its thread, which does other work between two pieces of it.
#include "bench.hpp"

#include "shard.hpp"
#include "snapshot.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

#include <time.h>

namespace {

using ringo::chan;
using ringo::task;

constexpr std::size_t piece = 256;  // as shard::answer_censuses

std::int64_t thread_ns() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

task<> wait_for(const chan<long>& gate) { (void)co_await gate.recv(); }

task<> co_main(long count, long repeat) {
    namespace detail = ringo::detail;
    bench::rounds together("stopped for a list, each", count);
    bench::rounds longest("stopped at a time, longest", 1);
    const chan<long> gate;
    for (long i = 0; i < count; ++i) {
        ringo::go([&gate]() -> task<> { co_await wait_for(gate); });
    }
    co_await ringo::yield();
    std::size_t seen = 0;
    std::vector<std::byte> other(1 << 20);
    for (long round = 0; round < repeat; ++round) {
        const auto snapshot = std::make_shared<detail::snapshot>(detail::leak_question{});
        snapshot->prepare(static_cast<std::size_t>(count));
        detail::census look(detail::shard::here(), snapshot);
        std::int64_t sum = 0;
        std::int64_t most = 0;
        for (bool done = false; !done;) {
            std::fill(other.begin(), other.end(), std::byte{1});
            const std::int64_t start = thread_ns();
            done = look.go_on(piece);
            const std::int64_t took = thread_ns() - start;
            sum += took;
            most = std::max(most, took);
        }
        for (const detail::sightings& s : look.found) {
            seen += s.goroutines.size();
        }
        together.add(sum);
        longest.add(most);
    }
    gate.close();
    together.print(static_cast<long>(seen));
    longest.print(static_cast<long>(seen));
}

}  // namespace

int main(int argc, char** argv) {
    ringo::run(co_main(bench::argument(argc, argv, 1, 100'000), bench::argument(argc, argv, 2, 5)),
               {.cores = 1, .stall_after = std::chrono::milliseconds(0)});
}
