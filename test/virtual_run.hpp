// Goroutines on one core with the scripted kernel: time jumps to the next timer, and kernel
// operations end as the test says.
#pragma once

#include "scripted.hpp"
#include "shard.hpp"
#include "test.hpp"

#include <ringo/run.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <functional>
#include <utility>

namespace test {

using on_start = std::function<void(ringo::detail::io_operation&)>;

/// The scripted kernel of the running goroutine's core.
inline ringo::detail::scripted& this_kernel() {
    return static_cast<ringo::detail::scripted&>(ringo::detail::shard::here().io());
}

/// Virtual time, which begins at 0.
inline std::chrono::nanoseconds now() { return ringo::now().time_since_epoch(); }

/// As ringo::run. started: sees each kernel operation when it reaches the kernel.
template <class F>
auto virtual_run(F&& f, on_start started = nullptr, const ringo::options& o = {}) {
    namespace detail = ringo::detail;
    auto& main = detail::launch<detail::main_goroutine>(std::forward<F>(f));
    using value = decltype(main.root.await_resume());
    detail::outcome<value> result;
    main.result = &result;
    detail::virtual_setup setup;
    setup.options = o;
    setup.on_start = std::move(started);
    detail::run_on_script(main, setup);
    return result.take();
}

}  // namespace test
