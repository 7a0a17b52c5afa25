// Streams with a buffer before them: lines out of what comes, few writes out of many.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/error.hpp>
#include <ringo/io/stream.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace ringo::io {

namespace detail {

inline constexpr std::size_t capacity_default = 16384;
inline constexpr std::size_t limit_default = 65536;

/// What has been read and not taken. No part of it depends on the stream.
class read_buffer {
public:
    explicit read_buffer(std::size_t capacity);

    std::string_view unread() const noexcept { return {memory_.get() + taken_, filled_ - taken_}; }
    std::size_t capacity() const noexcept { return capacity_; }

    /// Free memory behind what is unread, which may move; at least one byte.
    mutable_buffer room();
    /// `bytes` have been read into it. False: the stream has ended.
    bool add(std::size_t bytes) noexcept;

    /// Up to and with the first `end`, or what is left when the stream has ended; empty: not yet.
    /// throws  errc::limit_exceeded when that is longer than `limit`; nothing is taken
    std::optional<std::string_view> take_until(char end, std::size_t limit);
    std::size_t take(mutable_buffer into) noexcept;

    bool ended() const noexcept { return ended_; }

private:
    std::unique_ptr<char[]> memory_;
    std::size_t capacity_;
    std::size_t taken_ = 0;
    std::size_t filled_ = 0;
    std::size_t searched_ = 0;  // of what is unread, where the last search found nothing
    char searched_for_ = 0;
    bool ended_ = false;
};

std::string_view without_line_end(std::string_view line) noexcept;

/// What has been written and not passed on.
class write_buffer {
public:
    explicit write_buffer(std::size_t capacity)
        : memory_(new std::byte[capacity]), capacity_(capacity) {}

    /// False: it does not fit.
    bool add(std::span<const std::byte> data) noexcept;
    const_buffer waiting() const noexcept { return {memory_.get(), filled_}; }
    bool empty() const noexcept { return filled_ == 0; }
    std::size_t capacity() const noexcept { return capacity_; }
    /// The first `bytes` have been passed on.
    void drop(std::size_t bytes) noexcept;

private:
    std::unique_ptr<std::byte[]> memory_;
    std::size_t capacity_;
    std::size_t filled_ = 0;
};

}  // namespace detail

/// Reads ahead. It is a stream itself; what it has read ahead is gone with it.
///
/// core     any; one goroutine at a time
/// cancel   as the stream's read; nothing is lost
/// follows  Go bufio.Reader
template <readable Stream>
class buffered_reader {
public:
    /// takes    the stream, which must outlive this; bytes that are read at once
    explicit buffered_reader(Stream& from, std::size_t capacity = detail::capacity_default)
        : from_(&from), buffer_(capacity) {}

    /// The next line, without its "\n" or "\r\n".
    ///
    /// takes    the longest line that is allowed, with its end
    /// returns  it, valid until the next call; empty at the end of the stream. The last line need
    ///          not have an end.
    /// throws   errc::limit_exceeded: the line is longer, and still to be read; what the stream
    ///          throws
    [[nodiscard]] task<std::optional<std::string_view>> read_line(
        std::size_t limit = detail::limit_default) {
        std::optional<std::string_view> line = co_await read_until('\n', limit);
        if (line) {
            line = detail::without_line_end(*line);
        }
        co_return line;
    }

    /// All up to and with the first `end`, or to the end of the stream. Otherwise as read_line.
    [[nodiscard]] task<std::optional<std::string_view>> read_until(
        char end, std::size_t limit = detail::limit_default) {
        while (true) {
            std::optional<std::string_view> found = buffer_.take_until(end, limit);
            if (found || buffer_.ended()) {
                co_return found;
            }
            buffer_.add(co_await from_->read(buffer_.room()));
        }
    }

    [[nodiscard]] task<std::size_t> read(mutable_buffer into) {
        if (buffer_.unread().empty() && into.bytes().size() >= buffer_.capacity()) {
            co_return co_await from_->read(into);
        }
        if (buffer_.unread().empty() && !into.bytes().empty()) {
            buffer_.add(co_await from_->read(buffer_.room()));
        }
        co_return buffer_.take(into);
    }

    /// What has been read ahead.
    [[nodiscard]] std::string_view buffered() const noexcept { return buffer_.unread(); }

private:
    Stream* from_;
    detail::read_buffer buffer_;
};

/// Gathers what is written. It is a stream itself; what has not been flushed is gone with it.
///
/// core     any; one goroutine at a time
/// follows  Go bufio.Writer
template <writable Stream>
class buffered_writer {
public:
    /// takes    the stream, which must outlive this; bytes that are gathered
    explicit buffered_writer(Stream& to, std::size_t capacity = detail::capacity_default)
        : to_(&to), buffer_(capacity) {}

    /// Keeps the data, or writes it when it is too much to keep.
    ///
    /// throws   what the stream throws: some of the data may not have been taken. After
    ///          `cancelled` and `deadline_exceeded` of `flush` it may be used again.
    [[nodiscard]] task<> write(const_buffer data) {
        if (buffer_.add(data.bytes())) {
            co_return;
        }
        co_await flush();
        if (!buffer_.add(data.bytes())) {
            co_await to_->write(data);
        }
    }

    /// Writes all that it has kept.
    [[nodiscard]] task<> flush() {
        if (buffer_.empty()) {
            co_return;
        }
        try {
            co_await to_->write(buffer_.waiting());
        } catch (const cancelled& e) {
            buffer_.drop(e.bytes());
            throw;
        } catch (const deadline_exceeded& e) {
            buffer_.drop(e.bytes());
            throw;
        }
        buffer_.drop(buffer_.waiting().bytes().size());
    }

private:
    Stream* to_;
    detail::write_buffer buffer_;
};

}  // namespace ringo::io
