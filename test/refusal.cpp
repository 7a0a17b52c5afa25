// A kernel that refuses io_uring: the error names the cause and the remedy.
#include "misuse.hpp"

#include <ringo/run.hpp>
#include <ringo/task.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>
#include <system_error>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace {

ringo::task<> nothing() { co_return; }

/// From here on io_uring_setup fails with `error` in this process.
bool forbid_io_uring(int error) {
    std::array<sock_filter, 4> program{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/// The text of what `run` throws where io_uring_setup fails with `error`.
std::string refusal(int error) {
    return test::in_child([error] {
               if (!forbid_io_uring(error)) {
                   std::fputs("seccomp is not to be had", stderr);
                   return;
               }
               try {
                   ringo::run(nothing());
               } catch (const std::system_error& e) {
                   std::fputs(e.code().value() == error ? e.what() : "another code", stderr);
               }
           })
        .output;
}

bool contains(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("forbidden_io_uring_is_refused_with_cause_and_remedy") {
    for (const int error : {EPERM, ENOSYS}) {
        const std::string text = refusal(error);
        CAPTURE(text);
        CHECK(contains(text, "io_uring is forbidden here"));
        CHECK(contains(text, "seccomp"));
        CHECK(contains(text, "kernel.io_uring_disabled"));
    }
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
