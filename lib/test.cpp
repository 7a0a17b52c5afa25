#include "test.hpp"

#include "cores.hpp"
#include "deadlock.hpp"
#include "scripted.hpp"
#include "shard.hpp"

#include <ringo/detail/panic.hpp>
#include <ringo/test.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace ringo::detail {

namespace {

scripted_time time_of(const virtual_setup& setup, std::function<void()> on_deadlock) {
    return {.begin_ns = setup.begin_ns,
            .outside_wait = setup.outside_wait,
            .on_deadlock = std::move(on_deadlock)};
}

}  // namespace

void run_on_script(goroutine& main, const virtual_setup& setup) {
    std::string asleep;
    const auto on_deadlock = [&asleep] {
        cores_state& run = shard::here().all;
        RINGO_ASSERT(!run.stopping());
        asleep = fmt::format("{} {}", deadlock_message, describe_parked(run));
        run.stop();  // which cancels them
    };
    std::unique_ptr<cores_state> all;
    try {
        options o = setup.options;
        o.cores = 1;
        o.pin = false;
        all = std::make_unique<cores_state>(resolve(o), [&](blocking_pool&) {
            return std::make_unique<scripted>(setup.on_start, time_of(setup, on_deadlock));
        });
        if (setup.seed) {
            all->shard_at(0).shuffle(*setup.seed);
        }
    } catch (...) {
        main.type->destroy(main);
        throw;
    }
    all->submit(main, 0, nullptr);
    all->run();
    if (!asleep.empty()) {
        throw test::deadlock(asleep);
    }
}

}  // namespace ringo::detail

namespace ringo::test::detail {

void run_virtual(ringo::detail::goroutine& main, const virtual_options& o) {
    namespace core = ringo::detail;
    if (core::this_core_state != nullptr) {
        core::panic("run_virtual: called inside a goroutine; await the task, or go(f), instead");
    }
    if (o.outside_wait.count() < 0) {
        main.type->destroy(main);
        throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                "virtual_options.outside_wait is negative");
    }
    core::virtual_setup setup;
    setup.options.shutdown_grace = o.shutdown_grace;
    setup.seed = o.seed;
    setup.outside_wait = o.outside_wait;
    setup.begin_ns = time_begin.time_since_epoch().count();
    setup.on_start = [](core::io_operation& op) {
        static_cast<core::scripted&>(core::shard::here().io())
            .complete(op, {.result = -ENOSYS, .more = false});
    };
    core::run_on_script(main, setup);
}

}  // namespace ringo::test::detail
