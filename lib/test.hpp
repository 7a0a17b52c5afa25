// A run on the scripted kernel: one core and virtual time.
#pragma once

#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/io_operation.hpp>
#include <ringo/run.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

namespace ringo::detail {

struct virtual_setup {
    ringo::options options;                       // cores and pin do not matter
    std::function<void(io_operation&)> on_start;  // as scripted's
    std::optional<std::uint64_t> seed;            // none: first come, first served, as in a run
    std::chrono::milliseconds outside_wait{10'000};
    std::int64_t begin_ns = 0;  // of virtual time
};

/// As run_cores.
/// throws  test::deadlock, when everything has ended
void run_on_script(goroutine& main, const virtual_setup& setup);

}  // namespace ringo::detail
