// The loop of a core. One turn:
//
//     run_ready       resume ready goroutines, at most `resumes_per_turn`
//     run_inbox       wake and adopt what other cores and threads sent
//     take_idle_work  adopt goroutines that any idle core may take, when there is room
//     kernel turn     submit, wait if there is nothing to do, reap; handlers make goroutines ready
//     expire timers   make the sleepers ready whose time has come
//
// Each part is bounded, so none starves the others.
#include "shard.hpp"

#include "context.hpp"
#include "cores.hpp"
#include "deadlock.hpp"
#include "pause_cpu.hpp"

#include <ringo/blocking.hpp>
#include <ringo/callback.hpp>
#include <ringo/detail/joinable.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/panic.hpp>
#include <ringo/detail/resident.hpp>

#include <algorithm>
#include <thread>
#include <utility>

namespace ringo::detail {

constinit thread_local core_state* this_core_state = nullptr;

namespace {
constexpr int resumes_per_turn = 256;
constexpr int resumes_per_look = 32;  // into the inbox, which somebody on another core waits for
constexpr std::uint32_t busy_turns_max = 1024;
constexpr std::int64_t deadlock_pause_max_ns = 1'000'000'000;

constexpr std::int64_t lookout_ns = 20'000;  // how long a core looks out for messages
constexpr std::int64_t soon_ns = 100'000;    // a sleep this short was not worth it
constexpr int lookouts_max = 16;
}  // namespace

void shard::turn(std::int64_t until_ns) noexcept {
    if (shuffled_ == nullptr) [[likely]] {
        run_ready();
        run_inbox();
    } else {
        run_ready_at_random();
        if (takes_inbox()) {
            run_inbox();
        }
    }
    take_idle_work();
    if (may_look_out()) {
        look_out(until_ns);
    } else {
        wait(wait_limit(until_ns));
    }
    if (!timers.empty()) {
        timers.expire(now_ns());
    }
}

inline void shard::resume(goroutine& g) noexcept {
    current = &g;
    if (can_resume(g)) [[likely]] {
        do {
            g.frame.resume();
        } while (resuming);
    }
    if (g.finished) [[unlikely]] {
        end(g);
    }
}

void shard::run_ready() noexcept {
    for (int left = resumes_per_turn; left > 0 && ready_head != nullptr; --left) {
        goroutine& g = *ready_head;
        ready_head = g.next;
        if (ready_head == nullptr) {
            ready_tail = &ready_head;
        }
        __builtin_prefetch(ready_head);
        resume(g);
        if (left % resumes_per_look == 0 && !seems_quiet()) {
            break;
        }
    }
    current = nullptr;
}

void shard::run_ready_at_random() noexcept {
    for (int left = resumes_per_turn; left > 0 && any_ready(); --left) {
        // Each pick is among all that are ready by then.
        while (ready_head != nullptr) {
            goroutine& g = *ready_head;
            ready_head = g.next;
            shuffled_->add(g);
        }
        ready_tail = &ready_head;
        resume(shuffled_->take(random()));
    }
    current = nullptr;
}

/// What comes from outside waits until all else does, so that the moment at which it really comes
/// shows in nothing. It is not kept waiting for ever.
bool shard::takes_inbox() noexcept {
    const bool takes = !any_ready() || ++busy_turns_ == busy_turns_max;
    if (takes) {
        busy_turns_ = 0;
    }
    return takes;
}

/// False: there is nothing to resume, and the goroutine is finished.
bool shard::can_resume(goroutine& g) noexcept {
    resuming = true;
    if (abandoning_) [[unlikely]] {
        destroy_frames(g);
    } else if (g.frame) [[likely]] {
        return true;
    } else {
        try {
            g.type->start(g);
            return true;
        } catch (...) {
            g.type->fail(g);
        }
    }
    resuming = false;
    g.finished = true;
    return false;
}

void shard::end(goroutine& g) noexcept {
    // The block goes in `type->end`; its destructors still run as this goroutine, so it stays
    // bound until the last of them has. Hence the stand-in: a member that keeps the scope.
    scope& s = *g.bound;
    ++s.members;
    unbind(g);
    g.bound = &s;
    g.type->end(g);
    if (--s.members == 0) {
        collect(s);
    }
    count_ended();
}

void shard::count_ended() noexcept {
    ended_.store(ended_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    // The first core waits for the last end of all, which finds nothing else ready here. It may
    // be this core, before it sleeps in the same turn. Not wake_if_asleep: the first core looks
    // at live() before it says that it sleeps.
    if (ready_head == nullptr && all.stopping()) [[unlikely]] {
        all.shard_at(0).io().wake();
    }
}

bool shard::try_hold() noexcept {
    // First count, then look; the first core says that the run ends, then counts (started). All
    // seq_cst, so that one of the two sees the other.
    started_.store(started_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
    if (!all.stopping()) {
        return true;
    }
    count_ended();
    return false;
}

// Innermost first, so that a long chain of callers takes no stack.
void shard::destroy_frames(goroutine& g) noexcept {
    g.abandoned = true;
    frame_handle frame = std::exchange(g.frame, nullptr);
    while (frame) {
        const frame_handle caller = frame.promise().caller;
        frame.promise().slot->callee = nullptr;
        frame.destroy();
        frame = caller;
    }
}

void shard::heard_from_outside(const goroutine& g) noexcept {
    const wait_type* const type = g.waiting != nullptr ? g.waiting->type : nullptr;
    if (type == &blocking_wait) {
        --outside_.functions;
    } else if (type == &callback_wait) {
        --outside_.callbacks;
    }
}

void shard::run_inbox() noexcept {
    for (message* m = messages_.take(); m != nullptr;) {
        // Lifetime: running it may free it.
        message* const next = m->next;
        m->run(*m);
        m = next;
    }
    for (goroutine* g = arrivals_.take(); g != nullptr;) {
        goroutine* const next = g->next;
        if (g->scope_link == nullptr) {
            adopt(*g);
        } else {
            heard_from_outside(*g);
            g->waiting = nullptr;
            make_ready(*g);
        }
        g = next;
    }
}

void shard::take_idle_work() noexcept {
    if (!all.has_idle_work()) {
        return;
    }
    // One, so that all cores being busy starves nobody; more, when this one has nothing else.
    for (int left = ready_head == nullptr ? 8 : 1; left > 0; --left) {
        goroutine* const g = all.take_idle_work();
        if (g == nullptr) {
            return;
        }
        adopt(*g);
    }
}

void shard::adopt(goroutine& g) {
    g.core = tag;
    if (g.id == 0) {
        g.id = next_id();
    }
    const context_ref ctx(std::exchange(g.unbound, nullptr));
    if (g.is_joinable && !static_cast<joinable_base&>(g).arrive(*this)) {
        g.cancel_requested = true;
    }
    if (&root_scope->node == ctx.get()) {
        bind(g, *root_scope);
    } else {
        bind(g, *ctx);
    }
    make_ready(g);
}

std::int64_t shard::wait_limit(std::int64_t until_ns) noexcept {
    if (any_ready()) {
        return 0;
    }
    // First say that we sleep, then look: whoever pushes first looks afterwards whether we
    // sleep (post, wake_if_asleep). seq_cst on both sides, so one of the two sees the other.
    asleep_.store(true, std::memory_order_seq_cst);
    if (has_mail() || all.has_idle_work()) {
        return 0;
    }
    const std::int64_t limit = std::min(until_ns, timers.next_ns());
    return limit == timer_wheel::never && all.ends_on_deadlock() ? begin_nap() : limit;
}

std::int64_t shard::begin_nap() noexcept {
    if (kernel_->in_flight() != 0 || outside_.functions != 0 || outside_.callbacks != 0) {
        return timer_wheel::never;
    }
    naps_now_ = true;
    // seq_cst, as in nap(): of the cores, at least the last to begin sees that all nap. It also
    // publishes what this core's goroutines wait in.
    naps_.store(naps_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
    for (std::size_t core = 0; core < all.size(); ++core) {
        if (all.shard_at(core).nap() == 0) {
            return timer_wheel::never;
        }
    }
    // Looking costs some microseconds, and where threads wake goroutines it is in vain each time.
    if (const std::int64_t now = now_ns(); now >= deadlock_look_ns_) {
        if (is_deadlock(all)) {
            end_by_deadlock(all);
        }
        deadlock_look_ns_ = now + deadlock_pause_ns_;
        deadlock_pause_ns_ = std::min(2 * deadlock_pause_ns_, deadlock_pause_max_ns);
    }
    return deadlock_look_ns_;
}

void shard::end_nap() noexcept {
    naps_now_ = false;
    // seq_cst: before all that this core will do.
    naps_.store(naps_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
}

// To wake a core that sleeps takes both sides tens of microseconds, a message to one that is awake
// a tenth of one. So while messages come in quick succession, a core without work looks out for the
// next one before it sleeps. `lookouts_` is how often it still may: each message that comes soon
// adds one, each look-out in vain takes one. Only where each core has a CPU of its own.

bool shard::may_look_out() noexcept {
    return lookouts_ > 0 && !any_ready() && !std::exchange(looked_out_, false);
}

/// Instead of a wait.
void shard::look_out(std::int64_t until_ns) noexcept {
    kernel_->turn(0);  // what is queued goes on its way; who calls wake() ends this turn
    const std::int64_t end = std::min({now_ns() + lookout_ns, timers.next_ns(), until_ns});
    do {
        for (int i = 0; i < 16; ++i) {
            if (!seems_quiet() || all.has_idle_work()) {
                lookouts_ = lookouts_max;
                return;
            }
            if (any_ready() || kernel_->has_completions()) {
                return;
            }
            pause_cpu();
        }
    } while (now_ns() < end);
    --lookouts_;
    looked_out_ = true;
}

void shard::wait(std::int64_t until_ns) noexcept {
    const bool times = until_ns > 0 && all.has_own_cpus();
    const std::int64_t begin = times ? now_ns() : 0;
    kernel_->turn(until_ns);
    asleep_.store(false, std::memory_order_relaxed);
    if (naps_now_) {
        end_nap();
    }
    if (times && !seems_quiet() && lookouts_ < lookouts_max && now_ns() - begin < soon_ns) {
        ++lookouts_;
    }
}

namespace {

/// Lifetime: what a thread posts may be the last that a run waits for, and the run's own threads
/// are joined at its end, but not this one. So the shard waits for its guests.
class visit {
public:
    visit(std::atomic<std::uint32_t>& guests, bool own) noexcept
        : guests_(own ? nullptr : &guests) {
        if (guests_ != nullptr) {
            guests_->fetch_add(1, std::memory_order_relaxed);  // published by the push
        }
    }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
    ~visit() {
        if (guests_ != nullptr) {
            guests_->fetch_sub(1, std::memory_order_release);  // pairs with ~shard
        }
    }

private:
    std::atomic<std::uint32_t>* guests_;
};

}  // namespace

bool shard::is_own_thread() const noexcept {
    const shard* const here = this_thread();
    return here != nullptr && &here->all == &all;
}

void shard::post(message& m) noexcept {
    const visit v(guests_, is_own_thread());
    messages_.push(m);
    wake_if_asleep();
}

void shard::post(goroutine& g) noexcept {
    const visit v(guests_, is_own_thread());
    arrivals_.push(g);
    wake_if_asleep();
}

void shard::wake_if_asleep() noexcept {
    // Pairs with wait_limit(). The exchange lets one of many senders make the system call.
    if (asleep_.load(std::memory_order_seq_cst) &&
        asleep_.exchange(false, std::memory_order_seq_cst)) {
        kernel_->wake();
    }
}

void wake_elsewhere(goroutine& g) noexcept { g.bound->home.post(g); }

shard::shard(cores_state& c, std::uint16_t number, std::unique_ptr<kernel> k)
    : all(c), kernel_(std::move(k)) {
    index = number;
}

shard::~shard() {
    while (guests_.load(std::memory_order_acquire) != 0) {
        std::this_thread::yield();  // a few instructions, or one system call, from the end
    }
}

void shard::attach() {
    this_core_state = this;
    tag = biases.acquire();
    random_state += 0x9e3779b97f4a7c15 * (std::uint64_t{index} + 1) +
                    static_cast<std::uint64_t>(kernel_->now_ns());
    kernel_->attach();
    id_step_ = static_cast<std::uint32_t>(all.size());
    next_id_ = index + 1U;
    root_scope = &scope_of(*all.root(), *this);
    ++root_scope->members;  // it stays
}

void shard::detach() noexcept {
    --root_scope->members;
    collect(*root_scope);
    biases.release();
    this_core_state = nullptr;
}

void shard::shuffle(std::uint64_t seed) {
    shuffled_ = std::make_unique<ready_bag>();
    // Neighbouring seeds must differ in all bits: splitmix64's output function.
    seed += 0x9e3779b97f4a7c15;
    seed = (seed ^ (seed >> 30U)) * 0xbf58476d1ce4e5b9;
    seed = (seed ^ (seed >> 27U)) * 0x94d049bb133111eb;
    seed ^= seed >> 31U;
    random_state = seed != 0 ? seed : 1;
}

void shard::add_scope(scope& s) noexcept {
    s.shard_next = scopes_;
    s.shard_link = &scopes_;
    if (scopes_ != nullptr) {
        scopes_->shard_link = &s.shard_next;
    }
    scopes_ = &s;
}

void shard::remove_scope(scope& s) noexcept {
    *s.shard_link = s.shard_next;
    if (s.shard_next != nullptr) {
        s.shard_next->shard_link = s.shard_link;
    }
}

void shard::add_resident(resident& r) noexcept {
    r.next_ = residents_;
    r.link_ = &residents_;
    if (residents_ != nullptr) {
        residents_->link_ = &r.next_;
    }
    residents_ = &r;
}

void shard::remove_resident(resident& r) noexcept {
    *r.link_ = r.next_;
    if (r.next_ != nullptr) {
        r.next_->link_ = r.link_;
    }
}

void shard::abandon_goroutines() noexcept {
    abandoning_ = true;
    for (scope* s = scopes_; s != nullptr; s = s->shard_next) {
        for (goroutine* g = s->goroutines; g != nullptr; g = g->scope_next) {
            g->abandoned = true;
            g->cancelled = true;
            if (g->waiting != nullptr) {
                g->waiting->type->cancel(*g->waiting);
            }
        }
    }
}

void shard::drain() noexcept {
    kernel_->cancel_all();
    while (kernel_->in_flight() != 0 || !timers.empty() || !messages_.empty()) {
        timers.expire(timer_wheel::never);
        run_inbox();
        kernel_->turn(kernel_->in_flight() != 0 && messages_.empty() ? timer_wheel::never : 0);
        kernel_->cancel_all();
    }
    while (residents_ != nullptr) {
        residents_->core_ends();
    }
}

}  // namespace ringo::detail
