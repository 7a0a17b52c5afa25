// Sends commands to a Redis server, one from each line of its input, and prints the answers.
//     redis_client SOCKET
//
// SOCKET is the path of a Unix socket. Nobody waits for an answer before sending the next command.
//
// The protocol is hiredis', whose asynchronous interface leaves it to its user to wait for the
// socket. That is what `ringo::poll` is for; `ringo::from_callback` turns its callbacks into
// something to await.
#include <ringo/callback.hpp>
#include <ringo/chan.hpp>
#include <ringo/event.hpp>
#include <ringo/go.hpp>
#include <ringo/io.hpp>
#include <ringo/os.hpp>
#include <ringo/poll.hpp>
#include <ringo/run.hpp>
#include <ringo/select.hpp>

#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>

namespace {

using ringo::task;

std::string text_of(const redisReply& r) {
    switch (r.type) {
        case REDIS_REPLY_INTEGER:
            return std::to_string(r.integer);
        case REDIS_REPLY_NIL:
            return "(nil)";
        case REDIS_REPLY_ARRAY: {
            std::string all;
            for (std::size_t i = 0; i < r.elements; ++i) {
                all += i == 0 ? "" : " ";
                all += text_of(*r.element[i]);
            }
            return all;
        }
        default:
            return {r.str, static_cast<std::size_t>(r.len)};
    }
}

/// A connection. All of it stays on one core, as hiredis wants.
class redis {
public:
    explicit redis(const std::string& path) : context_(::redisAsyncConnectUnix(path.c_str())) {
        if (context_ == nullptr || context_->err != 0) {
            const std::string why = context_ != nullptr ? context_->errstr : "no memory";
            if (context_ != nullptr) {
                ::redisAsyncFree(context_);
            }
            throw std::runtime_error(path + ": " + why);
        }
        context_->ev.data = this;
        context_->ev.addRead = [](void* p) { self(p).want(POLLIN, true); };
        context_->ev.delRead = [](void* p) { self(p).want(POLLIN, false); };
        context_->ev.addWrite = [](void* p) { self(p).want(POLLOUT, true); };
        context_->ev.delWrite = [](void* p) { self(p).want(POLLOUT, false); };
        context_->ev.cleanup = [](void* p) { self(p).context_ = nullptr; };
        ::redisAsyncSetConnectCallback(context_, [](const redisAsyncContext*, int) {});
    }
    redis(const redis&) = delete;
    redis& operator=(const redis&) = delete;
    ~redis() {
        if (context_ != nullptr) {
            ::redisAsyncFree(context_);
        }
    }

    /// Does what hiredis waits for, until the connection is closed. To be run beside commands.
    task<> serve() {
        while (context_ != nullptr) {
            const auto r =
                co_await ringo::select(changed_.wait(), ringo::poll(context_->c.fd, wanted_));
            changed_.reset();
            const int ready = r.index() == 1 ? std::get<1>(r) : 0;
            if ((ready & ~POLLOUT) != 0) {
                ::redisAsyncHandleRead(context_);
            }
            if (context_ != nullptr && (ready & POLLOUT) != 0) {
                ::redisAsyncHandleWrite(context_);
            }
            if (context_ != nullptr && std::exchange(closing_, false)) {
                ::redisAsyncDisconnect(context_);  // once all answers have come
            }
        }
    }

    /// throws: what the server says is wrong, or that the connection is lost
    task<std::string> command(std::vector<std::string> words) {
        if (context_ == nullptr) {
            throw std::runtime_error("the connection is closed");
        }
        std::vector<const char*> texts;
        std::vector<std::size_t> sizes;
        for (const std::string& w : words) {
            texts.push_back(w.data());
            sizes.push_back(w.size());
        }
        auto send = [&](completion done) {
            // hiredis calls back in any case, if only to say that the connection is lost.
            ::redisAsyncCommandArgv(context_, &answered, new completion(std::move(done)),
                                    static_cast<int>(words.size()), texts.data(), sizes.data());
        };
        co_return co_await ringo::from_callback<std::string>(send);
    }

    void close() {
        closing_ = true;
        changed_.set();
    }

private:
    using completion = ringo::completion<std::string>;

    static redis& self(void* p) { return *static_cast<redis*>(p); }
    void want(int event, bool wanted) {
        wanted_ = static_cast<short>(wanted ? wanted_ | event : wanted_ & ~event);
        changed_.set();
    }
    static void answered(redisAsyncContext* context, void* answer, void* p) {
        const std::unique_ptr<completion> done(static_cast<completion*>(p));
        const auto* const r = static_cast<const redisReply*>(answer);
        if (r == nullptr) {
            done->fail(std::make_exception_ptr(std::runtime_error(
                context->err != 0 ? context->errstr : "the connection is closed")));
        } else if (r->type == REDIS_REPLY_ERROR) {
            done->fail(std::make_exception_ptr(std::runtime_error(text_of(*r))));
        } else {
            (*done)(text_of(*r));
        }
    }

    redisAsyncContext* context_;  // null once it is closed
    short wanted_ = 0;
    bool closing_ = false;
    ringo::event changed_;  // what is wanted
};

using answer = ringo::join_handle<std::string>;

std::vector<std::string> words_of(std::string_view line) {
    std::istringstream in{std::string(line)};
    std::vector<std::string> words;
    for (std::string word; in >> word;) {
        words.push_back(word);
    }
    return words;
}

task<> read_commands(redis& server, ringo::send_chan<answer> answers) {
    auto in = ringo::os::stdin_stream();
    ringo::io::buffered_reader lines(in);
    while (const auto line = co_await lines.read_line()) {
        if (auto words = words_of(*line); !words.empty()) {
            answer a = ringo::spawn(server.command(std::move(words)));
            co_await ringo::yield();  // it is sent before the next one is
            co_await answers.send(std::move(a));
        }
    }
    answers.close();
}

task<int> co_main(std::string path) {
    redis server(path);
    auto serving = ringo::spawn(server.serve());
    const ringo::chan<answer> answers(1000);
    ringo::go(read_commands, std::ref(server), answers);
    int failures = 0;
    while (auto a = co_await answers.recv()) {
        try {
            const std::string text = co_await *a;
            std::printf("%s\n", text.c_str());
        } catch (const std::runtime_error& e) {
            std::printf("error: %s\n", e.what());
            ++failures;
        }
    }
    server.close();
    co_await serving;
    co_return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fputs("usage: redis_client SOCKET\n", stderr);
        return 2;
    }
    try {
        return ringo::run(co_main(argv[1]));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "redis_client: %s\n", e.what());
        return 1;
    }
}
