#include <ringo/net/resolve.hpp>

#include <doctest/doctest.h>

#include "blocking_pool.hpp"
#include "cores.hpp"
#include "no_descriptors.hpp"
#include "shard.hpp"
#include "skip.hpp"
#include "sockets.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>

using namespace std::chrono_literals;
using ringo::on;
using ringo::run;
using ringo::spawn;
using ringo::task;
using ringo::net::endpoint;
using ringo::net::resolve;
using ringo::net::resolve_options;
using test::failure;
using test::failure_of;
using test::no_descriptor_leaks;
using test::other_core;
using test::until;

namespace {

/// While it lives, the resolver does not answer for "slow.test"; then it knows no such name.
class slow_resolver {
public:
    slow_resolver() { set(true); }
    slow_resolver(const slow_resolver&) = delete;
    slow_resolver& operator=(const slow_resolver&) = delete;
    ~slow_resolver() { set(false); }

    static int asked() {
        const std::lock_guard guard(lock_);
        return asked_;
    }
    static void ask() {
        std::unique_lock guard(lock_);
        ++asked_;
        answers_.wait(guard, [] { return !slow_; });
    }

private:
    static void set(bool slow) {
        const std::lock_guard guard(lock_);
        slow_ = slow;
        asked_ = 0;
        answers_.notify_all();
    }

    static inline std::mutex lock_;
    static inline std::condition_variable answers_;
    static inline bool slow_ = false;
    static inline int asked_ = 0;
};

}  // namespace

// Stands before the system's, for the whole program.
extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                           addrinfo** found) {
    if (host != nullptr && std::strcmp(host, "slow.test") == 0) {
        slow_resolver::ask();
        return EAI_NONAME;
    }
    static const auto system =
        reinterpret_cast<decltype(&::getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    return system(host, service, hints, found);
}

namespace {

/// All addresses, with spaces between them.
task<std::string> text_of(task<std::vector<endpoint>> resolving) {
    std::string text;
    for (const endpoint& e : co_await std::move(resolving)) {
        text += (text.empty() ? "" : " ") + e.to_string();
    }
    co_return text;
}

std::size_t pool_threads() { return ringo::detail::shard::here().all.resolver_pool().threads(); }

}  // namespace

TEST_CASE("numbers_need_no_look_up") {
    run([]() -> task<> {
        CHECK(co_await text_of(resolve("127.0.0.1", "80")) == "127.0.0.1:80");
        CHECK(co_await text_of(resolve("::1", "80")) == "[::1]:80");
        CHECK(co_await text_of(resolve("10.1.2.3")) == "10.1.2.3:0");
        CHECK(co_await text_of(resolve("", "80")) == "[::1]:80 127.0.0.1:80");
        const resolve_options v4{.family = AF_INET};
        CHECK(co_await text_of(resolve("", "80", v4)) == "127.0.0.1:80");
        CHECK(pool_threads() == 0);
    });
}

TEST_CASE("names_come_from_etc_hosts_and_services_from_etc_services") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            const resolve_options v4{.family = AF_INET};
            auto asking = spawn(on(core), [&v4] { return resolve("LOCALHOST", "80", v4); });
            const std::vector<endpoint> found = co_await asking;
            CHECK(found.front().to_string() == "127.0.0.1:80");
        }
        if (::getservbyname("https", "tcp") != nullptr) {
            CHECK(co_await text_of(resolve("127.0.0.1", "https")) == "127.0.0.1:443");
        }
        if (::getservbyname("tftp", "udp") != nullptr) {  // over TCP there is none
            const resolve_options datagram{.datagram = true};
            CHECK(co_await text_of(resolve("::1", "tftp", datagram)) == "[::1]:69");
        }
    });
}

