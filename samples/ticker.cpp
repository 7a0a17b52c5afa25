// A few ticks, one a period.    ticker [TICKS [MILLISECONDS]]
//
// 5 ticks, one each 200 ms, unless given. Ctrl-C ends it early.
#include <ringo/context.hpp>
#include <ringo/os.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>
#include <ringo/time.hpp>
#include <ringo/timer.hpp>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string_view>

namespace {

ringo::task<int> co_main(int ticks, std::chrono::milliseconds period) {
    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    const auto begin = ringo::now();
    ringo::ticker every(period);
    for (int i = 1; i <= ticks; ++i) {
        // The arms: a tick, whose value is the time at which it was due, and the end by Ctrl-C.
        const auto r = co_await ringo::select(every, interrupted.ctx().done());
        if (r.index() == 1) {
            std::puts("interrupted");
            break;
        }
        const auto since =
            std::chrono::duration_cast<std::chrono::milliseconds>(std::get<0>(r) - begin);
        std::printf("tick %d at %lld ms\n", i, static_cast<long long>(since.count()));
        std::fflush(stdout);
    }
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
    const int ticks = argc > 1 ? number(argv[1]) : 5;
    const int period = argc > 2 ? number(argv[2]) : 200;
    if (argc > 3 || ticks == 0 || period == 0) {
        std::fputs("usage: ticker [TICKS [MILLISECONDS]], each from 1 to 1000000\n", stderr);
        return 2;
    }
    return ringo::run(co_main(ticks, std::chrono::milliseconds(period)));
}
