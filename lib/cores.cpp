#include "cores.hpp"

#include "blocking_pool.hpp"
#include "debug.hpp"
#include "watchdog.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/go.hpp>

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <system_error>
#include <utility>

#include <pthread.h>
#include <sched.h>

namespace ringo::detail {

namespace {

constexpr unsigned cores_max = 1024;
constexpr unsigned ring_entries_max = 32768;  // the kernel's own limit
constexpr unsigned ring_entries_default = 256;

[[noreturn]] void refuse(const std::string& what) {
    throw std::system_error(std::make_error_code(std::errc::invalid_argument), what);
}

/// Keeps SIGPIPE from a thread: whoever writes to what nobody reads gets EPIPE, and that is enough.
class no_sigpipe {
public:
    no_sigpipe() noexcept {
        ::sigemptyset(&pipe_);
        ::sigaddset(&pipe_, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    no_sigpipe(const no_sigpipe&) = delete;
    no_sigpipe& operator=(const no_sigpipe&) = delete;
    ~no_sigpipe() {
        if (::sigismember(&before_, SIGPIPE) == 0) {
            const timespec at_once{};
            while (::sigtimedwait(&pipe_, nullptr, &at_once) > 0) {  // or it would come now
            }
            ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        }
    }

private:
    sigset_t pipe_;
    sigset_t before_;
};

std::vector<std::size_t> allowed_cpus() {
    cpu_set_t set;
    std::vector<std::size_t> cpus;
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &set)) {
                cpus.push_back(cpu);
            }
        }
    }
    return cpus;
}

/// An option's value from the environment; `otherwise` when it is not set.
unsigned from_environment(const char* name, unsigned otherwise) {
    const char* const text = std::getenv(name);
    if (text == nullptr || *text == '\0') {
        return otherwise;
    }
    char* end = nullptr;
    const unsigned long value = std::strtoul(text, &end, 10);
    if (*end != '\0' || value == 0 || value > cores_max) {
        refuse(
            fmt::format("{} is \"{}\"; it must be a number from 1 to {}", name, text, cores_max));
    }
    return static_cast<unsigned>(value);
}

ringo::backend chosen_backend(ringo::backend given) {
    const char* const text = std::getenv("RINGO_BACKEND");
    const std::string name = text == nullptr ? "" : text;
    if (name == "uring") {
        return backend::uring;
    }
    if (name == "epoll") {
        return backend::epoll;
    }
    if (!name.empty() && name != "automatic") {
        refuse(fmt::format("RINGO_BACKEND is \"{}\"; it must be automatic, uring or epoll", name));
    }
    return given;
}

}  // namespace

options resolve(const options& given) {
    options o = given;
    if (o.cores == 0) {
        const auto cpus = static_cast<unsigned>(allowed_cpus().size());
        o.cores = from_environment("RINGO_CORES", cpus == 0 ? 1 : cpus);
    }
    if (o.cores > cores_max) {
        refuse(fmt::format("options.cores is {}; at most {} are possible", o.cores, cores_max));
    }
    if (o.ring_entries == 0) {
        o.ring_entries = ring_entries_default;
    }
    if (o.ring_entries > ring_entries_max) {
        refuse(fmt::format("options.ring_entries is {}; at most {} are possible", o.ring_entries,
                           ring_entries_max));
    }
    if (o.shutdown_grace.count() < 0) {
        refuse("options.shutdown_grace is negative");
    }
    if (o.stall_after.count() < 0) {
        refuse("options.stall_after is negative");
    }
    o.backend = chosen_backend(o.backend);
    return o;
}

cores_state::cores_state(const options& resolved, const make_kernel& make)
    : options_(resolved),
      has_own_cpus_(resolved.cores > 1 && resolved.cores <= allowed_cpus().size()),
      root_(make_root()),
      pool_(std::make_unique<blocking_pool>()),
      resolver_pool_(std::make_unique<blocking_pool>()),
      drained_(static_cast<std::ptrdiff_t>(resolved.cores)) {
    for (unsigned i = 0; i < resolved.cores; ++i) {
        shards_.push_back(
            std::make_unique<shard>(*this, static_cast<std::uint16_t>(i), make(*pool_)));
    }
    start_threads();
}

cores_state::~cores_state() { join_threads(gate::given_up); }

void cores_state::start_threads() {
    for (std::size_t core = 1; core < size(); ++core) {
        try {
            threads_.emplace_back([this, core] {
                gate_.wait(gate::closed, std::memory_order_acquire);
                if (gate_.load(std::memory_order_acquire) == gate::open) {
                    pin(core);
                    run_core(shard_at(core));
                }
            });
        } catch (const std::system_error& e) {
            join_threads(gate::given_up);
            throw std::system_error(e.code(),
                                    fmt::format("run: cannot start the thread of core {}; raise "
                                                "`ulimit -u` or the limit of the container, or "
                                                "lower options.cores",
                                                core));
        }
    }
}

void cores_state::join_threads(gate g) noexcept {
    open_gate(g);
    for (std::thread& t : threads_) {
        t.join();
    }
    threads_.clear();
}

void cores_state::open_gate(gate g) noexcept {
    gate_.store(g, std::memory_order_release);
    gate_.notify_all();
}

