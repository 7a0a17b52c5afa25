// The network.
#pragma once

#include <ringo/net/conn.hpp>
#include <ringo/net/dial.hpp>
#include <ringo/net/endpoint.hpp>
#include <ringo/net/lease.hpp>
#include <ringo/net/listener.hpp>
#include <ringo/net/options.hpp>
#include <ringo/net/resolve.hpp>
#include <ringo/net/serve.hpp>
#include <ringo/net/udp.hpp>
#include <ringo/net/unix.hpp>
