// The ready goroutines of a run whose order a seed decides.
#pragma once

#include <ringo/detail/goroutine.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringo::detail {

class ready_bag {
public:
    bool empty() const noexcept { return goroutines_.empty(); }
    void add(goroutine& g) { goroutines_.push_back(&g); }

    /// Takes one out. random: 32 random bits
    goroutine& take(std::uint32_t random) noexcept {
        const auto i =
            static_cast<std::size_t>((std::uint64_t{random} * goroutines_.size()) >> 32U);
        goroutine& g = *goroutines_[i];
        goroutines_[i] = goroutines_.back();
        goroutines_.pop_back();
        return g;
    }

private:
    std::vector<goroutine*> goroutines_;
};

}  // namespace ringo::detail
