// A request that takes long: where does its time go?
#include "broken.hpp"

#include <ringo/debug.hpp>
#include <ringo/go.hpp>
#include <ringo/mutex.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <memory>

namespace {

ringo::task<> write_to_disk() { co_await ringo::sleep(std::chrono::seconds(10)); }

ringo::task<> save(std::shared_ptr<ringo::mutex> journal) {
    const auto guard = co_await journal->lock();
    co_await write_to_disk();  // wrong: under the lock
}

ringo::task<> look_up(std::shared_ptr<ringo::mutex> journal) {
    const auto guard = co_await journal->lock();
}

ringo::task<> handle(std::shared_ptr<ringo::mutex> journal) { co_await look_up(journal); }

}  // namespace

ringo::task<> slow_request() {
    const auto journal = std::make_shared<ringo::mutex>();
    ringo::go(save, journal);
    ringo::go(handle, journal);
    co_await ringo::sleep(std::chrono::milliseconds(50));
    ringo::debug::print();
}
