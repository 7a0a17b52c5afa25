// Load for a TCP echo server, one thread on epoll: every connection sends one message, waits for
// the whole echo, compares it, and starts again.
//
// It warms up, lets every echo come home, prints `go`, stays quiet for a moment (in which
// perf/echo.py reads the server's CPU time), measures, and prints one line of JSON. It is quiet
// again once that line is out, so the CPU time between both belongs to the counted requests alone.
//
// once: each message has a connection of its own, and CONNECTIONS of them are open at a time.
//
// usage: echo_client 127.0.0.1:PORT CONNECTIONS MESSAGE_BYTES SECONDS [once]
// exit:  0 all echoes right; 1 a wrong, missing or lost one; 2 usage

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    event_batch_max = 256,
    connections_max = 20 * 1000,
    message_max = 16 * 1024 * 1024,
    seconds_max = 600,
    scratch_size = 64 * 1024,
    pattern_shifts = 4096,  // a power of two
    warm_up_ms = 300,
    quiet_ms = 50,
    patience_ms = 5000,   // for a connect, and for the last echoes of a phase
    bucket_bits = 5,      // 32 buckets per power of two: 3 % wide
    bucket_count = 2048,  // more than any 64-bit value needs
};

// Invariant: `message` is a window of the pattern that moves with each request, so the echo of
// another request or another connection is not mistaken for the right one.
struct conn {
    int fd;  // -1 once it has failed
    const char* message;
    size_t sent;
    size_t received;
    uint64_t started_ns;
};

static struct conn* conns;
static unsigned conn_count;
static size_t message_size;
static struct sockaddr_in address;
static bool once;
static char* pattern;
static char scratch[scratch_size];
static int epoll_fd;

static unsigned waiting;  // connections whose echo has not come home
static uint64_t stop_ns;  // no request starts after it
static uint64_t requests;
static uint64_t errors;
static uint64_t checksum;  // of the bytes received
static uint64_t histogram[bucket_count];

static void die(const char* what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t ms_to_ns(uint64_t ms) { return ms * 1000000; }

static uint64_t next_random(void) {
    static uint64_t state = 0x9e3779b97f4a7c15;  // xorshift64
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

// Values below 2^(bits+1) have a bucket each; above, each power of two has 2^bits buckets.
static unsigned bucket_of(uint64_t ns) {
    if (ns < 2u << bucket_bits) return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - bucket_bits;
    return (shift << bucket_bits) + (unsigned)(ns >> shift);
}

static uint64_t bucket_start_ns(unsigned bucket) {
    if (bucket < 2u << bucket_bits) return bucket;
    unsigned shift = (bucket >> bucket_bits) - 1;
    return (uint64_t)(bucket - (shift << bucket_bits)) << shift;
}

static double percentile_us(double share) {
    uint64_t rank = (uint64_t)(share * (double)requests);
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < bucket_count; bucket++) {
        seen += histogram[bucket];
        if (seen > rank)
            return (double)(bucket_start_ns(bucket) + bucket_start_ns(bucket + 1)) / 2000;
    }
    return 0;
}

static void fail(struct conn* conn, const char* why) {
    if (errors++ == 0) fprintf(stderr, "echo_client: %s\n", why);
    close(conn->fd);
    conn->fd = -1;
    waiting--;
}

// Returns false once the connection has failed.
static bool send_rest(struct conn* conn) {
    while (conn->sent < message_size) {
        const char* rest = conn->message + conn->sent;
        ssize_t sent = send(conn->fd, rest, message_size - conn->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return true;
        if (sent < 0) {
            fail(conn, strerror(errno));
            return false;
        }
        conn->sent += (size_t)sent;
    }
    return true;
}

static void start_request(struct conn* conn, uint64_t start_ns) {
    conn->message = pattern + (next_random() & (pattern_shifts - 1));
    conn->sent = 0;
    conn->received = 0;
    conn->started_ns = start_ns;
    waiting++;
    send_rest(conn);
}

static void open_conn(struct conn* conn) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};
    struct timeval patience = {.tv_sec = patience_ms / 1000};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) die("TCP_NODELAY");
    // Kernel: SO_SNDTIMEO bounds connect too, and means nothing once the socket does not block.
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0) die("SO_SNDTIMEO");
    if (connect(fd, (const struct sockaddr*)&address, sizeof address) < 0) die("connect");
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) die("fcntl");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
    conn->fd = fd;
    conn->received = message_size;  // no request under way
}

static void finish_request(struct conn* conn) {
    uint64_t end_ns = now_ns();
    waiting--;
    requests++;
    histogram[bucket_of(end_ns - conn->started_ns)]++;
    if (end_ns >= stop_ns) return;
    if (once) {
        close(conn->fd);
        open_conn(conn);
        end_ns = now_ns();
    }
    start_request(conn, end_ns);
}

