// A kernel that does what a test says, with time that jumps to the next timer.
//
// While functions that `blocking` runs are under way, time stands still and the core really waits
// for them; for callbacks it waits when there is nothing else left, not even a timer.
#pragma once

#include "io_list.hpp"
#include "kernel.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ringo::detail {

struct scripted_time {
    std::int64_t begin_ns = 0;
    std::chrono::milliseconds outside_wait{10'000};  // real time; after it, time moves on
    std::function<void()> on_deadlock;               // nothing will ever happen again
};

class scripted final : public kernel {
public:
    /// on_start sees each operation when it reaches the kernel, and may call `complete`.
    explicit scripted(std::function<void(io_operation&)> on_start = nullptr,
                      scripted_time time = {})
        : on_start_(std::move(on_start)), time_(std::move(time)), now_ns_(time_.begin_ns) {}

    /// Completes a started operation in the next turn.
    void complete(io_operation& op, io_completion c);

    void attach() override {}
    void start(io_operation& op) noexcept override;
    void cancel(io_operation& op) noexcept override;
    void cancel_all() noexcept override;
    void take_turn(std::int64_t until_ns) noexcept override;
    bool has_completions() const noexcept override { return !due_.empty(); }
    void wake() noexcept override;
    std::int64_t now_ns() const noexcept override { return now_ns_; }
    bool is_real() const noexcept override { return false; }
    std::size_t in_flight() const noexcept override { return in_flight_; }
    bool has_multishot() const noexcept override { return false; }
    pooled_buffer& buffer(std::int32_t) noexcept override { return no_buffer_; }
    void give_back(std::int32_t) noexcept override {}
    std::string describe() const override { return "a script"; }

private:
    struct due {
        io_operation* op;
        io_completion completion;
    };

    void submit() noexcept;
    void wait(std::int64_t until_ns) noexcept;
    bool wait_for_wake(std::optional<std::chrono::milliseconds> limit) noexcept;

    std::function<void(io_operation&)> on_start_;
    scripted_time time_;
    pooled_buffer no_buffer_;
    io_list active_;
    std::vector<io_operation*> queue_;
    std::vector<due> due_;
    std::size_t in_flight_ = 0;
    std::int64_t now_ns_;
    std::size_t late_ = 0;  // of those outside: the timers no longer wait for them

    std::mutex lock_;  // guards what follows
    std::condition_variable wakes_;
    bool woken_ = false;
};

}  // namespace ringo::detail
