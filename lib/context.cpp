#include "context.hpp"

#include "shard.hpp"
#include "snapshot.hpp"
#include "timers.hpp"

#include <ringo/detail/arm.hpp>
#include <ringo/detail/frame_memory.hpp>

#include <algorithm>
#include <utility>

namespace ringo::detail {

/// Ends a context at its deadline. Whoever clears `node->timer` under its lock disposes of it.
struct deadline_timer : timer_entry, message {
    deadline_timer(context_node& n, shard& s)
        : timer_entry(deadline_wait), message(&dropped), node((retain(n), &n)), home(s) {}

    void dispose() noexcept {
        home.timers.remove(*this);
        delete this;
    }

    static void fired(wait& entry) noexcept {
        auto& self = static_cast<deadline_timer&>(entry);
        const context_ref node = self.node;
        {
            const std::lock_guard guard(node->lock);
            if (node->timer != &self) {
                return;  // another core has ended the context: `dropped` is on its way
            }
            node->timer = nullptr;
        }
        // At the end of a run its timers fire early.
        const bool due = self.deadline_ns <= self.home.now_ns();
        delete &self;
        end_context(*node, due ? node_state::past_deadline : node_state::cancelled, nullptr);
    }
    static void dropped(message& m) noexcept { static_cast<deadline_timer&>(m).dispose(); }

    static constexpr wait_type deadline_wait{"deadline", nullptr, &fired};

