// Signals. A handler may do next to nothing, so it leaves a bit and wakes a thread, which tells
// those who listen. Why a thread: it serves all runs and the time between them, and a core that is
// busy holds nobody up.
#include <ringo/os/signal.hpp>

#include "../context.hpp"
#include "background.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/task.hpp>

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <semaphore.h>

namespace ringo::os {

namespace {

constexpr int signals_max = 64;

using signal_set = std::uint64_t;  // a `bit` each
constexpr signal_set bit(int number) noexcept { return signal_set{1} << (number - 1); }

template <class F>
void for_each(signal_set signals, F f) {
    for (; signals != 0; signals &= signals - 1) {
        f(__builtin_ctzll(signals) + 1);
    }
}

/// Somebody who wants to know: a channel, or a context.
struct listener {
    signal_set signals = 0;
    detail::chan_state<int>* channel = nullptr;  // not held: it ends with its last handle
    detail::chan_core::destroy_function destroy_channel = nullptr;
    detail::context_ref context;

    listener* next = nullptr;
    listener** link = nullptr;  // null: not in the list
};

// The handler's. It can come at any time, so it takes no lock.
std::atomic<signal_set> arrived{0};
std::atomic<int> handling{0};  // handlers that run, on any thread
sem_t arrival;

// Under the lock.
std::mutex table_lock;
listener* listeners = nullptr;
bool thread_runs = false;
struct sigaction previous[signals_max];

void on_signal(int number) {
    const int saved = errno;
    handling.fetch_add(1);
    arrived.fetch_or(bit(number));
    ::sem_post(&arrival);
    handling.fetch_sub(1);
    errno = saved;
}

signal_set heard_signals() noexcept {
    signal_set all = 0;
    for (const listener* l = listeners; l != nullptr; l = l->next) {
        all |= l->signals;
    }
    return all;
}

/// Under the lock.
void unlink(listener& l) noexcept {
    if (l.link == nullptr) {
        return;
    }
    *l.link = l.next;
    if (l.next != nullptr) {
        l.next->link = l.link;
    }
    l.link = nullptr;
    const signal_set unheard = l.signals & ~heard_signals();
    for_each(unheard, [](int number) { ::sigaction(number, &previous[number - 1], nullptr); });
    // Pairs with on_signal, which counts itself first: what it leaves after this is heard by
    // somebody. Who listens next must not be told what came before.
    while (handling.load() != 0) {
        std::this_thread::yield();
    }
    arrived.fetch_and(~unheard);
    if (listeners == nullptr) {
        ::sem_post(&arrival);  // the thread ends
    }
}

/// A handle of a listener's channel.
class heard_channel : public chan<int> {
public:
    explicit heard_channel(detail::chan_state<int>* owned) noexcept : chan<int>(nullptr) {
        state_ = owned;
    }
    explicit heard_channel(const chan<int>& c) noexcept : chan<int>(c) {}
    detail::chan_state<int>* state() const noexcept { return state_; }
};

/// False: nobody listens any more.
bool tell(signal_set signals) {
    // They may be the last who hold what they hold, so they go after the lock.
    std::vector<heard_channel> told;
    std::vector<detail::context_ref> ended;
    bool goes_on = false;
    {
        const std::lock_guard guard(table_lock);
        listener* next = nullptr;
        for (listener* l = listeners; l != nullptr; l = next) {
            next = l->next;
            if ((l->signals & signals) == 0) {
                continue;
            }
            if (l->context) {
                unlink(*l);
                ended.push_back(std::move(l->context));
            } else if (l->channel->try_retain()) {
                told.emplace_back(l->channel);
                for_each(l->signals & signals,
                         [&told](int number) { told.back().try_send(number); });
            }
        }
        thread_runs = listeners != nullptr;
        goes_on = thread_runs;
    }
    for (const detail::context_ref& ctx : ended) {
        detail::end_context(*ctx, detail::node_state::cancelled, nullptr);
    }
    return goes_on;
}

void listen() noexcept {
    do {
        while (::sem_wait(&arrival) != 0) {
        }
    } while (tell(arrived.exchange(0)));
}

/// Under the lock.
void start_thread(const char* what) {
    static const bool prepared = [] {
        ::sem_init(&arrival, 0, 0);
        // A child process has no such thread.
        return ::pthread_atfork([] { table_lock.lock(); }, [] { table_lock.unlock(); },
                                [] {
                                    thread_runs = false;
                                    table_lock.unlock();
                                }) == 0;
    }();
    if (thread_runs || !prepared) {
        return;
    }
    const int error = start_background(&listen);
    thread_runs = error == 0;
    if (error != 0) {
        throw std::system_error(error, std::system_category(),
                                fmt::format("{}: cannot start the thread", what));
    }
}

/// From here on it is told. Strong guarantee.
void enlist(listener& l, const char* what) {
    const std::lock_guard guard(table_lock);
    start_thread(what);
    const signal_set before = heard_signals();
    l.next = listeners;
    l.link = &listeners;
    if (listeners != nullptr) {
        listeners->link = &l.next;
    }
    listeners = &l;
    const signal_set wanted = std::exchange(l.signals, 0);
    int refused = 0;
    for_each(wanted & ~before, [&](int number) {
        struct sigaction action {};
        action.sa_handler = &on_signal;
        action.sa_flags = SA_RESTART;
        if (::sigaction(number, &action, &previous[number - 1]) == 0) {
            l.signals |= bit(number);
        } else {
            refused = number;
        }
    });
    if (refused != 0) {
        unlink(l);
        throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                fmt::format("{}: {} cannot be caught", what, refused));
    }
    l.signals = wanted;
}

signal_set set_of(std::initializer_list<int> signals, const char* what) {
    const auto refuse = [what](int number, const char* why) {
        throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                fmt::format("{}: {} {}", what, number, why));
    };
    signal_set all = 0;
    for (const int number : signals) {
        if (number < 1 || number > signals_max) {
            refuse(number, "is no signal");
        }
        if (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL) {
            refuse(number, "is a fault");
        }
        all |= bit(number);
    }
    return all;
}

