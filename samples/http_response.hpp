// What http_server writes.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace http {

inline std::string_view reason(int status) noexcept {
    switch (status) {
        case 200:
            return "OK";
        case 400:
            return "Bad Request";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 431:
            return "Request Header Fields Too Large";
        case 503:
            return "Service Unavailable";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "Internal Server Error";
    }
}

/// By the end of a file's name.
inline std::string_view type_of(std::string_view path) noexcept {
    struct named {
        std::string_view end;
        std::string_view type;
    };
    static constexpr named known[] = {
        {".html", "text/html; charset=utf-8"},
        {".txt", "text/plain; charset=utf-8"},
        {".css", "text/css"},
        {".js", "text/javascript"},
        {".json", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
    };
    for (const named& n : known) {
        if (path.ends_with(n.end)) {
            return n.type;
        }
    }
    return "application/octet-stream";
}

/// The time as a `Date` header has it. Made once a second and thread.
inline std::string_view date() noexcept {
    thread_local std::time_t made = 0;
    thread_local char text[32];
    const std::time_t now = std::time(nullptr);
    if (now != made) {
        std::tm utc{};
        ::gmtime_r(&now, &utc);
        std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        made = now;
    }
    return text;
}

struct head {
    int status;
    std::string_view type;
    std::uint64_t length;              // of the body
    std::string_view connection = {};  // close, keep-alive, or what goes without saying
};

inline void append(std::string& out, std::uint64_t number) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    out.append(digits, static_cast<std::size_t>(end - digits));
}

inline void append(std::string& out, const head& h) {
    out += "HTTP/1.1 ";
    append(out, static_cast<std::uint64_t>(h.status));
    out += ' ';
    out += reason(h.status);
    out += "\r\nDate: ";
    out += date();
    out += "\r\nContent-Type: ";
    out += h.type;
    out += "\r\nContent-Length: ";
    append(out, h.length);
    if (!h.connection.empty()) {
        out += "\r\nConnection: ";
        out += h.connection;
    }
    out += h.status == 405 ? "\r\nAllow: GET, HEAD\r\n\r\n" : "\r\n\r\n";
}

}  // namespace http
