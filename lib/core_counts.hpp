// What a core counts all the time: metrics.cpp shows it.
#pragma once

#include "counter.hpp"
#include "probes.hpp"

#include <ringo/detail/io_operation.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace ringo::detail {

/// Written by the core alone.
struct core_counts {
    counter turns;
    counter sleeps;
    counter resumes;
    counter messages;
    counter wakes_sent;
    counter timers;
    counter ready;  // goroutines, when a sample was taken last
    time_counts turn_time;
    time_counts ready_time;
};

/// What a core asks of the kernel. Written by the core alone.
class kernel_counts {
public:
    static constexpr std::size_t code_count = 64;
    static constexpr std::size_t error_count = 134;  // the errnos; 0 stands for any other

    void started(const io_operation& op) noexcept {
        RINGO_PROBE3(operation_submit, &op, static_cast<std::uint8_t>(op.code), op.fd);
        started_[index(op.code)].add();
    }
    /// ... or a multishot operation has a result, and goes on.
    void completed(const io_operation& op, const io_completion& c) noexcept {
        RINGO_PROBE3(operation_complete, &op, static_cast<std::uint8_t>(op.code), c.result);
        if (!c.more) {
            completed_[index(op.code)].add();
        }
        if (c.result < 0) {
            const auto error = static_cast<std::size_t>(-std::int64_t{c.result});
            errors_[error < error_count ? error : 0].add();
        } else if (op.code == io_code::accept || op.code == io_code::accept_multishot) {
            accepts.add();
        }
    }

    std::uint64_t started(std::size_t code) const noexcept { return started_[code].value(); }
    std::uint64_t completed(std::size_t code) const noexcept { return completed_[code].value(); }
    std::uint64_t errors(std::size_t error) const noexcept { return errors_[error].value(); }

    counter system_calls;
    counter accepts;

private:
    static std::size_t index(io_code code) noexcept {
        return static_cast<std::size_t>(code) % code_count;
    }

    std::array<counter, code_count> started_;
    std::array<counter, code_count> completed_;
    std::array<counter, error_count> errors_;
};

/// What the code is called; null: there is none of that number.
const char* name_of(io_code code) noexcept;

}  // namespace ringo::detail
