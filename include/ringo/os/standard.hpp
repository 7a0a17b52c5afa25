// This program's standard streams.
#pragma once

#include <ringo/fs/file.hpp>

namespace ringo::os {

/// The standard streams, whatever they are: terminals, pipes, files, sockets.
///
///     fs::file in = os::stdin_stream();
///     io::buffered_reader lines(in);
///     while (const auto line = co_await lines.read_line()) …
///
/// Each call gives another descriptor of the same open file, so closing it closes nothing else.
/// Nothing about that file is changed, for other processes may have it too. What the program
/// writes through <cstdio> or <iostream> waits in a buffer of its own: flush that first.
///
/// throws   std::system_error when the program was started without that stream
/// core     any thread
/// cost     a descriptor
[[nodiscard]] fs::file stdin_stream();
[[nodiscard]] fs::file stdout_stream();
[[nodiscard]] fs::file stderr_stream();

}  // namespace ringo::os
