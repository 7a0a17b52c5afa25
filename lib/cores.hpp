// The cores of one run: their shards and threads, and what is common to them.
#pragma once

#include "context.hpp"
#include "kernel.hpp"
#include "shard.hpp"

#include <ringo/run.hpp>

#include <atomic>
#include <barrier>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace ringo::detail {

class blocking_pool;

class cores_state {
public:
    using make_kernel = std::function<std::unique_ptr<kernel>(blocking_pool&)>;

    /// Starts the threads, which wait for `run`.
    ///
    /// options: resolved (see resolve)
    /// throws   std::system_error when the kernel or a thread is not to be had
    cores_state(const options& resolved, const make_kernel& make);
    cores_state(const cores_state&) = delete;
    cores_state& operator=(const cores_state&) = delete;
    ~cores_state();

    /// Runs all cores, the first on the calling thread, until `stop`; then ends all goroutines.
    void run();
    /// core: any thread
    void stop() noexcept;

    /// Before `run`: the program ends when nothing can ever run again.
    void end_on_deadlock() noexcept { ends_on_deadlock_ = true; }
    bool ends_on_deadlock() const noexcept { return ends_on_deadlock_; }
    /// ... and it is looked after (watchdog.hpp).
    void be_watched() noexcept { watched_ = true; }
    /// The main task has ended. core: its own
    void main_ended() noexcept;

    std::size_t size() const noexcept { return shards_.size(); }
    shard& shard_at(std::size_t core) noexcept { return *shards_[core]; }
    const context_ref& root() const noexcept { return root_; }
    const options& given_options() const noexcept { return options_; }
    blocking_pool& pool() noexcept { return *pool_; }
    /// For look-ups of names, which can hang together: they must not hold up files.
    blocking_pool& resolver_pool() noexcept { return *resolver_pool_; }

    /// Whether there is a CPU for each core, and more than one.
    bool has_own_cpus() const noexcept { return has_own_cpus_; }

    /// Whether goroutines are being brought to their end.
    bool stopping() const noexcept { return phase_.load() != phase::running; }
    /// ... or about to be.
    bool ending() const noexcept { return stop_asked_.load() || stopping(); }
    /// Goroutines that have started and not ended. Never 0 while there is one.
    std::size_t live() const noexcept;
    /// ... those that threads that are no cores have started.
    std::uint64_t submitted() const noexcept { return submitted_.load(); }

    /// Starts a goroutine from a thread that is no core. core: as for start_at
    void submit(goroutine& g, int core, context_node* ctx);

    /// New goroutines that any core may adopt.
    void offer(goroutine& g) noexcept;
    goroutine* take_idle_work() noexcept;
    bool has_idle_work() const noexcept { return idle_work_count_.load() != 0; }

    /// Whoever wakes from a nap waits until this is false (deadlock.hpp).
    std::atomic<bool> naps_held{false};

private:
    enum class phase { running, stopping, abandoning, draining };

    enum class gate { closed, open, given_up };

    void start_threads();
    void join_threads(gate g) noexcept;
    void open_gate(gate g) noexcept;
    void run_core(shard& s) noexcept;
    void end_goroutines(shard& first) noexcept;
    void finish(shard& s) noexcept;
    void enter(phase p) noexcept;
    void pin(std::size_t core) const noexcept;

    // fixed after start
    const options options_;
    const bool has_own_cpus_;
    context_ref root_;
    std::vector<std::unique_ptr<shard>> shards_;
    std::unique_ptr<blocking_pool> pool_;
    std::unique_ptr<blocking_pool> resolver_pool_;
    std::barrier<> drained_;
    std::vector<std::thread> threads_;  // of all cores but the first
    bool ends_on_deadlock_ = false;
    bool watched_ = false;

    std::uint32_t main_end_ = 0;  // in which turn of the first core, which writes it

    // any thread
    std::atomic<phase> phase_{phase::running};
    std::atomic<bool> stop_asked_{false};
    std::atomic<gate> gate_{gate::closed};
    std::atomic<std::uint64_t> submitted_{0};
    std::mutex idle_work_lock_;
    goroutine* idle_work_ = nullptr;
    goroutine** idle_work_tail_ = &idle_work_;
    std::atomic<std::size_t> idle_work_count_{0};
};

/// Fills in what is left to ringo.
/// throws  std::system_error that names the option and its bound
options resolve(const options& given);

}  // namespace ringo::detail
