#include "snapshot.hpp"

#include "context.hpp"
#include "cores.hpp"
#include "trace.hpp"
#include "watchdog.hpp"

#include <ringo/net/endpoint.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace ringo::detail {

namespace {

constexpr std::size_t piece_max = 256;
constexpr auto patience = std::chrono::seconds(1);  // with a core that does not answer

constexpr goroutine_type no_type{nullptr, nullptr, nullptr};

}  // namespace

// --- on the core that is looked at ---

namespace {

/// in: where it runs, or is suspended; null: it is about to be either
void see(const goroutine& g, bool runs, frame_handle in, leak_question leaks, sightings& into) {
    sighting s{};
    s.state.name = runs ? "running" : "runnable";
    if (const wait* const w = g.waiting; w != nullptr && !runs) {
        s.waits = true;
        s.state.name = w->type->name;
        s.state.leaks = leaks;
        if (w->type->describe != nullptr) {
            w->type->describe(*w, s.state);
        }
    }
    if (leaks.sought && !s.state.forever) {
        return;
    }
    s.made = call_site::unknown();
    s.first_place = static_cast<std::uint32_t>(into.places.size());
    if (in) {
        s.omitted = static_cast<std::uint32_t>(
            walk_trace(in, s.made, [&into](call_site where) { into.places.push_back(where); }));
    }
    s.places = static_cast<std::uint32_t>(into.places.size()) - s.first_place;
    s.deadline_ns = g.bound->node.deadline_ns;
    s.id = g.id;
    s.made_by = g.made_by;
    s.parked_at = g.parked_at;
    into.goroutines.push_back(s);
}

}  // namespace

bool is_marker(const goroutine& g) noexcept { return g.type == &no_type; }

census::census(shard& s, std::shared_ptr<snapshot> w)
    : part(s), of_(std::move(w)), marker_(no_type) {}

bool census::go_on(std::size_t steps) {
    if (of_->given_up()) {
        give_up();
        return true;
    }
    if (!begun_) {
        begin();
    }
    of_->note_piece();
    found.push_back(of_->take_room());
    while (marker_.scope_link != nullptr) {
        goroutine* last = nullptr;
        for (goroutine* g = marker_.scope_next; g != nullptr && steps != 0; --steps) {
            goroutine* const following = g->scope_next;
            if (following != nullptr) {
                prefetch(*following);
            }
            if (g->type != &no_type) {  // another one's marker
                see(*g);
            }
            last = std::exchange(g, following);
        }
        if (last != nullptr) {
            step_behind(*last);
        }
        if (steps == 0) {
            return false;
        }
        --steps;
        enter(marker_.bound->shard_next);
    }
    end(true);
    return true;
}

void census::begin() {
    begun_ = true;
    note_time();
    enter(home.scopes());
}

void part::note_time() {
    now_ns = home.now_ns();
    tick = ticks_of(now_ns);  // not the core's own: it may wake from its nap, to find nothing
    made = home.made();
}

/// s: null, there are no more
void census::enter(scope* s) {
    if (marker_.scope_link != nullptr) {
        unbind(marker_);
    }
    if (s != nullptr) {
        bind(marker_, *s);
    }
}

void census::step_behind(goroutine& g) noexcept {
    *marker_.scope_link = marker_.scope_next;
    marker_.scope_next->scope_link = marker_.scope_link;
    marker_.scope_next = g.scope_next;
    if (g.scope_next != nullptr) {
        g.scope_next->scope_link = &marker_.scope_next;
    }
    std::atomic_signal_fence(std::memory_order_release);  // as in bind
    g.scope_next = &marker_;
    marker_.scope_link = &g.scope_next;
}

void census::moved(const goroutine& g) {
    if (begun_ && moved_.insert(g.id).second) {
        see(g);
    }
}

void census::see(const goroutine& g) {
    const bool runs = &g == home.current && home.frame;
    detail::see(g, runs, runs ? home.frame : g.frame, of_->leaks, found.back());
}

void census::end(bool complete) {
    enter(nullptr);
    // Lifetime: this goes with the snapshot, which may go here.
    const std::shared_ptr<snapshot> of = std::move(of_);
    of->part_ended(*this, complete);
}

void census::give_up() { end(false); }

// --- on the core's thread, in a signal's handler ---

interrupted_part::interrupted_part(shard& s) : part(s) {
    constexpr std::size_t most = 100'000;
    constexpr std::size_t spare = 1000;  // for those that are made meanwhile
    constexpr std::size_t places_each = 8;
    const std::size_t room = std::min(s.all.live() + spare, most);
    found.emplace_back();
    found.back().goroutines.reserve(room);
    found.back().places.reserve(room * places_each);
    made.make_room();
}

