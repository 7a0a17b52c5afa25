// A place in the source, in eight bytes that a compiler knows: where a goroutine waits, or was made.
#pragma once

#include <cstdint>
#include <source_location>

namespace ringo::detail {

/// `call_site::current()` as a default argument is the place of the call; of an awaiter's
/// await_suspend, that of the co_await expression.
///
/// It is an odd number, so it may stand where a pointer would, and be told from it. Two forms, which
/// differ in the 15 bits above the 49th: what a std::source_location points to, plus one, which is a
/// constant; or, of compilers without, the line up there, twice the address of the file's name plus
/// one below, and no function.
class call_site {
public:
    call_site() noexcept = default;  // undefined
    static constexpr call_site unknown() noexcept { return call_site(1); }

#ifdef __cpp_lib_source_location
    static call_site current(std::source_location at = std::source_location::current()) noexcept {
        static_assert(sizeof at == sizeof(const char*));
        return call_site(reinterpret_cast<std::uintptr_t>(__builtin_bit_cast(const char*, at) + 1));
    }
#else
    static call_site current(const char* file = __builtin_FILE(),
                             std::uintptr_t line = __builtin_LINE()) noexcept {
        return call_site((reinterpret_cast<std::uintptr_t>(file) << 1U) | 1U |
                         (line < line_max ? line : line_max) << line_shift);
    }
#endif

    explicit operator bool() const noexcept { return bits_ != 1; }

    /// Null: unknown.
    const char* file() const noexcept;
    /// As the compiler spells it; null: unknown.
    const char* function() const noexcept;
    unsigned line() const noexcept;

    // Where else a pointer to something aligned would stand:

    void* as_pointer() const noexcept { return reinterpret_cast<void*>(bits_); }
    static bool is_site(const void* p) noexcept {
        return (reinterpret_cast<std::uintptr_t>(p) & 1U) != 0;
    }
    static call_site from_pointer(const void* p) noexcept {
        return call_site(reinterpret_cast<std::uintptr_t>(p));
    }

private:
    explicit constexpr call_site(std::uintptr_t bits) noexcept : bits_(bits) {}

    static constexpr unsigned line_shift = 49;
    static constexpr std::uintptr_t line_max = 0x7fff;

    std::uintptr_t bits_;
};

}  // namespace ringo::detail
