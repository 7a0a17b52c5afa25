// The only state that two cores share: lists that any thread pushes to and one core takes whole.
#pragma once

#include <ringo/detail/message.hpp>

#include <atomic>

namespace ringo::detail {

/// Many producers, one consumer. Node has a `next`.
template <class Node>
class inbox {
public:
    /// core: any thread. Lifetime: after this the consumer may free `n`.
    void push(Node& n) noexcept {
        Node* head = head_.load(std::memory_order_relaxed);
        do {
            n.next = head;
            // Pairs with take(). seq_cst: a producer pushes, then looks whether the consumer
            // sleeps; the consumer says that it sleeps, then looks here. One of them sees.
        } while (!head_.compare_exchange_weak(head, &n, std::memory_order_seq_cst,
                                              std::memory_order_relaxed));
    }

    /// Everything that was pushed, oldest first; null when there is nothing.
    Node* take() noexcept {
        if (head_.load(std::memory_order_relaxed) == nullptr) {
            return nullptr;
        }
        Node* newest = head_.exchange(nullptr, std::memory_order_acquire);
        Node* oldest = nullptr;
        while (newest != nullptr) {
            Node* const older = newest->next;
            newest->next = oldest;
            oldest = newest;
            newest = older;
        }
        return oldest;
    }

    bool empty() const noexcept { return head_.load(std::memory_order_seq_cst) == nullptr; }
    /// ... as far as is known by now. No more than a plain load.
    bool seems_empty() const noexcept { return head_.load(std::memory_order_relaxed) == nullptr; }

private:
    std::atomic<Node*> head_{nullptr};
};

}  // namespace ringo::detail