void interrupted_part::look() noexcept {
    sightings& into = found.back();
    now_ns = home.now_ns();
    tick = ticks_of(now_ns);
    if (home.current != nullptr) {  // a goroutine runs, so nothing is being noted
        made = home.made();
    }
    for (const scope* in = home.scopes(); in != nullptr; in = in->shard_next) {
        for (const goroutine* g = in->goroutines; g != nullptr; g = g->scope_next) {
            if (is_marker(*g)) {
                continue;
            }
            if (into.goroutines.size() == into.goroutines.capacity() ||
                into.places.capacity() - into.places.size() < trace_max) {
                ++missed;
                continue;
            }
            const bool runs = g == home.current;
            see(*g, runs, runs ? home.frame : g->frame, {}, into);
        }
    }
}

// --- by who asks ---

namespace {

/// On a core, it answers who asks it meanwhile: two that ask each other must not wait for ever.
void answer(shard* here) {
    if (here != nullptr) {
        here->answer_censuses();
        std::this_thread::yield();
    }
}

}  // namespace

std::shared_ptr<snapshot> snapshot::make(cores_state& all, leak_question leaks) {
    auto s = std::make_shared<snapshot>(leaks);
    s->prepare(leaks.sought ? 0 : all.live());
    for (std::size_t core = 0; core < all.size(); ++core) {
        s->parts_.push_back(std::make_unique<census>(all.shard_at(core), s));
    }
    s->under_way_ = s->parts_.size();
    return s;
}

void snapshot::prepare(std::size_t goroutines) {
    constexpr std::size_t places_each = 3;
    rooms_.resize(goroutines / piece_max + 1);
    for (sightings& room : rooms_) {
        room.goroutines.resize(piece_max);
        room.places.resize(places_each * piece_max, call_site::unknown());
        room.goroutines.clear();
        room.places.clear();
    }
}

sightings snapshot::take_room() noexcept {
    const std::size_t i = rooms_taken_.fetch_add(1, std::memory_order_relaxed);
    return i < rooms_.size() ? std::move(rooms_[i]) : sightings();
}

std::shared_ptr<snapshot> snapshot::take(cores_state& all, leak_question leaks) {
    const auto s = make(all, leaks);
    shard* const here = shard::this_thread();
    for (const auto& part : s->parts_) {
        if (&part->home != here) {
            part->home.post(*part);
        }
    }
    for (const auto& part : s->parts_) {
        if (&part->home == here) {
            while (!part->go_on(piece_max)) {
            }
        }
    }
    s->wait(here);
    s->interrupt_silent();
    return s;
}

void snapshot::interrupt_silent() {
    interrupted_.resize(silent_.empty() ? 0 : parts_.size());
    for (const std::size_t core : silent_) {
        if (!leaks.sought) {
            auto p = std::make_unique<interrupted_part>(parts_[core]->home);
            p->done = interrupt(*p);
            interrupted_[core] = std::move(p);
        }
    }
}

const part& snapshot::part_of(std::size_t core) const noexcept {
    if (!interrupted_.empty() && interrupted_[core] != nullptr) {
        return *interrupted_[core];
    }
    return *parts_[core];
}

std::optional<std::size_t> snapshot::missed(std::size_t core) const noexcept {
    if (!part_of(core).done) {
        return std::nullopt;
    }
    return interrupted_.empty() || interrupted_[core] == nullptr ? 0 : interrupted_[core]->missed;
}

std::shared_ptr<snapshot> snapshot::take_asleep(cores_state& all) {
    const auto s = make(all, {});
    for (const auto& part : s->parts_) {
        while (!part->go_on(piece_max)) {
        }
    }
    return s;
}

std::shared_ptr<snapshot> snapshot::take_halted(
    cores_state& all, const std::function<bool(const goroutine&)>& counts) {
    const auto s = make(all, {.sought = true});
    for (const auto& part : s->parts_) {
        part->note_time();
        sightings& into = part->found.emplace_back();
        for (const scope* in = part->home.scopes(); in != nullptr; in = in->shard_next) {
            for (const goroutine* g = in->goroutines; g != nullptr; g = g->scope_next) {
                if (counts(*g)) {
                    see(*g, false, g->frame, {}, into);
                }
            }
        }
        part->done = true;
    }
    return s;
}

void snapshot::wait(shard* here) {
    auto end = std::chrono::steady_clock::now() + patience;
    std::size_t pieces = 0;
    std::unique_lock guard(lock_);
    while (under_way_ != 0 && std::chrono::steady_clock::now() < end) {
        if (pieces != pieces_.load(std::memory_order_relaxed)) {
            pieces = pieces_.load(std::memory_order_relaxed);
            end = std::chrono::steady_clock::now() + patience;
        }
        if (here == nullptr) {
            changed_.wait_for(guard, patience / 8);
        } else {
            guard.unlock();
            answer(here);
            guard.lock();
        }
    }
    if (under_way_ != 0) {
        given_up_.store(true, std::memory_order_release);
    }
    for (std::size_t core = 0; core < parts_.size(); ++core) {
        if (!parts_[core]->done) {
            silent_.push_back(core);
        }
    }
}

