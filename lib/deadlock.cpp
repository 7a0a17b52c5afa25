#include "deadlock.hpp"

#include "blocking_pool.hpp"
#include "context.hpp"
#include "cores.hpp"
#include "debug.hpp"
#include "sanitizers.hpp"
#include "shard.hpp"
#include "snapshot.hpp"
#include "watchdog.hpp"

#include <ringo/detail/operation.hpp>

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

namespace ringo::detail {

std::string describe_parked(cores_state& all) {
    std::map<std::string_view, std::size_t> waits;
    std::size_t count = 0;
    for (std::size_t core = 0; core < all.size(); ++core) {
        for (const scope* in = all.shard_at(core).scopes(); in != nullptr; in = in->shard_next) {
            for (const goroutine* g = in->goroutines; g != nullptr; g = g->scope_next) {
                ++waits[g->waiting != nullptr ? g->waiting->type->name : "unknown"];
                ++count;
            }
        }
    }
    std::string text = fmt::format("{} goroutine{}", count, count == 1 ? "" : "s");
    const char* separator = ": ";
    for (const auto& [name, times] : waits) {
        text += std::exchange(separator, ", ");
        text += name;
        if (times != 1) {
            text += fmt::format(" ({})", times);
        }
    }
    return text;
}

namespace {

// ThreadSanitizer has a thread of its own, at the latest when there is any other.
constexpr std::size_t sanitizer_threads = under_tsan ? 1 : 0;

/// io_uring's workers are the kernel's, though they count as ours.
bool is_kernel_worker(int tasks, const char* id) noexcept {
    const int fd = ::openat(tasks, fmt::format("{}/comm", id).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    char name[4] = {};
    const ::ssize_t n = ::read(fd, name, sizeof name);
    ::close(fd);
    return n == sizeof name && std::string_view(name, sizeof name) == "iou-";
}

/// None: there is no /proc.
std::optional<std::size_t> count_threads() noexcept {
    ::DIR* const tasks = ::opendir("/proc/self/task");
    if (tasks == nullptr) {
        return std::nullopt;
    }
    std::size_t count = 0;
    while (const ::dirent* const entry = ::readdir(tasks)) {
        const bool is_task = entry->d_name[0] != '.';
        count += is_task && !is_kernel_worker(::dirfd(tasks), entry->d_name) ? 1 : 0;
    }
    ::closedir(tasks);
    return count;
}

/// Unlike any other time at which all cores nap; none: one of them does not.
std::optional<std::uint64_t> common_nap(cores_state& all) noexcept {
    std::uint64_t sum = 0;  // of what only grows: equal sums are equal naps
    for (std::size_t core = 0; core < all.size(); ++core) {
        const std::uint64_t nap = all.shard_at(core).nap();
        if (nap == 0) {
            return std::nullopt;
        }
        sum += nap;
    }
    return sum;
}

bool any_mail(cores_state& all) noexcept {
    for (std::size_t core = 0; core < all.size(); ++core) {
        if (all.shard_at(core).has_mail()) {
            return true;
        }
    }
    return all.has_idle_work();
}

}  // namespace

bool has_other_threads(cores_state& all, std::size_t but) noexcept {
    const auto count = count_threads();
    const std::size_t own = all.size() + all.pool().threads() + all.resolver_pool().threads() +
                            watchdog_threads() + sanitizer_threads;
    return !count || *count > own + but;
}

// Why so: if the first and the last look see the same naps, then all cores nap in between. No
// thread is made then, and none was there but the run's, so what is in no inbox then never comes.
// Another thread may be about to wake a goroutine: who holds a channel need not have touched it yet.
// A core that wakes later, in vain, waits: it must not change what the report reads.
bool is_deadlock(cores_state& all) noexcept {
    const auto nap = common_nap(all);
    if (!nap || all.ending() || has_other_threads(all, 0) || any_mail(all) ||
        all.naps_held.exchange(true)) {
        return false;
    }
    if (common_nap(all) != nap) {
        all.naps_held = false;
        return false;
    }
    return true;
}

void end_by_deadlock(cores_state& all) noexcept {
    std::fflush(nullptr);
    std::fputs(
        fmt::format("fatal error: {}\n\n{}\n\n", deadlock_message, describe_parked(all)).c_str(),
        stderr);
    print_snapshot(*snapshot::take_asleep(all), stderr);
    std::_Exit(2);  // no destructors: the other threads are still there
}

}  // namespace ringo::detail
