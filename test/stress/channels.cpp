// Random programs of channels on several cores and foreign threads: sends and receives of every
// kind, selects, timeouts, cancellation, closes, channels that are dropped. Each value has an
// identity, so that in the end every one is accounted for: a value whose send succeeded was
// received exactly once, on its channel, after those that its sender had sent before; any other
// is still in its sender's object, and was received by nobody.
//
// Every program can end: each channel has a receiver that nothing cancels, and is closed when
// none is left who could send. So one that does not end has lost a wake-up.
//
// RINGO_STRESS scales it (default 1), RINGO_SEED repeats it, beginning with the program that had
// this seed.
#include <doctest/doctest.h>

#include "random.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringo::as_result;
using ringo::chan;
using ringo::otherwise;
using ringo::select;
using ringo::spawn;
using ringo::task;
using ringo::yield;
using test::generator;
using test::short_time;
using test::somewhere;

namespace {

using id_type = std::uint32_t;
// --- values of several kinds that carry an identity ---

struct large {
    std::array<id_type, 1024> words;
};

/// Its move may throw, as far as the compiler knows.
class brittle {
public:
    explicit brittle(id_type id) : id_(std::make_unique<id_type>(id)) {}
    brittle(brittle&& other) noexcept(false) : id_(std::move(other.id_)) {}
    brittle& operator=(brittle&& other) noexcept(false) {
        id_ = std::move(other.id_);
        return *this;
    }
    id_type id() const { return id_ ? *id_ : 0; }

private:
    std::unique_ptr<id_type> id_;
};

template <class T>
T make(id_type id) {
    if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(id);
    } else if constexpr (std::is_same_v<T, std::string>) {
        return "a string that has no room in the object itself: " + std::to_string(id);
    } else if constexpr (std::is_same_v<T, std::unique_ptr<id_type>>) {
        return std::make_unique<id_type>(id);
    } else if constexpr (std::is_same_v<T, large>) {
        large v;
        v.words.fill(id);
        return v;
    } else {
        return T(id);
    }
}

/// 0: it is none.
template <class T>
id_type identity(const T& v) {
    if constexpr (std::is_integral_v<T>) {
        return static_cast<id_type>(v);
    } else if constexpr (std::is_same_v<T, std::string>) {
        const auto colon = v.find(": ");
        return colon == v.npos ? 0 : static_cast<id_type>(std::stoul(v.substr(colon + 2)));
    } else if constexpr (std::is_same_v<T, std::unique_ptr<id_type>>) {
        return v ? *v : 0;
    } else if constexpr (std::is_same_v<T, large>) {
        for (const id_type word : v.words) {
            if (word != v.words[0]) {
                return 0;
            }
        }
        return v.words[0];
    } else {
        return v.id();
    }
}

// --- the account ---

struct totals {
    std::uint64_t programs = 0;
    std::uint64_t sent = 0;
    std::uint64_t kept = 0;
    std::uint64_t left = 0;  // in buffers, at the end
};

class account {
public:
    explicit account(std::size_t budget) : entries_(budget + 1) {}

    /// A new value, to be sent by `sender` on `channel`; 0: that is all.
    id_type next(std::size_t channel, std::uint32_t sender) {
        const std::size_t id = next_.fetch_add(1, std::memory_order_relaxed);
        if (id >= entries_.size()) {
            return 0;
        }
        // Not atomic: the channel itself must make these visible to the receiver.
        entries_[id].channel = static_cast<std::uint32_t>(channel);
        entries_[id].sender = sender;
        return static_cast<id_type>(id);
    }
    void sent(id_type id) { entries_[id].sent.fetch_add(1, std::memory_order_relaxed); }
    void kept(id_type id) { entries_[id].kept.fetch_add(1, std::memory_order_relaxed); }
    void wrong(const char* what, id_type id = 0) {
        std::printf("wrong: %s (value %u)\n", what, id);
        wrong_.fetch_add(1, std::memory_order_relaxed);
    }

