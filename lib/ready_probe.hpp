// How long the ready queue is, and how long one waits in it: a sample now and then.
//
// At the beginning of a turn the last goroutine of the queue is marked. When its turn comes, the
// time since is how long it has waited, and those that were taken since, but for what they made
// ready, stood before it. So waking costs nothing, and a resume one comparison.
//
// Invariant: a goroutine leaves the ready queue by being resumed from it, so a mark neither
// dangles nor meets another goroutine at the same address.
#pragma once

#include "core_counts.hpp"

#include <ringo/detail/goroutine.hpp>

#include <cstdint>
#include <limits>

namespace ringo::detail {

class ready_probe {
public:
    bool is_due(std::int64_t now_ns) const noexcept { return now_ns >= due_ns_; }
    bool marks(const goroutine& g) const noexcept { return marked_ == &g; }

    /// The last one of `queue`.
    void mark(const ready_queue& queue, std::int64_t now_ns, core_counts& counts) noexcept {
        marked_ = queue.last();
        begin_ns_ = now_ns;
        taken_ = queue.taken();
        if (marked_ != nullptr) {
            due_ns_ = std::numeric_limits<std::int64_t>::max();
        } else {
            counts.ready.set(0);
        }
    }

    /// Its turn has come.
    void found(const ready_queue& queue, std::int64_t now_ns, core_counts& counts) noexcept {
        marked_ = nullptr;
        due_ns_ = now_ns + pause_ns;
        counts.ready_time.add(now_ns - begin_ns_);
        counts.ready.set(queue.taken() - taken_);
    }

private:
    static constexpr std::int64_t pause_ns = 100'000;

    const goroutine* marked_ = nullptr;
    std::int64_t due_ns_ = 0;
    std::int64_t begin_ns_ = 0;
    std::uint64_t taken_ = 0;
};

}  // namespace ringo::detail
