// Operations that block, on threads of the blocking pool, for a kernel that does not do them itself.
#pragma once

#include "inbox.hpp"

#include <ringo/blocking.hpp>
#include <ringo/detail/io_operation.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <pthread.h>

namespace ringo::detail {

class blocking_pool;
class kernel;

// Cancelling. A call that has begun is interrupted by a signal without effect, which ends what
// waits (a FIFO that is opened) and lets be what moves data. The signal may come just before the
// call begins to wait, so it is sent again until the call has ended.
class call_pool {
public:
    /// owner: woken when a call has ended. The pool must end before both.
    call_pool(blocking_pool& pool, kernel& owner) noexcept : pool_(pool), owner_(owner) {}
    call_pool(const call_pool&) = delete;
    call_pool& operator=(const call_pool&) = delete;
    ~call_pool();

    /// 0; or the errno of why there is no thread.
    int start(io_operation& op) noexcept;
    /// True: it had not begun, and is the caller's again.
    bool cancel(io_operation& op) noexcept;
    /// Something for `take_ended`.
    bool any_ended() const noexcept { return !ended_.empty(); }

    /// Calls `f(op, result)` for each that has ended.
    template <class F>
    void take_ended(F f) noexcept {
        for (blocking_job* j = ended_.take(); j != nullptr;) {
            auto& ended = static_cast<job&>(*j);
            j = j->next;
            io_operation& op = *ended.op;
            const int result = ended.result;
            recycle(ended);
            f(op, result);
        }
    }
    /// Calls `f(op)` for each that has not ended.
    template <class F>
    void for_each(F f) noexcept {
        for (const auto& j : jobs_) {
            if (j->op != nullptr) {
                f(*j->op);
            }
        }
    }

    /// Whether calls have been asked to end, and have not heard of it for sure.
    bool interrupts() const noexcept { return asked_ != 0; }
    void interrupt_again() noexcept;

private:
    /// As long as a job has an operation, that operation's `next` is the job.
    struct job : blocking_job, io_operation {
        explicit job(call_pool& p) noexcept
            : blocking_job(&call_pool::run), io_operation(nullptr), owner(p) {}

        call_pool& owner;
        io_operation* op = nullptr;
        int result = 0;

        std::mutex lock;  // guards what follows
        bool asked = false;
        bool runs = false;
        ::pthread_t thread{};
    };
    static void run(blocking_job& j) noexcept;
    void recycle(job& j) noexcept;

    blocking_pool& pool_;
    kernel& owner_;
    std::vector<std::unique_ptr<job>> jobs_;  // all
    std::vector<job*> free_;
    std::size_t asked_ = 0;

    inbox<blocking_job> ended_;  // written by the pool's threads
};

}  // namespace ringo::detail