/// The last handle of a listener's channel has gone.
void destroy_channel(detail::chan_core& channel) noexcept {
    std::unique_ptr<listener> owner;
    {
        const std::lock_guard guard(table_lock);
        listener* l = listeners;
        while (static_cast<detail::chan_core*>(l->channel) != &channel) {
            l = l->next;
        }
        unlink(*l);
        owner.reset(l);
    }
    owner->destroy_channel(channel);
}

/// A context's place in the list.
class watch {
public:
    watch(signal_set signals, const detail::context_ref& ctx) : listener_(new listener) {
        listener_->signals = signals;
        listener_->context = ctx;
        enlist(*listener_, "signal_context");
    }
    watch(watch&& other) noexcept = default;
    watch& operator=(watch&&) = delete;
    ~watch() {
        if (listener_ != nullptr) {
            const std::lock_guard guard(table_lock);
            unlink(*listener_);
        }
    }

private:
    std::unique_ptr<listener> listener_;
};

/// Runs under the watched context, so it ends with it.
task<> keep(watch) { co_await recv_chan<int>(nullptr).recv(); }

}  // namespace

recv_chan<int> notify(std::initializer_list<int> signals, std::size_t capacity) {
    const signal_set wanted = set_of(signals, "notify");
    if (wanted == 0) {
        throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                "notify: no signal is given");
    }
    const heard_channel channel(chan<int>{capacity});
    auto l = std::make_unique<listener>();
    l->signals = wanted;
    l->channel = channel.state();
    enlist(*l, "notify");
    l->destroy_channel = channel.state()->replace_destroy(&destroy_channel);
    l.release();
    return channel;
}

cancel_scope signal_context(std::initializer_list<int> signals) {
    const signal_set wanted = set_of(signals, "signal_context");
    cancel_scope scope = with_cancel(this_context());
    go(with(scope), keep, watch(wanted, scope.ctx().node()));
    return scope;
}

}  // namespace ringo::os
