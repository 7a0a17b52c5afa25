// Streams: pipes, buffers before streams, and copies between all kinds of them.
#include <doctest/doctest.h>

#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace std::chrono_literals;
namespace fs = ringo::fs;
namespace io = ringo::io;
using ringo::as_result;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::other_core;
using test::patterned;
using test::until_parked;
using test::yield_times;

// The runtimes of UBSan, where it is linked in, and of TSan, which contains it unused.
extern "C" [[gnu::weak]] void __ubsan_handle_dynamic_type_cache_miss_abort();
extern "C" [[gnu::weak]] void __tsan_init();

static_assert(io::readable<ringo::net::conn> && io::writable<ringo::net::conn>);
static_assert(io::readable<fs::file> && io::writable<fs::file>);
static_assert(io::readable<io::pipe_reader> && !io::writable<io::pipe_reader>);
static_assert(io::writable<io::pipe_writer> && !io::readable<io::pipe_writer>);
static_assert(io::readable<io::memory_reader> && io::writable<io::memory_writer>);
static_assert(io::readable<io::buffered_reader<fs::file>>);
static_assert(io::writable<io::buffered_writer<io::pipe_writer>>);
static_assert(!io::readable<std::string>);

namespace {

task<std::size_t> read_some(io::pipe_reader& r, ringo::mutable_buffer b) {
    co_return co_await r.read(b);
}

/// Gives its text in steps of random size.
class slow_reader {
public:
    slow_reader(std::string text, std::uint64_t seed) : text_(std::move(text)), random_(seed) {}

    task<std::size_t> read(ringo::mutable_buffer b) {
        co_await ringo::yield();
        const std::size_t n = std::min({b.bytes().size(), text_.size(), random_() % 5 + 1});
        std::copy_n(text_.data(), n, reinterpret_cast<char*>(b.bytes().data()));
        text_.erase(0, n);
        co_return n;
    }

private:
    std::string text_;
    std::mt19937_64 random_;
};

/// Counts its writes, and stops in the middle of one when it is told to.
class fussy_writer {
public:
    task<> write(ringo::const_buffer data) {
        const std::string_view bytes(reinterpret_cast<const char*>(data.bytes().data()),
                                     data.bytes().size());
        ++writes;
        if (stop_after) {
            const std::size_t n = *std::exchange(stop_after, std::nullopt);
            text += bytes.substr(0, n);
            throw ringo::cancelled("write", n);
        }
        text += bytes;
        co_return;
    }

    std::string text;
    int writes = 0;
    std::optional<std::size_t> stop_after;
};

task<> write_pattern(io::pipe_writer w, std::size_t size) {
    for (std::size_t at = 0; at < size; at += 10'000) {
        co_await w.write(patterned(std::min<std::size_t>(10'000, size - at), at));
    }
}

}  // namespace

// --- pipes ---

TEST_CASE("a_pipe_carries_all_bytes_in_order") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const std::size_t core : {std::size_t{0}, other_core()}) {
            io::pipe_ends ends = io::pipe();
            auto writes = spawn(on(core), &write_pattern, std::move(ends.writer), 1'000'000);
            const std::string all = co_await io::read_all(ends.reader);
            CHECK((all == patterned(1'000'000)));
            co_await writes;
            char c;
            CHECK(co_await ends.reader.read({&c, 1}) == 0);
            CHECK(co_await ends.reader.read({&c, 0}) == 0);
        }
        io::pipe_ends ends = io::pipe();
        ends.reader.close();
        const failure f = co_await failure_of(ends.writer.write("x"));
        CHECK(f.code == std::errc::broken_pipe);
        CHECK(f.text == "write pipe: Broken pipe");
    });
}

TEST_CASE("a_cancelled_pipe_read_takes_nothing") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        io::pipe_ends ends = io::pipe();
        constexpr int rounds = 500;
        std::string got;
        for (int i = 0; i < rounds; ++i) {
            auto reads = spawn(on(i % 2 == 0 ? 0 : other_core()), [&]() -> task<> {
                char c = 0;
                const auto n = co_await as_result(ends.reader.read({&c, 1}));
                if (n) {
                    got += c;
                } else {
                    CHECK(n.error() == std::errc::operation_canceled);
                }
            });
            co_await yield_times(i % 4);
            const char c = test::pattern(static_cast<std::uint64_t>(i));
            co_await ends.writer.write({&c, 1});
            co_await yield_times(i % 3);
            reads.cancel();
            co_await reads;
        }
        ends.writer.close();
        got += co_await io::read_all(ends.reader);
        CHECK((got == patterned(rounds)));
    });
}

TEST_CASE("a_cancelled_write_says_how_much_the_pipe_took") {
    run([]() -> task<> {
        const std::string much = patterned(1'000'000);
        io::pipe_ends ends = io::pipe();
        const failure f = co_await failure_of(
            [&]() -> task<> { co_await ringo::timeout(1ms, ends.writer.write(much)); }());
        CHECK(f.code == std::errc::timed_out);
        CHECK(f.bytes > 0);
        ends.writer.close();
        CHECK((co_await io::read_all(ends.reader) == patterned(f.bytes)));
    });
}

