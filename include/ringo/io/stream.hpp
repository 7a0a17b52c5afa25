// What a stream is.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/context.hpp>
#include <ringo/task.hpp>

#include <concepts>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

namespace ringo::io {

namespace detail {

template <class Awaitable>
using awaited = decltype(ringo::detail::awaiter_of(std::declval<Awaitable>()).await_resume());

/// What read_all collects. No part of it depends on the stream.
class collected {
public:
    explicit collected(std::size_t limit) noexcept;

    mutable_buffer room();
    /// False: the stream has ended. throws  errc::limit_exceeded
    bool add(std::size_t bytes);
    std::string take();

private:
    std::size_t limit_;
    std::size_t have_ = 0;
    std::string all_;
};

}  // namespace detail

/// `co_await s.read(buffer)` gives the number of bytes that it took; 0: there are no more.
template <class Stream>
concept readable = requires(Stream& s, mutable_buffer b) {
    {s.read(b)};
    requires std::same_as<detail::awaited<decltype(s.read(b))>, std::size_t>;
};

/// `co_await s.write(data)` writes all of it.
template <class Stream>
concept writable = requires(Stream& s, const_buffer b) {
    {s.write(b)};
    requires std::is_void_v<detail::awaited<decltype(s.write(b))>>;
};

/// All that is left of a stream.
///
/// throws   errc::limit_exceeded when there is more than `limit`; what the stream throws
/// follows  Go io.ReadAll
template <readable Stream>
[[nodiscard]] task<std::string> read_all(
    Stream& from, std::size_t limit = std::numeric_limits<std::size_t>::max()) {
    detail::collected all(limit);
    bool more = true;
    while (more) {
        more = all.add(co_await from.read(all.room()));
    }
    co_return all.take();
}

}  // namespace ringo::io
