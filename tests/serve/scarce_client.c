/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scarce_client.c - a client that waits two seconds, not more.
 */
#include "tests/serve/scarce_client.h"
#include "serve/oip.pb-c.h"
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { PATIENCE_MS = 6000 };
#else
enum { PATIENCE_MS = 2000 };
#endif

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void append(answer *a, const void *p, size_t n)
{
    a->p = realloc(a->p, a->n + n + 1);
    if (!a->p)
        abort();
    memcpy(a->p + a->n, p, n);
    a->n += n;
    a->p[a->n] = 0;
}

void answer_fini(answer *a)
{
    free(a->p);
    *a = (answer){ 0 };
}

/* ---- sockets ---- */

static bool send_all(int fd, const void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        done += (size_t)k;
    }
    return true;
}

/* Bytes, 0 at the end, -1 when the time is over. */
static ssize_t receive(int fd, void *to, size_t n, long long until)
{
    long long left = until - now_ms();
    struct pollfd p = { .fd = fd, .events = POLLIN };
    if (left <= 0 || poll(&p, 1, (int)left) <= 0)
        return -1;
    ssize_t k = recv(fd, to, n, 0);
    return k > 0 ? k : 0;
}

/* ---- HTTP/1.1 ---- */

static bool send_request(client *c, const request *q)
{
    char head[1024];
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n", q->method, q->path,
                     q->fields ? q->fields : "", q->n);
    return send_all(c->fd, head, (size_t)n) && send_all(c->fd, q->body, q->n);
}

/* Bytes of the body when the head is whole; -1 before. */
static long length_of(const char *text, size_t *head)
{
    const char *end = strstr(text, "\r\n\r\n");
    if (!end)
        return -1;
    *head = (size_t)(end - text) + 4;
    const char *at = strcasestr(text, "content-length:");
    return at && at < end ? strtol(at + 15, NULL, 10) : 0;
}

static void ask_http1(client *c, const request *q, answer *a)
{
    long long until = now_ms() + PATIENCE_MS;
    char piece[65536];
    size_t head = 0;
    send_request(c, q);                /* what was answered before it was read can still be read */
    for (;;) {
        long length = a->p ? length_of((const char *)a->p, &head) : -1;
        if (length >= 0 && a->n >= head + (size_t)length) {
            a->whole = true;
            a->status = atoi((const char *)a->p + 9);
            a->closed = strcasestr((const char *)a->p, "connection: close") != NULL;
            memmove(a->p, a->p + head, a->n - head);
            a->n -= head;
            return;
        }
        ssize_t k = receive(c->fd, piece, sizeof piece, until);
        a->late = k < 0;
        a->closed = k == 0;
        if (k <= 0)
            return;
        append(a, piece, (size_t)k);
    }
}

/* ---- HTTP/2 ---- */

typedef struct stream { answer *a; const request *q; size_t sent; int32_t id; bool ended; } stream;

static ssize_t on_send(nghttp2_session *s, const uint8_t *p, size_t n, int flags, void *user)
{
    const client *c = user;
    (void)s;
    (void)flags;
    return send_all(c->fd, p, n) ? (ssize_t)n : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_n, const uint8_t *value,
                     size_t value_n, uint8_t flags, void *user)
{
    stream *t = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
    (void)flags;
    (void)user;
    if (t && name_n == 7 && !memcmp(name, ":status", 7))
        t->a->status = atoi((const char *)value);
    if (t && name_n == 11 && !memcmp(name, "grpc-status", 11))
        t->a->grpc_status = value_n ? atoi((const char *)value) : -1;
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    stream *t = nghttp2_session_get_stream_user_data(s, id);
    (void)flags;
    (void)user;
    if (t)
        append(t->a, p, n);
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
    stream *t = nghttp2_session_get_stream_user_data(s, id);
    (void)user;
    if (t) {
        t->ended = true;
        t->a->whole = code == NGHTTP2_NO_ERROR;
    }
    return 0;
}

