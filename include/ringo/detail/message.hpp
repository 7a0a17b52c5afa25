// Something for another core to do, without allocation: it lies where its owner lies.
#pragma once

namespace ringo::detail {

/// Sent by shard::post. In one inbox at a time.
struct message {
    using action = void (*)(message&) noexcept;

    explicit message(action a) noexcept : run(a) {}

    message* next = nullptr;
    action run;
};

}  // namespace ringo::detail
