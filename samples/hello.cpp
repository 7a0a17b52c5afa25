#include <ringo/ringo.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

ringo::task<int> greet(const char* name, std::chrono::milliseconds delay) {
    co_await ringo::sleep(delay);  // suspends this goroutine, not the thread
    std::printf("hello from the %s one\n", name);
    co_return 1;
}

ringo::task<int> co_main() {
    auto slow = ringo::spawn(greet, "slow", 20ms);
    auto fast = ringo::spawn(greet, "fast", 10ms);

    int greetings = co_await slow;
    greetings += co_await fast;
    std::printf("%d greetings\n", greetings);
    co_return 0;
}

int main() { return ringo::run(co_main()); }
