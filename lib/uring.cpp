// The kernel behind io_uring. The only file that knows it.
#include "buffer_pool.hpp"
#include "buffer_slots.hpp"
#include "io_list.hpp"
#include "kernel.hpp"
#include "message_header.hpp"
#include "sanitizers.hpp"
#include "timers.hpp"

#include <ringo/detail/panic.hpp>

#include <fmt/format.h>
#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ringo::detail {

namespace {

constexpr unsigned buffer_count = 256;  // a power of two
constexpr std::size_t buffer_bytes = 4096;
constexpr int buffer_group = 0;

static_assert(offsetof(message_header, length) == offsetof(io_uring_recvmsg_out, payloadlen) &&
              offsetof(message_header, name) == sizeof(io_uring_recvmsg_out));

/// Says how much of a message_header is the kernel's. Nobody writes to it.
msghdr name_room = [] {
    msghdr m{};
    m.msg_namelen = sizeof(message_header) - sizeof(io_uring_recvmsg_out);
    return m;
}();

constexpr std::uint64_t cancel_tag = 1;  // in the user_data of a cancel request

constexpr int too_old = EOPNOTSUPP;

// ThreadSanitizer runs signal handlers late: in the next call that it knows of, a clock's perhaps.
// A core that waits for ever makes none, and nobody would hear the signal.
constexpr std::int64_t wait_max_ns = under_tsan ? 1'000'000'000 : timer_wheel::never;

[[noreturn]] void refuse(int error) {
    const char* why = "io_uring_setup";
    switch (error) {
        case EPERM:
        case ENOSYS:
            why =
                "io_uring_setup: io_uring is forbidden here, by the container's seccomp profile "
                "or by sysctl kernel.io_uring_disabled; allow it, or run where it is allowed";
            break;
        case ENOMEM:
            why =
                "io_uring_setup: not enough memory may be locked for the ring; raise "
                "`ulimit -l` (memlock), or lower options.ring_entries or options.cores";
            break;
        case too_old:
            why = "io_uring_setup: this kernel's io_uring is too old; ringo needs Linux 5.15";
            break;
        case EMFILE:
        case ENFILE:
            why = "io_uring_setup: no descriptor is left for the ring; raise `ulimit -n`";
            break;
        default:
            break;
    }
    throw std::system_error(error, std::system_category(), why);
}

bool is_zero_copy(const io_operation& op) noexcept {
    return op.code == io_code::send_zero_copy || op.code == io_code::send_message_zero_copy;
}

void use_registered(io_uring_sqe& sqe, const file_operation& op, std::uint8_t code) noexcept {
    if (op.to >= 0) {
        sqe.opcode = code;
        sqe.buf_index = static_cast<__u16>(op.to);
    }
}

class uring final : public kernel {
public:
    explicit uring(unsigned entries);
    ~uring() override;

    void attach() override;
    void start(io_operation& op) noexcept override;
    void cancel(io_operation& op) noexcept override;
    void cancel_all() noexcept override;
    void take_turn(std::int64_t until_ns) noexcept override;
    bool has_completions() const noexcept override {
        return io_uring_cq_ready(&ring_) != 0 || must_ask();
    }
    void wake() noexcept override;
    std::int64_t now_ns() const noexcept override;
    std::size_t in_flight() const noexcept override {
        return in_flight_ + (closing_ && !wake_.idle() ? 1 : 0);
    }
    bool has_multishot() const noexcept override { return buffer_ring_ != nullptr; }
    bool has_zero_copy() const noexcept override { return has_zero_copy_; }
    pooled_buffer& buffer(std::int32_t id) noexcept override { return pool_->at(id); }
    void give_back(std::int32_t id) noexcept override;
    lent* lend(std::int32_t id) noexcept override { return pool_->lend(id); }
    buffer_slots* register_buffer(void* data, std::size_t size, int& slot) noexcept override;
    void unregister_buffer(int slot) noexcept override;
    std::string describe() const override;

private:
    struct wake_operation : io_operation {
        explicit wake_operation(uring& u) : io_operation(&awoken), owner(u) {}
        uring& owner;
    };
    static void awoken(io_operation& op, const io_completion&) noexcept {
        uring& owner = static_cast<wake_operation&>(op).owner;
        if (!owner.closing_) {
            owner.start(op);
        }
    }

