// What is done to paths: one kernel operation each, or a few.
#include <ringo/fs.hpp>

#include "../kernel_operation.hpp"
#include "../shard.hpp"
#include "stat.hpp"

#include <ringo/blocking.hpp>
#include <ringo/context.hpp>
#include <ringo/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace ringo::fs {

namespace detail {

info stat_operation::answer() const noexcept {
    info i;
    i.size = into_.stx_size;
    i.mode = into_.stx_mode;
    i.links = into_.stx_nlink;
    i.inode = into_.stx_ino;
    i.device = makedev(into_.stx_dev_major, into_.stx_dev_minor);
    const auto since = std::chrono::seconds(into_.stx_mtime.tv_sec) +
                       std::chrono::nanoseconds(into_.stx_mtime.tv_nsec);
    i.modified = std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(since));
    return i;
}

}  // namespace detail

namespace {

using detail::stat_operation;
using ringo::detail::io_code;
using ringo::detail::kernel_operation;

kernel_operation on_path(const char* what, io_code code, const std::string& path,
                         std::size_t number = 0) {
    return {fmt::format("{} {}", what, path), code, AT_FDCWD, const_cast<char*>(path.c_str()),
            number};
}

[[noreturn]] void fail(int error, const char* what, const std::string& path) {
    throw std::system_error(error, std::system_category(), fmt::format("{} {}", what, path));
}

/// Opens a file until a `file` owns the descriptor: its goroutine may not get to it any more.
class opening {
public:
    opening(std::string text, const std::string& path, int flags, unsigned permissions)
        : op(std::move(text), io_code::file_open, AT_FDCWD, const_cast<char*>(path.c_str()),
             permissions) {
        op.flags = flags;
    }
    opening(const opening&) = delete;
    opening& operator=(const opening&) = delete;
    ~opening() {
        if (!taken_ && op.value() >= 0) {
            ::close(op.value());
            if ((op.flags & O_EXCL) != 0) {
                ::unlink(static_cast<const char*>(op.address));
            }
        }
    }
    file take(std::string name) {
        file f(op.value(), std::move(name));
        taken_ = true;
        return f;
    }

    kernel_operation op;

private:
    bool taken_ = false;
};

/// what: to what end, and how to name the file: `write_file /x/y`
task<file> open_as(const char* what, std::string name, std::string path, int flags,
                   unsigned permissions) {
    opening o(fmt::format("{} {}", what, name), path, flags, permissions);
    co_await o.op;
    co_return o.take(std::move(name));
}

/// The path of the folder that an entry is in.
std::string folder_of(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) {
        return ".";
    }
    return slash == 0 ? "/" : path.substr(0, slash);
}

std::string temporary_place(const std::string& folder) {
    if (!folder.empty()) {
        return folder;
    }
    const char* const place = std::getenv("TMPDIR");
    return place != nullptr && *place != '\0' ? place : "/tmp";
}

std::string random_suffix() {
    constexpr char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    std::string s;
    auto& here = ringo::detail::shard::here();
    for (int i = 0; i < 10; ++i) {
        s += letters[here.random() % 32];
    }
    return s;
}

/// Tries names that begin with `name` until one is new, which `name` is then.
/// make: of a name, a task that throws EEXIST when it is not
template <class Make>
auto with_new_name(std::string& name, Make make) -> decltype(make(name)) {
    const std::string prefix = name;
    for (int attempts_left = 100;; --attempts_left) {
        name = prefix + random_suffix();
        try {
            co_return co_await make(name);
        } catch (const std::system_error& e) {
            if (e.code() != std::errc::file_exists || attempts_left == 0) {
                throw;
            }
        }
    }
}

/// A name that goes unless it is kept. At once and on the core: it is for failures, and a
/// goroutine that unwinds at the end of a run cannot wait.
class provisional {
public:
    explicit provisional(const std::string& path) noexcept : path_(&path) {}
    provisional(const provisional&) = delete;
    provisional& operator=(const provisional&) = delete;
    ~provisional() {
        if (path_ != nullptr) {
            ::unlink(path_->c_str());
        }
    }
    void keep() noexcept { path_ = nullptr; }

private:
    const std::string* path_;
};

