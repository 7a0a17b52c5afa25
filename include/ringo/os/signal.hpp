// Signals, as values in a channel and as the end of a context.
#pragma once

#include <ringo/chan.hpp>
#include <ringo/context.hpp>

#include <concepts>
#include <cstddef>
#include <initializer_list>

namespace ringo::os {

inline constexpr std::size_t notify_capacity = 16;

/// A channel that the signals' numbers come out of. For as long as a copy of it is left they do
/// nothing else; with the last copy they do again what they did before. It belongs to no run: what
/// comes between two runs is received in the next.
///
/// A signal that comes again before the first was passed on counts once, as everywhere; while the
/// channel is full, signals are dropped. Any number of channels and contexts may share a signal,
/// and each hears of it.
///
/// takes    signal numbers, such as SIGINT and SIGTERM; how many wait until they are received
/// throws   std::system_error when none is given, or a number is that of no signal, of one that
///          cannot be caught, or of a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL)
/// core     any thread
/// cost     a thread for all that listen, as long as there is one
/// follows  Go signal.Notify
[[nodiscard]] recv_chan<int> notify(std::initializer_list<int> signals,
                                    std::size_t capacity = notify_capacity);
template <std::same_as<int>... Numbers>
    requires(sizeof...(Numbers) != 0)
[[nodiscard]] recv_chan<int> notify(Numbers... signals) { return notify({signals...}); }

/// A context, derived from the running goroutine's, that ends when one of the signals comes.
/// Until it ends, by a signal or otherwise, they do nothing else; from then on they do again what
/// they did before: a second Ctrl-C ends a program that is slow to react to the first.
///
/// takes    signal numbers, such as SIGINT and SIGTERM
/// throws   as notify
/// panics   outside a goroutine
/// core     any; signals arrive on it
/// follows  Go signal.NotifyContext
[[nodiscard]] cancel_scope signal_context(std::initializer_list<int> signals);

}  // namespace ringo::os
