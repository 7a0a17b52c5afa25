#include "blocking_pool.hpp"

#include "cores.hpp"
#include "shard.hpp"

#include <cstdint>
#include <system_error>

#include <csignal>

namespace ringo::detail {

namespace {

void cancel_blocking(wait& w) noexcept {
    auto& job = static_cast<blocking_job&>(w);
    if (job.home->all.pool().withdraw(job)) {
        --job.home->outside().functions;
        job.self->error = context_failure(*job.self);
        wake(*job.self);
    }
}

}  // namespace

const wait_type blocking_wait{
    .name = "blocking", .cancel = &cancel_blocking, .arrive = [](wait&) noexcept {
        --shard::here().outside().functions;
    }};

bool start_blocking(blocking_job& job) noexcept {
    job.home = &shard::here();
    shard::awaited& outside = job.home->outside();
    ++outside.functions;
    const int error = job.home->all.pool().push(job);
    if (error != 0) {
        --outside.functions;
        job.self->error = static_cast<std::uint8_t>(error);
    }
    return error == 0;  // Lifetime: otherwise the job may be done by now
}

void finish_blocking(blocking_job& job) noexcept { job.home->post(*job.self); }

blocking_pool::blocking_pool() noexcept {
    if (::sched_getaffinity(0, sizeof cpus_, &cpus_) != 0) {
        CPU_ZERO(&cpus_);  // no set at all: setting it fails, and changes nothing
    }
}

blocking_pool::~blocking_pool() {
    {
        const std::lock_guard guard(lock_);
        closing_ = true;
    }
    ready_.notify_all();
    for (std::thread& t : threads_) {
        t.join();
    }
}

int blocking_pool::push(blocking_job& job) noexcept {
    const std::lock_guard guard(lock_);
    job.next = nullptr;
    *tail_ = &job;
    tail_ = &job.next;
    ++queued_;
    if (queued_ > idle_ && threads_.size() < threads_max) {
        try {
            threads_.emplace_back([this] { work(); });
        } catch (const std::system_error& e) {
            if (threads_.empty()) {  // nobody would ever run it, which is all there is
                queue_ = nullptr;
                tail_ = &queue_;
                queued_ = 0;
                return e.code().value();
            }
        }
    }
    ready_.notify_one();
    return 0;
}

bool blocking_pool::withdraw(blocking_job& job) noexcept {
    const std::lock_guard guard(lock_);
    for (blocking_job** link = &queue_; *link != nullptr; link = &(*link)->next) {
        if (*link == &job) {
            *link = job.next;
            if (*link == nullptr) {
                tail_ = link;
            }
            --queued_;
            return true;
        }
    }
    return false;
}

std::size_t blocking_pool::threads() const noexcept {
    const std::lock_guard guard(lock_);
    return threads_.size();
}

std::size_t blocking_pool::busy() const noexcept {
    const std::lock_guard guard(lock_);
    return threads_.size() - idle_;
}

void blocking_pool::work() noexcept {
    // Signals are for the program's own threads.
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    ::sched_setaffinity(0, sizeof cpus_, &cpus_);
    std::unique_lock guard(lock_);
    while (true) {
        ++idle_;
        ready_.wait(guard, [this] { return queue_ != nullptr || closing_; });
        --idle_;
        if (queue_ == nullptr) {
            return;
        }
        blocking_job& job = *queue_;
        queue_ = job.next;
        if (queue_ == nullptr) {
            tail_ = &queue_;
        }
        --queued_;
        guard.unlock();
        job.call(job);
        guard.lock();
    }
}

}  // namespace ringo::detail
