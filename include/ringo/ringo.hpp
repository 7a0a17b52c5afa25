// All of ringo.
#pragma once

#include <ringo/barrier.hpp>
#include <ringo/blocking.hpp>
#include <ringo/callback.hpp>
#include <ringo/chan.hpp>
#include <ringo/condition_variable.hpp>
#include <ringo/context.hpp>
#include <ringo/error.hpp>
#include <ringo/event.hpp>
#include <ringo/go.hpp>
#include <ringo/latch.hpp>
#include <ringo/mutex.hpp>
#include <ringo/net.hpp>
#include <ringo/once.hpp>
#include <ringo/os.hpp>
#include <ringo/result.hpp>
#include <ringo/run.hpp>
#include <ringo/runtime.hpp>
#include <ringo/select.hpp>
#include <ringo/semaphore.hpp>
#include <ringo/shared_mutex.hpp>
#include <ringo/task.hpp>
#include <ringo/task_group.hpp>
#include <ringo/time.hpp>
#include <ringo/timer.hpp>
#include <ringo/wait_group.hpp>
