// A core: one thread, one kernel, one run queue, its timers and its inbox.
#pragma once

#include "ages.hpp"
#include "core_counts.hpp"
#include "inbox.hpp"
#include "kernel.hpp"
#include "ready_bag.hpp"
#include "ready_probe.hpp"
#include "timers.hpp"

#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/goroutine.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <pthread.h>

namespace ringo::detail {

class census;
class cores_state;
class resident;
struct scope;

/// Of times, as goroutine::parked_at has them: 4.2 ms each, so they come round after 208 days.
inline constexpr unsigned tick_bits = 22;
inline std::uint32_t ticks_of(std::int64_t ns) noexcept {
    return static_cast<std::uint32_t>(ns >> tick_bits);
}

/// Who made a new goroutine, and where.
inline void note_made(goroutine& g, const core_state& here, call_site made) noexcept {
    set_made(g, made);
    g.made_by = here.current != nullptr ? here.current->id : 0;
}

/// Set, and never reset, by the first channel whose last handle goes while goroutines wait on it.
extern std::atomic<bool> any_orphan;

class shard : public core_state {
public:
    shard(cores_state& all, std::uint16_t number, std::unique_ptr<kernel> k);
    shard(const shard&) = delete;
    shard& operator=(const shard&) = delete;
    ~shard();

    /// The shard that this thread is; null elsewhere.
    static shard* this_thread() noexcept { return static_cast<shard*>(this_core_state); }
    /// ... where it must be one.
    static shard& here() noexcept { return *this_thread(); }

    // --- the core's own thread ---

    /// Makes the calling thread this core, until `detach`.
    void attach();
    void detach() noexcept;

    /// One turn of the loop. Waits until there is something to do, or until `until_ns`.
    void turn(std::int64_t until_ns) noexcept;

    /// Takes a new goroutine in: binds it to its context, and makes it ready.
    void adopt(goroutine& g);

    std::int64_t now_ns() const noexcept { return kernel_->now_ns(); }
    kernel& io() noexcept { return *kernel_; }
    void count_system_call() noexcept { kernel_->counts.system_calls.add(); }

    /// For what starts goroutines without being one, a timer: keeps the run from ending until
    /// `end_hold`. False: the run is ending already, and starts nothing more.
    bool try_hold() noexcept;
    void end_hold() noexcept { count_ended(); }

    void add_scope(scope& s) noexcept;
    void remove_scope(scope& s) noexcept;
    void add_resident(resident& r) noexcept;
    void remove_resident(resident& r) noexcept;

    /// Whether a goroutine looks once more at what cores share before it parks.
    bool may_look_again(unsigned look) noexcept;
    void found_soon() noexcept { looks_ = looks_max; }

    /// From here on the seed decides who of the ready goroutines runs next.
    void shuffle(std::uint64_t seed);

    /// Threads that are no cores will wake goroutines of this core: functions that `blocking`
    /// runs, and callbacks. Each is counted until its goroutine has heard of it or has given up.
    struct awaited {
        std::uint32_t functions = 0;
        std::uint32_t callbacks = 0;
    };
    awaited& outside() noexcept { return outside_; }

    scope* scopes() const noexcept { return scopes_; }

    /// Works at what others want to know of this core's goroutines: a part of the first census.
    void answer_censuses();
    void drop_censuses();
    /// The one under way; null: none is.
    census* current_census() const noexcept { return censuses_; }
    const ages& made() const noexcept { return made_; }

    // --- any thread ---

    void post(message& m) noexcept;
    /// A goroutine that is new, or that was parked on this core.
    void post(goroutine& g) noexcept;
    void post(census& c) noexcept;
    void wake_if_asleep() noexcept;
    bool asleep() const noexcept { return asleep_.load(std::memory_order_seq_cst); }
    bool has_mail() const noexcept {
        return !messages_.empty() || !arrivals_.empty() || !questions_.empty();
    }
    /// On the core's own thread.
    std::uint64_t turns() const noexcept { return counts.turns.value(); }
    /// Odd while this core works, another number in each turn; even while it waits for its kernel.
    std::uint64_t pace() const noexcept { return pace_.load(std::memory_order_acquire); }
    /// The thread of a core whose pace is not 0.
    pthread_t thread() const noexcept { return thread_; }
    pid_t thread_number() const noexcept { return thread_number_; }
    /// Which nap this core takes (deadlock.hpp); 0: none.
    std::uint64_t nap() const noexcept {
        const std::uint64_t n = naps_.load(std::memory_order_seq_cst);
        return n % 2 == 0 ? 0 : n;
    }

