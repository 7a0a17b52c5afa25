#include <ringo/fs/file.hpp>

#include "../kernel_operation.hpp"
#include "../open_use.hpp"
#include "../shard.hpp"
#include "stat.hpp"

#include <ringo/blocking.hpp>
#include <ringo/detail/panic.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace ringo::fs {

namespace detail {

using ringo::detail::context_failure;
using ringo::detail::failure_closed;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::kernel_operation;
using ringo::detail::operation;
using ringo::detail::shard;
using ringo::detail::throw_failure;
using ringo::detail::wait;
using ringo::detail::wait_type;
using ringo::detail::wake;
using ringo::detail::waker;

namespace {

constexpr std::size_t step_max = std::size_t{1} << 30;

void cancel_io(wait& w) noexcept { shard::here().io().cancel(static_cast<file_io&>(w)); }

void describe_io(const wait& w, ringo::detail::wait_state& s) noexcept {
    s.fd = static_cast<const file_io&>(w).fd;
}

}  // namespace

const wait_type read_wait{"read", &cancel_io, nullptr, waker::goroutine, &describe_io};
const wait_type read_at_wait{"read_at", &cancel_io, nullptr, waker::goroutine, &describe_io};
const wait_type write_wait{"write", &cancel_io, nullptr, waker::goroutine, &describe_io};
const wait_type write_at_wait{"write_at", &cancel_io, nullptr, waker::goroutine, &describe_io};

file_io::file_io(const wait_type& what, io_code how, extent e, descriptor& d, void* data,
                 std::size_t size, std::int64_t at, int slot) noexcept
    : wait(what),
      file_operation([](io_operation& op, const io_completion& c) noexcept {
          static_cast<file_io&>(op).completed(c.result);
      }),
      on_(&d),
      size_(size),
      what_(how),
      extent_(e) {
    code = how;
    fd = d.fd();
    address = data;
    offset = at;
    to = slot;
}

bool file_io::start() noexcept {
    if (size_ == 0) {
        return false;
    }
    if (!on_->enter(use_)) {
        self->error = failure_closed;
        return false;
    }
    submit();
    return true;
}

void file_io::submit() noexcept {
    code = what_;
    length = static_cast<std::uint32_t>(std::min(size_ - done_, step_max));
    if (what_ == io_code::file_write && offset < 0) {
        position_ = ::lseek(fd, 0, SEEK_CUR);
    }
    shard::here().io().start(*this);
}

/// Kernel: when a disk becomes full in the middle of a write at the file's own position, io_uring
/// tells how much was written, but may leave the position where it was: the next write would go
/// over that.
void file_io::mend_position(int written) noexcept {
    if (static_cast<std::uint32_t>(written) < length && position_ >= 0 &&
        ::lseek(fd, 0, SEEK_CUR) == position_) {
        ::lseek(fd, position_ + written, SEEK_SET);
    }
}

/// Whether there is more to be done; `error` says why, where that ends it too early.
bool file_io::goes_on(int result) noexcept {
    if (code == io_code::poll && result >= 0) {
        return true;  // try again
    }
    if (result > 0) {
        const auto n = static_cast<std::size_t>(result);
        mend_position(result);
        done_ += n;
        address = static_cast<std::byte*>(address) + n;
        offset += offset >= 0 ? result : 0;
        return extent_ == extent::whole && done_ < size_;
    }
    if (result == 0) {
        // The end of the file. A write never gets there, unless what it writes to is odd.
        self->error = what_ == io_code::file_write ? EIO : 0;
        return false;
    }
    if (result == -EINTR) {
        return true;
    }
    const bool took_effect = what_ == io_code::file_read && done_ != 0;
    if (result == -ECANCELED) {
        self->error = on_->closed() ? int{failure_closed} : context_failure(*self);
    } else {
        self->error = static_cast<std::uint8_t>(-result);
    }
    if (took_effect) {
        self->error = 0;  // what has been read is told; the next read fails again
    }
    return false;
}

void file_io::completed(int result) noexcept {
    if (result == -EAGAIN && code != io_code::poll) {
        // Somebody has made the descriptor non-blocking.
        code = io_code::poll;
        length = what_ == io_code::file_read ? POLLIN : POLLOUT;
        shard::here().io().start(*this);
        return;
    }
    if (!goes_on(result)) {
        if (self->error != 0 && !keeps_) {
            keeps_ = true;  // for its name; others may close the file by then
            on_->retain();
        }
        on_->leave(use_);
        wake(*self);
    } else if (on_->closed() || self->cancelled) {
        // Between two steps nobody could cancel it.
        completed(-ECANCELED);
    } else {
        submit();
    }
}

void file_io::raise() {
    const std::uint8_t error = self->error;
    const bool named = error < ringo::detail::failure_cancelled;
    throw_failure(error, named ? fmt::format("{} {}", type->name, on_->name()) : type->name, done_);
}

namespace {

/// Waits until nothing uses a descriptor that is being closed. Operations on it have been asked to
/// end, so this does soon.
class drain_operation : public operation<drain_operation> {
public:
    explicit drain_operation(descriptor& d) noexcept : operation(drain_wait), closing_(&d) {}
    drain_operation(const drain_operation&) = delete;
    drain_operation& operator=(const drain_operation&) = delete;
    ~drain_operation() {
        if (how_ != descriptor::closing::refused) {
            ::close(closing_->fd());  // its goroutine does not get to it
            closing_->release();
        }
    }

