#include <ringo/timer.hpp>

#include "context.hpp"
#include "cores.hpp"
#include "shard.hpp"
#include "timers.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/detail/selection.hpp>
#include <ringo/result.hpp>

#include <algorithm>
#include <utility>

namespace ringo::detail {

namespace {

constexpr std::int64_t never = timer_wheel::never;

/// The core of who waits. Under the lock of what it waits for.
shard& home_of(const waiter& w) noexcept {
    const goroutine& g = w.type->wakes == waker::select ? *w.select->self : *w.self;
    return g.bound->home;
}

}  // namespace

const wait_type timer_wait{"timer", &timer_core::cancel};
const arm_type timer_operation::arm = make_arm(&timer_core::withdraw);
const wait_type timer_core::alarm{"timer", nullptr, &timer_core::fired};

timer_core::timer_core(bool acts) noexcept : timer_entry(alarm), message(&arrived), acts_(acts) {}

void timer_core::act(std::int64_t) noexcept { release(); }

bool timer_core::reset(duration d, duration period) noexcept {
    const std::int64_t due = deadline_after(std::max(d, duration(0)));
    const bias_guard guard(lock_);
    const bool was_pending = pending_ || ticked_;
    pending_ = true;
    ticked_ = false;
    due_ns_ = due;
    period_ns_ = period.count();
    align();
    return was_pending;
}

bool timer_core::stop() noexcept {
    const bias_guard guard(lock_);
    const bool was_pending = pending_ || ticked_;
    pending_ = false;
    ticked_ = false;
    align();
    return was_pending;
}

void timer_core::disown() noexcept {
    {
        const bias_guard guard(lock_);
        owned_ = false;
        if (!acts_) {
            // Who waits now waits for ever, or until it is cancelled. Go would let it leak as well.
            pending_ = false;
        }
        if (!is_to_fire()) {
            align();
        }
        if (--users_ != 0) {
            return;
        }
    }
    delete this;
}

void timer_core::release() noexcept {
    {
        const bias_guard guard(lock_);
        if (--users_ != 0) {
            return;
        }
    }
    delete this;
}

bool timer_core::take(timer_waiter& w) noexcept {
    if (!ticked_) {
        // A core that is busy has not come to it yet.
        if (!is_to_fire() || !waiters_.empty() || due_ns_ > now_ns()) {
            return false;
        }
        tick(due_ns_);
    }
    ticked_ = false;
    w.tick_ns = tick_ns_;
    if (pending_) {
        skip_past(now_ns());  // what came meanwhile is lost
    }
    align();
    return true;
}

void timer_core::enlist(timer_waiter& w) noexcept {
    waiters_.push_back(w);
    w.counted = true;
    ++users_;
    if (home_ == nullptr) {
        align();  // it was made or reset on a thread without timers
    }
}

void timer_core::withdraw(wait& w) noexcept {
    auto& me = static_cast<timer_waiter&>(w);
    withdraw_waiter(me, me.on->lock_, me.on->waiters_);
}

void timer_core::cancel(wait& w) noexcept {
    auto& me = static_cast<timer_waiter&>(w);
    cancel_waiter(me, me.on->lock_, me.on->waiters_);
}

// --- under the lock ---

bool timer_core::is_to_fire() const noexcept { return pending_ && !ticked_ && due_ns_ != never; }

/// It is due. Whom to resume.
waiter* timer_core::tick(std::int64_t now) noexcept {
    tick_ns_ = due_ns_;
    if (period_ns_ == 0) {
        pending_ = false;
    } else {
        skip_past(now);
    }
    waiter* const w = waiters_.pop();
    if (w != nullptr) {
        static_cast<timer_waiter*>(w)->tick_ns = tick_ns_;
    }
    ticked_ = w == nullptr && !acts_;
    return w;
}

/// On to the first multiple of the period that is later than `now`.
void timer_core::skip_past(std::int64_t now) noexcept {
    if (due_ns_ <= now) {
        due_ns_ += (now - due_ns_) / period_ns_ * period_ns_;
        due_ns_ = due_ns_ < never - period_ns_ ? due_ns_ + period_ns_ : never;
    }
}

/// After a change: the entry is to follow.
void timer_core::align() noexcept {
    if (home_ != nullptr) {
        align_at_home();
    } else if (is_to_fire()) {
        if (shard* const here = shard::this_thread()) {
            arm_on(*here);
        } else if (!waiters_.empty()) {
            arm_on(home_of(*waiters_.front()));
        }  // else who waits next sees to it
    }
}

void timer_core::arm_on(shard& s) noexcept {
    home_ = &s;
    ++users_;
    if (acts_) {
        s.add_resident(*this);  // nobody waits for it, so `s` is this core
    }
    align_at_home();
}

void timer_core::align_at_home() noexcept {
    if (home_ == shard::this_thread()) {
        settle();
    } else if (!posted_) {
        // Lifetime: its home's timers hold it, or are about to, so its home is not gone.
        posted_ = true;
        ++users_;
        home_->post(*this);
    }
}

/// core: its home
void timer_core::settle() noexcept {
    home_->timers.remove(*this);
    if (is_to_fire()) {
        deadline_ns = due_ns_;
        home_->timers.add(*this);
    } else if (!acts_ || !owned_) {
        leave_home();
    }
}

/// core: its home
void timer_core::leave_home() noexcept {
    if (acts_) {
        home_->remove_resident(*this);
    }
    home_ = nullptr;
    --users_;
}

// --- on its home, without the lock ---

void timer_core::fired(wait& entry) noexcept {
    auto& self = static_cast<timer_core&>(entry);
    shard& here = shard::here();
    const std::int64_t now = here.now_ns();
    waiter* woken = nullptr;
    bool acts = false;
    bool unused = false;
    {
        const bias_guard guard(self.lock_);
        if (self.is_to_fire() && self.due_ns_ <= now) {
            woken = self.tick(now);
            acts = self.acts_;
            self.users_ += acts ? 1 : 0;
            self.settle();
        } else if (!self.posted_ || here.all.stopping()) {
            // At the end of a run its timers fire early.
            self.leave_home();
            if (self.is_to_fire() && !self.waiters_.empty()) {
                self.arm_on(home_of(*self.waiters_.front()));  // of another runtime
            }
        }
        unused = self.users_ == 0;
    }
    resume(woken);
    if (acts) {
        if (here.try_hold()) {
            self.act(self.tick_ns_);
            here.end_hold();
        } else {
            self.release();
        }
    } else if (unused) {
        delete &self;
    }
}

void timer_core::arrived(message& m) noexcept {
    auto& self = static_cast<timer_core&>(m);
    {
        const bias_guard guard(self.lock_);
        self.posted_ = false;
        self.align();  // it may have another home by now, and the message goes there
    }
    self.release();
}

void timer_core::core_ends() noexcept {
    {
        const bias_guard guard(lock_);
        leave_home();
        if (users_ != 0) {
            return;
        }
    }
    delete this;
}

// --- the kinds ---

namespace {

class tick_core final : public timer_core {
public:
    tick_core() noexcept : timer_core(false) {}
};

class after_core final : public timer_core {
public:
    explicit after_core(chan<time_point> c) : timer_core(true), out_(std::move(c)) {}

private:
    void act(std::int64_t tick_ns) noexcept override {
        out_.try_send(time_point(duration(tick_ns)));
        release();
    }

