// when_all, when_any: several tasks at once, in goroutines of this core.
#pragma once

#include <ringo/context.hpp>
#include <ringo/detail/group.hpp>
#include <ringo/detail/launch.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/waiter.hpp>
#include <ringo/task.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace ringo {

namespace detail {

extern const wait_type when_all_wait;
extern const wait_type when_any_wait;

/// How a task's result is kept: void as std::monostate, a reference as a pointer.
template <class T>
using when_value =
    std::conditional_t<std::is_void_v<T>, std::monostate,
                       std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;
/// ... where a reference may stay one.
template <class T>
using when_element = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
when_element<T> take_element(member_base& m) {
    auto& member = static_cast<kept_member<T>&>(m);
    if constexpr (std::is_void_v<T>) {
        return {};
    } else {
        return member.root.result.take();
    }
}
template <class T>
when_value<T> take_value(member_base& m) {
    if constexpr (std::is_reference_v<T>) {
        auto&& value = take_element<T>(m);
        return &value;
    } else {
        return take_element<T>(m);
    }
}

// Lifetime: the wait ends with the last member, also when it is cancelled. So the group lies in
// the awaiting frame, and goes with it.
template <class Op>
class when_operation : public operation<Op, group_wait> {
public:
    explicit when_operation(const wait_type& t) noexcept : operation<Op, group_wait>(t) {}

protected:
    bool run(std::span<member_base* const> members, group_kind kind) noexcept {
        group_.emplace(this_context(), kind);
        group_->start_kept(members);
        return group_->join(*this);
    }

    std::optional<group> group_;
};

/// A fixed number of tasks. Op says what comes of them.
template <class Op, class... Ts>
class when_tuple_operation : public when_operation<Op> {
public:
    when_tuple_operation(const wait_type& t, std::tuple<task<Ts>...>&& tasks) noexcept
        : when_operation<Op>(t), tasks_(std::move(tasks)) {}
    when_tuple_operation(when_tuple_operation&& other) noexcept
        : when_tuple_operation(*other.type, std::move(other.tasks_)) {}

    bool start() noexcept {
        std::apply([this](task<Ts>&... t) { members_ = {&launch<kept_member>(std::move(t))...}; },
                   tasks_);
        return this->run(members_, Op::kind);
    }

protected:
    std::tuple<task<Ts>...> tasks_;
    std::array<member_base*, sizeof...(Ts)> members_;
};

/// Any number of tasks of one kind.
template <class Op, class T>
class when_vector_operation : public when_operation<Op> {
public:
    when_vector_operation(const wait_type& t, std::vector<task<T>>&& tasks) noexcept
        : when_operation<Op>(t), tasks_(std::move(tasks)) {}
    when_vector_operation(when_vector_operation&& other) noexcept
        : when_vector_operation(*other.type, std::move(other.tasks_)) {}

    bool start() noexcept {
        if (tasks_.empty()) {
            return false;
        }
        members_.reserve(tasks_.size());
        for (task<T>& t : tasks_) {
            members_.push_back(&launch<kept_member>(std::move(t)));
        }
        return this->run(members_, Op::kind);
    }

protected:
    std::vector<task<T>> tasks_;
    std::vector<member_base*> members_;
};

template <class... Ts>
class when_all_operation : public when_tuple_operation<when_all_operation<Ts...>, Ts...> {
    using base = when_tuple_operation<when_all_operation<Ts...>, Ts...>;

public:
    static constexpr group_kind kind = group_kind::until_error;

    explicit when_all_operation(task<Ts>&&... tasks) noexcept
        : base(when_all_wait, {std::move(tasks)...}) {}
    when_all_operation(when_all_operation&& other) noexcept : base(std::move(other)) {}

    std::tuple<when_element<Ts>...> value() {
        this->group_->rethrow();
        return value(std::index_sequence_for<Ts...>());
    }

private:
    template <std::size_t... I>
    std::tuple<when_element<Ts>...> value(std::index_sequence<I...>) {
        return std::tuple<when_element<Ts>...>(take_element<Ts>(*this->members_[I])...);
    }
};

template <class... Ts>
class when_any_operation : public when_tuple_operation<when_any_operation<Ts...>, Ts...> {
    using base = when_tuple_operation<when_any_operation<Ts...>, Ts...>;
    using result_type = std::variant<when_value<Ts>...>;

public:
    static constexpr group_kind kind = group_kind::until_end;

    explicit when_any_operation(task<Ts>&&... tasks) noexcept
        : base(when_any_wait, {std::move(tasks)...}) {}
    when_any_operation(when_any_operation&& other) noexcept : base(std::move(other)) {}

