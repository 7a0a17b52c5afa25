// A core that has nothing to do: how it waits, and how others wake it.
#include "cores.hpp"
#include "deadlock.hpp"
#include "pause_cpu.hpp"
#include "shard.hpp"
#include "snapshot.hpp"

#include <algorithm>
#include <thread>
#include <utility>

namespace ringo::detail {

namespace {
constexpr std::int64_t lookout_ns = 20'000;  // how long a core looks out for messages
constexpr std::int64_t soon_ns = 100'000;    // a sleep this short was not worth it
constexpr int lookouts_max = 16;
constexpr std::int64_t deadlock_pause_max_ns = 1'000'000'000;
}  // namespace

// To wake a core that sleeps takes both sides tens of microseconds, a message to one that is awake
// a tenth of one. So while messages come in quick succession, a core without work looks out for the
// next one before it sleeps. `lookouts_` is how often it still may: each message that comes soon
// adds one, each look-out in vain takes one. Only where each core has a CPU of its own.

bool shard::may_look_again(unsigned look) noexcept {
    constexpr unsigned looks_each = 8;
    constexpr int parks_between = 64;
    if (look == 0 && looks_ <= 0 && --looks_ > -parks_between) {
        return false;
    }
    if (look == looks_each) {
        looks_ = std::max(looks_ - 1, 0);
        return false;
    }
    return !any_ready() && seems_quiet() && shuffled_ == nullptr && all.has_own_cpus();
}

bool may_look_again(core_state& here, unsigned look) noexcept {
    return static_cast<shard&>(here).may_look_again(look);
}

/// Meanwhile the other core does several operations.
void pause_before_look() noexcept {
    for (int i = 0; i < 16; ++i) {
        pause_cpu();
    }
}

void found_soon(core_state& here) noexcept { static_cast<shard&>(here).found_soon(); }

void shard::idle(std::int64_t until_ns) noexcept {
    if (lookouts_ > 0 && !std::exchange(looked_out_, false)) {
        look_out(until_ns);
    } else {
        sleep(until_ns);
    }
}

void shard::look_out(std::int64_t until_ns) noexcept {
    kernel_->turn(0);  // what is queued goes on its way; who calls wake() ends this turn
    if (any_ready()) {
        return;
    }
    const std::int64_t end = std::min({busy_since_ns_ + lookout_ns, timers.next_ns(), until_ns});
    do {
        for (int i = 0; i < 16; ++i) {
            if (!seems_quiet() || all.has_idle_work()) {
                lookouts_ = lookouts_max;
                return;
            }
            if (kernel_->has_completions()) {
                return;
            }
            pause_cpu();
        }
    } while (now_ns() < end);
    --lookouts_;
    looked_out_ = true;
}

void shard::sleep(std::int64_t until_ns) noexcept {
    const std::int64_t end = begin_sleep(until_ns);
    const bool times = end > 0 && all.has_own_cpus();
    const std::int64_t begin = busy_since_ns_;
    counts.sleeps.add();
    wait(end);
    asleep_.store(false, std::memory_order_relaxed);
    if (naps_now_) {
        end_nap();
    }
    if (times && !seems_quiet() && lookouts_ < lookouts_max && now_ns() - begin < soon_ns) {
        ++lookouts_;
    }
}

/// Until when to sleep. From here on others wake this core.
std::int64_t shard::begin_sleep(std::int64_t until_ns) noexcept {
    // First say that we sleep, then look: whoever pushes first looks afterwards whether we
    // sleep (post, wake_if_asleep). seq_cst on both sides, so one of the two sees the other.
    asleep_.store(true, std::memory_order_seq_cst);
    if (has_mail() || all.has_idle_work()) {
        return 0;
    }
    const std::int64_t limit = std::min(until_ns, std::max(timers.next_ns(), next_expiry_ns_));
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
    // seq_cst, and pairs with is_deadlock: it sees that this nap is over, or this core waits.
    naps_.store(naps_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
    while (all.naps_held) {
        std::this_thread::yield();
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

void shard::post(census& c) noexcept {
    const visit v(guests_, is_own_thread());
    questions_.push(c);
    wake_if_asleep();
}

void shard::post(goroutine& g) noexcept {
    const visit v(guests_, is_own_thread());
    arrivals_.push(g);
    wake_if_asleep();
}

void shard::wake_if_asleep() noexcept {
    // Pairs with begin_sleep(). The exchange lets one of many senders make the system call.
    if (asleep_.load(std::memory_order_seq_cst) &&
        asleep_.exchange(false, std::memory_order_seq_cst)) {
        if (shard* const here = this_thread(); here != nullptr) {
            here->counts.wakes_sent.add();
        } else {
            outside_wakes_.fetch_add(1, std::memory_order_relaxed);
        }
        kernel_->wake();
    }
}

}  // namespace ringo::detail
