#include "reach.hpp"

#include "blocking_pool.hpp"
#include "context.hpp"
#include "cores.hpp"
#include "deadlock.hpp"
#include "frame_blocks.hpp"
#include "watchdog.hpp"

#include <ringo/detail/chan_core.hpp>
#include <ringo/detail/selection.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory_resource>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

namespace ringo::detail {

namespace {

using word = std::uintptr_t;

word address_of(const void* p) noexcept { return reinterpret_cast<word>(p); }

struct range {
    word begin;
    word end;
};

// --- halting the cores ---

class halt;

struct halting {
    std::mutex lock;
    std::condition_variable changed;
    std::size_t running = 0;  // cores that are to halt still
    bool released = false;
    bool failed = false;
    std::vector<std::unique_ptr<halt>> halts;
};

/// What a core that is halted waits in.
class halt final : public census {
public:
    halt(shard& s, std::shared_ptr<halting> of) : census(s, nullptr), of_(std::move(of)) {}

    bool go_on(std::size_t) override {
        __builtin_unwind_init();  // what callers have in registers alone is here from now on
        hold();
        return true;
    }
    void give_up() override {
        const std::shared_ptr<halting> of = std::move(of_);  // Lifetime: this goes with it
        const std::lock_guard guard(of->lock);
        of->failed = true;
        of->changed.notify_all();
    }
    word stack_in_use() const noexcept { return stack_; }

private:
    [[gnu::noinline]] void hold() {
        const std::shared_ptr<halting> of = std::move(of_);
        stack_ = address_of(__builtin_frame_address(0));
        std::unique_lock guard(of->lock);
        --of->running;
        of->changed.notify_all();
        of->changed.wait(guard, [&of] { return of->released; });
    }

    std::shared_ptr<halting> of_;
    word stack_ = 0;  // from here on; under the lock
};

/// Halts all cores but the calling one for as long as it lives.
class all_halted {
public:
    all_halted(cores_state& all, shard* here) : state_(std::make_shared<halting>()) {
        cores_are_halted.store(true);
        for (std::size_t core = 0; core < all.size(); ++core) {
            if (shard& s = all.shard_at(core); &s != here) {
                state_->halts.push_back(std::make_unique<halt>(s, state_));
            }
        }
        state_->running = state_->halts.size();
        for (const auto& h : state_->halts) {
            h->home.post(*h);
        }
        wait(here);
    }
    all_halted(const all_halted&) = delete;
    all_halted& operator=(const all_halted&) = delete;
    ~all_halted() {
        const std::lock_guard guard(state_->lock);
        state_->released = true;
        state_->changed.notify_all();
        cores_are_halted.store(false);
    }

    /// False: one of them does not halt.
    bool complete() const noexcept { return complete_; }
    const std::vector<std::unique_ptr<halt>>& each() const noexcept { return state_->halts; }

private:
    void wait(shard* here) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
        std::unique_lock guard(state_->lock);
        while (state_->running != 0 && !state_->failed && std::chrono::steady_clock::now() < end) {
            if (here == nullptr) {
                state_->changed.wait_for(guard, std::chrono::milliseconds(10));
            } else {
                guard.unlock();
                here->answer_censuses();
                std::this_thread::yield();
                guard.lock();
            }
        }
        complete_ = state_->running == 0 && !state_->failed;
    }

    std::shared_ptr<halting> state_;
    bool complete_ = false;
};

/// The part of a thread's stack that is not in use.
range unused_stack(pthread_t thread, word in_use) {
    pthread_attr_t attributes;
    void* low = nullptr;
    std::size_t size = 0;
    if (::pthread_getattr_np(thread, &attributes) == 0) {
        ::pthread_attr_getstack(&attributes, &low, &size);
        ::pthread_attr_destroy(&attributes);
    }
    const word begin = address_of(low);
    // It may run on a stack of its own.
    return {begin, in_use - begin < size ? in_use : begin};
}

// --- what is looked for ---

/// Memory of its own, which is not looked at.
class arena {
public:
    explicit arena(std::size_t size) : size_(size) {
        memory_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory_ == MAP_FAILED) {
            throw std::bad_alloc();
        }
        resource_.emplace(memory_, size, std::pmr::null_memory_resource());
    }
    arena(const arena&) = delete;
    arena& operator=(const arena&) = delete;
    ~arena() { ::munmap(memory_, size_); }

    std::pmr::memory_resource* get() noexcept { return &*resource_; }
    range extent() const noexcept { return {address_of(memory_), address_of(memory_) + size_}; }

private:
    std::size_t size_;
    void* memory_;
    std::optional<std::pmr::monotonic_buffer_resource> resource_;
};

/// A block of what waits: who points into it, beyond what the library does itself, may use it.
struct target {
    range at;
    std::uint32_t skip;  // bytes that only the library points to
    std::uint32_t owner;
};

