// How fast are random reads of 4 KiB, 64 at a time?    files [READS] [ROUNDS] [FILE] [HOW]
//
// HOW: cached, registered
//
// 64 goroutines on one core read blocks of FILE, past the page cache unless told otherwise, and into
// buffers that are registered with the core's ring where told so. Without FILE it is one of 16 MiB
// that goes again. files.sh compares with fio.
#include "bench.hpp"

#include <ringo/fs.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/wait_group.hpp>

#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

namespace fs = ringo::fs;

constexpr std::size_t block = 4096;
constexpr int depth = 64;

ringo::task<> read_blocks(fs::file& f, std::uint64_t blocks, std::uint64_t seed, long& left,
                          bool registered, long& sum) {
    fs::aligned_buffer buffer(block);
    if (registered && !buffer.register_here()) {
        throw std::runtime_error("no buffer can be registered here");
    }
    std::uint64_t random = seed;
    while (left-- > 0) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        sum += static_cast<long>(co_await f.read_at(buffer, random % blocks * block));
    }
}

ringo::task<fs::file> made() {
    fs::file f = co_await fs::temporary_file(".");
    const std::string data(16 << 20, 'x');
    co_await f.write(data);
    co_return f;
}

ringo::task<int> co_main(long reads, long rounds, const char* path, std::string_view how) {
    fs::file f;
    bool direct = how != "cached";
    const bool registered = how == "registered";
    if (path != nullptr) {
        f = co_await fs::open(path, direct ? O_RDONLY | O_DIRECT : O_RDONLY);
    } else {
        f = co_await made();
        direct = false;  // whoever wants to know gives a file
    }
    const std::uint64_t blocks = co_await f.size() / block;
    bench::rounds timed(direct ? "random 4 KiB, direct" : "random 4 KiB, cached", reads);
    bench::rounds cpu("  of that CPU", reads);
    long sum = 0;
    for (long r = 0; r < rounds; ++r) {
        const auto start = bench::wall_ns();
        const auto cpu_start = bench::cpu_ns();
        long left = reads;
        ringo::wait_group readers;
        for (int i = 0; i < depth; ++i) {
            readers.go(read_blocks, std::ref(f), blocks,
                       static_cast<std::uint64_t>(r * depth + i + 1), std::ref(left), registered,
                       std::ref(sum));
        }
        co_await readers.wait();
        timed.add(bench::wall_ns() - start);
        cpu.add(bench::cpu_ns() - cpu_start);
    }
    timed.print(sum);
    cpu.print(sum);
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return ringo::run(
            co_main(bench::argument(argc, argv, 1, 200'000), bench::argument(argc, argv, 2, 5),
                    argc > 3 ? argv[3] : nullptr, argc > 4 ? argv[4] : ""),
            {.cores = 1});
    } catch (const std::exception& e) {
        std::fprintf(stderr, "files: %s\n", e.what());
        return 1;
    }
}