    static constexpr bool starts_when_cancelled = true;

    bool start() noexcept {
        how_ = closing_->close(self);
        return how_ == descriptor::closing::later;
    }
    /// Whether the descriptor is the caller's to close.
    bool value() noexcept {
        return std::exchange(how_, descriptor::closing::refused) != descriptor::closing::refused;
    }

private:
    static constexpr wait_type drain_wait{"close", [](wait&) noexcept {}};

    descriptor* closing_;
    descriptor::closing how_ = descriptor::closing::refused;
};

/// Has the kernel close what is no longer in use.
class close_operation : public operation<close_operation>, public io_operation {
public:
    explicit close_operation(descriptor& d) noexcept
        : operation(close_wait), io_operation(&completed), closing_(&d) {
        code = io_code::file_close;
        fd = d.fd();
    }
    close_operation(const close_operation&) = delete;
    close_operation& operator=(const close_operation&) = delete;
    ~close_operation() {
        if (!done_) {
            ::close(fd);  // its goroutine does not get to it
        }
        closing_->release();
    }

    static constexpr bool starts_when_cancelled = true;

    bool start() noexcept {
        shard::here().io().start(*this);
        return true;
    }
    void value() const noexcept {}
    [[noreturn]] void raise() {
        throw_failure(self->error, fmt::format("close {}", closing_->name()), 0);
    }

private:
    static void completed(io_operation& op, const io_completion& c) noexcept {
        auto& me = static_cast<close_operation&>(op);
        // Kernel: the descriptor is free, whatever close(2) reports.
        me.done_ = c.result != -ECANCELED;
        if (me.done_ && c.result != -EINTR) {
            me.self->error = static_cast<std::uint8_t>(-c.result);
        }
        wake(*me.self);
    }
    static constexpr wait_type close_wait{"close", [](wait&) noexcept {}};

    descriptor* closing_;
    bool done_ = false;
};

task<> sync(descriptor& d, const char* name, unsigned flags) {
    kernel_operation op(fmt::format("{} {}", name, d.name()), io_code::file_sync, d.fd(), nullptr,
                        0);
    op.flags = static_cast<int>(flags);
    co_await ringo::detail::perform(d, op, name);
}

constexpr unsigned data_only = 1;  // IORING_FSYNC_DATASYNC

}  // namespace

}  // namespace detail

file::file(int descriptor, std::string name)
    : file_(new detail::descriptor(descriptor, std::move(name))) {}

file::~file() {
    if (file_ != nullptr) {
        file_->close(nullptr);
        file_->release();
    }
}

detail::descriptor& file::open_file(const char* misuse) const {
    if (file_ == nullptr) {
        ringo::detail::panic(misuse);
    }
    return *file_;
}

detail::read_operation file::read_at(mutable_buffer buffer, std::uint64_t offset) {
    return {detail::read_at_wait,
            detail::io_code::file_read,
            detail::extent::whole,
            open_file("file: read_at of one that is not open"),
            buffer.bytes().data(),
            buffer.bytes().size(),
            static_cast<std::int64_t>(offset)};
}