    /// Kernel: with DEFER_TASKRUN, completions are made only when we ask; the flag says that
    /// there is something to ask for.
    bool must_ask() const noexcept {
        const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
        return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    }
    bool set_up(unsigned entries, unsigned flags);
    void make_buffers() noexcept;
    int look_for_operations() noexcept;
    void flush() noexcept;
    void prepare(io_uring_sqe& sqe, const io_operation& op) noexcept;
    void prepare_file(io_uring_sqe& sqe, const file_operation& op) noexcept;
    void enter(std::int64_t until_ns) noexcept;
    void reap() noexcept;
    void completed(io_operation& op, io_completion c) noexcept;
    void sent(io_operation& op, int result) noexcept;
    io_list& list_of(const io_operation& op) noexcept;
    void cancel_answered(const io_operation* asked, int result) noexcept;

    io_uring ring_{};
    int wake_fd_ = -1;
    std::uint64_t wake_count_ = 0;
    wake_operation wake_{*this};
    bool closing_ = false;
    bool deferred_ = false;  // DEFER_TASKRUN: completions come only when we enter
    bool has_zero_copy_ = false;

    io_list queue_;       // queued, withdrawn, cancel_queued
    io_list active_;      // submitted
    io_list cancelling_;  // cancelling, sent
    std::size_t in_flight_ = 0;
    bool withdrew_ = false;  // this turn completed something without the kernel

    io_uring_buf_ring* buffer_ring_ = nullptr;
    buffer_pool* pool_ = nullptr;  // set before buffer_ring_
    bool may_register_ = false;
    buffer_slots* slots_ = nullptr;  // made by the first who registers
};

uring::uring(unsigned entries) {
    // Kernel: 6.1 has DEFER_TASKRUN, and with it all that the fast path wants: multishot receive
    // and buffer rings. Anything older (from 5.15) gets the plain operations.
    constexpr unsigned modern = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL;
    const char* const asked = std::getenv("RINGO_URING");  // "basic": as on an old kernel
    const bool basic = asked != nullptr && std::strcmp(asked, "basic") == 0;
    // Disabled until `attach`: the thread that enables the ring is the one that may use it.
    deferred_ = !basic && set_up(entries, modern | IORING_SETUP_R_DISABLED);
    if (!deferred_) {
        set_up(entries, IORING_SETUP_R_DISABLED);
    }
    if (const int error = look_for_operations(); error != 0) {
        io_uring_queue_exit(&ring_);
        refuse(error);
    }
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC);
    if (wake_fd_ < 0) {
        const int error = errno;
        io_uring_queue_exit(&ring_);
        throw std::system_error(error, std::system_category(), "eventfd");
    }
    wake_.code = io_code::read;
    wake_.fd = wake_fd_;
    wake_.address = &wake_count_;
    wake_.length = sizeof wake_count_;
}

/// False: the kernel does not know some of the flags.
bool uring::set_up(unsigned entries, unsigned flags) {
    io_uring_params params{};
    params.flags = flags | IORING_SETUP_CQSIZE;
    params.cq_entries = std::min(std::max(entries * 4, 4096U), 65536U);
    const int error = -io_uring_queue_init_params(entries, &ring_, &params);
    if (error == EINVAL && flags != IORING_SETUP_R_DISABLED) {
        return false;
    }
    if (error != 0) {
        refuse(error);
    }
    return true;
}

