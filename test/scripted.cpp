// The states of a kernel operation, step by step, on the scripted kernel.
#include <doctest/doctest.h>

#include "kernel.hpp"
#include "misuse.hpp"
#include "scripted.hpp"
#include "virtual_run.hpp"

#include <ringo/ringo.hpp>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <vector>

using namespace std::chrono_literals;
using ringo::task;
using ringo::detail::io_completion;
using ringo::detail::io_operation;
using ringo::detail::io_state;
using ringo::detail::scripted;

namespace {

/// Keeps what it completed with.
struct noted : io_operation {
    noted() : io_operation(&note) {}
    static void note(io_operation& op, const io_completion& c) noexcept {
        auto& self = static_cast<noted&>(op);
        self.results.push_back(c.result);
        self.was_idle.push_back(op.idle());
        if (self.restart_on != nullptr) {
            std::exchange(self.restart_on, nullptr)->start(op);
        }
    }
    std::vector<int> results;
    std::vector<bool> was_idle;
    ringo::detail::kernel* restart_on = nullptr;
};

/// A goroutine's wait for one operation.
class io_wait : public ringo::detail::operation<io_wait> {
public:
    explicit io_wait(ringo::detail::kernel& k) noexcept : operation(io_wait_type), op_(*this, k) {}

    io_wait(io_wait&& other) noexcept : io_wait(*other.op_.kernel) {}

    bool start() noexcept {
        op_.kernel->start(op_);
        return true;
    }
    int value() const noexcept { return op_.result; }

private:
    struct waited : io_operation {
        waited(io_wait& w, ringo::detail::kernel& k) : io_operation(&done), owner(&w), kernel(&k) {}
        static void done(io_operation& op, const io_completion& c) noexcept {
            auto& self = static_cast<waited&>(op);
            self.result = c.result;
            if (c.result == -ECANCELED) {
                self.owner->self->error = ringo::detail::context_failure(*self.owner->self);
            }
            ringo::detail::wake(*self.owner->self);
        }
        io_wait* owner;
        ringo::detail::kernel* kernel;
        int result = 0;
    };
    static void give_up(ringo::detail::wait& w) noexcept {
        auto& self = static_cast<io_wait&>(w);
        self.op_.kernel->cancel(self.op_);
    }
    static constexpr ringo::detail::wait_type io_wait_type{"test io", &give_up};

    waited op_;
};

}  // namespace

TEST_CASE("an_operation_goes_from_idle_to_queued_to_submitted_and_back") {
    std::vector<io_operation*> seen;
    scripted k([&seen](io_operation& op) { seen.push_back(&op); });
    noted op;
    CHECK(op.idle());
    k.start(op);
    CHECK(op.state == io_state::queued);
    CHECK(k.in_flight() == 1);
    CHECK(seen.empty());
    k.turn(0);
    CHECK(op.state == io_state::submitted);
    CHECK(seen == std::vector<io_operation*>{&op});
    k.complete(op, {.result = 7, .more = false});
    CHECK(op.results.empty());
    k.turn(0);
    CHECK(op.results == std::vector<int>{7});
    CHECK(op.was_idle == std::vector<bool>{true});
    CHECK(op.idle());
    CHECK(k.in_flight() == 0);
}

TEST_CASE("cancelled_before_it_is_submitted_it_never_reaches_the_kernel") {
    int reached = 0;
    scripted k([&reached](io_operation&) { ++reached; });
    noted op;
    k.start(op);
    k.cancel(op);
    k.cancel(op);
    CHECK_FALSE(op.idle());  // it completes in a turn, as always
    k.turn(0);
    CHECK(op.results == std::vector<int>{-ECANCELED});
    CHECK(op.idle());
    CHECK(reached == 0);
    CHECK(k.in_flight() == 0);
}

TEST_CASE("cancelled_after_it_is_submitted_it_completes_once") {
    scripted k;
    noted op;
    k.start(op);
    k.turn(0);
    k.cancel(op);
    CHECK(op.state == io_state::cancelling);
    k.cancel(op);
    CHECK(op.results.empty());
    k.turn(0);
    k.turn(0);
    CHECK(op.results == std::vector<int>{-ECANCELED});
    CHECK(op.idle());
}

TEST_CASE("cancelled_while_it_completes_it_wins") {
    scripted k;
    noted op;
    k.start(op);
    k.turn(0);
    k.complete(op, {.result = 100, .more = false});
    k.cancel(op);
    k.turn(0);
    k.turn(0);
    CHECK(op.results == std::vector<int>{100});
}

TEST_CASE("cancelling_an_idle_operation_changes_nothing") {
    scripted k;
    noted op;
    k.cancel(op);
    CHECK(op.idle());
    k.start(op);
    k.turn(0);
    k.complete(op, {.result = 1, .more = false});
    k.turn(0);
    k.cancel(op);
    k.turn(0);
    CHECK(op.results == std::vector<int>{1});
    CHECK(k.in_flight() == 0);
}

TEST_CASE("a_multishot_operation_is_idle_only_after_its_last_completion") {
    scripted k;
    noted op;
    k.start(op);
    k.turn(0);
    k.complete(op, {.result = 1, .more = true});
    k.complete(op, {.result = 2, .more = true});
    k.turn(0);
    CHECK(op.was_idle == std::vector<bool>{false, false});
    CHECK(k.in_flight() == 1);
    k.complete(op, {.result = 3, .more = true});
    k.cancel(op);
    k.turn(0);
    CHECK(op.results == std::vector<int>{1, 2, 3, -ECANCELED});
    CHECK(op.was_idle == std::vector<bool>{false, false, false, true});
    CHECK(k.in_flight() == 0);
}

