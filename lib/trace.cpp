#include "trace.hpp"

#include <fmt/format.h>

#include <string_view>

namespace ringo::detail {

namespace {

/// Where the bracket that opens at `open` closes; the end, if it does not.
std::size_t closing(std::string_view text, std::size_t open) noexcept {
    int depth = 0;
    for (std::size_t i = open; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '(' || c == '<' || c == '{') {
            ++depth;
        } else if ((c == ')' || c == '>' || c == '}') && --depth == 0) {
            return i + 1;
        }
    }
    return text.size();
}

bool begins(std::string_view text, std::string_view with) noexcept {
    return text.substr(0, with.size()) == with;
}

/// What a bracketed part of a name becomes.
std::string_view kept_of(std::string_view part) noexcept {
    if (begins(part, "<lambda") || begins(part, "(anonymous class)") || begins(part, "(lambda")) {
        return "<lambda>";
    }
    return {};
}

}  // namespace

// Compilers spell a coroutine in their own ways:
//     void serve(serve(ringo::chan<int>)::_Z5servei.Frame*)                        g++
//     ringo::task<> main()::<lambda(int)>::operator()(int) const [with T = …]      g++
//     auto main()::(anonymous class)::operator()(int) const                        clang
std::string readable_function(const char* spelled) {
    const std::string_view text = spelled;
    constexpr std::string_view call = "::operator()";
    std::string name;
    bool in_name = false;
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i];
        if (c == ' ') {
            if (in_name) {
                break;  // `const`, or what the template was made with
            }
            name.clear();  // it was a return type
            ++i;
        } else if (begins(text.substr(i), call)) {
            i += call.size();
        } else if (c == '(' || c == '<' || c == '{') {
            const std::size_t end = closing(text, i);
            name += kept_of(text.substr(i, end - i));
            in_name = c == '(' && begins(text.substr(end), " ");
            i = end;
        } else {
            name += c;
            ++i;
        }
    }
    while (begins(name, "::")) {  // of an unnamed namespace
        name.erase(0, 2);
    }
    for (std::size_t at = name.find("::::"); at != std::string::npos; at = name.find("::::")) {
        name.erase(at, 2);
    }
    return name;
}

debug::location location_of(call_site where) {
    debug::location l;
    if (where) {
        l.function = where.function() != nullptr ? readable_function(where.function()) : "";
        l.file = where.file();
        l.line = where.line();
    }
    return l;
}

namespace {

std::string place_text(const debug::location& l) {
    return l.file.empty() ? "not suspended yet" : fmt::format("{}:{}", l.file, l.line);
}

}  // namespace

std::string made_text(std::uint64_t made_by, const debug::location& made_at) {
    if (made_at.file.empty() && made_by == 0) {
        return {};
    }
    std::string text = "made by ";
    text += made_by != 0 ? fmt::format("goroutine {}", made_by) : "the program";
    if (!made_at.function.empty()) {
        text += fmt::format(" in {}", made_at.function);
    }
    text += '\n';
    if (!made_at.file.empty()) {
        text += fmt::format("    {}\n", place_text(made_at));
    }
    return text;
}

std::string trace_text(const debug::goroutine& g) {
    std::string text;
    // One that runs has left its last place, and where it is now is not known.
    const char* before = g.state == "running" ? "after " : "";
    for (const debug::location& l : g.trace) {
        if (!l.function.empty()) {
            text += fmt::format("{}\n", l.function);
        }
        text += fmt::format("    {}{}\n", l.file.empty() ? "" : before, place_text(l));
        before = "";
    }
    if (g.omitted != 0) {
        text += fmt::format("    ... {} more\n", g.omitted);
    }
    return text + made_text(g.made_by, g.made_at);
}

std::string current_trace_text() {
    const core_state* const here = this_core_state;
    if (here == nullptr || here->current == nullptr) {
        return {};
    }
    const goroutine& g = *here->current;
    debug::goroutine seen;
    seen.state = "running";
    seen.made_by = g.made_by;
    call_site made = call_site::unknown();
    // Null: the goroutine is about to wait, or has ended.
    const frame_handle in = here->frame ? here->frame : g.frame;
    if (!g.finished) {
        seen.omitted = walk_trace(
            in, made, [&seen](call_site where) { seen.trace.push_back(location_of(where)); });
    }
    seen.made_at = location_of(made);
    return trace_text(seen);
}

}  // namespace ringo::detail
