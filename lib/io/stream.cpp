#include <ringo/io/stream.hpp>

#include <ringo/error.hpp>

#include <algorithm>
#include <system_error>

namespace ringo::io::detail {

namespace {
constexpr std::size_t first_room = 16384;
}

collected::collected(std::size_t limit) noexcept : limit_(limit) {}

mutable_buffer collected::room() {
    if (have_ == all_.size()) {
        // One byte more than allowed, to see that there is more.
        const std::size_t most = limit_ + 1 != 0 ? limit_ + 1 : limit_;
        all_.resize(std::min(most, std::max(first_room, 2 * have_)));
    }
    return {all_.data() + have_, all_.size() - have_};
}

bool collected::add(std::size_t bytes) {
    have_ += bytes;
    if (have_ > limit_) {
        throw std::system_error(errc::limit_exceeded, "read_all");
    }
    return bytes != 0;
}

std::string collected::take() {
    all_.resize(have_);
    return std::move(all_);
}

}  // namespace ringo::io::detail