TEST_CASE("a_pipe_wins_and_loses_in_a_select") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        io::pipe_ends data = io::pipe();
        io::pipe_ends never = io::pipe();
        ringo::chan<int> c;
        constexpr std::size_t size = 3'000;
        auto writer = spawn(on(other_core()), [&]() -> task<> {
            for (std::size_t i = 0; i < size; ++i) {
                co_await data.writer.write(patterned(1, i));
                co_await yield_times(static_cast<int>(i % 3));
            }
        });
        auto rival = spawn([c]() -> task<> {
            for (int i = 0;; ++i) {
                co_await c.send(i);
                co_await yield_times(i % 4);
            }
        });
        std::string got;
        int next = 0;
        while (got.size() < size) {
            char buffer[3];
            char other[3];
            const auto r = co_await ringo::select(data.reader.read(buffer), c.recv(),
                                                  ringo::sleep(20us), never.reader.read(other));
            REQUIRE(r.index() != 3);
            if (r.index() == 0) {
                got.append(buffer, std::get<0>(r));
            } else if (r.index() == 1) {
                REQUIRE(std::get<1>(r) == next++);
            }
        }
        CHECK((got == patterned(size)));
        co_await writer;
        rival.cancel();

        // Writing, until there is no room; then it is the other that wins.
        std::size_t written = 0;
        const std::string much = patterned(50'000);
        while (true) {
            const auto r = co_await ringo::select(data.writer.write_some(much), ringo::sleep(1ms));
            if (r.index() == 1) {
                break;
            }
            written += std::get<0>(r);
        }
        data.writer.close();
        CHECK((co_await io::read_all(data.reader)).size() == written);
    });
}

TEST_CASE("closing_a_pipe_ends_waits_on_all_cores") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (int i = 0; i < 20; ++i) {
            io::pipe_ends ends = io::pipe();
            auto reads = spawn(on(other_core()), [&]() -> task<failure> {
                char c;
                co_return co_await failure_of(read_some(ends.reader, {&c, 1}));
            });
            auto selects = spawn([&]() -> task<failure> {
                char c;
                co_return co_await failure_of([&]() -> task<> {
                    co_await ringo::select(ends.reader.read({&c, 1}), ringo::sleep(1h));
                }());
            });
            co_await until_parked(other_core(), reads, "pipe read");
            co_await until_parked(0, selects, "select");
            ends.reader.close();
            CHECK((co_await reads).code == ringo::errc::closed);
            CHECK((co_await selects).code == ringo::errc::closed);
        }
    });
}

TEST_CASE("a_stream_that_is_always_ready_starves_nobody") {
    run([]() -> task<> {
        bool stop = false;
        auto reads = spawn([&]() -> task<> {
            io::pipe_reader zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC), "zeros");
            char buffer[16];
            while (!stop) {
                co_await zeros.read(buffer);
            }
        });
        co_await yield_times(10);
        co_await ringo::sleep(1us);
        stop = true;
        co_await reads;
    });
}

TEST_CASE("files_and_pipes_say_when_descriptors_run_out") {
    if (&__ubsan_handle_dynamic_type_cache_miss_abort != nullptr && &__tsan_init == nullptr) {
        MESSAGE("skipped: UBSan needs a descriptor of its own");
        return;
    }
    run([]() -> task<> {
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
        rlimit none = before;
        none.rlim_cur = 3;
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        const failure opened = co_await failure_of(fs::open("/dev/null"));
        std::error_code piped;
        try {
            const io::pipe_ends ends = io::pipe();
        } catch (const std::system_error& e) {
            piped = e.code();
        }
        const failure listed = co_await failure_of(fs::list("/"));
        ::setrlimit(RLIMIT_NOFILE, &before);
        CHECK(opened.code == std::errc::too_many_files_open);
        CHECK(piped == std::errc::too_many_files_open);
        CHECK(listed.code == std::errc::too_many_files_open);
    });
}

// --- buffers ---

TEST_CASE("lines_are_found_however_they_come") {
    run([]() -> task<> {
        for (std::uint64_t seed = 1; seed <= 50; ++seed) {
            CAPTURE(seed);
            std::mt19937_64 random(seed);
            std::string text;
            std::vector<std::string> expected;
            for (std::size_t n = random() % 20; n > 0; --n) {
                expected.emplace_back(random() % 40, static_cast<char>('a' + n));
                text += expected.back() + (random() % 2 == 0 ? "\n" : "\r\n");
            }
            if (random() % 2 == 0) {
                expected.emplace_back("no end");
                text += expected.back();
            }
            slow_reader slow(text, seed);
            io::buffered_reader in(slow, random() % 10 + 1);
            std::vector<std::string> got;
            while (const auto line = co_await in.read_line()) {
                got.emplace_back(*line);
            }
            CHECK(got == expected);
            const auto after = co_await in.read_line();
            CHECK_FALSE(after.has_value());
        }
    });
}

