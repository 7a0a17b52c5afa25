// from_callback: awaits what a callback-style library will say, on whatever thread.
#pragma once

#include <ringo/detail/operation.hpp>
#include <ringo/detail/outcome.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace ringo {

template <class T>
class completion;

namespace detail {

extern const wait_type callback_wait;

// States:  pending -> claimed    by the callback, which then wakes the goroutine
//                  \-> abandoned by the goroutine, which left
class callback_state {
public:
    enum class status : std::uint8_t { pending, claimed, abandoned };

    /// One caller of these two wins.
    bool claim() noexcept { return leave_pending(status::claimed); }
    bool abandon() noexcept { return leave_pending(status::abandoned); }

    /// By the winner of `claim`, at the end: wakes the goroutine.
    void finish() noexcept;
    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    bool drop() noexcept { return references_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

    // The completions that are left; with the last goes the hope for a call.
    std::atomic<std::uint32_t> callers{1};
    goroutine* self = nullptr;
    shard* home = nullptr;

private:
    bool leave_pending(status to) noexcept {
        status expected = status::pending;
        // acq_rel: pairs with the other side's attempt.
        return status_.compare_exchange_strong(expected, to, std::memory_order_acq_rel);
    }

    std::atomic<status> status_{status::pending};
    std::atomic<std::uint32_t> references_{2};  // the awaiting frame, and all completions as one
};

template <class T>
class typed_callback_state : public callback_state {
public:
    outcome<T> result;

    void release() noexcept {
        if (drop()) {
            delete this;
        }
    }
};

class callback_wait_base : public wait {
public:
    callback_wait_base() noexcept : wait(callback_wait) {}
    callback_state* shared = nullptr;
};

void prepare_callback(callback_wait_base& w) noexcept;
/// True: the goroutine leaves, and nobody will wake it. core: the goroutine's
bool abandon_callback(callback_wait_base& w) noexcept;
/// For the last completion that goes uncalled, after it has claimed.
void break_promise(callback_state& state) noexcept;

template <class T, class Start>
class callback_operation : public operation<callback_operation<T, Start>, callback_wait_base> {
public:
    explicit callback_operation(Start&& start) : start_(std::move(start)) {}
    callback_operation(callback_operation&& other) : start_(std::move(other.start_)) {}
    ~callback_operation() {
        if (state_ != nullptr) {
            state_->abandon();
            state_->release();
        }
    }

    bool start() noexcept {
        state_ = new typed_callback_state<T>;
        this->shared = state_;
        prepare_callback(*this);
        completion<T> done(state_);
        try {
            // A copy: what `start` takes dies before the handler below, and must not be the last.
            start_(completion<T>(done));
        } catch (...) {
            if (abandon_callback(*this)) {
                state_->result.fail(std::current_exception());
                return false;
            }
        }
        return true;
    }
    T value() { return state_->result.take(); }

private:
    Start start_;
    typed_callback_state<T>* state_ = nullptr;
};

}  // namespace detail

/// What a callback calls, once, when it knows the result. Copies share the one call.
template <class T>
class completion {
public:
    explicit completion(detail::typed_callback_state<T>* owned) noexcept : state_(owned) {}
    completion(const completion& other) noexcept : state_(other.state_) {
        if (state_ != nullptr) {
            state_->callers.fetch_add(1, std::memory_order_relaxed);
        }
    }
    completion(completion&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    completion& operator=(completion other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~completion() {
        if (state_ == nullptr || state_->callers.fetch_sub(1, std::memory_order_acq_rel) != 1) {
            return;
        }
        if (state_->claim()) {
            detail::break_promise(*state_);
        }
        state_->release();
    }

    /// Wakes the goroutine with the value. False, and nothing happens, when it was called before
    /// or the goroutine no longer waits.
    ///
    /// core     any thread
    template <class... U>
    bool operator()(U&&... value) const {
        static_assert(sizeof...(U) == (std::is_void_v<T> ? 0 : 1));
        if (!state_->claim()) {
            return false;
        }
        if constexpr (!std::is_void_v<T>) {
            try {
                state_->result.set(std::forward<U>(value)...);
            } catch (...) {
                state_->result.fail(std::current_exception());
            }
        }
        state_->finish();
        return true;
    }

    /// Wakes the goroutine with an error; otherwise as a call.
    bool fail(std::exception_ptr error) const {
        if (!state_->claim()) {
            return false;
        }
        state_->result.fail(std::move(error));
        state_->finish();
        return true;
    }

private:
    detail::typed_callback_state<T>* state_;
};

/// Calls `start(completion<T>)` and waits until the completion is called.
///
/// returns  what the completion was called with
/// throws   what `start` throws or the completion was failed with; cancelled, deadline_exceeded;
///          errc::broken_promise when every completion is gone uncalled
/// core     any; resumes on the same core, never inside the callback
/// cancel   leaves at once; a later call of the completion has no effect
/// cost     one allocation
template <class T, class Start>
[[nodiscard]] auto from_callback(Start&& start) {
    return detail::callback_operation<T, std::decay_t<Start>>(
        std::decay_t<Start>(std::forward<Start>(start)));
}

}  // namespace ringo
