// A kernel that does what a test says, with time that jumps to the next timer.
#pragma once

#include "io_list.hpp"
#include "kernel.hpp"

#include <atomic>
#include <functional>
#include <vector>

namespace ringo::detail {

class scripted final : public kernel {
public:
    /// on_start sees each operation when it reaches the kernel, and may call `complete`.
    explicit scripted(std::function<void(io_operation&)> on_start = nullptr)
        : on_start_(std::move(on_start)) {}

    /// Completes a started operation in the next turn.
    void complete(io_operation& op, io_completion c);

    void attach() override {}
    void start(io_operation& op) noexcept override;
    void cancel(io_operation& op) noexcept override;
    void cancel_all() noexcept override;
    void turn(std::int64_t until_ns) noexcept override;
    void wake() noexcept override { woken_.store(true); }
    std::int64_t now_ns() const noexcept override { return now_ns_; }
    std::size_t in_flight() const noexcept override { return in_flight_; }
    bool has_multishot() const noexcept override { return false; }
    pooled_buffer& buffer(std::int32_t) noexcept override { return no_buffer_; }
    void give_back(std::int32_t) noexcept override {}

private:
    struct due {
        io_operation* op;
        io_completion completion;
    };

    std::function<void(io_operation&)> on_start_;
    pooled_buffer no_buffer_;
    io_list active_;
    std::vector<io_operation*> queue_;
    std::vector<due> due_;
    std::size_t in_flight_ = 0;
    std::int64_t now_ns_ = 0;
    std::atomic<bool> woken_{false};
};

}  // namespace ringo::detail
