#include <ringo/barrier.hpp>

#include <ringo/detail/panic.hpp>

#include <utility>

namespace ringo::detail {

const wait_type barrier_wait{"barrier arrive_and_wait", &arrival::cancel};

barrier_core::barrier_core(std::ptrdiff_t n, std::unique_ptr<phase_end> c)
    : gate(n), size(n), on_completion(std::move(c)) {
    if (n < 1) {
        panic("barrier: for less than one goroutine");
    }
}

namespace {

/// Lets the others go, also when on_completion throws.
class resume_at_end {
public:
    explicit resume_at_end(waiter* first) noexcept : first_(first) {}
    resume_at_end(const resume_at_end&) = delete;
    resume_at_end& operator=(const resume_at_end&) = delete;
    ~resume_at_end() { resume_all(first_); }

private:
    waiter* first_;
};

}  // namespace

void barrier_arrival::value() const {
    if (!is_last) {
        return;  // Lifetime: the barrier may be gone
    }
    const resume_at_end guard(others);
    if (core().on_completion != nullptr) {
        core().on_completion->run();
    }
}

}  // namespace ringo::detail
