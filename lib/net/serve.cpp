#include <ringo/net/serve.hpp>

#include "acceptor.hpp"
#include "socket.hpp"

#include "../context.hpp"
#include "../shard.hpp"

#include <ringo/context.hpp>
#include <ringo/detail/launch.hpp>
#include <ringo/go.hpp>
#include <ringo/result.hpp>
#include <ringo/semaphore.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/socket.h>

namespace ringo::net::detail {

namespace {

using ringo::detail::call_site;
using ringo::detail::wait;
using ringo::detail::wake;

class served_connection;

/// The connections that one core serves. core: that one
/// Lifetime: shared with each of them, as the end of a run destroys them in any order.
class live_connections {
public:
    live_connections(shared_handler h, std::shared_ptr<semaphore> limit)
        : handler(std::move(h)), limit_(std::move(limit)) {}

    /// Waits until there may be one more.
    task<> wait_for_room() {
        if (limit_ != nullptr) {
            room_.push_back(co_await limit_->acquire());
        }
    }

    /// Waits until there are none.
    class empty_operation : public ringo::detail::operation<empty_operation> {
    public:
        explicit empty_operation(live_connections& all) noexcept
            : operation(empty_wait), all_(all) {}
        bool start() noexcept {
            if (all_.first_ == nullptr) {
                return false;
            }
            all_.waiting_ = this;
            return true;
        }
        void value() const noexcept {}

    private:
        static void cancel(wait& w) noexcept {
            auto& op = static_cast<empty_operation&>(w);
            op.all_.waiting_ = nullptr;
            op.self->error = ringo::detail::context_failure(*op.self);
            wake(*op.self);
        }
        static constexpr ringo::detail::wait_type empty_wait{"serve, draining", &cancel};
        live_connections& all_;
    };

    empty_operation empty() noexcept { return empty_operation(*this); }

    /// takes    SHUT_RD, SHUT_RDWR
    void shut_down(int how) noexcept;

    void retain() noexcept { ++owners_; }
    void release() noexcept {
        if (--owners_ == 0) {
            delete this;
        }
    }

    const shared_handler handler;

private:
    friend class served_connection;

    std::uint32_t owners_ = 1;
    served_connection* first_ = nullptr;
    empty_operation* waiting_ = nullptr;
    std::shared_ptr<semaphore> limit_;
    std::vector<permit> room_;  // one for each connection
};

/// What the goroutine of a connection runs. It is among `all` for as long as its handler runs.
/// There may be many that do nothing else than wait, so no frame of its own around the handler.
class served_connection {
public:
    served_connection(live_connections& all, conn c) noexcept
        : all_(all), socket_(*std::move(c).release()) {
        all_.retain();
    }
    served_connection(const served_connection&) = delete;
    served_connection& operator=(const served_connection&) = delete;
    ~served_connection() {
        if (link_ != nullptr) {
            leave();
        } else {
            const conn never_served(socket_);
        }
        if (!all_.room_.empty()) {
            all_.room_.pop_back();
        }
        all_.release();
    }

    task<> operator()() {
        socket_.retain();
        next_ = all_.first_;
        link_ = &all_.first_;
        if (next_ != nullptr) {
            next_->link_ = &next_;
        }
        all_.first_ = this;
        return all_.handler.call(all_.handler.object.get(), conn(socket_));
    }

private:
    friend class live_connections;

    void leave() noexcept {
        *link_ = next_;
        if (next_ != nullptr) {
            next_->link_ = link_;
        }
        socket_.release();
        if (all_.first_ == nullptr && all_.waiting_ != nullptr) {
            wake(*std::exchange(all_.waiting_, nullptr)->self);
        }
    }

    live_connections& all_;
    socket& socket_;
    served_connection* next_ = nullptr;
    served_connection** link_ = nullptr;  // set when the connection is the handler's
};

void live_connections::shut_down(int how) noexcept {
    for (served_connection* c = first_; c != nullptr; c = c->next_) {
        c->socket_.shutdown(how);
    }
}

/// A connection's goroutine. It may end by `cancelled`: by the end of the drain; or by its own
/// hand, which ends this connection alone.
class serving : public ringo::detail::goroutine {
public:
    using goroutine::goroutine;

