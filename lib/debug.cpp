#include <ringo/debug.hpp>

#include "cores.hpp"
#include "debug.hpp"
#include "reach.hpp"
#include "snapshot.hpp"
#include "trace.hpp"
#include "watchdog.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <utility>

namespace ringo::detail {

std::string goroutine_text(const debug::goroutine& g, std::int64_t now_ns) {
    std::string text = fmt::format("goroutine {} [{}", g.id, g.state);
    if (g.waited.count() != 0) {
        text += fmt::format(", {}", debug_duration(g.waited));
    }
    text += fmt::format(", core {}, age {}", g.core, debug_duration(g.age));
    if (g.deadline) {
        const duration left = *g.deadline - time_point(duration(now_ns));
        text += left.count() > 0 ? fmt::format(", deadline in {}", debug_duration(left))
                                 : std::string(", past its deadline");
    }
    return text + "]:\n" + trace_text(g);
}

void print_snapshot(const snapshot& s, std::FILE* out) {
    const std::int64_t now = now_ns();
    s.for_each(
        [&](debug::goroutine&& g) { std::fputs((goroutine_text(g, now) + '\n').c_str(), out); });
}

namespace {

/// This thread's, or all.
void for_each_asked_run(const std::function<void(cores_state&)>& f) {
    if (shard* const here = shard::this_thread()) {
        f(here->all);
    } else {
        for_each_run(f);
    }
}

/// What the callers' registers held is in memory; the frames from here on do not count.
[[gnu::noinline]] std::vector<debug::goroutine> leaks_of(cores_state& run, leak_question q,
                                                         std::size_t memory_max) {
    std::vector<debug::goroutine> all;
    std::set<std::uint64_t> known;
    const auto add = [&](debug::goroutine&& g) {
        if (known.insert(g.id).second) {
            all.push_back(std::move(g));
        }
    };
    if (q.nil_counts || any_orphan.load(std::memory_order_relaxed)) {
        snapshot::take(run, q)->for_each(add);
    }
    for_each_unreachable(run, __builtin_frame_address(0), q.spared, memory_max, add);
    return all;
}

}  // namespace

void report_leaks(cores_state& run, std::uint32_t spared) {
    if (run.live() == 0) {
        return;
    }
    __builtin_unwind_init();
    constexpr std::size_t memory_max = std::size_t{1} << 30U;  // reading that takes 0.4 s
    const auto all =
        leaks_of(run, {.sought = true, .nil_counts = false, .spared = spared}, memory_max);
    if (all.empty()) {
        return;
    }
    std::string text = fmt::format("ringo: {} goroutine{} leaked: nobody can reach the channel\n\n",
                                   all.size(), all.size() == 1 ? "" : "s");
    for (const debug::goroutine& g : all) {
        text += goroutine_text(g, now_ns()) + '\n';
    }
    std::fputs(text.c_str(), stderr);
}

}  // namespace ringo::detail

namespace ringo::debug {

std::vector<goroutine> goroutines() {
    std::vector<goroutine> all;
    detail::for_each_asked_run([&all](detail::cores_state& run) {
        detail::snapshot::take(run)->for_each(
            [&all](goroutine&& g) { all.push_back(std::move(g)); });
    });
    return all;
}

std::vector<goroutine> leaks() {
    __builtin_unwind_init();  // what callers have in registers alone is in memory from now on
    std::vector<goroutine> all;
    detail::for_each_asked_run([&all](detail::cores_state& run) {
        for (goroutine& g : detail::leaks_of(run, {.sought = true}, SIZE_MAX)) {
            all.push_back(std::move(g));
        }
    });
    return all;
}

void print(std::FILE* out) {
    detail::for_each_asked_run([out](detail::cores_state& run) {
        const auto s = detail::snapshot::take(run);
        detail::print_snapshot(*s, out);
        for (const std::size_t core : s->silent()) {
            const auto missed = s->missed(core);
            const std::string others =
                !missed        ? "; its other goroutines are not listed"
                : *missed != 0 ? fmt::format("; {} of its goroutines are not listed", *missed)
                               : std::string();
            std::fputs(fmt::format("core {} does not pause{}\n{}\n", core, others,
                                   detail::running_text(run.shard_at(core)))
                           .c_str(),
                       out);
        }
    });
    std::fflush(out);
}

}  // namespace ringo::debug