    struct entry {
        std::uint32_t channel = 0;
        std::uint32_t sender = 0;
        std::atomic<std::uint8_t> sent{0};
        std::atomic<std::uint8_t> kept{0};
        std::atomic<std::uint8_t> received{0};
    };
    entry* find(id_type id) { return id == 0 || id >= entries_.size() ? nullptr : &entries_[id]; }

    /// exact: every sender and receiver could tell of its end.
    bool balances(totals& sum, bool exact) {
        const std::size_t used = std::min(next_.load(), entries_.size());
        for (std::size_t i = 1; i < used; ++i) {
            const entry& e = entries_[i];
            const auto id = static_cast<id_type>(i);
            if (e.received > 1) {
                wrong("received twice", id);
            } else if (e.sent + e.kept > 1 || (exact && e.sent + e.kept != 1)) {
                wrong("neither sent nor kept, or both", id);
            } else if (e.kept != 0 && e.received != 0) {
                wrong("kept and received", id);
            } else if (exact && e.sent != e.received) {
                wrong("lost", id);
            }
            sum.sent += e.sent;
            sum.kept += e.kept;
        }
        return wrong_ == 0;
    }

private:
    std::vector<entry> entries_;
    std::atomic<std::size_t> next_{1};
    std::atomic<int> wrong_{0};
};

/// Who receives: each sender's values come to it in the order of their sends.
class receiver {
public:
    explicit receiver(account& book) : book_(book) {}

    template <class T>
    void received(const T& value, std::size_t channel) {
        const id_type id = identity(value);
        account::entry* const e = book_.find(id);
        if (e == nullptr) {
            return book_.wrong("received what was never sent");
        }
        e->received.fetch_add(1, std::memory_order_relaxed);
        if (e->channel != channel) {
            return book_.wrong("received on another channel", id);
        }
        id_type& last = last_[{e->channel, e->sender}];
        if (id <= last) {
            book_.wrong("received out of order", id);
        }
        last = id;
    }

private:
    account& book_;
    std::map<std::pair<std::uint32_t, std::uint32_t>, id_type> last_;
};

// --- one program ---

template <class T>
class program {
public:
    /// late: the main task ends in the middle of it.
    program(std::uint32_t seed, totals& sum)
        : random_(seed), late_(random_() % 4 == 0), book_(60 + random_() % 1500), sum_(sum) {
        for (auto n = 1 + random_() % 6; n > 0; --n) {
            lines_.push_back(std::make_unique<line>());
        }
        shared_lines_ = lines_.size();
        for (auto n = random_() % 4; n > 0; --n) {
            lines_.push_back(std::make_unique<line>());
        }
    }
    program(const program&) = delete;
    program& operator=(const program&) = delete;

    bool run() {
        const unsigned cores = 1U << random_() % 3;
        const auto grace = late_ && random_() % 4 == 0 ? 0ms : 60'000ms;
        for (std::size_t at = 0; at < shared_lines_; ++at) {
            if (random_() % 4 == 0) {
                lines_[at]->c = chan<T>(random_() % 9);  // it has no home
            }
        }
        ringo::run([this]() -> task<> { co_await everything(); },
                   {.cores = cores, .shutdown_grace = grace});
        for (auto& l : lines_) {
            close(*l);  // of a run that has ended early
        }
        for (std::thread& t : threads_) {
            t.join();
        }
        receiver last(book_);
        for (std::size_t at = 0; at < lines_.size(); ++at) {
            if (lines_[at]->c && lines_[at]->closes != 1) {
                book_.wrong("not closed once");
            }
            while (auto v = lines_[at]->c.try_recv()) {
                last.received(*v, at);
                ++sum_.left;
            }
        }
        ++sum_.programs;
        return book_.balances(sum_, grace != 0ms);
    }

private:
    struct line {
        chan<T> c = nullptr;
        std::atomic<int> senders{0};
        std::atomic<int> closes{0};
    };

