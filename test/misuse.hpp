// Misuse ends the program, so a test of it runs in a child process.
#pragma once

#include <doctest/doctest.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace test {

struct child_end {
    int status = 0;      // as waitpid's
    std::string output;  // what it wrote on stderr
};

/// Whether a thread of os::notify or of a dropped os::process is there.
inline bool background_thread_runs() {
    bool found = false;
    ::DIR* const tasks = ::opendir("/proc/self/task");
    while (const ::dirent* const task = ::readdir(tasks)) {
        const std::string path = std::string("/proc/self/task/") + task->d_name + "/comm";
        if (std::FILE* const file = std::fopen(path.c_str(), "r")) {
            char name[16] = {};
            found |=
                std::fgets(name, sizeof name, file) != nullptr && std::string(name) == "ringo-os\n";
            std::fclose(file);
        }
    }
    ::closedir(tasks);
    return found;
}

/// Runs `f` in a child process, which exits with 0 when `f` returns.
/// Call it where no other thread runs: outside ringo::run.
template <class F>
child_end in_child(F&& f) {
    while (background_thread_runs()) {  // or ThreadSanitizer allows the child no threads
        std::this_thread::yield();
    }
    int pipe_fds[2];
    REQUIRE(::pipe(pipe_fds) == 0);
    std::fflush(stdout);  // or the child would write it too
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
        ::signal(SIGABRT, SIG_DFL);  // doctest would report it as a failed test
        ::dup2(pipe_fds[1], STDERR_FILENO);
        ::close(pipe_fds[0]);
        ::close(pipe_fds[1]);
        try {
            f();
        } catch (...) {
            ::_exit(3);
        }
        ::_exit(0);
    }
    ::close(pipe_fds[1]);
    child_end end;
    char buffer[4096];
    for (::ssize_t n = 0; (n = ::read(pipe_fds[0], buffer, sizeof buffer)) != 0;) {
        if (n > 0) {
            end.output.append(buffer, static_cast<std::size_t>(n));
        } else if (errno != EINTR) {
            break;
        }
    }
    ::close(pipe_fds[0]);
    while (::waitpid(child, &end.status, 0) < 0 && errno == EINTR) {
    }
    return end;
}

/// Of `end`, which must have exited with `status`.
inline void check_exit(const child_end& end, int status) {
    CAPTURE(end.output);
    CHECK(WIFEXITED(end.status));
    CHECK(WEXITSTATUS(end.status) == status);
}

/// `f` must end the program with `panic: message` on stderr and SIGABRT.
template <class F>
void expect_panic(const std::string& message, F&& f) {
    const child_end end = in_child(f);
    CAPTURE(end.output);
    CAPTURE(message);
    CHECK(WIFSIGNALED(end.status));
    CHECK(WTERMSIG(end.status) == SIGABRT);
    CHECK(end.output.find("panic: " + message) != std::string::npos);
}

}  // namespace test
