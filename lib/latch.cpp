#include <ringo/latch.hpp>

#include <ringo/detail/panic.hpp>

namespace ringo {

namespace detail {

namespace {

constexpr const char* below_zero = "latch: counted down below zero";

}  // namespace

const wait_type latch_wait{"latch wait", &gate_waiter::cancel};
const wait_type latch_arrival_wait{"latch arrive_and_wait", &arrival::cancel};

bool latch_arrival::attempt(waiter*&) noexcept {
    if (on->count == 0) {
        panic(below_zero);
    }
    return arrive_last(0);
}

}  // namespace detail

latch::latch(std::ptrdiff_t n) noexcept : gate_(n) {
    if (n < 0) {
        detail::panic("latch: a negative count");
    }
}

void latch::count_down(std::ptrdiff_t k) noexcept {
    if (k < 0) {
        detail::panic("latch: count_down of a negative number");
    }
    if (!gate_.add(-k)) {
        detail::panic(detail::below_zero);
    }
}

}  // namespace ringo