task<> sync_folder(const std::string& folder) {
    file f = co_await open_as("write_file", folder, folder, O_RDONLY | O_DIRECTORY, 0);
    co_await f.sync();
    co_await f.close();
}

/// The permissions of a file that is there, else -1.
task<int> permissions_of(const std::string& path) {
    stat_operation op(fmt::format("write_file {}", path), AT_FDCWD, path.c_str(),
                      AT_SYMLINK_NOFOLLOW);
    int found = -1;
    try {
        co_await op;
        if (op.answer().is_file()) {
            found = static_cast<int>(op.answer().permissions());
        }
    } catch (const std::system_error& e) {
        if (e.code() != std::errc::no_such_file_or_directory) {
            throw;
        }
    }
    co_return found;
}

task<> put_in_place(const std::string& from, const std::string& to, provisional& name) {
    kernel_operation op = on_path("write_file", io_code::file_rename, to);
    op.address = const_cast<char*>(from.c_str());
    op.other = const_cast<char*>(to.c_str());
    co_await op;
    name.keep();
    co_await sync_folder(folder_of(to));
}

task<info> stat_with(std::string path, int flags) {
    stat_operation op(fmt::format("stat {}", path), AT_FDCWD, path.c_str(), flags);
    co_await op;
    co_return op.answer();
}

task<> remove_with(const std::string& path, int flags) {
    kernel_operation op = on_path("remove", io_code::file_remove, path);
    op.flags = flags;
    co_await op;
}

entry::kind kind_of(unsigned char type) noexcept {
    switch (type) {
        case DT_REG:
            return entry::kind::file;
        case DT_DIR:
            return entry::kind::dir;
        case DT_LNK:
            return entry::kind::symlink;
        case DT_UNKNOWN:
            return entry::kind::unknown;
        default:
            return entry::kind::other;
    }
}

/// Blocks.
std::vector<entry> list_now(const std::string& folder) {
    const std::unique_ptr<DIR, int (*)(DIR*)> all(::opendir(folder.c_str()), &::closedir);
    if (all == nullptr) {
        fail(errno, "list", folder);
    }
    std::vector<entry> entries;
    errno = 0;
    while (const dirent* const e = ::readdir(all.get())) {
        const std::string_view name = e->d_name;
        if (name != "." && name != "..") {
            entries.push_back({std::string(name), kind_of(e->d_type)});
        }
        errno = 0;
    }
    if (errno != 0) {
        fail(errno, "list", folder);
    }
    std::sort(entries.begin(), entries.end(),
              [](const entry& a, const entry& b) { return a.name < b.name; });
    return entries;
}

}  // namespace

task<file> open(std::string path, int flags, unsigned permissions) {
    std::string name = path;
    return open_as("open", std::move(name), std::move(path), flags, permissions);
}

task<std::string> read_file(std::string path, std::size_t limit) {
    file f = co_await open(std::move(path));
    co_return co_await f.read_all(limit);
}

task<> write_file(std::string path, const_buffer data, unsigned permissions) {
    const int old = co_await permissions_of(path);
    auto create = [&](const std::string& name) {
        return open_as("write_file", path, name, O_WRONLY | O_CREAT | O_EXCL, permissions);
    };
    std::string temporary = folder_of(path) + "/.ringo-";
    file f = co_await with_new_name(temporary, create);
    provisional name(temporary);
    co_await f.write(data);
    if (old >= 0) {
        auto change = [fd = f.descriptor(), old] {
            return ::fchmod(fd, static_cast<mode_t>(old)) == 0 ? 0 : errno;
        };
        if (const int error = co_await blocking(change); error != 0) {
            fail(error, "write_file", path);
        }
    }
    co_await f.sync();
    co_await f.close();
    co_await shield(put_in_place(temporary, path, name));
}

task<> remove(std::string path) {
    bool dir = false;
    try {
        co_await remove_with(path, 0);
    } catch (const std::system_error& e) {
        dir = e.code() == std::errc::is_a_directory;
        if (!dir) {
            throw;
        }
    }
    if (dir) {
        co_await remove_with(path, AT_REMOVEDIR);
    }
}

