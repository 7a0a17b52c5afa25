// The operating system: signals.
#pragma once

#include <ringo/os/signal.hpp>
