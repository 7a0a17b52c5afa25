// Streams in memory, for tests and for what wants a stream.
#pragma once

#include <ringo/buffer.hpp>

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace ringo::io {

namespace detail {

/// An operation that has ended before it is awaited.
template <class T>
class immediate {
public:
    explicit immediate(T result) noexcept : result_(result) {}

    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    T await_resume() const noexcept { return result_; }

private:
    T result_;
};

template <>
class immediate<void> {
public:
    immediate() noexcept {}

    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}
};

}  // namespace detail

/// Reads from a string of its own.
class memory_reader {
public:
    explicit memory_reader(std::string text) noexcept : text_(std::move(text)) {}

    [[nodiscard]] detail::immediate<std::size_t> read(mutable_buffer buffer) noexcept {
        const auto into = buffer.bytes();
        const std::size_t n = std::min(into.size(), text_.size() - read_);
        if (n != 0) {
            std::memcpy(into.data(), text_.data() + read_, n);
        }
        read_ += n;
        return detail::immediate<std::size_t>(n);
    }

private:
    std::string text_;
    std::size_t read_ = 0;
};

/// Keeps what is written.
class memory_writer {
public:
    [[nodiscard]] detail::immediate<void> write(const_buffer data) {
        text_.append(reinterpret_cast<const char*>(data.bytes().data()), data.bytes().size());
        return {};
    }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    std::string text_;
};

}  // namespace ringo::io
