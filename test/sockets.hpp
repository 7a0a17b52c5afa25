// What the network tests share.
#pragma once

#include <doctest/doctest.h>

#include "conformance/placements.hpp"
#include "contains.hpp"

#include <ringo/ringo.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <dirent.h>
#include <sys/socket.h>
#include <unistd.h>

namespace test {

/// So many bytes or rounds; fewer under a sanitizer, which makes each slower by as much.
constexpr std::uint64_t many(std::uint64_t n) { return RINGO_SANITIZED ? n / 5 : n; }

/// Descriptors that this process has open.
inline std::size_t open_descriptors() {
    DIR* const all = ::opendir("/proc/self/fd");
    std::size_t n = 0;
    while (::readdir(all) != nullptr) {
        ++n;
    }
    ::closedir(all);
    return n;
}

/// ... are `n` at most. A core that looks for deadlocks opens a folder for a moment.
inline bool at_most_open(std::size_t n) {
    for (int i = 0; i < 1000; ++i) {
        if (open_descriptors() <= n) {
            return true;
        }
    }
    return false;
}

/// Checks at its end that no descriptor was left open, or closed twice.
class no_descriptor_leaks {
public:
    no_descriptor_leaks() : before_(open_descriptors()) {}
    no_descriptor_leaks(const no_descriptor_leaks&) = delete;
    no_descriptor_leaks& operator=(const no_descriptor_leaks&) = delete;
    ~no_descriptor_leaks() { CHECK(open_descriptors() == before_); }

private:
    std::size_t before_;
};

/// The address of an abstract Unix socket. The whole machine sees it, so it is this process's own.
inline std::string unix_address(std::string_view name) {
    return "unix:@ringo-test-" + std::to_string(::getpid()) + '-' + std::string(name);
}

/// A loopback address with port 0 that no other test uses, so that a port that was just freed is
/// not taken by another.
inline std::string own_address() {
    const auto pid = static_cast<unsigned>(::getpid());
    return "127." + std::to_string(1 + (pid >> 16) % 254) + '.' + std::to_string(pid >> 8 & 255) +
           '.' + std::to_string(pid & 255) + ":0";
}

inline ringo::task<> yield_times(int n) {
    for (int i = 0; i < n; ++i) {
        co_await ringo::yield();
    }
}

/// The bytes of an endless stream from `offset` on; a lost or a doubled one shows.
inline char pattern(std::uint64_t offset) {
    return static_cast<char>((offset * 0x9e3779b97f4a7c15) >> 56);
}
inline void fill_pattern(char* data, std::size_t size, std::uint64_t offset) {
    for (std::size_t i = 0; i < size; ++i) {
        data[i] = pattern(offset + i);
    }
}
inline bool has_pattern(const char* data, std::size_t size, std::uint64_t offset) {
    for (std::size_t i = 0; i < size; ++i) {
        if (data[i] != pattern(offset + i)) {
            return false;
        }
    }
    return true;
}
inline std::string patterned(std::size_t size, std::uint64_t offset = 0) {
    std::string s(size, '\0');
    fill_pattern(s.data(), size, offset);
    return s;
}

struct connection {
    connection() = default;
    connection(ringo::net::conn c, ringo::net::conn s)
        : client(std::move(c)), server(std::move(s)) {}
    ringo::net::conn client;
    ringo::net::conn server;
};

/// Both ends of a new connection.
inline ringo::task<connection> connect(std::string where = "127.0.0.1:0") {
    ringo::net::listener l = ringo::net::listen(where);
    auto client = ringo::spawn([to = l.local()] { return ringo::net::dial(to); });
    ringo::net::conn server = co_await l.accept();
    ringo::net::conn other = co_await client;
    co_return connection(std::move(other), std::move(server));
}

/// Reads until the peer sends no more.
inline ringo::task<std::string> read_all(ringo::net::conn& c) {
    std::string all;
    std::vector<char> buffer(65536);
    while (const std::size_t n = co_await c.read(buffer)) {
        all.append(buffer.data(), n);
    }
    co_return all;
}

/// How an operation or task failed; empty when it did not.
struct failure {
    failure() = default;
    failure(const std::system_error& e, std::size_t n) : code(e.code()), text(e.what()), bytes(n) {}
    std::error_code code;
    std::string text;
    std::size_t bytes = 0;  // of cancelled and deadline_exceeded
};

template <class T>
ringo::task<failure> failure_of(ringo::task<T> t) {
    failure f;
    try {
        co_await std::move(t);
    } catch (const ringo::cancelled& e) {
        f = failure(e, e.bytes());
    } catch (const ringo::deadline_exceeded& e) {
        f = failure(e, e.bytes());
    } catch (const std::system_error& e) {
        f = failure(e, 0);
    }
    co_return f;
}

inline ringo::task<std::size_t> read_some(ringo::net::conn& c, ringo::mutable_buffer b) {
    co_return co_await c.read(b);
}
inline ringo::task<std::size_t> write_some(ringo::net::conn& c, ringo::const_buffer b) {
    co_return co_await c.write_some(b);
}

/// Whether this run has a second core.
inline bool one_core_only() { return ringo::cores() < 2; }
/// Another core than the first, where there is one.
inline std::size_t other_core() { return ringo::cores() - 1; }

}  // namespace test
