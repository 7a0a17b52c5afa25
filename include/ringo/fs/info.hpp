// What the system knows of a file.
#pragma once

#include <chrono>
#include <cstdint>

#include <sys/stat.h>

namespace ringo::fs {

/// follows  Go fs.FileInfo
struct info {
    std::uint64_t size = 0;
    std::uint32_t mode = 0;  // type and permissions, as st_mode
    std::uint32_t links = 0;
    std::uint64_t inode = 0;
    std::uint64_t device = 0;
    std::chrono::system_clock::time_point modified;

    bool is_file() const noexcept { return S_ISREG(mode); }
    bool is_dir() const noexcept { return S_ISDIR(mode); }
    bool is_symlink() const noexcept { return S_ISLNK(mode); }
    unsigned permissions() const noexcept { return mode & 07777U; }
    /// Whether both name one file, of this system and at this time.
    bool is_same_as(const info& other) const noexcept {
        return inode == other.inode && device == other.device;
    }
};

}  // namespace ringo::fs