detail::write_operation file::write_at(const_buffer data, std::uint64_t offset) {
    return {detail::write_at_wait,
            detail::io_code::file_write,
            detail::extent::whole,
            open_file("file: write_at to one that is not open"),
            const_cast<std::byte*>(data.bytes().data()),
            data.bytes().size(),
            static_cast<std::int64_t>(offset)};
}

detail::read_operation file::read_at(aligned_buffer& buffer, std::uint64_t offset) {
    return {detail::read_at_wait,
            detail::io_code::file_read,
            detail::extent::whole,
            open_file("file: read_at of one that is not open"),
            buffer.data(),
            buffer.size(),
            static_cast<std::int64_t>(offset),
            buffer.slot_here()};
}

detail::write_operation file::write_at(const aligned_buffer& data, std::uint64_t offset) {
    return {detail::write_at_wait,
            detail::io_code::file_write,
            detail::extent::whole,
            open_file("file: write_at to one that is not open"),
            const_cast<std::byte*>(data.data()),
            data.size(),
            static_cast<std::int64_t>(offset),
            data.slot_here()};
}

detail::read_operation file::read(mutable_buffer buffer) {
    return {detail::read_wait,
            detail::io_code::file_read,
            detail::extent::one_step,
            open_file("file: read of one that is not open"),
            buffer.bytes().data(),
            buffer.bytes().size(),
            -1};
}

detail::write_operation file::write(const_buffer data) {
    return {detail::write_wait,
            detail::io_code::file_write,
            detail::extent::whole,
            open_file("file: write to one that is not open"),
            const_cast<std::byte*>(data.bytes().data()),
            data.bytes().size(),
            -1};
}

task<std::string> file::read_all(std::size_t limit) {
    constexpr std::size_t first = 16384;
    // One byte more than allowed, to see that there is more.
    const std::size_t most = limit == std::numeric_limits<std::size_t>::max() ? limit : limit + 1;
    std::string all(std::min(first, most), '\0');
    std::size_t have = 0;
    while (true) {
        const std::size_t n = co_await read({all.data() + have, all.size() - have});
        have += n;
        if (n == 0 || have > limit) {
            break;
        }
        if (have == all.size()) {
            const std::uint64_t hint = have == first ? co_await size() + 1 : 0;
            all.resize(std::min(most, std::max<std::size_t>(hint, 2 * have)));
        }
    }
    if (have > limit) {
        throw std::system_error(errc::limit_exceeded, fmt::format("read_all {}", name()));
    }
    all.resize(have);
    co_return all;
}

task<> file::sync() {
    return detail::sync(open_file("file: sync of one that is not open"), "sync", 0);
}
task<> file::data_sync() {
    return detail::sync(open_file("file: data_sync of one that is not open"), "data_sync",
                        detail::data_only);
}

task<info> file::stat() {
    detail::descriptor& d = open_file("file: stat of one that is not open");
    detail::stat_operation op(fmt::format("stat {}", d.name()), d.fd(), "", AT_EMPTY_PATH);
    co_await ringo::detail::perform(d, op, "stat");
    co_return op.answer();
}

task<std::uint64_t> file::size() {
    const info i = co_await stat();
    co_return i.size;
}

task<> file::truncate(std::uint64_t size) {
    detail::descriptor& d = open_file("file: truncate of one that is not open");
    detail::io_operation none(nullptr);
    const ringo::detail::open_use u(d, none, "truncate");
    auto cut = [fd = d.fd(), size] {
        return ::ftruncate(fd, static_cast<off_t>(size)) == 0 ? 0 : errno;
    };
    const int error = co_await blocking(cut);
    if (error != 0) {
        throw std::system_error(error, std::system_category(),
                                fmt::format("truncate {}", d.name()));
    }
}

task<> file::close() {
    detail::descriptor& d = open_file("file: close of one that is not open");
    if (co_await detail::drain_operation(d)) {
        co_await detail::close_operation(d);
    }
}

detail::descriptor& file::handle() const {
    return open_file("file: copy with one that is not open");
}

const std::string& file::name() const {
    return open_file("file: name of one that is not open").name();
}

}  // namespace ringo::fs
