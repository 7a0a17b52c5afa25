// A wake-up seems to be lost: it came before there was anybody to wake.
#include "broken.hpp"

#include <ringo/condition_variable.hpp>
#include <ringo/debug.hpp>
#include <ringo/go.hpp>
#include <ringo/mutex.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <memory>

namespace {

struct queue {
    ringo::mutex lock;
    ringo::condition_variable changed;
    int items = 0;
};

ringo::task<> consume(std::shared_ptr<queue> q) {
    auto guard = co_await q->lock.lock();
    co_await q->changed.wait(guard);  // wrong: without asking whether there is an item already
    --q->items;
}

ringo::task<> produce(std::shared_ptr<queue> q) {
    const auto guard = co_await q->lock.lock();
    ++q->items;
    q->changed.notify_one();
}

}  // namespace

ringo::task<> lost_wake_up() {
    const auto q = std::make_shared<queue>();
    ringo::go(produce, q);
    ringo::go(consume, q);
    co_await ringo::sleep(std::chrono::milliseconds(20));
    ringo::debug::print();
}
