// file: an open file.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/detail/descriptor.hpp>
#include <ringo/detail/io_operation.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/fs/aligned_buffer.hpp>
#include <ringo/fs/info.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

namespace ringo::fs {

namespace detail {

using ringo::detail::descriptor;
using ringo::detail::io_code;

extern const ringo::detail::wait_type read_wait;
extern const ringo::detail::wait_type read_at_wait;
extern const ringo::detail::wait_type write_wait;
extern const ringo::detail::wait_type write_at_wait;
extern const ringo::detail::wait_type sync_wait;

enum class extent : bool { one_step, whole };

/// What the compiled core knows of reading and writing. As long as it is under way, its frame
/// stays: a cancelled one ends only with its last completion.
class file_io : public ringo::detail::wait, public ringo::detail::file_operation {
public:
    file_io(const ringo::detail::wait_type& what, io_code how, extent e, descriptor& d, void* data,
            std::size_t size, std::int64_t at, int slot = -1) noexcept;
    file_io(file_io&& o) noexcept
        : file_io(*o.type, o.code, o.extent_, *o.on_, o.address, o.size_, o.offset, o.to) {}

    file_io& operator=(const file_io&) = delete;
    ~file_io() {
        if (keeps_) [[unlikely]] {
            on_->release();
        }
    }

    bool start() noexcept;
    [[noreturn]] void raise();

    std::size_t done() const noexcept { return done_; }

private:
    void submit() noexcept;
    void completed(int result) noexcept;
    bool goes_on(int result) noexcept;
    void mend_position(int written) noexcept;

    descriptor* on_;
    ringo::detail::descriptor_use use_{*this};
    std::size_t size_;
    std::size_t done_ = 0;
    std::int64_t position_ = -1;  // of a write at the file's own, before it
    const io_code what_;
    const extent extent_;
    bool keeps_ = false;  // the descriptor, which may be closed
};

class read_operation : public ringo::detail::operation<read_operation, file_io> {
public:
    using file_io::raise;
    using file_io::start;
    using operation::operation;
    std::size_t value() const noexcept { return done(); }
};

class write_operation : public ringo::detail::operation<write_operation, file_io> {
public:
    using file_io::raise;
    using file_io::start;
    using operation::operation;
    void value() const noexcept {}
};

}  // namespace detail

/// An open file. Its destructor closes it, once its kernel operations have ended.
///
/// Any number of goroutines may use it at once, on any cores. Those that read and write at the
/// file's own position (`read`, `write`, `read_all`) must take turns.
/// Each operation throws std::system_error with the operation and the file's name in its text.
///
/// cancel   a wait for the kernel lasts until the kernel has let go of the buffer: at once where
///          the operation has not begun, else as long as the disk takes
/// follows  Go os.File
class file {
public:
    /// Not open; any operation is a panic.
    file() noexcept = default;
    /// takes    an open descriptor, which is the file's from here on; its name for errors
    file(int descriptor, std::string name);
    file(file&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
    file& operator=(file&& other) noexcept {
        file taken(std::move(other));
        std::swap(file_, taken.file_);
        return *this;
    }
    ~file();

    /// Fills the buffer with what stands at `offset`.
    ///
    /// returns  how many bytes; fewer than asked for only where the file ends
    /// throws   cancelled, deadline_exceeded: no byte was read; errc::closed
    /// core     any; resumes on the same core
    /// cost     no allocation; no system call of its own
    [[nodiscard]] detail::read_operation read_at(mutable_buffer buffer, std::uint64_t offset);
    /// ... which may be registered with this core.
    [[nodiscard]] detail::read_operation read_at(aligned_buffer& buffer, std::uint64_t offset);

    /// Writes all of it at `offset`.
    ///
    /// throws   cancelled, deadline_exceeded: `bytes()` says how far it got
    [[nodiscard]] detail::write_operation write_at(const_buffer data, std::uint64_t offset);
    [[nodiscard]] detail::write_operation write_at(const aligned_buffer& data,
                                                   std::uint64_t offset);

    /// Reads at the file's position, once.
    ///
    /// returns  how many bytes; 0: there is no more (or the buffer is empty)
    /// throws   as read_at
    [[nodiscard]] detail::read_operation read(mutable_buffer buffer);

    /// Writes all of it at the file's position, or at its end when it was opened with O_APPEND.
    ///
    /// throws   as write_at
    [[nodiscard]] detail::write_operation write(const_buffer data);

    /// Reads from the file's position to the end.
    ///
    /// throws   errc::limit_exceeded when there is more
    [[nodiscard]] task<std::string> read_all(
        std::size_t limit = std::numeric_limits<std::size_t>::max());

    /// Returns once the disk has all that was written, or all but the times and the like.
    [[nodiscard]] task<> sync();
    [[nodiscard]] task<> data_sync();

    [[nodiscard]] task<info> stat();
    [[nodiscard]] task<std::uint64_t> size();
    /// Cuts it, or extends it with zeros.
    /// cancel   until a thread of the blocking pool has taken it up
    [[nodiscard]] task<> truncate(std::uint64_t size);

    /// Closes the file, and returns when its operations have ended and its descriptor is free.
    /// Operations of others end with errc::closed. Closing one that is closed does nothing.
    /// Also closes in a cancelled goroutine.
    ///
    /// throws   what close(2) reports of earlier writes
    [[nodiscard]] task<> close();

    [[nodiscard]] bool is_open() const noexcept { return file_ != nullptr && !file_->closed(); }
    /// The name it was opened by.
    [[nodiscard]] const std::string& name() const;
    /// -1 when closed.
    [[nodiscard]] int descriptor() const noexcept { return is_open() ? file_->fd() : -1; }

    /// For ringo's own parts.
    [[nodiscard]] detail::descriptor& handle() const;

private:
    detail::descriptor& open_file(const char* misuse) const;

    detail::descriptor* file_ = nullptr;
};

}  // namespace ringo::fs
