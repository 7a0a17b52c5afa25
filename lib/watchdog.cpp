#include "watchdog.hpp"

#include "cores.hpp"
#include "snapshot.hpp"
#include "trace.hpp"

#include <ringo/debug.hpp>
#include <ringo/detail/frame_memory.hpp>

#include <fmt/format.h>

#include <cxxabi.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <execinfo.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace ringo::detail {

std::atomic<bool> cores_are_halted{false};

namespace {

using std::chrono::milliseconds;

constexpr int slowness = RINGO_SANITIZED ? 10 : 1;

// --- what one core does, asked by a signal ---

// States:  idle -> asked -> answering -> answered -> idle
// The handler runs on the thread that is asked, and may do next to nothing, so it copies.
struct question {
    enum class state { idle, asked, answering, answered };

    std::atomic<state> now{state::idle};
    std::uint32_t id = 0;  // 0: no goroutine runs
    std::uint32_t made_by = 0;
    call_site made = call_site::unknown();
    std::array<call_site, trace_max> places;
    std::size_t count = 0;
    std::size_t omitted = 0;
    std::array<void*, 64> stack;
    int depth = 0;
    interrupted_part* all = nullptr;  // asked for
};

question asked;
std::mutex asking;  // one at a time

void on_asked(int) {
    const int saved = errno;
    auto expected = question::state::asked;
    if (asked.now.compare_exchange_strong(expected, question::state::answering)) {
        asked.id = 0;
        asked.count = 0;
        const core_state* const here = this_core_state;
        // With a frame, the goroutine and all of its callers are there: they wait for that frame.
        if (here != nullptr && here->current != nullptr && here->frame) {
            asked.id = here->current->id;
            asked.made_by = here->current->made_by;
            asked.omitted = walk_trace(here->frame, asked.made, [](call_site where) {
                asked.places[asked.count++] = where;
            });
        }
        if (asked.all != nullptr && here == &asked.all->home) {
            asked.all->look();
        }
        asked.depth = ::backtrace(asked.stack.data(), static_cast<int>(asked.stack.size()));
        asked.now.store(question::state::answered);
    }
    errno = saved;
}

std::string function_text(void* address) {
    ::Dl_info info{};
    if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) {
        return fmt::format("{}", address);
    }
    if (info.dli_sname != nullptr) {
        int status = 0;
        char* const name = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
        std::string text = status == 0 ? name : info.dli_sname;
        std::free(name);
        return text;
    }
    // As addr2line takes it.
    return fmt::format("{} {:#x}", info.dli_fname,
                       reinterpret_cast<std::uintptr_t>(address) -
                           reinterpret_cast<std::uintptr_t>(info.dli_fbase));
}

std::string answer_text() {
    std::string text;
    if (asked.id != 0) {
        debug::goroutine g;
        g.state = "running";
        g.made_by = asked.made_by;
        g.made_at = location_of(asked.made);
        g.omitted = asked.omitted;
        for (std::size_t i = 0; i < asked.count; ++i) {
            g.trace.push_back(location_of(asked.places[i]));
        }
        text = fmt::format("goroutine {}:\n{}", asked.id, trace_text(g));
    }
    text += "stack:\n";
    for (int i = 2; i < asked.depth; ++i) {  // below the handler and the kernel's frame
        text += fmt::format("    {}\n", function_text(asked.stack[static_cast<std::size_t>(i)]));
    }
    return text;
}

bool has_answered() noexcept {
    for (int i = 0; i < 100 && asked.now.load() != question::state::answered; ++i) {
        std::this_thread::sleep_for(milliseconds(1));
    }
    auto expected = question::state::asked;
    if (asked.now.compare_exchange_strong(expected, question::state::idle)) {
        return false;
    }
    while (asked.now.load() != question::state::answered) {
        std::this_thread::yield();
    }
    return true;
}

// --- the thread ---

/// What has been seen of one core.
struct observation {
    std::uint64_t pace = 0;
    milliseconds same{0};     // for how long it has not changed
    std::int64_t cpu_ns = 0;  // of its thread, when that began
    bool told = false;
};

struct watched_run {
    cores_state* run;
    std::vector<observation> cores;
};

