#include <ringo/os/standard.hpp>

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace ringo::os {

namespace {

// Why not O_NONBLOCK: it would be set for all processes that share the open file, the shell and
// its other children among them.
fs::file stream(int number, const char* name) {
    const int own = ::fcntl(number, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
        throw std::system_error(errno, std::system_category(), name);
    }
    return {own, name};
}

}  // namespace

fs::file stdin_stream() { return stream(STDIN_FILENO, "stdin"); }
fs::file stdout_stream() { return stream(STDOUT_FILENO, "stdout"); }
fs::file stderr_stream() { return stream(STDERR_FILENO, "stderr"); }

}  // namespace ringo::os
