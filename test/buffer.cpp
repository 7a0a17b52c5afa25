#include <ringo/buffer.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

using ringo::const_buffer;
using ringo::mutable_buffer;

namespace {

template <class T>
constexpr bool readable_into = std::is_constructible_v<mutable_buffer, T>;
template <class T>
constexpr bool writable_from = std::is_constructible_v<const_buffer, T>;

}  // namespace

TEST_CASE("any_contiguous_run_of_bytes_can_be_read_into") {
    std::array<char, 5> array{};
    char plain[6] = {};
    std::string text(7, ' ');
    std::vector<unsigned char> bytes(8);
    std::vector<std::byte> raw(9);
    const std::span<std::byte> span(raw);
    CHECK(mutable_buffer(array).bytes().size() == 5);
    CHECK(mutable_buffer(plain).bytes().size() == 6);
    CHECK(mutable_buffer(text).bytes().size() == 7);
    CHECK(mutable_buffer(bytes).bytes().size() == 8);
    CHECK(mutable_buffer(raw).bytes().size() == 9);
    CHECK(mutable_buffer(span).bytes().size() == 9);
    CHECK(mutable_buffer(span.subspan(4)).bytes().size() == 5);
    CHECK(mutable_buffer(plain, 2).bytes().size() == 2);
    CHECK(static_cast<void*>(mutable_buffer(text).bytes().data()) == text.data());
}

TEST_CASE("what_is_const_or_no_byte_cannot_be_read_into") {
    CHECK_FALSE(readable_into<const std::string&>);
    CHECK_FALSE(readable_into<std::string_view>);
    CHECK_FALSE(readable_into<const char*>);
    CHECK_FALSE(readable_into<const char(&)[4]>);
    CHECK_FALSE(readable_into<std::vector<int>&>);
    CHECK_FALSE(readable_into<std::span<const std::byte>>);
    CHECK_FALSE(readable_into<std::vector<bool>&>);
}

TEST_CASE("any_contiguous_run_of_bytes_can_be_written") {
    const std::array<char, 5> array{};
    const std::string text(7, 'x');
    const std::vector<std::uint8_t> bytes(8);
    const std::span<const std::byte> span(reinterpret_cast<const std::byte*>(text.data()), 3);
    CHECK(const_buffer(array).bytes().size() == 5);
    CHECK(const_buffer(text).bytes().size() == 7);
    CHECK(const_buffer(bytes).bytes().size() == 8);
    CHECK(const_buffer(span).bytes().size() == 3);
    CHECK(const_buffer(std::string_view("abcd")).bytes().size() == 4);
    CHECK(const_buffer(text.data(), 2).bytes().size() == 2);
    CHECK(static_cast<const void*>(const_buffer(text).bytes().data()) == text.data());
    CHECK_FALSE(writable_from<const std::vector<int>&>);
    CHECK_FALSE(writable_from<int>);
}

TEST_CASE("a_string_literal_counts_without_its_final_zero") {
    CHECK(const_buffer("abc").bytes().size() == 3);
    CHECK(const_buffer("").bytes().empty());
    const char* const pointer = "abcd";
    CHECK(const_buffer(pointer).bytes().size() == 4);
}
