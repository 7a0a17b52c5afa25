// A thread that is no core, waiting as a goroutine does.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace ringo::detail {

class parked_thread {
public:
    void wait();
    void wake() noexcept;

    std::uint8_t error = 0;  // as goroutine::error

private:
    std::mutex lock_;
    std::condition_variable woken_;
    bool done_ = false;
};

}  // namespace ringo::detail
