// runtime: cores beside a program's own threads.
#pragma once

#include <ringo/detail/launch.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>

#include <future>
#include <memory>
#include <type_traits>
#include <utility>

namespace ringo {

struct metrics;  // ringo/metrics.hpp

namespace detail {

class cores_state;

template <class T>
class promised : public goroutine {
public:
    using goroutine::goroutine;

    static void deliver(promised& self) noexcept {
        std::promise<T> promise = std::move(self.promise);
        const bool abandoned = self.abandoned;
        if (self.root.result.error()) {
            promise.set_exception(self.root.result.error());
        } else if (!abandoned) {  // otherwise the future learns that its promise is broken
            if constexpr (std::is_void_v<T>) {
                promise.set_value();
            } else {
                promise.set_value(self.root.result.take());
            }
        }
        self.type->destroy(self);
    }

    task_awaiter<T> root{nullptr};
    std::promise<T> promise;
};

}  // namespace detail

/// Cores on threads of their own, for a program that has its own main. Its destructor cancels
/// the root context, gives goroutines `shutdown_grace`, destroys what is left and joins the
/// threads.
class runtime {
public:
    /// throws   std::system_error when the options or the kernel do not allow it
    explicit runtime(const options& o = {});
    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;
    ~runtime();

    /// Starts a goroutine, on any core unless a place says otherwise.
    ///
    /// takes    a task, or a callable and its arguments; before them, optionally, a place
    /// returns  its future; std::future_errc::broken_promise when the runtime ended first
    /// core     any thread
    RINGO_STARTS(auto, spawn, spawn_anywhere, spawn_at)

    [[nodiscard]] std::size_t cores() const noexcept;

    /// What the cores have counted so far; include ringo/metrics.hpp.
    ///
    /// core     any thread
    /// cost     for the cores: none but the counting, which is always on
    [[nodiscard]] ringo::metrics metrics() const;

private:
    struct state;

    template <class... Call>
    auto spawn_anywhere(detail::call_site made, Call&&... call) {
        return spawn_at(detail::placed_here(anywhere, made), std::forward<Call>(call)...);
    }
    template <class F, class... Args>
    auto spawn_at(const place& p, F&& f, Args&&... args) {
        auto& g = detail::launch<detail::promised>(std::forward<F>(f), std::forward<Args>(args)...);
        auto future = g.promise.get_future();
        detail::set_made(g, p.made);
        submit(g, p);
        return future;
    }
    void submit(detail::goroutine& g, const place& p);

    std::unique_ptr<state> state_;
};

}  // namespace ringo
