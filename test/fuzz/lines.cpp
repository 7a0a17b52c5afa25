// Fuzzes what buffered_reader keeps, beside a string that does the same the slow way.
#include <ringo/error.hpp>
#include <ringo/io/buffered.hpp>

#include "fuzz.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace {

using ringo::io::detail::read_buffer;

/// What take_until should give.
std::optional<std::string> expected_until(const std::string& unread, char end, bool ended) {
    const std::size_t at = unread.find(end);
    if (at != std::string::npos) {
        return unread.substr(0, at + 1);
    }
    return ended && !unread.empty() ? std::optional(unread) : std::nullopt;
}

void take_until(read_buffer& buffer, std::string& unread, char end, std::size_t limit) {
    const auto wanted = expected_until(unread, end, buffer.ended());
    const std::size_t length = wanted ? wanted->size() : unread.size();
    try {
        const auto got = buffer.take_until(end, limit);
        fuzz::expect(length <= limit && got.has_value() == wanted.has_value());
        if (got) {
            fuzz::expect(*got == *wanted);
            unread.erase(0, got->size());
        }
    } catch (const std::system_error& e) {
        fuzz::expect(e.code() == ringo::errc::limit_exceeded && length > limit);
    }
}

void take(read_buffer& buffer, std::string& unread, std::size_t most) {
    std::string into(most, '\0');
    const std::size_t n = buffer.take(into);
    fuzz::expect(n == std::min(most, unread.size()) && unread.starts_with(into.substr(0, n)));
    unread.erase(0, n);
}

void add(read_buffer& buffer, std::string& unread, std::string_view more) {
    while (!more.empty()) {
        const auto room = buffer.room().bytes();
        fuzz::expect(!room.empty());
        const std::size_t n = std::min(room.size(), more.size());
        std::memcpy(room.data(), more.data(), n);
        fuzz::expect(buffer.add(n));
        unread += more.substr(0, n);
        more.remove_prefix(n);
    }
}

}  // namespace

// The first byte is the capacity. Then an operation each: a byte says which, and how much.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    read_buffer buffer(data[0]);
    std::string unread;
    std::string_view script(reinterpret_cast<const char*>(data) + 1, size - 1);
    while (!script.empty() && !buffer.ended()) {
        const unsigned amount = static_cast<unsigned char>(script[0]) / 4U;
        const unsigned what = static_cast<unsigned char>(script[0]) % 4U;
        script.remove_prefix(1);
        if (what == 0) {
            const std::string_view more = script.substr(0, amount);
            add(buffer, unread, more);
            script.remove_prefix(more.size());
        } else if (what == 1) {
            take(buffer, unread, amount);
        } else if (what == 2) {
            take_until(buffer, unread, '\n', amount == 0 ? 1U << 20 : amount);
        } else if (!script.empty()) {
            take_until(buffer, unread, script[0], amount);
            script.remove_prefix(1);
        }
        fuzz::expect(buffer.unread() == unread);
    }
    buffer.room();
    fuzz::expect(!buffer.add(0));
    take_until(buffer, unread, '\n', 1U << 20);
    fuzz::expect(buffer.unread() == unread);
    fuzz::expect(ringo::io::detail::without_line_end(unread).size() <= unread.size());
    return 0;
}