task<> remove_all(std::string path) {
    std::error_code why;
    try {
        co_await remove(path);
    } catch (const std::system_error& e) {
        why = e.code();
        if (why != std::errc::directory_not_empty && why != std::errc::no_such_file_or_directory &&
            why != std::errc::file_exists) {
            throw;
        }
    }
    if (!why || why == std::errc::no_such_file_or_directory) {
        co_return;
    }
    const std::vector<entry> inside = co_await list(path);
    for (const entry& e : inside) {
        co_await remove_all(path + '/' + e.name);
    }
    co_await remove(std::move(path));
}

task<> rename(std::string from, std::string to) {
    kernel_operation op(fmt::format("rename {} to {}", from, to), io_code::file_rename, AT_FDCWD,
                        from.data(), 0);
    op.other = to.data();
    co_await op;
}

task<> make_dir(std::string path, unsigned permissions) {
    kernel_operation op = on_path("make_dir", io_code::file_make_dir, path, permissions);
    co_await op;
}

task<> make_dirs(std::string path, unsigned permissions) {
    std::error_code why;
    try {
        co_await make_dir(path, permissions);
        co_return;
    } catch (const std::system_error& e) {
        why = e.code();
        if (why != std::errc::no_such_file_or_directory && why != std::errc::file_exists) {
            throw;
        }
    }
    if (why == std::errc::no_such_file_or_directory) {
        const std::size_t end = path.find_last_not_of('/');
        const std::string above = folder_of(path.substr(0, end + 1));
        if (end != std::string::npos && above != path) {
            co_await make_dirs(above, permissions);
        }
    }
    std::error_code again;
    try {
        co_await make_dir(path, permissions);
        co_return;
    } catch (const std::system_error& e) {
        again = e.code();
        if (again != std::errc::file_exists) {
            throw;
        }
    }
    const info i = co_await stat(path);
    if (!i.is_dir()) {
        fail(EEXIST, "make_dir", path);
    }
}

task<> symlink(std::string target, std::string path) {
    kernel_operation op = on_path("symlink", io_code::file_symlink, path);
    op.other = target.data();
    co_await op;
}

task<std::string> read_symlink(std::string path) {
    auto read = [&path] {
        std::string target(PATH_MAX, '\0');
        const ::ssize_t n = ::readlink(path.c_str(), target.data(), target.size());
        if (n < 0) {
            fail(errno, "read_symlink", path);
        }
        target.resize(static_cast<std::size_t>(n));
        return target;
    };
    co_return co_await blocking(read);
}

task<info> stat(std::string path) { return stat_with(std::move(path), 0); }
task<info> symlink_stat(std::string path) {
    return stat_with(std::move(path), AT_SYMLINK_NOFOLLOW);
}

task<bool> exists(std::string path) {
    bool there = true;
    try {
        co_await symlink_stat(std::move(path));
    } catch (const std::system_error& e) {
        if (e.code() != std::errc::no_such_file_or_directory &&
            e.code() != std::errc::not_a_directory) {
            throw;
        }
        there = false;
    }
    co_return there;
}

task<std::vector<entry>> list(std::string folder) {
    auto read = [&folder] { return list_now(folder); };
    co_return co_await blocking(read);
}

task<file> temporary_file(std::string folder) {
    std::string name = temporary_place(folder);
    std::error_code why;
    try {
        co_return co_await open_as("temporary_file", name, name, O_TMPFILE | O_RDWR, 0600);
    } catch (const std::system_error& e) {
        why = e.code();
        if (why != std::errc::operation_not_supported && why != std::errc::is_a_directory) {
            throw;
        }
    }
    // A file system without nameless files.
    auto create = [](const std::string& path) {
        return open_as("temporary_file", path, path, O_RDWR | O_CREAT | O_EXCL, 0600);
    };
    name += "/ringo-";
    file f = co_await with_new_name(name, create);
    const provisional gone(name);
    co_return f;
}

task<std::string> temporary_dir(std::string folder) {
    auto create = [](const std::string& path) -> task<> {
        kernel_operation op = on_path("temporary_dir", io_code::file_make_dir, path, 0700);
        co_await op;
    };
    std::string name = temporary_place(folder) + "/ringo-";
    co_await with_new_name(name, create);
    co_return name;
}

}  // namespace ringo::fs
