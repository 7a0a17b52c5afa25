// The threads that run what may block.
#pragma once

#include <ringo/blocking.hpp>

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include <sched.h>

namespace ringo::detail {

class blocking_pool {
public:
    static constexpr std::size_t threads_max = 64;

    blocking_pool() noexcept;
    blocking_pool(const blocking_pool&) = delete;
    blocking_pool& operator=(const blocking_pool&) = delete;
    /// Waits for what runs. Nothing is queued any more.
    ~blocking_pool();

    /// 0; or the errno of why there is no thread at all, and the job will not run.
    int push(blocking_job& job) noexcept;
    /// True: the job was still queued, and will not run.
    bool withdraw(blocking_job& job) noexcept;
    std::size_t threads() const noexcept;
    /// Those that run something.
    std::size_t busy() const noexcept;

private:
    void work() noexcept;

    cpu_set_t cpus_;  // of who made the pool: not the one CPU of the core that starts a thread

    mutable std::mutex lock_;  // guards what follows
    std::condition_variable ready_;
    blocking_job* queue_ = nullptr;
    blocking_job** tail_ = &queue_;
    std::size_t queued_ = 0;
    std::size_t idle_ = 0;
    bool closing_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace ringo::detail
