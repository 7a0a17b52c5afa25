// A share in an open descriptor, for whoever awaits operations on it.
#pragma once

#include "kernel_operation.hpp"

#include <ringo/detail/descriptor.hpp>
#include <ringo/error.hpp>
#include <ringo/task.hpp>

#include <system_error>

namespace ringo::detail {

/// Nothing closes the descriptor as long as this lives. Closing it cancels the operation, if that
/// is under way.
class open_use {
public:
    /// throws  errc::closed
    open_use(descriptor& d, io_operation& op, const char* name) : used_(d), use_(op) {
        if (!d.enter(use_)) {
            throw std::system_error(errc::closed, name);
        }
    }
    open_use(const open_use&) = delete;
    open_use& operator=(const open_use&) = delete;
    ~open_use() { used_.leave(use_); }

private:
    descriptor& used_;
    descriptor_use use_;
};

/// Awaits an operation on an open descriptor. `name` stands in the text when it is closed.
inline task<> perform(descriptor& d, kernel_operation& op, const char* name) {
    const open_use u(d, op, name);
    try {
        co_await op;
    } catch (const cancelled&) {
        if (d.closed()) {
            throw std::system_error(errc::closed, name);
        }
        throw;
    }
}

}  // namespace ringo::detail
