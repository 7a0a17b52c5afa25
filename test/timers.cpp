// lib/timers.hpp against a plain ordered list.
#include <doctest/doctest.h>

#include "timers.hpp"

#include <ringo/time.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

using ringo::detail::timer_entry;
using ringo::detail::timer_wheel;
using ringo::detail::wait;
using ringo::detail::wait_type;

namespace {

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t hour = 3600 * 1000 * ms;

struct test_timer : timer_entry {
    explicit test_timer(std::vector<test_timer*>& out) : timer_entry(type_of_tests), fired(&out) {}

    static void note(wait& w) noexcept {
        auto& self = static_cast<test_timer&>(w);
        self.fired->push_back(&self);
    }
    static constexpr wait_type type_of_tests{"test", nullptr, &note};

    std::vector<test_timer*>* fired;
};

/// Fires all that is due, however many one call takes.
void expire_all(timer_wheel& wheel, std::int64_t now) {
    do {
        wheel.expire(now);
    } while (wheel.next_ns() <= now && !wheel.empty());
}

/// A wheel, and the list that it must agree with.
class checked_wheel {
public:
    explicit checked_wheel(std::uint64_t seed) : random_(seed) {}

    void add() {
        if (free_.empty()) {
            owned_.push_back(std::make_unique<test_timer>(fired_));
            free_.push_back(owned_.back().get());
        }
        test_timer& t = *free_.back();
        free_.pop_back();
        t.deadline_ns = random_deadline();
        const std::int64_t deadline = std::max<std::int64_t>(t.deadline_ns, 0);
        wheel_.add(t);
        REQUIRE(t.deadline_ns == deadline);
        model_.emplace(deadline, &t);
    }

    void remove() {
        if (model_.empty()) {
            return;
        }
        auto it = model_.lower_bound(random_deadline());
        if (it == model_.end()) {
            it = model_.begin();
        }
        wheel_.remove(*it->second);
        wheel_.remove(*it->second);  // not among them any more: nothing happens
        free_.push_back(it->second);
        model_.erase(it);
    }

    void advance() {
        now_ += std::int64_t(random_() % (std::uint64_t{1} << (random_() % 44)));
        if (random_() % 8 == 0 && !model_.empty()) {
            now_ = std::max(now_, std::min(wheel_.next_ns(), std::int64_t{1} << 61));
        }
        fired_.clear();
        expire_all(wheel_, now_);
        REQUIRE(std::is_sorted(fired_.begin(), fired_.end(), [](test_timer* a, test_timer* b) {
            return a->deadline_ns < b->deadline_ns;
        }));
        for (test_timer* const t : fired_) {
            // Among equal deadlines any order will do.
            auto [it, end] = model_.equal_range(t->deadline_ns);
            while (it != end && it->second != t) {
                ++it;
            }
            REQUIRE(it != end);
            REQUIRE(it->first <= now_);
            model_.erase(it);
            free_.push_back(t);
        }
        REQUIRE((model_.empty() || model_.begin()->first > now_));
    }

    void check() const {
        REQUIRE(wheel_.count() == model_.size());
        REQUIRE(wheel_.empty() == model_.empty());
        if (model_.empty()) {
            REQUIRE(wheel_.next_ns() == timer_wheel::never);
        } else {
            REQUIRE(wheel_.next_ns() <= model_.begin()->first);
        }
    }

    std::size_t size() const { return model_.size(); }
    std::uint64_t pick(std::uint64_t n) { return random_() % n; }

private:
    std::int64_t random_deadline() {
        switch (random_() % 8) {
            case 0:
                return now_;
            case 1:
                return now_ - std::int64_t(random_() % (std::uint64_t{1} << 40));
            case 2:
                return timer_wheel::never - std::int64_t(random_() % 3);
            case 3:
                return now_ + std::int64_t(random_() % 4) * 65536;  // where ticks begin
            case 4:
                return ((now_ >> 20) + 1) << 20;  // many share it
            default:
                return now_ + std::int64_t(random_() % (std::uint64_t{1} << (random_() % 60)));
        }
    }

