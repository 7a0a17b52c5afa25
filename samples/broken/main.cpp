// One of the broken programs, on one core.    broken NAME
#include "broken.hpp"

#include <ringo/run.hpp>

#include <cstdio>
#include <string_view>

namespace {

struct program {
    std::string_view name;
    ringo::task<> (*run)();
};

constexpr program programs[] = {
    {"deadlock", deadlock},
    {"hang", hang},
    {"leak", leak},
    {"slow_request", slow_request},
    {"starved_core", starved_core},
    {"memory_growth", memory_growth},
    {"panic", panicking},
    {"cancelled_too_late", cancelled_too_late},
    {"too_many_connections", too_many_connections},
    {"lost_wake_up", lost_wake_up},
};

}  // namespace

int main(int argc, char** argv) {
    const std::string_view name = argc == 2 ? argv[1] : "";
    for (const program& p : programs) {
        if (p.name == name) {
            return ringo::run(p.run(), {.cores = 1});
        }
    }
    std::fputs("usage: broken NAME, one of\n", stderr);
    for (const program& p : programs) {
        std::fprintf(stderr, "    %s\n", p.name.data());
    }
    return 2;
}
