#include <ringo/chan.hpp>

#include "context.hpp"
#include "probes.hpp"
#include "shard.hpp"

#include <ringo/error.hpp>

#include <fmt/format.h>

#include <string>
#include <system_error>

namespace ringo::detail {

namespace {

std::system_error misuse(const std::string& what) {
    return {std::make_error_code(std::errc::invalid_argument), what};
}

}  // namespace

void refuse_chan_capacity(const std::string& capacity) {
    throw misuse(fmt::format("chan: a capacity of {} values", capacity));
}

void throw_closed(const char* operation) { throw channel_closed(operation); }

void close_chan(chan_core* c) {
    if (c == nullptr) {
        throw misuse("chan close: the channel is nil");
    }
    c->close();
}

void wait_blocking_on(chan_core* c, waiter& w, bool (*begin)(waiter&) noexcept,
                      const char* operation) {
    if (c == nullptr) {
        throw misuse(std::string(operation) + ": the channel is nil");
    }
    if (const std::uint8_t error = wait_blocking(w, begin, operation)) {
        throw_failure(error, operation);
    }
}

void chan_core::close() {
    woken_list woken;
    {
        const bias_guard guard(lock);
        if (closed) {
            throw channel_closed("chan close");
        }
        closed = true;
        RINGO_PROBE1(chan_close, this);
        while (waiter* const r = pop<meets::anyone>(receivers)) {
            woken.add(*r);
        }
        while (waiter* const s = pop<meets::anyone>(senders)) {
            error_of(*s) = failure_channel_closed;
            woken.add(*s);
        }
    }
    woken.resume_all();
}

std::size_t chan_core::len() noexcept {
    const bias_guard guard(lock);
    return count;
}

bool chan_core::is_closed() noexcept {
    const bias_guard guard(lock);
    return closed;
}

std::atomic<bool> any_orphan{false};

void chan_core::note_main() noexcept {
    given_up_.store(turn_mark(shard::here()), std::memory_order_relaxed);
}

void chan_core::abandon() noexcept {
    {
        const bias_guard guard(lock);
        // Who waits now waits for ever, or until it is cancelled. Go would let it leak as well.
        if (!receivers.empty() || !senders.empty()) {
            orphaned_.store(true, std::memory_order_relaxed);
            any_orphan.store(true, std::memory_order_relaxed);
            return;
        }
    }
    destroy_(*this);
}

/// On another core it can be cancelled until it learns that it is awake.
void chan_core::retain_for_remote(const waiter& w) noexcept {
    if (w.type->wakes == waker::goroutine && &w.self->bound->home != shard::this_thread()) {
        retain();
    }
}
void chan_core::arrive(wait& w) noexcept { static_cast<chan_waiter&>(w).on->release(); }

bool chan_core::withdraw(wait& w, wait_list chan_core::*list) noexcept {
    auto& self = static_cast<chan_waiter&>(w);
    if (self.on == nullptr) {
        return true;
    }
    chan_core& c = *self.on;
    {
        const bias_guard guard(c.lock);
        if (!self.is_linked()) {
            return false;
        }
        (c.*list).remove(self);
        if (!c.orphaned_.load(std::memory_order_relaxed) || !c.receivers.empty() ||
            !c.senders.empty()) {
            return true;
        }
    }
    c.destroy_(c);
    return true;
}

void chan_core::withdraw_arm(wait& w, wait_list chan_core::*list) noexcept {
    if (!withdraw(w, list)) {
        static_cast<chan_waiter&>(w).on->release();  // what `pop` retained when it took it out
    }
}
void chan_core::withdraw_receive(wait& w) noexcept { withdraw_arm(w, &chan_core::receivers); }
void chan_core::withdraw_send(wait& w) noexcept { withdraw_arm(w, &chan_core::senders); }

void chan_core::cancel_receive(wait& w) noexcept {
    if (withdraw(w, &chan_core::receivers)) {
        give_up(w);
    }
}

void chan_core::cancel_send(wait& w) noexcept {
    if (withdraw(w, &chan_core::senders)) {
        give_up(w);
    }
}

void chan_core::describe(const wait& w, wait_state& s) noexcept {
    if (s.leaks.sought) {
        const chan_core* const c = static_cast<const chan_waiter&>(w).on;
        s.forever = c != nullptr ? c->orphaned_.load(std::memory_order_relaxed) &&
                                       !c->is_given_up_by_main(s.leaks.spared)
                                 : s.leaks.nil_counts;
    }
}

const wait_type recv_wait{.name = "chan receive",
                          .cancel = &chan_core::cancel_receive,
                          .describe = &chan_core::describe,
                          .arrive = &chan_core::arrive};
const wait_type send_wait{.name = "chan send",
                          .cancel = &chan_core::cancel_send,
                          .describe = &chan_core::describe,
                          .arrive = &chan_core::arrive};

}  // namespace ringo::detail
