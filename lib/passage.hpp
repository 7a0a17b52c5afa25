// The way that an exception has taken out of its goroutine, for the report of one that nobody catches.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

namespace ringo::detail {

/// The frames that `error` has left, innermost first, up to where goroutine `id` was made; empty
/// where that is not known any more. core: that on which the goroutine ended
std::string passage_text(std::uint64_t id, const std::exception_ptr& error);

}  // namespace ringo::detail
