// What the benchmarks share: repeat, take the median, print one line.
#pragma once

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
inline long resident_bytes() {
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
    rounds(const char* name, long operations) : name_(name), operations_(operations) {}

    void add(std::int64_t ns) {
        ns_.push_back(static_cast<double>(ns) / static_cast<double>(operations_));
    }

    /// Median, fastest and slowest round in ns per operation, the first round (with memory that
    /// was never touched before), and what proves that the work was done.
    void print(long checksum) {
        const double first = ns_.front();
        std::sort(ns_.begin(), ns_.end());
        std::printf(
            "%-28s %8.2f ns/op   min %.2f  max %.2f  first %.2f   n %ld x %zu   "
            "checksum %ld\n",
            name_, ns_[ns_.size() / 2], ns_.front(), ns_.back(), first, operations_, ns_.size(),
            checksum);
    }

private:
    const char* name_;
    long operations_;
    std::vector<double> ns_;
};

}  // namespace bench
