// Programs that are wrong on purpose: docs/debugging.md shows what ringo says of each.
#pragma once

#include <ringo/task.hpp>

ringo::task<> deadlock();
ringo::task<> hang();
ringo::task<> leak();
ringo::task<> slow_request();
ringo::task<> starved_core();
ringo::task<> memory_growth();
ringo::task<> panicking();
ringo::task<> cancelled_too_late();
ringo::task<> too_many_connections();
ringo::task<> lost_wake_up();
