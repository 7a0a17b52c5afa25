// Two that hand over to each other, each of which wants to be rid of its own
// first.
#include "broken.hpp"

#include <ringo/chan.hpp>
#include <ringo/go.hpp>
#include <ringo/wait_group.hpp>

namespace {

ringo::task<> swap_with(ringo::send_chan<int> to, ringo::recv_chan<int> from) {
    co_await to.send(1);  // wrong: nobody receives before his own send is done
    co_await from.recv();
}

}  // namespace

ringo::task<> deadlock() {
    const ringo::chan<int> left;
    const ringo::chan<int> right;
    ringo::wait_group both;
    both.go(swap_with, left, right);
    both.go(swap_with, right, left);
    co_await both.wait();
}
