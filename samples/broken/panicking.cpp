// An exception that nobody awaits.
#include "broken.hpp"

#include <ringo/go.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <map>
#include <string>

namespace {

ringo::task<int> price_of(std::string item) {
    static const std::map<std::string, int> prices{{"tea", 3}};
    co_await ringo::sleep(std::chrono::milliseconds(1));
    co_return prices.at(item);  // wrong: not all are there
}

ringo::task<> sell(std::string item) { co_await price_of(item); }

}  // namespace

ringo::task<> panicking() {
    ringo::go(sell, std::string("coffee"));
    co_await ringo::sleep(std::chrono::seconds(10));
}