    static void close(line& l) {
        if (l.c) {
            try {
                l.c.close();
                ++l.closes;
            } catch (const ringo::channel_closed&) {
            }
        }
    }

    /// The right to send on a channel. The last one closes it.
    class share {
    public:
        share(program& p, std::size_t at) : line_(p.lines_[at].get()) { ++line_->senders; }
        share(share&& other) noexcept : line_(std::exchange(other.line_, nullptr)) {}
        share& operator=(share&&) = delete;
        ~share() {
            if (line_ != nullptr && --line_->senders == 0) {
                close(*line_);
            }
        }

    private:
        line* line_;
    };

    /// One goroutine or thread, to the account.
    struct party {
        explicit party(program& p)
            : number(++p.last_party_), random(p.seed_ + number * 2654435761U), in(p.book_) {}

        std::uint32_t number;
        generator random;
        receiver in;
    };

    enum class ended { ok, not_now, closed, over };

    std::size_t any_line(generator& random) const { return random() % shared_lines_; }

    static task<int> nap(ringo::duration d) {
        if (d > 2us) {
            co_await ringo::sleep(d);
        }
        co_return 7;
    }
    static task<> cancel_soon(std::shared_ptr<ringo::cancel_scope> scope, ringo::duration d) {
        co_await nap(d);
        scope->cancel();
    }
    /// A context that another goroutine cancels soon.
    static std::shared_ptr<ringo::cancel_scope> doomed(generator& random) {
        auto scope =
            std::make_shared<ringo::cancel_scope>(ringo::with_cancel(ringo::this_context()));
        ringo::go(somewhere(random), cancel_soon, scope, short_time(random));
        return scope;
    }

    /// What became of a value.
    void settle(id_type id, bool sent, const T& object) {
        if (id == 0) {
            return;
        }
        if (sent) {
            book_.sent(id);
        } else if (identity(object) == id) {
            book_.kept(id);
        } else {
            book_.wrong("not sent, but gone", id);
        }
    }
    ended how(std::error_code e) {
        if (e == ringo::errc::channel_closed) {
            return ended::closed;
        }
        if (e != std::errc::operation_canceled && e != std::errc::timed_out) {
            book_.wrong("an unexpected error");
        }
        return ended::not_now;
    }

    // Several ways to send `v`. Functions of their own, for compilers take long over large
    // coroutines. true: it was sent

    task<bool> send_plainly(chan<T> c, T& v, generator& random) {
        switch (random() % 4) {
            case 0:
                if constexpr (std::is_copy_constructible_v<T>) {
                    co_await c.send(std::as_const(v));
                    co_return true;
                }
                [[fallthrough]];
            case 1: {
                const auto r = co_await as_result(c.send(std::move(v)));
                if (!r) {
                    throw std::system_error(r.error());
                }
                co_return true;
            }
            case 2:
                co_return c.try_send(std::move(v));
            default:
                co_await c.send(std::move(v));
                co_return true;
        }
    }
    task<bool> send_in_time(chan<T> c, T& v, generator& random) {
        switch (random() % 4) {
            case 0:
                co_await ringo::timeout(short_time(random), c.send(std::move(v)));
                co_return true;
            case 1:
                co_await c.send_until(std::move(v), ringo::clock::now() + short_time(random));
                co_return true;
            case 2: {
                const auto scope = doomed(random);
                co_await ringo::within(*scope, c.send(std::move(v)));
                co_return true;
            }
            default:
                if (!late_) {
                    co_await ringo::shield(c.send(std::move(v)));
                    co_return true;
                }
                co_return false;
        }
    }
    task<bool> send_by_select(chan<T> c, T& v, generator& random) {
        if (random() % 4 == 0) {
            const auto r = co_await select(c.send(std::move(v)), otherwise);
            co_return r.index() == 0;
        }
        const auto scope = doomed(random);
        auto h = spawn(somewhere(random), nap, short_time(random));
        const auto r = co_await select(h, c.send(std::move(v)), scope->ctx().done(),
                                       ringo::sleep(short_time(random)));
        co_return r.index() == 1;
    }

