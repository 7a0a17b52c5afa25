// One request is never answered, while the rest of the program goes on.
#include "broken.hpp"

#include <ringo/chan.hpp>
#include <ringo/debug.hpp>
#include <ringo/go.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <vector>

namespace {

struct request {
    int number;
    ringo::send_chan<int> answer;
};

ringo::task<> serve(ringo::recv_chan<request> requests) {
    std::vector<request> later;
    while (const auto r = co_await requests.recv()) {
        if (r->number % 2 == 0) {
            co_await r->answer.send(r->number / 2);
        } else {
            later.push_back(*r);  // wrong: nobody ever looks there
        }
    }
}

ringo::task<> ask(ringo::send_chan<request> server, int number) {
    const ringo::chan<int> answer;
    co_await server.send({number, answer});
    co_await answer.recv();
}

}  // namespace

ringo::task<> hang() {
    const ringo::chan<request> server;
    ringo::go(serve, server);
    ringo::go(ask, server, 2);
    ringo::go(ask, server, 3);
    co_await ringo::sleep(std::chrono::milliseconds(50));
    ringo::debug::print();  // as `kill -QUIT` does
}
