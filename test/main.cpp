// The main() of every test program. Meson reads the exit code:
// 0 all passed, 1 something failed, 77 nothing failed but something was skipped.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "skip.hpp"

#include <atomic>
#include <csignal>
#include <cstdio>

namespace {
constexpr int exit_skip = 77;
std::atomic<bool> skipped = false;
}  // namespace

void test::skip(const char* reason) {
    skipped = true;
    std::printf("SKIP: %s\n", reason);
    std::fflush(stdout);
}

int main(int argc, char** argv) {
    // Who runs it may ignore some: nohup SIGHUP, a shell SIGINT and SIGQUIT of what it runs in the
    // background.
    for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM}) {
        std::signal(number, SIG_DFL);
    }
    doctest::Context context(argc, argv);
    int failed = context.run();
    if (failed == 0 && skipped) return exit_skip;
    return failed;
}
