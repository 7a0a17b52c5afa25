#include <ringo/os/command.hpp>

#include "child.hpp"

#include <ringo/blocking.hpp>
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/io/stream.hpp>
#include <ringo/when.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <exception>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ringo::os {

namespace {

class owned_fd {
public:
    explicit owned_fd(int fd = -1) noexcept : fd_(fd) {}
    owned_fd(owned_fd&& other) noexcept : fd_(other.release()) {}
    owned_fd& operator=(owned_fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~owned_fd() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

/// Names the program in every error.
class attempt {
public:
    explicit attempt(const std::string& program) : program_(program) {}

    [[noreturn]] void fail(int error, std::string_view detail = {}) const {
        throw std::system_error(
            error, std::system_category(),
            fmt::format("start {}{}{}", program_, detail.empty() ? "" : ": ", detail));
    }
    /// What a system call has returned, unless that is an error.
    int check(int result, std::string_view detail = {}) const {
        if (result < 0) {
            fail(errno, detail);
        }
        return result;
    }
    /// ... where it returns the errno.
    void expect(int error, std::string_view detail = {}) const {
        if (error != 0) {
            fail(error, detail);
        }
    }

private:
    const std::string& program_;
};

/// What posix_spawn wants to know, beside words.
class plan {
public:
    explicit plan(const attempt& a) : attempt_(a) {
        attempt_.expect(::posix_spawn_file_actions_init(&actions_));
        if (const int error = ::posix_spawnattr_init(&attributes_); error != 0) {
            ::posix_spawn_file_actions_destroy(&actions_);
            attempt_.fail(error);
        }
    }
    plan(const plan&) = delete;
    plan& operator=(const plan&) = delete;
    ~plan() {
        ::posix_spawn_file_actions_destroy(&actions_);
        ::posix_spawnattr_destroy(&attributes_);
    }

    void set_stream(int from, int to) {
        attempt_.expect(::posix_spawn_file_actions_adddup2(&actions_, from, to));
    }
    void set_dir(int folder) {
        attempt_.expect(::posix_spawn_file_actions_addfchdir_np(&actions_, folder));
    }
    /// SIGPIPE is blocked on cores, and what else the program does with signals is its own.
    void set_signals(bool own_group) {
        sigset_t none;
        sigset_t reset;
        ::sigemptyset(&none);
        ::sigfillset(&reset);
        struct sigaction hang_up {};
        if (::sigaction(SIGHUP, nullptr, &hang_up) == 0 && hang_up.sa_handler == SIG_IGN) {
            ::sigdelset(&reset, SIGHUP);
        }
        int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
        flags |= own_group ? POSIX_SPAWN_SETPGROUP : 0;
        ::posix_spawnattr_setsigmask(&attributes_, &none);
        ::posix_spawnattr_setsigdefault(&attributes_, &reset);
        ::posix_spawnattr_setpgroup(&attributes_, 0);
        attempt_.expect(::posix_spawnattr_setflags(&attributes_, static_cast<short>(flags)));
    }
    ::pid_t carry_out(const std::vector<std::string>& words, const std::vector<std::string>& env) {
        attempt_.expect(::posix_spawn_file_actions_addclosefrom_np(&actions_, 3));
        ::pid_t pid = 0;
        attempt_.expect(::posix_spawnp(&pid, words.front().c_str(), &actions_, &attributes_,
                                       pointers(words).data(), pointers(env).data()));
        return pid;
    }

private:
    static std::vector<char*> pointers(const std::vector<std::string>& texts) {
        std::vector<char*> all;
        for (const std::string& t : texts) {
            all.push_back(const_cast<char*>(t.c_str()));
        }
        all.push_back(nullptr);
        return all;
    }

    const attempt& attempt_;
    posix_spawn_file_actions_t actions_;
    posix_spawnattr_t attributes_;
};

/// The child's end of a stream must not have the number of another one.
owned_fd above_streams(owned_fd fd, const attempt& a) {
    return fd.get() > 2 ? std::move(fd) : owned_fd(a.check(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)));
}

owned_fd text_file(const std::string& text, const attempt& a) {
    owned_fd file(a.check(::memfd_create("stdin", MFD_CLOEXEC), "in_text"));
    for (std::string_view rest = text; !rest.empty();) {
        const ::ssize_t n = ::write(file.get(), rest.data(), rest.size());
        if (n < 0 && errno != EINTR) {
            a.fail(errno, "in_text");
        }
        rest.remove_prefix(static_cast<std::size_t>(std::max<::ssize_t>(n, 0)));
    }
    ::lseek(file.get(), 0, SEEK_SET);
    return file;
}

}  // namespace

namespace detail {

/// Blocks: for a thread of the pool.
struct spawner {
    static process spawn(const command& c) {
        const attempt a(c.words_.front());
        check(c, a);
        plan p(a);
        process made(nullptr);
        owned_fd kept[3];
        for (int i = 0; i < 3; ++i) {
            kept[i] = open_stream(c, i, made, a);
            if (kept[i].get() >= 0) {
                kept[i] = above_streams(std::move(kept[i]), a);
                p.set_stream(kept[i].get(), i);
            } else if (stream(c, i).what == redirect::kind::merged) {
                p.set_stream(1, 2);
            }
        }
        owned_fd folder;
        if (!c.dir_.empty()) {
            folder = owned_fd(a.check(::open(c.dir_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC),
                                      "chdir " + c.dir_));
            p.set_dir(folder.get());
        }
        p.set_signals(c.own_group_);
        made.child_ = own(p.carry_out(c.words_, environment(c)), c, a);
        return made;
    }

