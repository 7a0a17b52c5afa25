// select: waits for several operations, and carries out one.
#pragma once

#include <ringo/chan.hpp>
#include <ringo/detail/arm.hpp>
#include <ringo/detail/call_site.hpp>
#include <ringo/detail/chan_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/selection.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace ringo {

struct otherwise_t {};
/// The last operand of a select that must not wait.
inline constexpr otherwise_t otherwise;

namespace detail {

template <class Op>
concept arm_operation = requires(Op& op) {
    { Op::arm } -> std::convertible_to<const arm_type&>;
    op.value();
    op.raise();
};

/// The operation that an operand stands for.
template <arm_operation Op>
Op operand(Op&& op) {
    return std::move(op);
}
/// Operations are made where they are selected, not kept.
template <class Op>
    requires arm_operation<std::remove_const_t<Op>>
void operand(Op& op) = delete;
template <class Object>
    requires requires(Object& object) {
        { object.operator co_await() } -> arm_operation;
    }
auto operand(Object&& object) { return object.operator co_await(); }

template <class Op>
using arm_value = decltype(std::declval<Op&>().value());
template <class Op>
using arm_result = std::conditional_t<std::is_void_v<arm_value<Op>>, std::monostate, arm_value<Op>>;

// What core and select ask of an arm, without indirect calls where the type says how.

template <class Op>
bool is_at_home(const Op& op, const bias_slot* slot) noexcept {
    if constexpr (requires { op.lock(); }) {
        const bias_lock* const lock = op.lock();
        return lock == nullptr || lock->is_biased_to(slot);
    } else {
        return true;
    }
}
template <class Op>
bool may_be_ready(const Op& op) noexcept {
    if constexpr (requires { op.lock(); }) {
        if (op.lock() == nullptr) {
            return false;
        }
    }
    if constexpr (requires { op.may_be_ready(); }) {
        return op.may_be_ready();
    } else {
        return true;
    }
}
/// It says whether it may meet a select, and exactly whether it is ready.
template <class Op>
concept knows_whom_it_meets = requires(const Op& op) {
    op.meets_select();
};
/// ... which may be ready. Meets: whom it may meet, where it knows
template <meets Meets, class Op>
[[gnu::always_inline]] inline bool attempt(Op& op, waiter*& woken) noexcept {
    if constexpr (knows_whom_it_meets<Op>) {
        return op.template attempt<Meets>(woken) || Meets == meets::goroutines;
    } else if constexpr (requires { op.attempt(woken); }) {
        return op.attempt(woken);
    } else {
        return Op::arm.attempt(op, woken);
    }
}
template <class Op>
void enlist(Op& op) noexcept {
    if constexpr (requires { op.enlist(); }) {
        if (op.lock() != nullptr) {
            op.enlist();
        }
    } else {
        Op::arm.enlist(op);
    }
}

/// One of the bits of `set`, each as likely as the others. It has some, of the lowest Count.
template <std::uint32_t Count>
std::uint32_t one_of(std::uint32_t set, core_state& here) noexcept {
    const std::uint32_t but_lowest = set & (set - 1);
    if (but_lowest != 0) {
        if (Count == 2 || (but_lowest & (but_lowest - 1)) == 0) {
            set = (here.random() >> 31U) != 0 ? set : but_lowest;
        } else {
            const auto n = static_cast<std::uint64_t>(std::popcount(set));
            for (auto k = (std::uint64_t{here.random()} * n) >> 32; k != 0; --k) {
                set &= set - 1;
            }
        }
    }
    // The highest bit changes nothing, but tells the compiler that there is one.
    return static_cast<std::uint32_t>(std::countr_zero(set | 1U << 31));
}

/// Waits for the first of its arms.
template <bool MustNotWait, class... Ops>
class select_operation : public selection {
    static constexpr std::uint32_t count = sizeof...(Ops);
    static constexpr std::uint32_t unknown = count + 1;
    using all_ops = std::tuple<Ops...>;
    using first_op = std::tuple_element_t<0, std::tuple<Ops..., std::monostate>>;
    static constexpr bool alike = count != 0 && (std::is_same_v<Ops, first_op> && ...);
    using indices = std::index_sequence_for<Ops...>;

public:
    using result_type =
        std::conditional_t<MustNotWait, std::variant<arm_result<Ops>..., otherwise_t>,
                           std::variant<arm_result<Ops>...>>;

