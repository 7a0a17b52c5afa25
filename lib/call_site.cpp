#include <ringo/detail/call_site.hpp>

namespace ringo::detail {

namespace {

// As __builtin_source_location's, which is the same in all compilers; also read where this library
// was compiled by one without.
struct source_data {
    const char* file;
    const char* function;
    unsigned line;
    unsigned column;
};

const source_data* data_of(std::uintptr_t bits, unsigned line_shift) noexcept {
    return bits == 1 || bits >> line_shift != 0 ? nullptr
                                                : reinterpret_cast<const source_data*>(bits - 1);
}

}  // namespace

const char* call_site::file() const noexcept {
    if (const source_data* const d = data_of(bits_, line_shift)) {
        return d->file;
    }
    return reinterpret_cast<const char*>((bits_ & ((std::uintptr_t{1} << line_shift) - 1)) >> 1U);
}

const char* call_site::function() const noexcept {
    const source_data* const d = data_of(bits_, line_shift);
    return d != nullptr && d->function != nullptr && *d->function != '\0' ? d->function : nullptr;
}

unsigned call_site::line() const noexcept {
    const source_data* const d = data_of(bits_, line_shift);
    return d != nullptr ? d->line : static_cast<unsigned>(bits_ >> line_shift);
}

}  // namespace ringo::detail
