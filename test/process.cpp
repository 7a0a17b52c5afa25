#include <ringo/os/command.hpp>

#include <doctest/doctest.h>

#include "misuse.hpp"
#include "sockets.hpp"

#include <ringo/ringo.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
namespace io = ringo::io;
namespace os = ringo::os;
using ringo::as_result;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::open_descriptors;
using test::until;

static_assert(io::writable<decltype(os::process::in)> && io::readable<decltype(os::process::out)>);

namespace {

/// No child process is left, neither a live one nor a zombie.
bool no_children() { return ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD; }

os::command sh(std::string script) { return os::command("/bin/sh", "-c", std::move(script)); }

/// What a script says on its stdout, which must end well.
task<std::string> said_by(os::command c) {
    const os::command_output r = co_await c.output();
    CHECK(r.status.to_string() == "exit status 0");
    CHECK(r.err == "");
    co_return r.out;
}

/// A child that SIGTERM does not end, once it has said so.
task<os::process> start_stubborn(os::command c) {
    os::process p = co_await c.out(os::piped).start();
    char ready = 0;
    CHECK(co_await p.out.read({&ready, 1}) == 1);
    co_return p;
}
const char* const stubborn = "trap '' TERM; echo r; while :; do sleep 1; done";

task<> wait_for(os::process& p) { co_await p.wait(); }

}  // namespace

TEST_CASE("output_collects_both_streams_and_the_status") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const auto r = co_await sh("echo out; echo err >&2; exit 3").output();
        CHECK(r.out == "out\n");
        CHECK(r.err == "err\n");
        CHECK(r.status.code() == 3);
        CHECK_FALSE(r.status.success());
        CHECK(r.status.to_string() == "exit status 3");

        // More than a pipe holds, on both at once.
        const auto large =
            co_await sh("head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero").output(300000);
        CHECK(large.out.size() == 300000);
        CHECK(large.err.size() == 300000);

        const auto merged = co_await sh("echo a; echo b >&2").err(os::merged).output();
        CHECK(merged.out == "a\nb\n");
    });
    CHECK(no_children());
}

TEST_CASE("more_output_than_allowed_is_an_error_and_ends_the_process") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const failure f = co_await failure_of(os::command("yes").output(1000));
        CHECK(f.code == ringo::errc::limit_exceeded);
        CHECK(test::contains(f.text, "output yes: "));
        CHECK(no_children());
    });
}

TEST_CASE("arguments_environment_and_folder_reach_the_program") {
    ::setenv("RINGO_A", "from the parent", 1);
    ::setenv("RINGO_B", "also", 1);
    run([]() -> task<> {
        CHECK(co_await said_by(os::command("printf", "%s|", "a b", "", "$c").arg("d")) ==
              "a b||$c|d|");
        const char* const show = "echo $RINGO_A $RINGO_B $RINGO_C";
        CHECK(co_await said_by(sh(show).env("RINGO_A", "own").env("RINGO_C", "new")) ==
              "own also new\n");
        CHECK(co_await said_by(sh(show).unset_env("RINGO_A")) == "also\n");
        CHECK(co_await said_by(os::command("env").clear_env().env("X", "1").env("X", "2")) ==
              "X=2\n");
        CHECK(co_await said_by(sh("pwd").dir("/usr/lib")) == "/usr/lib\n");
        CHECK(co_await said_by(os::command("./sh", "-c", "echo here").dir("/bin")) == "here\n");
    });
}

TEST_CASE("piped_streams_carry_a_conversation") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        os::process p = co_await os::command("cat").in(os::piped).out(os::piped).start();
        io::buffered_reader lines(p.out);
        co_await p.in.write("one\n");
        CHECK(co_await lines.read_line() == "one");
        auto elsewhere = spawn(on(test::other_core()), [&]() -> task<> {
            co_await p.in.write("two\n");
            CHECK(co_await lines.read_line() == "two");
        });
        co_await elsewhere;
        CHECK((co_await p.wait()).success());  // which closes its stdin
        CHECK_FALSE(co_await lines.read_line());
        CHECK((co_await p.wait()).success());
        CHECK_FALSE(p.signal(SIGTERM));
    });
    CHECK(no_children());
}

TEST_CASE("standard_streams_come_from_where_the_command_says") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        CHECK(co_await said_by(os::command("cat")) == "");
        const std::string text = test::patterned(200'000);
        CHECK((co_await said_by(os::command("cat").in_text(text)) == text));

        ringo::fs::file f = co_await ringo::fs::temporary_file();
        CHECK((co_await sh("echo written").out(f.descriptor()).run()).success());
        char written[8];
        CHECK(co_await f.read_at(written, 0) == 8);
        CHECK(std::string(written, 8) == "written\n");

        // Where this program has no standard streams, pipes get their numbers.
        int saved[3];
        for (int i = 0; i < 3; ++i) {
            saved[i] = ::fcntl(i, F_DUPFD_CLOEXEC, 10);
            ::close(i);
        }
        const auto r = co_await as_result(sh("cat; echo e >&2").in_text("i").output());
        for (int i = 0; i < 3; ++i) {
            ::dup2(saved[i], i);
            ::close(saved[i]);
        }
        CHECK(r.value().out == "i");
        CHECK(r.value().err == "e\n");
    });
}

