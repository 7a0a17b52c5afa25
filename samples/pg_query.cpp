// Asks a PostgreSQL server several things at once, each on a connection of its own, and prints the
// answers in order.    pg_query CONNECTION QUERY...
//
// CONNECTION is as libpq wants it: "host=/run/postgresql dbname=postgres". libpq speaks the
// protocol and never waits; the waiting is done by `ringo::poll`, so it holds up no other
// goroutine, and ends when it is cancelled.
#include <ringo/context.hpp>
#include <ringo/go.hpp>
#include <ringo/os.hpp>
#include <ringo/poll.hpp>
#include <ringo/run.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <libpq-fe.h>
#include <poll.h>

namespace {

using ringo::task;

struct clear_result {
    void operator()(PGresult* r) const { ::PQclear(r); }
};
using result = std::unique_ptr<PGresult, clear_result>;

class connection {
public:
    explicit connection(const std::string& where) : pg_(::PQconnectStart(where.c_str())) {
        if (pg_ == nullptr) {
            throw std::bad_alloc();
        }
    }
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    ~connection() { ::PQfinish(pg_); }

    task<> connect() {
        for (auto next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK;
             next = ::PQconnectPoll(pg_)) {
            check(next != PGRES_POLLING_FAILED && ::PQstatus(pg_) != CONNECTION_BAD);
            co_await ready(next == PGRES_POLLING_READING ? POLLIN : POLLOUT);
        }
        check(::PQsetnonblocking(pg_, 1) == 0);
    }

    /// The result of the last statement in `text`.
    task<result> query(std::string text) {
        check(::PQsendQuery(pg_, text.c_str()) == 1);
        for (int rest = 1; rest != 0;) {
            rest = ::PQflush(pg_);
            check(rest >= 0);
            if (rest == 1 && ((co_await ready(POLLIN | POLLOUT)) & POLLIN) != 0) {
                check(::PQconsumeInput(pg_) == 1);
            }
        }
        result last;
        while (true) {
            while (::PQisBusy(pg_) == 1) {
                co_await ready(POLLIN);
                check(::PQconsumeInput(pg_) == 1);
            }
            result r(::PQgetResult(pg_));
            if (r == nullptr) {
                co_return last;
            }
            check(::PQresultStatus(r.get()) != PGRES_FATAL_ERROR);
            last = std::move(r);
        }
    }

private:
    task<short> ready(int events) {
        co_return co_await ringo::poll(::PQsocket(pg_), static_cast<short>(events));
    }
    void check(bool good) const {
        if (!good) {
            std::string why = ::PQerrorMessage(pg_);
            why.erase(why.find_last_not_of('\n') + 1);
            throw std::runtime_error(why);
        }
    }

    PGconn* pg_;
};

/// The rows as lines, their columns apart by tabs.
task<std::string> ask(std::string where, std::string query) {
    connection c(where);
    co_await c.connect();
    const result r = co_await c.query(std::move(query));
    std::string text;
    for (int row = 0; row < ::PQntuples(r.get()); ++row) {
        for (int column = 0; column < ::PQnfields(r.get()); ++column) {
            text += column == 0 ? "" : "\t";
            text += ::PQgetvalue(r.get(), row, column);
        }
        text += '\n';
    }
    co_return text;
}

task<> ask_all(std::string where, std::vector<std::string> queries) {
    std::vector<ringo::join_handle<std::string>> answers;
    for (const std::string& q : queries) {
        answers.push_back(ringo::spawn(ringo::anywhere, ask, where, q));
    }
    for (auto& a : answers) {
        const std::string text = co_await a;
        std::fputs(text.c_str(), stdout);
    }
}

task<int> co_main(std::string where, std::vector<std::string> queries) {
    const auto interrupted = ringo::os::signal_context({SIGINT, SIGTERM});
    co_await ringo::within(interrupted, ask_all(std::move(where), std::move(queries)));
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fputs("usage: pg_query CONNECTION QUERY...\n", stderr);
        return 2;
    }
    try {
        return ringo::run(co_main(argv[1], {argv + 2, argv + argc}));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "pg_query: %s\n", e.what());
        return 1;
    }
}