void cores_state::run() {
    if (shard::this_thread() != nullptr) {
        panic("run: called inside a goroutine; await the task, or go(f), instead");
    }
    cpu_set_t before;
    const bool restore = ::sched_getaffinity(0, sizeof before, &before) == 0;
    if (watched_) {
        begin_watch(*this);
    }
    open_gate(gate::open);
    pin(0);
    run_core(shard_at(0));
    for (std::thread& t : threads_) {
        t.join();
    }
    threads_.clear();
    if (restore) {
        ::sched_setaffinity(0, sizeof before, &before);
    }
}

void cores_state::run_core(shard& s) noexcept {
    const no_sigpipe quiet;
    s.attach();
    if (s.index == 0) {
        while (!stop_asked_.load(std::memory_order_acquire)) {
            s.turn(timer_wheel::never);
        }
        end_goroutines(s);
    } else {
        phase seen = phase::running;
        for (phase p = phase_.load(); p != phase::draining; p = phase_.load()) {
            if (p != std::exchange(seen, p)) {
                if (p == phase::abandoning) {
                    s.abandon_goroutines();
                }
                // An end that came before this core saw the phase has woken nobody.
                shard_at(0).io().wake();
            }
            s.turn(timer_wheel::never);
        }
    }
    finish(s);
}

void cores_state::end_goroutines(shard& first) noexcept {
    if (watched_ && main_end_ != 0) {
        report_leaks(*this, main_end_);
    }
    enter(phase::stopping);
    end_context(*root_, node_state::cancelled, nullptr);
    const auto grace = std::chrono::nanoseconds(options_.shutdown_grace).count();
    const std::int64_t deadline = first.now_ns() + grace;
    while (live() != 0 && first.now_ns() < deadline) {
        first.turn(deadline);
    }
    if (const std::size_t left = live(); left != 0) {
        std::fputs(fmt::format("ringo: {} goroutine{} did not end within {} ms of the end of the "
                               "run; destroyed\n",
                               left, left == 1 ? "" : "s", options_.shutdown_grace.count())
                       .c_str(),
                   stderr);
        enter(phase::abandoning);
        first.abandon_goroutines();
        while (live() != 0) {
            first.turn(timer_wheel::never);
        }
    }
    if (watched_) {
        end_watch(*this);
    }
    enter(phase::draining);
}

/// No goroutine is left on any core: nothing but ringo's own work remains.
void cores_state::finish(shard& s) noexcept {
    s.drop_censuses();
    s.drain();
    drained_.arrive_and_wait();
    s.drain();  // what the others sent while they drained
    s.detach();
}

void cores_state::enter(phase p) noexcept {
    phase_.store(p);
    for (const auto& s : shards_) {
        s->io().wake();
    }
}

void cores_state::main_ended() noexcept {
    main_end_ = turn_mark(shard_at(0));
    stop();
}

void cores_state::stop() noexcept {
    stop_asked_.store(true, std::memory_order_release);
    shard_at(0).io().wake();
}

std::size_t cores_state::live() const noexcept {
    // What has ended is read first: each goroutine's start is counted before its end, so the
    // difference can be too large for a moment, but never 0 while a goroutine lives.
    std::uint64_t ended = 0;
    for (const auto& s : shards_) {
        ended += s->ended();
    }
    std::uint64_t started = submitted_.load();
    for (const auto& s : shards_) {
        started += s->started();
    }
    return static_cast<std::size_t>(started - ended);
}

void cores_state::submit(goroutine& g, int core, context_node* ctx) {
    context_node& under = ctx != nullptr ? *ctx : *root_;
    if (core >= 0 && static_cast<std::size_t>(core) >= size()) {
        panic("runtime::spawn: on(core) names a core that does not exist");
    }
    retain(under);
    g.unbound = &under;
    submitted_.fetch_add(1);
    if (core >= 0) {
        shard_at(static_cast<std::size_t>(core)).post(g);
    } else {
        offer(g);
    }
}

void cores_state::offer(goroutine& g) noexcept {
    g.next = nullptr;
    {
        const std::lock_guard guard(idle_work_lock_);
        *idle_work_tail_ = &g;
        idle_work_tail_ = &g.next;
        // seq_cst: pairs with shard::begin_sleep, as inbox::push does.
        idle_work_count_.fetch_add(1);
    }
    for (const auto& s : shards_) {
        if (s->asleep()) {
            s->wake_if_asleep();
            return;
        }
    }
}

goroutine* cores_state::take_idle_work() noexcept {
    const std::lock_guard guard(idle_work_lock_);
    goroutine* const g = idle_work_;
    if (g != nullptr) {
        idle_work_ = g->next;
        if (idle_work_ == nullptr) {
            idle_work_tail_ = &idle_work_;
        }
        idle_work_count_.fetch_sub(1);
    }
    return g;
}

void cores_state::pin(std::size_t core) const noexcept {
    // Only where each core gets a CPU of its own: a program that uses some of the CPUs is better
    // placed by the kernel, beside others of its kind.
    const std::vector<std::size_t> cpus = allowed_cpus();
    if (!options_.pin || cpus.size() != size()) {
        return;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpus[core], &one);
    ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one);
}

}  // namespace ringo::detail
