// The operating system: signals.
#pragma once

#include <ringo/context.hpp>

#include <initializer_list>

namespace ringo::os {

/// A context, derived from the running goroutine's, that ends when one of the signals comes.
/// Until it ends, by a signal or otherwise, they do nothing else; soon after it, they do again what
/// they did before: a second Ctrl-C ends a program that is slow to react to the first.
///
/// takes    signal numbers, such as SIGINT and SIGTERM
/// throws   std::system_error when there are too many at once (16), or a number is that of no
///          signal, or of one that cannot be caught
/// panics   outside a goroutine
/// core     any; signals arrive on it
/// follows  Go signal.NotifyContext
[[nodiscard]] cancel_scope signal_context(std::initializer_list<int> signals);

}  // namespace ringo::os
