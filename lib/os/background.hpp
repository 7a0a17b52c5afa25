// Threads that serve the whole process, whatever runs come and go.
#pragma once

#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

#include <pthread.h>

namespace ringo::os {

/// Runs `f`, which throws nothing, on a thread of its own that no signal handler disturbs.
/// returns: 0, or the errno of why there is none
template <class F>
int start_background(F f) {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    try {
        std::thread thread(std::move(f));
        ::pthread_setname_np(thread.native_handle(), "ringo-os");
        thread.detach();
    } catch (const std::system_error& e) {
        error = e.code().value();
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return error;
}

}  // namespace ringo::os
