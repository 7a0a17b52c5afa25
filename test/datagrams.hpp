// What the tests of both ways to receive datagrams share.
#pragma once

#include <doctest/doctest.h>

#include "sockets.hpp"
#include "steps.hpp"

#include <ringo/go.hpp>
#include <ringo/net/udp.hpp>

#include <functional>

namespace test {

/// Cancels receives of `server` in every state; none of what `client`, which is connected to it,
/// sends is lost.
///
/// count_all  receives until that fails, and says how many came
/// text       what the next one says
template <class CountAll, class Text>
ringo::task<> cancel_receives(ringo::net::udp_socket& server, ringo::net::udp_socket& client,
                              CountAll count_all, Text text) {
    int sent = 0;
    int received = 0;
    for (int i = 0; i < 200; ++i) {
        auto receiving =
            ringo::spawn(ringo::on(i % 2 == 0 ? 0 : other_core()), count_all, std::ref(server));
        co_await yield_times(i % 5);
        if (i % 3 != 0) {
            co_await client.send("one");
            ++sent;
        }
        co_await yield_times(i % 7);
        receiving.cancel();
        received += co_await receiving;
    }
    while (received < sent) {
        CHECK(co_await text(server) == "one");
        ++received;
    }
}

}  // namespace test