void snapshot::part_ended(census& part, bool complete) {
    const std::lock_guard guard(lock_);
    part.done = complete && !given_up();
    --under_way_;
    changed_.notify_all();
}

// --- as text ---

namespace {

std::string seconds_text(std::int64_t ns) { return debug_duration(std::chrono::nanoseconds(ns)); }

std::string address_text(int (*of)(int, sockaddr*, socklen_t*), int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    return of(fd, name, &size) == 0 ? net::endpoint(name, size).to_string() : std::string();
}

/// A socket's peer, or else its own address; a file's path; `pipe:[4711]`.
std::string object_text(int fd) {
    char path[256];
    const ::ssize_t size =
        ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), path, sizeof path);
    const std::string_view text(path, static_cast<std::size_t>(std::max<::ssize_t>(size, 0)));
    if (!text.empty() && text.substr(0, 7) != "socket:") {
        return std::string(text);
    }
    const std::string peer = address_text(&::getpeername, fd);
    return !peer.empty() ? peer : address_text(&::getsockname, fd);
}

/// ` fd 7 127.0.0.1:80`. By now it may be another one's.
std::string descriptor_text(int fd) {
    const std::string object = object_text(fd);
    return fmt::format(" fd {}{}{}", fd, object.empty() ? "" : " ", object);
}

std::string state_text(const wait_state& s, std::int64_t now_ns) {
    std::string_view name = s.name;
    if (s.fd != -1 && name.substr(0, 5) == "file_") {
        name.remove_prefix(5);  // of an io_code
    }
    std::string text = fmt::format("{}{}", s.fd != -1 ? "io " : "", name);
    if (s.arms != 0) {
        text += fmt::format(" ({} arm{})", s.arms, s.arms == 1 ? "" : "s");
    }
    if (s.until_ns == timer_wheel::never) {
        text += " for ever";
    } else if (s.until_ns != 0) {
        text += ' ' + seconds_text(std::max<std::int64_t>(s.until_ns - now_ns, 0));
    }
    if (s.fd >= 0) {
        text += descriptor_text(s.fd);
    }
    return text;
}

/// Between two ticks.
duration since(std::uint32_t begin, std::uint32_t end) noexcept {
    const auto ticks = static_cast<std::int32_t>(end - begin);
    return duration(std::int64_t{std::max(ticks, 0)} << tick_bits);
}

}  // namespace

std::string debug_duration(std::chrono::nanoseconds d) {
    const auto ms = std::chrono::round<std::chrono::milliseconds>(d).count();
    if (ms < 1000) {
        return fmt::format("{}ms", ms);
    }
    if (ms < 60'000) {
        return fmt::format("{}.{}s", ms / 1000, ms % 1000 / 100);
    }
    const auto s = ms / 1000;
    return s < 3600 ? fmt::format("{}m{}s", s / 60, s % 60)
                    : fmt::format("{}h{}m", s / 3600, s % 3600 / 60);
}

debug::goroutine snapshot::seen(const part& by, const sightings& piece, const sighting& s) const {
    debug::goroutine g;
    g.id = s.id;
    g.core = by.home.index;
    g.state = state_text(s.state, by.now_ns);
    const part& issuer = part_of((s.id - 1) % parts_.size());
    if (issuer.done) {
        g.age = since(issuer.made.made_at(s.id), by.tick);
    }
    if (s.waits) {
        g.waited = since(s.parked_at, by.tick);
        g.age = std::max(g.age, g.waited);
    }
    if (s.deadline_ns != timer_wheel::never) {
        g.deadline = time_point(duration(s.deadline_ns));
    }
    g.made_by = s.made_by;
    g.made_at = location_of(s.made);
    for (std::size_t i = 0; i < s.places; ++i) {
        g.trace.push_back(location_of(piece.places[s.first_place + i]));
    }
    g.omitted = s.omitted;
    return g;
}

void snapshot::for_each(const std::function<void(debug::goroutine&&)>& f) const {
    struct found {
        const part* by;
        const sightings* piece;
        const sighting* what;
    };
    std::vector<found> all;
    for (std::size_t core = 0; core < parts_.size(); ++core) {
        const part& p = part_of(core);
        if (!p.done) {
            continue;
        }
        for (const sightings& piece : p.found) {
            for (const sighting& s : piece.goroutines) {
                all.push_back({&p, &piece, &s});
            }
        }
    }
    std::sort(all.begin(), all.end(),
              [](const found& a, const found& b) { return a.what->id < b.what->id; });
    std::uint32_t last = 0;
    for (const found& entry : all) {
        if (entry.what->id != last) {  // one that was moved may be there twice
            last = entry.what->id;
            f(seen(*entry.by, *entry.piece, *entry.what));
        }
    }
}

}  // namespace ringo::detail
