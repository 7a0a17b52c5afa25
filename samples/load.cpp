// A load generator for echo servers.
//
//     load ADDRESS [--connections N] [--bytes N] [--seconds N]
//
// Each connection writes a message, reads the answer, compares the two, and starts again.
// Exits with 1 when an answer was wrong or a connection failed. Ctrl-C ends the run early.
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/go.hpp>
#include <ringo/net.hpp>
#include <ringo/os.hpp>
#include <ringo/result.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

namespace {

namespace net = ringo::net;
using ringo::task;
using namespace std::chrono_literals;

struct settings {
    std::string address;
    std::size_t connections = 64;
    std::size_t bytes = 64;
    std::size_t seconds = 5;
};

/// Counts durations in buckets that are 3 % wide.
class histogram {
public:
    void add(std::uint64_t ns) noexcept {
        ++counts_[bucket(ns)];
        largest_ = std::max(largest_, ns);
    }

    void merge(const histogram& other) noexcept {
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            counts_[i] += other.counts_[i];
        }
        largest_ = std::max(largest_, other.largest_);
    }

    std::uint64_t total() const noexcept {
        std::uint64_t all = 0;
        for (const std::uint64_t n : counts_) {
            all += n;
        }
        return all;
    }

    /// The duration that `share` of all stay below or equal; 0 when there are none.
    std::uint64_t quantile(double share) const noexcept {
        const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total()));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen > wanted) {
                return std::min(upper_end(i), largest_);
            }
        }
        return largest_;
    }

    std::uint64_t largest() const noexcept { return largest_; }

private:
    static constexpr unsigned sub_bits = 5;
    static constexpr std::uint64_t sub_count = 1U << sub_bits;

    // The first 32 buckets hold one value each; then each power of two has 32 of equal width.
    static std::size_t bucket(std::uint64_t v) noexcept {
        if (v < sub_count) {
            return v;
        }
        const auto shift = static_cast<unsigned>(std::bit_width(v)) - 1 - sub_bits;
        return (shift + 1) * sub_count + ((v >> shift) - sub_count);
    }
    static std::uint64_t upper_end(std::size_t i) noexcept {
        if (i < sub_count) {
            return i;
        }
        const std::size_t shift = i / sub_count - 1;
        return ((sub_count + i % sub_count + 1) << shift) - 1;
    }

    std::array<std::uint64_t, (64 - sub_bits + 1) * sub_count> counts_{};
    std::uint64_t largest_ = 0;
};

/// What the connections of one core saw. Only that core writes.
struct alignas(64) tally {
    histogram latency;
    std::atomic<std::uint64_t> requests{0};  // for the progress line on another core
    std::uint64_t errors = 0;
    std::uint64_t wrong = 0;
    std::string first_error;