    std::mt19937_64 random_;
    timer_wheel wheel_;
    std::int64_t now_ = 0;
    std::multimap<std::int64_t, test_timer*> model_;
    std::vector<std::unique_ptr<test_timer>> owned_;
    std::vector<test_timer*> free_;
    std::vector<test_timer*> fired_;
};

std::uint64_t given_seed() {
    const char* const text = std::getenv("RINGO_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
}

}  // namespace

TEST_CASE("agrees_with_an_ordered_list_whatever_happens") {
    const std::uint64_t first = given_seed();
    for (std::uint64_t seed = first; seed < first + 200; ++seed) {
        INFO("RINGO_SEED=" << seed);
        checked_wheel w(seed);
        const std::uint64_t size_max = 1 + w.pick(2000);
        for (int step = 0; step < 2000; ++step) {
            const std::uint64_t what = w.pick(10);
            if (what < 6 && w.size() < size_max) {
                w.add();
            } else if (what < 8) {
                w.remove();
            } else {
                w.advance();
            }
            w.check();
        }
    }
}

TEST_CASE("nothing_fires_early_or_late_to_the_nanosecond") {
    std::vector<test_timer*> fired;
    for (const std::int64_t deadline :
         {std::int64_t{1}, std::int64_t{65535}, std::int64_t{65536}, std::int64_t{65537}, ms,
          hour + 1, 1000 * hour, std::int64_t{1} << 62, timer_wheel::never - 1}) {
        timer_wheel wheel;
        test_timer t(fired);
        t.deadline_ns = deadline;
        wheel.add(t);
        fired.clear();
        expire_all(wheel, deadline - 1);
        CHECK(fired.empty());
        expire_all(wheel, deadline);
        CHECK(fired.size() == 1);
        CHECK(wheel.empty());
    }
}

TEST_CASE("the_past_is_due_at_once_and_the_end_of_time_never") {
    std::vector<test_timer*> fired;
    timer_wheel wheel;
    expire_all(wheel, hour);
    test_timer negative(fired);
    negative.deadline_ns = std::numeric_limits<std::int64_t>::min();
    wheel.add(negative);
    test_timer past(fired);
    past.deadline_ns = hour - 1;
    wheel.add(past);
    test_timer never(fired);
    never.deadline_ns = timer_wheel::never;
    wheel.add(never);
    CHECK(wheel.next_ns() <= hour);
    expire_all(wheel, hour);
    CHECK(fired == std::vector<test_timer*>{&negative, &past});
    expire_all(wheel, std::int64_t{1} << 62);
    CHECK(wheel.count() == 1);
    CHECK(wheel.next_ns() > std::int64_t{1} << 62);
    expire_all(wheel, timer_wheel::never);  // the end of a run
    CHECK(wheel.empty());
}

TEST_CASE("thousands_with_one_deadline_all_fire_with_it") {
    std::vector<test_timer*> fired;
    timer_wheel wheel;
    std::vector<std::unique_ptr<test_timer>> timers;
    for (int i = 0; i < 5000; ++i) {
        timers.push_back(std::make_unique<test_timer>(fired));
        timers.back()->deadline_ns = hour;
        wheel.add(*timers.back());
    }
    expire_all(wheel, hour - 1);
    CHECK(fired.empty());
    expire_all(wheel, hour);
    CHECK(fired.size() == 5000);
    std::sort(fired.begin(), fired.end());
    CHECK(std::unique(fired.begin(), fired.end()) == fired.end());
}

TEST_CASE("one_call_of_expire_fires_the_earliest_first_and_leaves_the_rest_due") {
    std::vector<test_timer*> fired;
    timer_wheel wheel;
    std::vector<std::unique_ptr<test_timer>> timers;
    for (int i = 0; i < 1000; ++i) {
        timers.push_back(std::make_unique<test_timer>(fired));
        timers.back()->deadline_ns = ms * ((i * 7919) % 1000);
        wheel.add(*timers.back());
    }
    while (!wheel.empty()) {
        const std::size_t before = fired.size();
        CHECK(wheel.next_ns() <= hour);
        wheel.expire(hour);
        CHECK(fired.size() > before);
    }
    for (std::size_t i = 0; i < fired.size(); ++i) {
        CHECK(fired[i]->deadline_ns == ms * static_cast<std::int64_t>(i));
    }
}

TEST_CASE("a_timer_added_while_others_fire_fires_in_its_turn") {
    static timer_wheel* wheel_of_test;
    static test_timer* added;
    struct adder {
        static void fire(wait& w) noexcept {
            test_timer::note(w);
            added->deadline_ns = static_cast<test_timer&>(w).deadline_ns + 1;
            wheel_of_test->add(*added);
        }
    };
    static constexpr wait_type adds{"adds", nullptr, &adder::fire};
    std::vector<test_timer*> fired;
    timer_wheel wheel;
    test_timer first(fired);
    first.type = &adds;
    first.deadline_ns = hour;
    test_timer second(fired);
    test_timer third(fired);
    third.deadline_ns = hour + 2;
    wheel_of_test = &wheel;
    added = &second;
    wheel.add(third);
    wheel.add(first);
    expire_all(wheel, 2 * hour);
    CHECK(fired == std::vector<test_timer*>{&first, &second, &third});
}

TEST_CASE("removing_while_others_fire_is_seen") {
    static timer_wheel* wheel_of_test;
    static test_timer* victim;
    struct remover {
        static void fire(wait& w) noexcept {
            test_timer::note(w);
            wheel_of_test->remove(*victim);
        }
    };
    static constexpr wait_type removes{"removes", nullptr, &remover::fire};
    std::vector<test_timer*> fired;
    timer_wheel wheel;
    test_timer first(fired);
    first.type = &removes;
    first.deadline_ns = hour;
    test_timer second(fired);
    second.deadline_ns = hour + 1;
    wheel_of_test = &wheel;
    victim = &second;
    wheel.add(second);
    wheel.add(first);
    expire_all(wheel, 2 * hour);
    CHECK(fired == std::vector<test_timer*>{&first});
    CHECK(wheel.empty());
}

TEST_CASE("a_removed_timer_may_be_added_again_earlier_or_later") {
    std::vector<test_timer*> fired;
    timer_wheel wheel;
    test_timer moved(fired);
    test_timer fixed(fired);
    fixed.deadline_ns = hour;
    wheel.add(fixed);
    moved.deadline_ns = 2 * hour;
    wheel.add(moved);
    wheel.remove(moved);
    moved.deadline_ns = hour / 2;
    wheel.add(moved);
    expire_all(wheel, hour / 2);
    CHECK(fired == std::vector<test_timer*>{&moved});
    moved.deadline_ns = hour - 1;
    wheel.add(moved);
    wheel.remove(moved);
    moved.deadline_ns = hour + 1;
    wheel.add(moved);
    expire_all(wheel, 2 * hour);
    CHECK(fired == std::vector<test_timer*>{&moved, &fixed, &moved});
}
