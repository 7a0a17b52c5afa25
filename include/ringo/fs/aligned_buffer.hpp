// Memory for files that are opened with O_DIRECT.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

namespace ringo::fs {

/// Bytes at an aligned address. Direct reads and writes want it, and sizes and offsets that are
/// multiples of the disk's block, too.
class aligned_buffer {
public:
    static constexpr std::size_t alignment = 4096;

    explicit aligned_buffer(std::size_t size)
        : data_(static_cast<std::byte*>(::operator new(size, std::align_val_t(alignment)))),
          size_(size) {}
    aligned_buffer(aligned_buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    aligned_buffer& operator=(aligned_buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~aligned_buffer() { ::operator delete(data_, std::align_val_t(alignment)); }

    std::byte* data() noexcept { return data_; }
    const std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

private:
    std::byte* data_;
    std::size_t size_;
};

}  // namespace ringo::fs
