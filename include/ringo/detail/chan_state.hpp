// A channel's buffer, and how values move between it and those who wait.
#pragma once

#include <ringo/detail/chan_core.hpp>
#include <ringo/detail/frame_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace ringo::detail {

/// As values travel: those whose move may throw go in a box, which is made by who sends and
/// emptied by who receives. So nothing throws while a channel changes hands.
template <class T>
using chan_stored =
    std::conditional_t<std::is_nothrow_move_constructible_v<T>, T, std::unique_ptr<T>>;

struct send_waiter : chan_waiter {
    send_waiter(const wait_type& t, chan_core* c) noexcept : chan_waiter(t, c) {}
    void* value;  // set when it gets in line
};

/// An optional of what comes; empty once closed. In itself, so that the flag needs no room.
template <class T>
class recv_waiter : public chan_waiter {
    using stored = chan_stored<T>;

public:
    recv_waiter(const wait_type& t, chan_core* c) noexcept : chan_waiter(t, c) {}
    ~recv_waiter() {
        if (full_) {
            value_.~stored();
        }
    }

    void emplace(stored&& value) noexcept {
        ::new (static_cast<void*>(&value_)) stored(std::move(value));
        full_ = true;
    }
    explicit operator bool() const noexcept { return full_; }
    stored& operator*() noexcept { return value_; }

private:
    bool full_ = false;
    union {
        stored value_;
    };
};

template <class T>
class chan_state : public chan_core {
public:
    using stored = chan_stored<T>;

    static chan_state* make(std::size_t capacity) {
        if (capacity > bytes_max / sizeof(stored)) {
            refuse_chan_capacity(std::to_string(capacity));
        }
        return ::new (allocate(capacity)) chan_state(capacity);
    }

    /// Under the lock, while open. False: it must wait.
    template <meets Meets>
    [[gnu::always_inline]] bool send(stored& value, waiter*& woken) noexcept {
        if (waiter* const r = pop<Meets>(receivers)) {
            static_cast<recv_waiter<T>*>(r)->emplace(std::move(value));
            woken = r;
            return true;
        }
        if (count < capacity) {
            push(value);
            return true;
        }
        return false;
    }

    /// Under the lock. False: it must wait. True with an empty slot: closed and drained.
    /// Slot: an optional, a recv_waiter
    template <meets Meets, class Slot>
    [[gnu::always_inline]] bool receive(Slot& slot, waiter*& woken) noexcept {
        if (count != 0) {
            stored& oldest = buffer()[first];
            slot.emplace(std::move(oldest));
            oldest.~stored();
            first = first + 1 == capacity ? 0 : first + 1;
            --count;
            if (waiter* const s = pop<Meets>(senders)) {
                push(value_of(*s));
                woken = s;
            }
            return true;
        }
        if (waiter* const s = pop<Meets>(senders)) {
            slot.emplace(std::move(value_of(*s)));
            woken = s;
            return true;
        }
        return closed;
    }

private:
    // No memory has more; the rest is room for the channel itself.
    static constexpr std::size_t bytes_max = PTRDIFF_MAX - 4096;
    static constexpr bool is_over_aligned = alignof(stored) > __STDCPP_DEFAULT_NEW_ALIGNMENT__;
    static constexpr std::align_val_t alignment{
        alignof(stored) > alignof(chan_core) ? alignof(stored) : alignof(chan_core)};
    static constexpr std::size_t offset =
        (sizeof(chan_core) + alignof(stored) - 1) / alignof(stored) * alignof(stored);

    explicit chan_state(std::size_t cap) noexcept : chan_core(cap, &destroy) {}
    ~chan_state() {
        for (; count != 0; --count) {
            buffer()[first].~stored();
            first = first + 1 == capacity ? 0 : first + 1;
        }
    }

    // One block: this, then the buffer.
    static void* allocate(std::size_t capacity) {
        const std::size_t size = offset + capacity * sizeof(stored);
        if constexpr (is_over_aligned) {
            return ::operator new(size, alignment);
        } else {
            return frame_allocate(size);
        }
    }
    static void deallocate(void* block, std::size_t capacity) noexcept {
        if constexpr (is_over_aligned) {
            ::operator delete(block, alignment);
        } else {
            frame_free(block, offset + capacity * sizeof(stored));
        }
    }
    static void destroy(chan_core& core) noexcept {
        auto& self = static_cast<chan_state&>(core);
        const std::size_t capacity = self.capacity;
        self.~chan_state();
        deallocate(&self, capacity);
    }

    stored* buffer() noexcept {
        return reinterpret_cast<stored*>(reinterpret_cast<std::byte*>(this) + offset);
    }
    static stored& value_of(waiter& s) noexcept {
        return *static_cast<stored*>(static_cast<send_waiter&>(s).value);
    }
    void push(stored& value) noexcept {
        const std::size_t end = first + count;
        ::new (static_cast<void*>(buffer() + (end < capacity ? end : end - capacity)))
            stored(std::move(value));
        ++count;
    }
};

}  // namespace ringo::detail
