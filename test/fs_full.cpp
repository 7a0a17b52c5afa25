// Files on a disk that is full, and on one that fails.
#include <doctest/doctest.h>

#include "misuse.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

namespace fs = ringo::fs;
using ringo::run;
using ringo::task;
using test::failure;
using test::failure_of;

namespace {

constexpr int skipped = 77;

/// In a child process: a disk of 256 KiB on a folder, which only this process sees.
void mount_small_disk(const std::string& folder) {
    const auto user = std::to_string(::getuid());
    if (::unshare(CLONE_NEWNS) != 0) {
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
            ::_exit(skipped);
        }
        std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
    }
    ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (::mount("small", folder.c_str(), "tmpfs", 0, "size=256k") != 0) {
        ::_exit(skipped);
    }
}

void expect(bool good, const std::string& what) {
    if (!good) {
        std::fprintf(stderr, "not so: %s\n", what.c_str());
        ::_exit(1);
    }
}

void expect_full(const failure& f, const std::string& what) {
    expect(f.text == what + ": No space left on device", what + ", but it said: " + f.text);
}

task<> write_new(std::string path, std::string text) {
    fs::file f = co_await fs::open(path, O_WRONLY | O_CREAT);
    co_await f.write(text);
    co_await f.close();
}

task<> copy_new(std::string from, std::string to) {
    fs::file in = co_await fs::open(from);
    fs::file out = co_await fs::open(to, O_WRONLY | O_CREAT);
    co_await ringo::io::copy(out, in);
}

task<> fill(std::string folder) {
    const std::string large = test::patterned(1'000'000);
    const std::string motto = folder + "/motto";
    co_await fs::write_file(motto, "old");
    expect_full(co_await failure_of(fs::write_file(motto, large)), "write " + motto);
    expect(co_await fs::read_file(motto) == "old", "the old file stands");
    expect((co_await fs::list(folder)).size() == 1, "nothing else is left");

    const std::string log = folder + "/log";
    expect_full(co_await failure_of(write_new(log, large)), "write " + log);
    const std::string part = co_await fs::read_file(log);
    expect(!part.empty() && large.compare(0, part.size(), part) == 0, "what fits is there");
    co_await fs::remove(log);

    const std::string source = co_await fs::temporary_dir() + "/source";
    co_await fs::write_file(source, large);
    const failure f = co_await failure_of(copy_new(source, log));
    expect(f.code == std::errc::no_space_on_device, "a copy fails");
    expect(f.text.find(log) != std::string::npos, "it names the file: " + f.text);
    co_await fs::remove_all(source.substr(0, source.find_last_of('/')));
    co_await fs::remove(log);
    co_await write_new(log, std::string(100'000, 'x'));  // there is room again
}

}  // namespace

TEST_CASE("a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one") {
    char folder[] = "/tmp/ringo-full-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    const test::child_end end = test::in_child([&] {
        mount_small_disk(folder);
        run([&] { return fill(folder); });
    });
    ::rmdir(folder);
    CAPTURE(end.output);
    REQUIRE(WIFEXITED(end.status));
    if (WEXITSTATUS(end.status) == skipped) {
        MESSAGE("skipped: no file system may be mounted here");
    } else {
        CHECK(WEXITSTATUS(end.status) == 0);
    }
}

TEST_CASE("a_read_that_the_disk_fails_is_an_error") {
    run([]() -> task<> {
        fs::file memory = co_await fs::open("/proc/self/mem");  // nothing is mapped at 0
        const failure f = co_await failure_of([](fs::file& m) -> task<> {
            char buffer[16];
            co_await m.read_at(buffer, 0);
        }(memory));
        CHECK(f.text == "read_at /proc/self/mem: Input/output error");
        CHECK(f.code == std::errc::io_error);
    });
}