    static void deliver(serving& self) noexcept {
        const std::exception_ptr& error = self.root.result.error();
        if (error && !is_cancellation(error)) {
            ringo::detail::check_detached(self, error);
        }
        self.type->destroy(self);
    }

    ringo::detail::task_awaiter<void> root{nullptr};

private:
    static bool is_cancellation(const std::exception_ptr& error) noexcept {
        try {
            std::rethrow_exception(error);
        } catch (const ringo::cancelled&) {
            return true;
        } catch (const ringo::deadline_exceeded&) {
            return true;
        } catch (...) {
            return false;
        }
    }
};

void start(live_connections& all, conn c, const context& under, call_site made) {
    using block = ringo::detail::launch_block<serving, served_connection>;
    const place here = place().with(under);
    ringo::detail::start_at(*new block(all, std::move(c)), here.core, here.context.get(), made);
}

/// One core's part: returns when it is cancelled and its handlers have ended.
task<> serve_here(listener l, shared_handler handler, std::shared_ptr<semaphore> limit,
                  serve_options o, cancel_scope& accepting, call_site made) {
    struct release {
        void operator()(live_connections* l) const noexcept { l->release(); }
    };
    const std::unique_ptr<live_connections, release> all(
        new live_connections(std::move(handler), std::move(limit)));
    const context outside(ringo::detail::without_cancel(*this_context().node()));
    cancel_scope handlers = with_cancel(outside);
    std::exception_ptr failure;
    if (o.connections_max != 0) {
        l.acceptor()->accept_ahead(0);
    }
    try {
        while (true) {
            conn c = co_await l.accept();
            // Not before: a core that waits to accept must not keep others from serving.
            co_await all->wait_for_room();
            start(*all, std::move(c), handlers, made);
        }
    } catch (const cancelled&) {
    } catch (const deadline_exceeded&) {
    } catch (...) {
        failure = std::current_exception();
        accepting.cancel(failure);
    }
    l.close();
    // A handler that was started a moment ago counts from its first step on; it is ahead of us.
    co_await within(outside, yield());
    all->shut_down(SHUT_RD);
    auto drained = co_await as_result(within(with_timeout(outside, o.drain), all->empty()));
    if (!drained) {
        handlers.cancel();
        all->shut_down(SHUT_RDWR);  // for those that are shielded
        co_await within(outside, all->empty());
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

/// Tells all parts when this goroutine is cancelled: its handle can do that, too.
task<> join_part(join_handle<void>& part, cancel_scope& accepting) {
    try {
        co_await part;
        co_return;
    } catch (const cancelled&) {
    } catch (const deadline_exceeded&) {
    }
    accepting.cancel();
    co_await shield(part);
}

}  // namespace

task<> serve_all(std::vector<listener> listeners, shared_handler handler, serve_options o,
                 call_site made) {
    if (listeners.empty()) {
        throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                "serve: no listener");
    }
    cancel_scope accepting = with_cancel(this_context());
    std::shared_ptr<semaphore> limit;
    if (o.connections_max != 0) {
        limit = std::make_shared<semaphore>(static_cast<std::ptrdiff_t>(o.connections_max));
    }
    std::vector<join_handle<void>> parts;
    for (std::size_t i = 0; i < listeners.size(); ++i) {
        const place where = on(i % cores(), made).with(accepting);
        parts.push_back(spawn(where, serve_here, std::move(listeners[i]), handler, limit, o,
                              std::ref(accepting), made));
    }
    std::exception_ptr failure;
    for (join_handle<void>& part : parts) {
        try {
            co_await join_part(part, accepting);
        } catch (...) {
            failure = std::current_exception();
        }
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
    ringo::detail::throw_ended(*this_context().node(), "serve");
}

}  // namespace ringo::net::detail

namespace ringo::net {

std::vector<listener> listen_on_cores(std::string_view address, listen_options o) {
    std::vector<listener> all;
    all.push_back(listen(address, (o.reuse_port = true, o)));
    const endpoint where = all.front().local();
    for (std::size_t core = 1; core < (where.is_unix() ? 1 : cores()); ++core) {
        all.push_back(listen(where, o));
    }
    return all;
}

}  // namespace ringo::net
