// Signals as contexts. A handler may do next to nothing, so it writes to an eventfd that a
// goroutine reads.
#include <ringo/os.hpp>

#include "context.hpp"
#include "kernel_operation.hpp"

#include <ringo/go.hpp>
#include <ringo/result.hpp>

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

namespace ringo::os {

namespace {

constexpr std::size_t watches_max = 16;
constexpr int signals_max = 64;

/// Who wants to know. The handler reads these, so they are atomic and never move.
struct slot {
    std::atomic<int> descriptor{-1};
    std::atomic<std::uint64_t> signals{0};  // a `bit` each
};

constexpr std::uint64_t bit(int number) noexcept { return std::uint64_t{1} << (number - 1); }

slot slots[watches_max];
std::atomic<int> handling{0};  // handlers that run, on any thread
std::mutex table_lock;         // for all but the handler
struct sigaction previous[signals_max];

void on_signal(int number) {
    const int saved = errno;
    handling.fetch_add(1);
    for (const slot& s : slots) {
        const int descriptor = s.descriptor.load();
        if (descriptor >= 0 && (s.signals.load() & bit(number)) != 0) {
            const std::uint64_t one = 1;
            [[maybe_unused]] const auto n = ::write(descriptor, &one, sizeof one);
        }
    }
    handling.fetch_sub(1);
    errno = saved;
}

std::uint64_t watched_signals() noexcept {
    std::uint64_t all = 0;
    for (const slot& s : slots) {
        all |= s.signals.load();
    }
    return all;
}

/// One context's place in the table.
class watch {
public:
    explicit watch(std::uint64_t signals) : signals_(signals) {
        const std::lock_guard guard(table_lock);
        for (slot& s : slots) {
            if (s.descriptor.load() < 0) {
                slot_ = &s;
                break;
            }
        }
        if (slot_ == nullptr) {
            throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                                    "signal_context: 16 are in use");
        }
        descriptor_ = ::eventfd(0, EFD_CLOEXEC);
        if (descriptor_ < 0) {
            throw std::system_error(errno, std::system_category(), "signal_context: eventfd");
        }
        const std::uint64_t before = watched_signals();
        slot_->signals.store(signals_);
        slot_->descriptor.store(descriptor_);
        int refused = 0;
        for_each(signals_ & ~before, [&refused](int number) {
            struct sigaction action {};
            action.sa_handler = &on_signal;
            action.sa_flags = SA_RESTART;
            if (::sigaction(number, &action, &previous[number - 1]) != 0) {
                refused = number;
            }
        });
        if (refused != 0) {
            let_go();
            throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                    fmt::format("signal_context: {} cannot be caught", refused));
        }
    }
    watch(watch&& other) noexcept
        : signals_(other.signals_),
          slot_(std::exchange(other.slot_, nullptr)),
          descriptor_(other.descriptor_) {}
    watch& operator=(watch&&) = delete;
    ~watch() {
        if (slot_ == nullptr) {
            return;
        }
        const std::lock_guard guard(table_lock);
        let_go();
    }

    int descriptor() const noexcept { return descriptor_; }

private:
    /// under table_lock
    void let_go() noexcept {
        slot_->signals.store(0);
        slot_->descriptor.store(-1);
        for_each(signals_ & ~watched_signals(),
                 [](int number) { ::sigaction(number, &previous[number - 1], nullptr); });
        // Pairs with on_signal, which counts itself before it looks: none that is not counted now
        // has seen the descriptor, whose number may soon be another file's.
        while (handling.load() != 0) {
            std::this_thread::yield();
        }
        ::close(descriptor_);
    }

    template <class F>
    static void for_each(std::uint64_t signals, F f) {
        for (int number = 1; number <= signals_max; ++number) {
            if ((signals & bit(number)) != 0) {
                f(number);
            }
        }
    }

    std::uint64_t signals_;
    slot* slot_ = nullptr;
    int descriptor_ = -1;
};

/// Runs under the context that it ends, so it ends with it.
task<> end_on_signal(watch w, detail::context_ref ctx) {
    std::uint64_t count = 0;
    const auto read = co_await as_result(detail::kernel_operation(
        "signal_context", detail::io_code::read, w.descriptor(), &count, sizeof count));
    if (read) {
        detail::end_context(*ctx, detail::node_state::cancelled, nullptr);
    }
}

}  // namespace

cancel_scope signal_context(std::initializer_list<int> signals) {
    std::uint64_t mask = 0;
    for (const int number : signals) {
        if (number < 1 || number > signals_max) {
            throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                    fmt::format("signal_context: {} is no signal", number));
        }
        mask |= bit(number);
    }
    cancel_scope scope = with_cancel(this_context());
    go(with(scope), end_on_signal, watch(mask), scope.ctx().node());
    return scope;
}

}  // namespace ringo::os