TEST_CASE("a_process_has_only_its_streams_and_signals_as_after_boot") {
    const int leaked = ::fcntl(1, F_DUPFD, 30);  // stays open on exec
    std::signal(SIGUSR1, SIG_IGN);
    run([]() -> task<> {
        CHECK(co_await said_by(sh("ls /proc/self/fd | tr '\\n' ' '")) == "0 1 2 3 ");  // 3: ls's
        const std::string blocked = co_await said_by(sh("grep SigBlk /proc/self/status | cut -f2"));
        const std::string ignored = co_await said_by(sh("grep SigIgn /proc/self/status | cut -f2"));
        CHECK(std::stoull(blocked, nullptr, 16) == 0);
        // But for 32 and 33, glibc's own, which its posix_spawn leaves ignored.
        CHECK((std::stoull(ignored, nullptr, 16) & ~0x180000000ULL) == 0);
        const auto r = co_await sh("yes | head -n 1").output();
        CHECK(r.err == "");  // no `yes: standard output: Broken pipe`: SIGPIPE has ended it
    });
    std::signal(SIGUSR1, SIG_DFL);
    ::close(leaked);
}

TEST_CASE("a_program_that_cannot_start_is_an_error_that_names_it") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const auto error = [](os::command c) -> task<std::string> {
            const failure f = co_await failure_of(c.in(os::piped).output());
            co_return f.text;
        };
        CHECK(co_await error(os::command("no-such-program")) ==
              "start no-such-program: No such file or directory");
        CHECK(co_await error(os::command("/etc/passwd")) == "start /etc/passwd: Permission denied");
        CHECK(co_await error(os::command("ls").dir("/nowhere")) ==
              "start ls: chdir /nowhere: No such file or directory");
        CHECK(co_await error(os::command("ls", std::string("a\0b", 3))) ==
              "start ls: a zero byte in an argument: Invalid argument");
        CHECK(co_await error(os::command("ls").env("A=B", "")) ==
              "start ls: env: Invalid argument");
        CHECK(co_await error(os::command("ls").out(os::merged)) ==
              "start ls: merged: Invalid argument");
        CHECK(co_await error(os::command("ls").out(999)) ==
              "start ls: redirect: Bad file descriptor");
    });
    CHECK(no_children());
}

TEST_CASE("a_signal_is_sent_and_reported") {
    run([]() -> task<> {
        os::process p = co_await os::command("sleep", "1000").start();
        CHECK(p.signal(SIGUSR1));
        const os::exit_status s = co_await p.wait();
        CHECK(s.signal() == SIGUSR1);
        CHECK(s.code() == -1);
        CHECK(s.to_string() == "signal: User defined signal 1");
    });
}

TEST_CASE("a_cancelled_wait_ends_the_process_politely") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (const std::size_t core : {std::size_t{0}, test::other_core()}) {
            os::process p = co_await start_stubborn(
                sh("trap 'exit 7' TERM; echo r; while :; do sleep 0.01; done"));
            auto waits = spawn(on(core), wait_for, std::ref(p));
            co_await test::yield_times(3);
            CHECK(co_await test::ends_cancelled(waits));
            CHECK((co_await p.wait()).code() == 7);
        }
        const failure f = co_await failure_of(
            []() -> task<> { co_await ringo::timeout(1ms, os::command("sleep", "1000").run()); }());
        CHECK(f.code == std::errc::timed_out);
        CHECK(no_children());
    });
}

TEST_CASE("a_process_that_ignores_sigterm_is_killed_after_its_grace") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        os::process p = co_await start_stubborn(sh(stubborn).grace(20ms).own_group());
        auto waits = spawn(wait_for, std::ref(p));
        co_await test::yield_times(3);
        CHECK(co_await test::ends_cancelled(waits));
        CHECK((co_await p.wait()).signal() == SIGKILL);

        os::process at_once = co_await start_stubborn(sh(stubborn).grace(0s).own_group());
        CHECK((co_await at_once.stop()).signal() == SIGKILL);
        CHECK(no_children());
    });
}

TEST_CASE("a_group_is_ended_as_a_whole") {
    run([]() -> task<> {
        // The stream ends when the last who has it has ended: the sleep, which outlives its shell.
        os::process p = co_await sh("sleep 1000 & echo r; wait").out(os::piped).own_group().start();
        char ready[2];
        CHECK(co_await p.out.read(ready) == 2);
        CHECK((co_await p.stop()).signal() == SIGTERM);
        CHECK(co_await p.out.read(ready) == 0);
    });
}

