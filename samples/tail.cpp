// Shows what is appended to a file, as `tail -F` does, from its end on.    tail FILE
//
// A file that was cut is read from its beginning. When another one takes its name, as happens when
// logs are rotated, that one is followed. Ctrl-C ends it.
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/fs.hpp>
#include <ringo/os.hpp>
#include <ringo/poll.hpp>
#include <ringo/run.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace {

namespace fs = ringo::fs;
using ringo::task;

/// Says when something has happened in a folder. inotify knows nothing of ringo: its descriptor is
/// polled.
class folder_watch {
public:
    explicit folder_watch(const std::string& folder)
        : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
        if (fd_ < 0 ||
            ::inotify_add_watch(fd_, folder.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
            const int error = errno;
            ::close(fd_);
            throw std::system_error(error, std::system_category(), "watch " + folder);
        }
    }
    folder_watch(const folder_watch&) = delete;
    folder_watch& operator=(const folder_watch&) = delete;
    ~folder_watch() { ::close(fd_); }

    task<> next() {
        co_await ringo::poll(fd_, POLLIN);
        std::array<char, 4096> events;
        while (::read(fd_, events.data(), events.size()) > 0) {
        }
    }

private:
    int fd_;
};

class follower {
public:
    explicit follower(std::string path) : path_(std::move(path)) {}

    task<> follow() {
        folder_watch watch(folder());
        co_await open();
        at_ = co_await file_.size();
        say("following");
        while (true) {
            co_await watch.next();
            co_await copy_rest();
            if (co_await was_replaced()) {
                say("replaced");
                co_await open();
                co_await copy_rest();
            }
        }
    }

private:
    std::string folder() const {
        const std::size_t slash = path_.find_last_of('/');
        return slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    }
    void say(const char* what) const { std::fprintf(stderr, "tail: %s %s\n", what, path_.c_str()); }

    task<> open() {
        file_ = co_await fs::open(path_);
        inode_ = (co_await file_.stat()).inode;
        at_ = 0;
    }

    task<> copy_rest() {
        if (co_await file_.size() < at_) {
            say("cut:");
            at_ = 0;
        }
        std::array<char, 16384> buffer;
        while (const std::size_t n = co_await file_.read_at(buffer, at_)) {
            co_await out_.write(ringo::const_buffer(buffer.data(), n));
            at_ += n;
        }
    }

    task<bool> was_replaced() {
        try {
            co_return (co_await fs::stat(path_)).inode != inode_;
        } catch (const std::system_error& e) {
            if (e.code() != std::errc::no_such_file_or_directory) {
                throw;
            }
        }
        co_return false;  // the new one has yet to come
    }

    std::string path_;
    fs::file out_ = ringo::os::stdout_stream();
    fs::file file_;
    std::uint64_t inode_ = 0;
    std::uint64_t at_ = 0;
};

task<int> co_main(std::string path) {
    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    follower f(std::move(path));
    try {
        co_await ringo::within(interrupted, f.follow());
    } catch (const ringo::cancelled&) {
    }
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fputs("usage: tail FILE\n", stderr);
        return 2;
    }
    try {
        return ringo::run(co_main(argv[1]));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "tail: %s\n", e.what());
        return 1;
    }
}
