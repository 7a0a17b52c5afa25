// How long the ready queue is, and how long one waits in it: a sample now and then.
//
// At the beginning of a turn the last goroutine of the queue is marked. When its turn comes, the
// time since is how long it has waited, and the resumes since are those that stood before it. So
// waking costs nothing, and a resume one comparison.
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

    /// last: in the queue; null when that is empty. resumes: so far
    void mark(const goroutine* last, std::uint64_t resumes, std::int64_t now_ns,
              core_counts& counts) noexcept {
        marked_ = last;
        begin_ns_ = now_ns;
        resumes_ = resumes;
        if (last != nullptr) {
            due_ns_ = std::numeric_limits<std::int64_t>::max();
        } else {
            counts.ready.set(0);
        }
    }

    /// Its turn has come, after so many others.
    void found(std::uint64_t resumes, std::int64_t now_ns, core_counts& counts) noexcept {
        marked_ = nullptr;
        due_ns_ = now_ns + pause_ns;
        counts.ready_time.add(now_ns - begin_ns_);
        counts.ready.set(resumes - resumes_ + 1);
    }

private:
    static constexpr std::int64_t pause_ns = 100'000;

    const goroutine* marked_ = nullptr;
    std::int64_t due_ns_ = 0;
    std::int64_t begin_ns_ = 0;
    std::uint64_t resumes_ = 0;
};

}  // namespace ringo::detail
