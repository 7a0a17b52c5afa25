// The goroutine's control block, and how its frames run.
//
// A goroutine is a control block and a chain of frames, innermost last. Only its core touches
// it once it has started. The core resumes its own `frame` until that is null:
//
//     co_await task      core.frame = the callee      (the caller waits in callee.caller)
//     callee ends        core.frame = callee.caller
//     operation waits    core.frame = null, goroutine.frame = the awaiting frame
//     root ends          core.frame = null, finished = true
//
// Each frame knows where it was suspended last, so the chain is the goroutine's trace.
//
// Why a loop, not symmetric transfer: g++ 12 makes that a tail call only at -O2 without
// sanitizers, so a loop of synchronous awaits would grow the stack.
#pragma once

#include <ringo/detail/bias.hpp>
#include <ringo/detail/call_site.hpp>
#include <ringo/detail/frame_memory.hpp>
#include <ringo/detail/ready_queue.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <type_traits>

namespace ringo::detail {

class promise_base;
class wait;
class shard;
struct context_node;
struct scope;
struct goroutine;

using frame_handle = std::coroutine_handle<promise_base>;

/// What differs between goroutines of different callables and results.
struct goroutine_type {
    // Calls the callable. Null: an exception left it, and the goroutine is finished.
    frame_handle (*start)(goroutine&) noexcept;
    void (*end)(goroutine&) noexcept;      // delivers the outcome, gives up the core's share
    void (*destroy)(goroutine&) noexcept;  // frees the block
};

struct goroutine {
    explicit goroutine(const goroutine_type& t, bool joinable = false) noexcept
        : frame(frame_handle::from_address(call_site::unknown().as_pointer())),
          type(&t),
          is_joinable(joinable) {}
    goroutine(const goroutine&) = delete;
    goroutine& operator=(const goroutine&) = delete;

    goroutine* next = nullptr;  // in the one queue that it is on: ready, inbox, idle cores
    frame_handle frame;  // where it goes on; until its first step, a call_site: where it was made
    wait* waiting = nullptr;  // what it is suspended in; null while ready or running

    // The context that it is bound to, as a member of that context's list on this core.
    // Before it is bound (on its way to its core), `unbound` holds a reference instead.
    union {
        scope* bound;
        context_node* unbound = nullptr;
    };
    goroutine* scope_next = nullptr;
    goroutine** scope_link = nullptr;  // the pointer that points here; null while unbound

    const goroutine_type* type;
    std::uint32_t id = 0;               // as good as unique: they come round after four billion
    std::uint16_t core = 0;             // the tag of the one that it runs on
    std::uint8_t error = 0;             // how its last operation ended: 0, an errno or a `failure`
    bool finished : 1 = false;          // its root task has ended
    bool cancelled : 1 = false;         // its context has ended: each suspension point fails
    bool is_joinable : 1;               // it is a joinable_base
    bool abandoned : 1 = false;         // destroyed at the end of the run, not ended by itself
    bool cancel_requested : 1 = false;  // by its join handle, whatever its context says
    bool shielded : 1 = false;          // in a shield of its own, which keeps that request out
    bool drops_outcome : 1 = false;     // its root has no room for an exception: see fail_detached
    bool unused : 1 = false;            // so that a constructor writes the byte without reading it
    std::uint32_t made_by = 0;          // the id of the goroutine that made it; 0: none did
    std::uint32_t parked_at;            // the core's tick at which `waiting` began
};

static_assert(sizeof(goroutine) == 72, "there are millions of them");

inline bool has_started(const goroutine& g) noexcept {
    return !call_site::is_site(g.frame.address());
}
/// Before its first step.
inline void set_made(goroutine& g, call_site made) noexcept {
    g.frame = frame_handle::from_address(made.as_pointer());
}

inline void ready_queue::push(goroutine& g) noexcept {
    g.next = nullptr;
    *made_tail_ = &g;
    made_tail_ = &g.next;
}

inline void ready_queue::push_last(goroutine& g) noexcept {
    if (made_ != nullptr || front_ != nullptr) {
        settle();
    }
    g.next = nullptr;
    *tail_ = &g;
    tail_ = &g.next;
}

/// first: of those that `made_tail_` ends
inline void ready_queue::put_in_front(goroutine* first) noexcept {
    *made_tail_ = front_;
    if (front_ == nullptr) {
        front_tail_ = made_tail_;
    }
    front_ = first;
}

inline goroutine* ready_queue::pop() noexcept {
    goroutine* g = made_;
    if (g != nullptr) {
        if (made_tail_ != &g->next) {
            put_in_front(g->next);
        }
        made_ = nullptr;
        made_tail_ = &made_;
    } else if (g = front_; g != nullptr) {
        front_ = g->next;
        __builtin_prefetch(front_);
    } else if (g = head_; g != nullptr) {
        ++taken_;
        head_ = g->next;
        if (head_ == nullptr) {
            tail_ = &head_;
        }
        __builtin_prefetch(head_);
    }
    return g;
}

/// The part of a core that inlined code touches. The whole of it is lib's `shard`.
struct core_state {
    goroutine* current = nullptr;  // null outside goroutines
    frame_handle frame;            // that `current` is in; null: it does not go on
    ready_queue ready;
    std::uint16_t index = 0;
    std::uint16_t tag = 0;   // unlike any other's, also in other runtimes
    std::uint32_t tick = 0;  // when this turn began
    bias biases;
    std::uint64_t random_state = 0x9e3779b97f4a7c15;

