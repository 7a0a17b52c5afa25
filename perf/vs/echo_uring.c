// TCP echo on io_uring, one thread: the physical limit that perf/echo.py measures against.
//
// One multishot accept and one multishot receive per connection stay in the kernel. A receive
// completes into a buffer of a shared ring, and the echo is sent from that same buffer. One turn
// is one io_uring_enter: it submits the echoes of the last turn and waits for the next completions.
//
// Limit: a peer that sends and never reads can come to hold every buffer. Fine for a benchmark.
//
// usage: echo_uring PORT    (0: any free port, which the first line of output tells)

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    sqe_max = 1024,
    cqe_max = 4096,
    conn_max = 16 * 1024,
    buffer_count = 256,  // a power of two
    buffer_size = 64 * 1024,
    buffer_group = 0,
    no_buffer = UINT16_MAX,
};

enum op { op_accept, op_recv, op_send, op_close };

// States of a receive:  armed <-> starved (no buffer was free)
//                       armed  -> ended   (end of stream, or an error)
enum recv_state { recv_armed, recv_starved, recv_ended };

// Invariant: a connection has one send in flight while its queue is not empty, of the queue's
// first buffer. Two at once could overtake each other when the socket is full.
struct conn {
    enum recv_state recv_state;
    uint16_t first;
    uint16_t last;
};

// A buffer is the kernel's until a receive completes into it, then in a connection's queue until
// it is sent.
struct buffer {
    uint32_t size;
    uint32_t sent;
    uint16_t next;
};

static struct io_uring ring;
static int listen_fd;
static struct conn conns[conn_max];  // by direct descriptor
static struct buffer buffers[buffer_count];
static char* buffer_bytes;
static struct io_uring_buf_ring* buffer_ring;
static unsigned returned;  // buffers added to the ring since they were last published

static uint16_t starved[conn_max];  // first in, first out
static unsigned starved_first;
static unsigned starved_end;

static void die(const char* what, int error) {
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

static void on_signal(int signal_number) {
    (void)signal_number;
    _exit(0);
}

static void prepare_process(void) {
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) die("getrlimit", errno);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) die("setrlimit", errno);
}

static int listen_on(unsigned short port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket", errno);
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t address_size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) die("SO_REUSEADDR", errno);
    // Kernel: accepted sockets inherit TCP_NODELAY.
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) die("TCP_NODELAY", errno);
    if (bind(fd, (struct sockaddr*)&address, address_size) < 0) die("bind", errno);
    if (listen(fd, SOMAXCONN) < 0) die("listen", errno);
    if (getsockname(fd, (struct sockaddr*)&address, &address_size) < 0) die("getsockname", errno);
    printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static struct io_uring_sqe* next_sqe(void) {
    struct io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    if (sqe) return sqe;
    int result = io_uring_submit(&ring);
    if (result < 0) die("io_uring_submit", -result);
    return io_uring_get_sqe(&ring);
}

static void tag(struct io_uring_sqe* sqe, enum op op, unsigned slot) {
    sqe->user_data = (uint64_t)slot << 8 | op;
}

static void start_accept(void) {
    struct io_uring_sqe* sqe = next_sqe();
    io_uring_prep_multishot_accept_direct(sqe, listen_fd, NULL, NULL, 0);
    tag(sqe, op_accept, 0);
}