TEST_CASE("a_handler_may_start_its_operation_again") {
    scripted k;
    noted op;
    k.start(op);
    k.turn(0);
    op.restart_on = &k;
    k.complete(op, {.result = 1, .more = false});
    k.turn(0);
    CHECK(op.state == io_state::queued);
    k.turn(0);
    k.complete(op, {.result = 2, .more = false});
    k.turn(0);
    CHECK(op.results == std::vector<int>{1, 2});
    CHECK(op.idle());
}

TEST_CASE("cancel_all_reaches_every_state") {
    scripted k;
    noted queued;
    noted submitted;
    noted completing;
    noted cancelling;
    k.start(submitted);
    k.start(completing);
    k.start(cancelling);
    k.turn(0);
    k.start(queued);
    k.complete(completing, {.result = 5, .more = false});
    k.cancel(cancelling);
    CHECK(k.in_flight() == 4);
    k.cancel_all();
    k.turn(0);
    CHECK(queued.results == std::vector<int>{-ECANCELED});
    CHECK(submitted.results == std::vector<int>{-ECANCELED});
    CHECK(completing.results == std::vector<int>{5});
    CHECK(cancelling.results == std::vector<int>{-ECANCELED});
    CHECK(k.in_flight() == 0);
}

TEST_CASE("starting_an_operation_that_is_not_idle_is_a_panic") {
    test::expect_panic("ringo is wrong", [] {
        scripted k;
        noted op;
        k.start(op);
        k.start(op);
    });
}

TEST_CASE("time_jumps_to_the_limit_unless_there_is_something_to_do") {
    scripted k;
    CHECK(k.now_ns() == 0);
    k.turn(1000);
    CHECK(k.now_ns() == 1000);
    k.turn(500);  // the past
    CHECK(k.now_ns() == 1000);
    k.wake();
    k.turn(5000);
    CHECK(k.now_ns() == 1000);
    k.turn(5000);
    CHECK(k.now_ns() == 5000);
    noted op;
    k.start(op);
    k.complete(op, {.result = 0, .more = false});
    k.turn(9000);
    CHECK(k.now_ns() == 5000);
}

// --- below a goroutine ---

TEST_CASE("a_goroutine_waits_for_its_operation") {
    test::virtual_run(
        []() -> task<> {
            const int n = co_await io_wait(test::this_kernel());
            CHECK(n == 12);
        },
        [](io_operation& op) { test::this_kernel().complete(op, {.result = 12, .more = false}); });
}

TEST_CASE("a_cancelled_goroutine_resumes_only_after_the_last_completion") {
    // Until then the kernel may touch the buffer, which may lie in the goroutine's frame.
    test::virtual_run([]() -> task<> {
        auto h = ringo::spawn([]() -> task<bool> {
            const auto r = co_await ringo::as_result(io_wait(test::this_kernel()));
            co_return r.has_value();
        });
        co_await ringo::sleep(1s);
        h.cancel();
        CHECK_FALSE(h.done());
        const bool succeeded = co_await h;
        CHECK_FALSE(succeeded);
        CHECK(test::this_kernel().in_flight() == 0);
    });
}

TEST_CASE("an_operation_that_wins_against_its_cancellation_gives_its_result") {
    io_operation* started = nullptr;
    test::virtual_run(
        [&started]() -> task<> {
            auto h = ringo::spawn([]() -> task<int> {
                const int n = co_await io_wait(test::this_kernel());
                co_return n;
            });
            co_await ringo::sleep(1s);
            test::this_kernel().complete(*started, {.result = 3, .more = false});
            h.cancel();
            const int n = co_await h;
            CHECK(n == 3);
        },
        [&started](io_operation& op) { started = &op; });
}

TEST_CASE("a_timeout_cancels_the_operation_before_it_is_submitted_or_after") {
    int reached = 0;
    test::virtual_run(
        []() -> task<> {
            const auto at_once =
                co_await ringo::as_result(ringo::timeout(0s, io_wait(test::this_kernel())));
            CHECK(at_once.error() == std::errc::timed_out);
            const auto late =
                co_await ringo::as_result(ringo::timeout(1s, io_wait(test::this_kernel())));
            CHECK(late.error() == std::errc::timed_out);
            CHECK(test::now() == 1s);
        },
        [&reached](io_operation&) { ++reached; });
    CHECK(reached == 1);
}

TEST_CASE("the_end_of_a_run_waits_for_what_the_kernel_still_holds") {
    int reached = 0;
    bool destroyed = false;
    test::virtual_run(
        [&destroyed]() -> task<> {
            ringo::go([&destroyed]() -> task<> {
                struct says {
                    ~says() { *out = true; }
                    bool* out;
                };
                const says s{&destroyed};
                // Out of reach of the cancellation, so it is abandoned.
                co_await ringo::shield(io_wait(test::this_kernel()));
            });
            co_await ringo::sleep(1s);
        },
        [&reached](io_operation&) { ++reached; }, {.shutdown_grace = 1ms});
    CHECK(reached == 1);
    CHECK(destroyed);
}
