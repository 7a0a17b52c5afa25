#include "passage.hpp"

#include "trace.hpp"

#include <ringo/debug.hpp>
#include <ringo/detail/call_site.hpp>
#include <ringo/detail/goroutine.hpp>
#include <ringo/detail/outcome.hpp>
#include <ringo/task.hpp>

#include <fmt/format.h>

#include <cxxabi.h>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <typeinfo>
#include <utility>

namespace ringo::detail {

namespace {

/// A frame that was left; or, with a goroutine's id, the end of its root.
struct way_out {
    call_site where = call_site::unknown();  // the frame was suspended last; the goroutine was made
    call_site in = call_site::unknown();     // the function
    std::uint32_t ended = 0;
    std::uint32_t made_by = 0;
};

// States:  passing -> taken -> passing -> ... -> ended (-> taken, by who joins)
//
// Invariant: those that are shown are of one throw. An exception object's address says little, for
// it is soon another one's, after the exception has been caught. What leaves a frame is taken for
// what came into it only if it was thrown again (see is_first_throw), with the same type.
struct passage {
    enum class state { passing, taken, ended };

    const void* object = nullptr;
    const std::type_info* type = nullptr;
    const void* at = nullptr;  // the promise of the frame that it goes, or has come, to
    std::uint32_t goroutine = 0;
    state now = state::passing;
    std::uint32_t omitted = 0;
    std::uint32_t count = 0;
    std::array<way_out, 24> outs{};

    void add(const way_out& e) noexcept {
        // The last place is for the end.
        if (count + (e.ended != 0 ? 0 : 1) < outs.size()) {
            outs[count++] = e;
        } else {
            ++omitted;
        }
    }
};

/// Those under way on one core at a time, about; the one that began first makes room.
struct passages {
    std::array<passage, 4> all{};
    std::size_t next = 0;

    passage* find(const void* object) noexcept {
        for (passage& p : all) {
            if (p.object == object) {
                return &p;
            }
        }
        return nullptr;
    }
    passage& begin(const void* object) noexcept {
        passage* p = find(object);
        if (p == nullptr) {
            p = &all[std::exchange(next, (next + 1) % all.size())];
        }
        p->object = object;
        p->omitted = 0;
        p->count = 0;
        return *p;
    }
};

constinit thread_local passages these;

const void* object_of(const std::exception_ptr& error) noexcept {
    static_assert(sizeof error == sizeof(const void*));
    const void* object = nullptr;
    std::memcpy(&object, &error, sizeof object);
    return object;
}

/// Whether `throw` has made what is being handled, not std::rethrow_exception. Itanium C++ ABI,
/// "Exception Handling": the thread's globals begin with the pointer to its header, which lies
/// right before the object, or, where it is thrown again, elsewhere.
bool is_first_throw(const void* object) noexcept {
    constexpr std::uintptr_t header_max = 128;
    const void* header = nullptr;
    std::memcpy(&header, abi::__cxa_get_globals(), sizeof header);
    const auto before =
        reinterpret_cast<std::uintptr_t>(object) - reinterpret_cast<std::uintptr_t>(header);
    return before - 1 < header_max;
}

}  // namespace

std::exception_ptr leave_frame(const promise_base& left, call_site in) noexcept {
    std::exception_ptr error = std::current_exception();
    const goroutine& g = *this_core_state->current;
    const void* const object = object_of(error);
    const std::type_info* const type = abi::__cxa_current_exception_type();
    passage* p = these.find(object);
    if (p == nullptr || p->now != passage::state::taken || p->at != &left || p->goroutine != g.id ||
        p->type != type || is_first_throw(object)) {
        p = &these.begin(object);
        p->type = type;
        p->goroutine = g.id;
    }
    p->add({left.where, in, 0, 0});
    if (left.is_root()) {
        p->add({call_site::from_pointer(left.caller.address()), in, g.id, g.made_by});
        p->now = passage::state::ended;
    } else {
        p->at = &left.caller.promise();
        p->now = passage::state::passing;
    }
    return error;
}

void rethrow(std::exception_ptr error) {
    const core_state* const here = this_core_state;
    if (passage* const p = these.find(object_of(error))) {
        const bool inside = here != nullptr && here->current != nullptr && here->frame;
        const void* const at = inside ? &here->frame.promise() : nullptr;
        if (inside && (p->now == passage::state::ended ||
                       (p->now == passage::state::passing && p->at == at))) {
            p->now = passage::state::taken;
            p->at = at;
            p->goroutine = here->current->id;
        } else {
            p->object = nullptr;
        }
    }
    std::rethrow_exception(std::move(error));
}

namespace {

std::string frame_text(const way_out& e, bool first) {
    debug::location l = location_of(e.where);
    if (l.function.empty()) {
        l.function = location_of(e.in).function;
    }
    std::string text = l.function.empty() ? "" : l.function + '\n';
    if (l.file.empty()) {
        // The compiler knows the line of one of its braces.
        return text + fmt::format("    not suspended yet, in {}\n", location_of(e.in).file);
    }
    return text + fmt::format("    {}{}:{}\n", first ? "after " : "", l.file, l.line);
}

}  // namespace

std::string passage_text(std::uint64_t id, const std::exception_ptr& error) {
    const passage* const p = these.find(object_of(error));
    if (p == nullptr || p->now != passage::state::ended || p->goroutine != id) {
        return {};
    }
    std::string text;
    for (std::size_t i = 0; i < p->count; ++i) {
        const way_out& e = p->outs[i];
        if (e.ended == 0) {
            text += frame_text(e, i == 0);
            continue;
        }
        const bool last = i + 1 == p->count;
        if (last && p->omitted != 0) {
            text += fmt::format("    ... {} more\n", p->omitted);
        }
        text += made_text(e.made_by, location_of(e.where));
        text += last ? "" : "\nwho awaited it:\n";
    }
    return text;
}

}  // namespace ringo::detail
