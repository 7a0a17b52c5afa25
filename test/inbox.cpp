#include <doctest/doctest.h>

#include "inbox.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

namespace {

struct node {
    node* next = nullptr;
    std::size_t producer = 0;
    std::size_t number = 0;
};

using node_inbox = ringo::detail::inbox<node>;

}  // namespace

TEST_CASE("take_gives_everything_oldest_first") {
    node_inbox box;
    CHECK(box.empty());
    CHECK(box.take() == nullptr);
    node nodes[5];
    for (node& n : nodes) {
        box.push(n);
    }
    CHECK_FALSE(box.empty());
    const node* n = box.take();
    for (const node& expected : nodes) {
        CHECK(n == &expected);
        n = n->next;
    }
    CHECK(n == nullptr);
    CHECK(box.empty());
    CHECK(box.take() == nullptr);
}

TEST_CASE("a_node_may_be_pushed_again_once_it_is_taken") {
    node_inbox box;
    node n;
    for (int i = 0; i < 10; ++i) {
        box.push(n);
        CHECK(box.take() == &n);
        CHECK(n.next == nullptr);
    }
}

TEST_CASE("many_threads_push_and_nothing_is_lost_doubled_or_out_of_order") {
    constexpr std::size_t producers = 4;
    constexpr std::size_t each = 20'000;
    node_inbox box;
    std::vector<std::unique_ptr<node[]>> nodes;
    std::vector<std::thread> threads;
    for (std::size_t p = 0; p < producers; ++p) {
        nodes.push_back(std::make_unique<node[]>(each));
        threads.emplace_back([&box, mine = nodes.back().get(), p] {
            for (std::size_t i = 0; i < each; ++i) {
                mine[i].producer = p;
                mine[i].number = i;
                box.push(mine[i]);
            }
        });
    }
    std::size_t expected[producers] = {};
    std::size_t wrong = 0;
    for (std::size_t taken = 0; taken < producers * each;) {
        node* n = box.take();
        if (n == nullptr) {
            std::this_thread::yield();
        }
        for (; n != nullptr; n = n->next, ++taken) {
            wrong += n->number == expected[n->producer]++ ? 0 : 1;
        }
    }
    for (auto& t : threads) {
        t.join();
    }
    CHECK(wrong == 0);
    CHECK(box.empty());
}

TEST_CASE("a_consumer_that_says_it_sleeps_misses_no_push") {
    // The protocol of a core and its wakers: push, then look whether it sleeps; say that one
    // sleeps, then look for what was pushed. A loss would leave the consumer waiting for ever.
    node_inbox box;
    std::atomic<bool> asleep = false;
    std::atomic<int> woken = 0;
    constexpr int rounds = 50'000;
    std::vector<node> nodes(rounds);
    std::atomic<int> taken = 0;
    std::thread producer([&] {
        for (int i = 0; i < rounds; ++i) {
            box.push(nodes[static_cast<std::size_t>(i)]);
            if (asleep.load(std::memory_order_seq_cst) && asleep.exchange(false)) {
                woken.fetch_add(1);
                woken.notify_one();
            }
            while (i % 16 == 0 && taken.load() <= i) {
                std::this_thread::yield();
            }
        }
    });
    while (taken < rounds) {
        const int before = woken.load();
        asleep.store(true, std::memory_order_seq_cst);
        if (box.empty()) {
            woken.wait(before);
        }
        asleep.store(false);
        for (const node* n = box.take(); n != nullptr; n = n->next) {
            ++taken;
        }
    }
    producer.join();
    CHECK(taken == rounds);
}
