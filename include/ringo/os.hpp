// The operating system: signals, other programs, standard streams.
#pragma once

#include <ringo/os/command.hpp>
#include <ringo/os/signal.hpp>
#include <ringo/os/standard.hpp>
