// Jobs for a few workers, results in the order in which they are ready.
//     worker_pool [JOBS [WORKERS]]
//
// 20 jobs for 4 workers unless given. Ctrl-C: no new jobs; what has begun is finished.
#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/os.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>
#include <ringo/time.hpp>
#include <ringo/wait_group.hpp>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string_view>

namespace {

using ringo::chan;
using ringo::recv_chan;
using ringo::send_chan;

struct result {
    int job;
    int worker;
    long square;
};

ringo::task<> work(int worker, recv_chan<int> jobs, send_chan<result> results) {
    while (const auto job = co_await jobs.recv()) {
        co_await ringo::sleep(std::chrono::milliseconds(20));  // hard work
        co_await results.send({*job, worker, static_cast<long>(*job) * *job});
    }
}

/// Gives out jobs until there are no more, or until it is interrupted.
ringo::task<> give_out(int count, send_chan<int> jobs) {
    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    for (int i = 1; i <= count; ++i) {
        const auto r = co_await ringo::select(jobs.send(i), interrupted.ctx().done());
        if (r.index() == 1) {
            std::puts("interrupted: no new jobs");
            break;
        }
    }
    jobs.close();
}

ringo::task<int> co_main(int count, int workers) {
    const chan<int> jobs;
    const chan<result> results;
    ringo::go(give_out, count, jobs);
    ringo::go([=]() -> ringo::task<> {
        ringo::wait_group all;
        for (int i = 1; i <= workers; ++i) {
            all.go(ringo::anywhere, work, i, jobs, results);
        }
        co_await all.wait();
        results.close();
    });

    int done = 0;
    while (const auto r = co_await results.recv()) {
        std::printf("job %d: %ld, by worker %d\n", r->job, r->square, r->worker);
        std::fflush(stdout);
        ++done;
    }
    std::printf("%d of %d jobs done\n", done, count);
    co_return 0;
}

/// A number from 1 to a million; 0 when it is none.
int number(std::string_view text) {
    int n = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, n);
    return error == std::errc() && rest == end && n >= 1 && n <= 1'000'000 ? n : 0;
}

}  // namespace

int main(int argc, char** argv) {
    const int jobs = argc > 1 ? number(argv[1]) : 20;
    const int workers = argc > 2 ? number(argv[2]) : 4;
    if (argc > 3 || jobs == 0 || workers == 0) {
        std::fputs("usage: worker_pool [JOBS [WORKERS]], each from 1 to 1000000\n", stderr);
        return 2;
    }
    return ringo::run(co_main(jobs, workers));
}
