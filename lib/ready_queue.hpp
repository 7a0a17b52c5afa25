// How a core takes goroutines from its ready queue; pushing is inlined, in goroutine.hpp.
#pragma once

#include <ringo/detail/goroutine.hpp>

#include <cstddef>
#include <utility>

namespace ringo::detail {

/// first: of those that `made_tail_` ends
inline void ready_queue::put_in_front(goroutine* first) noexcept {
    *made_tail_ = front_;
    if (front_ == nullptr) {
        front_tail_ = made_tail_;
    }
    front_ = first;
}

inline goroutine* ready_queue::pop() noexcept {
    goroutine* g = made_;
    if (g != nullptr) {
        if (made_tail_ != &g->next) {
            put_in_front(g->next);
        }
        made_ = nullptr;
        made_tail_ = &made_;
    } else if (g = front_; g != nullptr) {
        front_ = g->next;
        __builtin_prefetch(front_);
    } else if (g = head_; g != nullptr) {
        head_ = g->next;
        if (head_ == nullptr) {
            tail_ = &head_;
        }
        __builtin_prefetch(head_);
    }
    return g;
}

inline void ready_queue::settle() noexcept {
    if (made_ != nullptr) {
        put_in_front(std::exchange(made_, nullptr));
        made_tail_ = &made_;
    }
    if (front_ != nullptr) {
        *tail_ = std::exchange(front_, nullptr);
        tail_ = front_tail_;
    }
}

inline const goroutine* ready_queue::last() const noexcept {
    static_assert(offsetof(goroutine, next) == 0);
    return head_ != nullptr ? reinterpret_cast<const goroutine*>(tail_) : nullptr;
}

}  // namespace ringo::detail
