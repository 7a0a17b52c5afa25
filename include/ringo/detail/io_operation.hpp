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
    send,               // fd, address, length; never raises SIGPIPE
    accept,             // fd; the new descriptor is close-on-exec
    accept_multishot,   // fd; a completion per connection
    connect,            // fd, address, length
    poll,               // fd, length: the events
};

// States:  idle -> queued -> submitted -> idle
//                    |           \-> cancel_queued -> cancelling -> idle
//                    \-> withdrawn -> idle (the kernel never saw it)
// Only its last completion makes an operation idle. Until then the kernel may touch the buffer,
// so neither the operation nor its buffer may go.
enum class io_state : std::uint8_t {
    idle,
    queued,
    withdrawn,
    submitted,
    cancel_queued,
    cancelling,
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
};

}  // namespace ringo::detail