    const chan<time_point> out_;
};

duration checked_period(duration period) {
    if (period <= duration(0)) {
        panic("ticker: the period is not positive");
    }
    return period;
}

}  // namespace

timer_core* make_timer(duration d) {
    auto* const t = new tick_core;
    t->reset(d, duration(0));
    return t;
}

timer_core* make_ticker(duration period) {
    checked_period(period);
    auto* const t = new tick_core;
    t->reset(period, period);
    return t;
}

timer_core& timer_owner::operator*() const {
    if (core_ == nullptr) {
        panic("timer: used after it was moved from");
    }
    return *core_;
}

context_ref inherited_context(const char* panic_message) {
    if (shard::this_thread() == nullptr) {
        panic(panic_message);
    }
    return this_context().node();
}

task<> nothing_more() { co_return; }

namespace {

/// A goroutine that has yet to be started.
class unstarted {
public:
    unstarted(goroutine& g, call_site made) noexcept : g_(&g), made_(made) {}
    unstarted(unstarted&& other) noexcept
        : g_(std::exchange(other.g_, nullptr)), made_(other.made_) {}
    unstarted& operator=(unstarted&&) = delete;
    ~unstarted() {
        if (g_ != nullptr) {
            g_->type->destroy(*g_);
        }
    }
    void start(const context& under) {
        start_at(*std::exchange(g_, nullptr), place::here, under.node().get(), made_);
    }

private:
    goroutine* g_;
    call_site made_;
};

task<> start_at_end_of(context ctx, call_claim claim, unstarted f) {
    (void)co_await as_result(ctx.done());  // fails when the run ends
    if (ctx.cancelled() && !claim->exchange(true)) {
        f.start(ctx);
    }
}

/// `ctx` if it ends no later than the run does, else the run's.
context until_run_ends(const context& ctx) {
    const context_ref& root = shard::here().all.root();
    for (context_node* n = ctx.node().get(); n != nullptr; n = n->parent) {
        if (n == root.get()) {
            return ctx;
        }
        if (n->to_parent != bond::follows) {
            break;
        }
    }
    return context(root);
}

}  // namespace

context_func start_when_ended(const context& ctx, goroutine& f, call_site made) {
    if (shard::this_thread() == nullptr) {
        panic("after_func: called outside a runtime's cores");
    }
    auto claim = std::make_shared<std::atomic<bool>>(false);
    auto waiting =
        spawn(with(until_run_ends(ctx), made), start_at_end_of, ctx, claim, unstarted(f, made));
    return context_func(ctx, std::move(claim), std::move(waiting));
}

}  // namespace ringo::detail

namespace ringo {

void ticker::reset(duration period) { core_->reset(detail::checked_period(period), period); }

recv_chan<time_point> after(duration d) {
    if (detail::shard::this_thread() == nullptr) {
        detail::panic("after: called outside a runtime's cores");
    }
    chan<time_point> c(1);
    detail::timer_owner t(new detail::after_core(c));
    t->reset(d, duration(0));
    return c;
}

bool context_func::stop() {
    if (waiting_.done() || ctx_.cancelled() || claim_->exchange(true)) {
        return false;
    }
    waiting_.cancel();
    return true;
}

}  // namespace ringo