static void start_recv(unsigned slot) {
    struct io_uring_sqe* sqe = next_sqe();
    io_uring_prep_recv_multishot(sqe, (int)slot, NULL, 0, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
    tag(sqe, op_recv, slot);
    conns[slot].recv_state = recv_armed;
}

static char* bytes_of(unsigned index) { return buffer_bytes + (size_t)index * buffer_size; }

// Kernel: MSG_WAITALL makes it finish a short send itself. One can still come back short when an
// error follows; sending the rest then shows the error.
static void start_send(unsigned slot) {
    uint16_t index = conns[slot].first;
    struct buffer* buffer = &buffers[index];
    struct io_uring_sqe* sqe = next_sqe();
    io_uring_prep_send(sqe, (int)slot, bytes_of(index) + buffer->sent, buffer->size - buffer->sent,
                       MSG_NOSIGNAL | MSG_WAITALL);
    sqe->flags |= IOSQE_FIXED_FILE;
    tag(sqe, op_send, slot);
}

static void close_if_over(unsigned slot) {
    if (conns[slot].recv_state != recv_ended || conns[slot].first != no_buffer) return;
    struct io_uring_sqe* sqe = next_sqe();
    io_uring_prep_close_direct(sqe, slot);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    tag(sqe, op_close, slot);
}

static void give_back(uint16_t index) {
    io_uring_buf_ring_add(buffer_ring, bytes_of(index), buffer_size, index,
                          io_uring_buf_ring_mask(buffer_count), (int)returned++);
}

// Invariant: a starved connection is always re-armed. Every buffer was in some queue when its
// receive failed, and each comes back through here once its send has ended.
//
// Rejected: re-arming one connection per buffer. One that finds the end of its stream takes none,
// and the next would wait for a buffer that is already there.
static void publish_returned(void) {
    if (returned == 0) return;
    io_uring_buf_ring_advance(buffer_ring, (int)returned);
    returned = 0;
    while (starved_first != starved_end) start_recv(starved[starved_first++ % conn_max]);
}

static void push(unsigned slot, uint16_t index, unsigned size) {
    struct conn* conn = &conns[slot];
    buffers[index] = (struct buffer){.size = size, .next = no_buffer};
    if (conn->first == no_buffer) {
        conn->first = index;
        start_send(slot);
    } else {
        buffers[conn->last].next = index;
    }
    conn->last = index;
}

static void pop(struct conn* conn) {
    uint16_t index = conn->first;
    conn->first = buffers[index].next;
    give_back(index);
}

static void on_accept(int result, bool more) {
    if (result >= 0) {
        conns[result].first = no_buffer;
        start_recv((unsigned)result);
    } else if (result != -ECONNABORTED) {
        die("accept", -result);
    }
    if (!more) start_accept();
}

static void on_recv(unsigned slot, int result, uint32_t flags) {
    if (result > 0) push(slot, (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT), (unsigned)result);
    if (flags & IORING_CQE_F_MORE) return;
    if (result > 0) {
        start_recv(slot);
    } else if (result == -ENOBUFS) {
        conns[slot].recv_state = recv_starved;
        starved[starved_end++ % conn_max] = (uint16_t)slot;
    } else {
        conns[slot].recv_state = recv_ended;
        close_if_over(slot);
    }
}

// Kernel: what fails a send (a reset, a time-out) also ends the receive, which then closes.
static void on_send(unsigned slot, int result) {
    struct conn* conn = &conns[slot];
    struct buffer* buffer = &buffers[conn->first];
    if (result < 0) {
        while (conn->first != no_buffer) pop(conn);
    } else {
        buffer->sent += (unsigned)result;
        if (buffer->sent == buffer->size) pop(conn);
    }
    if (conn->first != no_buffer)
        start_send(slot);
    else
        close_if_over(slot);
}

static void on_completion(const struct io_uring_cqe* cqe) {
    unsigned slot = (unsigned)(cqe->user_data >> 8);
    switch ((enum op)(cqe->user_data & 0xff)) {
        case op_accept:
            on_accept(cqe->res, cqe->flags & IORING_CQE_F_MORE);
            break;
        case op_recv:
            on_recv(slot, cqe->res, cqe->flags);
            break;
        case op_send:
            on_send(slot, cqe->res);
            break;
        case op_close:
            die("close", -cqe->res);
    }
}

static void open_ring(void) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = cqe_max,
    };
    int result = io_uring_queue_init_params(sqe_max, &ring, &params);
    if (result < 0) die("io_uring_queue_init", -result);
    result = io_uring_register_ring_fd(&ring);
    if (result < 0) die("io_uring_register_ring_fd", -result);
    result = io_uring_register_files_sparse(&ring, conn_max);
    if (result < 0) die("io_uring_register_files_sparse", -result);
}

static void* map_pages(size_t size) {
    void* pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) die("mmap", errno);
    return pages;
}

static void provide_buffers(void) {
    buffer_bytes = map_pages((size_t)buffer_count * buffer_size);
    buffer_ring = map_pages(buffer_count * sizeof(struct io_uring_buf));
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)buffer_ring,
        .ring_entries = buffer_count,
        .bgid = buffer_group,
    };
    int result = io_uring_register_buf_ring(&ring, &registration, 0);
    if (result < 0) die("io_uring_register_buf_ring", -result);
    io_uring_buf_ring_init(buffer_ring);
    for (unsigned i = 0; i < buffer_count; i++) give_back((uint16_t)i);
    publish_returned();
}

int main(int argc, char** argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: echo_uring PORT\n");
        return 2;
    }
    prepare_process();
    open_ring();
    provide_buffers();
    listen_fd = listen_on((unsigned short)atoi(argv[1]));
    start_accept();

    for (;;) {
        int result = io_uring_submit_and_wait(&ring, 1);
        if (result < 0 && result != -EINTR) die("io_uring_submit_and_wait", -result);
        unsigned head, count = 0;
        struct io_uring_cqe* cqe;
        io_uring_for_each_cqe(&ring, head, cqe) {
            on_completion(cqe);
            count++;
        }
        io_uring_cq_advance(&ring, count);
        publish_returned();
    }
}
