// One operation that the kernel carries out for a core, whatever the back-end.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringo::detail {

enum class io_code : std::uint8_t {
    none,
    read,               // fd, address, length
    receive,            // fd, address, length
    receive_multishot,  // fd; each completion brings a pooled buffer
    receive_messages,   // ... that begins with a message_header
    send,               // fd, address, length; never raises SIGPIPE
    send_message,       // fd, address: a msghdr; never raises SIGPIPE
    // ... of all of it, from where it lies; completes when the kernel reads it no more.
    send_zero_copy,
    send_message_zero_copy,
    accept,            // fd; the new descriptor is close-on-exec
    accept_multishot,  // fd; a completion per connection
    connect,           // fd, address, length
    poll,              // fd, length: the events

    // Each of these is a file_operation. `to` of the first two: the registered buffer that holds the
    // memory; -1: none. A path is relative to the folder that fd stands for.
    file_read,      // fd, address, length, offset
    file_write,     // fd, address, length, offset
    file_sync,      // fd, flags: as io_uring's; fdatasync or fsync
    file_open,      // fd, address: the path, length: the mode, flags; close-on-exec
    file_close,     // fd
    file_stat,      // fd, address: the path, length: the mask, flags; other: a struct statx
    file_rename,    // fd, address: the path, flags; other: the new one, relative to fd, too
    file_remove,    // fd, address: the path, flags
    file_make_dir,  // fd, address: the path, length: the mode
    file_symlink,   // fd, address: the path, other: what it shall point to
    file_splice,    // fd: from, length, flags; to: into; one of them is a pipe
};

// States:  idle -> queued -> submitted -> idle
//                    |           \-> cancel_queued -> cancelling -> idle
//                    \-> withdrawn -> idle (the kernel never saw it)
//     zero copy: submitted or cancelling -> sent (its result is known) -> idle
// epoll: idle -> queued -> submitted (waits for readiness) -> queued -> ... -> idle
//                    |       \-> withdrawn -> idle
//                    \-> on_thread (a call that blocks) -> cancelling -> idle
// Only its last completion makes an operation idle. Until then the kernel may touch the buffer,
// so neither the operation nor its buffer may go.
enum class io_state : std::uint8_t {
    idle,
    queued,
    withdrawn,
    submitted,
    cancel_queued,
    cancelling,
    sent,
    on_thread,
};

struct io_completion {
    int result;                // as the system call's; errors are negative errnos
    bool more;                 // a multishot operation goes on
    std::int32_t buffer = -1;  // the pooled buffer that holds the bytes; the receiver's now
};

struct io_operation {
    using handler = void (*)(io_operation&, const io_completion&) noexcept;

    explicit io_operation(handler h) noexcept : complete(h) {}

    bool idle() const noexcept { return state == io_state::idle; }

    handler complete;
    io_operation* next = nullptr;  // on one of the kernel's lists, unless idle
    io_operation* previous = nullptr;
    void* address = nullptr;
    std::uint32_t length = 0;
    int fd = -1;
    io_code code = io_code::none;
    io_state state = io_state::idle;
    std::uint16_t ready = 0;  // the back-end's
    std::int32_t outcome;     // ... while it is `sent`
};

/// What an operation on files has to say beyond that.
struct file_operation : io_operation {
    using io_operation::io_operation;

    std::int64_t offset = -1;  // in the file; -1: the file's own position
    void* other = nullptr;
    int flags = 0;
    int to = -1;
};

}  // namespace ringo::detail