    template <class... Operands>
    explicit select_operation(std::in_place_t, Operands&&... operands)
        : ops_{operand(std::forward<Operands>(operands))...} {}
    select_operation(select_operation&& other) : selection(), ops_(std::move(other.ops_)) {}
    ~select_operation() { withdraw_losers(); }

    bool await_ready() {
        // A select that must not wait needs no frame to come back to.
        return MustNotWait && begin(*this_core_state->current, nullptr);
    }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h, call_site where = call_site::current()) {
        return !begin(*this_core_state->current, erase(h, where));
    }
    [[gnu::always_inline]] result_type await_resume() {
        withdraw_losers();
        if (picked_ == unknown) [[unlikely]] {
            picked_ = winner_index();
        }
        if (self->error != 0) [[unlikely]] {
            raise_picked();
        }
        return result();
    }
    [[noreturn]] void raise() { throw_failure(self->error, type->name); }

private:
    enum class progress : std::uint8_t { ended, waits, unknown };

    /// True: it has ended.
    bool begin(goroutine& g, frame_handle h) {
        progress p = progress::unknown;
        if (count <= 32 && !g.cancelled) [[likely]] {
            p = begin_at_home(*this_core_state, g, h, indices());
        }
        if (p == progress::unknown) [[unlikely]] {
            attach(g);
            return start(h, MustNotWait);
        }
        return p == progress::ended;
    }

    /// As `start`, without indirect calls, where all locks are biased to this core.
    template <std::size_t... I>
    progress begin_at_home(core_state& here, goroutine& g, frame_handle h,
                           std::index_sequence<I...> all) {
        bias_slot* const slot = here.biases.slot();
        slot->inside.store(true, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);  // as bias_lock::enter's
        if (!(is_at_home(std::get<I>(ops_), slot) && ...)) [[unlikely]] {
            slot->inside.store(false, std::memory_order_release);
            return progress::unknown;
        }
        self = &g;
        g.error = 0;
        const std::uint32_t ready = ((may_be_ready(std::get<I>(ops_)) ? 1U << I : 0U) | ... | 0U);
        return take_one<meets::goroutines>(here, slot, ready, 0, h, all);
    }
    /// Under the locks. first: where anyone is met, what is attempted first, since it was drawn
    template <meets Meets, std::size_t... I>
    [[gnu::always_inline]] progress take_one(core_state& here, bias_slot* slot, std::uint32_t ready,
                                             std::uint32_t first, frame_handle h,
                                             std::index_sequence<I...> all) {
        progress p = MustNotWait ? progress::ended : progress::waits;
        waiter* woken = nullptr;
        picked_ = MustNotWait ? count : unknown;
        for (bool drawn = Meets == meets::anyone; ready != 0; drawn = false) {
            const std::uint32_t pick = drawn ? first : one_of<count>(ready, here);
            if (Meets == meets::goroutines && meets_select(pick, all)) [[unlikely]] {
                return take_one_of_anyone(here, slot, ready, pick, h, all);
            }
            if (attempt_one<Meets>(pick, woken, all)) {
                picked_ = pick;
                p = progress::ended;
                break;
            }
            ready &= ~(1U << pick);
        }
        if (p == progress::waits) {
            return wait_at_home(slot, h, all);
        }
        slot->inside.store(false, std::memory_order_release);
        if constexpr (Meets == meets::goroutines && (knows_whom_it_meets<Ops> && ...)) {
            if (woken != nullptr) {
                wake_here(here, *woken->self);
            }
        } else {
            resume(here, woken);
        }
        return p;
    }
    template <std::size_t... I>
    [[gnu::noinline]] progress take_one_of_anyone(core_state& here, bias_slot* slot,
                                                  std::uint32_t ready, std::uint32_t pick,
                                                  frame_handle h, std::index_sequence<I...> all) {
        return take_one<meets::anyone>(here, slot, ready, pick, h, all);
    }
    template <std::size_t... I>
    [[gnu::noinline]] progress wait_at_home(bias_slot* slot, frame_handle h,
                                            std::index_sequence<I...>) {
        attach(*self);
        // Before the first is enlisted: each may end the select at once.
        park(*self, h, this);
        enlisted_ = true;
        (enlist(std::get<I>(ops_)), ...);
        slot->inside.store(false, std::memory_order_release);
        return progress::waits;
    }

