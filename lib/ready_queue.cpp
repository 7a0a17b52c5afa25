#include <ringo/detail/goroutine.hpp>

#include <cstddef>
#include <utility>

namespace ringo::detail {

void ready_queue::settle() noexcept {
    if (made_ != nullptr) {
        put_in_front(std::exchange(made_, nullptr));
        made_tail_ = &made_;
    }
    if (front_ != nullptr) {
        *tail_ = std::exchange(front_, nullptr);
        tail_ = front_tail_;
    }
}

const goroutine* ready_queue::last() const noexcept {
    static_assert(offsetof(goroutine, next) == 0);
    return head_ != nullptr ? reinterpret_cast<const goroutine*>(tail_) : nullptr;
}

}  // namespace ringo::detail
