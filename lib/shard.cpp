// The loop of a core. One turn:
//
//     run_ready       resume ready goroutines, at most `resumes_per_turn`, those first that the
//                     running one makes ready
//     run_inbox       wake and adopt what other cores and threads sent
//     take_idle_work  adopt goroutines that any idle core may take, when there is room
//     kernel turn     submit, reap; handlers make goroutines ready. With nothing to do it waits:
//                     shard_idle.cpp
//     expire timers   make the sleepers ready whose time has come
//
// Each part is bounded, so none starves the others.
#include "shard.hpp"

#include "context.hpp"
#include "cores.hpp"
#include "gdb_layout.hpp"
#include "probes.hpp"
#include "snapshot.hpp"

#include <ringo/detail/joinable.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/panic.hpp>
#include <ringo/detail/resident.hpp>

#include <algorithm>
#include <cstddef>
#include <thread>
#include <utility>

#include <unistd.h>

#undef STAP_SDT_ARG_CONSTRAINT
#define STAP_SDT_ARG_CONSTRAINT m

namespace ringo::detail {

constinit thread_local core_state* this_core_state = nullptr;

namespace {
constexpr int resumes_per_turn = 256;
constexpr int resumes_per_look = 32;  // into the inbox, which somebody on another core waits for
constexpr std::uint32_t busy_turns_max = 1024;
// A core wakes up for timers no more often than this, so that many cost it few system calls: what
// the kernel, too, takes the liberty of by default (timerslack_ns in proc(5)).
constexpr std::int64_t expiry_pause_ns = 50'000;
}  // namespace

void shard::turn(std::int64_t until_ns) noexcept {
    begin_turn();
    if (abandoning_) [[unlikely]] {
        abandon_ready();
        run_inbox();
    } else if (shuffled_ == nullptr) [[likely]] {
        ready.settle();
        if (probe_.is_due(busy_since_ns_)) {
            probe_.mark(ready, busy_since_ns_, counts);
        }
        run_ready();
        run_inbox();
    } else {
        run_ready_at_random();
        if (takes_inbox()) {
            run_inbox();
        }
    }
    take_idle_work();
    counts.turns.add();
    counts.timers.set(timers.count());
    if (any_ready() || censuses_ != nullptr) {
        kernel_->turn(0);
        end_busy_part();
    } else {
        end_busy_part();
        idle(until_ns);
        busy_since_ns_ = now_ns();
    }
    if (!timers.empty()) {
        const int fired = timers.expire(busy_since_ns_);
        if (fired != 0 && kernel_->is_real()) {
            // As many as that, and more may be due.
            const bool all_fired = fired < timer_wheel::expiries_max;
            next_expiry_ns_ = all_fired ? busy_since_ns_ + expiry_pause_ns : 0;
        }
    }
}

void shard::end_busy_part() noexcept {
    const std::int64_t now = now_ns();
    counts.turn_time.add(now - std::exchange(busy_since_ns_, now));
}

void shard::begin_turn() noexcept {
    set_pace(pace_.load(std::memory_order_relaxed) + 2);
    const std::uint32_t now = ticks_of(busy_since_ns_);
    if (now != tick) {
        tick = now;
        made_.note(next_id_, now);
    }
    if (!questions_.seems_empty() || censuses_ != nullptr) [[unlikely]] {
        answer_censuses();
    }
}

/// For the kernel, which is no work.
void shard::wait(std::int64_t until_ns) noexcept {
    const std::uint64_t pace = pace_.load(std::memory_order_relaxed);
    set_pace(pace + 1);
    kernel_->turn(until_ns);
    set_pace(pace + 2);
}

inline void shard::resume(goroutine& g) noexcept {
    current = &g;
    RINGO_PROBE1(goroutine_run, g.id);
    if (has_started(g)) [[likely]] {
        // Why `first`: to read back `frame`, just stored, made a round trip 3 to 5 percent slower.
        const frame_handle first = g.frame;
        frame = first;
        first.resume();
    } else {
        RINGO_PROBE2(goroutine_start, g.id, g.made_by);
        frame = g.type->start(g);
    }
    while (frame) {
        frame.resume();
    }
    if (g.finished) [[unlikely]] {
        end(g);
    } else {
        RINGO_PROBE2(goroutine_park, g.id, g.waiting);
    }
}

void shard::run_ready() noexcept {
    for (int looks = resumes_per_turn / resumes_per_look; looks > 0; --looks) {
        int left = resumes_per_look;
        for (; left > 0; --left) {
            goroutine* const g = ready.pop();
            if (g == nullptr) {
                break;
            }
            if (probe_.marks(*g)) [[unlikely]] {
                end_sample();
            }
            resume(*g);
        }
        counts.resumes.add(static_cast<std::uint64_t>(resumes_per_look - left));
        if (left != 0 || !seems_quiet()) {
            break;
        }
    }
    current = nullptr;
}

/// The marked one is the next.
[[gnu::noinline]] void shard::end_sample() noexcept { probe_.found(ready, now_ns(), counts); }

void shard::run_ready_at_random() noexcept {
    for (int left = resumes_per_turn; left > 0 && any_ready(); --left) {
        // Each pick is among all that are ready by then.
        while (goroutine* const g = ready.pop()) {
            shuffled_->add(*g);
        }
        resume(shuffled_->take(random()));
        counts.resumes.add();
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

/// Instead of resuming them.
void shard::abandon_ready() noexcept {
    while (any_ready()) {
        goroutine* const next = ready.pop();
        goroutine& g = next != nullptr ? *next : shuffled_->take(random());
        current = &g;
        destroy_frames(g);
        g.finished = true;
        end(g);
    }
    current = nullptr;
}

void shard::end(goroutine& g) noexcept {
    RINGO_PROBE1(goroutine_end, g.id);
    // The block goes in `type->end`; its destructors still run as this goroutine, so it counts as
    // a member until the last of them has.
    scope& s = *g.bound;
    unlink(g);
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
    if (ready.empty() && all.stopping()) [[unlikely]] {
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
    frame_handle in = g.frame;
    while (!call_site::is_site(in.address())) {
        const frame_handle caller = in.promise().caller;
        in.promise().slot->callee = nullptr;
        in.destroy();
        in = caller;
    }
    g.frame = in;
}

void shard::run_inbox() noexcept {
    for (message* m = messages_.take(); m != nullptr;) {
        // Lifetime: running it may free it.
        message* const next = m->next;
        counts.messages.add();
        m->run(*m);
        m = next;
    }
    for (goroutine* g = arrivals_.take(); g != nullptr;) {
        goroutine* const next = g->next;
        counts.messages.add();
        if (g->scope_link == nullptr) {
            adopt(*g);
        } else {
            auto* const w = std::exchange(g->waiting, nullptr);
            if (w != nullptr && w->type->arrive != nullptr) {
                w->type->arrive(*w);
            }
            ready.push(*g);
        }
        g = next;
    }
}

void shard::answer_censuses() {
    constexpr std::size_t steps = 256;
    if (censuses_ == nullptr) {
        censuses_ = questions_.take();
    }
    if (census* const first = censuses_; first != nullptr) {
        census* const following = first->next;
        if (first->go_on(steps)) {
            censuses_ = following;
        }
    }
}

void shard::drop_censuses() {
    while (censuses_ != nullptr || !questions_.seems_empty()) {
        if (censuses_ == nullptr) {
            censuses_ = questions_.take();
        }
        std::exchange(censuses_, censuses_->next)->give_up();
    }
}

void shard::take_idle_work() noexcept {
    if (!all.has_idle_work()) {
        return;
    }
    // One, so that all cores being busy starves nobody; more, when this one has nothing else.
    for (int left = ready.empty() ? 8 : 1; left > 0; --left) {
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
    ready.push(g);
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
    busy_since_ns_ = now_ns();
    frames_.store(&this_frames, std::memory_order_release);
    thread_ = ::pthread_self();
    thread_number_ = ::gettid();
    set_pace(1);
    id_step_ = static_cast<std::uint32_t>(all.size());
    next_id_ = index + 1U;
    root_scope = &scope_of(*all.root(), *this);
    ++root_scope->members;  // it stays
    show_to_debuggers(*this);
}

void shard::detach() noexcept {
    hide_from_debuggers(*this);
    --root_scope->members;
    collect(*root_scope);
    biases.release();
    frames_.store(nullptr, std::memory_order_release);
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
    std::atomic_signal_fence(std::memory_order_release);  // as in bind
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
        wait(kernel_->in_flight() != 0 && messages_.empty() ? timer_wheel::never : 0);
        kernel_->cancel_all();
    }
    while (residents_ != nullptr) {
        residents_->core_ends();
    }
}

}  // namespace ringo::detail
