// What fuzzers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace fuzz {

/// What does not hold is a crash, which a fuzzer reports with the bytes that led there.
inline void expect(bool holds) {
    if (!holds) {
        std::abort();
    }
}

}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
