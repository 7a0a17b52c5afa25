// Whether ThreadSanitizer is there, which some things have to be done differently for.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define RINGO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RINGO_TSAN 1
#endif
#endif

namespace ringo::detail {

#if defined(RINGO_TSAN)
inline constexpr bool under_tsan = true;
#else
inline constexpr bool under_tsan = false;
#endif

}  // namespace ringo::detail
