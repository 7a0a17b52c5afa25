// What the benchmarks share: repeat, take the median, print one line.
#pragma once

#include <ringo/task.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <sys/resource.h>

namespace bench {

/// The number at `index` on the command line.
inline long argument(int argc, char** argv, int index, long otherwise) {
    return argc > index ? std::strtol(argv[index], nullptr, 10) : otherwise;
}

inline std::int64_t wall_ns() {
    return std::chrono::steady_clock::now().time_since_epoch().count();
}

/// CPU time of the whole process.
inline std::int64_t cpu_ns() {
    rusage u{};
    ::getrusage(RUSAGE_SELF, &u);
    const auto ns = [](const timeval& t) {
        return t.tv_sec * 1'000'000'000LL + t.tv_usec * 1000LL;
    };
    return ns(u.ru_utime) + ns(u.ru_stime);
}

/// Bytes of memory that this process has resident.
inline std::int64_t resident_bytes() {
    long pages = 0;
    long resident = 0;
    if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
        if (std::fscanf(f, "%ld %ld", &pages, &resident) != 2) {
            resident = 0;
        }
        std::fclose(f);
    }
    return resident * 4096;
}

/// The rounds of one question.
class rounds {
public:
    rounds(const char* name, long operations, const char* unit = "ns")
        : name_(name), unit_(unit), operations_(operations) {}

    /// What all the operations of a round took together.
    void add(std::int64_t total) {
        each_.push_back(static_cast<double>(total) / static_cast<double>(operations_));
    }

    /// One line, columns between tabs, which perf/run.sh reads: the median, least and greatest
    /// round per operation, the first round (with memory that was never touched before), and what
    /// proves that the work was done. Programs for other systems (perf/vs) print the same.
    void print(long checksum) {
        static bool titled = false;
        if (!titled) {
            std::printf("%-28s\t%9s\tunit\t%9s\t%9s\t%9s\t%9s\tchecksum\n", "workload", "n",
                        "median", "min", "max", "first");
            titled = true;
        }
        const double first = each_.front();
        std::sort(each_.begin(), each_.end());
        std::printf("%-28s\t%9ld\t%s\t%9.2f\t%9.2f\t%9.2f\t%9.2f\t%ld\n", name_, operations_, unit_,
                    each_[each_.size() / 2], each_.front(), each_.back(), first, checksum);
        std::fflush(stdout);
    }

private:
    const char* name_;
    const char* unit_;
    long operations_;
    std::vector<double> each_;
};

/// Times `work(count)`, which returns its share of the checksum, `repeat` times.
inline ringo::task<> measure(const char* name, ringo::task<long> (*work)(long), long count,
                             long repeat) {
    rounds r(name, count);
    long checksum = 0;
    for (long i = 0; i < repeat; ++i) {
        const auto start = wall_ns();
        checksum += co_await work(count);
        r.add(wall_ns() - start);
    }
    r.print(checksum);
}

}  // namespace bench
