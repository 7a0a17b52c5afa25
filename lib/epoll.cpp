// The kernel behind epoll, where io_uring is not to be had. One turn:
//
//     run_queue   try what was started, as calls that do not wait
//     wait        for a descriptor to be ready, a call in the pool to end, a `wake`, the time
//     run_queue   try what has become ready
//
// An operation that cannot be carried out yet is parked with its descriptor. Most descriptors are
// registered for one event at a time. One with a multishot operation stays registered while that is
// under way, level-triggered, so that a request on a connection costs no system call but its own.
//
// Invariant: a descriptor is not closed while an operation on it is under way. What epoll tells of
// one that has been closed and used again carries an old serial number, and is dropped.
#include "blocking_pool.hpp"
#include "buffer_pool.hpp"
#include "call_pool.hpp"
#include "io_list.hpp"
#include "kernel.hpp"
#include "message_header.hpp"
#include "timers.hpp"
#include "try_call.hpp"

#include <ringo/detail/panic.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <ctime>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ringo::detail {

namespace {

constexpr std::int32_t buffer_count = 256;
constexpr std::size_t buffer_bytes = 4096;
constexpr int events_max = 256;
constexpr int accepts_per_turn = 64;
constexpr int messages_per_turn = 32;
constexpr int turns_without_look_max = 8;  // at epoll, while there is other work
constexpr std::int64_t interrupt_first_ns = 50'000;
constexpr std::int64_t interrupt_max_ns = 10'000'000;
constexpr std::uint64_t wake_tag = ~std::uint64_t{0};

bool is_multishot(const io_operation& op) noexcept {
    return op.code == io_code::receive_multishot || op.code == io_code::receive_messages ||
           op.code == io_code::accept_multishot;
}

class epoll final : public kernel {
public:
    explicit epoll(blocking_pool& pool);
    ~epoll() override;

    void attach() override;
    void start(io_operation& op) noexcept override;
    void cancel(io_operation& op) noexcept override;
    void cancel_all() noexcept override;
    void take_turn(std::int64_t until_ns) noexcept override;
    bool has_completions() const noexcept override;
    void wake() noexcept override;
    std::int64_t now_ns() const noexcept override;
    std::size_t in_flight() const noexcept override { return in_flight_; }
    bool has_multishot() const noexcept override { return true; }
    pooled_buffer& buffer(std::int32_t id) noexcept override { return pool_->at(id); }
    void give_back(std::int32_t id) noexcept override;
    lent* lend(std::int32_t id) noexcept override { return pool_->lend(id); }
    std::string describe() const override;

private:
    struct watched {
        io_list parked;
        std::uint32_t serial = 0;  // of the registration
        std::uint32_t armed = 0;   // the events that epoll will tell
        bool lasting = false;      // ... not once only: a multishot operation is parked or queued
        bool known = false;        // epoll is likely to have it
    };

    void enqueue(io_operation& op, io_state s) noexcept;
    void run_queue() noexcept;
    void advance(io_operation& op) noexcept;
    bool deliver(io_operation& op, io_completion c) noexcept;
    void receive_pooled(io_operation& op) noexcept;
    void accept_some(io_operation& op) noexcept;
    void completed(io_operation& op, io_completion c) noexcept;
    void call_blocking(io_operation& op) noexcept;
    void take_calls() noexcept;

    watched& at(int fd) noexcept { return watched_[static_cast<std::size_t>(fd)]; }
    bool make_room(int fd) noexcept;
    void park(io_operation& op) noexcept;
    void unpark(io_operation& op) noexcept;
    int rearm(int fd, watched& w) noexcept;
    int control(int fd, watched& w, std::uint32_t events) noexcept;
    void end_lasting(int fd) noexcept;
    void wait(std::int64_t until_ns) noexcept;
    int wait_for_events(std::int64_t ns) noexcept;
    int wait_precisely(std::int64_t ns) noexcept;
    void ready(const epoll_event& e) noexcept;

    int epoll_fd_ = -1;
    int wake_fd_ = -1;
    bool has_pwait2_ = false;
    std::vector<watched> watched_;  // by descriptor
    std::size_t watching_ = 0;      // parked operations
    std::uint32_t serial_ = 0;

    io_list queue_;  // queued, withdrawn
    std::size_t queued_ = 0;
    std::size_t in_flight_ = 0;
    bool progress_ = false;  // something has completed since the last wait
    int turns_without_look_ = 0;

    call_pool calls_;
    std::int64_t interrupt_ns_ = interrupt_first_ns;
    std::int64_t interrupt_at_ns_ = 0;

    buffer_pool* pool_ = nullptr;
    std::int32_t free_buffer_ = -1;

