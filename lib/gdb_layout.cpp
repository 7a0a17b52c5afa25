#include "gdb_layout.hpp"

#include "context.hpp"
#include "shard.hpp"

#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>

// In this object, since a linker takes from an archive only what is referred to.
#include "gdb_script.hpp"

// offsetof of classes that inherit: all compilers that ringo supports have it.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

using ringo::detail::goroutine;
using ringo::detail::promise_base;
using ringo::detail::scope;
using ringo::detail::shard;
using ringo::detail::wait;
using ringo::detail::wait_type;

namespace ringo::detail {

struct gdb_layout {
    static constexpr std::uint32_t shard_scopes = offsetof(shard, scopes_);
};

}  // namespace ringo::detail

// Read by gdb/ringo-gdb.py: the names and the order are its business, too.
extern "C" {

/// Cores that are at work, by shard::debugger_next.
[[gnu::used]] shard* ringo_debug_shards = nullptr;

extern const std::uint32_t ringo_debug_layout[];
[[gnu::used]] const std::uint32_t ringo_debug_layout[] = {
    1,  // of this table
    offsetof(shard, debugger_next),
    offsetof(shard, index),
    offsetof(shard, current),
    offsetof(shard, frame),
    ringo::detail::gdb_layout::shard_scopes,
    offsetof(scope, shard_next),
    offsetof(scope, goroutines),
    offsetof(goroutine, scope_next),
    offsetof(goroutine, frame),
    offsetof(goroutine, waiting),
    offsetof(goroutine, id),
    offsetof(goroutine, made_by),
    offsetof(wait, type),
    offsetof(wait_type, name),
    offsetof(promise_base, where),
    offsetof(promise_base, caller),
};
}

namespace ringo::detail {

namespace {
constinit std::mutex lock;  // guards the list
}  // namespace

void show_to_debuggers(shard& s) noexcept {
    const std::lock_guard guard(lock);
    s.debugger_next = ringo_debug_shards;
    ringo_debug_shards = &s;
}

void hide_from_debuggers(shard& s) noexcept {
    const std::lock_guard guard(lock);
    shard** link = &ringo_debug_shards;
    while (*link != &s) {
        link = &(*link)->debugger_next;
    }
    *link = s.debugger_next;
}

}  // namespace ringo::detail
