#include <ringo/detail/group.hpp>

#include "context.hpp"
#include "cores.hpp"
#include "panics.hpp"
#include "shard.hpp"

#include <ringo/detail/outcome.hpp>
#include <ringo/detail/panic.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/error.hpp>

#include <exception>
#include <utility>

namespace ringo::detail {

namespace {

std::exception_ptr as_exception(std::uint8_t failure, const char* operation) noexcept {
    try {
        throw_failure(failure, operation);
    } catch (...) {
        return std::current_exception();
    }
}

std::uint8_t end_failure(const context_node& node) noexcept {
    return node.ended.load(std::memory_order_acquire) == node_state::past_deadline
               ? failure_deadline_exceeded
               : failure_cancelled;
}

node_state end_of(std::uint8_t failure) noexcept {
    return failure == failure_deadline_exceeded ? node_state::past_deadline : node_state::cancelled;
}

bool is_cancellation(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const cancelled&) {
        return true;
    } catch (const deadline_exceeded&) {
        return true;
    } catch (...) {
        return false;
    }
}

bool has_ended(const context_node& node) noexcept {
    return node.ended.load(std::memory_order_acquire) != node_state::live;
}

/// Whether the end of `from` ends `node`.
bool follows(const context_node* node, const context_node& from) noexcept {
    while (node != nullptr && node != &from) {
        node = node->to_parent == bond::follows ? node->parent : nullptr;
    }
    return node != nullptr;
}

void drop(member_base& m) noexcept {
    const context_ref under(std::exchange(m.unbound, nullptr));
    m.type->destroy(m);
}

/// An error is on its way already, or a run destroys what it has left.
bool is_unwinding() noexcept {
    const core_state* const here = this_core_state;
    return std::uncaught_exceptions() != 0 ||
           (here != nullptr && here->current != nullptr && here->current->abandoned);
}

}  // namespace

group::group(const ringo::context& parent, group_kind kind)
    : scope_(with_cancel(parent)), kind_(kind) {}

group::~group() {
    while (member_base* const m = kept_) {
        kept_ = m->next_kept;
        m->type->destroy(*m);
    }
}

/// Nobody starts any more. under the lock
bool group::over() const noexcept { return stopped_ || has_ended(*ctx().node()); }

// --- members ---

void group::start(member_base& m, const place& where) {
    shard* const here = shard::this_thread();
    if (here == nullptr) {
        panic("task_group go: called outside a runtime's cores");
    }
    bool starts = false;
    note_made(m, *here, where.made);
    m.at = where.core == place::here ? here->index : where.core;
    if (m.at >= 0 && static_cast<std::size_t>(m.at) >= here->all.size()) {
        panic("task_group go: on(core) names a core that does not exist");
    }
    if (where.context) {
        if (!follows(where.context.get(), *ctx().node())) {
            panic("task_group go: with(ctx) names a context that does not derive from the group's");
        }
        retain(*where.context);
        m.unbound = where.context.get();
    }
    m.in = this;
    m.next = nullptr;
    {
        const bias_guard guard(lock_);
        ++running_;
        if (!over() && running_ <= limit_) {
            starts = true;
        } else {
            *held_tail_ = &m;
            held_tail_ = &m.next;
        }
    }
    if (starts) {
        launch(m);
    } else {
        leave();
    }
}

void group::launch(member_base& m) noexcept {
    shard& here = shard::here();
    m.id = here.next_id();
    here.count_started();
    if (m.at == here.index && m.unbound == nullptr) {
        m.core = here.tag;
        bind(m, *ctx().node());
        here.ready.push(m);
        return;
    }
    if (m.unbound == nullptr) {
        m.unbound = ctx().node().get();
        retain(*m.unbound);
    }
    if (m.at == place::idle_core) {
        here.all.offer(m);
    } else if (m.at == here.index) {
        here.adopt(m);
    } else {
        here.all.shard_at(static_cast<std::size_t>(m.at) % here.all.size()).post(m);
    }
}

void group::start_kept(std::span<member_base* const> all) noexcept {
    shard& here = shard::here();
    const call_site made = here.current->frame.promise().where;  // who makes them waits for them
    running_ = all.size();
    std::uint32_t position = 0;
    scope* under = nullptr;
    for (member_base* const m : all) {
        m->in = this;
        m->position = position++;
        m->next_kept = std::exchange(kept_, m);
        note_made(*m, here, made);
        m->id = here.next_id();
        m->core = here.tag;
        here.count_started();
        if (under == nullptr) {
            under = &scope_of(*ctx().node(), here);
        }
        bind(*m, *under);
        here.ready.push(*m);
    }
}

void group::limit(std::size_t n) noexcept {
    {
        const bias_guard guard(lock_);
        limit_ = n;
        ++running_;
    }
    leave();
}

