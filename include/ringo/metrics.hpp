// metrics: what a runtime's cores have counted so far.
#pragma once

#include <ringo/time.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace ringo {

/// Numbers since the start of a run, from `runtime::metrics()` or `debug::metrics()`. Each core
/// counts what it does in places of its own, so the numbers are not of one instant.
struct metrics {
    /// How many times fell between one limit and the next.
    struct histogram {
        static constexpr std::size_t bucket_count = 22;

        /// Of bucket i: 2^i microseconds, 1 us to 1 s. The last has none.
        static constexpr duration limit(std::size_t i) noexcept {
            return std::chrono::microseconds(std::int64_t{1} << i);
        }
        /// Times in all.
        [[nodiscard]] std::uint64_t count() const noexcept;

        std::array<std::uint64_t, bucket_count> buckets{};  // [i]: above limit(i - 1), not limit(i)
        duration sum{0};
    };

    /// Operations that a core gave its kernel; those that a direct call served are not among them.
    struct operations {
        std::string kind;  // `receive`, `file_read`, …
        std::uint64_t submitted = 0;
        std::uint64_t completed = 0;
        std::uint64_t in_flight = 0;
    };

    /// Kernel operations that failed; a cancelled one is an ECANCELED.
    struct failures {
        std::string error;  // `ECONNRESET`, …
        int code = 0;       // an errno; 0: any other
        std::uint64_t count = 0;
    };

    struct core {
        std::uint64_t goroutines_started = 0;       // by this core, some of them for others
        std::uint64_t goroutines_ended = 0;         // on it
        std::uint64_t resumes = 0;                  // of goroutines
        std::uint64_t ready = 0;                    // goroutines in the ready queue: a sample
        histogram ready_time;                       // that a goroutine spent there: samples
        std::uint64_t turns = 0;                    // of its loop
        histogram turn_time;                        // without the wait for the kernel
        std::uint64_t sleeps = 0;                   // turns that had nothing else to do
        std::uint64_t timers = 0;                   // sleeping goroutines, contexts' deadlines, …
        std::uint64_t messages = 0;                 // from other cores and threads
        std::uint64_t wakes_sent = 0;               // to other cores that slept
        std::uint64_t wakes_from_outside = 0;       // by threads that are no cores
        std::uint64_t system_calls = 0;             // of its loop, and tries at sockets
        std::uint64_t accepts = 0;                  // connections
        std::vector<operations> kernel_operations;  // by kind; those that there were
        std::vector<failures> errors;               // by errno; those that there were
        std::uint64_t frames_pooled = 0;            // free blocks for goroutines
        std::uint64_t frames_pooled_bytes = 0;
        std::uint64_t frames_slab_bytes = 0;  // taken from the system for frames, for good
    };

    std::string backend;                        // `io_uring`, …
    std::string features;                       // ... what of it is in use
    std::uint64_t goroutines = 0;               // alive
    std::uint64_t goroutines_from_outside = 0;  // started by threads that are no cores
    std::vector<core> cores;
};

namespace debug {

/// What the cores of this goroutine's runtime have counted so far.
///
/// panics   outside a runtime's cores, where runtime::metrics() answers
/// cost     for the cores: none but the counting, which is always on
[[nodiscard]] ringo::metrics metrics();

/// Writes them in Prometheus' text format, version 0.0.4, whose names begin with `ringo_`.
///
/// follows  prometheus.io, "Exposition formats"
void write_prometheus(std::string& out, const ringo::metrics& m = metrics());
void write_prometheus(std::FILE* out, const ringo::metrics& m = metrics());

}  // namespace debug

}  // namespace ringo
