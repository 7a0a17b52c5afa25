// lease: received bytes, in a buffer that ringo owns.
#pragma once

#include <ringo/detail/lent.hpp>

#include <cstddef>
#include <string_view>
#include <utility>

namespace ringo::net {

/// What `conn::recv` gives. Its destructor gives the buffer back. A range of bytes: it converts to
/// const_buffer and to spans.
///
/// core     any, threads that are not ringo's included; may outlive the conn and the run
/// cost     no copy as long as few are held: see conn::recv
class lease {
public:
    /// Empty, as at the end of a stream.
    lease() noexcept = default;
    /// For ringo's own parts. takes  `owner`, to be given back; null: nobody's memory
    lease(std::byte* data, std::size_t size, ringo::detail::lent* owner) noexcept
        : data_(data), size_(size), owner_(owner) {}
    lease(lease&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)),
          owner_(std::exchange(other.owner_, nullptr)) {}
    lease& operator=(lease&& other) noexcept {
        lease taken(std::move(other));
        std::swap(data_, taken.data_);
        std::swap(size_, taken.size_);
        std::swap(owner_, taken.owner_);
        return *this;
    }
    ~lease() {
        if (owner_ != nullptr) {
            owner_->give_back(*owner_);
        }
    }

    /// The bytes may be changed in place.
    [[nodiscard]] std::byte* data() noexcept { return data_; }
    [[nodiscard]] const std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    /// `while (lease b = co_await c.recv())`: until the end of the stream.
    explicit operator bool() const noexcept { return size_ != 0; }

    [[nodiscard]] std::byte* begin() noexcept { return data_; }
    [[nodiscard]] std::byte* end() noexcept { return data_ + size_; }
    [[nodiscard]] const std::byte* begin() const noexcept { return data_; }
    [[nodiscard]] const std::byte* end() const noexcept { return data_ + size_; }
    [[nodiscard]] std::string_view text() const noexcept {
        return {reinterpret_cast<const char*>(data_), size_};
    }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    ringo::detail::lent* owner_ = nullptr;
};

}  // namespace ringo::net
