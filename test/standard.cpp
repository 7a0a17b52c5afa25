#include <ringo/os/standard.hpp>

#include <doctest/doctest.h>

#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <pty.h>
#include <sys/socket.h>
#include <unistd.h>

namespace fs = ringo::fs;
namespace io = ringo::io;
namespace os = ringo::os;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using test::no_descriptor_leaks;

namespace {

/// Puts a descriptor in the place of a standard stream, and the stream back at the end.
class stand_in {
public:
    stand_in(int number, int fd) : number_(number), saved_(::fcntl(number, F_DUPFD_CLOEXEC, 10)) {
        ::dup2(fd, number);
        ::close(fd);
    }
    stand_in(const stand_in&) = delete;
    stand_in& operator=(const stand_in&) = delete;
    ~stand_in() {
        ::dup2(saved_, number_);
        ::close(saved_);
    }

private:
    int number_;
    int saved_;
};

struct fds {
    int ours;
    int theirs;
};

fds make_pipe() {
    int p[2];
    REQUIRE(::pipe2(p, O_CLOEXEC) == 0);
    return {p[1], p[0]};
}
fds make_sockets() {
    int p[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) == 0);
    return {p[0], p[1]};
}
fds make_terminal() {
    fds f{};
    REQUIRE(::openpty(&f.ours, &f.theirs, nullptr, nullptr, nullptr) == 0);
    return f;
}

bool is_blocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

task<std::string> next_line(io::buffered_reader<fs::file>& lines) {
    const auto line = co_await lines.read_line();
    co_return line ? std::string(*line) : "end";
}

/// Lines come from what is not ready at first; a wait is cancelled and loses none.
task<> converse(int ours) {
    fs::file in = os::stdin_stream();
    io::buffered_reader lines(in);
    for (int i = 0; i < 6; ++i) {
        auto reads = spawn(on(i % 2 == 0 ? 0 : test::other_core()), next_line, std::ref(lines));
        co_await test::yield_times(i * 20);
        if (i % 3 == 2) {
            reads.cancel();
            const auto r = co_await ringo::as_result(reads);
            CHECK(r.error() == std::errc::operation_canceled);
            continue;
        }
        const std::string text = "line " + std::to_string(i);
        CHECK(::write(ours, (text + '\n').data(), text.size() + 1) ==
              static_cast<::ssize_t>(text.size() + 1));
        CHECK(co_await reads == text);
    }
    CHECK(is_blocking(STDIN_FILENO));
}

}  // namespace

TEST_CASE("lines_are_read_from_pipes_sockets_and_terminals") {
    const no_descriptor_leaks check;
    for (const auto make : {&make_pipe, &make_sockets, &make_terminal}) {
        const fds f = make();
        const stand_in in(STDIN_FILENO, f.theirs);
        run([&]() -> task<> {
            co_await converse(f.ours);
            fs::file stream = os::stdin_stream();
            io::buffered_reader lines(stream);
            if (make == &make_terminal) {
                const char end_of_file = 4;  // Ctrl-D
                CHECK(::write(f.ours, &end_of_file, 1) == 1);
            } else {
                ::close(f.ours);
            }
            CHECK(co_await next_line(lines) == "end");
        });
        if (make == &make_terminal) {
            ::close(f.ours);
        }
    }
}

TEST_CASE("a_file_is_read_from_where_it_stands") {
    const no_descriptor_leaks check;
    char name[] = "/tmp/ringo-standard-XXXXXX";
    const int fd = ::mkstemp(name);
    CHECK(::write(fd, "one\ntwo\n", 8) == 8);
    ::lseek(fd, 4, SEEK_SET);
    ::unlink(name);
    {
        const stand_in in(STDIN_FILENO, fd);
        run([]() -> task<> {
            fs::file stream = os::stdin_stream();
            CHECK(co_await io::read_all(stream) == "two\n");
        });
        CHECK(::lseek(STDIN_FILENO, 0, SEEK_CUR) == 8);
        ::lseek(STDIN_FILENO, 0, SEEK_SET);
        char rest[4];
        CHECK(::read(STDIN_FILENO, rest, 4) == 4);  // closing the stream closed nothing else
    }
    const stand_in in(STDIN_FILENO, ::open("/dev/null", O_RDWR | O_CLOEXEC));
    run([]() -> task<> {
        fs::file stream = os::stdin_stream();
        CHECK(co_await io::read_all(stream) == "");
    });
}

TEST_CASE("what_is_written_arrives_whole_however_slowly_it_is_read") {
    const no_descriptor_leaks check;
    for (const auto make : {&make_pipe, &make_sockets}) {
        const fds f = make();
        const bool is_pipe = make == &make_pipe;
        io::pipe_reader reads(is_pipe ? f.theirs : f.ours, "test");
        const stand_in out(STDOUT_FILENO, is_pipe ? f.ours : f.theirs);
        std::string got;
        run([&]() -> task<> {
            auto writes = spawn([]() -> task<> {
                fs::file stream = os::stdout_stream();
                co_await stream.write(test::patterned(300'000));
            });
            char buffer[10'000];
            while (got.size() < 300'000) {
                got.append(buffer, co_await reads.read(buffer));
            }
            co_await writes;
        });
        CHECK((got == test::patterned(300'000)));
    }
}

TEST_CASE("a_cancelled_write_says_how_far_it_got") {
    const fds f = make_pipe();
    io::pipe_reader reads(f.theirs, "test");
    const stand_in out(STDOUT_FILENO, f.ours);
    test::failure failed;
    std::size_t got = 0;
    run([&]() -> task<> {
        auto writes = spawn([&]() -> task<> {
            fs::file stream = os::stdout_stream();
            const std::string text = test::patterned(300'000);
            failed = co_await test::failure_of([](fs::file& s, const std::string& t) -> task<> {
                co_await s.write(t);
            }(stream, text));
        });
        char c = 0;
        got += co_await reads.read({&c, 1});  // it has begun
        writes.cancel();
        co_await ringo::as_result(writes);
        ::close(STDOUT_FILENO);
        char buffer[4096];
        while (const std::size_t n = co_await reads.read(buffer)) {
            got += n;
        }
    });
    CHECK(failed.code == std::errc::operation_canceled);
    CHECK(failed.bytes == got);
}

TEST_CASE("nobody_who_reads_is_an_error_and_no_signal") {
    const fds f = make_pipe();
    ::close(f.theirs);
    const stand_in err(STDERR_FILENO, f.ours);
    test::failure failed;
    run([&]() -> task<> {
        failed = co_await test::failure_of([]() -> task<> {
            fs::file stream = os::stderr_stream();
            co_await stream.write("x");
        }());
    });
    CHECK(failed.text == "write stderr: Broken pipe");
}

TEST_CASE("a_stream_that_is_not_there_is_an_error_that_names_it") {
    const stand_in in(STDIN_FILENO, ::open("/dev/null", O_RDWR | O_CLOEXEC));
    ::close(STDIN_FILENO);
    std::string text;
    try {
        const fs::file stream = os::stdin_stream();
    } catch (const std::system_error& e) {
        text = e.what();
    }
    CHECK(text == "stdin: Bad file descriptor");
}