struct suspect {
    const goroutine* who;
    std::uint32_t first_block;  // in `blocks`
    std::uint32_t block_count;
};

class search {
public:
    search(cores_state& all, std::uint32_t spared, std::pmr::memory_resource* memory)
        : all_(all),
          spared_(spared),
          suspects_(memory),
          blocks_(memory),
          edges_(memory),
          channels_(memory),
          targets_(memory),
          reached_(memory),
          work_(memory),
          hidden_(memory),
          free_(memory),
          buffer_(memory),
          found_(memory),
          cuts_(frame_cuts()) {}

    void hide(range r) { hidden_.push_back(r); }

    /// False: the memory cannot be read.
    bool run() {
        find_suspects();
        if (suspects_.empty()) {
            return true;
        }
        find_channels();
        find_free_blocks();
        if (!look_everywhere()) {
            return false;
        }
        follow();
        for (std::size_t i = 0; i < suspects_.size(); ++i) {
            if (!reached_[i]) {
                found_.push_back(suspects_[i].who);
            }
        }
        std::sort(found_.begin(), found_.end());
        return true;
    }
    bool any_found() const noexcept { return !found_.empty(); }
    bool found(const goroutine& g) const noexcept {
        return std::binary_search(found_.begin(), found_.end(), &g);
    }

private:
    struct edge {
        const chan_core* to;
        std::uint32_t from;
    };

    /// The block of frame memory that `a` is in.
    std::optional<range> block_at(word a) const noexcept {
        const auto after =
            std::upper_bound(cuts_.begin(), cuts_.end(), a / frame_granule,
                             [](word granule, const frame_cut& c) { return granule < c.start; });
        if (after == cuts_.begin()) {
            return std::nullopt;
        }
        const frame_cut& c = *std::prev(after);
        const word start = c.start * frame_granule;
        const word index = (a - start) / c.bytes;
        if (index >= c.count) {
            return std::nullopt;
        }
        return range{start + index * c.bytes, start + (index + 1) * c.bytes};
    }

    void find_suspects() {
        for (std::size_t core = 0; core < all_.size(); ++core) {
            const shard& s = all_.shard_at(core);
            for (const scope* in = s.scopes(); in != nullptr; in = in->shard_next) {
                if (in->node.deadline_ns != timer_wheel::never) {
                    continue;
                }
                for (const goroutine* g = in->goroutines; g != nullptr; g = g->scope_next) {
                    if (!is_marker(*g) && g != s.current && g->waiting != nullptr &&
                        !g->cancelled) {
                        suspect_one(*g);
                    }
                }
            }
        }
    }

    void suspect_one(const goroutine& g) {
        const std::size_t blocks = blocks_.size();
        const std::size_t edges = edges_.size();
        const auto index = static_cast<std::uint32_t>(suspects_.size());
        if (!add_channels(*g.waiting, index) || !add_frames(g, index)) {
            blocks_.resize(blocks, target{});
            edges_.resize(edges, edge{});
            return;
        }
        suspects_.push_back({&g, static_cast<std::uint32_t>(blocks),
                             static_cast<std::uint32_t>(blocks_.size() - blocks)});
    }

    /// False: it waits for something else, or no longer.
    bool add_channels(const wait& w, std::uint32_t from) {
        if (w.type != &select_wait) {
            return add_channel(w, from) && !edges_.empty() && edges_.back().from == from;
        }
        const auto& s = static_cast<const selection&>(w);
        const std::size_t before = edges_.size();
        for (const wait* const arm : s.arms()) {
            if (s.winner() != nullptr || !add_channel(*arm, from)) {
                return false;
            }
        }
        return edges_.size() != before;
    }
    bool add_channel(const wait& w, std::uint32_t from) {
        if (w.type->describe != &chan_core::describe) {
            return false;
        }
        const auto& c = static_cast<const chan_waiter&>(w);
        if (c.on != nullptr) {
            edges_.push_back({c.on, from});
        }
        return c.on == nullptr ||
               (c.is_linked() && !c.on->is_given_up_by_main(spared_) && block_at(address_of(c.on)));
    }

    bool add_frames(const goroutine& g, std::uint32_t owner) {
        const auto add = [&](const void* begin, std::size_t used) {
            const auto block = block_at(address_of(begin));
            if (block) {
                const auto skip = address_of(begin) - block->begin + used;
                blocks_.push_back({*block, static_cast<std::uint32_t>(skip), owner});
            }
            return block.has_value();
        };
        bool all = add(&g, sizeof(goroutine));
        frame_handle in = g.frame;
        for (; all && !call_site::is_site(in.address()); in = in.promise().caller) {
            // Before the promise are the addresses of two functions.
            all = add(in.address(), 2 * sizeof(void*) + sizeof(promise_base));
        }
        return all;
    }