    /// Sends one value, or fails to. throws: when the goroutine is cancelled
    task<ended> send_one(party& me, std::size_t at) {
        const id_type id = book_.next(at, me.number);
        if (id == 0) {
            co_return ended::over;
        }
        using way = task<bool> (program::*)(chan<T>, T&, generator&);
        constexpr way ways[] = {&program::send_plainly, &program::send_in_time,
                                &program::send_by_select};
        T v = make<T>(id);
        bool sent = false;
        ended end = ended::not_now;
        try {
            sent = co_await (this->*ways[me.random() % 3])(lines_[at]->c, v, me.random);
        } catch (const std::system_error& e) {
            end = how(e.code());
        }
        settle(id, sent, v);
        if (!sent && end == ended::not_now) {
            co_await yield();  // throws if it is this goroutine that was cancelled
        }
        co_return sent ? ended::ok : end;
    }

    // ... and to receive.

    /// Nothing, by no fault of the channel.
    [[noreturn]] static void not_now() {
        throw std::system_error(std::make_error_code(std::errc::timed_out));
    }
    task<std::optional<T>> recv_plainly(chan<T> c, generator& random) {
        switch (random() % 4) {
            case 0: {
                auto r = co_await as_result(c.recv());
                if (!r) {
                    throw std::system_error(r.error());
                }
                co_return *std::move(r);
            }
            case 1: {
                auto r = c.try_recv();
                if (r) {
                    co_return *std::move(r);
                }
                if (r.error() == ringo::errc::would_block) {
                    not_now();
                }
                co_return std::nullopt;
            }
            default:
                co_return co_await c.recv();
        }
    }
    task<std::optional<T>> recv_in_time(chan<T> c, generator& random) {
        switch (random() % 4) {
            case 0:
                co_return co_await ringo::timeout(short_time(random), c.recv());
            case 1:
                co_return co_await c.recv_until(ringo::clock::now() + short_time(random));
            case 2: {
                const auto scope = doomed(random);
                co_return co_await ringo::within(*scope, c.recv());
            }
            default:
                if (late_) {
                    not_now();
                }
                co_return co_await ringo::shield(c.recv());
        }
    }
    task<std::optional<T>> recv_by_select(chan<T> c, generator& random) {
        if (random() % 4 == 0) {
            auto r = co_await select(c.recv(), otherwise);
            if (r.index() != 0) {
                not_now();
            }
            co_return std::get<0>(std::move(r));
        }
        const auto scope = doomed(random);
        auto h = spawn(somewhere(random), nap, short_time(random));
        auto r = co_await select(ringo::sleep(short_time(random)), c.recv(), h,
                                 ringo::this_context().done(), scope->ctx().done());
        if (r.index() == 2 && std::get<2>(r) != 7) {
            book_.wrong("a join arm's value");
        }
        if (r.index() != 1) {
            not_now();
        }
        co_return std::get<1>(std::move(r));
    }

    /// Receives one value, or fails to. throws: when the goroutine is cancelled
    task<ended> recv_one(party& me, std::size_t at) {
        using way = task<std::optional<T>> (program::*)(chan<T>, generator&);
        constexpr way ways[] = {&program::recv_plainly, &program::recv_in_time,
                                &program::recv_by_select};
        std::optional<T> v;
        ended end = ended::closed;
        try {
            v = co_await (this->*ways[me.random() % 3])(lines_[at]->c, me.random);
        } catch (const std::system_error& e) {
            end = how(e.code());
        }
        if (v) {
            me.in.received(*v, at);
            co_return ended::ok;
        }
        if (end == ended::not_now) {
            co_await yield();
        }
        co_return end;
    }

    // --- goroutines ---

