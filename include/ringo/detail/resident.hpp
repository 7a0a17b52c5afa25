// Something that lives on a core and must let go of it when the core ends.
#pragma once

namespace ringo::detail {

/// core: its home's, for everything
class resident {
public:
    virtual void core_ends() noexcept = 0;

protected:
    ~resident() = default;

private:
    friend class shard;
    resident* next_ = nullptr;
    resident** link_ = nullptr;
};

}  // namespace ringo::detail