/// Whether this kernel has all that ringo asks for, and lets us ask. returns  0 or an errno
int uring::look_for_operations() noexcept {
    // A filter may allow io_uring_setup alone. The ring is disabled as yet, which is another error.
    if (::syscall(__NR_io_uring_enter, ring_.ring_fd, 0, 0, 0, nullptr, 0) < 0 &&
        (errno == EPERM || errno == ENOSYS)) {
        return errno;
    }
    io_uring_probe* const probe = io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) {
        return ENOSYS;
    }
    const bool all = io_uring_opcode_supported(probe, IORING_OP_SYMLINKAT) != 0;  // 5.15
    has_zero_copy_ = deferred_ && io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC) != 0;
    io_uring_free_probe(probe);
    return all && (ring_.features & IORING_FEAT_EXT_ARG) != 0 ? 0 : too_old;
}

std::string uring::describe() const {
    return deferred_ ? "io_uring, with deferred task work, multishot operations and a buffer ring"
                     : "io_uring, basic operations";
}

uring::~uring() {
    RINGO_ASSERT(in_flight_ == 0 && wake_.idle());
    // The ring goes first: it is the last that could touch the buffers.
    io_uring_queue_exit(&ring_);
    if (wake_fd_ >= 0) {
        ::close(wake_fd_);
    }
    if (pool_ != nullptr) {
        pool_->retire();
    }
    if (slots_ != nullptr) {
        slots_->retire();
    }
    if (buffer_ring_ != nullptr) {
        ::munmap(buffer_ring_, buffer_count * sizeof(io_uring_buf));
    }
}

void uring::attach() {
    // Not io_uring_enable_rings(): liburing 2.3 declares it without exporting it.
    if (::syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr,
                  0) != 0) {
        panic("io_uring: the ring could not be enabled");
    }
    if (deferred_) {
        io_uring_register_ring_fd(&ring_);
        make_buffers();  // without them there is no multishot receive
        may_register_ = true;
    }
    // io-wq threads serve what cannot be polled: files, most of all. One that opens a FIFO waits
    // there for the other side, so a few are not enough.
    unsigned workers[2] = {32, 4};
    io_uring_register_iowq_max_workers(&ring_, workers);
    start(wake_);
}

void uring::make_buffers() noexcept {
    constexpr std::size_t ring_bytes = buffer_count * sizeof(io_uring_buf);
    void* const ring =
        ::mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) {
        return;
    }
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(ring);
    registration.ring_entries = buffer_count;
    registration.bgid = buffer_group;
    try {
        pool_ = new buffer_pool(*this, buffer_count, buffer_bytes);
    } catch (const std::bad_alloc&) {
    }
    if (pool_ == nullptr || io_uring_register_buf_ring(&ring_, &registration, 0) != 0) {
        ::munmap(ring, ring_bytes);
        return;
    }
    buffer_ring_ = static_cast<io_uring_buf_ring*>(ring);
    io_uring_buf_ring_init(buffer_ring_);
    for (unsigned id = 0; id < buffer_count; ++id) {
        give_back(static_cast<std::int32_t>(id));
    }
}

void uring::give_back(std::int32_t id) noexcept {
    io_uring_buf_ring_add(buffer_ring_, buffer(id).data, buffer_bytes,
                          static_cast<unsigned short>(id), io_uring_buf_ring_mask(buffer_count), 0);
    io_uring_buf_ring_advance(buffer_ring_, 1);
}

buffer_slots* uring::register_buffer(void* data, std::size_t size, int& slot) noexcept {
    if (slots_ == nullptr && std::exchange(may_register_, false) &&
        io_uring_register_buffers_sparse(&ring_, buffer_slots::count) == 0) {
        slots_ = new buffer_slots(*this_core_state);
    }
    if (slots_ == nullptr) {
        return nullptr;
    }
    slots_->collect([this](int returned) noexcept { unregister_buffer(returned); });
    slot = slots_->take();
    if (slot < 0) {
        return nullptr;
    }
    const iovec memory{.iov_base = data, .iov_len = size};
    const __u64 tag = 0;
    if (io_uring_register_buffers_update_tag(&ring_, static_cast<unsigned>(slot), &memory, &tag,
                                             1) != 1) {
        slots_->free(slot);
        slots_->release();
        return nullptr;
    }
    return slots_;
}

