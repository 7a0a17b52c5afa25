#include "panics.hpp"
#include "passage.hpp"
#include "shard.hpp"
#include "trace.hpp"

#include <fmt/format.h>

#include <cxxabi.h>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace ringo::detail {

constinit thread_local void* newest_frame = nullptr;

void refuse_frame() noexcept {
    panic(
        "task: g++ has laid this coroutine out wrongly (GCC bug 106188), because it awaits in the "
        "condition of an if, a while or a switch; give what it awaits a name first, as in "
        "while (const auto v = co_await c.recv())");
}

namespace {

[[noreturn]] void print_and_abort(const std::string& text) noexcept {
    std::fflush(stdout);
    std::fputs(text.c_str(), stderr);
    std::abort();
}

std::string readable(const char* mangled) {
    int status = 0;
    char* const name = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
    std::string text = status == 0 ? name : mangled;
    std::free(name);
    return text;
}

}  // namespace

void panic(const char* message) noexcept {
    const core_state* const core = this_core_state;
    if (core != nullptr && core->current != nullptr) {
        print_and_abort(fmt::format("panic: {}\n\ngoroutine {} [running, core {}]:\n{}", message,
                                    core->current->id, core->index, current_trace_text()));
    }
    print_and_abort(fmt::format("panic: {}\n", message));
}

namespace {

/// Of a goroutine that an exception has left.
std::string trace_of(std::uint64_t id, const std::exception_ptr& error) {
    std::string text = passage_text(id, error);
    const core_state* const here = this_core_state;
    if (text.empty() && here != nullptr && here->current != nullptr && here->current->id == id) {
        text = current_trace_text();
    }
    return text;
}

}  // namespace

void panic_unhandled(std::uint64_t goroutine_id, const std::exception_ptr& error) noexcept {
    std::string what;
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        what = fmt::format("{}: {}", readable(typeid(e).name()), e.what());
    } catch (...) {
        const std::type_info* const type = abi::__cxa_current_exception_type();
        what = type != nullptr ? readable(type->name()) : "unknown";
    }
    print_and_abort(fmt::format("panic: unhandled exception in goroutine {}: {}\n\n{}",
                                goroutine_id, what, trace_of(goroutine_id, error)));
}

}  // namespace ringo::detail
