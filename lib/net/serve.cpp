#include <ringo/net/serve.hpp>

#include "socket.hpp"

#include "../context.hpp"
#include "../shard.hpp"

#include <ringo/context.hpp>
#include <ringo/go.hpp>
#include <ringo/result.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <system_error>
#include <utility>

#include <sys/socket.h>

namespace ringo::net::detail {

namespace {

using ringo::detail::wait;
using ringo::detail::wake;

/// The connections that one core serves. core: that one
/// Lifetime: shared with each of them, as the end of a run destroys them in any order.
class live_connections {
public:
    explicit live_connections(shared_handler h) : handler(std::move(h)) {}

    /// A connection's place among them, for as long as its handler runs.
    class membership {
    public:
        membership(live_connections& all, socket& s) noexcept : all_(all), socket_(s) {
            socket_.retain();
            next_ = all_.first_;
            link_ = &all_.first_;
            if (next_ != nullptr) {
                next_->link_ = &next_;
            }
            all_.first_ = this;
        }
        membership(const membership&) = delete;
        membership& operator=(const membership&) = delete;
        ~membership() {
            *link_ = next_;
            if (next_ != nullptr) {
                next_->link_ = link_;
            }
            socket_.release();
            if (all_.first_ == nullptr && all_.waiting_ != nullptr) {
                wake(*std::exchange(all_.waiting_, nullptr)->self);
            }
        }

    private:
        friend class live_connections;
        live_connections& all_;
        socket& socket_;
        membership* next_;
        membership** link_;
    };

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

    const shared_handler handler;

    void end_reading() noexcept {
        for (membership* m = first_; m != nullptr; m = m->next_) {
            m->socket_.shutdown(SHUT_RD);
        }
    }

private:
    membership* first_ = nullptr;
    empty_operation* waiting_ = nullptr;
};

task<> serve_one(std::shared_ptr<live_connections> all, conn c) {
    const live_connections::membership member(*all, *c.socket());
    try {
        co_await all->handler.call(all->handler.object.get(), std::move(c));
    } catch (const cancelled&) {
        // By the end of the drain; or by its own hand, which ends this connection alone.
    } catch (const deadline_exceeded&) {
    }
}

/// One core's part: returns when it is cancelled and its handlers have ended.
task<> serve_here(listener l, shared_handler handler, serve_options o, cancel_scope& accepting) {
    const auto all = std::make_shared<live_connections>(std::move(handler));
    const context outside(ringo::detail::without_cancel(*this_context().node()));
    cancel_scope handlers = with_cancel(outside);
    std::exception_ptr failure;
    try {
        while (true) {
            conn c = co_await l.accept();
            go(with(handlers), serve_one, all, std::move(c));
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
    all->end_reading();
    auto drained = co_await as_result(within(with_timeout(outside, o.drain), all->empty()));
    if (!drained) {
        handlers.cancel();
        co_await within(outside, all->empty());
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

}  // namespace

task<> serve_all(std::vector<listener> listeners, shared_handler handler, serve_options o) {
    if (listeners.empty()) {
        throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                                "serve: no listener");
    }
    cancel_scope accepting = with_cancel(this_context());
    std::vector<join_handle<void>> parts;
    for (std::size_t i = 0; i < listeners.size(); ++i) {
        parts.push_back(spawn(on(i % cores()).with(accepting), serve_here, std::move(listeners[i]),
                              handler, o, std::ref(accepting)));
    }
    std::exception_ptr failure;
    for (join_handle<void>& part : parts) {
        try {
            co_await shield(part);
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