void uring::unregister_buffer(int slot) noexcept {
    const iovec none{};
    const __u64 tag = 0;
    io_uring_register_buffers_update_tag(&ring_, static_cast<unsigned>(slot), &none, &tag, 1);
    slots_->free(slot);
}

void uring::start(io_operation& op) noexcept {
    RINGO_ASSERT(op.idle());
    op.state = io_state::queued;
    queue_.push_back(op);
    if (&op != &wake_) {
        ++in_flight_;
        counts.started(op);
    }
}

void uring::cancel(io_operation& op) noexcept {
    if (op.state == io_state::queued) {
        op.state = io_state::withdrawn;
    } else if (op.state == io_state::submitted) {
        op.state = io_state::cancel_queued;
        active_.remove(op);
        queue_.push_back(op);
    }
}

void uring::cancel_all() noexcept {
    closing_ = true;
    for (const io_list* list : {&active_, &queue_}) {  // not cancelling_: they have been asked
        io_operation* next = nullptr;
        for (io_operation* op = list->front(); op != nullptr; op = next) {
            next = op->next;
            cancel(*op);
        }
    }
}

void uring::take_turn(std::int64_t until_ns) noexcept {
    if (pool_ != nullptr) {
        pool_->reclaim();
    }
    flush();
    enter(withdrew_ ? 0 : until_ns);
    withdrew_ = false;
    reap();
}

void uring::flush() noexcept {
    while (io_operation* const op = queue_.front()) {
        if (op->state == io_state::withdrawn) {
            withdrew_ = true;
            completed(*op, {.result = -ECANCELED, .more = false});
            continue;
        }
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        if (sqe == nullptr) {
            counts.system_calls.add();
            io_uring_submit(&ring_);
            sqe = io_uring_get_sqe(&ring_);
            if (sqe == nullptr) {
                return;  // the completion queue is full: reap first
            }
        }
        queue_.remove(*op);
        if (op->state == io_state::cancel_queued) {
            io_uring_prep_cancel64(sqe, reinterpret_cast<std::uintptr_t>(op), 0);
            io_uring_sqe_set_data64(sqe, reinterpret_cast<std::uintptr_t>(op) | cancel_tag);
            op->state = io_state::cancelling;
            cancelling_.push_back(*op);
        } else {
            prepare(*sqe, *op);
            io_uring_sqe_set_data(sqe, op);
            op->state = io_state::submitted;
            active_.push_back(*op);
        }
    }
}

void uring::prepare(io_uring_sqe& sqe, const io_operation& op) noexcept {
    switch (op.code) {
        case io_code::read:
            io_uring_prep_read(&sqe, op.fd, op.address, op.length, static_cast<__u64>(-1));
            return;
        case io_code::receive:
            io_uring_prep_recv(&sqe, op.fd, op.address, op.length, 0);
            return;
        case io_code::receive_multishot:
            io_uring_prep_recv_multishot(&sqe, op.fd, nullptr, 0, 0);
            sqe.flags |= IOSQE_BUFFER_SELECT;
            sqe.buf_group = buffer_group;
            return;
        case io_code::receive_messages:
            io_uring_prep_recvmsg_multishot(&sqe, op.fd, &name_room, MSG_TRUNC);
            sqe.flags |= IOSQE_BUFFER_SELECT;
            sqe.buf_group = buffer_group;
            return;
        case io_code::send:
            io_uring_prep_send(&sqe, op.fd, op.address, op.length, MSG_NOSIGNAL);
            return;
        case io_code::send_message:
            io_uring_prep_sendmsg(&sqe, op.fd, static_cast<msghdr*>(op.address), MSG_NOSIGNAL);
            return;
        case io_code::send_zero_copy:
            io_uring_prep_send_zc(&sqe, op.fd, op.address, op.length, MSG_NOSIGNAL | MSG_WAITALL,
                                  0);
            return;
        case io_code::send_message_zero_copy:
            io_uring_prep_sendmsg_zc(&sqe, op.fd, static_cast<msghdr*>(op.address),
                                     MSG_NOSIGNAL | MSG_WAITALL);
            return;
        case io_code::accept:
            io_uring_prep_accept(&sqe, op.fd, nullptr, nullptr, SOCK_CLOEXEC);
            return;
        case io_code::accept_multishot:
            io_uring_prep_multishot_accept(&sqe, op.fd, nullptr, nullptr, SOCK_CLOEXEC);
            return;
        case io_code::connect:
            io_uring_prep_connect(&sqe, op.fd, static_cast<sockaddr*>(op.address), op.length);
            return;
        case io_code::poll:
            io_uring_prep_poll_add(&sqe, op.fd, op.length);
            return;
        case io_code::none:
            break;
        default:
            prepare_file(sqe, static_cast<const file_operation&>(op));
            return;
    }
    panic("ringo is wrong, please report: an operation without a code");
}

