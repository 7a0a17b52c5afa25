#include "snapshot.hpp"

#include "context.hpp"
#include "cores.hpp"
#include "trace.hpp"

#include <ringo/net/endpoint.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <sys/socket.h>

namespace ringo::detail {

namespace {

constexpr std::size_t piece_max = 256;
constexpr auto patience = std::chrono::seconds(1);  // with a core that does not answer

constexpr goroutine_type no_type{nullptr, nullptr, nullptr, nullptr};

}  // namespace

// --- on the core that is looked at ---

census::census(shard& s, std::shared_ptr<snapshot> w)
    : home(s), of_(std::move(w)), marker_(no_type) {}

bool census::go_on(std::size_t steps) {
    if (of_->given_up()) {
        give_up();
        return true;
    }
    if (!begun_) {
        begin();
    }
    of_->note_piece();
    sightings& piece = found.emplace_back();
    piece.goroutines.reserve(std::min(steps, piece_max));
    piece.places.reserve(2 * piece_max);
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
    now_ns = home.now_ns();
    tick = ticks_of(now_ns);  // not the core's own: it may wake from its nap, to find nothing
    made = home.made();
    enter(home.scopes());
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
    g.scope_next = &marker_;
    marker_.scope_link = &g.scope_next;
}

void census::moved(const goroutine& g) {
    if (begun_ && moved_.insert(g.id).second) {
        see(g);
    }
}

void census::see(const goroutine& g) {
    sightings& piece = found.back();
    sighting s{};
    s.state.name = "runnable";
    const bool runs = &g == home.current && home.frame;
    if (runs) {
        s.state.name = "running";
    } else if (const wait* const w = g.waiting) {
        s.waits = true;
        s.state.name = w->type->name;
        s.state.leaks = of_->leaks;
        if (w->type->describe != nullptr) {
            w->type->describe(*w, s.state);
        }
    }
    if (of_->leaks.sought && !s.state.forever) {
        return;
    }
    s.first_place = static_cast<std::uint32_t>(piece.places.size());
    s.omitted = static_cast<std::uint32_t>(
        walk_trace(runs ? home.frame : g.frame, s.made,
                   [&piece](call_site where) { piece.places.push_back(where); }));
    s.places = static_cast<std::uint32_t>(piece.places.size()) - s.first_place;
    s.deadline_ns = g.bound->node.deadline_ns;
    s.id = g.id;
    s.made_by = g.made_by;
    s.parked_at = g.parked_at;
    piece.goroutines.push_back(s);
}

void census::end(bool complete) {
    enter(nullptr);
    // Lifetime: this goes with the snapshot, which may go here.
    const std::shared_ptr<snapshot> of = std::move(of_);
    of->part_ended(*this, complete);
}

void census::give_up() { end(false); }

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
    for (std::size_t core = 0; core < all.size(); ++core) {
        s->parts_.push_back(std::make_unique<census>(all.shard_at(core), s));
    }
    s->under_way_ = s->parts_.size();
    return s;
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
    return s;
}

std::shared_ptr<snapshot> snapshot::take_asleep(cores_state& all) {
    const auto s = make(all, {});
    for (const auto& part : s->parts_) {
        while (!part->go_on(piece_max)) {
        }
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

/// ` fd 7 127.0.0.1:80`. By now it may be another one's.
std::string descriptor_text(int fd, bool is_socket) {
    std::string text = fmt::format(" fd {}", fd);
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    auto* const peer = reinterpret_cast<sockaddr*>(&address);
    if (is_socket && ::getpeername(fd, peer, &size) == 0) {
        const std::string where = net::endpoint(peer, size).to_string();
        text += where.empty() ? "" : ' ' + where;
    }
    return text;
}

std::string state_text(const wait_state& s, std::int64_t now_ns) {
    std::string text = s.name;
    if (s.fd >= 0 && text != "io") {
        text = "io " + text;
    }
    if (s.arms != 0) {
        text += fmt::format(" ({} arm{})", s.arms, s.arms == 1 ? "" : "s");
    }
    if (s.until_ns == timer_wheel::never) {
        text += " for ever";
    } else if (s.until_ns != 0) {
        text += ' ' + seconds_text(std::max<std::int64_t>(s.until_ns - now_ns, 0));
    }
    if (s.fd >= 0) {
        text += descriptor_text(s.fd, s.fd_is_socket);
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

debug::goroutine snapshot::seen(const census& by, const sightings& piece, const sighting& s) const {
    debug::goroutine g;
    g.id = s.id;
    g.core = by.home.index;
    g.state = state_text(s.state, by.now_ns);
    const census& issuer = *parts_[(s.id - 1) % parts_.size()];
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
        const census* by;
        const sightings* piece;
        const sighting* what;
    };
    std::vector<found> all;
    for (const auto& part : parts_) {
        if (part->done) {
            for (const sightings& piece : part->found) {
                for (const sighting& s : piece.goroutines) {
                    all.push_back({part.get(), &piece, &s});
                }
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
