// Copies a file, or a folder with all that is in it.    copy_tree FROM TO
//
// Sixteen files at a time. The first error stops the rest; so does Ctrl-C.
#include <ringo/context.hpp>
#include <ringo/fs.hpp>
#include <ringo/io.hpp>
#include <ringo/os.hpp>
#include <ringo/run.hpp>
#include <ringo/task_group.hpp>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace fs = ringo::fs;
namespace io = ringo::io;

struct totals {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
};

ringo::task<> copy_file(std::string from, std::string to, totals& sum) {
    fs::file in = co_await fs::open(from);
    const fs::info i = co_await in.stat();
    fs::file out = co_await fs::open(to, O_WRONLY | O_CREAT | O_TRUNC, i.permissions());
    sum.bytes += co_await io::copy(out, in);
    ++sum.files;
    co_await out.close();
}

ringo::task<> copy_any(ringo::task_group& group, std::string from, std::string to, totals& sum) {
    const fs::info i = co_await fs::symlink_stat(from);
    if (i.is_dir()) {
        co_await fs::make_dirs(to);
        const std::vector<fs::entry> inside = co_await fs::list(from);
        for (const fs::entry& e : inside) {
            co_await copy_any(group, from + '/' + e.name, to + '/' + e.name, sum);
        }
    } else if (i.is_symlink()) {
        const std::string target = co_await fs::read_symlink(from);
        co_await fs::symlink(target, to);
    } else {
        group.go(copy_file, std::move(from), std::move(to), std::ref(sum));
    }
}

ringo::task<> copy_tree(std::string from, std::string to, totals& sum) {
    ringo::task_group group;
    group.limit(16);
    group.go(copy_any, std::ref(group), std::move(from), std::move(to), std::ref(sum));
    co_await group.wait();
}

ringo::task<int> co_main(std::string from, std::string to) {
    totals sum;
    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    co_await ringo::within(interrupted, copy_tree(std::move(from), std::move(to), sum));
    std::printf("%llu files, %llu bytes\n", static_cast<unsigned long long>(sum.files),
                static_cast<unsigned long long>(sum.bytes));
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: copy_tree FROM TO\n");
        return 2;
    }
    try {
        return ringo::run(co_main(argv[1], argv[2]));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "copy_tree: %s\n", e.what());
        return 1;
    }
}
