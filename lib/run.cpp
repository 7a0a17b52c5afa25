#include <ringo/run.hpp>
#include <ringo/runtime.hpp>

#include "cores.hpp"

#include <memory>
#include <system_error>
#include <thread>

namespace ringo {

namespace detail {

namespace {

std::unique_ptr<cores_state> make_cores(const options& given) {
    const options o = resolve(given);
    return std::make_unique<cores_state>(o, [&o] { return make_uring(o.ring_entries); });
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
    all->submit(main, 0, nullptr);
    all->run();
}

void main_ended() noexcept { shard::here().all.stop(); }

}  // namespace detail

struct runtime::state {
    std::unique_ptr<detail::cores_state> all;
    std::thread first;
};

runtime::runtime(const options& o) : state_(std::make_unique<state>()) {
    state_->all = detail::make_cores(o);
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

}  // namespace ringo
