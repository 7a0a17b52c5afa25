#include <ringo/when.hpp>

#include <system_error>

namespace ringo::detail {

const wait_type when_all_wait{"when_all", &group::cancel_wait};
const wait_type when_any_wait{"when_any", &group::cancel_wait};

void refuse_no_tasks() {
    throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                            "when_any: there are no tasks");
}

}  // namespace ringo::detail
