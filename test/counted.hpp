// Whether all that was made has been destroyed.
#pragma once

#include <atomic>

namespace test {

/// One of `alive`, and so is each copy.
struct counted {
    explicit counted(std::atomic<int>& n) noexcept : alive(&n) { ++*alive; }
    counted(const counted& other) noexcept : alive(other.alive) { ++*alive; }
    counted(counted&& other) noexcept : alive(other.alive) { ++*alive; }
    counted& operator=(const counted&) = delete;
    ~counted() { --*alive; }
    std::atomic<int>* alive;
};

}  // namespace test
