// Goroutines on one core with the scripted kernel: time jumps to the next timer, and kernel
// operations end as the test says.
#pragma once

#include "cores.hpp"
#include "scripted.hpp"

#include <ringo/run.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace test {

using on_start = std::function<void(ringo::detail::io_operation&)>;

/// The scripted kernel of the running goroutine's core.
inline ringo::detail::scripted& this_kernel() {
    return static_cast<ringo::detail::scripted&>(ringo::detail::shard::here().io());
}

/// Virtual time, which begins at 0.
inline std::chrono::nanoseconds now() { return std::chrono::nanoseconds(this_kernel().now_ns()); }

/// As ringo::run. started: sees each kernel operation when it reaches the kernel.
template <class F>
auto virtual_run(F&& f, on_start started = nullptr, ringo::options o = {}) {
    namespace detail = ringo::detail;
    o.cores = 1;
    o.pin = false;
    detail::cores_state all(detail::resolve(o),
                            [&started] { return std::make_unique<detail::scripted>(started); });
    auto& main = detail::launch<detail::main_goroutine>(std::forward<F>(f));
    using value = decltype(main.root.await_resume());
    detail::outcome<value> result;
    main.result = &result;
    all.submit(main, 0, nullptr);
    all.run();
    return result.take();
}

}  // namespace test
