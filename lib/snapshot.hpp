// Looking at the goroutines of all cores while they run.
//
// Whoever asks posts a `census` to each core. A core works at the first of its censuses between
// two turns, some goroutines at a time; the marker, a goroutine that never runs, stands in the
// list of a scope behind those that it has seen, so lists may change meanwhile. What is seen is
// copied as it is; names and texts are made by who asked.
#pragma once

#include "ages.hpp"
#include "shard.hpp"

#include <ringo/debug.hpp>
#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/operation.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

namespace ringo::detail {

class cores_state;
class snapshot;

/// `12ms`, `1.2s`, `3m5s`, `2h10m`.
std::string debug_duration(std::chrono::nanoseconds d);

/// Not a goroutine, but a census' place in a list.
bool is_marker(const goroutine& g) noexcept;

/// What is known of one goroutine without asking more than its core.
struct sighting {
    wait_state state;
    std::int64_t deadline_ns;
    call_site made;
    std::uint32_t first_place;  // of its trace, in the piece
    std::uint32_t places;
    std::uint32_t omitted;
    std::uint32_t id;
    std::uint32_t made_by;
    std::uint32_t parked_at;
    bool waits;
};

/// What one go at it has found.
struct sightings {
    std::vector<sighting> goroutines;
    std::vector<call_site> places;
};

/// What is known of one core's goroutines.
struct part {
    explicit part(shard& s) noexcept : home(s) {}

    void note_time();  // core: its own, or while it is halted

    shard& home;
    std::vector<sightings> found;
    ages made;  // the core's
    std::uint32_t tick = 0;
    std::int64_t now_ns = 0;
    bool done = false;
};

/// ... as the handler of a signal notes it, on the thread of a core that does not pause: in what
/// was made ready, for there it can allocate nothing.
struct interrupted_part : part {
    explicit interrupted_part(shard& s);

    // Why it may look: it interrupts its core's thread, which alone changes the lists, at any
    // instruction. Read forwards these are whole at each (see bind): who comes is linked when its
    // own links are set, who goes is unlinked before it changes. A goroutine in a list is new,
    // parked or ready, with frames that stay as they are; or it is the core's `current`.
    void look() noexcept;

    std::size_t missed = 0;  // for want of room
};

/// One core's part of a snapshot. It is in that core's hands until `of_` is let go.
class census : public part {
public:
    census(shard& s, std::shared_ptr<snapshot> w);
    census(const census&) = delete;
    census& operator=(const census&) = delete;

    virtual ~census() = default;

    /// True: it has ended, and may be gone.
    virtual bool go_on(std::size_t steps);
    /// The core ends.
    virtual void give_up();
    /// `g` was moved to another scope, perhaps from behind the marker to before it.
    void moved(const goroutine& g);

    census* next = nullptr;  // in the core's queue; `done` is under the snapshot's lock

private:
    void begin();
    void enter(scope* s);
    void step_behind(goroutine& g) noexcept;
    void see(const goroutine& g);
    void end(bool complete);

    std::shared_ptr<snapshot> of_;
    goroutine marker_;
    bool begun_ = false;
    std::unordered_set<std::uint32_t> moved_;
};

class snapshot {
public:
    explicit snapshot(leak_question l) noexcept : leaks(l) {}

    /// core: any thread
    static std::shared_ptr<snapshot> take(cores_state& all, leak_question leaks = {});
    /// ... where all cores nap.
    static std::shared_ptr<snapshot> take_asleep(cores_state& all);
    /// ... of those for which `counts` says so, where all cores are halted.
    static std::shared_ptr<snapshot> take_halted(
        cores_state& all, const std::function<bool(const goroutine&)>& counts);

    /// What was seen, by id.
    void for_each(const std::function<void(debug::goroutine&&)>& f) const;
    /// The numbers of the cores that did not answer, though most tell by a signal's handler.
    const std::vector<std::size_t>& silent() const noexcept { return silent_; }
    /// How many goroutines of a core are left out; none: it is not known.
    std::optional<std::size_t> missed(std::size_t core) const noexcept;

    bool given_up() const noexcept { return given_up_.load(std::memory_order_acquire); }
    /// Room for what the cores will find. Memory that was never touched before is most of what it
    /// would cost a core, so who asks does that. core: any thread
    void prepare(std::size_t goroutines);
    /// ... core: any, each with its own
    sightings take_room() noexcept;
    void note_piece() noexcept { pieces_.fetch_add(1, std::memory_order_relaxed); }
    void part_ended(census& part, bool complete);

    const leak_question leaks;

private:
    static std::shared_ptr<snapshot> make(cores_state& all, leak_question leaks);
    void wait(shard* here);
    void interrupt_silent();
    const part& part_of(std::size_t core) const noexcept;
    debug::goroutine seen(const part& by, const sightings& piece, const sighting& s) const;

    std::vector<std::unique_ptr<census>> parts_;
    std::vector<std::unique_ptr<interrupted_part>> interrupted_;  // by core; null: not asked
    std::vector<std::size_t> silent_;
    std::mutex lock_;
    std::condition_variable changed_;
    std::size_t under_way_ = 0;  // under the lock
    std::atomic<bool> given_up_{false};
    std::atomic<std::size_t> pieces_{0};
    std::vector<sightings> rooms_;
    std::atomic<std::size_t> rooms_taken_{0};
};

}  // namespace ringo::detail
