#include <ringo/callback.hpp>

#include "shard.hpp"

namespace ringo::detail {

namespace {

void cancel_callback(wait& w) noexcept {
    auto& op = static_cast<callback_wait_base&>(w);
    if (abandon_callback(op)) {
        op.self->error = context_failure(*op.self);
        wake(*op.self);
    }
}

}  // namespace

const wait_type callback_wait{
    .name = "callback", .cancel = &cancel_callback, .arrive = [](wait&) noexcept {
        --shard::here().outside().callbacks;
    }};

void prepare_callback(callback_wait_base& w) noexcept {
    w.shared->self = w.self;
    w.shared->home = &shard::here();
    ++shard::here().outside().callbacks;
}

bool abandon_callback(callback_wait_base& w) noexcept {
    const bool abandoned = w.shared->abandon();
    if (abandoned) {
        --w.shared->home->outside().callbacks;
    }
    return abandoned;
}

void callback_state::finish() noexcept {
    // The goroutine is parked until this arrives, so its core is there to receive it.
    home->post(*self);
}

void break_promise(callback_state& state) noexcept {
    state.self->error = failure_broken_promise;
    state.finish();
}

}  // namespace ringo::detail
