#include <ringo/metrics.hpp>
#include <ringo/run.hpp>
#include <ringo/runtime.hpp>

#include "cores.hpp"
#include "metrics.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

namespace ringo {

namespace detail {

namespace {

bool logs() noexcept {
    const char* const text = std::getenv("RINGO_LOG");
    return text != nullptr && std::strcmp(text, "1") == 0;
}

/// Makes the kernels of all cores. The first decides what it is to be.
class kernel_maker {
public:
    explicit kernel_maker(const options& o) noexcept : options_(o) {}

    std::unique_ptr<kernel> operator()(blocking_pool& pool) {
        if (options_.backend == backend::automatic) {
            try {
                auto first = make_uring(options_.ring_entries);
                options_.backend = backend::uring;
                return first;
            } catch (const std::system_error& e) {
                if (!is_without_uring(e)) {
                    throw;
                }
                options_.backend = backend::epoll;
                why_ = fmt::format(", for {}", e.what());
            }
        }
        return options_.backend == backend::epoll ? make_epoll(pool)
                                                  : make_uring(options_.ring_entries);
    }
    /// Why it is not the first choice.
    const std::string& why() const noexcept { return why_; }

private:
    options options_;
    std::string why_;
};

std::unique_ptr<cores_state> make_cores(const options& given) {
    const options o = resolve(given);
    kernel_maker make(o);
    auto all = std::make_unique<cores_state>(o, std::ref(make));
    if (logs()) {
        std::fputs(fmt::format("ringo: {} core{} on {}{}\n", o.cores, o.cores == 1 ? "" : "s",
                               all->shard_at(0).io().describe(), make.why())
                       .c_str(),
                   stderr);
    }
    return all;
}

}  // namespace

void run_cores(goroutine& main, const options& o) {
    std::unique_ptr<cores_state> all;
    try {
        all = make_cores(o);
    } catch (...) {
        main.type->destroy(main);
        throw;
    }
    all->end_on_deadlock();
    all->be_watched();
    all->submit(main, 0, nullptr);
    all->run();
}

void main_ended() noexcept { shard::here().all.main_ended(); }

}  // namespace detail

struct runtime::state {
    std::unique_ptr<detail::cores_state> all;
    std::thread first;
};

runtime::runtime(const options& o) : state_(std::make_unique<state>()) {
    state_->all = detail::make_cores(o);
    state_->all->be_watched();
    try {
        state_->first = std::thread([this] { state_->all->run(); });
    } catch (const std::system_error& e) {
        throw std::system_error(e.code(), "runtime: cannot start the thread of core 0");
    }
}

runtime::~runtime() {
    state_->all->stop();
    state_->first.join();
}

void runtime::submit(detail::goroutine& g, const place& p) {
    state_->all->submit(g, p.core, p.context.get());
}

std::size_t runtime::cores() const noexcept { return state_->all->size(); }

metrics runtime::metrics() const { return detail::metrics_of(*state_->all); }

}  // namespace ringo
