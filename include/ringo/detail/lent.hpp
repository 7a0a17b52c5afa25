// A buffer of ringo's that is in a user's hands.
#pragma once

namespace ringo::detail {

/// It knows its way back, from any thread, also after the run that it comes from.
struct lent {
    explicit lent(void (*back)(lent&) noexcept) noexcept : give_back(back) {}

    void (*give_back)(lent&) noexcept;
};

}  // namespace ringo::detail
