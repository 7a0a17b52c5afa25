// The goroutines of a core that are ready, in the order in which they run.
//
// What the running goroutine makes ready runs right after it, in the order made, before all that
// was ready earlier: its data are in the cache, and of a tree of goroutines one branch is alive at a
// time, not all. So that nobody is kept waiting for ever, each turn of the loop begins with
// `settle`, which puts what still stands in front at the end.
#pragma once

#include <cstdint>

namespace ringo::detail {

struct goroutine;

class ready_queue {
public:
    ready_queue() noexcept = default;
    ready_queue(const ready_queue&) = delete;
    ready_queue& operator=(const ready_queue&) = delete;

    bool empty() const noexcept {
        return made_ == nullptr && front_ == nullptr && head_ == nullptr;
    }

    /// To run right after the running one, and what that has pushed before.
    void push(goroutine& g) noexcept;
    /// To run after all that are ready.
    void push_last(goroutine& g) noexcept;
    /// The next one to run; null: there is none.
    goroutine* pop() noexcept;
    void settle() noexcept;

    /// Of those that do not stand in front; null: there is none.
    const goroutine* last() const noexcept;
    /// ... how many have been taken.
    std::uint64_t taken() const noexcept { return taken_; }

private:
    void put_in_front(goroutine* first) noexcept;

    goroutine* made_ = nullptr;  // since the last `pop`
    goroutine** made_tail_ = &made_;
    goroutine* front_ = nullptr;        // ... since the last `settle`
    goroutine** front_tail_ = nullptr;  // while it is not empty
    goroutine* head_ = nullptr;         // the others
    goroutine** tail_ = &head_;
    std::uint64_t taken_ = 0;  // of them
};

}  // namespace ringo::detail
