// For tests of random programs: one that does not end has lost a wake-up.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace test {

/// Ends the process when a program does not end.
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