    std::array<epoll_event, events_max> events_;
};

[[noreturn]] void refuse(const char* what) {
    const int error = errno;
    const bool descriptors = error == EMFILE || error == ENFILE;
    throw std::system_error(
        error, std::system_category(),
        std::string(what) + (descriptors ? ": no descriptor is left; raise `ulimit -n`" : ""));
}

epoll::epoll(blocking_pool& pool) : epoll_fd_(::epoll_create1(EPOLL_CLOEXEC)), calls_(pool, *this) {
    if (epoll_fd_ < 0) {
        refuse("epoll_create1");
    }
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    // Edge-triggered, so that nobody need read it.
    epoll_event e{};
    e.events = EPOLLIN | EPOLLET;
    e.data.u64 = wake_tag;
    if (wake_fd_ < 0 || ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &e) != 0) {
        ::close(epoll_fd_);
        refuse("eventfd");
    }
    has_pwait2_ = wait_precisely(0) >= 0;
}

void epoll::attach() {
    try {
        pool_ = new buffer_pool(*this, buffer_count, buffer_bytes);
    } catch (const std::bad_alloc&) {
        return;  // as if none were ever left
    }
    for (std::int32_t id = buffer_count; id-- > 0;) {
        give_back(id);
    }
}

epoll::~epoll() {
    RINGO_ASSERT(in_flight_ == 0);
    if (pool_ != nullptr) {
        pool_->retire();
    }
    ::close(epoll_fd_);
    ::close(wake_fd_);
}

std::string epoll::describe() const {
    return has_pwait2_ ? "epoll, epoll_pwait2" : "epoll, timeouts in milliseconds";
}

void epoll::give_back(std::int32_t id) noexcept {
    buffer(id).next = free_buffer_;
    free_buffer_ = id;
}

// --- operations ---

void epoll::start(io_operation& op) noexcept {
    RINGO_ASSERT(op.idle());
    enqueue(op, io_state::queued);
    ++in_flight_;
    counts.started(op);
    if (op.code == io_code::accept || op.code == io_code::accept_multishot) {
        prepare_to_accept(op.fd);
    }
}

void epoll::cancel(io_operation& op) noexcept {
    if (op.state == io_state::queued) {
        op.state = io_state::withdrawn;
        return;
    }
    if (op.state == io_state::submitted) {
        unpark(op);
    } else if (op.state != io_state::on_thread) {
        return;
    } else if (!calls_.cancel(op)) {
        op.state = io_state::cancelling;
        interrupt_ns_ = interrupt_first_ns;
        interrupt_at_ns_ = now_ns() + interrupt_ns_;
        return;
    }
    enqueue(op, io_state::withdrawn);
}

void epoll::cancel_all() noexcept {
    for (io_operation* op = queue_.front(); op != nullptr; op = op->next) {
        op->state = io_state::withdrawn;
    }
    for (watched& w : watched_) {
        while (io_operation* const op = w.parked.front()) {
            cancel(*op);
        }
    }
    calls_.for_each([this](io_operation& op) noexcept { cancel(op); });
}

void epoll::take_turn(std::int64_t until_ns) noexcept {
    if (pool_ != nullptr) {
        pool_->reclaim();
    }
    run_queue();
    take_calls();
    const bool goes_on = std::exchange(progress_, false) || queued_ != 0;
    if (!goes_on || ++turns_without_look_ == turns_without_look_max) {
        turns_without_look_ = 0;
        wait(goes_on ? 0 : until_ns);
        run_queue();
        take_calls();
        progress_ = false;
    }
}

bool epoll::has_completions() const noexcept {
    if (queued_ != 0 || calls_.any_ended()) {
        return true;
    }
    pollfd p{.fd = epoll_fd_, .events = POLLIN, .revents = 0};
    return ::poll(&p, 1, 0) > 0;
}

void epoll::enqueue(io_operation& op, io_state s) noexcept {
    op.state = s;
    queue_.push_back(op);
    ++queued_;
}

/// What is queued by those that complete waits for the next time: a turn is bounded.
void epoll::run_queue() noexcept {
    for (std::size_t left = queued_; left > 0 && may_read_at_once(); --left) {
        io_operation& op = *queue_.front();
        queue_.remove(op);
        --queued_;
        if (op.state == io_state::withdrawn) {
            completed(op, {.result = -ECANCELED, .more = false});
        } else {
            advance(op);
        }
    }
}

void epoll::advance(io_operation& op) noexcept {
    op.state = io_state::submitted;
    if (op.code == io_code::receive_multishot || op.code == io_code::receive_messages) {
        receive_pooled(op);
        return;
    }
    if (op.code == io_code::accept_multishot) {
        accept_some(op);
        return;
    }
    if (op.code == io_code::poll) {
        if (op.ready != 0) {
            completed(op, {.result = op.ready, .more = false});
        } else {
            park(op);  // epoll looks itself
        }
        return;
    }
    counts.system_calls.add();
    const attempt a = try_call(op);
    switch (a.when) {
        case retry::never:
            completed(op, {.result = a.result, .more = false});
            return;
        case retry::ready:
            park(op);
            return;
        case retry::blocking:
            call_blocking(op);
            return;
    }
}