    /// Uniform; not for secrets.
    std::uint32_t random() noexcept {
        random_state = random_state * 6364136223846793005 + 1442695040888963407;  // Knuth, MMIX
        return static_cast<std::uint32_t>(random_state >> 32);
    }
};

/// The core that this thread is; null on threads that are not ringo's. The library's functions on
/// fast paths are given it: in a program it costs a load, in what could be a shared library a call.
extern constinit thread_local core_state* this_core_state;

inline constexpr std::uint32_t main_id = 1;  // the first of the first core: run's main task

/// On this thread.
inline bool is_main_running() noexcept {
    const core_state* const here = this_core_state;
    return here != nullptr && here->current != nullptr && here->current->id == main_id;
}

/// Suspends `g` in frame `h`. From here on `wake` may make it ready.
inline void park(goroutine& g, frame_handle h, wait* in) noexcept {
    core_state& here = *this_core_state;
    g.frame = h;
    g.waiting = in;
    g.parked_at = here.tick;
    here.frame = nullptr;
}

/// Takes back a `park` that turned out to be unnecessary, before anyone could wake `g`.
inline void unpark(goroutine& g) noexcept {
    g.waiting = nullptr;
    this_core_state->frame = g.frame;
}

/// For a goroutine that finds nothing to take of what cores share: whether it looks again, after a
/// moment, before it parks. So it does for two microseconds while its core has nothing else to do and
/// that has been of use. look: from 0
bool may_look_again(core_state& here, unsigned look) noexcept;
void pause_before_look() noexcept;
void found_soon(core_state& here) noexcept;

void wake_elsewhere(goroutine& g) noexcept;

/// Makes a parked goroutine of this core ready.
inline void wake_here(core_state& here, goroutine& g) noexcept {
    g.waiting = nullptr;
    here.ready.push(g);
}
inline void wake(core_state& here, goroutine& g) noexcept {
    if (here.tag == g.core) [[likely]] {
        wake_here(here, g);
    } else {
        wake_elsewhere(g);
    }
}
/// Makes a parked goroutine ready. core: any, foreign threads included
inline void wake(goroutine& g) noexcept {
    core_state* const here = this_core_state;
    if (here != nullptr) [[likely]] {
        wake(*here, g);
    } else {
        wake_elsewhere(g);
    }
}

/// What the turn of one among a million will touch, none of which is in the cache.
inline void prefetch(const goroutine& g) noexcept {
    __builtin_prefetch(g.frame.address());
    __builtin_prefetch(g.scope_next);
    __builtin_prefetch(g.scope_link);
}

/// Where a caller waits for a callee; it lies in the caller's frame, so the caller owns the callee.
struct callee_slot {
    frame_handle callee;
};

// g++ up to 12 may put a variable of its own first in a frame, before what a handle needs there
// (GCC bug 106188): so it does with a coroutine that has a co_await in the condition of an if, a
// while or a switch, and no variable around that. Its handles are then off by a few bytes, which
// the place of its newest frame shows.
extern constinit thread_local void* newest_frame;
[[noreturn]] void refuse_frame() noexcept;

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
inline void* frame_made(void* frame) noexcept { return newest_frame = frame; }
inline void check_frame(void* address) noexcept {
    // Anything else is another frame, which a copy of an argument has made meanwhile.
    constexpr std::uintptr_t shift_max = 64;
    if (reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(newest_frame) -
            1 <
        shift_max) [[unlikely]] {
        refuse_frame();
    }
}
#else
inline void* frame_made(void* frame) noexcept { return frame; }
inline void check_frame(void*) noexcept {}
#endif

class promise_base {
public:
    static void* operator new(std::size_t size) { return frame_made(frame_allocate(size)); }
    static void operator delete(void* frame, std::size_t size) noexcept { frame_free(frame, size); }

    std::suspend_always initial_suspend() const noexcept { return {}; }
    /// The outcome has been delivered. Not suspending, the frame frees itself on the way out,
    /// which saves the caller a call.
    std::suspend_never final_suspend() const noexcept {
        slot->callee = nullptr;
        core_state& here = *this_core_state;
        if (!is_root()) [[likely]] {
            here.frame = caller;
        } else {
            here.frame = nullptr;
            here.current->finished = true;
        }
        return {};
    }
    bool is_root() const noexcept { return call_site::is_site(caller.address()); }

    /// Before the frame is first resumed, by who awaits or launches it.
    void begin(frame_handle from, callee_slot& into) noexcept {
        where = call_site::unknown();
        caller = from;
        slot = &into;
    }

    call_site where;      // it was suspended last
    frame_handle caller;  // in a root frame a call_site: where the goroutine was made
    callee_slot* slot;    // where the outcome goes, and who owns this frame
};

template <class Promise>
frame_handle erase(std::coroutine_handle<Promise> h) noexcept {
    // Every promise has promise_base's alignment, so it lies at the same offset in its frame.
    static_assert(alignof(Promise) == alignof(promise_base));
    return frame_handle::from_address(h.address());
}
/// ... which is suspended at `where`.
template <class Promise>
frame_handle erase(std::coroutine_handle<Promise> h, call_site where) noexcept {
    h.promise().where = where;
    return erase(h);
}

/// For awaiters that wrap another one. True: it waits.
template <class Awaiter, class Promise>
bool suspend(Awaiter& inner, std::coroutine_handle<Promise> h, call_site where) {
    const auto suspends = [&] {
        if constexpr (requires { inner.await_suspend(h, where); }) {
            return inner.await_suspend(h, where);
        } else {
            return inner.await_suspend(h);
        }
    };
    if constexpr (std::is_void_v<decltype(suspends())>) {
        suspends();
        return true;
    } else {
        return suspends();
    }
}

}  // namespace ringo::detail