    template <std::size_t... I>
    bool meets_select(std::uint32_t pick, std::index_sequence<I...>) const noexcept {
        if constexpr (alike) {
            return meets_select(ops_[pick]);
        } else {
            return ((I == pick && meets_select(std::get<I>(ops_))) || ...);
        }
    }
    template <class Op>
    static bool meets_select(const Op& op) noexcept {
        if constexpr (knows_whom_it_meets<Op>) {
            return op.meets_select();
        } else {
            return false;
        }
    }
    template <meets Meets, std::size_t... I>
    [[gnu::always_inline]] bool attempt_one(std::uint32_t pick, waiter*& woken,
                                            std::index_sequence<I...>) noexcept {
        if constexpr (alike) {
            // Which is random: no branch predicts that.
            return attempt_as_arm<Meets>(ops_[pick], woken);
        } else {
            return ((I == pick && attempt_as_arm<Meets>(std::get<I>(ops_), woken)) || ...);
        }
    }
    template <meets Meets, class Op>
    [[gnu::always_inline]] bool attempt_as_arm(Op& op, waiter*& woken) noexcept {
        attach_one(op);
        return attempt<Meets>(op, woken);
    }

    template <class Op>
    void attach_one(Op& op) noexcept {
        op.type = &Op::arm;
        op.select = this;
    }
    void attach(goroutine& g) noexcept {
        set_arms(g, arms_);
        std::apply(
            [this](Ops&... op) {
                (attach_one(op), ...);
                arms_ = {&op...};
            },
            ops_);
    }

    [[noreturn, gnu::noinline]] void raise_picked() {
        std::uint32_t i = 0;
        std::apply(
            [&](Ops&... op) { ((i++ == picked_ ? (op.self = self, op.raise()) : void()), ...); },
            ops_);
        raise();
    }

    /// Of the arm that has won.
    result_type result() {
        if constexpr (MustNotWait) {
            if (picked_ == count) {
                return result_type(std::in_place_index<count>);
            }
        }
        if constexpr (count == 0) {
            __builtin_unreachable();
        } else if constexpr (alike && !(std::is_void_v<arm_value<Ops>> || ...)) {
            return as_alternative<0>(ops_[picked_].value());  // as in attempt_one
        } else {
            return result_of<0>();
        }
    }
    /// ... which is not before the I-th.
    template <std::size_t I>
    result_type result_of() {
        if constexpr (I + 1 < count) {
            if (picked_ != I) {
                return result_of<I + 1>();
            }
        }
        auto& op = std::get<I>(ops_);
        if constexpr (std::is_void_v<arm_value<std::tuple_element_t<I, all_ops>>>) {
            op.value();
            return result_type(std::in_place_index<I>);
        } else {
            return result_type(std::in_place_index<I>, op.value());
        }
    }
    template <std::size_t I, class Value>
    result_type as_alternative(Value&& value) {
        if constexpr (I + 1 < count) {
            if (picked_ != I) {
                return as_alternative<I + 1>(std::forward<Value>(value));
            }
        }
        return result_type(std::in_place_index<I>, std::forward<Value>(value));
    }

