#include <ringo/select.hpp>

#include <ringo/detail/bias_lock.hpp>
#include <ringo/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace ringo::detail {

namespace {

const arm_type& type_of(const wait& arm) noexcept {
    return static_cast<const arm_type&>(*arm.type);
}

/// Room for up to 16 without allocation.
template <class T>
class small_array {
public:
    explicit small_array(std::size_t n = 0) { reserve(n); }
    void reserve(std::size_t n) {
        if (n > few_.size()) {
            many_.resize(n);
        }
    }
    T* begin() noexcept { return many_.empty() ? few_.data() : many_.data(); }
    T& operator[](std::size_t i) noexcept { return begin()[i]; }

private:
    std::array<T, 16> few_;
    std::vector<T> many_;
};

/// 0 to n - 1 in random order, drawn as they are asked for.
class shuffled {
public:
    explicit shuffled(std::size_t n) : n_(n), left_(n) {
        for (std::uint32_t i = 0; i < n; ++i) {
            order_[i] = i;
        }
    }
    bool empty() const noexcept { return left_ == 0; }
    std::uint32_t next() noexcept {
        const std::size_t pick =
            left_ == 1 ? 0
                       : static_cast<std::size_t>(
                             (std::uint64_t{this_core_state->random()} * left_) >> 32);
        --left_;
        std::swap(order_[pick], order_[left_]);
        return order_[left_];
    }

private:
    std::size_t n_;
    std::size_t left_;
    small_array<std::uint32_t> order_{n_};
};

}  // namespace

/// All locks of a select's arms.
class bias_guards {
public:
    explicit bias_guards(std::span<wait* const> arms) : arms_(arms) {
        if (!enter()) {
            lock_in_order();
        }
    }
    bias_guards(const bias_guards&) = delete;
    bias_guards& operator=(const bias_guards&) = delete;
    ~bias_guards() {
        if (slot_ != nullptr) {
            slot_->inside.store(false, std::memory_order_release);
        }
        for (std::size_t i = 0; i < count_; ++i) {
            locks_[i]->unlock_shared();
        }
    }

private:
    /// One word covers all locks that are biased to this core.
    bool enter() noexcept {
        bias_slot* const mine = this_core_state->biases.slot();
        slot_ = mine;
        mine->inside.store(true, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);  // as bias_guard's
        for (wait* const arm : arms_) {
            bias_lock* const lock = type_of(*arm).lock(*arm);
            if (lock != nullptr && !lock->is_biased_to(mine)) {
                mine->inside.store(false, std::memory_order_release);
                slot_ = nullptr;
                return false;
            }
        }
        return true;
    }
    // Not some of them by `inside` and others by lock: who waits for us to be outside may hold
    // what we wait for.
    void lock_in_order() {
        locks_.reserve(arms_.size());
        for (wait* const arm : arms_) {
            if (bias_lock* const lock = type_of(*arm).lock(*arm)) {
                locks_[count_++] = lock;
            }
        }
        std::sort(locks_.begin(), locks_.begin() + count_, std::less<>());
        count_ = static_cast<std::size_t>(std::unique(locks_.begin(), locks_.begin() + count_) -
                                          locks_.begin());
        for (std::size_t i = 0; i < count_; ++i) {
            locks_[i]->lock_shared();
        }
    }

    std::span<wait* const> arms_;
    bias_slot* slot_ = nullptr;
    small_array<bias_lock*> locks_;
    std::size_t count_ = 0;
};

const wait_type never_wait{
    "select (no operands)", &give_up, nullptr, waker::goroutine,
    [](const wait&, wait_state& s) noexcept { s.forever = s.leaks.nil_counts; }};

const wait_type select_wait{"select", &selection::cancel, nullptr, waker::goroutine,
                            &selection::describe};

bool claim_select(wait& w) noexcept { return w.select->claim(w); }

void fire_arm(wait& w) noexcept {
    selection& s = *w.select;
    if (s.claim(w)) {
        wake(*s.self);
    }
}

std::uint32_t selection::winner_index() const noexcept {
    return static_cast<std::uint32_t>(std::find(arms_.begin(), arms_.end(), winner()) -
                                      arms_.begin());
}

bool selection::claim_slow(wait* winner) noexcept {
    wait* expected = nullptr;
    while (!winner_.compare_exchange_weak(expected, winner, std::memory_order_acq_rel)) {
        if (expected != nullptr && expected != undecided()) {
            return false;
        }
        expected = nullptr;
        std::this_thread::yield();
    }
    return true;
}

bool selection::attempt_all(waiter*& woken) {
    for (shuffled order(arms_.size()); !order.empty();) {
        wait& arm = *arms_[order.next()];
        if (type_of(arm).attempt(arm, woken)) {
            winner_.store(&arm, std::memory_order_relaxed);
            return true;
        }
    }
    return false;
}

bool selection::start(frame_handle h, bool must_not_wait) {
    goroutine& g = *self;
    waiter* woken = nullptr;
    bool ended = false;
    if (g.cancelled) [[unlikely]] {
        ended = true;
        if (!attempt_done()) {
            g.error = context_failure(g);
        }
    } else {
        const bias_guards guards(arms_);
        ended = attempt_all(woken) || must_not_wait;
        if (!ended) {
            // Lifetime: once the locks are released another core may resume the goroutine.
            park(g, h, this);
            enlisted_ = true;
            for (wait* const arm : arms_) {
                type_of(*arm).enlist(*arm);
            }
        }
    }
    resume(woken);
    return ended;
}

/// The end of the goroutine's own context is told by an arm that watches for it.
bool selection::attempt_done() noexcept {
    for (wait* const arm : arms_) {
        waiter* nobody = nullptr;
        if (type_of(*arm).is_done && type_of(*arm).attempt(*arm, nobody)) {
            winner_.store(arm, std::memory_order_relaxed);
            return true;
        }
    }
    return false;
}

void selection::withdraw_enlisted() noexcept {
    enlisted_ = false;
    for (wait* const arm : arms_) {
        if (arm != winner()) {
            type_of(*arm).withdraw(*arm);
        }
    }
}

void selection::describe(const wait& w, wait_state& s) noexcept {
    auto& me = const_cast<selection&>(static_cast<const selection&>(w));
    s.arms = static_cast<std::uint32_t>(me.arms_.size());
    // While it is claimed, nobody takes an arm out of its list, so what the arms wait for lives.
    if (s.leaks.sought && me.try_claim()) {
        bool forever = true;
        for (const wait* const arm : me.arms_) {
            s.forever = false;
            if (arm->type->describe != nullptr) {
                arm->type->describe(*arm, s);
            }
            forever = forever && s.forever;
        }
        s.forever = forever;
        me.decide(nullptr);
    }
}

void selection::cancel(wait& w) noexcept {
    auto& s = static_cast<selection&>(w);
    if (s.claim(s)) {
        s.withdraw_losers();
        give_up(s);
    }
}

}  // namespace ringo::detail