    task<> produce(std::size_t at, share) {
        party me(*this);
        for (auto left = me.random() % 80; left > 0; --left) {
            const ended e = co_await send_one(me, at);
            if (e == ended::closed || e == ended::over) {
                break;
            }
        }
    }

    /// Until it is closed, as the last one who receives.
    task<> consume(std::size_t at) {
        party me(*this);
        while (co_await recv_one(me, at) != ended::closed) {
        }
    }

    /// ... from many channels.
    task<> consume_all(std::vector<std::size_t> from) {
        party me(*this);
        std::vector<chan<T>> c;
        for (const std::size_t at : from) {
            c.push_back(lines_[at]->c);
        }
        // Also more than what needs no allocation, and the same channel more than once.
        for (auto more = me.random() % 3 * 8; more > 0; --more) {
            from.push_back(from[me.random() % from.size()]);
            c.push_back(lines_[from.back()]->c);
        }
        for (std::size_t open = c.size(); open > 0;) {
            std::optional<std::pair<std::size_t, std::optional<T>>> r;
            try {
                if (me.random() % 3 == 0) {
                    r = co_await ringo::timeout(short_time(me.random),
                                                select(std::span<chan<T>>(c)));
                } else {
                    r = co_await select(std::span<chan<T>>(c));
                }
            } catch (const std::system_error& e) {
                how(e.code());
            }
            if (!r) {
                co_await yield();
            } else if (r->second) {
                me.in.received(*r->second, from[r->first]);
            } else {
                c[r->first] = nullptr;
                --open;
            }
        }
    }

    task<> take_some(std::size_t at) {
        party me(*this);
        for (auto left = me.random() % 60; left > 0; --left) {
            if (co_await recv_one(me, at) == ended::closed) {
                break;
            }
        }
    }

    /// A stage of a pipeline; it leads to a later channel, so that the closes come through.
    task<> relay(std::size_t from, std::size_t to, share) {
        party me(*this);
        for (ended e = ended::ok; e != ended::closed;) {
            e = co_await recv_one(me, from);
            if (e == ended::ok) {
                co_await send_one(me, to);
            }
        }
    }

    /// Sends and receives on whatever is ready. One of its sends can always be done in the end.
    task<> mix(std::size_t a, std::size_t b, share, share) {
        party me(*this);
        generator& random = me.random;
        for (auto left = random() % 60; left > 0; --left) {
            const std::size_t x = any_line(random);
            const std::size_t y = any_line(random);
            const chan<T> to_a = lines_[a]->c.closed() ? chan<T>(nullptr) : lines_[a]->c;
            const chan<T> to_b = lines_[b]->c.closed() ? chan<T>(nullptr) : lines_[b]->c;
            const chan<T> from_x = random() % 4 == 0 ? chan<T>(nullptr) : lines_[x]->c;
            const chan<T> from_y = lines_[y]->c;
            const id_type v_id = book_.next(a, me.number);
            const id_type u_id = book_.next(b, me.number);
            T v = make<T>(v_id);
            T u = make<T>(u_id);
            if (u_id == 0) {
                settle(v_id, false, v);
                break;
            }
            bool v_sent = false;
            bool u_sent = false;
            std::optional<T> got;
            std::size_t got_from = x;
            try {
                // Without a send that can be done it might wait for itself.
                const auto limit = to_a || to_b ? 1h : short_time(random);
                auto r =
                    co_await select(to_a.send(std::move(v)), from_y.recv(), to_b.send(std::move(u)),
                                    ringo::sleep(limit), from_x.recv());
                v_sent = r.index() == 0;
                u_sent = r.index() == 2;
                if (r.index() == 4) {
                    got = std::get<4>(std::move(r));
                } else if (r.index() == 1) {
                    got = std::get<1>(std::move(r));
                    got_from = y;
                }
            } catch (const std::system_error& e) {
                how(e.code());
            }
            settle(v_id, v_sent, v);
            settle(u_id, u_sent, u);
            if (got) {
                me.in.received(*got, got_from);
            }
            co_await yield();
        }
    }