/// Hands one of several results over. False: the handler had enough, and the operation has ended.
bool epoll::deliver(io_operation& op, io_completion c) noexcept {
    progress_ = true;
    op.state = io_state::queued;  // so a cancel just says so
    counts.completed(op, c);
    op.complete(op, c);
    if (op.state == io_state::withdrawn) {
        completed(op, {.result = -ECANCELED, .more = false});
        return false;
    }
    op.state = io_state::submitted;
    return true;
}

void epoll::receive_pooled(io_operation& op) noexcept {
    const bool messages = op.code == io_code::receive_messages;
    for (int left = messages ? messages_per_turn : 1; left > 0; --left) {
        const std::int32_t id = free_buffer_;
        if (id < 0) {
            completed(op, {.result = -ENOBUFS, .more = false});
            return;
        }
        pooled_buffer& b = buffer(id);
        counts.system_calls.add();
        ::ssize_t n = 0;
        if (!messages) {
            n = ::recv(op.fd, b.data, buffer_bytes, MSG_DONTWAIT);
        } else if (n = receive_message(op.fd, b.data, buffer_bytes); n >= 0) {
            n += static_cast<::ssize_t>(sizeof(message_header));
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (n <= 0) {
            completed(op, {.result = n < 0 ? -errno : 0, .more = false});
            return;
        }
        free_buffer_ = b.next;
        b.length = static_cast<std::uint32_t>(n);
        if (!deliver(op, {.result = static_cast<int>(n), .more = true, .buffer = id})) {
            return;
        }
    }
    park(op);
}

void epoll::accept_some(io_operation& op) noexcept {
    for (int left = accepts_per_turn; left > 0; --left) {
        counts.system_calls.add();
        const int fd = ::accept4(op.fd, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) {
            if (!deliver(op, {.result = fd, .more = true})) {
                return;
            }
        } else if (errno == EAGAIN) {
            break;
        } else {
            completed(op, {.result = -errno, .more = false});
            return;
        }
    }
    park(op);
}

void epoll::completed(io_operation& op, io_completion c) noexcept {
    if (is_multishot(op)) {
        end_lasting(op.fd);
    }
    op.state = io_state::idle;
    op.ready = 0;
    --in_flight_;
    counts.completed(op, c);
    progress_ = true;
    op.complete(op, c);
}

// --- in the pool ---

void epoll::call_blocking(io_operation& op) noexcept {
    op.state = io_state::on_thread;
    if (const int error = calls_.start(op); error != 0) {
        // EAGAIN is what there is no thread for, but would read as `not ready`.
        completed(op, {.result = error == EAGAIN ? -ENOMEM : -error, .more = false});
    }
}

void epoll::take_calls() noexcept {
    calls_.take_ended([this](io_operation& op, int result) noexcept {
        completed(op, {.result = result, .more = false});
    });
}

// --- readiness ---

/// False: it is no descriptor.
bool epoll::make_room(int fd) noexcept {
    const auto n = static_cast<std::size_t>(fd);
    if (fd < 0 || (n >= watched_.size() && ::fcntl(fd, F_GETFD) < 0)) {
        return false;
    }
    if (n >= watched_.size()) {
        watched_.resize(std::max(n + 1, 2 * watched_.size()));
    }
    return true;
}

void epoll::park(io_operation& op) noexcept {
    if (!make_room(op.fd)) {
        completed(op, {.result = -EBADF, .more = false});
        return;
    }
    watched& w = at(op.fd);
    w.parked.push_back(op);
    ++watching_;
    if (is_multishot(op) && !w.lasting) {
        w.lasting = true;
        w.armed = 0;
    }
    const int error = rearm(op.fd, w);
    if (error == 0) {
        return;
    }
    unpark(op);
    if (error == EPERM && op.code >= io_code::file_read) {
        call_blocking(op);  // not for epoll: a regular file, say
    } else if (error == EPERM && op.code == io_code::poll) {
        completed(op, {.result = try_call(op).result, .more = false});  // ... always ready
    } else {
        completed(op, {.result = -error, .more = false});
    }
}

void epoll::unpark(io_operation& op) noexcept {
    watched& w = at(op.fd);
    w.parked.remove(op);
    --watching_;
    if (w.parked.empty() && !w.lasting) {
        w.armed = 0;  // the number may stand for another descriptor when it is next parked
    }
}

/// Has epoll tell what the parked operations wait for. returns  0 or an errno
int epoll::rearm(int fd, watched& w) noexcept {
    std::uint32_t wanted = w.lasting ? std::uint32_t{EPOLLIN} : 0;
    for (const io_operation* op = w.parked.front(); op != nullptr; op = op->next) {
        wanted |= events_of(*op);
    }
    if (w.lasting ? wanted == w.armed : (wanted & ~w.armed) == 0) {
        return 0;
    }
    return control(fd, w, wanted);
}

int epoll::control(int fd, watched& w, std::uint32_t wanted) noexcept {
    w.serial = ++serial_;
    epoll_event e{};
    e.events = wanted;
    if (!w.lasting) {
        e.events |= EPOLLONESHOT;
    }
    e.data.u64 = std::uint64_t{w.serial} << 32U | static_cast<std::uint32_t>(fd);
    int how = w.known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    counts.system_calls.add();
    int failed = ::epoll_ctl(epoll_fd_, how, fd, &e);
    if (failed != 0 && (errno == ENOENT || errno == EEXIST)) {  // it was not what it seemed
        how = errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
        failed = ::epoll_ctl(epoll_fd_, how, fd, &e);
    }
    w.known = failed == 0;
    w.armed = failed == 0 ? wanted : 0;
    return failed == 0 ? 0 : errno;
}

/// The multishot operation on `fd` has ended: what stays registered must not tell for ever.
void epoll::end_lasting(int fd) noexcept {
    if (fd < 0 || static_cast<std::size_t>(fd) >= watched_.size() ||
        !std::exchange(at(fd).lasting, false)) {
        return;
    }
    watched& w = at(fd);
    w.armed = 0;
    if (w.parked.empty()) {
        epoll_event none{};
        ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &none);
        w.known = false;
    } else {
        rearm(fd, w);
    }
}

