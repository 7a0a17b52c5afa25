// Streams: what sockets, files, pipes and memory have in common.
#pragma once

#include <ringo/io/buffered.hpp>
#include <ringo/io/copy.hpp>
#include <ringo/io/memory.hpp>
#include <ringo/io/pipe.hpp>
#include <ringo/io/stream.hpp>
