// Cancellation by Asio's signals and slots.
#include "peer.hpp"

#include <list>

namespace peer {

namespace {

constexpr auto terminal = asio::cancellation_type::terminal;

/// A slot holds one handler, so this parent has no more than one child at a time.
awaitable<> derive(executor, long count, long& ended) {
    asio::cancellation_signal parent;
    for (long i = 0; i < count; ++i) {
        asio::cancellation_signal child;
        parent.slot().assign([&child](asio::cancellation_type how) { child.emit(how); });
        const asio::cancellation_state state(child.slot());
        child.emit(terminal);
        ended += state.cancelled() != asio::cancellation_type::none ? 1 : 0;
        parent.slot().clear();
    }
    co_return;
}

awaitable<> waits(executor on, long& ended) {
    timer never(on, timer::time_point::max());
    co_await never.async_wait(quiet);
    ++ended;
}

/// A signal for each waiter, since it has one slot.
void cancel_waiters(long waiters, long repeat) {
    bench::rounds r("cancel a waiter", waiters);
    long ended = 0;
    for (long round = 0; round < repeat; ++round) {
        asio::io_context context(1);
        const auto keep = asio::make_work_guard(context);
        std::list<asio::cancellation_signal> signals;
        for (long i = 0; i < waiters; ++i) {
            asio::co_spawn(
                context, waits(context.get_executor(), ended),
                asio::bind_cancellation_slot(signals.emplace_back().slot(), asio::detached));
        }
        context.poll();  // all have run, and wait
        const auto start = bench::wall_ns();
        for (asio::cancellation_signal& s : signals) {
            s.emit(terminal);
        }
        context.poll();
        r.add(bench::wall_ns() - start);
    }
    r.print(ended);
}

}  // namespace

void contexts(long count, long repeat) {
    measure("with_cancel and its end", count, repeat, derive);
    cancel_waiters(count, repeat);
}

}  // namespace peer