TEST_CASE("a_process_that_somebody_else_has_reaped_is_an_error") {
    const no_descriptor_leaks check;
    std::signal(SIGCHLD, SIG_IGN);  // the kernel does then
    run([]() -> task<> {
        os::process p = co_await os::command("cat").in(os::piped).start();
        const failure f = co_await failure_of(p.wait());
        CHECK(f.text == "wait cat: No child processes");
    });
    std::signal(SIGCHLD, SIG_DFL);
}

TEST_CASE("select_waits_for_an_end_and_leaves_the_process_alone") {
    run([]() -> task<> {
        os::process p = co_await os::command("cat").in(os::piped).start();
        const auto first = co_await ringo::select(p.ended(), ringo::sleep(1ms));
        CHECK(first.index() == 1);
        p.in.close();
        const auto second = co_await ringo::select(p.ended(), ringo::sleep(1h));
        CHECK(second.index() == 0);
        CHECK((co_await p.wait()).success());
    });
}

TEST_CASE("a_dropped_process_is_ended_and_reaped") {
    const std::size_t before = open_descriptors();
    run([]() -> task<> {
        { const os::process ended = co_await os::command("true").start(); }
        { const os::process asked = co_await os::command("sleep", "1000").start(); }
        {
            const os::process stubborn_one =
                co_await start_stubborn(sh(stubborn).grace(1ms).own_group());
        }
        os::process replaced = co_await os::command("sleep", "1000").start();
        replaced = co_await os::command("true").start();
        CHECK((co_await replaced.wait()).success());
        co_await until([] { return no_children(); });
    });
    while (open_descriptors() != before) {  // the thread that reaps closes the last
        std::this_thread::yield();
    }
}

TEST_CASE("a_detached_process_runs_on_and_is_reaped") {
    run([]() -> task<> {
        io::pipe_ends ends = io::pipe();
        {
            os::process p =
                co_await sh("cat; echo done").in(os::piped).out(ends.writer.descriptor()).start();
            io::pipe_writer in = std::move(p.in);
            std::move(p).detach();
            ends.writer.close();
            co_await in.write("still there, ");
        }
        CHECK(co_await io::read_all(ends.reader) == "still there, done\n");
        co_await until([] { return no_children(); });
    });
}

TEST_CASE("the_end_of_a_run_ends_what_it_waits_for") {
    const std::size_t before = open_descriptors();
    run(
        []() -> task<> {
            for (int i = 0; i < 3; ++i) {
                ringo::go(on(static_cast<std::size_t>(i) % ringo::cores()), [i]() -> task<> {
                    os::command c = i == 0 ? sh(stubborn) : os::command("sleep", "1000");
                    co_await c.own_group().run();
                });
            }
            co_await ringo::sleep(5ms);  // in whatever state they are by then
        },
        {.shutdown_grace = 20ms});
    while (!no_children() || open_descriptors() != before) {
        std::this_thread::yield();
    }
}

TEST_CASE("a_start_is_cancelled_in_every_state") {
    const std::size_t before = open_descriptors();
    run([]() -> task<> {
        for (int i = 0; i < 40; ++i) {
            auto one = spawn(on(static_cast<std::size_t>(i) % ringo::cores()), []() -> task<> {
                co_await os::command("sleep", "1000").in(os::piped).grace(0s).run();
            });
            co_await test::yield_times(i * i);
            CHECK(co_await test::ends_cancelled(one));
        }
    });
    while (!no_children() || open_descriptors() != before) {
        std::this_thread::yield();
    }
}

TEST_CASE("without_descriptors_a_start_fails_and_leaves_nothing") {
    const test::child_end end = test::in_child([] {
        run([]() -> task<> {
            (void)co_await sh("true").output();  // has made what stays
            const std::size_t before = open_descriptors();
            int refused = 0;
            for (std::size_t more = 0;; ++more) {
                const ::rlimit few{before - 1 + more, 1000};
                ::setrlimit(RLIMIT_NOFILE, &few);
                const auto r = co_await as_result(sh("cat").in_text("text").dir("/").output());
                const ::rlimit enough{1000, 1000};
                ::setrlimit(RLIMIT_NOFILE, &enough);
                if (open_descriptors() != before || !no_children()) {
                    ::_exit(10);
                }
                if (r) {
                    ::_exit(r->out == "text" && refused > 3 ? 0 : 11);
                }
                if (r.error() != std::errc::too_many_files_open) {
                    ::_exit(12);
                }
                ++refused;
            }
        });
    });
    test::check_exit(end, 0);
}

TEST_CASE("many_commands_run_at_once") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        ringo::task_group group;
        int sum = 0;
        for (int i = 0; i < 50; ++i) {
            group.go([i, &sum]() -> task<> {
                const auto r = co_await os::command("printf", "%d", std::to_string(i)).output();
                sum += std::stoi(r.out);
            });
        }
        co_await group.wait();
        CHECK(sum == 1225);
    });
    CHECK(no_children());
}
