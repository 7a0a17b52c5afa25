#include "ages.hpp"

#include <algorithm>
#include <iterator>

namespace ringo::detail {

namespace {
constexpr std::uint32_t precision = 16;  // ages are right to a sixteenth
}  // namespace

void ages::note(std::uint32_t next_id, std::uint32_t tick) {
    if (!marks_.empty() && marks_.back().id == next_id) {
        marks_.back().tick = tick;
        return;
    }
    if (marks_.size() == marks_max) {
        thin();
    }
    marks_.push_back({next_id, tick});
}

std::uint32_t ages::made_at(std::uint32_t id) const noexcept {
    // Ids come round after four billion: what counts is how far apart they are.
    const auto after = std::find_if(marks_.rbegin(), marks_.rend(), [id](const mark& m) {
        return static_cast<std::int32_t>(id - m.id) >= 0;
    });
    if (after != marks_.rend()) {
        return after->tick;
    }
    return marks_.empty() ? 0 : marks_.front().tick;
}

/// Keeps marks that are the further apart the older they are.
void ages::thin() {
    const std::uint32_t now = marks_.back().tick;
    std::vector<mark> kept;
    for (auto m = marks_.rbegin(); m != marks_.rend(); ++m) {
        const bool is_end = std::next(m) == marks_.rend();
        if (kept.empty() || is_end || (kept.back().tick - m->tick) * precision >= now - m->tick) {
            kept.push_back(*m);
        }
    }
    marks_.assign(kept.rbegin(), kept.rend());
}

}  // namespace ringo::detail
