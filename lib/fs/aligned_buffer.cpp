#include <ringo/fs/aligned_buffer.hpp>

#include "../buffer_slots.hpp"
#include "../shard.hpp"

namespace ringo::fs {

using ringo::detail::shard;

bool aligned_buffer::register_here() noexcept {
    if (shard::this_thread() == nullptr || data_ == nullptr) {
        return false;
    }
    if (slot_here() < 0) {
        unregister();
        slots_ = shard::here().io().register_buffer(data_, size_, slot_);
    }
    return slots_ != nullptr;
}

void aligned_buffer::unregister() noexcept {
    if (slots_ == nullptr) {
        return;
    }
    if (slots_->is_home()) {
        shard::here().io().unregister_buffer(slot_);
    } else {
        slots_->give_back(slot_);
    }
    std::exchange(slots_, nullptr)->release();
}

int aligned_buffer::slot_here() const noexcept {
    return slots_ != nullptr && slots_->is_home() ? slot_ : -1;
}

}  // namespace ringo::fs