TEST_CASE("failures_name_the_host") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        failure f = co_await failure_of(resolve("no-such-name.invalid", "80"));
        CHECK(f.code.category() == ringo::net::resolver_category());
        CHECK(f.text == "resolve no-such-name.invalid: " + f.code.message());

        f = co_await failure_of(resolve("127.0.0.1", "no-such-service"));
        CHECK(f.code == std::error_code(EAI_SERVICE, ringo::net::resolver_category()));
        CHECK(test::contains(f.text, "resolve 127.0.0.1:no-such-service: "));

        const resolve_options v6{.family = AF_INET6};
        f = co_await failure_of(resolve("127.0.0.1", "80", v6));
        CHECK(f.code == std::error_code(EAI_ADDRFAMILY, ringo::net::resolver_category()));

        for (const char* bad : {"::1::", "a b:c"}) {
            f = co_await failure_of(resolve(bad, "80"));
            CHECK(f.code == std::errc::invalid_argument);
            CHECK(test::contains(f.text, bad));
        }
        f = co_await failure_of(resolve(std::string("a\0b", 3), "80"));
        CHECK(f.code == std::errc::invalid_argument);
        f = co_await failure_of(resolve("localhost", "65536"));
        CHECK(f.code == std::errc::invalid_argument);
        CHECK(test::contains(f.text, "resolve address \"localhost:65536\": the port"));
    });
}

TEST_CASE("a_resolver_without_descriptors_fails") {
    if (test::needs_descriptors_to_check_types()) {
        return test::skip(test::no_descriptors::why_not);
    }
    run([]() -> task<> {
        const test::no_descriptors none;
        const failure f = co_await failure_of(resolve("ringo-test.invalid", "80"));
        CHECK(f.code);
        CHECK(test::contains(f.text, "resolve ringo-test.invalid: "));
    });
}

TEST_CASE("a_cancelled_look_up_returns_at_once") {
    const no_descriptor_leaks check;
    run([]() -> task<> {
        const slow_resolver slow;
        for (const std::size_t core : {std::size_t(0), other_core()}) {
            const int before = slow_resolver::asked();
            auto asking = spawn(on(core), [] { return failure_of(resolve("slow.test")); });
            co_await until([before] { return slow_resolver::asked() > before; });
            asking.cancel();
            const failure f = co_await asking;  // while the resolver is still silent
            CHECK(f.code == std::errc::operation_canceled);
        }
        const auto late = co_await ringo::as_result(ringo::timeout(1ms, resolve("slow.test")));
        CHECK(late.error() == std::errc::timed_out);
    });
}

TEST_CASE("a_cancelled_look_up_that_no_thread_has_taken_up_is_never_made") {
    run([]() -> task<> {
        constexpr int threads = ringo::detail::blocking_pool::threads_max;
        const slow_resolver slow;
        std::vector<ringo::join_handle<failure>> asking;
        for (int i = 0; i < threads + 10; ++i) {
            asking.push_back(spawn([] { return failure_of(resolve("slow.test")); }));
        }
        co_await until([] { return slow_resolver::asked() == threads; });
        // Nor do those that hang hold up anybody else.
        CHECK(co_await ringo::blocking([] { return 42; }) == 42);
        for (auto& a : asking) {
            a.cancel();
            const failure f = co_await a;
            CHECK(f.code == std::errc::operation_canceled);
        }
        CHECK(slow_resolver::asked() == threads);
    });
}

TEST_CASE("a_deadline_ends_a_look_up_in_virtual_time") {
    test::virtual_run([]() -> task<> {
        const slow_resolver slow;
        const auto late = co_await ringo::as_result(ringo::timeout(5s, resolve("slow.test")));
        CHECK(late.error() == std::errc::timed_out);
        CHECK(test::now() == 5s);
    });
}

TEST_CASE("a_run_ends_while_look_ups_wait") {
    run([]() -> task<> {
        const slow_resolver slow;
        for (std::size_t core = 0; core < ringo::cores(); ++core) {
            ringo::go(on(core), [] { return failure_of(resolve("slow.test")); });
        }
        co_await until([] { return slow_resolver::asked() > 0; });
    });
}
