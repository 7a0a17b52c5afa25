// When goroutines were made, from their ids: a core issues these in order, so a few notes of which
// one was next at what time do for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringo::detail {

class ages {
public:
    /// next_id: not issued before `tick`. At most once per tick.
    void note(std::uint32_t next_id, std::uint32_t tick);

    /// From here on another may be copied into this without an allocation.
    void make_room() { marks_.reserve(marks_max); }

    /// The latest tick known to be no later than that at which `id` was issued.
    std::uint32_t made_at(std::uint32_t id) const noexcept;

private:
    struct mark {
        std::uint32_t id;
        std::uint32_t tick;
    };
    static constexpr std::size_t marks_max = 512;

    void thin();

    std::vector<mark> marks_;  // oldest first
};

}  // namespace ringo::detail
