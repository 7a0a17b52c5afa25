#include <ringo/go.hpp>

#include "context.hpp"
#include "cores.hpp"
#include "panics.hpp"
#include "shard.hpp"

#include <ringo/detail/arm.hpp>
#include <ringo/detail/selection.hpp>
#include <ringo/error.hpp>

#include <exception>
#include <utility>

namespace ringo::detail {

namespace {

shard& core_or(core_state* here, const char* otherwise) noexcept {
    if (here == nullptr) {
        panic(otherwise);
    }
    return static_cast<shard&>(*here);
}
/// This thread's core; a panic that says `otherwise` where there is none.
shard& here_or(const char* otherwise) noexcept { return core_or(this_core_state, otherwise); }

constexpr const char* no_core =
    "go: called outside a runtime's cores; use ringo::run, or "
    "runtime::spawn from other threads";

}  // namespace

void start_here(core_state* at, goroutine& g, call_site made) noexcept {
    shard& here = core_or(at, no_core);
    set_made(g, made);
    g.core = here.tag;
    g.id = here.next_id();
    here.count_started();
    if (g.is_joinable) {
        static_cast<joinable_base&>(g).begin(here);
    }
    scope* under = here.root_scope;
    if (const goroutine* const by = here.current; by != nullptr) [[likely]] {
        g.made_by = by->id;
        under = by->bound;
    }
    bind_new(g, *under);
    here.ready.push(g);
}

void start_at(goroutine& g, int core, context_node* ctx, call_site made) {
    if (core == place::here && ctx == nullptr) {
        start_here(this_core_state, g, made);
        return;
    }
    shard& here = here_or(no_core);
    note_made(g, here, made);
    cores_state& all = here.all;
    if (core >= 0 && static_cast<std::size_t>(core) >= all.size()) {
        panic("go: on(core) names a core that does not exist");
    }
    scope& inherited = here.current != nullptr ? *here.current->bound : *here.root_scope;
    context_node& under = ctx != nullptr ? *ctx : inherited.node;
    retain(under);
    g.unbound = &under;
    g.id = here.next_id();
    here.count_started();
    if (core == place::here || static_cast<std::size_t>(core) == here.index) {
        here.adopt(g);
        return;
    }
    if (g.is_joinable) {
        static_cast<joinable_base&>(g).begin_elsewhere();
    }
    if (core == place::idle_core) {
        all.offer(g);
    } else {
        all.shard_at(static_cast<std::size_t>(core)).post(g);
    }
}

namespace {

/// The news of its context's end may be on its way to this core still, while the failure came
/// here through a child of the context or through another goroutine.
void hear_of_cancellation(goroutine& g) noexcept {
    if (g.bound->node.ended.load(std::memory_order_acquire) != node_state::live) {
        g.cancelled = true;
    }
}

void panic_unless_cancelled(const goroutine& g, const std::exception_ptr& error) noexcept {
    if (!error || g.abandoned) {
        return;
    }
    try {
        std::rethrow_exception(error);
    } catch (const cancelled&) {
        if (!g.cancelled) {
            panic_unhandled(g.id, error);
        }
    } catch (const deadline_exceeded&) {
        if (!g.cancelled) {
            panic_unhandled(g.id, error);
        }
    } catch (...) {
        panic_unhandled(g.id, error);
    }
}

}  // namespace

void check_detached(goroutine& g, const std::exception_ptr& error) noexcept {
    if (error) {
        hear_of_cancellation(g);
        panic_unless_cancelled(g, error);
    }
}

void fail_detached(goroutine& g) noexcept { check_detached(g, std::current_exception()); }

// --- joining ---

namespace {

void cancel_join(wait& w) noexcept {
    auto& op = static_cast<joining&>(w);
    if (op.target->leave(op)) {
        op.self->error = context_failure(*op.self);
        wake(*op.self);
    }
}

}  // namespace

const wait_type join_wait{"join", &cancel_join};

namespace {

joining& joining_of(wait& w) noexcept { return static_cast<joining&>(w); }

bias_lock* lock_of_join(wait& w) noexcept { return joining_of(w).lock(); }
bool has_ended(wait& w, waiter*&) noexcept { return joining_of(w).target->has_ended(); }
void enlist_join(wait& w) noexcept { joining_of(w).target->enlist(joining_of(w)); }
void withdraw_join(wait& w) noexcept { joining_of(w).target->leave(joining_of(w)); }

}  // namespace

const arm_type joining::arm{
    {"select", nullptr, nullptr, waker::select},
    &lock_of_join,
    &has_ended,
    &enlist_join,
    &withdraw_join,
};

/// Under the lock: whom to wake; null: another arm has won.
goroutine* joining::claim() noexcept {
    if (type->wakes == waker::goroutine) {
        return self;
    }
    return select->claim(*this) ? select->self : nullptr;
}

void refuse_second_join() noexcept { panic("join_handle: awaited by two goroutines at once"); }

bool joinable_base::leave(joining& w) noexcept {
    const bias_guard guard(lock_);
    const bool waits = joiner_ == &w;
    if (waits) {
        joiner_ = nullptr;
    }
    return waits;
}

bool joinable_base::done() const noexcept {
    const bias_guard guard(lock_);
    return ended_;
}

bool joinable_base::finish(core_state& here, const std::exception_ptr& failure) noexcept {
    failure_ = &failure;
    if (failure) {
        hear_of_cancellation(*this);
    }
    bias_slot* const entered = lock_.enter(&here);
    ended_ = true;
    goroutine* const joiner =
        joiner_ != nullptr ? std::exchange(joiner_, nullptr)->claim() : nullptr;
    const bool last = --references_ == 0;
    lock_.leave(entered);
    // Lifetime: unless it is the last, `this` may go from here on.
    if (joiner != nullptr) {
        wake(here, *joiner);
    }
    if (last) {
        check_observed();
    }
    return last;
}

void joinable_base::release_unobserved() noexcept {
    // A failure that passes while another one unwinds this frame is not the first to be told.
    if (!observed_ && std::uncaught_exceptions() != 0) {
        observed_ = true;
    }
    release();
}

void joinable_base::release() noexcept {
    bool last = false;
    {
        const bias_guard guard(lock_);
        last = --references_ == 0;
    }
    if (last) {
        check_observed();
        type->destroy(*this);
    }
}

void joinable_base::check_observed() noexcept {
    if (!observed_) {
        panic_unless_cancelled(*this, *failure_);
    }
}

/// Carries a cancel to the goroutine's core.
struct joinable_base::cancel_message : message {
    /// g: with a reference for this
    explicit cancel_message(joinable_base& g) noexcept : message(&run), target(g) {}
    static void run(message& m) noexcept {
        auto& self = static_cast<cancel_message&>(m);
        self.target.cancel_here();
        self.target.release();
        delete &self;
    }
    joinable_base& target;
};

void joinable_base::cancel_here() noexcept {
    if (done()) {
        return;
    }
    cancel_requested = true;
    if (!shielded) {
        cancelled = true;
        if (waiting != nullptr) {
            waiting->type->cancel(*waiting);
        }
    }
}

bool joinable_base::arrive(shard& at) noexcept {
    const bias_guard guard(lock_);
    home_ = &at;
    return !cancel_asked_;
}

void joinable_base::cancel() noexcept {
    shard* home = nullptr;
    bool sends = false;
    {
        const bias_guard guard(lock_);
        if (ended_ || std::exchange(cancel_asked_, true)) {
            return;  // once it has ended, its core may be gone too
        }
        home = home_;  // null: on its way, and `arrive` sees it
        sends = home != nullptr && home != shard::this_thread();
        references_ += sends ? 1 : 0;
    }
    if (sends) {
        home->post(*new cancel_message(*this));
    } else if (home != nullptr) {
        cancel_here();
    }
}

}  // namespace ringo::detail

namespace ringo {

std::size_t this_core() {
    return detail::here_or("this_core: called outside a runtime's cores").index;
}

std::size_t cores() {
    return detail::here_or("cores: called outside a runtime's cores").all.size();
}

std::size_t num_goroutines() {
    return detail::here_or("num_goroutines: called outside a runtime's cores").all.live();
}

}  // namespace ringo
