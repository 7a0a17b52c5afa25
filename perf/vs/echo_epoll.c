// TCP echo on level-triggered epoll, one thread: the plain C that perf/echo.py measures against.
//
// One turn is one epoll_wait, then one recv and one send for each ready connection.
//
// usage: echo_epoll PORT    (0: any free port, which the first line of output tells)

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { event_batch_max = 256, buffer_size = 64 * 1024 };

// Invariant: a connection that owes its peer bytes waits for EPOLLOUT only. A peer that does not
// read is not read from either, so it holds at most one buffer.
struct conn {
    int fd;
    char* owed;
    size_t owed_size;
    size_t owed_sent;
};

static char buffer[buffer_size];
static int epoll_fd;
static int listen_fd;

static void die(const char* what) {
    perror(what);
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
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) die("setrlimit");
}

static int listen_on(unsigned short port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t address_size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) die("SO_REUSEADDR");
    // Kernel: accepted sockets inherit TCP_NODELAY.
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) die("TCP_NODELAY");
    if (bind(fd, (struct sockaddr*)&address, address_size) < 0) die("bind");
    if (listen(fd, SOMAXCONN) < 0) die("listen");
    if (getsockname(fd, (struct sockaddr*)&address, &address_size) < 0) die("getsockname");
    printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void watch(struct conn* conn, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = conn};
    int fd = conn ? conn->fd : listen_fd;
    if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) die("epoll_ctl");
}

static void accept_all(void) {
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN) return;
        if (fd < 0 && errno == ECONNABORTED) continue;
        if (fd < 0) die("accept4");
        struct conn* conn = calloc(1, sizeof *conn);
        if (!conn) die("calloc");
        conn->fd = fd;
        watch(conn, EPOLL_CTL_ADD, EPOLLIN);
    }
}

// Why: no event of this batch can still name `conn`, because epoll reports a descriptor once.
static void close_conn(struct conn* conn) {
    close(conn->fd);
    free(conn->owed);
    free(conn);
}

// Returns how many bytes the socket took, 0 when it is full, -1 when the peer is gone.
static ssize_t send_some(struct conn* conn, const char* data, size_t size) {
    ssize_t sent = send(conn->fd, data, size, MSG_NOSIGNAL);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void owe(struct conn* conn, const char* data, size_t size) {
    conn->owed = malloc(size);
    if (!conn->owed) die("malloc");
    memcpy(conn->owed, data, size);
    conn->owed_size = size;
    conn->owed_sent = 0;
    watch(conn, EPOLL_CTL_MOD, EPOLLOUT);
}

// Both return false when the connection is over.
static bool echo(struct conn* conn) {
    ssize_t size = recv(conn->fd, buffer, sizeof buffer, 0);
    if (size < 0) return errno == EAGAIN;
    if (size == 0) return false;
    ssize_t sent = send_some(conn, buffer, (size_t)size);
    if (sent < 0) return false;
    if (sent < size) owe(conn, buffer + sent, (size_t)(size - sent));
    return true;
}

static bool send_owed(struct conn* conn) {
    size_t rest = conn->owed_size - conn->owed_sent;
    ssize_t sent = send_some(conn, conn->owed + conn->owed_sent, rest);
    if (sent < 0) return false;
    conn->owed_sent += (size_t)sent;
    if (conn->owed_sent < conn->owed_size) return true;
    free(conn->owed);
    conn->owed = NULL;
    watch(conn, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

// Why: the event's bits are not looked at. Errors and hang-ups show in the recv or send.
static void on_ready(struct conn* conn) {
    if (!conn) {
        accept_all();
        return;
    }
    bool alive = conn->owed ? send_owed(conn) : echo(conn);
    if (!alive) close_conn(conn);
}

int main(int argc, char** argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: echo_epoll PORT\n");
        return 2;
    }
    prepare_process();
    listen_fd = listen_on((unsigned short)atoi(argv[1]));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) die("epoll_create1");
    watch(NULL, EPOLL_CTL_ADD, EPOLLIN);

    struct epoll_event events[event_batch_max];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, event_batch_max, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) on_ready(events[i].data.ptr);
    }
}