    task<> close_soon(std::size_t at) {
        party me(*this);
        co_await nap(short_time(me.random) * 4);
        close(*lines_[at]);
    }

    /// A channel that begins on one core, and is given to others in the middle of it.
    task<> found(std::size_t at) {
        party me(*this);
        lines_[at]->c = chan<T>(me.random() % 9);
        share mine(*this, at);
        auto consumer = spawn(me.random() % 4 == 0 ? somewhere(me.random) : ringo::place(),
                              &program::consume, this, at);
        ringo::go(&program::produce, this, at, share(*this, at));
        for (auto left = me.random() % 30; left > 0; --left) {
            co_await send_one(me, at);
        }
        if (me.random() % 2 == 0) {
            ringo::go(somewhere(me.random), &program::take_some, this, at);
        }
        if (me.random() % 2 == 0) {
            ringo::go(somewhere(me.random), &program::produce, this, at, share(*this, at));
        }
        if (me.random() % 3 == 0) {
            me.random() % 2 == 0 ? produce_on_thread(at) : consume_on_thread(at);
        }
        for (auto left = me.random() % 30; left > 0; --left) {
            co_await send_one(me, at);
        }
        { const share gone(std::move(mine)); }
        co_await consumer;
    }

    // --- channels that are dropped ---

    struct pair_of_channels {
        std::array<chan<T>, 2> c{chan<T>(), chan<T>()};
        std::array<id_type, 2> sends{};  // what is sent, by whom waits or by who dropped them
    };
    static constexpr std::size_t dropped = 1'000'000;  // channels that are not in lines_

    /// Waits in channels whose handles go meanwhile.
    task<> wait_on(std::shared_ptr<pair_of_channels> p, unsigned way) {
        party me(*this);
        std::optional<T> got;
        std::size_t from = dropped;
        T v = make<T>(p->sends[0]);
        bool sent = false;
        try {
            if (way == 0) {
                got = co_await p->c[0].recv();
            } else if (way == 1) {
                auto r = co_await select(p->c[0].recv(), p->c[1].recv());
                from += r.index();
                got = r.index() == 0 ? std::get<0>(std::move(r)) : std::get<1>(std::move(r));
            } else if (way == 2) {
                co_await p->c[0].send(std::move(v));
                sent = true;
            } else {
                auto r = co_await select(p->c[0].send(std::move(v)), p->c[1].recv());
                sent = r.index() == 0;
                if (!sent) {
                    got = std::get<1>(std::move(r));
                    from += 1;
                }
            }
        } catch (const std::system_error& e) {
            how(e.code());
        }
        if (way >= 2) {
            settle(p->sends[0], sent, v);
        }
        if (got) {
            me.in.received(*got, from);
        }
    }

