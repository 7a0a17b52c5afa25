// A list of operations that any member can leave.
#pragma once

#include <ringo/detail/io_operation.hpp>

namespace ringo::detail {

class io_list {
public:
    io_operation* front() const noexcept { return head_; }
    bool empty() const noexcept { return head_ == nullptr; }

    void push_back(io_operation& op) noexcept {
        op.next = nullptr;
        op.previous = tail_;
        (tail_ != nullptr ? tail_->next : head_) = &op;
        tail_ = &op;
    }

    void remove(io_operation& op) noexcept {
        (op.previous != nullptr ? op.previous->next : head_) = op.next;
        (op.next != nullptr ? op.next->previous : tail_) = op.previous;
        op.next = nullptr;
        op.previous = nullptr;
    }

private:
    io_operation* head_ = nullptr;
    io_operation* tail_ = nullptr;
};

}  // namespace ringo::detail
