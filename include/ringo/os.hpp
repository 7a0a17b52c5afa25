// The operating system: signals.
#pragma once

#include <ringo/context.hpp>

#include <initializer_list>

namespace ringo::os {

/// A context, derived from the running goroutine's, that ends when one of the signals comes.
/// While the scope lives, they do nothing else; after it, they do again what they did before.
///
/// takes    signal numbers, such as SIGINT and SIGTERM
/// throws   std::system_error when there are too many at once (16), or a number is no signal's
/// panics   outside a goroutine
/// core     any; signals arrive on it
/// follows  Go signal.NotifyContext
[[nodiscard]] cancel_scope signal_context(std::initializer_list<int> signals);

}  // namespace ringo::os