void epoll::wait(std::int64_t until_ns) noexcept {
    if (calls_.interrupts()) {
        const std::int64_t now = now_ns();
        if (now >= interrupt_at_ns_) {
            calls_.interrupt_again();
            interrupt_ns_ = std::min(2 * interrupt_ns_, interrupt_max_ns);
            interrupt_at_ns_ = now + interrupt_ns_;
        }
        until_ns = std::min(until_ns, interrupt_at_ns_);
    }
    if (until_ns <= 0 && watching_ == 0) {
        return;
    }
    const bool for_ever = until_ns == timer_wheel::never;
    const std::int64_t ns =
        for_ever ? -1 : std::max<std::int64_t>(until_ns <= 0 ? 0 : until_ns - now_ns(), 0);
    counts.system_calls.add();
    const int n = wait_for_events(ns);
    for (int i = 0; i < n; ++i) {
        if (const epoll_event& e = events_[static_cast<std::size_t>(i)]; e.data.u64 != wake_tag) {
            ready(e);
        }
    }
}

/// ns: negative: for ever
int epoll::wait_for_events(std::int64_t ns) noexcept {
    if (has_pwait2_ && ns > 0) {
        return wait_precisely(ns);
    }
    const std::int64_t ms =
        ns <= 0 ? ns : std::min<std::int64_t>((ns - 1) / 1'000'000 + 1, INT_MAX);
    return ::epoll_wait(epoll_fd_, events_.data(), events_max, static_cast<int>(ms));
}

// Kernel: 5.11. Older C libraries have no wrapper.
int epoll::wait_precisely(std::int64_t ns) noexcept {
    const timespec limit{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
    return static_cast<int>(::syscall(__NR_epoll_pwait2, epoll_fd_, events_.data(), events_max,
                                      &limit, nullptr, std::size_t{8}));
}

void epoll::ready(const epoll_event& e) noexcept {
    const auto fd = static_cast<std::uint32_t>(e.data.u64);
    watched& w = watched_[fd];
    if (w.serial != e.data.u64 >> 32U) {
        return;  // of a descriptor that has been closed
    }
    io_operation* next = nullptr;
    for (io_operation* op = w.parked.front(); op != nullptr; op = next) {
        next = op->next;
        if (const auto events = e.events & (events_of(*op) | EPOLLHUP | EPOLLERR); events != 0) {
            unpark(*op);
            op->ready = static_cast<std::uint16_t>(events);
            enqueue(*op, io_state::queued);
        }
    }
    if (!w.lasting) {
        w.armed = 0;
    }
    if (rearm(static_cast<int>(fd), w) != 0) {
        while (io_operation* const op = w.parked.front()) {  // to hear of it themselves
            unpark(*op);
            enqueue(*op, io_state::queued);
        }
    }
}

void epoll::wake() noexcept {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, after 2^64 wakes.
    [[maybe_unused]] const auto n = ::write(wake_fd_, &one, sizeof one);
}

std::int64_t epoll::now_ns() const noexcept {
    return std::chrono::steady_clock::now().time_since_epoch().count();
}

}  // namespace

std::unique_ptr<kernel> make_epoll(blocking_pool& pool) { return std::make_unique<epoll>(pool); }

}  // namespace ringo::detail
