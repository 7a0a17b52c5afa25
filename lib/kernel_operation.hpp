// Awaits one operation of the kernel.
#pragma once

#include "core_counts.hpp"
#include "kernel.hpp"
#include "shard.hpp"

#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/error.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace ringo::detail {

/// `name` is what it does and to what, for the text of its errors. Buffer and descriptor must
/// live until it returns, also when it is cancelled: it then waits for the kernel to let go.
class kernel_operation : public operation<kernel_operation>, public file_operation {
public:
    kernel_operation(std::string name, io_code what, int descriptor, void* data,
                     std::size_t size) noexcept
        : operation(kernel_wait), file_operation(&completed), name_(std::move(name)) {
        code = what;
        fd = descriptor;
        address = data;
        length = static_cast<std::uint32_t>(size);
    }

    bool start() noexcept {
        shard::here().io().start(*this);
        return true;
    }
    /// The system call's result; negative until it has succeeded.
    int value() const noexcept { return result_; }
    [[noreturn]] void raise() { throw_failure(self->error, name_, 0); }

private:
    static void completed(io_operation& op, const io_completion& c) noexcept {
        auto& me = static_cast<kernel_operation&>(op);
        if (c.result == -EINTR && op.code >= io_code::file_read) {
            shard::here().io().start(op);  // a signal of no concern to it
            return;
        }
        me.result_ = c.result;
        if (c.result == -ECANCELED) {
            me.self->error = context_failure(*me.self);
        } else if (c.result < 0) {
            me.self->error = static_cast<std::uint8_t>(-c.result);
        }
        wake(*me.self);
    }
    static void give_up(wait& w) noexcept {
        shard::here().io().cancel(static_cast<kernel_operation&>(w));
    }
    static void describe(const wait& w, wait_state& s) noexcept {
        const auto& me = static_cast<const kernel_operation&>(w);
        s.name = name_of(me.code);
        s.fd = me.fd;
    }
    static constexpr wait_type kernel_wait{"io", &give_up, nullptr, waker::goroutine, &describe};

    std::string name_;
    int result_ = -1;
};

}  // namespace ringo::detail