    context_ref node;
    shard& home;
};

namespace {

bool try_retain(context_node& node) noexcept {
    auto n = node.references.load(std::memory_order_relaxed);
    while (n != 0) {
        if (node.references.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/// under the parent's lock
void unlink_from_parent(context_node& node) noexcept {
    if (node.sibling_link != nullptr) {
        *node.sibling_link = node.next_sibling;
        if (node.next_sibling != nullptr) {
            node.next_sibling->sibling_link = node.sibling_link;
        }
        node.sibling_link = nullptr;
    }
}

void leave_parent(context_node& node) noexcept {
    if (node.to_parent == bond::follows && node.parent->can_end) {
        const std::lock_guard guard(node.parent->lock);
        unlink_from_parent(node);
    }
}

/// A child that follows its parent from here on; ended at once when the parent has ended.
context_ref make_child(context_node& parent, bool can_end) {
    context_ref child(new context_node(&parent, bond::follows));
    child->can_end = can_end || parent.can_end;
    if (!parent.can_end) {
        return child;
    }
    node_state already = node_state::live;
    std::exception_ptr cause;
    {
        const std::lock_guard guard(parent.lock);
        already = parent.ended.load(std::memory_order_relaxed);
        if (already == node_state::live) {
            child->next_sibling = parent.first_child;
            child->sibling_link = &parent.first_child;
            if (parent.first_child != nullptr) {
                parent.first_child->sibling_link = &child->next_sibling;
            }
            parent.first_child = child.get();
        } else {
            cause = parent.cause;
        }
    }
    if (already != node_state::live) {
        end_context(*child, already, cause);
    }
    return child;
}

/// under the node's lock
void arm(context_node& node, shard& here) {
    auto* const timer = new deadline_timer(node, here);
    timer->deadline_ns = node.deadline_ns;
    node.timer = timer;
    here.timers.add(*timer);
}

/// Tells this core's part of an ended context.
void walk(scope& s) noexcept {
    s.over = true;
    while (done_operation* const watcher = s.watchers) {
        watcher->unlink();
        --s.members;
        watcher->type->fire(*watcher);
    }
    for (goroutine* g = s.goroutines; g != nullptr; g = g->scope_next) {
        g->cancelled = true;
        if (g->waiting != nullptr) {
            g->waiting->type->cancel(*g->waiting);
        }
    }
    {
        const std::lock_guard guard(s.node.lock);
        s.walk_pending = false;
    }
    collect(s);
}

/// Marks one node as ended and tells its cores; its children go before `chain`, with a reference
/// each. False: it had ended before.
bool end_one(context_node& node, node_state how, const std::exception_ptr& cause,
             context_node*& chain) noexcept {
    shard* const here = shard::this_thread();
    scope* mine = nullptr;
    std::optional<std::stop_source> stop;
    {
        const std::lock_guard guard(node.lock);
        if (node.ended.load(std::memory_order_relaxed) != node_state::live) {
            return false;
        }
        node.cause = cause;
        node.ended.store(how, std::memory_order_release);
        stop = node.stop;
        while (context_node* const child = node.first_child) {
            unlink_from_parent(*child);
            if (try_retain(*child)) {
                child->next_sibling = std::exchange(chain, child);
            }
        }
        for (scope* s = node.scopes; s != nullptr; s = s->node_next) {
            s->walk_pending = true;
            if (&s->home == here) {
                mine = s;
            } else {
                s->home.post(*s);
            }
        }
        if (deadline_timer* const timer = std::exchange(node.timer, nullptr)) {
            if (&timer->home == here) {
                timer->dispose();
            } else {
                timer->home.post(*timer);
            }
        }
    }
    leave_parent(node);
    if (mine != nullptr) {
        walk(*mine);
    }
    if (stop) {
        stop->request_stop();
    }
    return true;
}

}  // namespace

scope::scope(context_node& n, shard& s) noexcept
    : message([](message& m) noexcept { walk(static_cast<scope&>(m)); }), node(n), home(s) {
    retain(n);
}

context_node::context_node(context_node* up, bond b) noexcept
    : parent(up),
      to_parent(b),
      can_end(false),
      deadline_ns(b == bond::follows ? up->deadline_ns : timer_wheel::never) {
    if (up != nullptr) {
        retain(*up);
    }
}

context_node::~context_node() {
    outside.reset();  // first: its callback may be running elsewhere
}

void retain(context_node& node) noexcept {
    node.references.fetch_add(1, std::memory_order_relaxed);
}

void release(context_node& node) noexcept {
    // A loop, not recursion: chains of parents may be long.
    for (context_node* n = &node; n != nullptr;) {
        if (n->references.fetch_sub(1, std::memory_order_acq_rel) != 1) {
            return;
        }
        context_node* const parent = n->parent;
        if (parent != nullptr) {
            leave_parent(*n);
        }
        delete n;
        n = parent;
    }
}

void end_context(context_node& node, node_state how, std::exception_ptr cause) noexcept {
    if (!node.can_end) {
        return;
    }
    context_node* chain = nullptr;
    end_one(node, how, cause, chain);
    while (chain != nullptr) {
        const context_ref child(chain);
        chain = child->next_sibling;
        end_one(*child, how, cause, chain);
    }
}

void bind(goroutine& g, context_node& ctx) { bind(g, scope_of(ctx, shard::here())); }

void unbind(goroutine& g) noexcept {
    scope& s = *g.bound;
    unlink(g);
    if (--s.members == 0) [[unlikely]] {
        collect(s);
    }
}

scope& scope_of(context_node& ctx, shard& here) {
    if (goroutine* const g = here.current; g != nullptr && &g->bound->node == &ctx) {
        return *g->bound;
    }
    const std::lock_guard guard(ctx.lock);
    for (scope* s = ctx.scopes; s != nullptr; s = s->node_next) {
        if (&s->home == &here) {
            return *s;
        }
    }
    auto* const s = new scope(ctx, here);
    s->over = ctx.ended.load(std::memory_order_relaxed) != node_state::live;
    s->node_next = std::exchange(ctx.scopes, s);
    here.add_scope(*s);
    if (ctx.own_deadline && ctx.timer == nullptr && !s->over) {
        arm(ctx, here);  // it was made on a thread without timers
    }
    return *s;
}

void collect(scope& s) noexcept {
    if (s.members != 0) {
        return;
    }
    {
        const std::lock_guard guard(s.node.lock);
        if (s.walk_pending) {
            return;
        }
        scope** link = &s.node.scopes;
        while (*link != &s) {
            link = &(*link)->node_next;
        }
        *link = s.node_next;
    }
    s.home.remove_scope(s);
    const context_ref node(&s.node);  // the scope's reference
    delete &s;
}

context_ref make_root() {
    context_ref root(new context_node(nullptr, bond::none));
    root->can_end = true;
    return root;
}

context_ref make_value_context(const context_node& parent, const void* key,
                               std::shared_ptr<const void> value) {
    context_ref node = make_child(const_cast<context_node&>(parent), false);
    node->value_key = key;
    node->value = std::move(value);
    return node;
}

const void* find_context_value(const context_node& node, const void* key) noexcept {
    for (const context_node* n = &node; n != nullptr; n = n->parent) {
        if (n->value_key == key) {
            return n->value.get();
        }
    }
    return nullptr;
}

namespace {

failure failure_of(const context_node& node) noexcept {
    return node.ended.load(std::memory_order_acquire) == node_state::past_deadline
               ? failure_deadline_exceeded
               : failure_cancelled;
}

}  // namespace

std::uint8_t context_failure(const goroutine& g) noexcept { return failure_of(g.bound->node); }

void throw_ended(const context_node& ctx, const char* operation) {
    throw_failure(failure_of(ctx), operation);
}

context_ref without_cancel(context_node& ctx) {
    return context_ref(new context_node(&ctx, bond::shielded));
}

// --- awaiting a context's end ---

/// Stands for the `done_operation` in what core and select call.
struct done_arm {
    static done_operation& of(wait& w) noexcept { return static_cast<done_operation&>(w); }

    /// False: the context has ended.
    static bool leave(wait& w) noexcept {
        done_operation& op = of(w);
        if (op.link == nullptr) {
            return false;
        }
        scope& s = *op.on;
        op.unlink();
        if (--s.members == 0) {
            collect(s);
        }
        return true;
    }
    static void cancel(wait& w) noexcept {
        if (leave(w)) {
            give_up(w);
        }
    }
    static void fire(wait& w) noexcept { wake(*w.self); }

    static bias_lock* lock(wait&) noexcept { return nullptr; }
    static bool attempt(wait& w, waiter*&) noexcept { return of(w).ended(); }
    static void enlist(wait& w) noexcept {
        if (!of(w).start()) {
            fire_arm(w);  // it has ended since the attempt
        }
    }
    static void withdraw(wait& w) noexcept { leave(w); }
};

const wait_type done_wait{"context done", &done_arm::cancel, &done_arm::fire};

const arm_type done_operation::arm{
    {"select", nullptr, &fire_arm, waker::select},
    &done_arm::lock,
    &done_arm::attempt,
    &done_arm::enlist,
    &done_arm::withdraw,
    true,
};

bool done_operation::ended() const noexcept {
    return ctx_->ended.load(std::memory_order_acquire) != node_state::live;
}

bool done_operation::start() noexcept {
    scope& s = scope_of(*ctx_, shard::here());
    if (s.over || ended()) {
        if (s.members == 0) {
            collect(s);
        }
        return false;
    }
    on = &s;
    next = s.watchers;
    link = &s.watchers;
    if (next != nullptr) {
        next->link = &next;
    }
    s.watchers = this;
    ++s.members;
    return true;
}

void done_operation::unlink() noexcept {
    *link = next;
    if (next != nullptr) {
        next->link = link;
    }
    link = nullptr;
}

// --- binding for the length of an await ---

namespace {

void tell_census(const goroutine& g) {
    if (census* const c = shard::here().current_census()) [[unlikely]] {
        c->moved(g);
    }
}

}  // namespace

void rebinding::bind(goroutine& g, context_node& ctx) {
    // Keeps the outer scope as a member, so that coming back needs no look-up.
    scope& inner = scope_of(ctx, shard::here());
    outer_ = g.bound;
    ++outer_->members;
    unbind(g);
    was_shielded_ = g.shielded;
    g.shielded = was_shielded_ || ctx.to_parent == bond::shielded;
    detail::bind(g, inner);
    tell_census(g);
    g_ = &g;
}

void rebinding::undo() noexcept {
    if (g_ != nullptr) {
        goroutine& g = *std::exchange(g_, nullptr);
        unbind(g);
        g.shielded = was_shielded_;
        detail::bind(g, *outer_);
        tell_census(g);
        --outer_->members;
    }
}

context_node& timeout_context::operator()() {
    scope_ = with_timeout(this_context(), d_);
    return *scope_.ctx().node();
}

context_node& deadline_context::operator()() {
    scope_ = with_deadline(this_context(), until_);
    return *scope_.ctx().node();
}

context_node& shielded_context::operator()() {
    ctx_ = without_cancel(*this_context().node());
    return *ctx_;
}

}  // namespace ringo::detail

namespace ringo {

using detail::context_ref;
using detail::node_state;

context context::background() {
    static detail::context_node* const node = new detail::context_node(nullptr, detail::bond::none);
    detail::retain(*node);
    return context(context_ref(node));
}

context context::from(std::stop_token token) {
    context_ref node = detail::make_root();
    detail::context_node* const raw = node.get();
    node->outside.emplace(std::move(token), [raw] {
        if (detail::try_retain(*raw)) {
            const context_ref kept(raw);
            detail::end_context(*raw, node_state::cancelled, nullptr);
        }
    });
    return context(std::move(node));
}

bool context::cancelled() const noexcept {
    return node_->ended.load(std::memory_order_acquire) != node_state::live;
}

std::error_code context::error() const noexcept {
    switch (node_->ended.load(std::memory_order_acquire)) {
        case node_state::live:
            return {};
        case node_state::cancelled:
            return detail::failure_code(detail::failure_cancelled);
        case node_state::past_deadline:
            break;
    }
    return detail::failure_code(detail::failure_deadline_exceeded);
}

std::exception_ptr context::cause() const {
    const std::lock_guard guard(node_->lock);
    return node_->cause;
}

std::optional<time_point> context::deadline() const noexcept {
    if (node_->deadline_ns == detail::timer_wheel::never) {
        return std::nullopt;
    }
    return time_point(duration(node_->deadline_ns));
}

std::stop_token context::stop_token() const {
    const std::lock_guard guard(node_->lock);
    if (!node_->stop) {
        node_->stop.emplace();
        if (cancelled()) {
            node_->stop->request_stop();
        }
    }
    return node_->stop->get_token();
}

context this_context() {
    detail::core_state* const core = detail::this_core_state;
    if (core == nullptr || core->current == nullptr) {
        return context::background();
    }
    detail::context_node& node = core->current->bound->node;
    detail::retain(node);
    return context(context_ref(&node));
}

cancel_scope& cancel_scope::operator=(cancel_scope&& other) noexcept {
    if (this != &other) {
        if (ctx_.node()) {
            cancel();
        }
        ctx_ = std::move(other.ctx_);
    }
    return *this;
}

void cancel_scope::cancel(std::exception_ptr cause) noexcept {
    detail::end_context(*ctx_.node(), node_state::cancelled, std::move(cause));
}

cancel_scope with_cancel(const context& parent) {
    return cancel_scope(detail::make_child(*parent.node(), true));
}

namespace {

cancel_scope with_end(const context& parent, std::int64_t ns, bool is_past) {
    context_ref node = detail::make_child(*parent.node(), true);
    if (ns >= node->deadline_ns) {
        return cancel_scope(std::move(node));  // an earlier deadline stands further up
    }
    node->deadline_ns = ns;
    node->own_deadline = true;
    if (is_past) {
        detail::end_context(*node, node_state::past_deadline, nullptr);
    } else if (detail::shard* const here = detail::shard::this_thread()) {
        const std::lock_guard guard(node->lock);
        if (node->ended.load(std::memory_order_relaxed) == node_state::live) {
            detail::arm(*node, *here);
        }
    }
    return cancel_scope(std::move(node));
}

}  // namespace

cancel_scope with_timeout(const context& parent, duration d) {
    return with_end(parent, detail::deadline_after(d), d <= duration(0));
}

cancel_scope with_deadline(const context& parent, time_point t) {
    const std::int64_t ns = t.time_since_epoch().count();
    return with_end(parent, ns, ns <= detail::now_ns());
}

place place::with(const ringo::context& ctx, detail::call_site at) const {
    place p = detail::placed_here(*this, at);
    p.context = ctx.node();
    return p;
}

}  // namespace ringo
