// pipe: a pipe of the operating system, both ends of it as streams.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/detail/descriptor.hpp>
#include <ringo/detail/operation.hpp>
#include <ringo/detail/polled_io.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <string>
#include <utility>

namespace ringo::io {

namespace detail {

extern const ringo::detail::polled_type pipe_read_wait;
extern const ringo::detail::polled_type pipe_write_wait;

/// What the compiled core knows of reading from a pipe and of writing into one.
class pipe_io : public ringo::detail::polled_io {
public:
    pipe_io(const ringo::detail::polled_type& t, ringo::detail::descriptor& d, void* from_or_into,
            std::size_t n) noexcept
        : polled_io(t, d), data(from_or_into), size(n) {}
    pipe_io(pipe_io&& o) noexcept : pipe_io(o.what(), o.on(), o.data, o.size) {}
    pipe_io& operator=(const pipe_io&) = delete;

    bool start() noexcept { return size != 0 && polled_io::start(); }
    [[noreturn]] void raise();
    std::size_t value() const noexcept { return done; }

    void* const data;
    const std::size_t size;
    std::size_t done = 0;
};

class pipe_operation : public ringo::detail::operation<pipe_operation, pipe_io> {
public:
    using operation::operation;
    using pipe_io::arm;
    using pipe_io::raise;
    using pipe_io::start;
    using pipe_io::value;
};

/// The part that both ends have.
class pipe_end {
public:
    pipe_end() noexcept = default;
    pipe_end(int descriptor, std::string name);
    pipe_end(pipe_end&& other) noexcept : pipe_(std::exchange(other.pipe_, nullptr)) {}
    pipe_end& operator=(pipe_end&& other) noexcept {
        pipe_end taken(std::move(other));
        std::swap(pipe_, taken.pipe_);
        return *this;
    }
    ~pipe_end() { close(); }

    /// Whoever waits at this end gets errc::closed. The descriptor is free when they have left.
    void close() noexcept;
    [[nodiscard]] bool is_open() const noexcept { return pipe_ != nullptr; }
    /// -1 when closed.
    [[nodiscard]] int descriptor() const noexcept { return is_open() ? pipe_->fd() : -1; }
    /// For ringo's own parts.
    [[nodiscard]] ringo::detail::descriptor& handle() const;

private:
    ringo::detail::descriptor* pipe_ = nullptr;
};

}  // namespace detail

/// The end of a pipe, or of what behaves like one, that is read from.
class pipe_reader : public detail::pipe_end {
public:
    /// takes    a descriptor, which is the reader's from here on and becomes non-blocking; how
    ///          errors name it
    using pipe_end::pipe_end;

    /// Waits for bytes, and takes as many as there are and fit. As an operand of select it takes
    /// them only once it has won.
    ///
    /// returns  how many; 0: all writers are gone (or the buffer is empty)
    /// throws   cancelled, deadline_exceeded: no byte was taken; errc::closed
    /// panics   when it is not open
    /// core     any; resumes on the same core
    /// cost     no allocation; one system call when there are bytes
    [[nodiscard]] detail::pipe_operation read(mutable_buffer buffer);
};

/// ... that is written to.
class pipe_writer : public detail::pipe_end {
public:
    using pipe_end::pipe_end;

    /// Writes once: as much as the pipe takes, at least one byte. As an operand of select it writes
    /// only once it has won.
    ///
    /// throws   cancelled, deadline_exceeded: nothing was written; EPIPE, never SIGPIPE
    [[nodiscard]] detail::pipe_operation write_some(const_buffer data);

    /// Writes all of it.
    ///
    /// throws   as write_some; cancelled, deadline_exceeded: `bytes()` says how far it got
    [[nodiscard]] task<> write(const_buffer data);
};

struct pipe_ends {
    pipe_ends(pipe_reader r, pipe_writer w) noexcept : reader(std::move(r)), writer(std::move(w)) {}

    pipe_reader reader;
    pipe_writer writer;
};

/// A new pipe.
///
/// throws   std::system_error when descriptors have run out
/// follows  Go os.Pipe
[[nodiscard]] pipe_ends pipe();

}  // namespace ringo::io
