#include "call_pool.hpp"

#include "blocking_pool.hpp"
#include "file_call.hpp"
#include "kernel.hpp"

#include <cerrno>
#include <utility>

#include <csignal>

namespace ringo::detail {

namespace {

/// A signal that does nothing but interrupt, or 0. The last that nobody else uses, for good.
int interruption() noexcept {
    static const int number = [] {
        for (int s = SIGRTMAX; s >= SIGRTMIN; --s) {
            struct sigaction now {};
            if (::sigaction(s, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) {
                struct sigaction none {};
                none.sa_handler = [](int) {};
                return ::sigaction(s, &none, nullptr) == 0 ? s : 0;
            }
        }
        return 0;
    }();
    return number;
}

/// Lets the interruption reach this thread.
class interruptible {
public:
    interruptible() noexcept {
        ::sigemptyset(&signal_);
        if (interruption() != 0) {
            ::sigaddset(&signal_, interruption());
        }
        ::pthread_sigmask(SIG_UNBLOCK, &signal_, nullptr);
    }
    interruptible(const interruptible&) = delete;
    interruptible& operator=(const interruptible&) = delete;
    ~interruptible() { ::pthread_sigmask(SIG_BLOCK, &signal_, nullptr); }

private:
    sigset_t signal_;
};

}  // namespace

call_pool::~call_pool() = default;

int call_pool::start(io_operation& op) noexcept {
    if (free_.empty()) {
        jobs_.push_back(std::make_unique<job>(*this));
        free_.push_back(jobs_.back().get());
    }
    job& j = *free_.back();
    free_.pop_back();
    j.op = &op;
    op.next = &j;
    const int error = pool_.push(j);
    if (error != 0) {
        recycle(j);
    }
    return error;
}

void call_pool::recycle(job& j) noexcept {
    asked_ -= j.asked ? 1 : 0;
    j.asked = false;
    j.op->next = nullptr;
    j.op = nullptr;
    free_.push_back(&j);
}

bool call_pool::cancel(io_operation& op) noexcept {
    job& j = static_cast<job&>(*op.next);
    if (pool_.withdraw(j)) {
        recycle(j);
        return true;
    }
    const std::lock_guard guard(j.lock);
    if (!std::exchange(j.asked, true)) {
        ++asked_;
    }
    if (j.runs && interruption() != 0) {
        ::pthread_kill(j.thread, interruption());
    }
    return false;
}

void call_pool::interrupt_again() noexcept {
    for (const auto& j : jobs_) {
        const std::lock_guard guard(j->lock);
        if (j->asked && j->runs && interruption() != 0) {
            ::pthread_kill(j->thread, interruption());
        }
    }
}

void call_pool::run(blocking_job& b) noexcept {
    job& j = static_cast<job&>(b);
    call_pool& pool = j.owner;
    bool begins = false;
    {
        const std::lock_guard guard(j.lock);
        begins = j.runs = !j.asked;
        j.thread = ::pthread_self();
    }
    j.result = -ECANCELED;
    if (begins) {
        const interruptible here;
        j.result = call_now(*j.op);
        // Nobody interrupts this thread from here on, and what has been sent is taken here.
        const std::lock_guard guard(j.lock);
        j.runs = false;
        if (j.asked && j.result == -EINTR) {
            j.result = -ECANCELED;
        }
    }
    // Lifetime: the job may be reused after the push; its pool waits for its threads.
    pool.ended_.push(j);
    pool.owner_.wake();
}

}  // namespace ringo::detail