    std::conditional_t<alike, std::array<first_op, count>, all_ops> ops_;
    std::array<wait*, count> arms_;   // once attached
    std::uint32_t picked_ = unknown;  // count: none
};

/// Waits for the first of many receives.
template <class T>
class select_span_operation : public selection {
public:
    using result_type = std::pair<std::size_t, std::optional<T>>;

    template <class Chan>
    explicit select_span_operation(std::span<Chan> chans) {
        ops_.reserve(chans.size());
        for (const auto& c : chans) {
            ops_.push_back(c.recv());
        }
    }
    select_span_operation(select_span_operation&& other)
        : selection(), ops_(std::move(other.ops_)) {}
    ~select_span_operation() { withdraw_losers(); }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h, call_site where = call_site::current()) {
        arms_.reserve(ops_.size());
        for (recv_operation<T>& op : ops_) {
            op.type = &recv_operation<T>::arm;
            op.select = this;
            arms_.push_back(&op);
        }
        set_arms(*this_core_state->current, arms_);
        return !start(erase(h, where), false);
    }
    result_type await_resume() {
        withdraw_losers();
        const std::size_t i = winner_index();
        if (i == ops_.size()) {
            raise();
        }
        return {i, ops_[i].value()};
    }
    [[noreturn]] void raise() { throw_failure(self->error, type->name); }

private:
    std::vector<recv_operation<T>> ops_;
    std::vector<wait*> arms_;
};

extern const wait_type never_wait;

class never_operation : public operation<never_operation> {
public:
    never_operation() noexcept : operation(never_wait) {}
    bool start() const noexcept { return true; }
    void value() const noexcept {}
};

template <bool MustNotWait, class Operands, std::size_t... I>
auto make_select(Operands&& o, std::index_sequence<I...>) {
    using operation =
        select_operation<MustNotWait, decltype(operand(std::get<I>(std::move(o))))...>;
    return operation(std::in_place, std::get<I>(std::move(o))...);
}

}  // namespace detail

/// Waits until one of its operands can be done, and does that one; the others have no effect.
/// Among several that are ready the choice is uniformly random. Without operands: waits for ever.
///
/// takes    operations, each made in the call (sends and receives, sleep, ctx.done(), accept, a
///          conn's read and write_some, poll, …), or objects that have one (a join handle, …); as
///          the last one possibly `otherwise`
/// returns  awaited: a std::variant of the operations' results, in order; std::monostate for
///          those without; otherwise_t when nothing was ready and `otherwise` was given
/// throws   what the operation that won throws; cancelled, deadline_exceeded: none had an effect.
///          A ctx.done() of the goroutine's own context wins over that
/// core     any
/// cancel   leaves all wait lists at once
/// cost     grows linearly with the operands; no allocation up to 16
/// follows  Go spec, "Select statements"
template <class... Operands>
    requires(sizeof...(Operands) > 0)
[[nodiscard]] auto select(Operands&&... operands) {
    using all = std::tuple<Operands&&...>;
    constexpr std::size_t last = sizeof...(Operands) - 1;
    constexpr bool must_not_wait =
        std::is_same_v<std::remove_cvref_t<std::tuple_element_t<last, all>>, otherwise_t>;
    return detail::make_select<must_not_wait>(
        all(std::forward<Operands>(operands)...),
        std::make_index_sequence < must_not_wait ? last : sizeof...(Operands) > ());
}
[[nodiscard]] inline detail::never_operation select() noexcept { return {}; }

/// Receives from one of many channels; otherwise as `select`.
///
/// takes    the channels, nil ones included; they stay the caller's
/// returns  awaited: a pair of the index of the channel and what its recv gave
/// cost     two allocations
/// follows  Go reflect.Select
template <class T>
[[nodiscard]] auto select(std::span<chan<T>> chans) {
    return detail::select_span_operation<T>(chans);
}
template <class T>
[[nodiscard]] auto select(std::span<recv_chan<T>> chans) {
    return detail::select_span_operation<T>(chans);
}

}  // namespace ringo
