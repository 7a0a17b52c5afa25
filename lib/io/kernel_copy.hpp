// Copies that stay in the kernel: what the parts of it share.
#pragma once

#include "../kernel_operation.hpp"

#include <ringo/detail/descriptor.hpp>
#include <ringo/io/copy.hpp>
#include <ringo/task.hpp>

#include <cstdint>
#include <string>

namespace ringo::io::detail {

enum class kind { file, pipe, other };

kind kind_of(int fd) noexcept;

/// What the kernel says of two that it does not copy between.
bool is_refusal(int error) noexcept;

task<> wait_for(ringo::detail::descriptor& d, short events);

/// Between a socket and a socket, a file or a pipe.
/// returns, takes  as copy_in_kernel
task<bool> copy_with_socket(kernel_end to, kernel_end from, std::uint64_t& copied);

}  // namespace ringo::io::detail