std::mutex starting;  // taken first
std::mutex runs_lock;
// Never destroyed: the thread may still look when the program calls exit.
std::thread* watcher = nullptr;
std::vector<watched_run>& watched = *new std::vector<watched_run>;
std::atomic<bool> ending{false};
std::atomic<bool> dump_asked{false};
std::atomic<std::size_t> threads{0};
struct sigaction before_quit;
struct sigaction before_asking;
bool takes_quit = false;
bool takes_asking = false;

std::atomic<std::uint32_t> bell{0};  // a futex, which a signal's handler may ring

void ring() noexcept {
    bell.fetch_add(1);
    ::syscall(SYS_futex, &bell, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void wait_for_ring(std::uint32_t seen, milliseconds limit) noexcept {
    timespec t{};
    t.tv_sec = limit.count() / 1000;
    t.tv_nsec = limit.count() % 1000 * 1'000'000;
    ::syscall(SYS_futex, &bell, FUTEX_WAIT_PRIVATE, seen, limit.count() != 0 ? &t : nullptr,
              nullptr, 0);
}

void on_quit(int) {
    const int saved = errno;
    dump_asked.store(true);
    ring();
    errno = saved;
}

std::int64_t cpu_ns_of(pthread_t thread) noexcept {
    clockid_t clock{};
    timespec t{};
    if (::pthread_getcpuclockid(thread, &clock) != 0 || ::clock_gettime(clock, &t) != 0) {
        return 0;
    }
    return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

/// As proc(5) names it: R for who wants a CPU, and has one or not; D for who cannot be interrupted.
char state_of(pid_t thread) {
    char line[512];
    std::FILE* const f = std::fopen(fmt::format("/proc/self/task/{}/stat", thread).c_str(), "re");
    if (f == nullptr) {
        return '?';
    }
    const std::size_t n = std::fread(line, 1, sizeof line - 1, f);
    std::fclose(f);
    const std::string_view text(line, n);
    const std::size_t name_end = text.rfind(')');
    return name_end != std::string_view::npos && name_end + 2 < n ? text[name_end + 2] : '?';
}

milliseconds limit_of(const cores_state& run) noexcept {
    return run.given_options().stall_after * slowness;
}

/// How often to look; 0: never.
milliseconds interval() {
    const std::lock_guard guard(runs_lock);
    milliseconds least{0};
    for (const watched_run& w : watched) {
        const milliseconds half = (limit_of(*w.run) + milliseconds(1)) / 2;
        if (half.count() != 0 && (least.count() == 0 || half < least)) {
            least = half;
        }
    }
    return least;
}

void look_at(shard& s, observation& o, milliseconds passed, milliseconds limit) {
    const std::uint64_t pace = s.pace();
    if (pace != o.pace || pace % 2 == 0 || cores_are_halted.load()) {
        o = {.pace = pace, .same = milliseconds(0), .cpu_ns = 0, .told = false};
        if (pace % 2 != 0) {
            o.cpu_ns = cpu_ns_of(s.thread());
        }
        return;
    }
    o.same += passed;
    if (o.told || o.same < limit) {
        return;
    }
    // On a busy machine a thread may have to wait for a CPU, or for the kernel to make a ring or to
    // map memory, which is no fault of the program. For a disk it does not wait that long.
    const std::int64_t used = cpu_ns_of(s.thread()) - o.cpu_ns;
    if (used < std::chrono::nanoseconds(limit).count() / 2) {
        const char state = state_of(s.thread_number());
        if (state == 'R' || (state == 'D' && o.same < 10 * limit)) {
            return;
        }
    }
    o.told = true;
    std::string text = running_text(s);
    if (s.pace() == pace) {  // else it has just gone on, and the text is of something else
        text = fmt::format("ringo: core {} has not paused for {} ms\n{}\n", s.index, o.same.count(),
                           text);
        std::fputs(text.c_str(), stderr);
    }
}

void look_at_all(milliseconds passed) {
    const std::lock_guard guard(runs_lock);
    for (watched_run& w : watched) {
        if (const milliseconds limit = limit_of(*w.run); limit.count() != 0) {
            for (std::size_t core = 0; core < w.cores.size(); ++core) {
                look_at(w.run->shard_at(core), w.cores[core], passed, limit);
            }
        }
    }
}

void watch() {
    while (!ending.load()) {
        const std::uint32_t seen = bell.load();
        if (dump_asked.exchange(false)) {
            std::fputs("SIGQUIT: all goroutines\n\n", stderr);
            debug::print(stderr);
            continue;
        }
        const milliseconds pause = interval();
        // Time that this process did not run, for it was stopped, does not count.
        if (!ending.load()) {
            wait_for_ring(seen, pause);
        }
        if (pause.count() != 0 && bell.load() == seen) {
            look_at_all(pause);
        }
    }
}

/// Sets a handler, unless the program has one.
bool set_handler(int number, void (*handler)(int), struct sigaction& before) noexcept {
    if (::sigaction(number, nullptr, &before) != 0 || before.sa_handler != SIG_DFL) {
        return false;
    }
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    return ::sigaction(number, &action, nullptr) == 0;
}

void reset_handler(int number, void (*handler)(int), const struct sigaction& before) noexcept {
    struct sigaction now {};
    if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == handler) {
        ::sigaction(number, &before, nullptr);
    }
}

/// under `starting`
void start_watcher() {
    std::array<void*, 1> warm;
    ::backtrace(warm.data(), 1);  // the first call loads a library
    ending.store(false);
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);  // the thread takes no signals
    try {
        threads.store(1);
        watcher = new std::thread(&watch);
    } catch (const std::system_error&) {
        threads.store(0);  // then nobody watches
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// under `starting`
void stop_watcher() noexcept {
    if (std::exchange(takes_quit, false)) {
        reset_handler(SIGQUIT, &on_quit, before_quit);
    }
    if (std::exchange(takes_asking, false)) {
        reset_handler(SIGURG, &on_asked, before_asking);
    }
    if (watcher != nullptr) {
        ending.store(true);
        ring();
        watcher->join();
        delete std::exchange(watcher, nullptr);
        threads.store(0);
    }
}

/// On a core, without keeping those waiting that ask it.
void lock_answering(std::mutex& lock) {
    while (!lock.try_lock()) {
        if (shard* const here = shard::this_thread()) {
            here->answer_censuses();
        }
        std::this_thread::yield();
    }
}

/// under `asking`
bool ask(shard& s, interrupted_part* all) {
    asked.all = all;
    asked.now.store(question::state::asked);
    if (!takes_asking || ::pthread_kill(s.thread(), SIGURG) != 0 || !has_answered()) {
        asked.now.store(question::state::idle);
        return false;
    }
    return true;
}

}  // namespace

bool interrupt(interrupted_part& p) {
    const std::lock_guard guard(asking);
    const bool answered = ask(p.home, &p);
    asked.now.store(question::state::idle);
    return answered;
}

std::string running_text(shard& s) {
    const std::lock_guard guard(asking);
    if (!ask(s, nullptr)) {
        return "it does not answer\n";
    }
    std::string text = answer_text();
    asked.now.store(question::state::idle);
    return text;
}

void begin_watch(cores_state& run) {
    const std::lock_guard life(starting);
    bool first = false;
    {
        const std::lock_guard guard(runs_lock);
        first = watched.empty();
        watched.push_back({&run, std::vector<observation>(run.size())});
    }
    if (first) {
        takes_asking = set_handler(SIGURG, &on_asked, before_asking);
        start_watcher();
    }
    if (!takes_quit && run.given_options().sigquit_prints && watcher != nullptr) {
        takes_quit = set_handler(SIGQUIT, &on_quit, before_quit);
    }
    ring();  // it may have to look more often
}

void end_watch(cores_state& run) noexcept {
    lock_answering(starting);
    const std::lock_guard life(starting, std::adopt_lock);
    lock_answering(runs_lock);
    const auto it = std::find_if(watched.begin(), watched.end(),
                                 [&run](const watched_run& w) { return w.run == &run; });
    if (it != watched.end()) {
        watched.erase(it);
    }
    const bool last = watched.empty();
    runs_lock.unlock();
    if (last) {
        stop_watcher();
    }
}

std::size_t watchdog_threads() noexcept { return threads.load(); }

void for_each_run(const std::function<void(cores_state&)>& f) {
    lock_answering(runs_lock);
    const std::lock_guard guard(runs_lock, std::adopt_lock);
    for (const watched_run& w : watched) {
        f(*w.run);
    }
}

}  // namespace ringo::detail
