// What the tests of random programs share.
#pragma once

#include <ringo/go.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>

namespace test {

using generator = std::mt19937;

inline std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// How many times as much as without it.
inline std::uint64_t stress_scale() { return from_environment("RINGO_STRESS", 1); }

/// A random seed, or the one that is to be repeated. Printed before anything can go wrong.
inline std::uint32_t stress_seed() {
    const auto seed =
        static_cast<std::uint32_t>(from_environment("RINGO_SEED", std::random_device()()));
    std::printf("RINGO_SEED=%u\n", seed);
    std::fflush(stdout);
    return seed;
}

inline ringo::place somewhere(generator& random) {
    switch (random() % 4) {
        case 0:
            return ringo::anywhere;
        case 1:
            return ringo::place();
        default:
            return ringo::on(random() % ringo::cores());
    }
}

inline ringo::duration short_time(generator& random) {
    return std::chrono::microseconds(random() % 4 == 0 ? random() % 300 : random() % 20);
}

/// Ends the process when a program does not end: it has lost a wake-up.
class watchdog {
public:
    watchdog() : thread_([this] { watch(); }) {}
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;
    ~watchdog() {
        {
            const std::lock_guard guard(lock_);
            over_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    void begins(std::uint32_t seed) {
        const std::lock_guard guard(lock_);
        seed_ = seed;
        ++programs_;
    }

private:
    static constexpr auto bound = std::chrono::seconds(60);

    void watch() {
        std::unique_lock guard(lock_);
        while (!over_) {
            const auto before = programs_;
            const bool moved =
                changed_.wait_for(guard, bound, [&] { return over_ || programs_ != before; });
            if (!moved && before != 0) {
                std::printf("the program of RINGO_SEED=%u has not ended in %d s\n", seed_,
                            static_cast<int>(bound.count()));
                std::fflush(stdout);
                std::abort();
            }
        }
    }

    std::mutex lock_;
    std::condition_variable changed_;
    std::uint32_t seed_ = 0;
    std::uint64_t programs_ = 0;
    bool over_ = false;
    std::thread thread_;
};

}  // namespace test
