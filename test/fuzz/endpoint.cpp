// Fuzzes endpoint::parse: what it takes it can print, and that means the same.
#include <ringo/net/endpoint.hpp>

#include "fuzz.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using ringo::net::endpoint;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    endpoint e;
    try {
        e = endpoint::parse(text);
    } catch (const std::system_error& refusal) {
        fuzz::expect(refusal.code() == std::errc::invalid_argument);
        return 0;
    }
    const std::string printed = e.to_string();
    const endpoint again = endpoint::parse(printed);
    fuzz::expect(again == e && again.to_string() == printed);
    fuzz::expect(e.is_unix() ? e.port() == 0 : printed.ends_with(std::to_string(e.port())));
    fuzz::expect(printed.find(e.host()) != std::string::npos || e.host() == "::");
    return 0;
}