static bool check(struct conn* conn, size_t size) {
    if (size > message_size - conn->received) return false;
    if (memcmp(scratch, conn->message + conn->received, size) != 0) return false;
    for (size_t i = 0; i < size; i++) checksum += (unsigned char)scratch[i];
    conn->received += size;
    return true;
}

// Why: it asks for one byte more than is due, so that a server that says too much is caught.
static void receive(struct conn* conn) {
    while (conn->received < message_size) {
        size_t due = message_size - conn->received + 1;
        ssize_t size = recv(conn->fd, scratch, due < scratch_size ? due : scratch_size, 0);
        if (size < 0 && errno == EAGAIN) return;
        if (size <= 0) {
            fail(conn, size == 0 ? "the server closed a connection" : strerror(errno));
            return;
        }
        if (!check(conn, (size_t)size)) {
            fail(conn, "wrong echo");
            return;
        }
    }
    finish_request(conn);
}

// Why: edge-triggered, so both directions are watched without a system call per change. The edge
// after each arrival makes up for the recv that is not repeated until EAGAIN.
static void on_ready(struct conn* conn) {
    if (conn->fd < 0) return;
    if (conn->received == message_size) return;  // no request under way
    if (send_rest(conn)) receive(conn);
}

// Every connection works for `duration_ns`, then the echoes under way come home. Returns the time
// that both took.
static uint64_t run_phase(uint64_t duration_ns) {
    struct epoll_event events[event_batch_max];
    uint64_t start_ns = now_ns();
    stop_ns = start_ns + duration_ns;
    for (unsigned i = 0; i < conn_count; i++)
        if (conns[i].fd >= 0) start_request(&conns[i], now_ns());
    while (waiting > 0) {
        int count = epoll_wait(epoll_fd, events, event_batch_max, patience_ms);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) on_ready(events[i].data.ptr);
        if (count == 0 || now_ns() > stop_ns + ms_to_ns(patience_ms)) break;
    }
    for (unsigned i = 0; waiting > 0; i++)
        if (conns[i].fd >= 0 && conns[i].received < message_size) fail(&conns[i], "missing echo");
    return now_ns() - start_ns;
}

static bool parse_address(const char* text) {
    char host[INET_ADDRSTRLEN];
    unsigned port;
    char excess;
    if (sscanf(text, "%15[0-9.]:%u%c", host, &port, &excess) != 2) return false;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (port == 0 || port > UINT16_MAX) return false;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return false;
    return ntohl(address.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool parse_size(const char* text, size_t max, size_t* size) {
    char* end;
    *size = strtoul(text, &end, 10);
    return *end == '\0' && *size > 0 && *size <= max;
}

static bool parse_seconds(const char* text, double* seconds) {
    char* end;
    *seconds = strtod(text, &end);
    return *end == '\0' && *seconds > 0 && *seconds <= seconds_max;
}

static void prepare(size_t connections) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) die("setrlimit");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) die("epoll_create1");
    conn_count = (unsigned)connections;
    conns = calloc(conn_count, sizeof *conns);
    pattern = malloc(message_size + pattern_shifts);
    if (!conns || !pattern) die("malloc");
    for (size_t i = 0; i < message_size + pattern_shifts; i++) pattern[i] = (char)next_random();
}

static void forget_warm_up(void) {
    requests = 0;
    checksum = 0;
    memset(histogram, 0, sizeof histogram);
}

static void report(uint64_t elapsed_ns) {
    double seconds = (double)elapsed_ns / 1e9;
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"rps\": %.1f, ", (unsigned long long)requests,
           seconds, (double)requests / seconds);
    printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, ", percentile_us(0.5),
           percentile_us(0.99), percentile_us(0.999));
    printf("\"errors\": %llu, \"checksum\": %llu}\n", (unsigned long long)errors,
           (unsigned long long)checksum);
    fflush(stdout);
}

int main(int argc, char** argv) {
    size_t connections;
    double seconds;
    once = argc == 6 && strcmp(argv[5], "once") == 0;
    if ((argc != 5 && !once) || !parse_address(argv[1]) ||
        !parse_size(argv[2], connections_max, &connections) ||
        !parse_size(argv[3], message_max, &message_size) || !parse_seconds(argv[4], &seconds)) {
        fprintf(stderr,
                "usage: echo_client 127.0.0.1:PORT CONNECTIONS MESSAGE_BYTES SECONDS [once]\n");
        return 2;
    }
    prepare(connections);
    for (unsigned i = 0; i < conn_count; i++) open_conn(&conns[i]);

    run_phase(ms_to_ns(warm_up_ms));
    forget_warm_up();
    puts("go");
    fflush(stdout);
    usleep(quiet_ms * 1000);
    report(run_phase((uint64_t)(seconds * 1e9)));
    usleep(quiet_ms * 1000);
    return errors > 0 || requests == 0;
}