    task<> drop_channels() {
        party me(*this);
        generator& random = me.random;
        auto p = std::make_shared<pair_of_channels>();
        const unsigned way = random() % 4;
        const std::size_t core = random() % ringo::cores();
        p->sends = {book_.next(dropped, me.number), book_.next(dropped + 1, me.number)};
        if (p->sends[1] == 0) {
            settle(p->sends[0], false, make<T>(p->sends[0]));
            co_return;
        }
        auto scope =
            std::make_shared<ringo::cancel_scope>(ringo::with_cancel(ringo::this_context()));
        auto waits = spawn(ringo::on(core).with(*scope), &program::wait_on, this, p, way);
        auto after = spawn(ringo::on(core), nap, 0us);
        const auto now_it_waits = co_await as_result(after);
        if (!now_it_waits) {
            settle(way < 2 ? p->sends[0] : 0, false, make<T>(p->sends[0]));
            settle(p->sends[1], false, make<T>(p->sends[1]));
            co_return;
        }
        if (random() % 2 == 0) {
            ringo::go(ringo::on(core), cancel_soon, scope, 0us);
        }
        T first = make<T>(p->sends[0]);
        T second = make<T>(p->sends[1]);
        bool first_sent = false;
        bool second_sent = false;
        for (auto left = random() % 3; left > 0; --left) {
            if (random() % 2 == 0 && !second_sent) {
                second_sent = p->c[1].try_send(std::move(second));
            } else if (way < 2 && !first_sent) {
                first_sent = p->c[0].try_send(std::move(first));
            } else if (way >= 2) {
                if (auto r = p->c[0].try_recv()) {
                    me.in.received(*r, dropped);
                }
            }
        }
        if (way < 2) {
            settle(p->sends[0], first_sent, first);
        }
        settle(p->sends[1], second_sent, second);
        if (random() % 4 == 0) {
            p->c[random() % 2].close();
        }
        p->c[0] = nullptr;
        p->c[1] = nullptr;
        if (random() % 2 == 0) {
            co_await yield();
        }
        scope->cancel();
        co_await waits;
    }

    // --- threads that are no cores ---

    void on_thread(std::function<void()> f) {
        const std::lock_guard guard(threads_lock_);
        threads_.emplace_back(std::move(f));
    }
    void produce_on_thread(std::size_t at) {
        on_thread([this, at, s = std::make_shared<share>(*this, at)] {
            party me(*this);
            const chan<T> c = lines_[at]->c;
            bool open = true;
            for (auto left = me.random() % 60; open && left > 0; --left) {
                const id_type id = book_.next(at, me.number);
                if (id == 0) {
                    return;
                }
                bool sent = false;
                try {
                    if (me.random() % 2 == 0) {
                        c.send_blocking(make<T>(id));
                        sent = true;
                    } else {
                        sent = c.try_send(make<T>(id));
                    }
                } catch (const ringo::channel_closed&) {
                    open = false;
                }
                sent ? book_.sent(id) : book_.kept(id);
            }
        });
    }
    void consume_on_thread(std::size_t at) {
        on_thread([this, at] {
            party me(*this);
            const chan<T> c = lines_[at]->c;
            for (bool open = true; open;) {
                std::optional<T> v;
                if (me.random() % 4 == 0) {
                    if (auto r = c.try_recv()) {
                        v = *std::move(r);
                    }
                } else {
                    v = c.recv_blocking();
                    open = v.has_value();
                }
                if (v) {
                    me.in.received(*v, at);
                }
            }
        });
    }

    // --- all of it ---

    task<> make_channels() {
        for (std::size_t at = 0; at < shared_lines_; ++at) {
            if (!lines_[at]->c) {
                auto made = spawn(
                    somewhere(random_),
                    [](std::size_t n) -> task<chan<T>> { co_return chan<T>(n); }, random_() % 9);
                lines_[at]->c = co_await made;
            }
        }
    }

    /// Each channel gets who receives until it is closed.
    void start_consumers() {
        std::vector<std::size_t> together;
        for (std::size_t at = 0; at < shared_lines_; ++at) {
            switch (random_() % 5) {
                case 0:
                    consume_on_thread(at);
                    break;
                case 1:
                case 2:
                    together.push_back(at);
                    break;
                default:
                    ringo::go(somewhere(random_), &program::consume, this, at);
                    break;
            }
        }
        if (!together.empty()) {
            ringo::go(somewhere(random_), &program::consume_all, this, together);
        }
    }

