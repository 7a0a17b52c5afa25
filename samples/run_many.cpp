// Runs a command for each line of its input, a few at a time, as `xargs -n 1 -P 4` does.
//     run_many AT_ONCE PROGRAM [ARGUMENT...]
//
// The line is the last argument. What a command says appears whole, once it has ended. Exits with
// 1 if a command has failed. Ctrl-C ends those that run.
#include <ringo/chan.hpp>
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/io.hpp>
#include <ringo/mutex.hpp>
#include <ringo/os.hpp>
#include <ringo/run.hpp>
#include <ringo/task_group.hpp>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

using ringo::chan;
using ringo::task;
namespace os = ringo::os;

struct state {
    std::vector<std::string> words;
    chan<std::string> lines;
    ringo::fs::file out = os::stdout_stream();
    ringo::mutex writing;
    int failures = 0;
};

task<> say(state& s, const std::string& text) {
    const auto guard = co_await s.writing.lock();
    co_await s.out.write(text);
}

task<> run_one(state& s, const std::string& line) {
    const std::vector<std::string> arguments(s.words.begin() + 1, s.words.end());
    os::command c(s.words.front(), arguments);
    c.arg(line).err(os::merged);
    std::string text;
    try {
        os::command_output r = co_await c.output();
        text = std::move(r.out);
        if (!r.status.success()) {
            text += line + ": " + r.status.to_string() + '\n';
            ++s.failures;
        }
    } catch (const ringo::cancelled&) {
        throw;
    } catch (const std::system_error& e) {
        text = line + ": " + e.what() + '\n';
        ++s.failures;
    }
    co_await say(s, text);
}

task<> work(state& s) {
    while (const auto line = co_await s.lines.recv()) {
        co_await run_one(s, *line);
    }
}

task<> read_lines(state& s) {
    ringo::fs::file in = os::stdin_stream();
    ringo::io::buffered_reader lines(in);
    while (const auto line = co_await lines.read_line()) {
        co_await s.lines.send(std::string(*line));
    }
    s.lines.close();
}

task<> run_all(state& s, int at_once) {
    ringo::task_group group;
    for (int i = 0; i < at_once; ++i) {
        group.go(work, std::ref(s));
    }
    group.go(read_lines, std::ref(s));
    co_await group.wait();
}

task<int> co_main(int at_once, std::vector<std::string> words) {
    state s;
    s.words = std::move(words);
    const auto interrupted = os::signal_context({SIGINT, SIGTERM});
    try {
        co_await ringo::within(interrupted, run_all(s, at_once));
    } catch (const ringo::cancelled&) {
        std::fputs("interrupted\n", stderr);
        co_return 130;
    }
    co_return s.failures == 0 ? 0 : 1;
}

/// A number from 1 to 1000; 0 when it is none.
int number(std::string_view text) {
    int n = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, n);
    return error == std::errc() && rest == end && n >= 1 && n <= 1000 ? n : 0;
}

}  // namespace

int main(int argc, char** argv) {
    const int at_once = argc > 2 ? number(argv[1]) : 0;
    if (at_once == 0) {
        std::fputs("usage: run_many AT_ONCE PROGRAM [ARGUMENT...], 1 to 1000 at once\n", stderr);
        return 2;
    }
    try {
        return ringo::run(co_main(at_once, {argv + 2, argv + argc}));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "run_many: %s\n", e.what());
        return 1;
    }
}
