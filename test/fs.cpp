// Files and folders on the real kernel, and every step's failure on the scripted one.
#include <doctest/doctest.h>

#include "file_call.hpp"
#include "sockets.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace std::chrono_literals;
namespace fs = ringo::fs;
using ringo::as_result;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::detail::file_operation;
using ringo::detail::io_code;
using ringo::detail::io_operation;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::other_core;
using test::patterned;
using test::until_parked;
using test::yield_times;

namespace {

/// A folder of this test's own, gone at its end.
class folder {
public:
    folder() {
        path_ = (std::filesystem::temp_directory_path() / "ringo-test-XXXXXX").string();
        REQUIRE(::mkdtemp(path_.data()) != nullptr);
    }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;
    ~folder() { std::filesystem::remove_all(path_); }

    std::string operator/(const std::string& name) const { return path_ + '/' + name; }
    const std::string& path() const { return path_; }
    std::size_t entries() const {
        const std::filesystem::directory_iterator all(path_);
        return static_cast<std::size_t>(std::distance(begin(all), end(all)));
    }
    std::string fifo() const {
        std::string name = *this / "fifo";
        REQUIRE(::mkfifo(name.c_str(), 0600) == 0);
        return name;
    }

private:
    std::string path_;
};

constexpr int make_new = O_RDWR | O_CREAT | O_EXCL;

task<std::size_t> read_some(fs::file& f, ringo::mutable_buffer b) { co_return co_await f.read(b); }
task<> write_it(fs::file& f, ringo::const_buffer b) { co_await f.write(b); }

bool says(const failure& f, std::errc code, const std::string& what) {
    CAPTURE(f.text);
    return f.code == code && f.text == what + ": " + std::make_error_code(code).message();
}

}  // namespace

TEST_CASE("a_file_gives_back_what_was_written") {
    const no_descriptor_leaks check;
    const folder where;
    run([&]() -> task<> {
        fs::file f = co_await fs::open(where / "f", make_new);
        co_await f.write("hello ");
        co_await f.write(std::string("world"));
        co_await f.write_at("W", 6);
        co_await f.write("");
        CHECK(co_await f.size() == 11);
        char all[64];
        CHECK(co_await f.read_at(all, 0) == 11);  // a file that ends
        CHECK(std::string(all, 11) == "hello World");
        CHECK(co_await f.read_at(all, 11) == 0);
        CHECK(co_await f.read_at({all, 3}, 2) == 3);
        CHECK(std::string(all, 3) == "llo");
        CHECK(co_await f.read(all) == 0);  // its position is at the end
        co_await f.truncate(5);
        co_await f.sync();
        co_await f.data_sync();
        const fs::info i = co_await f.stat();
        CHECK((i.is_file() && i.size == 5 && i.links == 1));
        const fs::info same = co_await fs::stat(where / "f");
        CHECK(same.is_same_as(i));
        CHECK(f.name() == where / "f");
        co_await f.close();
        co_await f.close();
        CHECK_FALSE(f.is_open());
        CHECK((co_await failure_of(read_some(f, all))).code == ringo::errc::closed);
        CHECK((co_await failure_of(write_it(f, "x"))).code == ringo::errc::closed);
        CHECK((co_await failure_of(f.sync())).code == ringo::errc::closed);
        CHECK((co_await failure_of(f.truncate(0))).code == ringo::errc::closed);
        CHECK(co_await fs::read_file(where / "f") == "hello");

        fs::file end = co_await fs::open(where / "f", O_WRONLY | O_APPEND);
        co_await end.write("!");
        fs::file start = co_await fs::open(where / "f");
        char two[2];
        CHECK(co_await start.read(two) == 2);
        CHECK(co_await start.read_all() == "llo!");  // from where it stands
    });
}

