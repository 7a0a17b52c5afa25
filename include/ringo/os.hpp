// The operating system: signals, and other programs.
#pragma once

#include <ringo/os/command.hpp>
#include <ringo/os/signal.hpp>