    /// Owners are goroutines, then channels.
    void find_channels() {
        std::sort(edges_.begin(), edges_.end(),
                  [](const edge& a, const edge& b) { return a.to < b.to; });
        for (const edge& e : edges_) {
            if (channels_.empty() || channels_.back() != e.to) {
                channels_.push_back(e.to);
            }
        }
        targets_.assign(blocks_.begin(), blocks_.end());
        for (std::size_t i = 0; i < channels_.size(); ++i) {
            targets_.push_back({*block_at(address_of(channels_[i])), 0,
                                static_cast<std::uint32_t>(suspects_.size() + i)});
        }
        std::sort(targets_.begin(), targets_.end(),
                  [](const target& a, const target& b) { return a.at.begin < b.at.begin; });
        reached_.resize(suspects_.size() + channels_.size(), false);
    }

    /// Nobody may use what they still contain. Nor what magazines contain beyond their blocks.
    void find_free_blocks() {
        const auto add = [](void* self, const magazine& m) {
            auto& me = *static_cast<search*>(self);
            if (m.blocks != nullptr) {
                const word begin = address_of(m.blocks);
                me.hide({begin, begin + magazine_max * sizeof(void*)});
                for (std::uint32_t i = 0; i < m.count; ++i) {
                    me.free_.push_back(address_of(m.blocks[i]));
                }
            }
        };
        for (std::size_t core = 0; core < all_.size(); ++core) {
            if (const frame_cache* const cache = all_.shard_at(core).frames()) {
                for_each_magazine(*cache, add, this);
            }
        }
        for_each_shelved_magazine(add, this);
        std::sort(free_.begin(), free_.end());
        std::sort(hidden_.begin(), hidden_.end(),
                  [](const range& a, const range& b) { return a.begin < b.begin; });
    }

    // --- looking ---

    template <class Ranges, class Begin>
    static auto last_not_after(const Ranges& all, word a, Begin begin) noexcept {
        auto it = std::upper_bound(all.begin(), all.end(), a,
                                   [&](word x, const auto& r) { return x < begin(r).begin; });
        return it == all.begin() ? all.end() : std::prev(it);
    }
    const target* target_of(word a) const noexcept {
        const auto it = last_not_after(targets_, a, [](const target& t) { return t.at; });
        return it != targets_.end() && a < it->at.end ? &*it : nullptr;
    }
    bool is_hidden(word a) const noexcept {
        const auto it = last_not_after(hidden_, a, [](const range& r) { return r; });
        if ((it != hidden_.end() && a < it->end) || target_of(a) != nullptr) {
            return true;
        }
        const auto block = block_at(a);
        return block && std::binary_search(free_.begin(), free_.end(), block->begin);
    }

    /// words: what is at `at`
    void look_at(std::span<const word> words, word at, bool anywhere) {
        const word low = targets_.front().at.begin;
        const word high = targets_.back().at.end;
        for (std::size_t i = 0; i < words.size(); ++i) {
            const word w = words[i];
            if (w < low || w >= high) {
                continue;
            }
            const target* const t = target_of(w);
            if (t != nullptr && w - t->at.begin >= t->skip && !reached_[t->owner] &&
                (!anywhere || !is_hidden(at + i * sizeof(word)))) {
                reached_[t->owner] = true;
                work_.push_back(t->owner);
            }
        }
    }

