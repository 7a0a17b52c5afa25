// Asks the kernel what it knows of a file.
#pragma once

#include "../kernel_operation.hpp"

#include <ringo/fs/info.hpp>

#include <string>
#include <utility>

#include <sys/stat.h>

namespace ringo::fs::detail {

class stat_operation : public ringo::detail::kernel_operation {
public:
    /// path: relative to `folder`; it must live until the end
    stat_operation(std::string name, int folder, const char* path, int how) noexcept
        : kernel_operation(std::move(name), ringo::detail::io_code::file_stat, folder,
                           const_cast<char*>(path), STATX_BASIC_STATS) {
        flags = how;
        other = &into_;
    }

    info answer() const noexcept;

private:
    struct statx into_ {};
};

}  // namespace ringo::fs::detail
