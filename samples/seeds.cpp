#include <ringo/ringo.hpp>
#include <ringo/test.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <stdexcept>

using namespace std::chrono_literals;

// An order is shipped after an hour. It is cancelled within that hour, but only just.
ringo::task<> cancel_in_time() {
    bool cancelled = false;
    bool shipped = false;
    auto shipping = ringo::spawn([&]() -> ringo::task<> {
        co_await ringo::sleep(1h);
        shipped = !cancelled;
    });
    co_await ringo::sleep(1h);
    cancelled = true;
    co_await shipping;
    if (shipped) {
        throw std::logic_error("shipped, though cancelled");
    }
}

int main() {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        try {
            ringo::test::run_virtual(cancel_in_time, {.seed = seed});
        } catch (const std::logic_error& e) {
            std::printf("seed %d: %s\n", static_cast<int>(seed), e.what());
            return 0;
        }
    }
    std::puts("no seed found anything");
    return 1;
}
