// A counted reference to a context's shared state.
#pragma once

#include <utility>

namespace ringo::detail {

struct context_node;
void retain(context_node& node) noexcept;
void release(context_node& node) noexcept;

class context_ref {
public:
    context_ref() noexcept = default;
    /// Takes over a reference that the caller holds.
    explicit context_ref(context_node* owned) noexcept : node_(owned) {}
    context_ref(const context_ref& other) noexcept : node_(other.node_) {
        if (node_) {
            retain(*node_);
        }
    }
    context_ref(context_ref&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    context_ref& operator=(context_ref other) noexcept {
        std::swap(node_, other.node_);
        return *this;
    }
    ~context_ref() {
        if (node_) {
            release(*node_);
        }
    }

    explicit operator bool() const noexcept { return node_ != nullptr; }
    context_node* get() const noexcept { return node_; }
    context_node& operator*() const noexcept { return *node_; }
    context_node* operator->() const noexcept { return node_; }

private:
    context_node* node_ = nullptr;
};

}  // namespace ringo::detail
