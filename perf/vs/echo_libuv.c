// TCP echo on libuv, one thread.
//
// As its guide does it, and faster: a connection has one buffer instead of one for each read, and
// what the socket takes at once needs no write request.
//
// usage: echo_libuv PORT    (0: any free port, which the first line of output tells)

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { buffer_size = 16 * 1024, backlog = 4096 };

// Invariant: it does not read while it owes its peer bytes, so one buffer is enough.
struct conn {
    uv_tcp_t tcp;
    uv_write_t write;
    char buffer[buffer_size];
};

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buf);

static void on_close(uv_handle_t* handle) { free(handle->data); }

static void close_conn(struct conn* conn) {
    if (!uv_is_closing((uv_handle_t*)&conn->tcp)) uv_close((uv_handle_t*)&conn->tcp, on_close);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
    (void)suggested;
    struct conn* conn = handle->data;
    *buf = uv_buf_init(conn->buffer, buffer_size);
}

static void read_on(struct conn* conn) {
    if (uv_read_start((uv_stream_t*)&conn->tcp, on_alloc, on_read) != 0) close_conn(conn);
}

static void on_written(uv_write_t* write, int status) {
    if (status == 0)
        read_on(write->data);
    else
        close_conn(write->data);
}

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buf) {
    struct conn* conn = stream->data;
    if (size == 0) return;
    if (size < 0) {
        close_conn(conn);
        return;
    }
    uv_buf_t rest = uv_buf_init(buf->base, (unsigned)size);
    int sent = uv_try_write(stream, &rest, 1);
    if (sent == size) return;
    if (sent > 0) rest = uv_buf_init(buf->base + sent, (unsigned)(size - sent));
    uv_read_stop(stream);
    conn->write.data = conn;
    if (uv_write(&conn->write, stream, &rest, 1, on_written) != 0) close_conn(conn);
}

static void on_connection(uv_stream_t* listener, int status) {
    if (status < 0) return;
    struct conn* conn = malloc(sizeof *conn);
    if (!conn) return;
    uv_tcp_init(listener->loop, &conn->tcp);
    conn->tcp.data = conn;
    if (uv_accept(listener, (uv_stream_t*)&conn->tcp) != 0) {
        close_conn(conn);
        return;
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    read_on(conn);
}

int main(int argc, char** argv) {
    struct sockaddr_in address;
    int length = sizeof address;
    uv_tcp_t listener;
    uv_loop_t* loop = uv_default_loop();
    uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0, &address);
    uv_tcp_init(loop, &listener);
    uv_tcp_bind(&listener, (struct sockaddr*)&address, 0);
    int status = uv_listen((uv_stream_t*)&listener, backlog, on_connection);
    if (status < 0) {
        fprintf(stderr, "echo_libuv: %s\n", uv_strerror(status));
        return 1;
    }
    uv_tcp_getsockname(&listener, (struct sockaddr*)&address, &length);
    printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
