#include "metrics.hpp"

#include "core_counts.hpp"
#include "cores.hpp"
#include "shard.hpp"

#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/panic.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include <cstring>

namespace ringo {

namespace detail {

// No default: a new code is a warning here.
const char* name_of(io_code code) noexcept {
    switch (code) {
        case io_code::none:
            return "none";
        case io_code::read:
            return "read";
        case io_code::receive:
            return "receive";
        case io_code::receive_multishot:
            return "receive_multishot";
        case io_code::receive_messages:
            return "receive_messages";
        case io_code::send:
            return "send";
        case io_code::send_message:
            return "send_message";
        case io_code::send_zero_copy:
            return "send_zero_copy";
        case io_code::send_message_zero_copy:
            return "send_message_zero_copy";
        case io_code::accept:
            return "accept";
        case io_code::accept_multishot:
            return "accept_multishot";
        case io_code::connect:
            return "connect";
        case io_code::poll:
            return "poll";
        case io_code::file_read:
            return "file_read";
        case io_code::file_write:
            return "file_write";
        case io_code::file_sync:
            return "file_sync";
        case io_code::file_open:
            return "file_open";
        case io_code::file_close:
            return "file_close";
        case io_code::file_stat:
            return "file_stat";
        case io_code::file_rename:
            return "file_rename";
        case io_code::file_remove:
            return "file_remove";
        case io_code::file_make_dir:
            return "file_make_dir";
        case io_code::file_symlink:
            return "file_symlink";
        case io_code::file_splice:
            return "file_splice";
    }
    return nullptr;
}

namespace {

metrics::histogram histogram_of(const time_counts& counts) noexcept {
    static_assert(metrics::histogram::bucket_count == time_counts::bucket_count);
    metrics::histogram h;
    for (std::size_t i = 0; i < h.buckets.size(); ++i) {
        h.buckets[i] = counts.bucket(i);
    }
    h.sum = std::chrono::nanoseconds(counts.sum_ns());
    return h;
}

std::vector<metrics::operations> operations_of(const kernel_counts& counts) {
    std::vector<metrics::operations> all;
    for (std::size_t code = 0; code < kernel_counts::code_count; ++code) {
        const std::uint64_t completed = counts.completed(code);
        const std::uint64_t submitted = counts.started(code);
        const char* const name = name_of(static_cast<io_code>(code));
        if (submitted != 0 && name != nullptr) {
            all.push_back({name, submitted, completed, submitted - std::min(completed, submitted)});
        }
    }
    return all;
}

std::vector<metrics::failures> failures_of(const kernel_counts& counts) {
    std::vector<metrics::failures> all;
    for (std::size_t error = 0; error < kernel_counts::error_count; ++error) {
        if (const std::uint64_t count = counts.errors(error); count != 0) {
            const char* const name =
                error == 0 ? "other" : ::strerrorname_np(static_cast<int>(error));
            all.push_back({name != nullptr ? name : fmt::format("{}", error),
                           static_cast<int>(error), count});
        }
    }
    return all;
}

void see_frames(metrics::core& m, const frame_cache& cache) noexcept {
    for (std::size_t c = 0; c < frame_class_count; ++c) {
        const std::uint64_t count = std::uint64_t{cache.loaded[c].count} + cache.spare[c].count;
        m.frames_pooled += count;
        m.frames_pooled_bytes += count * c * frame_granule;
    }
    m.frames_slab_bytes = cache.slab_bytes;
}

metrics::core core_of(shard& s) {
    const core_counts& counts = s.counts;
    const kernel_counts& io = s.io().counts;
    metrics::core m;
    m.goroutines_ended = s.ended();
    m.goroutines_started = s.started();
    m.resumes = counts.resumes.value();
    m.ready = counts.ready.value();
    m.ready_time = histogram_of(counts.ready_time);
    m.turns = counts.turns.value();
    m.turn_time = histogram_of(counts.turn_time);
    m.sleeps = counts.sleeps.value();
    m.timers = counts.timers.value();
    m.messages = counts.messages.value();
    m.wakes_sent = counts.wakes_sent.value();
    m.wakes_from_outside = s.outside_wakes();
    m.system_calls = io.system_calls.value();
    m.accepts = io.accepts.value();
    m.kernel_operations = operations_of(io);
    m.errors = failures_of(io);
    if (const frame_cache* const frames = s.frames(); frames != nullptr) {
        see_frames(m, *frames);
    }
    return m;
}

}  // namespace

metrics metrics_of(cores_state& all) {
    metrics m;
    const std::string kernel = all.shard_at(0).io().describe();
    const std::size_t comma = kernel.find(", ");
    m.backend = kernel.substr(0, comma);
    m.features = comma == std::string::npos ? "" : kernel.substr(comma + 2);
    m.goroutines = all.live();
    m.goroutines_from_outside = all.submitted();
    for (std::size_t core = 0; core < all.size(); ++core) {
        m.cores.push_back(core_of(all.shard_at(core)));
    }
    return m;
}

}  // namespace detail

std::uint64_t metrics::histogram::count() const noexcept {
    return std::accumulate(buckets.begin(), buckets.end(), std::uint64_t{0});
}

metrics debug::metrics() {
    detail::shard* const here = detail::shard::this_thread();
    if (here == nullptr) {
        detail::panic("debug::metrics: called outside a runtime's cores; use runtime::metrics()");
    }
    return detail::metrics_of(here->all);
}

}  // namespace ringo