    void count_request(std::uint64_t ns) noexcept {
        latency.add(ns);
        requests.store(requests.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    void count_error(std::string what) {
        if (errors++ == 0) {
            first_error = std::move(what);
        }
    }
};

/// No two requests carry the same bytes, so that an answer to another one is noticed.
void fill(std::vector<char>& message, std::uint64_t connection, std::uint64_t request) noexcept {
    std::uint64_t word = connection * 0x9e3779b97f4a7c15 + request * 0xd1b54a32d192ed03;
    for (std::size_t i = 0; i < message.size(); i += sizeof word) {
        word = (word ^ (word >> 29)) * 0xbf58476d1ce4e5b9 + i;
        std::memcpy(message.data() + i, &word, std::min(sizeof word, message.size() - i));
    }
}

task<> write_all(net::conn& c, const std::vector<char>& message) { co_await c.write(message); }

/// Sends a message and receives as many bytes.
task<> exchange(net::conn& c, const std::vector<char>& message, std::vector<char>& answer) {
    constexpr std::size_t fits_in_socket = 32 * 1024;
    if (message.size() <= fits_in_socket) {
        co_await c.write(message);
        co_await c.read_exactly(answer);
        co_return;
    }
    // A larger one can fill the buffers on both ways, so we read while we write.
    auto writing = ringo::spawn(write_all, std::ref(c), std::cref(message));
    std::exception_ptr failure;
    try {
        co_await c.read_exactly(answer);
    } catch (...) {
        failure = std::current_exception();
        writing.cancel();
    }
    const auto written = co_await ringo::as_result(ringo::shield(writing.operator co_await()));
    if (failure) {
        std::rethrow_exception(failure);
    }
    if (!written) {
        throw std::system_error(written.error(), "write");
    }
}

/// One connection, until the time is over.
task<> drive(net::conn c, std::uint64_t connection, std::size_t bytes, tally& result) {
    std::vector<char> message(bytes);
    std::vector<char> answer(bytes);
    try {
        for (std::uint64_t request = 0;; ++request) {
            fill(message, connection, request);
            const auto sent = ringo::clock::now();
            co_await exchange(c, message, answer);
            const ringo::duration took = ringo::clock::now() - sent;
            if (message != answer) {
                ++result.wrong;
                result.count_error("the answer to request " + std::to_string(request) +
                                   " of connection " + std::to_string(connection) + " is wrong");
                co_return;
            }
            result.count_request(static_cast<std::uint64_t>(took.count()));
        }
    } catch (const ringo::cancelled&) {
    } catch (const ringo::deadline_exceeded&) {
    } catch (const std::system_error& e) {
        result.count_error(e.what());
    }
}

/// A core's share of the connections, one after the other: thousands at once would overflow the
/// server's queue.
task<std::vector<net::conn>> dial_share(const settings& s, std::size_t share, tally& result) {
    std::vector<net::conn> connected;
    for (std::size_t i = 0; i < share; ++i) {
        try {
            connected.push_back(co_await net::dial(s.address));
        } catch (const ringo::cancelled&) {
            throw;
        } catch (const std::system_error& e) {
            result.count_error(e.what());
        }
    }
    co_return connected;
}

task<> drive_share(std::vector<net::conn> share, const settings& s, tally& result) {
    std::vector<ringo::join_handle<void>> all;
    for (std::size_t i = 0; i < share.size(); ++i) {
        const std::uint64_t number = i * ringo::cores() + ringo::this_core();
        all.push_back(ringo::spawn(drive, std::move(share[i]), number, s.bytes, std::ref(result)));
    }
    for (auto& one : all) {
        co_await ringo::shield(one.operator co_await());  // they end by themselves
    }
}

/// Shows on a terminal that something happens.
task<> show_progress(const std::vector<tally>& tallies, std::size_t seconds) {
    std::uint64_t before = 0;
    for (std::size_t second = 1;; ++second) {
        co_await ringo::sleep(1s);
        std::uint64_t now = 0;
        for (const tally& t : tallies) {
            now += t.requests.load(std::memory_order_relaxed);
        }
        std::fprintf(stderr, "\r%zu of %zu s   %llu requests/s   ", second, seconds,
                     static_cast<unsigned long long>(now - before));
        before = now;
    }
}

void print_latency(const char* name, std::uint64_t ns) {
    std::printf("  %-14s %12.1f us\n", name, static_cast<double>(ns) / 1000);
}

void print_table(const settings& s, std::size_t connected, ringo::duration took, const tally& sum) {
    const auto requests = static_cast<unsigned long long>(sum.latency.total());
    const double seconds = std::chrono::duration<double>(took).count();
    std::printf("  %-14s %12zu\n", "connections", connected);
    std::printf("  %-14s %12zu bytes\n", "message", s.bytes);
    std::printf("  %-14s %12.2f s\n", "time", seconds);
    std::printf("  %-14s %12llu\n", "requests", requests);
    std::printf("  %-14s %12.0f\n", "requests/s", static_cast<double>(requests) / seconds);
    print_latency("latency p50", sum.latency.quantile(0.5));
    print_latency("p90", sum.latency.quantile(0.9));
    print_latency("p99", sum.latency.quantile(0.99));
    print_latency("p99.9", sum.latency.quantile(0.999));
    print_latency("max", sum.latency.largest());
    std::printf("  %-14s %12llu\n", "errors", static_cast<unsigned long long>(sum.errors));
    std::fflush(stdout);
}

void add_up(const std::vector<tally>& tallies, tally& sum) {
    for (const tally& t : tallies) {
        sum.latency.merge(t.latency);
        sum.wrong += t.wrong;
        if (sum.errors == 0) {
            sum.first_error = t.first_error;
        }
        sum.errors += t.errors;
    }
}

/// What the run was worth: the exit status, with a reason on stderr when it is not 0.
int verdict(const settings& s, const tally& sum) {
    if (sum.errors == 0 && sum.latency.total() != 0) {
        return 0;
    }
    if (sum.errors == 0) {
        std::fputs("load: no answer came\n", stderr);
    } else {
        std::fprintf(stderr, "load: %llu of %zu connections failed, %llu by a wrong answer; %s\n",
                     static_cast<unsigned long long>(sum.errors), s.connections,
                     static_cast<unsigned long long>(sum.wrong), sum.first_error.c_str());
    }
    return 1;
}

task<int> co_main(settings s) {
    const std::size_t cores = ringo::cores();
    std::vector<tally> tallies(cores);
    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});

