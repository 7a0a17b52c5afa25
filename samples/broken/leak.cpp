// Who prints what comes waits for ever, once nobody is left who could send.
#include "broken.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <cstdio>

namespace {

class printer {
public:
    printer() {
        ringo::go([this] { return print_all(); });
    }
    ~printer() = default;  // wrong: the channel goes without having been closed

    ringo::chan<int> values;

private:
    ringo::task<> print_all() {
        while (const auto value = co_await values.recv()) {
            std::fprintf(stderr, "%d\n", *value);
        }
    }
};

}  // namespace

ringo::task<> leak() {
    {
        const printer p;
        co_await p.values.send(1);
        co_await ringo::yield();
    }
    co_await ringo::sleep(std::chrono::milliseconds(1));
}
