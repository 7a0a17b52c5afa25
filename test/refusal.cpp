// A kernel that refuses io_uring: epoll takes its place, or the error names the cause and the remedy.
#include "contains.hpp"
#include "misuse.hpp"

#include <ringo/ringo.hpp>
#include <ringo/runtime.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

using test::contains;

namespace {

ringo::task<> nothing() { co_return; }

/// From here on two system calls fail with `error` in this thread.
bool forbid(unsigned one, unsigned other, int error) {
    std::array<sock_filter, 5> program{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, one, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, other, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool forbid_io_uring(int error) { return forbid(__NR_io_uring_setup, __NR_io_uring_setup, error); }
void forbid_threads() {
    if (!forbid(__NR_clone, __NR_clone3, EAGAIN)) {
        std::fputs("seccomp is not to be had", stderr);
    }
}

/// What `f` throws, on stderr.
template <class F>
void say_failure(F&& f) {
    try {
        f();
        std::fputs("it goes well\n", stderr);
    } catch (const std::system_error& e) {
        std::fprintf(
            stderr, "%s\n",
            e.code() == std::errc::resource_unavailable_try_again ? e.what() : "another code");
    }
}

/// The text of what `run` throws, or logs, where io_uring_setup fails with `error`.
std::string refusal(int error, ringo::backend b = ringo::backend::automatic) {
    return test::in_child([error, b] {
               if (!forbid_io_uring(error)) {
                   std::fputs("seccomp is not to be had", stderr);
                   return;
               }
               ::unsetenv("RINGO_BACKEND");
               ::setenv("RINGO_LOG", "1", 1);
               try {
                   ringo::run(nothing(), {.cores = 2, .backend = b});
               } catch (const std::system_error& e) {
                   std::fputs(e.code().value() == error ? e.what() : "another code", stderr);
               }
           })
        .output;
}

}  // namespace

TEST_CASE("where_io_uring_is_forbidden_epoll_takes_its_place") {
    for (const int error : {EPERM, ENOSYS, EINVAL}) {
        const std::string text = refusal(error);
        CAPTURE(text);
        CHECK(contains(text, "ringo: 2 cores on epoll"));
        CHECK(contains(text, "io_uring_setup"));  // why
    }
}

TEST_CASE("forbidden_io_uring_that_was_asked_for_is_refused_with_cause_and_remedy") {
    for (const int error : {EPERM, ENOSYS}) {
        const std::string text = refusal(error, ringo::backend::uring);
        CAPTURE(text);
        CHECK(contains(text, "io_uring is forbidden here"));
        CHECK(contains(text, "seccomp"));
        CHECK(contains(text, "kernel.io_uring_disabled"));
    }
}

TEST_CASE("io_uring_of_which_only_the_setup_is_allowed_is_not_used") {
    for (const unsigned call : {__NR_io_uring_enter, __NR_io_uring_register}) {
        const std::string text = test::in_child([call] {
                                     if (!forbid(call, call, EPERM)) {
                                         std::fputs("seccomp is not to be had", stderr);
                                         return;
                                     }
                                     ::unsetenv("RINGO_BACKEND");
                                     ::setenv("RINGO_LOG", "1", 1);
                                     ringo::run(nothing(), {.cores = 1});
                                 }).output;
        CAPTURE(text);
        CHECK(contains(text, "ringo: 1 core on epoll"));
    }
}

TEST_CASE("RINGO_LOG_tells_the_back_end") {
    const auto log = [](ringo::backend b) {
        return test::in_child([b] {
                   ::unsetenv("RINGO_BACKEND");
                   ::setenv("RINGO_LOG", "1", 1);
                   ringo::run(nothing(), {.cores = 1, .backend = b});
               })
            .output;
    };
    const std::string text = log(ringo::backend::epoll);
    CHECK(contains(text, "ringo: 1 core on epoll"));
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
    CHECK(contains(log(ringo::backend::automatic), "ringo: 1 core on "));
}

TEST_CASE("too_little_lockable_memory_is_refused_with_cause_and_remedy") {
    const std::string text = refusal(ENOMEM);
    CAPTURE(text);
    CHECK(contains(text, "memlock"));
    CHECK(contains(text, "options.ring_entries"));
}

TEST_CASE("missing_descriptors_are_refused_with_cause_and_remedy") {
    const std::string text = refusal(EMFILE);
    CAPTURE(text);
    CHECK(contains(text, "ulimit -n"));
}

// --- threads ---

TEST_CASE("a_core_without_a_thread_is_refused_with_cause_and_remedy") {
    const std::string text = test::in_child([] {
                                 forbid_threads();
                                 say_failure([] { ringo::run(nothing(), {.cores = 2}); });
                                 say_failure([] { const ringo::runtime r({.cores = 1}); });
                                 say_failure([] { ringo::run(nothing(), {.cores = 1}); });
                             }).output;
    CAPTURE(text);
    CHECK(contains(text, "run: cannot start the thread of core 1"));
    CHECK(contains(text, "ulimit -u"));
    CHECK(contains(text, "runtime: cannot start the thread of core 0"));
    CHECK(contains(text, "it goes well"));
}

TEST_CASE("cores_that_have_threads_end_in_order_when_another_gets_none") {
    const test::child_end end = test::in_child([] {
        // The limit is not for root; another user has no process yet.
        const rlim_t most = ::geteuid() == 0 && ::setuid(64'999) == 0 ? 3 : 1;
        const rlimit limit{most, most};
        ::setrlimit(RLIMIT_NPROC, &limit);
        for (int i = 0; i < 3; ++i) {
            say_failure([] { ringo::run(nothing(), {.cores = 8}); });
        }
    });
    test::check_exit(end, 0);
    CAPTURE(end.output);
    CHECK(contains(end.output, "run: cannot start the thread of core "));
}

TEST_CASE("blocking_without_any_thread_is_an_error_and_the_run_goes_on") {
    const std::string text =
        test::in_child([] {
            ringo::run(
                []() -> ringo::task<> {
                    forbid_threads();
                    for (int i = 0; i < 2; ++i) {
                        const auto r = co_await ringo::as_result(ringo::blocking([] {}));
                        std::fprintf(stderr, "blocking: %s\n", r.error().message().c_str());
                    }
                    const auto d = co_await ringo::as_result(ringo::net::dial("LOCALHOST:1"));
                    std::fprintf(stderr, "dial: %s\n", d.error().message().c_str());
                },
                {.cores = 1});
        }).output;
    CAPTURE(text);
    const std::string why = std::error_code(EAGAIN, std::system_category()).message();
    CHECK(text == "blocking: " + why + "\nblocking: " + why + "\ndial: " + why + "\n");
}

TEST_CASE("blocking_goes_on_with_fewer_threads") {
    const std::string text = test::in_child([] {
                                 ringo::run(
                                     []() -> ringo::task<> {
                                         co_await ringo::blocking([] {});  // one thread
                                         forbid_threads();
                                         int done = 0;
                                         const auto job = [&done]() -> ringo::task<> {
                                             co_await ringo::blocking([] {});
                                             ++done;
                                         };
                                         auto a = ringo::spawn(job);
                                         auto b = ringo::spawn(job);
                                         co_await a;
                                         co_await b;
                                         std::fprintf(stderr, "%d done", done);
                                     },
                                     {.cores = 1});
                             }).output;
    CHECK(text == "2 done");
}
