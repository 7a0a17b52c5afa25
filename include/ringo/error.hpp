// Errors that are ringo's own; all others are std::system_error with the system's code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>

namespace ringo {

enum class errc {
    would_block = 1,
    channel_closed,
    closed,             // the object was closed while, or before, it was used
    broken_promise,     // a callback that was waited for is gone without having been called
    end_of_stream,      // the stream ended before all that was asked for had come
    cancelled,          // equal to std::errc::operation_canceled
    deadline_exceeded,  // equal to std::errc::timed_out
    limit_exceeded,     // there is more than the caller has allowed
};

const std::error_category& category() noexcept;
std::error_code make_error_code(errc e) noexcept;

/// The wait was given up because the goroutine's context was cancelled.
/// Its code compares equal to std::errc::operation_canceled.
class cancelled : public std::system_error {
public:
    explicit cancelled(const std::string& what, std::size_t bytes = 0);

    /// How far a loop over steps (write, read_exactly) got before it stopped.
    std::size_t bytes() const noexcept { return bytes_; }

private:
    std::size_t bytes_;
};

/// The wait was given up because its context's deadline passed.
/// Its code compares equal to std::errc::timed_out.
class deadline_exceeded : public std::system_error {
public:
    explicit deadline_exceeded(const std::string& what, std::size_t bytes = 0);

    std::size_t bytes() const noexcept { return bytes_; }

private:
    std::size_t bytes_;
};

/// The channel was closed. Its code compares equal to errc::channel_closed.
class channel_closed : public std::system_error {
public:
    explicit channel_closed(const std::string& what);
};

namespace detail {
/// The code for goroutine::error.
std::error_code failure_code(int error) noexcept;
/// Throws what goroutine::error says.
[[noreturn]] void throw_failure(std::uint8_t error, const std::string& operation,
                                std::size_t bytes);
}  // namespace detail

}  // namespace ringo

template <>
struct std::is_error_code_enum<ringo::errc> : std::true_type {};
