// What can be read into and written from: any contiguous run of bytes.
#pragma once

#include <cstddef>
#include <iterator>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ringo {

namespace detail {

template <class Range>
concept byte_range = requires(Range& r) {
    std::data(r);
    std::size(r);
    requires sizeof(*std::data(r)) == 1;
    requires std::is_trivially_copyable_v<std::remove_reference_t<decltype(*std::data(r))>>;
};

}  // namespace detail

/// Bytes to read into: an array, std::string, std::vector<char>, std::span<std::byte>, ...
class mutable_buffer {
public:
    template <detail::byte_range Range>
        requires(
            !std::is_const_v<std::remove_reference_t<decltype(*std::data(std::declval<Range&>()))>>)
    mutable_buffer(Range&& r)
    noexcept : bytes_(reinterpret_cast<std::byte*>(std::data(r)), std::size(r)) {}
    mutable_buffer(void* data, std::size_t size) noexcept
        : bytes_(static_cast<std::byte*>(data), size) {}

    std::span<std::byte> bytes() const noexcept { return bytes_; }

private:
    std::span<std::byte> bytes_;
};

/// Bytes to write. A string literal counts without its final zero.
class const_buffer {
public:
    template <detail::byte_range Range>
        requires(!std::is_convertible_v<const Range&, const char*>)
    const_buffer(const Range& r)
    noexcept : bytes_(reinterpret_cast<const std::byte*>(std::data(r)), std::size(r)) {}
    const_buffer(std::string_view s) noexcept
        : bytes_(reinterpret_cast<const std::byte*>(s.data()), s.size()) {}
    const_buffer(const char* s) noexcept : const_buffer(std::string_view(s)) {}
    const_buffer(const void* data, std::size_t size) noexcept
        : bytes_(static_cast<const std::byte*>(data), size) {}

    std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    std::span<const std::byte> bytes_;
};

}  // namespace ringo