void uring::prepare_file(io_uring_sqe& sqe, const file_operation& op) noexcept {
    const auto offset = static_cast<__u64>(op.offset);
    const auto* const path = static_cast<const char*>(op.address);
    const auto* const other = static_cast<const char*>(op.other);
    const auto flags = static_cast<unsigned>(op.flags);
    switch (op.code) {
        case io_code::file_read:
            io_uring_prep_read(&sqe, op.fd, op.address, op.length, offset);
            use_registered(sqe, op, IORING_OP_READ_FIXED);
            return;
        case io_code::file_write:
            io_uring_prep_write(&sqe, op.fd, op.address, op.length, offset);
            use_registered(sqe, op, IORING_OP_WRITE_FIXED);
            return;
        case io_code::file_sync:
            io_uring_prep_fsync(&sqe, op.fd, flags);
            return;
        case io_code::file_open:
            io_uring_prep_openat(&sqe, op.fd, path, op.flags | O_CLOEXEC, op.length);
            // Kernel: its own first try is with O_NONBLOCK, so that a FIFO would not wait for its
            // other side, or fail. What is not in its caches goes to a thread anyway.
            sqe.flags |= IOSQE_ASYNC;
            return;
        case io_code::file_close:
            io_uring_prep_close(&sqe, op.fd);
            return;
        case io_code::file_stat:
            io_uring_prep_statx(&sqe, op.fd, path, op.flags, op.length,
                                static_cast<struct statx*>(op.other));
            return;
        case io_code::file_rename:
            io_uring_prep_renameat(&sqe, op.fd, path, op.fd, other, flags);
            return;
        case io_code::file_remove:
            io_uring_prep_unlinkat(&sqe, op.fd, path, op.flags);
            return;
        case io_code::file_make_dir:
            io_uring_prep_mkdirat(&sqe, op.fd, path, op.length);
            return;
        case io_code::file_symlink:
            io_uring_prep_symlinkat(&sqe, other, op.fd, path);
            return;
        case io_code::file_splice:
            io_uring_prep_splice(&sqe, op.fd, -1, op.to, -1, op.length, flags);
            return;
        default:
            panic("ringo is wrong, please report: an unknown operation");
    }
}

void uring::enter(std::int64_t until_ns) noexcept {
    const bool submit = io_uring_sq_ready(&ring_) != 0;
    if (until_ns <= 0) {
        if (submit || must_ask()) {
            counts.system_calls.add();
            io_uring_submit_and_get_events(&ring_);
        }
        return;
    }
    counts.system_calls.add();
    io_uring_cqe* cqe = nullptr;
    if (until_ns == timer_wheel::never && wait_max_ns == timer_wheel::never) {
        io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, nullptr, nullptr);
        return;
    }
    const std::int64_t ns = std::clamp<std::int64_t>(until_ns - now_ns(), 0, wait_max_ns);
    __kernel_timespec limit{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr);
}

