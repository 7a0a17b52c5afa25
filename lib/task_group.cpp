#include <ringo/task_group.hpp>

namespace ringo::detail {

const wait_type task_group_wait{"task_group wait", &group::fail_wait};

}  // namespace ringo::detail
