// Running out of descriptors.
#pragma once

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

// The runtimes of UBSan, where it is linked in, and of TSan, which contains it unused.
extern "C" [[gnu::weak]] void __ubsan_handle_dynamic_type_cache_miss_abort();
extern "C" [[gnu::weak]] void __tsan_init();

namespace test {

inline bool needs_descriptors_to_check_types() {
    return &__ubsan_handle_dynamic_type_cache_miss_abort != nullptr && &__tsan_init == nullptr;
}

/// Leaves this process as good as no free descriptor, for as long as it lives.
class no_descriptors {
public:
    no_descriptors() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        ::close(lowest);
        rlimit limit = before_;
        limit.rlim_cur = static_cast<rlim_t>(lowest);  // all below it are in use
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    no_descriptors(const no_descriptors&) = delete;
    no_descriptors& operator=(const no_descriptors&) = delete;
    ~no_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

    static constexpr const char* why_not =
        "UBSan needs a descriptor of its own to check the type of an object";

private:
    rlimit before_{};
};

}  // namespace test