    /// Of all that can be read.
    bool look_everywhere() {
        buffer_.resize(std::size_t{1} << 15U);
        std::pmr::vector<char> maps(buffer_.get_allocator().resource());
        const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return false;
        }
        std::size_t size = 0;
        ::ssize_t n = 0;
        do {
            size += static_cast<std::size_t>(n);
            maps.resize(size + 65536);
            n = ::read(fd, maps.data() + size, 65536);
        } while (n > 0);
        ::close(fd);
        maps.resize(size);
        maps.push_back('\0');
        for (const char* line = maps.data(); *line != '\0';) {
            char* p = nullptr;
            const word begin = std::strtoul(line, &p, 16);
            const word end = std::strtoul(p + 1, &p, 16);
            if (p[1] == 'r' && !look_at_memory({begin, end})) {
                return false;
            }
            const char* const next = std::strchr(p, '\n');
            line = next != nullptr ? next + 1 : "";
        }
        return n == 0;
    }

    bool look_at_memory(range r) {
        const std::size_t step = buffer_.size() * sizeof(word);
        for (word at = r.begin; at < r.end;) {
            std::size_t size = std::min<std::size_t>(step, r.end - at);
            const iovec to{.iov_base = buffer_.data(), .iov_len = size};
            const iovec from{.iov_base = reinterpret_cast<void*>(at), .iov_len = size};
            const ::ssize_t n = ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0);
            if (n < 0 && errno != EFAULT) {
                return false;
            }
            if (n > 0) {
                size = static_cast<std::size_t>(n);
                look_at({buffer_.data(), size / sizeof(word)}, at, true);
            } else {
                size = 4096;  // a device's, or beyond the end of its file
            }
            at += size;
        }
        return true;
    }

    /// From what was reached, on.
    void follow() {
        while (!work_.empty()) {
            const std::uint32_t owner = work_.back();
            work_.pop_back();
            if (owner < suspects_.size()) {
                const suspect& s = suspects_[owner];
                for (std::uint32_t i = 0; i < s.block_count; ++i) {
                    look_into(blocks_[s.first_block + i].at);
                }
            } else {
                const chan_core* const c = channels_[owner - suspects_.size()];
                look_into(*block_at(address_of(c)));
                wake_all_of(c);
            }
        }
    }
    void look_into(range r) {
        look_at({reinterpret_cast<const word*>(r.begin), (r.end - r.begin) / sizeof(word)}, r.begin,
                false);
    }
    void wake_all_of(const chan_core* c) {
        auto it = std::lower_bound(edges_.begin(), edges_.end(), c,
                                   [](const edge& e, const chan_core* x) { return e.to < x; });
        for (; it != edges_.end() && it->to == c; ++it) {
            if (!reached_[it->from]) {
                reached_[it->from] = true;
                work_.push_back(it->from);
            }
        }
    }

    cores_state& all_;
    std::uint32_t spared_;
    std::pmr::vector<suspect> suspects_;
    std::pmr::vector<target> blocks_;  // of goroutines, one goroutine's after the other's
    std::pmr::vector<edge> edges_;     // by channel
    std::pmr::vector<const chan_core*> channels_;
    std::pmr::vector<target> targets_;  // blocks, and those of channels; by address
    std::pmr::vector<char> reached_;
    std::pmr::vector<std::uint32_t> work_;
    std::pmr::vector<range> hidden_;
    std::pmr::vector<word> free_;
    std::pmr::vector<word> buffer_;
    std::pmr::vector<const goroutine*> found_;  // by address
    std::span<const frame_cut> cuts_;
};

/// Whether all that the program's threads hold is in memory.
bool is_all_in_memory(cores_state& all, const shard* here) noexcept {
    const std::size_t busy = all.pool().busy();
    if (here != nullptr) {
        return busy == 0 && !has_other_threads(all, 0);
    }
    // The caller is one of the pool, which is busy, or another thread, which is one too many.
    return has_other_threads(all, 0) ? busy == 0 && !has_other_threads(all, 1) : busy <= 1;
}

std::shared_ptr<snapshot> search_all(cores_state& all, const shard* here, const void* stack,
                                     std::uint32_t spared, const all_halted& halted) {
    if (!halted.complete() || !is_all_in_memory(all, here)) {
        return nullptr;
    }
    arena memory((std::size_t{64} << 20U) + all.live() * 1024 + frame_cuts().size() * 1024);
    search s(all, spared, memory.get());
    s.hide(memory.extent());
    s.hide(unused_stack(::pthread_self(), address_of(stack)));
    for (const auto& h : halted.each()) {
        s.hide(unused_stack(h->home.thread(), h->stack_in_use()));
    }
    if (!s.run() || !s.any_found()) {
        return nullptr;
    }
    return snapshot::take_halted(all, [&s](const goroutine& g) { return s.found(g); });
}

/// SIZE_MAX where it is not known.
std::size_t resident_bytes() noexcept {
    std::size_t pages = 0;
    std::FILE* const f = std::fopen("/proc/self/statm", "re");
    const bool known = f != nullptr && std::fscanf(f, "%*u %zu", &pages) == 1;
    if (f != nullptr) {
        std::fclose(f);
    }
    return known ? pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) : SIZE_MAX;
}

std::mutex searching;

}  // namespace

void for_each_unreachable(cores_state& run, const void* stack, std::uint32_t spared,
                          std::size_t memory_max,
                          const std::function<void(debug::goroutine&&)>& f) {
    // Under sanitizers blocks are not the pool's, and there is a leak sanitizer.
    if (RINGO_SANITIZED || resident_bytes() > memory_max) {
        return;
    }
    shard* const here = shard::this_thread();
    while (!searching.try_lock()) {
        if (here != nullptr) {
            here->answer_censuses();
        }
        std::this_thread::yield();
    }
    std::shared_ptr<snapshot> found;
    {
        const std::lock_guard guard(searching, std::adopt_lock);
        const all_halted halted(run, here);
        try {
            found = search_all(run, here, stack, spared, halted);
        } catch (const std::bad_alloc&) {  // then nothing is known
        }
    }
    if (found != nullptr) {
        found->for_each(f);
    }
}

}  // namespace ringo::detail