    std::vector<ringo::join_handle<std::vector<net::conn>>> dialing;
    for (std::size_t core = 0; core < cores; ++core) {
        const std::size_t share = s.connections / cores + (core < s.connections % cores ? 1 : 0);
        dialing.push_back(ringo::spawn(ringo::on(core).with(interrupted), dial_share, std::cref(s),
                                       share, std::ref(tallies[core])));
    }
    std::size_t connected = 0;
    std::vector<std::vector<net::conn>> shares;
    for (auto& part : dialing) {
        shares.push_back(co_await part);
        connected += shares.back().size();
    }

    const auto start = ringo::clock::now();
    if (connected != 0) {
        const auto limit = ringo::with_timeout(interrupted, std::chrono::seconds(s.seconds));
        const bool terminal = ::isatty(STDERR_FILENO) == 1;
        if (terminal) {
            ringo::go(ringo::with(limit), show_progress, std::cref(tallies), s.seconds);
        }
        std::vector<ringo::join_handle<void>> running;
        for (std::size_t core = 0; core < cores; ++core) {
            running.push_back(ringo::spawn(ringo::on(core).with(limit), drive_share,
                                           std::move(shares[core]), std::cref(s),
                                           std::ref(tallies[core])));
        }
        for (auto& part : running) {
            co_await part;
        }
        if (terminal) {
            std::fputs("\r\033[K", stderr);  // the line has served
        }
    }
    const ringo::duration took = ringo::clock::now() - start;

    const auto sum = std::make_unique<tally>();
    add_up(tallies, *sum);
    if (connected != 0) {
        print_table(s, connected, took, *sum);
    }
    co_return verdict(s, *sum);
}

// --- the command line ---

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

std::size_t number(std::string_view option, const char* text, std::size_t most) {
    std::size_t value = 0;
    const char* const given = text != nullptr ? text : "";
    const char* const end = given + std::strlen(given);
    const auto [rest, error] = std::from_chars(given, end, value);
    if (error != std::errc() || rest != end || value < 1 || value > most) {
        refuse(std::string(option) + " is \"" + given + "\"; it must be a number from 1 to " +
               std::to_string(most));
    }
    return value;
}

settings parse(int argc, char** argv) {
    settings s;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const char* const next = argv[i + 1];  // null after the last
        if (word == "--connections") {
            s.connections = number(word, next, 1'000'000);
            ++i;
        } else if (word == "--bytes") {
            s.bytes = number(word, next, 64 << 20);
            ++i;
        } else if (word == "--seconds") {
            s.seconds = number(word, next, 86'400);
            ++i;
        } else if (word.starts_with("-") || !s.address.empty()) {
            refuse("what is \"" + std::string(word) + "\"?");
        } else {
            s.address = word;
        }
    }
    if (s.address.empty()) {
        refuse("no ADDRESS");
    }
    constexpr std::size_t memory_max = std::size_t{4} << 30;
    if (s.connections * s.bytes * 2 > memory_max) {
        refuse("--connections " + std::to_string(s.connections) + " with --bytes " +
               std::to_string(s.bytes) + " need more than 4 GiB of messages");
    }
    return s;
}

/// A descriptor for each connection, and some for ringo.
void allow_descriptors(std::size_t connections) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    constexpr rlim_t spare = 64;
    if (connections + spare > limit.rlim_max) {
        refuse("--connections is " + std::to_string(connections) + "; this process may open " +
               std::to_string(limit.rlim_max) + " files (ulimit -Hn)");
    }
}

}  // namespace

int main(int argc, char** argv) {
    settings s;
    try {
        s = parse(argc, argv);
        allow_descriptors(s.connections);
    } catch (const std::invalid_argument& e) {
        std::fprintf(stderr,
                     "load: %s\n"
                     "usage: load ADDRESS [--connections N] [--bytes N] [--seconds N]\n",
                     e.what());
        return 2;
    }
    try {
        return ringo::run(co_main(std::move(s)));
    } catch (const ringo::cancelled&) {
        std::fputs("load: interrupted before all were connected\n", stderr);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "load: %s\n", e.what());
    }
    return 1;
}
