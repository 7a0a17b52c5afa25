// What a channel is apart from its values' type: who waits, how full it is, whether it is closed.
#pragma once

#include <ringo/detail/bias_lock.hpp>
#include <ringo/detail/waiter.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace ringo::detail {

class chan_core;

/// A send or a receive that waits.
struct chan_waiter : waiter {
    chan_waiter(const wait_type& t, chan_core* c) noexcept : waiter(t), on(c) {}

    chan_core* on;  // null: the nil channel
};

// Invariant: receivers wait only while the buffer is empty and no sender waits; senders only
// while it is full. Once closed, nobody waits.
//
// Lifetime: a wait that is in a list keeps the channel (see abandon), for its goroutine may still
// have to leave the list. One that was taken out may also still look, until it knows that it was:
// it gets a reference for that time.
class chan_core {
public:
    using destroy_function = void (*)(chan_core&) noexcept;

    chan_core(std::size_t cap, destroy_function d) noexcept : capacity(cap), destroy_(d) {}

    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (is_main_running()) [[unlikely]] {
            note_main();
        }
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            abandon();
        }
    }
    /// For who knows of the channel without holding it. False: its last handle is gone.
    bool try_retain() noexcept {
        std::uint32_t n = references_.load(std::memory_order_relaxed);
        while (n != 0 && !references_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) {
        }
        return n != 0;
    }
    /// Whether the main task gave up a handle in that turn (turn_mark).
    bool is_given_up_by_main(std::uint32_t turn) const noexcept {
        return turn != 0 && given_up_.load(std::memory_order_relaxed) == turn;
    }
    /// Before others see the channel: what shall destroy it. returns: what would have.
    destroy_function replace_destroy(destroy_function d) noexcept {
        return std::exchange(destroy_, d);
    }

    /// Under the lock: who is served next, out of the list; null: there is nobody.
    template <meets Meets>
    waiter* pop(wait_list& list) noexcept {
        if constexpr (Meets == meets::goroutines) {
            return list.empty() ? nullptr : &list.take_front_plain();
        }
        while (waiter* const w = list.front()) {
            if (list.take_front()) [[likely]] {
                if (lock.may_be_shared()) [[unlikely]] {
                    retain_for_remote(*w);
                }
                return w;
            }
            retain();  // until this arm is withdrawn
        }
        return nullptr;
    }

    /// Ends all waits. throws: channel_closed
    void close();
    std::size_t len() noexcept;
    bool is_closed() noexcept;

    /// Takes a wait out of its list, if it is still there.
    static void withdraw_receive(wait& w) noexcept;
    static void withdraw_send(wait& w) noexcept;
    /// ... and wakes its goroutine with its context's failure.
    static void cancel_receive(wait& w) noexcept;
    static void cancel_send(wait& w) noexcept;
    /// Its goroutine knows that another core or thread took it out.
    static void arrive(wait& w) noexcept;
    /// Of a wait that keeps the channel.
    static void describe(const wait& w, wait_state& s) noexcept;

    bias_lock lock;
    wait_list receivers;
    wait_list senders;
    const std::size_t capacity;
    std::size_t count = 0;  // values in the buffer, from `first` on
    std::size_t first = 0;
    bool closed = false;

private:
    void note_main() noexcept;
    void abandon() noexcept;
    void retain_for_remote(const waiter& w) noexcept;
    static bool withdraw(wait& w, wait_list chan_core::*list) noexcept;
    static void withdraw_arm(wait& w, wait_list chan_core::*list) noexcept;

    std::atomic<std::uint32_t> references_{1};
    std::atomic<bool> orphaned_{false};       // no handle is left; the last waiter frees it
    std::atomic<std::uint32_t> given_up_{0};  // by the main task: its last turn in which it did so
    destroy_function destroy_;
};

/// throws: std::system_error
[[noreturn]] void refuse_chan_capacity(const std::string& capacity);
inline std::size_t chan_capacity(std::integral auto capacity) {
    if constexpr (std::signed_integral<decltype(capacity)>) {
        if (capacity < 0) {
            refuse_chan_capacity(std::to_string(capacity));
        }
    }
    return static_cast<std::size_t>(capacity);
}

/// throws: channel_closed; std::system_error when `c` is null
void close_chan(chan_core* c);
[[noreturn]] void throw_closed(const char* operation);

/// As wait_blocking. throws: channel_closed; std::system_error when `c` is null
void wait_blocking_on(chan_core* c, waiter& w, bool (*begin)(waiter&) noexcept,
                      const char* operation);

}  // namespace ringo::detail
