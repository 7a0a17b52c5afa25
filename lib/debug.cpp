#include <ringo/debug.hpp>

#include "cores.hpp"
#include "debug.hpp"
#include "reach.hpp"
#include "snapshot.hpp"
#include "trace.hpp"
#include "watchdog.hpp"

#include <fmt/format.h>

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

/// Of this thread's run, or of all.
void for_each_snapshot(leak_question leaks,
                       const std::function<void(cores_state&, const snapshot&)>& f) {
    const auto look = [&](cores_state& run) { f(run, *snapshot::take(run, leaks)); };
    if (shard* const here = shard::this_thread()) {
        look(here->all);
    } else {
        for_each_run(look);
    }
}

std::vector<debug::goroutine> all_of(leak_question leaks) {
    std::vector<debug::goroutine> found;
    for_each_snapshot(leaks, [&found](cores_state&, const snapshot& s) {
        s.for_each([&found](debug::goroutine&& g) { found.push_back(std::move(g)); });
    });
    return found;
}

}  // namespace

void report_leaks(cores_state& run, std::uint32_t spared) {
    if (!any_orphan.load(std::memory_order_relaxed)) {
        return;
    }
    const auto s = snapshot::take(run, {.sought = true, .nil_counts = false, .spared = spared});
    std::size_t count = 0;
    std::string text;
    s->for_each([&](debug::goroutine&& g) {
        ++count;
        text += goroutine_text(g, now_ns()) + '\n';
    });
    if (count != 0) {
        std::fputs(fmt::format("ringo: {} goroutine{} leaked: nobody can reach the channel\n\n{}",
                               count, count == 1 ? "" : "s", text)
                       .c_str(),
                   stderr);
    }
}

}  // namespace ringo::detail

namespace ringo::debug {

std::vector<goroutine> goroutines() { return detail::all_of({}); }

namespace {

/// Its own frame, and those below, do not count as memory of the program.
[[gnu::noinline]] std::vector<goroutine> all_leaks() {
    const void* const stack = __builtin_frame_address(0);
    std::vector<goroutine> all;
    std::set<std::pair<const void*, std::uint64_t>> known;
    detail::for_each_snapshot({.sought = true},
                              [&](detail::cores_state& run, const detail::snapshot& s) {
                                  const auto add = [&](goroutine&& g) {
                                      if (known.emplace(&run, g.id).second) {
                                          all.push_back(std::move(g));
                                      }
                                  };
                                  s.for_each(add);
                                  detail::for_each_unreachable(run, stack, add);
                              });
    return all;
}

}  // namespace

std::vector<goroutine> leaks() {
    __builtin_unwind_init();  // what callers have in registers alone is in memory from now on
    std::vector<goroutine> all = all_leaks();
    asm volatile("" : : "r"(&all) : "memory");  // no tail call, which would leave this frame first
    return all;
}

void print(std::FILE* out) {
    detail::for_each_snapshot({}, [out](detail::cores_state& run, const detail::snapshot& s) {
        detail::print_snapshot(s, out);
        for (const std::size_t core : s.silent()) {
            const auto missed = s.missed(core);
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