    static redirect stream(const command& c, int i) { return c.streams_[i].value_or(null); }
    static const std::string& program(const command& c) { return c.words_.front(); }
    /// What `output` shall collect.
    static void collect(command& c) {
        for (int i = 1; i < 3; ++i) {
            c.streams_[i] = c.streams_[i].value_or(piped);
        }
    }

private:
    static void check(const command& c, const attempt& a) {
        const auto is_cut = [](const std::string& s) { return s.find('\0') != std::string::npos; };
        const auto is_bad = [&](const command::change& e) {
            return e.name.empty() || e.name.find('=') != std::string::npos || is_cut(e.name) ||
                   is_cut(e.value.value_or(""));
        };
        if (std::any_of(c.words_.begin(), c.words_.end(), is_cut) || is_cut(c.dir_)) {
            a.fail(EINVAL, "a zero byte in an argument");
        }
        if (std::any_of(c.env_.begin(), c.env_.end(), is_bad)) {
            a.fail(EINVAL, "env");
        }
    }

    /// The child's end, or a borrowed one again; none where there is nothing to be done.
    static owned_fd open_stream(const command& c, int i, process& made, const attempt& a) {
        if (i == 0 && c.in_is_text_) {
            return text_file(c.text_, a);
        }
        const redirect r = stream(c, i);
        switch (r.what) {
            case redirect::kind::null:
                return owned_fd(a.check(::open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null"));
            case redirect::kind::piped:
                return open_pipe(i, made, a);
            case redirect::kind::descriptor:
                return owned_fd(a.check(::fcntl(r.descriptor, F_DUPFD_CLOEXEC, 3), "redirect"));
            case redirect::kind::merged:
                if (i != 2) {
                    a.fail(EINVAL, "merged");
                }
                return owned_fd();
            case redirect::kind::inherited:
                break;
        }
        return owned_fd();
    }
    static owned_fd open_pipe(int i, process& made, const attempt& a) {
        int fds[2];
        a.check(::pipe2(fds, O_CLOEXEC), "pipe");
        owned_fd reads(fds[0]);
        owned_fd writes(fds[1]);
        if (i == 0) {
            made.in = io::pipe_writer(writes.release(), "a process's stdin");
            return reads;
        }
        auto& ours = i == 1 ? made.out : made.err;
        ours =
            io::pipe_reader(reads.release(), i == 1 ? "a process's stdout" : "a process's stderr");
        return writes;
    }

    static std::vector<std::string> environment(const command& c) {
        std::vector<std::string> all;
        for (char** e = ::environ; !c.env_is_empty_ && e != nullptr && *e != nullptr; ++e) {
            all.emplace_back(*e);
        }
        for (const command::change& e : c.env_) {
            std::erase_if(all, [&](const std::string& v) {
                return v.size() > e.name.size() && v[e.name.size()] == '=' &&
                       v.compare(0, e.name.size(), e.name) == 0;
            });
            if (e.value) {
                all.push_back(e.name + '=' + *e.value);
            }
        }
        return all;
    }

    static std::unique_ptr<child> own(::pid_t pid, const command& c, const attempt& a) {
        const long pidfd = ::syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0) {
            const int error = errno;
            ::kill(c.own_group_ ? -pid : pid, SIGKILL);
            while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
            }
            a.fail(error, "pidfd_open");
        }
        return std::make_unique<child>(pid, static_cast<int>(pidfd), c.words_.front(), c.own_group_,
                                       c.grace_);
    }
};

}  // namespace detail

command::command(std::string program, std::vector<std::string> arguments)
    : words_(std::move(arguments)) {
    words_.insert(words_.begin(), std::move(program));
}

command& command::arg(std::string argument) {
    words_.push_back(std::move(argument));
    return *this;
}

command& command::env(std::string name, std::string value) {
    env_.push_back({std::move(name), std::move(value)});
    return *this;
}

command& command::unset_env(std::string name) {
    env_.push_back({std::move(name), std::nullopt});
    return *this;
}

command& command::clear_env() {
    env_.clear();
    env_is_empty_ = true;
    return *this;
}

command& command::dir(std::string path) {
    dir_ = std::move(path);
    return *this;
}

command& command::in(redirect from) {
    streams_[0] = from;
    in_is_text_ = false;
    return *this;
}

command& command::in_text(std::string text) {
    text_ = std::move(text);
    in_is_text_ = true;
    return *this;
}

command& command::out(redirect to) {
    streams_[1] = to;
    return *this;
}

command& command::err(redirect to) {
    streams_[2] = to;
    return *this;
}

command& command::own_group() {
    own_group_ = true;
    return *this;
}

command& command::grace(duration d) {
    grace_ = d;
    return *this;
}

namespace {

using detail::spawner;

task<process> start_copy(command c) {
    auto spawn = [&c] { return spawner::spawn(c); };
    co_return co_await blocking(spawn);
}

task<exit_status> run_copy(command c) {
    process p = co_await start_copy(std::move(c));
    co_return co_await p.wait();
}

task<std::string> read_stream(io::pipe_reader& from, std::size_t limit) {
    if (!from.is_open()) {
        co_return std::string();
    }
    co_return co_await io::read_all(from, limit);
}

task<command_output> output_of_copy(command c, std::size_t limit) {
    spawner::collect(c);
    process p = co_await start_copy(c);
    command_output result;
    std::exception_ptr failed;
    try {
        p.in.close();
        auto texts = co_await when_all(read_stream(p.out, limit), read_stream(p.err, limit));
        result.out = std::get<0>(std::move(texts));
        result.err = std::get<1>(std::move(texts));
    } catch (const std::system_error& e) {
        failed = e.code() == errc::limit_exceeded
                     ? std::make_exception_ptr(std::system_error(
                           e.code(), fmt::format("output {}", spawner::program(c))))
                     : std::current_exception();
    }
    if (failed) {
        co_await p.stop();
        std::rethrow_exception(failed);
    }
    result.status = co_await p.wait();
    co_return result;
}

}  // namespace

task<process> command::start() const { return start_copy(*this); }
task<exit_status> command::run() const { return run_copy(*this); }
task<command_output> command::output(std::size_t limit) const {
    return output_of_copy(*this, limit);
}

}  // namespace ringo::os