void uring::reap() noexcept {
    // What completes while the handlers run waits for the next turn: a turn is bounded.
    for (unsigned left = io_uring_cq_ready(&ring_); left > 0 && may_read_at_once(); --left) {
        io_uring_cqe* cqe = nullptr;
        unsigned head = 0;
        io_uring_for_each_cqe(&ring_, head, cqe) { break; }
        const std::uint64_t data = io_uring_cqe_get_data64(cqe);
        auto* const op = reinterpret_cast<io_operation*>(data & ~cancel_tag);
        io_completion c{.result = cqe->res, .more = (cqe->flags & IORING_CQE_F_MORE) != 0};
        if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
            c.buffer = static_cast<std::int32_t>(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
            buffer(c.buffer).length = static_cast<std::uint32_t>(std::max(c.result, 0));
        }
        const bool notifies = (cqe->flags & IORING_CQE_F_NOTIF) != 0;
        io_uring_cqe_seen(&ring_, cqe);
        if ((data & cancel_tag) != 0) {
            cancel_answered(op, c.result);
        } else if (c.more && is_zero_copy(*op)) {
            sent(*op, c.result);
        } else {
            c.result = notifies ? op->outcome : c.result;
            completed(*op, c);
        }
    }
}

// Kernel: what was sent without a copy completes twice: with its result, then when nobody reads the
// buffer any more. Between these there is nothing left to cancel.
void uring::sent(io_operation& op, int result) noexcept {
    list_of(op).remove(op);
    op.outcome = result;
    op.state = io_state::sent;
    cancelling_.push_back(op);
}

io_list& uring::list_of(const io_operation& op) noexcept {
    switch (op.state) {
        case io_state::submitted:
            return active_;
        case io_state::cancelling:
        case io_state::sent:
            return cancelling_;
        default:
            return queue_;
    }
}

/// Lifetime: `asked` may have ended since.
void uring::cancel_answered(const io_operation* asked, int result) noexcept {
    if (result != -ENOENT) {
        return;
    }
    // Kernel: it finds no operation that is on its way between waiting for a poll and io-wq, but
    // lets it go on to wait there for ever. So what has not ended is asked again.
    for (io_operation* op = cancelling_.front(); op != nullptr; op = op->next) {
        if (op == asked && op->state == io_state::cancelling) {
            cancelling_.remove(*op);
            op->state = io_state::cancel_queued;
            queue_.push_back(*op);
            return;
        }
    }
}

void uring::completed(io_operation& op, io_completion c) noexcept {
    // Kernel: -512 (ERESTARTSYS) and beyond are its own, yet open(2) lets them out.
    const bool interrupted = c.result == -EINTR || c.result <= -512;
    if (interrupted) {
        // ... which is what io-wq makes of a cancel. Where it was not, the cancel that is about to
        // be asked again finds nothing any more: the operation must not go on either.
        const bool asked = op.state == io_state::cancelling || op.state == io_state::cancel_queued;
        c.result = asked ? -ECANCELED : -EINTR;
    }
    if (&op != &wake_) {
        counts.completed(op, c);
    }
    if (!c.more) {
        list_of(op).remove(op);
        op.state = io_state::idle;
        if (&op != &wake_) {
            --in_flight_;
        }
    }
    op.complete(op, c);
}

void uring::wake() noexcept {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then the core is awake.
    [[maybe_unused]] const auto n = ::write(wake_fd_, &one, sizeof one);
}

std::int64_t uring::now_ns() const noexcept {
    return std::chrono::steady_clock::now().time_since_epoch().count();
}

}  // namespace

bool is_without_uring(const std::system_error& e) noexcept {
    const int error = e.code().value();
    return error == EPERM || error == EACCES || error == ENOSYS || error == EINVAL ||
           error == too_old;
}

std::unique_ptr<kernel> make_uring(unsigned entries) { return std::make_unique<uring>(entries); }

}  // namespace ringo::detail
