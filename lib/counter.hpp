// Numbers that one thread writes and any thread reads.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ringo::detail {

/// A load and a store, no read-modify-write.
class counter {
public:
    void add(std::uint64_t n = 1) noexcept { set(value() + n); }
    void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
    std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// Times, in powers of two microseconds.
class time_counts {
public:
    // Bucket i holds what is above its predecessor's limit and at most its own: 2^i us. The last
    // one has no limit.
    static constexpr std::size_t bucket_count = 22;

    void add(std::int64_t ns) noexcept {
        buckets_[bucket_of(ns)].add();
        sum_ns_.add(static_cast<std::uint64_t>(ns > 0 ? ns : 0));
    }
    std::uint64_t bucket(std::size_t i) const noexcept { return buckets_[i].value(); }
    std::uint64_t sum_ns() const noexcept { return sum_ns_.value(); }

    static std::size_t bucket_of(std::int64_t ns) noexcept {
        const auto us = static_cast<std::uint64_t>(ns > 0 ? ns - 1 : 0) / 1000;
        const auto i = static_cast<std::size_t>(std::bit_width(us));
        return i < bucket_count ? i : bucket_count - 1;
    }

private:
    std::array<counter, bucket_count> buckets_;
    counter sum_ns_;
};

}  // namespace ringo::detail
