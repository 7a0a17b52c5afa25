// What gdb.sh looks at: three goroutines that wait, one that ends the program.
#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <cstdlib>

namespace {

ringo::task<int> inner(ringo::chan<int> c) { co_return (co_await c.recv()).value_or(0); }

ringo::task<> outer(ringo::chan<int> c) { co_await inner(c); }

ringo::task<> sleeper() { co_await ringo::sleep(std::chrono::hours(1)); }

ringo::task<> co_main() {
    const ringo::chan<int> c;
    ringo::go(outer, c);
    ringo::go(sleeper);
    co_await ringo::yield();
    ringo::go(sleeper);
    std::abort();
}

}  // namespace

int main() { ringo::run(co_main(), {.cores = 1}); }
