// Fuzzes what the sample http_server makes of bytes: requests, paths, and heads of answers.
#include "http_request.hpp"
#include "http_response.hpp"

#include "fuzz.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct outcome {
    std::vector<std::string> answers;  // the heads, and whose they are
    bool refused = false;

    bool operator==(const outcome&) const = default;
};

void check_path(std::string_view target) {
    const auto path = http::path_of(target);
    if (!path) {
        return;
    }
    fuzz::expect(!path->empty() && !path->starts_with('/'));
    fuzz::expect(path->find('\0') == std::string::npos);
    fuzz::expect(("/" + *path + "/").find("/../") == std::string::npos);
}

std::string answer_to(const http::request_parser& request, int status) {
    std::string out;
    const std::string_view type = http::type_of(request.target());
    http::append(out, {status, type, request.target().size(), request.keep_alive() ? "" : "close"});
    fuzz::expect(out.ends_with("\r\n\r\n") && out.find("\r\n\r\n") == out.size() - 4);
    // Less the date, which may change meanwhile.
    return out.substr(0, out.find("Date:")) + std::string(request.target());
}

/// As the sample does it, with `step` bytes at a time.
template <class Step>
outcome converse(std::string_view bytes, Step&& step) {
    http::request_parser request;
    outcome all;
    for (bool open = true; open && !bytes.empty();) {
        const std::string_view part = bytes.substr(0, step());
        std::string_view unread = part;
        while (open && !unread.empty()) {
            const std::size_t taken = request.feed(unread);
            fuzz::expect(taken <= unread.size());
            unread.remove_prefix(taken);
            if (request.refusal() != 0) {
                fuzz::expect(http::reason(request.refusal()) != http::reason(500));
                all.refused = true;
                open = false;
            } else if (request.complete()) {
                fuzz::expect(request.idle() && request.target().size() <= http::target_bytes_max);
                check_path(request.target());
                all.answers.push_back(answer_to(request, 200));
                open = request.keep_alive();
            } else {
                fuzz::expect(taken != 0 && unread.empty());
            }
        }
        bytes.remove_prefix(part.size());
    }
    return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    check_path(bytes);
    // However the bytes are cut, they mean the same.
    const outcome whole = converse(bytes, [&] { return size; });
    fuzz::expect(whole == converse(bytes, [] { return std::size_t{1}; }));
    std::uint32_t state = static_cast<std::uint32_t>(size) + 1;
    fuzz::expect(whole == converse(bytes, [&] {
                     state = state * 1664525 + 1013904223;
                     return std::size_t{1} + (state >> 24);
                 }));
    return 0;
}
