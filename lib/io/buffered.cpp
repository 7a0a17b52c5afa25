#include <ringo/io/buffered.hpp>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

namespace ringo::io::detail {

read_buffer::read_buffer(std::size_t capacity)
    : memory_(new char[std::max<std::size_t>(capacity, 1)]),
      capacity_(std::max<std::size_t>(capacity, 1)) {}

mutable_buffer read_buffer::room() {
    const std::string_view rest = unread();
    if (rest.empty()) {
        taken_ = filled_ = 0;
    } else if (filled_ == capacity_) {
        // Moving pays once it frees half of the memory; a long line wants more of it.
        if (rest.size() <= capacity_ / 2) {
            std::memmove(memory_.get(), rest.data(), rest.size());
        } else {
            std::unique_ptr<char[]> larger(new char[2 * capacity_]);
            std::memcpy(larger.get(), rest.data(), rest.size());
            memory_ = std::move(larger);
            capacity_ *= 2;
        }
        filled_ = rest.size();
        taken_ = 0;
    }
    return {memory_.get() + filled_, capacity_ - filled_};
}

bool read_buffer::add(std::size_t bytes) noexcept {
    filled_ += bytes;
    ended_ = bytes == 0;
    return !ended_;
}

std::optional<std::string_view> read_buffer::take_until(char end, std::size_t limit) {
    const std::string_view rest = unread();
    const std::size_t from = searched_for_ == end ? searched_ : 0;
    const std::size_t at = rest.find(end, from);
    const std::size_t length = at != std::string_view::npos ? at + 1 : rest.size();
    if (length > limit) {
        throw std::system_error(errc::limit_exceeded, "read_until");
    }
    if (at == std::string_view::npos && (!ended_ || rest.empty())) {
        searched_for_ = end;
        searched_ = rest.size();
        return std::nullopt;
    }
    searched_ = 0;
    taken_ += length;
    return rest.substr(0, length);
}

std::size_t read_buffer::take(mutable_buffer into) noexcept {
    const std::string_view rest = unread();
    const std::size_t n = std::min(rest.size(), into.bytes().size());
    if (n != 0) {
        std::memcpy(into.bytes().data(), rest.data(), n);
    }
    taken_ += n;
    searched_ = 0;
    return n;
}

std::string_view without_line_end(std::string_view line) noexcept {
    if (!line.empty() && line.back() == '\n') {
        line.remove_suffix(1);
        if (!line.empty() && line.back() == '\r') {
            line.remove_suffix(1);
        }
    }
    return line;
}

bool write_buffer::add(std::span<const std::byte> data) noexcept {
    if (data.size() > capacity_ - filled_) {
        return false;
    }
    if (!data.empty()) {
        std::memcpy(memory_.get() + filled_, data.data(), data.size());
    }
    filled_ += data.size();
    return true;
}

void write_buffer::drop(std::size_t bytes) noexcept {
    filled_ -= bytes;
    std::memmove(memory_.get(), memory_.get() + bytes, filled_);
}

}  // namespace ringo::io::detail