TEST_CASE("read_all_takes_any_size_up_to_its_limit") {
    const folder where;
    run([&]() -> task<> {
        for (const std::size_t size : {0UL, 1UL, 16383UL, 16384UL, 16385UL, 300'000UL}) {
            CAPTURE(size);
            const std::string data = patterned(size);
            co_await fs::write_file(where / "f", data);
            CHECK((co_await fs::read_file(where / "f") == data));
            CHECK((co_await fs::read_file(where / "f", size) == data));
            if (size > 0) {
                const failure f = co_await failure_of(fs::read_file(where / "f", size - 1));
                CHECK(f.code == ringo::errc::limit_exceeded);
                CHECK(test::contains(f.text, where / "f"));
            }
        }
        // Has no size, yet something to read.
        CHECK_FALSE((co_await fs::read_file("/proc/self/status")).empty());
    });
}

TEST_CASE("errors_name_the_operation_and_the_path") {
    const no_descriptor_leaks check;
    const folder where;
    run([&]() -> task<> {
        using std::errc;
        const std::string no = where / "no/thing";
        const auto missing = errc::no_such_file_or_directory;
        CHECK(says(co_await failure_of(fs::open(no)), missing, "open " + no));
        CHECK(says(co_await failure_of(fs::read_file(no)), missing, "open " + no));
        CHECK(says(co_await failure_of(fs::write_file(no, "x")), missing, "write_file " + no));
        CHECK(says(co_await failure_of(fs::remove(no)), missing, "remove " + no));
        CHECK(says(co_await failure_of(fs::rename(no, "x")), missing, "rename " + no + " to x"));
        CHECK(says(co_await failure_of(fs::make_dir(no)), missing, "make_dir " + no));
        CHECK(says(co_await failure_of(fs::stat(no)), missing, "stat " + no));
        CHECK(says(co_await failure_of(fs::list(no)), missing, "list " + no));
        CHECK(says(co_await failure_of(fs::symlink("x", no)), missing, "symlink " + no));
        CHECK(says(co_await failure_of(fs::read_symlink(no)), missing, "read_symlink " + no));
        const std::string& dir = where.path();
        CHECK(says(co_await failure_of(fs::read_file(dir)), errc::is_a_directory, "read " + dir));
        CHECK(
            says(co_await failure_of(fs::open(dir, O_RDWR)), errc::is_a_directory, "open " + dir));
        fs::file full = co_await fs::open("/dev/full", O_WRONLY);
        CHECK(says(co_await failure_of(write_it(full, "x")), errc::no_space_on_device,
                   "write /dev/full"));
        CHECK(says(co_await failure_of(fs::file(-1, "nothing").sync()), errc::bad_file_descriptor,
                   "sync nothing"));
    });
}

TEST_CASE("folders_are_made_listed_and_removed") {
    const no_descriptor_leaks check;
    const folder where;
    run([&]() -> task<> {
        const std::string top = where / "a";
        co_await fs::make_dirs(top + "/b//c/");
        co_await fs::make_dirs(top + "/b/c");
        co_await fs::write_file(top + "/2", "two");
        co_await fs::write_file(top + "/1", "one", 0600);
        co_await fs::symlink("b", top + "/link");
        const std::vector<fs::entry> all = co_await fs::list(top);
        REQUIRE(all.size() == 4);
        CHECK((all[0].name == "1" && all[1].name == "2" && all[2].name == "b"));
        CHECK((all[0].type == fs::entry::kind::file && all[2].type == fs::entry::kind::dir));
        CHECK(all[3].type == fs::entry::kind::symlink);
        CHECK(co_await fs::read_symlink(top + "/link") == "b");
        const fs::info to = co_await fs::stat(top + "/link");
        const fs::info itself = co_await fs::symlink_stat(top + "/link");
        CHECK((to.is_dir() && itself.is_symlink()));
        CHECK((co_await fs::stat(top + "/1")).permissions() == 0600);

        CHECK((co_await failure_of(fs::make_dirs(top + "/1/x"))).code ==
              std::errc::not_a_directory);
        CHECK((co_await failure_of(fs::make_dirs(top + "/1"))).code == std::errc::file_exists);
        CHECK((co_await failure_of(fs::remove(top))).code == std::errc::directory_not_empty);
        co_await fs::rename(top + "/2", top + "/1");
        CHECK(co_await fs::read_file(top + "/1") == "two");
        CHECK_FALSE(co_await fs::exists(top + "/2"));
        CHECK_FALSE(co_await fs::exists(top + "/1/x"));
        co_await fs::remove(top + "/b/c");
        co_await fs::remove_all(top);
        co_await fs::remove_all(top);
        CHECK(where.entries() == 0);

        const std::string dir = co_await fs::temporary_dir(where.path());
        CHECK((co_await fs::stat(dir)).permissions() == 0700);
        fs::file nameless = co_await fs::temporary_file(dir);
        co_await nameless.write("x");
        CHECK(co_await nameless.size() == 1);
        CHECK((co_await fs::list(dir)).empty());
    });
}

TEST_CASE("write_file_replaces_and_keeps_the_permissions") {
    const folder where;
    run([&]() -> task<> {
        const std::string f = where / "f";
        co_await fs::write_file(f, "old", 0640);
        co_await fs::write_file(f, "new", 0777);
        CHECK(co_await fs::read_file(f) == "new");
        CHECK((co_await fs::stat(f)).permissions() == 0640);
        CHECK(where.entries() == 1);
        const std::string long_name = where / std::string(255, 'x');
        co_await fs::write_file(long_name, "fits");
        co_await fs::make_dir(where / "dir");
        CHECK((co_await failure_of(fs::write_file(where / "dir", "x"))).code ==
              std::errc::is_a_directory);
        CHECK(where.entries() == 3);
    });
}

TEST_CASE("direct_reads_and_writes_take_aligned_buffers") {
    const folder where;
    run([&]() -> task<> {
        const auto f = co_await as_result(fs::open(where / "f", make_new | O_DIRECT));
        if (!f) {
            MESSAGE("skipped: no O_DIRECT here");
            co_return;
        }
        auto& file = const_cast<fs::file&>(*f);
        fs::aligned_buffer out(8192);
        test::fill_pattern(reinterpret_cast<char*>(out.data()), out.size(), 0);
        co_await file.write_at(out, 4096);
        fs::aligned_buffer in(16384);
        CHECK(co_await file.read_at(in, 0) == 12288);
        CHECK(test::has_pattern(reinterpret_cast<char*>(in.data()) + 4096, 8192, 0));
    });
}

TEST_CASE("registered_buffers_are_read_into_and_go_on_any_core") {
    const folder where;
    run([&]() -> task<> {
        fs::file f = co_await fs::open(where / "f", make_new);
        fs::aligned_buffer out(20000);
        test::fill_pattern(reinterpret_cast<char*>(out.data()), out.size(), 0);
        fs::aligned_buffer moved(4096);
        moved.register_here();
        moved = std::move(out);
        moved.register_here();
        co_await f.write_at(moved, 0);

        std::vector<fs::aligned_buffer> all;  // more than a core has room for
        std::size_t registered = 0;
        for (std::size_t round = 0; round < 3; ++round) {
            for (std::size_t i = 0; i < 300; ++i) {
                all.emplace_back(4096);
                const bool here = all.back().register_here();
                registered += here ? 1 : 0;
                CHECK((all.back().slot_here() >= 0) == here);
                const std::size_t at = i * 7919 % 15000;
                REQUIRE(co_await f.read_at(all.back(), at) == 4096);
                REQUIRE(test::has_pattern(reinterpret_cast<char*>(all.back().data()), 4096, at));
            }
            auto elsewhere = spawn(on(other_core()), [&]() -> task<> {
                REQUIRE(co_await f.read_at(all[0], 10) == 4096);
                REQUIRE(test::has_pattern(reinterpret_cast<char*>(all[0].data()), 4096, 10));
                all.clear();
            });
            co_await elsewhere;
        }
        CHECK((registered == 0 || registered == 3 * 254));
        fs::aligned_buffer later(4096);
        later.register_here();
        all.push_back(std::move(later));
        ringo::go([b = std::move(moved)]() -> task<> { co_return; });
    });
    fs::aligned_buffer nowhere(4096);
    CHECK_FALSE(nowhere.register_here());
}

TEST_CASE("many_read_one_file_at_once") {
    const no_descriptor_leaks check;
    const folder where;
    run([&]() -> task<> {
        constexpr std::size_t size = 1 << 20;
        co_await fs::write_file(where / "f", patterned(size));
        fs::file f = co_await fs::open(where / "f");
        ringo::wait_group readers;
        for (std::size_t i = 0; i < 64; ++i) {
            readers.go(on(i % ringo::cores()), [&f, i]() -> task<> {
                char buffer[4096];
                for (std::size_t n = 0; n < 32; ++n) {
                    const std::size_t at = (i * 7919 + n * 104729) % (size - sizeof buffer);
                    REQUIRE(co_await f.read_at(buffer, at) == sizeof buffer);
                    REQUIRE(test::has_pattern(buffer, sizeof buffer, at));
                }
            });
        }
        co_await readers.wait();
    });
}

TEST_CASE("a_file_that_shrinks_while_it_is_read_ends_early") {
    const folder where;
    run([&]() -> task<> {
        fs::file f = co_await fs::open(where / "f", make_new);
        co_await f.write(patterned(1 << 16));
        std::string data(1 << 16, '\0');
        auto shrinks = spawn(on(other_core()), [&]() -> task<> {
            for (std::uint64_t n = 1 << 16; n > 0; n /= 2) {
                co_await f.truncate(n);
            }
        });
        while (!shrinks.done()) {
            const std::size_t n = co_await f.read_at(data, 0);
            REQUIRE(n <= data.size());
            REQUIRE(test::has_pattern(data.data(), std::min<std::size_t>(n, 1), 0));
        }
        co_await shrinks;
        CHECK(co_await f.read_at(data, 0) == 1);
    });
}

// --- cancelling, on a FIFO, which waits as long as one likes ---

TEST_CASE("an_open_is_cancelled_in_every_state") {
    const no_descriptor_leaks check;
    const folder where;
    const std::string fifo = where.fifo();
    run([&]() -> task<> {
        for (int i = 0; i < 500; ++i) {
            auto opens = spawn(on(i % 2 == 0 ? 0 : other_core()), [&]() -> task<> {
                const auto r = co_await as_result(fs::open(fifo));
                CHECK((r || r.error() == std::errc::operation_canceled));
            });
            if (i % 3 == 0) {
                co_await ringo::sleep(1us);  // the kernel has it
            }
            co_await yield_times(i % 5);
            if (i % 4 == 0) {  // or it wins
                const auto w = co_await as_result(fs::open(fifo, O_WRONLY | O_NONBLOCK));
                CHECK((w || w.error() == std::errc::no_such_device_or_address));
            }
            opens.cancel();
            co_await opens;
        }
        const auto late = co_await as_result(ringo::timeout(1ms, fs::open(fifo)));
        REQUIRE(!late);
        CHECK(late.error() == std::errc::timed_out);
    });
}

TEST_CASE("a_cancelled_read_takes_nothing") {
    const no_descriptor_leaks check;
    const folder where;
    const std::string fifo = where.fifo();
    run([&]() -> task<> {
        fs::file both = co_await fs::open(fifo, O_RDWR);
        constexpr int rounds = 500;
        std::string got;
        for (int i = 0; i < rounds; ++i) {
            auto reads = spawn(on(i % 2 == 0 ? 0 : other_core()), [&]() -> task<> {
                char c = 0;
                const auto n = co_await as_result(both.read({&c, 1}));
                if (n) {
                    REQUIRE(*n == 1);
                    got += c;
                } else {
                    CHECK(n.error() == std::errc::operation_canceled);
                }
            });
            co_await yield_times(i % 4);
            const char c = test::pattern(static_cast<std::uint64_t>(i));
            co_await both.write({&c, 1});
            co_await yield_times(i % 3);
            reads.cancel();
            co_await reads;
        }
        std::string rest(rounds, '\0');
        while (got.size() < rounds) {
            const std::size_t n = co_await both.read({rest.data(), rounds - got.size()});
            got.append(rest.data(), n);
        }
        CHECK((got == patterned(rounds)));
    });
}

TEST_CASE("close_ends_the_operations_of_others_on_all_cores") {
    const no_descriptor_leaks check;
    const folder where;
    const std::string fifo = where.fifo();
    run([&]() -> task<> {
        for (int i = 0; i < 20; ++i) {
            fs::file f = co_await fs::open(fifo, O_RDWR);
            std::vector<ringo::join_handle<failure>> readers;
            for (std::size_t r = 0; r < 4; ++r) {
                readers.push_back(spawn(on(r % ringo::cores()), [&f]() -> task<failure> {
                    char c;
                    co_return co_await failure_of(read_some(f, {&c, 1}));
                }));
            }
            if (i % 2 == 0) {
                co_await until_parked(other_core(), readers.back(), "read");
            }
            co_await f.close();
            for (auto& r : readers) {
                CHECK((co_await r).code == ringo::errc::closed);
            }
        }
    });
}

TEST_CASE("writing_to_a_fifo_that_nobody_reads_is_an_error_and_no_signal") {
    const folder where;
    const std::string fifo = where.fifo();
    std::signal(SIGPIPE, SIG_DFL);
    run([&]() -> task<> {
        fs::file reader = co_await fs::open(fifo, O_RDONLY | O_NONBLOCK);
        fs::file writer = co_await fs::open(fifo, O_WRONLY);
        co_await reader.close();
        CHECK((co_await failure_of(write_it(writer, "x"))).code == std::errc::broken_pipe);
        const auto direct = ::write(writer.descriptor(), "x", 1);  // by anybody on this core
        CHECK((direct == -1 && errno == EPIPE));
    });
}

TEST_CASE("a_run_ends_while_the_kernel_reads_and_opens") {
    const no_descriptor_leaks check;
    const folder where;
    const std::string fifo = where.fifo();
    for (const auto grace : {1s, 0s}) {  // goroutines unwind, or are destroyed
        run(
            [&]() -> task<> {
                const std::string other = where / (grace == 0s ? "g" : "h");
                REQUIRE(::mkfifo(other.c_str(), 0600) == 0);
                for (std::size_t core : {std::size_t{0}, other_core()}) {
                    ringo::go(on(core), [&fifo, other, grace]() -> task<> {
                        fs::file f = co_await fs::open(fifo, O_RDWR);
                        ringo::go([other]() -> task<> { co_await fs::open(other); });
                        char c;
                        if (grace == 0s) {
                            co_await ringo::shield(f.read({&c, 1}));
                        }
                        co_await f.read({&c, 1});
                    });
                }
                co_await ringo::sleep(2ms);
            },
            {.shutdown_grace = grace});
    }
}

// --- faults, on the scripted kernel: it does what the real one would, but for one step ---

TEST_CASE("write_file_fails_at_any_step_and_one_whole_file_stands") {
    const no_descriptor_leaks check;
    for (const int error : {-EIO, -ENOSPC, -ECANCELED, -EINTR}) {
        CAPTURE(error);
        bool hit = true;
        for (int fault = 0; hit; ++fault) {
            CAPTURE(fault);
            int steps = 0;
            bool in_place = false;
            hit = false;
            const folder where;
            std::ofstream(where / "f") << "old";
            const auto start = [&](io_operation& op) {
                auto& f = static_cast<file_operation&>(op);
                // Whatever close(2) reports, the descriptor is free.
                const bool now = steps++ == fault;
                const bool fails = now && op.code != io_code::file_close;
                hit |= now;
                if (op.code == io_code::file_write && op.length > 1) {
                    f.length = op.length / 2;  // a short write
                }
                const int result = fails ? error : ringo::detail::call_now(f);
                in_place |= op.code == io_code::file_rename && result == 0;
                test::this_kernel().complete(op, {.result = result, .more = false});
            };
            failure f;
            test::virtual_run(
                [&]() -> task<> {
                    f = co_await failure_of(fs::write_file(where / "f", "new contents"));
                },
                start);
            CHECK((hit || fault > 8));  // in the end all has been tried
            CAPTURE(f.text);
            CHECK(where.entries() == 1);
            std::string stands;
            std::getline(std::ifstream(where / "f"), stands);
            CHECK(stands == (in_place ? "new contents" : "old"));
            if (!f.code) {
                CHECK(in_place);
            } else if (error != -ECANCELED) {
                CHECK(f.code.value() == -error);
                CHECK(test::contains(f.text, where.path()));
            }
        }
    }
}

TEST_CASE("a_write_that_stops_says_how_far_it_got") {
    const folder where;
    int steps = 0;
    const auto start = [&](io_operation& op) {
        auto& f = static_cast<file_operation&>(op);
        if (op.code == io_code::file_write && ++steps == 3) {
            test::this_kernel().complete(op, {.result = -ECANCELED, .more = false});
            return;
        }
        f.length = std::min(op.length, op.code == io_code::file_write ? 5U : op.length);
        test::this_kernel().complete(op, {.result = ringo::detail::call_now(f), .more = false});
    };
    test::virtual_run(
        [&]() -> task<> {
            fs::file f = co_await fs::open(where / "f", make_new);
            CHECK((co_await failure_of(write_it(f, "0123456789abcdef"))).bytes == 10);
            char c[16];
            CHECK(co_await f.read_at(c, 0) == 10);
        },
        start);
}
