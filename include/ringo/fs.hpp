// Files and folders.
//
// Paths are as open(2) takes them. Errors are std::system_error whose text names the operation and
// the path: `open /x/y: No such file or directory`.
#pragma once

#include <ringo/buffer.hpp>
#include <ringo/fs/aligned_buffer.hpp>
#include <ringo/fs/file.hpp>
#include <ringo/fs/info.hpp>
#include <ringo/task.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <fcntl.h>

namespace ringo::fs {

/// Opens a file.
///
/// takes    flags, as open(2): O_RDONLY, O_RDWR | O_CREAT, … | O_APPEND, O_DIRECT (which wants an
///          aligned_buffer); O_CLOEXEC goes without saying; permissions of a file that is created,
///          less the umask
/// core     any
/// cancel   in every state: a FIFO, which waits for its other side, is left at once. A core waits
///          for at most 32 FIFOs; that many hold up its other files. On epoll all cores together
///          wait for 64, which hold up `blocking` too.
/// follows  Go os.OpenFile
[[nodiscard]] task<file> open(std::string path, int flags = O_RDONLY, unsigned permissions = 0666);

/// The whole of a file.
///
/// throws   errc::limit_exceeded when it is longer
[[nodiscard]] task<std::string> read_file(
    std::string path, std::size_t limit = std::numeric_limits<std::size_t>::max());

/// Replaces a file, or makes it: whoever looks finds the old one or the new one, whole, also after
/// a power failure. A symlink is replaced, not followed; an old file's permissions stay, its owner
/// may not.
///
/// takes    data, which must live until it returns; permissions of a file that was not there
/// throws   cancelled, deadline_exceeded, any error but one of the last sync: the old file stands
/// cancel   until the new file takes the old one's place
[[nodiscard]] task<> write_file(std::string path, const_buffer data, unsigned permissions = 0666);

/// Removes a file, a symlink, or an empty folder.
///
/// follows  Go os.Remove
[[nodiscard]] task<> remove(std::string path);
/// ... or a folder with all that is in it. What is not there is no error.
[[nodiscard]] task<> remove_all(std::string path);

/// Gives a file or folder another name; a file of that name is replaced.
[[nodiscard]] task<> rename(std::string from, std::string to);

[[nodiscard]] task<> make_dir(std::string path, unsigned permissions = 0777);
/// ... with all folders above it. What is there is no error.
[[nodiscard]] task<> make_dirs(std::string path, unsigned permissions = 0777);

[[nodiscard]] task<> symlink(std::string target, std::string path);
[[nodiscard]] task<std::string> read_symlink(std::string path);

/// Of what a symlink points to.
[[nodiscard]] task<info> stat(std::string path);
/// Of the symlink itself.
[[nodiscard]] task<info> symlink_stat(std::string path);
/// False: there is nothing of that name.
[[nodiscard]] task<bool> exists(std::string path);

struct entry {
    enum class kind : unsigned char { unknown, file, dir, symlink, other };

    std::string name;
    kind type = kind::unknown;
};

/// What is in a folder, in order of names, without `.` and `..`.
///
/// core     any; a thread of the blocking pool reads it
/// cancel   until that thread has taken it up
/// follows  Go os.ReadDir
[[nodiscard]] task<std::vector<entry>> list(std::string folder);

/// A new file without a name: it is gone when it is closed.
///
/// takes    the folder whose disk it is on; empty: $TMPDIR, or else /tmp
[[nodiscard]] task<file> temporary_file(std::string folder = {});
/// A new, empty folder that only this user may enter; remove_all removes it.
///
/// returns  its path
/// follows  Go os.MkdirTemp
[[nodiscard]] task<std::string> temporary_dir(std::string folder = {});

}  // namespace ringo::fs
