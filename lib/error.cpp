#include <ringo/error.hpp>
#include <ringo/result.hpp>

#include <ringo/detail/operation.hpp>

#include <string>

namespace ringo {

namespace {

class ringo_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "ringo"; }
    std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
            case errc::would_block:
                return "operation would block";
            case errc::channel_closed:
                return "channel is closed";
            case errc::closed:
                return "used after it was closed";
            case errc::broken_promise:
                return "callback dropped without having been called";
            case errc::end_of_stream:
                return "stream ended early";
            case errc::cancelled:
                return "context cancelled";
            case errc::deadline_exceeded:
                return "deadline exceeded";
            case errc::limit_exceeded:
                return "more than the limit";
        }
        return "unknown error";
    }
    std::error_condition default_error_condition(int value) const noexcept override {
        switch (static_cast<errc>(value)) {
            case errc::would_block:
                return std::errc::operation_would_block;
            case errc::cancelled:
                return std::errc::operation_canceled;
            case errc::deadline_exceeded:
                return std::errc::timed_out;
            default:
                return {value, *this};
        }
    }
};

}  // namespace

const std::error_category& category() noexcept {
    static const ringo_category c;
    return c;
}

std::error_code make_error_code(errc e) noexcept { return {static_cast<int>(e), category()}; }

cancelled::cancelled(const std::string& what, std::size_t bytes)
    : system_error(detail::failure_code(detail::failure_cancelled), what), bytes_(bytes) {}

deadline_exceeded::deadline_exceeded(const std::string& what, std::size_t bytes)
    : system_error(detail::failure_code(detail::failure_deadline_exceeded), what), bytes_(bytes) {}

channel_closed::channel_closed(const std::string& what)
    : system_error(make_error_code(errc::channel_closed), what) {}

namespace detail {

std::error_code failure_code(int error) noexcept {
    switch (error) {
        case failure_cancelled:
            return errc::cancelled;
        case failure_deadline_exceeded:
            return errc::deadline_exceeded;
        case failure_channel_closed:
            return errc::channel_closed;
        case failure_closed:
            return errc::closed;
        case failure_broken_promise:
            return errc::broken_promise;
        case failure_end_of_stream:
            return errc::end_of_stream;
        default:
            return {error, std::system_category()};
    }
}

void throw_failure(std::uint8_t error, const std::string& operation, std::size_t bytes) {
    switch (error) {
        case failure_cancelled:
            throw cancelled(operation, bytes);
        case failure_deadline_exceeded:
            throw deadline_exceeded(operation, bytes);
        case failure_channel_closed:
            throw channel_closed(operation);
        default:
            throw std::system_error(failure_code(error), operation);
    }
}

void throw_failure(std::uint8_t error, const char* operation) {
    throw_failure(error, std::string(operation), 0);
}

std::error_code current_error_code() {
    try {
        throw;
    } catch (const std::system_error& e) {
        return e.code();
    }
}

}  // namespace detail
}  // namespace ringo