    /// Goroutines that were started by this core, less those that ended on it.
    /// seq_cst: pairs with try_hold.
    std::uint64_t started() const noexcept { return started_.load(std::memory_order_seq_cst); }
    std::uint64_t ended() const noexcept { return ended_.load(std::memory_order_acquire); }
    void count_started() noexcept {
        started_.store(started_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    /// Of this core's thread; null while there is none.
    const frame_cache* frames() const noexcept { return frames_.load(std::memory_order_acquire); }
    /// Threads that are no cores have so often woken this one.
    std::uint64_t outside_wakes() const noexcept {
        return outside_wakes_.load(std::memory_order_relaxed);
    }
    /// Ids differ between cores: each counts in steps of the number of cores.
    std::uint32_t next_id() noexcept { return std::exchange(next_id_, next_id_ + id_step_); }

    // --- the end of a run, on the core's own thread ---

    /// From here on goroutines are destroyed, not resumed. Those that are suspended are woken.
    void abandon_goroutines() noexcept;
    /// Ends what is no goroutine's: timers of contexts, kernel operations.
    void drain() noexcept;

    // fixed after start
    cores_state& all;
    scope* root_scope = nullptr;
    shard* debugger_next = nullptr;  // gdb_layout.hpp

    // home core
    timer_wheel timers;

private:
    friend struct gdb_layout;

    void end_busy_part() noexcept;
    void run_ready() noexcept;
    void end_sample() noexcept;
    void run_ready_at_random() noexcept;
    void resume(goroutine& g) noexcept;
    bool any_ready() const noexcept {
        return !ready.empty() || (shuffled_ != nullptr && !shuffled_->empty());
    }
    bool takes_inbox() noexcept;
    void abandon_ready() noexcept;
    void end(goroutine& g) noexcept;
    void count_ended() noexcept;
    void destroy_frames(goroutine& g) noexcept;
    void run_inbox() noexcept;
    void take_idle_work() noexcept;
    bool is_own_thread() const noexcept;
    bool seems_quiet() const noexcept { return messages_.seems_empty() && arrivals_.seems_empty(); }
    void begin_turn() noexcept;
    void wait(std::int64_t until_ns) noexcept;
    void set_pace(std::uint64_t p) noexcept { pace_.store(p, std::memory_order_release); }
    void idle(std::int64_t until_ns) noexcept;
    void look_out(std::int64_t until_ns) noexcept;
    void sleep(std::int64_t until_ns) noexcept;
    std::int64_t begin_sleep(std::int64_t until_ns) noexcept;
    std::int64_t begin_nap() noexcept;
    void end_nap() noexcept;

    // home core
    std::unique_ptr<kernel> kernel_;
    scope* scopes_ = nullptr;
    resident* residents_ = nullptr;
    std::uint32_t next_id_ = 0;
    std::uint32_t id_step_ = 0;
    bool abandoning_ = false;
    int lookouts_ = 0;         // that this core may still make
    bool looked_out_ = false;  // in vain, in the last turn
    static constexpr int looks_max = 16;
    int looks_ = looks_max;  // that goroutines may still make in vain; below 0: until one may again
    awaited outside_;
    bool naps_now_ = false;
    std::int64_t deadlock_look_ns_ = 0;  // when to look for one again
    std::int64_t deadlock_pause_ns_ = 10'000'000;
    std::unique_ptr<ready_bag> shuffled_;  // only where a seed decides the order
    std::uint32_t busy_turns_ = 0;         // ... the turns that left the inbox alone
    ready_probe probe_;
    std::int64_t next_expiry_ns_ = 0;  // no sooner does it wake up for timers
    std::int64_t busy_since_ns_ = 0;   // the part of this turn that does not wait
    census* censuses_ = nullptr;       // by `next`
    ages made_;                        // of the ids that this core has issued
    pthread_t thread_{};
    pid_t thread_number_ = 0;

    // home core writes, others read
    std::atomic<std::uint64_t> started_{0};
    std::atomic<std::uint64_t> ended_{0};
    std::atomic<std::uint64_t> naps_{0};  // odd: in one
    std::atomic<const frame_cache*> frames_{nullptr};
    std::atomic<std::uint64_t> pace_{0};

    // other cores
    alignas(64) std::atomic<bool> asleep_{false};
    std::atomic<std::uint32_t> guests_{0};  // other threads than the run's that are in `post`
    std::atomic<std::uint64_t> outside_wakes_{0};
    inbox<message> messages_;
    inbox<goroutine> arrivals_;
    inbox<census> questions_;

public:
    // home core writes, others read
    alignas(64) core_counts counts;
};

/// Which turn of its core this is, among the last billion; even, and not 0.
inline std::uint32_t turn_mark(const shard& s) noexcept {
    return static_cast<std::uint32_t>(s.turns()) << 1U | 0x8000'0000U;
}

}  // namespace ringo::detail