static ssize_t on_read(nghttp2_session *s, int32_t id, uint8_t *to, size_t n, uint32_t *flags, nghttp2_data_source *source,
                       void *user)
{
    stream *t = source->ptr;
    size_t left = t->q->n - t->sent;
    (void)s;
    (void)id;
    (void)user;
    n = n < left ? n : left;
    memcpy(to, t->q->body + t->sent, n);
    t->sent += n;
    if (t->sent == t->q->n)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void open_session(client *c)
{
    nghttp2_session *s;
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb))
        abort();
    nghttp2_session_callbacks_set_send_callback(cb, on_send);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    if (nghttp2_session_client_new(&s, cb, c) || nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, NULL, 0))
        abort();
    nghttp2_session_callbacks_del(cb);
    c->session = s;
}

static nghttp2_nv pair(const char *name, const char *value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                         NGHTTP2_NV_FLAG_NONE };
}

static void ask_http2(client *c, const request *q, answer *a)
{
    long long until = now_ms() + PATIENCE_MS;
    unsigned char piece[65536];
    stream t = { .a = a, .q = q };
    const nghttp2_nv nv[] = { pair(":method", q->method), pair(":path", q->path), pair(":scheme", "http"), pair(":authority", "a"),
                              pair("content-type", q->grpc ? "application/grpc" : "application/json"), pair("te", "trailers") };
    const nghttp2_data_provider body = { .source.ptr = &t, .read_callback = on_read };
    t.id = nghttp2_submit_request(c->session, NULL, nv, 6, q->n ? &body : NULL, &t);
    a->grpc_status = -1;
    while (!t.ended && !a->closed && !a->late) {
        if (nghttp2_session_send(c->session)) {        /* the rest may still be read */
            a->closed = true;
        }
        ssize_t k = receive(c->fd, piece, sizeof piece, until);
        a->late = k < 0;
        a->closed = a->closed || k == 0 || (k > 0 && nghttp2_session_mem_recv(c->session, piece, (size_t)k) < 0);
    }
    nghttp2_session_set_stream_user_data(c->session, t.id, NULL);
    if (t.ended && !a->whole)
        a->closed = true;
    if (!nghttp2_session_want_read(c->session))        /* GOAWAY */
        a->closed = true;
}

/* ---- both ---- */

void client_open(client *c, int port, bool http2)
{
    const struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port) };
    *c = (client){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&a, sizeof a))
        abort();
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    if (http2)
        open_session(c);
}

void client_close(client *c)
{
    nghttp2_session_del(c->session);
    close(c->fd);
}

void client_ask(client *c, const request *q, answer *a)
{
    *a = (answer){ .grpc_status = -1 };
    if (c->session)
        ask_http2(c, q, a);
    else
        ask_http1(c, q, a);
    c->used = true;
}

/* ---- what answers mean ---- */

bool request_succeeded(const request *q, const answer *a)
{
    if (q->grpc)
        return a->status == 200 && a->grpc_status == q->status;
    return a->status == q->status || (q->status == 200 && a->status >= 200 && a->status < 300);
}

bool request_excused(const request *q, const answer *a)
{
    if (q->grpc && a->status == 200)
        return a->grpc_status == 8 || a->grpc_status == 13 || a->grpc_status == 14;
    return a->status >= 500;
}

static bool is_json(const answer *a)
{
    json_t *v = json_loadb((const char *)a->p, a->n, 0, NULL);
    json_decref(v);
    return v != NULL;
}

/* The messages of a stream: as many, each of them the right one or an error. */
static bool stream_agrees(const answer *a, const answer *right)
{
    size_t i = 0, k = 0;
    while (i + 5 <= a->n && k + 5 <= right->n) {
        size_t n = (size_t)a->p[i + 3] << 8 | a->p[i + 4], m = (size_t)right->p[k + 3] << 8 | right->p[k + 4];
        if (i + 5 + n > a->n)
            return false;
        Inference__ModelStreamInferResponse *r = inference__model_stream_infer_response__unpack(NULL, n, a->p + i + 5);
        bool excuse = r && *r->error_message;
        if (r)
            inference__model_stream_infer_response__free_unpacked(r, NULL);
        if (!excuse && (n != m || memcmp(a->p + i, right->p + k, n + 5)))
            return false;
        i += n + 5;
        k += m + 5;
    }
    return i == a->n && k == right->n;
}

bool request_agrees(const request *q, const answer *a)
{
    if (q->streamed)
        return stream_agrees(a, &q->right);
    switch (q->kind) {
    case KIND_BYTES: return a->n == q->right.n && (!a->n || !memcmp(a->p, q->right.p, a->n));
    case KIND_JSON: return is_json(a);
    default: return a->n > 0;
    }
}
