#include <ringo/ringo.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

ringo::task<int> twice(int value) {
    co_await ringo::sleep(1ms);
    co_return 2 * value;
}

ringo::task<int> co_main() {
    auto handle = ringo::spawn(twice, 21);
    int answer = co_await handle;
    std::printf("%d\n", answer);
    co_return answer == 42 ? 0 : 1;
}

int main() { return ringo::run(co_main()); }
