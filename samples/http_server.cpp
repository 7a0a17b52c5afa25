// An HTTP/1.1 server on every core.    http_server [ADDRESS [FOLDER]]
//
// /hello says hello; any other path is a file of FOLDER, if one is given. Requests may follow each
// other without waiting (keep-alive, pipelining). ADDRESS is 127.0.0.1:8080 unless given; port 0
// lets the system choose. Ctrl-C drains and ends. Symlinks are followed; bodies are not read.
#include "http_request.hpp"
#include "http_response.hpp"

#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/fs.hpp>
#include <ringo/go.hpp>
#include <ringo/net.hpp>
#include <ringo/os.hpp>
#include <ringo/result.hpp>
#include <ringo/run.hpp>
#include <ringo/time.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>

namespace {

namespace fs = ringo::fs;
namespace net = ringo::net;
using ringo::task;
using namespace std::chrono_literals;

constexpr net::serve_options options{.connections_max = 10'000};
constexpr auto idle_time_max = 60s;             // for a client to take its answers and ask again
constexpr auto request_time_max = 10s;          // from a request's first byte to its last
constexpr auto write_time_max = 30s;            // for a client to take what is written at once
constexpr std::size_t write_bytes = 64 * 1024;  // answers are gathered up to this

struct site {
    std::string address = "127.0.0.1:8080";
    std::string folder;  // empty: no files
};

/// The status for a file that cannot be opened.
int status_of(const std::error_code& error) noexcept {
    switch (error.value()) {
        case ENOENT:
        case ENOTDIR:
        case ENXIO:  // a socket
        case ELOOP:
        case ENAMETOOLONG:
            return 404;
        case EACCES:
        case EPERM:
            return 403;
        case EMFILE:
        case ENFILE:
            return 503;
        default:
            return 500;
    }
}

/// One client, from its first request to its last.
class visit {
public:
    visit(net::conn c, const site& s) : conn_(std::move(c)), site_(s) {}

    task<> serve() {
        while (open_) {
            const net::lease got = co_await receive();
            if (!got) {
                co_return;
            }
            std::string_view unread = got.text();
            while (open_ && !unread.empty()) {
                unread.remove_prefix(request_.feed(unread));
                if (request_.refusal() != 0) {
                    refuse(request_.refusal());
                } else if (request_.complete()) {
                    co_await answer();
                }
            }
        }
        co_await ringo::timeout(write_time_max, flush());
        co_await take_leave();
    }

private:
    /// Writes what has gathered and waits for bytes. An empty lease: there will be none, or they
    /// come too slowly.
    task<net::lease> receive() {
        const bool idle = request_.idle();
        if (!idle && !request_end_) {
            request_end_ = ringo::clock::now() + request_time_max;
        }
        const auto wait = idle ? idle_time_max : *request_end_ - ringo::clock::now();
        try {
            co_return co_await ringo::timeout(wait, flush_and_receive());
        } catch (const ringo::deadline_exceeded&) {
        }
        if (!idle && out_.empty()) {
            refuse(408);
            co_await ringo::timeout(write_time_max, flush());
        }
        co_return net::lease();
    }

    task<net::lease> flush_and_receive() {
        co_await flush();
        co_return co_await conn_.recv();
    }

    task<> answer() {
        request_end_.reset();
        open_ = request_.keep_alive();
        const auto path = http::path_of(request_.target());
        if (!path) {
            refuse(400);
        } else if (!request_.is_get() && !request_.is_head()) {
            fail(405);
        } else if (*path == "hello") {
            say(200, "hello, world\n");
        } else if (site_.folder.empty()) {
            fail(404);
        } else {
            co_await send_file(site_.folder + '/' + *path);
        }
    }

    task<> send_file(std::string name) {
        // Nobody is waited for who would write into a FIFO.
        auto file = co_await ringo::as_result(fs::open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
        if (!file) {
            co_return fail(status_of(file.error()));
        }
        const fs::info about = co_await file->stat();
        if (!about.is_file()) {
            co_return fail(404);
        }
        append_head(200, http::type_of(name), about.size);
        const std::uint64_t size = request_.is_head() ? 0 : about.size;
        for (std::uint64_t sent = 0; sent < size;) {
            const std::size_t step = std::min<std::uint64_t>(size - sent, write_bytes);
            const std::size_t before = out_.size();
            out_.resize(before + step);
            const std::size_t n = co_await file->read_at({out_.data() + before, step}, sent);
            out_.resize(before + n);
            sent += n;
            if (n == 0) {  // it has become shorter: no good end for what was promised
                open_ = false;
                break;
            }
            if (out_.size() >= write_bytes) {
                co_await ringo::timeout(write_time_max, flush());
            }
        }
    }

    void fail(int status) { say(status, std::string(http::reason(status)) + '\n'); }

    /// ... to what was no request; nobody knows where the next begins.
    void refuse(int status) {
        open_ = false;
        fail(status);
    }

    void say(int status, std::string_view text) {
        append_head(status, "text/plain; charset=utf-8", text.size());
        if (!request_.is_head() || request_.refusal() != 0) {
            out_ += text;
        }
    }

    void append_head(int status, std::string_view type, std::uint64_t length) {
        const std::string_view connection = !open_              ? "close"
                                            : request_.is_1_0() ? "keep-alive"
                                                                : "";
        http::append(out_, {status, type, length, connection});
    }

    /// Writes what has gathered.
    task<> flush() {
        if (!out_.empty()) {
            co_await conn_.write(out_);
            out_.clear();
        }
        if (out_.capacity() > write_bytes) {
            out_ = {};  // whoever waits for a next request keeps little
        }
    }

    // Closing while bytes are unread resets a connection, and the client may lose the answer. So
    // the client has a moment to read it and to close.
    task<> take_leave() {
        conn_.close_write();
        const auto drop_rest = [&]() -> task<> {
            constexpr std::size_t dropped_max = 1 << 20;
            for (std::size_t dropped = 0; dropped < dropped_max;) {
                const net::lease rest = co_await conn_.recv();
                if (!rest) {
                    break;
                }
                dropped += rest.size();
            }
        };
        co_await ringo::timeout(2s, drop_rest());
    }

    net::conn conn_;
    const site& site_;
    http::request_parser request_;
    std::string out_;
    std::optional<ringo::time_point> request_end_;  // of one that has begun
    bool open_ = true;
};

task<> receive_visitor(net::conn c, const site& s) {
    visit v(std::move(c), s);
    try {
        co_await v.serve();
    } catch (const ringo::cancelled&) {
        throw;
    } catch (const std::system_error&) {
        // The client is gone, or does not read; or a file could not be read to its end.
    }
}

task<int> co_main(const site& s) {
    std::vector<net::listener> listeners = net::listen_on_cores(s.address);
    std::printf("listening %s, %zu cores (Ctrl-C drains and ends)\n",
                listeners.front().local().to_string().c_str(), ringo::cores());
    std::fflush(stdout);

    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    const auto handler = [&s](net::conn c) { return receive_visitor(std::move(c), s); };
    try {
        co_await ringo::within(interrupted, net::serve(std::move(listeners), handler, options));
    } catch (const ringo::cancelled&) {
        std::puts("drained");
    }
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    site s;
    if (argc > 1) {
        s.address = argv[1];
    }
    if (argc > 2) {
        s.folder = argv[2];
    }
    try {
        return ringo::run(co_main(s));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "http_server: %s\n", e.what());
        return 1;
    }
}