    void start_one(ringo::place where, std::vector<ringo::join_handle<void>>& handles) {
        const std::size_t a = any_line(random_);
        const std::size_t b = any_line(random_);
        switch (random_() % 9) {
            case 0:
                produce_on_thread(a);
                break;
            case 1:
                handles.push_back(spawn(where, &program::take_some, this, a));
                break;
            case 2:
                if (a != b) {
                    handles.push_back(spawn(where, &program::relay, this, std::min(a, b),
                                            std::max(a, b), share(*this, std::max(a, b))));
                    break;
                }
                [[fallthrough]];
            case 3:
            case 4:
                handles.push_back(
                    spawn(where, &program::mix, this, a, b, share(*this, a), share(*this, b)));
                break;
            case 5:
                for (auto n = random_() % 4; n > 0; --n) {
                    ringo::go(somewhere(random_), &program::drop_channels, this);
                }
                break;
            default:
                handles.push_back(spawn(where, &program::produce, this, a, share(*this, a)));
                break;
        }
    }

    task<> everything() {
        co_await make_channels();
        std::vector<share> starting;  // nothing ends before all have begun
        for (std::size_t at = 0; at < shared_lines_; ++at) {
            starting.emplace_back(*this, at);
        }
        start_consumers();
        for (std::size_t at = shared_lines_; at < lines_.size(); ++at) {
            ringo::go(somewhere(random_), &program::found, this, at);
        }
        auto group = ringo::with_timeout(ringo::this_context(), short_time(random_) * 4);
        std::vector<ringo::join_handle<void>> handles;
        for (auto n = 2 + random_() % 8; n > 0; --n) {
            const auto where = somewhere(random_);
            start_one(random_() % 4 == 0 ? where.with(group) : where, handles);
            if (random_() % 8 == 0) {
                ringo::go(somewhere(random_), &program::close_soon, this, any_line(random_));
            }
        }
        starting.clear();
        if (late_) {
            co_await nap(short_time(random_) * 2);
            co_return;
        }
        for (auto& h : handles) {
            if (random_() % 4 == 0) {
                co_await nap(short_time(random_));
                h.cancel();
            }
        }
        for (auto& h : handles) {
            const auto joins = [](ringo::join_handle<void>& j) -> task<> { co_await j; };
            const auto r = co_await as_result(joins(h));
            if (!r) {
                how(r.error());
            }
        }
        while (ringo::num_goroutines() > 1) {
            co_await ringo::sleep(50us);
        }
    }

    generator random_;
    const std::uint32_t seed_ = random_();
    const bool late_;
    account book_;
    totals& sum_;
    std::vector<std::unique_ptr<line>> lines_;
    std::size_t shared_lines_ = 0;  // the first ones; the others are made by `found`
    std::mutex threads_lock_;
    std::vector<std::thread> threads_;
    std::atomic<std::uint32_t> last_party_{0};
};

#ifdef __SANITIZE_ADDRESS__  // g++, which takes half a minute for each
using kinds = std::tuple<std::string, brittle>;
#else
using kinds = std::tuple<int, std::unique_ptr<id_type>, brittle, large>;
#endif

template <std::size_t... I>
bool run_program(std::uint32_t seed, totals& sum, std::index_sequence<I...>) {
    return (
        (seed % sizeof...(I) == I && program<std::tuple_element_t<I, kinds>>(seed, sum).run()) ||
        ...);
}
bool run_program(std::uint32_t seed, totals& sum) {
    return run_program(seed, sum, std::make_index_sequence<std::tuple_size_v<kinds>>());
}

}  // namespace

TEST_CASE("every_value_is_accounted_for") {
    const auto scale = test::stress_scale();
    const std::uint32_t first = test::stress_seed();
    totals sum;
    test::watchdog dog;
    for (std::uint32_t i = 0; i < 800 * scale; ++i) {
        dog.begins(first + i);
        INFO("RINGO_SEED=", first + i);
        REQUIRE(run_program(first + i, sum));
    }
    std::printf(
        "%llu programs: %llu values sent (%llu left in buffers), %llu kept\n",
        static_cast<unsigned long long>(sum.programs), static_cast<unsigned long long>(sum.sent),
        static_cast<unsigned long long>(sum.left), static_cast<unsigned long long>(sum.kept));
    CHECK(sum.sent > 0);
    CHECK(sum.kept > 0);
}
