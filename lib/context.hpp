// The shared state of contexts.
//
// A context is known to the cores whose goroutines are bound to it through one scope per core.
// A scope's lists belong to its core; the node's lock guards what any thread may touch. To end
// a context is to mark it, then to let each core walk its own scope: at once on this core, by a
// message elsewhere. So binding a goroutine to its starter's context takes no lock, and a
// suspended operation costs its context nothing.
#pragma once

#include "inbox.hpp"

#include <ringo/context.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/timer.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

namespace ringo::detail {

struct deadline_timer;

/// A context's presence on one core.
struct scope : message {
    scope(context_node& n, shard& s) noexcept;

    context_node& node;  // holds a reference
    shard& home;

    // home core
    goroutine* goroutines = nullptr;
    done_operation* watchers = nullptr;
    std::size_t members = 0;  // goroutines and watchers; the scope goes with the last
    bool over = false;        // its goroutines have been told that the context has ended
    scope* shard_next = nullptr;
    scope** shard_link = nullptr;

    // under the node's lock
    scope* node_next = nullptr;
    bool walk_pending = false;  // it must not go before it has been walked
};

enum class node_state : std::uint8_t { live, cancelled, past_deadline };

/// How a context relates to its parent's end.
enum class bond : std::uint8_t { none, follows, shielded };

struct context_node {
    context_node(context_node* up, bond b) noexcept;
    ~context_node();

    // fixed after start
    context_node* parent;  // holds a reference
    const bond to_parent;
    bool can_end;               // false: background, and what only adds values to it
    bool own_deadline = false;  // earlier than the parent's
    std::int64_t deadline_ns;   // the earliest, here or further up
    const void* value_key = nullptr;
    std::shared_ptr<const void> value;

    // any thread
    std::atomic<std::uint32_t> references{1};
    std::atomic<node_state> ended{node_state::live};

    std::mutex lock;  // guards what follows; of two, the child's is taken first, or neither nests
    std::exception_ptr cause;
    scope* scopes = nullptr;
    deadline_timer* timer = nullptr;  // armed on some core
    std::optional<std::stop_source> stop;
    std::optional<std::stop_callback<std::function<void()>>> outside;
    context_node* first_child = nullptr;

    // under the parent's lock
    context_node* next_sibling = nullptr;
    context_node** sibling_link = nullptr;  // null: not among the parent's children
};

/// Ends `node` and all that follow it, once; later calls change nothing. core: any thread
void end_context(context_node& node, node_state how, std::exception_ptr cause) noexcept;

/// Binds an unbound goroutine.
/// ... which has heard of no end of a context yet.
inline void bind_new(goroutine& g, scope& s) noexcept {
    g.bound = &s;
    g.scope_next = s.goroutines;
    g.scope_link = &s.goroutines;
    if (s.goroutines != nullptr) {
        s.goroutines->scope_link = &g.scope_next;
    }
    // For signals' handlers on this thread, which may look at the list: see interrupted_part.
    std::atomic_signal_fence(std::memory_order_release);
    s.goroutines = &g;
    ++s.members;
    if (s.over) [[unlikely]] {
        g.cancelled = true;
    }
}
inline void bind(goroutine& g, scope& s) noexcept {
    g.cancelled = g.abandoned || (g.cancel_requested && !g.shielded);
    bind_new(g, s);
}
/// ... to `ctx` on this core, whose scope is made if need be.
void bind(goroutine& g, context_node& ctx);
void unbind(goroutine& g) noexcept;
/// ... though it still counts as a member.
inline void unlink(goroutine& g) noexcept {
    *g.scope_link = g.scope_next;
    if (g.scope_next != nullptr) {
        g.scope_next->scope_link = g.scope_link;
    }
    g.scope_link = nullptr;
}
/// The scope goes when it has no members.
void collect(scope& s) noexcept;

/// The scope of `ctx` on this core, made if need be.
scope& scope_of(context_node& ctx, shard& here);

/// What the background is to goroutines, a runtime's root is to its run.
context_ref make_root();
/// The values of `ctx` without its end.
context_ref without_cancel(context_node& ctx);
/// Throws what the end of `ctx` means to who waits under it.
[[noreturn]] void throw_ended(const context_node& ctx, const char* operation);

}  // namespace ringo::detail
