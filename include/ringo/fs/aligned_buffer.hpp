// Memory for files that are opened with O_DIRECT.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

namespace ringo::detail {

class buffer_slots;

}  // namespace ringo::detail

namespace ringo::fs {

/// Bytes at an aligned address. Direct reads and writes want it, and sizes and offsets that are
/// multiples of the disk's block, too.
class aligned_buffer {
public:
    static constexpr std::size_t alignment = 4096;

    explicit aligned_buffer(std::size_t size)
        : data_(static_cast<std::byte*>(::operator new(size, std::align_val_t(alignment)))),
          size_(size) {}
    aligned_buffer(aligned_buffer&& other) noexcept { swap(other); }
    aligned_buffer& operator=(aligned_buffer&& other) noexcept {
        swap(other);
        return *this;
    }
    ~aligned_buffer() {
        if (slots_ != nullptr) [[unlikely]] {
            unregister();
        }
        ::operator delete(data_, std::align_val_t(alignment));
    }

    /// Has the kernel pin the memory, once, for what this core reads into it and writes from it:
    /// file::read_at and write_at of the whole buffer need not do so each time. On other cores it
    /// is as it was. For buffers that are used often.
    ///
    /// returns  false: it stays as it is, for there is no io_uring of 6.1, a core has 256 of them
    ///          already, or no more memory may be locked (`ulimit -l`)
    /// core     any; on none it is false. It may be destroyed on any: if not on this one, its
    ///          memory stays pinned until this one registers another, or ends
    /// cost     a system call and, while it lasts, its size of locked memory. Random direct reads of 4 KiB take
    ///          0.90 of the CPU then, and as long
    bool register_here() noexcept;

    std::byte* data() noexcept { return data_; }
    const std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

    /// For ringo's own parts: by which number this core's kernel knows it; -1: by none.
    int slot_here() const noexcept;

private:
    void unregister() noexcept;
    void swap(aligned_buffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(slots_, other.slots_);
        std::swap(slot_, other.slot_);
    }

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    ringo::detail::buffer_slots* slots_ = nullptr;  // of the core that it is registered with
    int slot_ = -1;
};

}  // namespace ringo::fs
