// The overloads of what starts a goroutine, with the place in the source that calls it.
#pragma once

#include <ringo/detail/call_site.hpp>

/// `name(f, args...)` and `name(place, f, args...)`, for what is no variable; they call
/// `here(made, f, args...)` and `at(place, f, args...)`.
///
/// Why so many: after a pack of arguments there can be no default argument, which knows the place.
/// With more than seven arguments it is unknown. Before `at` a place comes by a conversion that
/// knows it (see placed_here).
#define RINGO_STARTS(result, name, here, at)                                                      \
    result name(auto&& f, RINGO_MADE) RINGO_IS_START { return here(made, RINGO_PASS(f)); }        \
    result name(auto&& f, auto&& a, RINGO_MADE) RINGO_IS_START {                                  \
        return here(made, RINGO_PASS(f), RINGO_PASS(a));                                          \
    }                                                                                             \
    result name(auto&& f, auto&& a, auto&& b, RINGO_MADE) RINGO_IS_START {                        \
        return here(made, RINGO_PASS(f), RINGO_PASS(a), RINGO_PASS(b));                           \
    }                                                                                             \
    result name(auto&& f, auto&& a, auto&& b, auto&& c, RINGO_MADE) RINGO_IS_START {              \
        return here(made, RINGO_PASS(f), RINGO_PASS(a), RINGO_PASS(b), RINGO_PASS(c));            \
    }                                                                                             \
    result name(auto&& f, auto&& a, auto&& b, auto&& c, auto&& d, RINGO_MADE) RINGO_IS_START {    \
        return here(made, RINGO_PASS(f), RINGO_PASS(a), RINGO_PASS(b), RINGO_PASS(c),             \
                    RINGO_PASS(d));                                                               \
    }                                                                                             \
    result name(auto&& f, auto&& a, auto&& b, auto&& c, auto&& d, auto&& e, RINGO_MADE)           \
        RINGO_IS_START {                                                                          \
        return here(made, RINGO_PASS(f), RINGO_PASS(a), RINGO_PASS(b), RINGO_PASS(c),             \
                    RINGO_PASS(d), RINGO_PASS(e));                                                \
    }                                                                                             \
    result name(auto&& f, auto&& a, auto&& b, auto&& c, auto&& d, auto&& e, auto&& g, RINGO_MADE) \
        RINGO_IS_START {                                                                          \
        return here(made, RINGO_PASS(f), RINGO_PASS(a), RINGO_PASS(b), RINGO_PASS(c),             \
                    RINGO_PASS(d), RINGO_PASS(e), RINGO_PASS(g));                                 \
    }                                                                                             \
    result name(auto&& f, auto&& a, auto&& b, auto&& c, auto&& d, auto&& e, auto&& g, auto&& h,   \
                RINGO_MADE) RINGO_IS_START {                                                      \
        return here(made, RINGO_PASS(f), RINGO_PASS(a), RINGO_PASS(b), RINGO_PASS(c),             \
                    RINGO_PASS(d), RINGO_PASS(e), RINGO_PASS(g), RINGO_PASS(h));                  \
    }                                                                                             \
    result name(auto&& f, auto&& a, auto&& b, auto&& c, auto&& d, auto&& e, auto&& g, auto&& h,   \
                auto&& i, auto&&... more) RINGO_IS_START {                                        \
        return here(::ringo::detail::call_site::unknown(), RINGO_PASS(f), RINGO_PASS(a),          \
                    RINGO_PASS(b), RINGO_PASS(c), RINGO_PASS(d), RINGO_PASS(e), RINGO_PASS(g),    \
                    RINGO_PASS(h), RINGO_PASS(i), RINGO_PASS(more)...);                           \
    }                                                                                             \
    result name(const ::ringo::detail::placed_here& where, auto&& f, auto&&... args) {            \
        return at(where, RINGO_PASS(f), RINGO_PASS(args)...);                                     \
    }

#define RINGO_IS_START requires(!::ringo::detail::placement<decltype(f)>)
#define RINGO_MADE ::ringo::detail::call_site made = ::ringo::detail::call_site::current()
#define RINGO_PASS(x) static_cast<decltype(x)>(x)