void group::leave() noexcept {
    goroutine* starting = nullptr;
    goroutine* dropped = nullptr;
    waiter* woken = nullptr;
    bool last = false;
    do {
        bool reports = false;
        {
            const bias_guard guard(lock_);
            --running_;
            dropped = nullptr;
            if (held_ != nullptr && over()) {
                dropped = std::exchange(held_, nullptr);
                held_tail_ = &held_;
                reports = !stopped_;
                ++running_;  // until they are gone
            }
            for (goroutine** end = &starting; held_ != nullptr && running_ < limit_; ++running_) {
                goroutine& m = *held_;
                held_ = m.next;
                m.next = nullptr;
                *end = &m;
                end = &m.next;
            }
            if (held_ == nullptr) {
                held_tail_ = &held_;
            }
            if (idle()) {
                woken = waiters_.pop_all();
                last = is_last();
            }
        }
        if (reports) {
            record(as_exception(end_failure(*ctx().node()), "task_group"), 0);
        }
        for (goroutine* m = dropped; m != nullptr;) {
            drop(static_cast<member_base&>(*std::exchange(m, m->next)));
        }
    } while (dropped != nullptr);
    // Lifetime: the group lives while there is anyone to start, or when this is the last.
    while (starting != nullptr) {
        launch(static_cast<member_base&>(*std::exchange(starting, starting->next)));
    }
    resume_all(woken);
    if (last) {
        delete this;
    }
}

// --- ends ---

void group::end(member_base& m, const std::exception_ptr& error) noexcept {
    if (error) [[unlikely]] {
        fail(error, m.id);
    } else if (m.abandoned) [[unlikely]] {
        fail(as_exception(failure_cancelled, "task_group"), m.id);
    }
    m.type->destroy(m);
    this_core_state->current = nullptr;  // it was `m`
    leave();
}

void group::end_kept(member_base& m, const std::exception_ptr& error) noexcept {
    bool stops = false;
    if (error || kind_ == group_kind::until_end) {
        const bias_guard guard(lock_);
        stops = !std::exchange(stopped_, true);
        if (stops) {
            error_ = error;
            first_ = m.position;
        }
    }
    if (stops) {
        end_context(*ctx().node(), node_state::cancelled, error);
    }
    leave();
}

void group::fail(const std::exception_ptr& error, std::uint32_t id) noexcept {
    if (forgives() && is_cancellation(error)) {
        return;
    }
    if (record(error, id)) {
        end_context(*ctx().node(), node_state::cancelled, error);
    }
}

bool group::forgives() noexcept {
    const bias_guard guard(lock_);
    return forgiving_;
}

/// False: it is not the first.
bool group::record(const std::exception_ptr& error, std::uint32_t id) noexcept {
    const bias_guard guard(lock_);
    if (stopped_ && (!forgiving_ || error_)) {
        return false;
    }
    stopped_ = true;
    error_ = error;
    failed_id_ = id;
    return true;
}

void group::cancel() noexcept {
    {
        const bias_guard guard(lock_);
        forgiving_ = forgiving_ || !stopped_;
        stopped_ = true;
        ++running_;
    }
    end_context(*ctx().node(), node_state::cancelled, nullptr);
    leave();
}

void group::release() noexcept {
    bool waited = false;
    bool untold = false;
    {
        const bias_guard guard(lock_);
        waited = idle();
        untold = error_ && !told_;
        owned_ = false;
        stopped_ = true;
        ++running_;
    }
    if (!is_unwinding()) {
        if (!waited) {
            panic("task_group: destroyed while members run; await wait() first");
        }
        if (untold && !is_cancellation(error_)) {
            panic_unhandled(failed_id_, error_);
        }
    }
    if (!waited) {
        end_context(*ctx().node(), node_state::cancelled, nullptr);
    }
    leave();
}

// --- waiting ---

bool group::join(group_wait& w) noexcept {
    bool drops = false;
    {
        const bias_guard guard(lock_);
        if (idle()) {
            if (w.self->cancelled && !error_) {
                w.self->error = context_failure(*w.self);
            }
            return false;
        }
        w.in = this;
        ++waits_;
        waiters_.push_back(w);
        drops = held_ != nullptr && over();
        running_ += drops ? 1 : 0;
    }
    // Lifetime: another core may wake the goroutine from here on, but it resumes on this one.
    if (drops) {
        leave();
    }
    if (w.self->cancelled) {
        w.type->cancel(w);
    }
    return true;
}

void group::let_go() noexcept {
    bool last = false;
    {
        const bias_guard guard(lock_);
        --waits_;
        last = is_last();
    }
    if (last) {
        delete this;
    }
}

void group::rethrow() {
    std::exception_ptr error;
    {
        const bias_guard guard(lock_);
        told_ = true;
        error = error_;
    }
    if (error) {
        detail::rethrow(std::move(error));
    }
}

void group::cancel_wait(wait& w) noexcept {
    auto& op = static_cast<group_wait&>(w);
    {
        const bias_guard guard(op.in->lock_);
        if (!op.is_linked()) {
            return;  // all have ended
        }
    }
    op.in->stop_for(*op.self);
}

void group::fail_wait(wait& w) noexcept {
    auto& op = static_cast<group_wait&>(w);
    group& in = *op.in;
    const std::exception_ptr error = as_exception(context_failure(*op.self), op.type->name);
    {
        const bias_guard guard(in.lock_);
        if (!op.is_linked()) {
            return;
        }
        if (!in.stopped_ || (in.forgiving_ && !in.error_)) {
            in.stopped_ = true;
            in.error_ = error;
        }
        ++in.running_;
    }
    in.stop_for(*op.self);
    in.leave();
}

void group::stop_for(const goroutine& waiting) noexcept {
    context_node& node = *ctx().node();
    // Why not at once: who ends the parent comes to `node` next, in a loop. Groups within groups
    // would end one another recursively.
    if (!has_ended(*node.parent)) {
        const std::exception_ptr cause =
            ringo::context(context_ref((retain(waiting.bound->node), &waiting.bound->node)))
                .cause();
        end_context(node, end_of(context_failure(waiting)), cause);
    }
}

}  // namespace ringo::detail
