// What the cores count, for those who want to see it.
#pragma once

#include <ringo/metrics.hpp>

namespace ringo::detail {

class cores_state;

/// core: any thread
metrics metrics_of(cores_state& all);

}  // namespace ringo::detail