TEST_CASE("a_line_beyond_the_limit_is_an_error_and_stays") {
    run([]() -> task<> {
        io::memory_reader text("1234\n12345\nx;y");
        io::buffered_reader in(text, 4);
        CHECK(*co_await in.read_line(5) == "1234");
        bool refused = false;
        try {
            co_await in.read_line(5);
        } catch (const std::system_error& e) {
            refused = e.code() == ringo::errc::limit_exceeded;
        }
        CHECK(refused);
        CHECK(*co_await in.read_until('4') == "1234");
        char rest[2];
        CHECK(co_await in.read(rest) >= 1);
        CHECK(rest[0] == '5');
        CHECK(co_await io::read_all(in) == (rest[1] == '\n' ? "x;y" : "\nx;y"));
        io::memory_reader endless(std::string(100, 'x'));
        CHECK((co_await failure_of(io::read_all(endless, 99))).code == ringo::errc::limit_exceeded);
    });
}

TEST_CASE("writes_are_gathered_and_go_on_after_a_cancel") {
    run([]() -> task<> {
        fussy_writer to;
        io::buffered_writer out(to, 10);
        co_await out.write("abc");
        co_await out.write("def");
        CHECK(to.writes == 0);
        to.stop_after = 2;
        CHECK((co_await failure_of(out.flush())).bytes == 2);
        co_await out.flush();
        co_await out.flush();
        CHECK((to.text == "abcdef" && to.writes == 2));
        co_await out.write("12345678");
        co_await out.write("much more than fits");
        co_await out.write("!");
        co_await out.flush();
        CHECK((to.text == "abcdef12345678much more than fits!" && to.writes == 5));
    });
}

// --- copies ---

TEST_CASE("copy_moves_all_bytes_between_all_kinds_of_streams") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const std::string dir = co_await fs::temporary_dir();
        constexpr std::size_t size = 300'000;
        const std::string data = patterned(size);
        co_await fs::write_file(dir + "/in", data);
        const int create = O_RDWR | O_CREAT;

        fs::file in = co_await fs::open(dir + "/in");
        fs::file out = co_await fs::open(dir + "/out", create);
        CHECK(co_await io::copy(out, in) == size);
        CHECK((co_await fs::read_file(dir + "/out") == data));
        CHECK(co_await io::copy(out, in) == 0);

        // file - pipe - pipe - file, through the kernel alone
        io::pipe_ends first = io::pipe();
        io::pipe_ends second = io::pipe();
        auto feeds = spawn(on(other_core()), [&]() -> task<std::uint64_t> {
            fs::file from = co_await fs::open(dir + "/in");
            const io::pipe_writer to = std::move(first.writer);
            co_return co_await io::copy(const_cast<io::pipe_writer&>(to), from);
        });
        auto passes = spawn([&]() -> task<std::uint64_t> {
            io::pipe_writer to = std::move(second.writer);
            co_return co_await io::copy(to, first.reader);
        });
        fs::file spliced = co_await fs::open(dir + "/spliced", create);
        CHECK(co_await io::copy(spliced, second.reader) == size);
        CHECK(co_await feeds == size);
        CHECK(co_await passes == size);
        CHECK((co_await fs::read_file(dir + "/spliced") == data));

        // What the kernel does not do for files: append, and what /proc makes up.
        fs::file appended = co_await fs::open(dir + "/out", O_WRONLY | O_APPEND);
        fs::file again = co_await fs::open(dir + "/in");
        CHECK(co_await io::copy(appended, again) == size);
        CHECK((co_await fs::read_file(dir + "/out") == data + data));
        fs::file status = co_await fs::open("/proc/self/status");
        CHECK(co_await io::copy(out, status) > 100);

        // Through memory.
        io::memory_reader from(data);
        test::connection both = co_await test::connect();
        auto sends = spawn([&]() -> task<std::uint64_t> {
            const auto n = co_await io::copy(both.client, from);
            both.client.close_write();
            co_return n;
        });
        io::memory_writer to;
        CHECK(co_await io::copy(to, both.server) == size);
        CHECK(co_await sends == size);
        CHECK((to.text() == data));
        co_await fs::remove_all(dir);
    });
}

TEST_CASE("a_cancelled_copy_says_how_far_it_got") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const bool in_kernel : {true, false}) {
            CAPTURE(in_kernel);
            fs::file in = co_await fs::temporary_file();
            co_await in.write_at(patterned(1'000'000), 0);
            io::pipe_ends ends = io::pipe();
            auto copies = spawn([&]() -> task<failure> {
                if (in_kernel) {
                    co_return co_await failure_of(io::copy(ends.writer, in));
                }
                io::memory_reader from(patterned(1'000'000));
                co_return co_await failure_of(io::copy(ends.writer, from));
            });
            std::string got(100'000, '\0');
            for (std::size_t n = 0; n < got.size();) {
                n += co_await ends.reader.read({got.data() + n, got.size() - n});
            }
            copies.cancel();
            const failure f = co_await copies;
            CHECK(f.code == std::errc::operation_canceled);
            ends.writer.close();
            got += co_await io::read_all(ends.reader);
            CHECK(f.bytes == got.size());
            CHECK((got == patterned(got.size())));
        }
    });
}