    result_type value() {
        this->group_->rethrow();
        std::optional<result_type> r;
        emplace(r, std::index_sequence_for<Ts...>());
        return *std::move(r);
    }

private:
    template <std::size_t... I>
    void emplace(std::optional<result_type>& r, std::index_sequence<I...>) {
        const std::size_t first = this->group_->first();
        (void)((first == I &&
                (r.emplace(std::in_place_index<I>, take_value<Ts>(*this->members_[I])), true)) ||
               ...);
    }
};

template <class T>
class when_all_vector_operation : public when_vector_operation<when_all_vector_operation<T>, T> {
    using base = when_vector_operation<when_all_vector_operation<T>, T>;

public:
    static constexpr group_kind kind = group_kind::until_error;

    explicit when_all_vector_operation(std::vector<task<T>>&& tasks) noexcept
        : base(when_all_wait, std::move(tasks)) {}
    when_all_vector_operation(when_all_vector_operation&& other) noexcept
        : base(std::move(other)) {}

    std::vector<when_value<T>> value() {
        std::vector<when_value<T>> values;
        if (this->group_) {
            this->group_->rethrow();
        }
        values.reserve(this->members_.size());
        for (member_base* const m : this->members_) {
            values.push_back(take_value<T>(*m));
        }
        return values;
    }
};

/// throws: std::system_error
[[noreturn]] void refuse_no_tasks();

template <class T>
class when_any_vector_operation : public when_vector_operation<when_any_vector_operation<T>, T> {
    using base = when_vector_operation<when_any_vector_operation<T>, T>;

public:
    static constexpr group_kind kind = group_kind::until_end;

    explicit when_any_vector_operation(std::vector<task<T>>&& tasks) noexcept
        : base(when_any_wait, std::move(tasks)) {}
    when_any_vector_operation(when_any_vector_operation&& other) noexcept
        : base(std::move(other)) {}

    std::pair<std::size_t, when_value<T>> value() {
        if (!this->group_) {
            refuse_no_tasks();
        }
        this->group_->rethrow();
        const std::size_t first = this->group_->first();
        return {first, take_value<T>(*this->members_[first])};
    }
};

}  // namespace detail

/// Runs all tasks at once, each in a goroutine of this core under a context of their own, and
/// waits until every one of them has ended.
///
/// returns  awaited: a std::tuple of their results, in order; std::monostate for void
/// throws   the first error; the other tasks have been cancelled then, and have ended
/// core     any; resumes on the same core
/// cancel   reaches all tasks; what they then end with is what this ends with, so their results
///          are not lost where all end well in spite of it. Cancelled before it begins, it runs
///          none of them
/// cost     per task as `go`, and a context for all
/// follows  JavaScript Promise.all, but nobody outlives it
template <class... Ts>
    requires(sizeof...(Ts) > 0)
[[nodiscard]] auto when_all(task<Ts>... tasks) {
    return detail::when_all_operation<Ts...>(std::move(tasks)...);
}
/// ... any number of tasks.
///
/// returns  awaited: a std::vector of their results, in order; a reference as a pointer
template <class T>
[[nodiscard]] auto when_all(std::vector<task<T>> tasks) {
    return detail::when_all_vector_operation<T>(std::move(tasks));
}

/// Runs all tasks at once, each in a goroutine of this core under a context of their own, until
/// the first of them ends, well or not. The others are cancelled then; this waits until they have
/// ended too, and drops what they end with, results and errors alike.
///
/// returns  awaited: a std::variant whose index says which was the first, with its result;
///          std::monostate for void, a pointer for a reference
/// throws   what the first task threw
/// core     any; resumes on the same core
/// cancel   reaches all tasks; what the first of them then ends with is what this ends with.
///          Cancelled before it begins, it runs none of them
/// cost     per task as `go`, and a context for all
/// follows  JavaScript Promise.race, but nobody outlives it
template <class... Ts>
    requires(sizeof...(Ts) > 0)
[[nodiscard]] auto when_any(task<Ts>... tasks) {
    return detail::when_any_operation<Ts...>(std::move(tasks)...);
}
/// ... any number of tasks.
///
/// returns  awaited: a std::pair of the index of the first and its result
/// throws   also std::system_error when there are no tasks
template <class T>
[[nodiscard]] auto when_any(std::vector<task<T>> tasks) {
    return detail::when_any_vector_operation<T>(std::move(tasks));
}

}  // namespace ringo
