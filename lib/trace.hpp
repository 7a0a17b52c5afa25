// Places in the source as text, and the chain of them that a goroutine waits in.
#pragma once

#include <ringo/debug.hpp>
#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace ringo::detail {

inline constexpr std::size_t trace_max = 64;

/// Calls `f` with the places of `innermost` and its callers, at most `trace_max`.
///
/// made     where the goroutine was made
/// returns  how many more there are
template <class F>
std::size_t walk_trace(frame_handle innermost, call_site& made, F f) {
    std::size_t left = trace_max;
    std::size_t omitted = 0;
    frame_handle in = innermost;
    for (; !call_site::is_site(in.address()); in = in.promise().caller) {
        if (left != 0) {
            --left;
            f(in.promise().where);
        } else {
            ++omitted;
        }
    }
    made = call_site::from_pointer(in.address());
    return omitted;
}

/// `server::handle`, without what compilers add to it; a lambda is `main::<lambda>`.
std::string readable_function(const char* spelled);

debug::location location_of(call_site where);

/// Two lines each: the function, then file and line. As Go's.
std::string trace_text(const debug::goroutine& g);

/// `made by goroutine 1 in serve`, and where. Empty: nothing is known.
std::string made_text(std::uint64_t made_by, const debug::location& made_at);

/// The goroutine that runs here, as text; empty outside goroutines. core: its own
std::string current_trace_text();

}  // namespace ringo::detail
