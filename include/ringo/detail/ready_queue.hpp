// The goroutines of a core that are ready, in the order in which they run.
//
// What the running goroutine makes ready runs right after it, in the order made, before all that
// was ready earlier: its data are in the cache, and of a tree of goroutines one branch is alive at a
// time, not all. So that nobody is kept waiting for ever, `settle` now and then puts what still
// stands in front at the end.
#pragma once

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

    void push(goroutine& g) noexcept;
    /// ... behind all.
    void push_last(goroutine& g) noexcept;
    /// The next one to run; null: there is none.
    goroutine* pop() noexcept;
    void settle() noexcept;

    /// After `settle`; null: there is none.
    const goroutine* last() const noexcept;

private:
    void put_in_front(goroutine* first) noexcept;

    goroutine* made_ = nullptr;  // since the last `pop`
    goroutine** made_tail_ = &made_;
    goroutine* front_ = nullptr;  // ... since the last `settle`
    goroutine** front_tail_ = nullptr;
    goroutine* head_ = nullptr;  // the others
    goroutine** tail_ = &head_;
};

}  // namespace ringo::detail
