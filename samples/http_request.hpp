// HTTP requests out of bytes, for http_server and its fuzzer. llhttp, the parser of Node.js, does
// the work; here are the limits, and what a request asks for.
#pragma once

#include <llhttp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <strings.h>

namespace http {

constexpr std::size_t head_bytes_max = 16 * 1024;
constexpr std::size_t target_bytes_max = 4 * 1024;

/// Takes bytes as they come. Bodies are not read: a request that has one is complete with its
/// headers, and the last.
class request_parser {
public:
    request_parser() noexcept {
        llhttp_init(&parser_, HTTP_REQUEST, &callbacks());
        parser_.data = this;
    }
    request_parser(const request_parser&) = delete;
    request_parser& operator=(const request_parser&) = delete;

    /// Takes bytes up to the end of a request.
    ///
    /// returns  how many; all of them, unless `complete` or `refusal` says why not
    std::size_t feed(std::string_view bytes) noexcept {
        if (complete_) {
            begin_next();
        }
        const std::string_view allowed = bytes.substr(0, head_bytes_max - head_bytes_);
        const llhttp_errno_t error = llhttp_execute(&parser_, allowed.data(), allowed.size());
        std::size_t taken = allowed.size();
        if (error != HPE_OK) {
            taken = static_cast<std::size_t>(llhttp_get_error_pos(&parser_) - allowed.data());
        }
        head_bytes_ += taken;
        if (error == HPE_PAUSED) {
            llhttp_resume(&parser_);
        } else if (error != HPE_OK && refusal_ == 0) {
            refusal_ = error == HPE_INVALID_VERSION ? 505 : 400;
        } else if (!complete_ && head_bytes_ == head_bytes_max) {
            refusal_ = 431;
        }
        return taken;
    }

    /// A request is there, until the next call of `feed`.
    bool complete() const noexcept { return complete_; }
    /// The status of the answer to what is no request, or too long; 0: there is nothing to refuse.
    int refusal() const noexcept { return refusal_; }
    /// Nothing of the next request has come.
    bool idle() const noexcept { return complete_ || head_bytes_ == 0; }

    std::string_view target() const noexcept { return target_; }
    bool is_get() const noexcept { return parser_.method == HTTP_GET; }
    bool is_head() const noexcept { return parser_.method == HTTP_HEAD; }
    /// Whether another request may follow on this connection.
    bool keep_alive() const noexcept { return keep_alive_; }
    bool has_body() const noexcept { return has_body_; }
    /// HTTP/1.0 wants to hear that the connection stays.
    bool is_1_0() const noexcept { return parser_.http_minor == 0; }

private:
    static request_parser& of(llhttp_t* p) noexcept {
        return *static_cast<request_parser*>(p->data);
    }

    static const llhttp_settings_t& callbacks() noexcept {
        static const llhttp_settings_t all = [] {
            llhttp_settings_t s;
            llhttp_settings_init(&s);
            s.on_url = [](llhttp_t* p, const char* at, std::size_t n) {
                return of(p).append(of(p).target_, {at, n}, target_bytes_max, 414);
            };
            s.on_header_field = [](llhttp_t* p, const char* at, std::size_t n) {
                return of(p).append(of(p).field_, {at, n}, head_bytes_max, 431);
            };
            s.on_header_value_complete = [](llhttp_t* p) { return of(p).end_header(); };
            s.on_headers_complete = [](llhttp_t* p) { return of(p).end_headers(); };
            s.on_message_complete = [](llhttp_t* p) { return of(p).end_message(); };
            return s;
        }();
        return all;
    }

    int append(std::string& to, std::string_view part, std::size_t limit, int status) {
        if (to.size() + part.size() > limit) {
            return refuse(status);
        }
        to.append(part);
        return 0;
    }

    int end_header() noexcept {
        constexpr std::string_view host = "host";
        hosts_ += field_.size() == host.size() && ::strcasecmp(field_.c_str(), host.data()) == 0;
        field_.clear();
        return 0;
    }

    // Whoever asks for another protocol is answered in this one.
    int end_headers() noexcept {
        if (parser_.http_major != 1 || parser_.http_minor > 1) {
            return refuse(505);
        }
        if (hosts_ > 1 || (hosts_ == 0 && !is_1_0())) {
            return refuse(400);
        }
        parser_.upgrade = 0;
        has_body_ = (parser_.flags & F_TRANSFER_ENCODING) != 0 || parser_.content_length != 0;
        keep_alive_ = !has_body_ && llhttp_should_keep_alive(&parser_) != 0;
        return has_body_ ? end_message() : 0;
    }

    int end_message() noexcept {
        complete_ = true;
        return HPE_PAUSED;
    }

    int refuse(int status) noexcept {
        refusal_ = status;
        return HPE_USER;
    }

    void begin_next() noexcept {
        complete_ = false;
        head_bytes_ = 0;
        hosts_ = 0;
        target_.clear();
    }

    llhttp_t parser_;
    std::string target_;
    std::string field_;  // the name of a header that is coming
    std::size_t head_bytes_ = 0;
    int hosts_ = 0;
    int refusal_ = 0;
    bool complete_ = false;
    bool keep_alive_ = false;
    bool has_body_ = false;
};

namespace detail {

inline int hex(char c) noexcept {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const int lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Without %XX; empty where that is no byte, or one that no path should have.
inline std::optional<std::string> decode(std::string_view text) {
    std::string plain;
    plain.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        int byte = static_cast<unsigned char>(text[i]);
        if (text[i] == '%') {
            const int high = i + 1 < text.size() ? hex(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return std::nullopt;
            }
            byte = high * 16 + low;
            i += 2;
        }
        if (byte < 0x20 || byte == 0x7f) {
            return std::nullopt;
        }
        plain += static_cast<char>(byte);
    }
    return plain;
}

}  // namespace detail

/// The path that a request's target names, from the served folder on: `/a%20b/./c?x` is `a b/c`.
///
/// returns  empty, when it is no path or leads out of the folder
inline std::optional<std::string> path_of(std::string_view target) {
    if (const std::size_t scheme = target.find("://");
        scheme != std::string_view::npos && scheme < target.find('/')) {
        // As proxies are asked: http://host/path.
        const std::size_t slash = target.find('/', scheme + 3);
        target = slash == std::string_view::npos ? "/" : target.substr(slash);
    }
    const auto decoded = detail::decode(target.substr(0, target.find_first_of("?#")));
    if (!decoded || !decoded->starts_with('/')) {
        return std::nullopt;
    }
    std::string path;
    for (std::size_t begin = 0; begin < decoded->size();) {
        const std::size_t end = std::min(decoded->find('/', begin), decoded->size());
        const std::string_view part = std::string_view(*decoded).substr(begin, end - begin);
        begin = end + 1;
        if (part == "..") {
            return std::nullopt;
        }
        if (!part.empty() && part != ".") {
            path += path.empty() ? "" : "/";
            path += part;
        }
    }
    if (path.empty() || decoded->ends_with('/')) {
        path += path.empty() ? "index.html" : "/index.html";
    }
    return path;
}

}  // namespace http
