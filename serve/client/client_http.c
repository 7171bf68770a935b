/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_http.c - one request at a time, by libevent's HTTP client, with TLS by OpenSSL.
 */
#include "serve/client/client.h"
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A registration answers when the model is compiled; a body that is not taken is refused at once. */
enum { SECONDS = 700, REFUSAL_SECONDS = 5, LONG = 64 << 10 };

cab_status cab_client_url_read(const char *text, cab_client_url *out, cab_diag *d)
{
    char with[512];
    snprintf(with, sizeof with, "%s%s", strstr(text, "://") ? "" : "http://", text);
    struct evhttp_uri *u = evhttp_uri_parse(with);
    const char *scheme = u ? evhttp_uri_get_scheme(u) : NULL, *host = u ? evhttp_uri_get_host(u) : NULL;
    const char *path = u ? evhttp_uri_get_path(u) : NULL;
    out->secure = scheme && !strcasecmp(scheme, "https");
    bool fine = scheme && host && *host && strlen(host) < sizeof out->host && (out->secure || !strcasecmp(scheme, "http")) &&
                (!path || !*path || !strcmp(path, "/"));
    if (fine) {
        int port = evhttp_uri_get_port(u);
        out->port = port > 0 ? port : out->secure ? 443 : 80;
        size_t n = strlen(host), in = host[0] == '[';      /* an IPv6 address, which has brackets in a URL only */
        snprintf(out->host, sizeof out->host, "%.*s", (int)(n - 2 * in), host + in);
    }
    if (u)
        evhttp_uri_free(u);
    return fine ? CAB_OK : cab_fail(d, CAB_EINVAL, NULL, "'%s' is no http:// or https:// address (without a path)", text);
}

cab_status cab_client_token(const cab_client_args *a, cab_bytes *to, cab_diag *d)
{
    const char *env = getenv("CAB_TOKEN");
    char line[4096];
    if (!a->token_file) {
        cab_bytes_str(to, env ? env : "");
        return CAB_OK;
    }
    FILE *f = fopen(a->token_file, "r");
    bool fine = f && fgets(line, sizeof line, f);
    if (f)
        fclose(f);
    if (!fine)
        return cab_fail(d, CAB_EIO, NULL, "cannot read a token from %s", a->token_file);
    cab_bytes_put(to, line, strcspn(line, "\r\n"));
    return CAB_OK;
}

void cab_client_escape(const char *text, cab_bytes *to)
{
    char *escaped = evhttp_uriencode(text, -1, false);
    if (escaped)
        cab_bytes_str(to, escaped);
    else
        to->failed = true;
    free(escaped);
}

/* ---- a request ---- */

typedef struct errand {
    struct event_base *base;
    SSL_CTX *ctx;
    SSL *ssl;                  /* looked at when there is no answer */
    struct evhttp_connection *conn;
    cab_client_answer *out;
    bool answered, only_head;  /* only_head: the body is announced, not sent */
    char why[200];
} errand;

static void on_error(enum evhttp_request_error e, void *arg)
{
    errand *r = arg;
    snprintf(r->why, sizeof r->why, "%s", e == EVREQ_HTTP_TIMEOUT ? "it took too long" : e == EVREQ_HTTP_EOF
             ? "the connection was closed" : "the answer is no HTTP");
}

static void on_answer(struct evhttp_request *q, void *arg)
{
    errand *r = arg;
    if (!q || !evhttp_request_get_response_code(q))
        return;
    struct evbuffer *in = evhttp_request_get_input_buffer(q);
    const char *n = evhttp_find_header(evhttp_request_get_input_headers(q), "Inference-Header-Content-Length");
    size_t bytes = evbuffer_get_length(in);
    char *to = cab_bytes_room(&r->out->body, bytes + 1);
    r->out->status = evhttp_request_get_response_code(q);
    r->out->json_bytes = n ? atol(n) : -1;
    if (to && evbuffer_remove(in, to, bytes) >= 0)
        cab_bytes_wrote(&r->out->body, bytes);
    r->answered = true;
}

static struct bufferevent *secure_stream(errand *r, const cab_client_args *a, const cab_client_url *u, cab_diag *d)
{
    r->ctx = SSL_CTX_new(TLS_client_method());
    if (!r->ctx || !(a->ca ? SSL_CTX_load_verify_locations(r->ctx, a->ca, NULL) : SSL_CTX_set_default_verify_paths(r->ctx))) {
        cab_fail(d, CAB_EIO, NULL, "cannot read the authorities%s%s", a->ca ? " of " : "", a->ca ? a->ca : "");
        return NULL;
    }
    SSL_CTX_set_verify(r->ctx, SSL_VERIFY_PEER, NULL);
    SSL *ssl = SSL_new(r->ctx);
    if (!ssl || !SSL_set1_host(ssl, u->host) || !SSL_set_tlsext_host_name(ssl, u->host)) {
        SSL_free(ssl);
        cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
        return NULL;
    }
    SSL_up_ref(ssl);
    r->ssl = ssl;
    struct bufferevent *b = bufferevent_openssl_socket_new(r->base, -1, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (b)
        bufferevent_openssl_set_allow_dirty_shutdown(b, 1);
    return b;
}

static struct evhttp_request *make_request(errand *r, const cab_client_args *a, const cab_client_url *u,
                                           const cab_bytes *body, long json_bytes, cab_diag *d)
{
    cab_bytes token = { 0 };
    char text[300];
    struct evhttp_request *q = evhttp_request_new(on_answer, r);
    if (!q || cab_client_token(a, &token, d) != CAB_OK)
        return q;
    struct evkeyvalq *h = evhttp_request_get_output_headers(q);
    evhttp_request_set_error_cb(q, on_error);
    snprintf(text, sizeof text, strchr(u->host, ':') ? "[%s]:%d" : "%s:%d", u->host, u->port);
    evhttp_add_header(h, "Host", text);
    evhttp_add_header(h, "Connection", "close");
    if (body)
        evhttp_add_header(h, "Content-Type", json_bytes == CAB_CLIENT_ALL_JSON ? "application/json" : "application/octet-stream");
    if (json_bytes >= 0) {
        snprintf(text, sizeof text, "%ld", json_bytes);
        evhttp_add_header(h, "Inference-Header-Content-Length", text);
    }
    if (token.n) {
        cab_bytes line = { 0 };
        cab_bytes_printf(&line, "Bearer %s", cab_bytes_cstr(&token));
        evhttp_add_header(h, "Authorization", cab_bytes_cstr(&line));
        cab_bytes_fini(&line);
    }
    if (body && r->only_head) {
        snprintf(text, sizeof text, "%zu", body->n);
        evhttp_add_header(h, "Content-Length", text);
    } else if (body)
        evbuffer_add_reference(evhttp_request_get_output_buffer(q), body->p, body->n, NULL, NULL);
    cab_bytes_fini(&token);
    return q;
}

static cab_status run(errand *r, const cab_client_args *a, const char *method, const char *path, const cab_bytes *body,
                      long json_bytes, cab_diag *d)
{
    cab_client_url u;
    CAB_TRY(cab_client_url_read(a->rest[0], &u, d));
    struct bufferevent *b = u.secure ? secure_stream(r, a, &u, d) : NULL;
    if (u.secure && !b)
        return CAB_EIO;
    r->conn = evhttp_connection_base_bufferevent_new(r->base, NULL, b, u.host, (ev_uint16_t)u.port);
    struct evhttp_request *q = r->conn ? make_request(r, a, &u, body, json_bytes, d) : NULL;
    if (!q || d->n)
        return d->n ? cab_diag_first(d)->code : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    evhttp_connection_set_timeout(r->conn, r->only_head ? REFUSAL_SECONDS : SECONDS);
    if (evhttp_make_request(r->conn, q, strcmp(method, "POST") ? EVHTTP_REQ_GET : EVHTTP_REQ_POST, path))
        return cab_fail(d, CAB_EIO, NULL, "cannot ask %s", a->rest[0]);
    event_base_dispatch(r->base);
    if (r->answered)
        return r->out->body.failed ? cab_fail(d, CAB_ENOMEM, NULL, "no memory for the answer") : CAB_OK;
    long trust = r->ssl ? SSL_get_verify_result(r->ssl) : X509_V_OK;
    if (trust != X509_V_OK)
        return cab_fail(d, CAB_EIO, NULL, "%s has a certificate that is not trusted: %s", a->rest[0],
                        X509_verify_cert_error_string(trust));
    return cab_fail(d, CAB_EIO, NULL, "no answer from %s%s: %s", a->rest[0], path, *r->why ? r->why : "no connection");
}

static cab_status ask(const cab_client_args *a, const char *method, const char *path, const cab_bytes *body, long json_bytes,
                      bool only_head, cab_client_answer *out, cab_diag *d)
{
    *out = (cab_client_answer){ .json_bytes = -1 };
    errand r = { .base = event_base_new(), .out = out, .only_head = only_head };
    cab_status s = r.base ? run(&r, a, method, path, body, json_bytes, d) : cab_fail(d, CAB_ENOMEM, NULL, "no event loop");
    if (r.conn)
        evhttp_connection_free(r.conn);
    if (r.base)
        event_base_free(r.base);
    SSL_free(r.ssl);
    SSL_CTX_free(r.ctx);
    return s;
}

/* A body that is too long is refused by its head, and the answer goes under in what is still sent (libevent reads when
 * it has written); so it is asked for again, without the body. */
cab_status cab_client_ask(const cab_client_args *a, const char *method, const char *path, const cab_bytes *body,
                          long json_bytes, cab_client_answer *out, cab_diag *d)
{
    cab_status s = ask(a, method, path, body, json_bytes, false, out, d);
    if (s != CAB_EIO || !body || body->n < LONG)
        return s;
    cab_diag again;
    cab_bytes_fini(&out->body);
    cab_diag_init(&again);
    if (ask(a, method, path, body, json_bytes, true, out, &again) == CAB_OK && out->status / 100 != 2) {
        cab_diag_clear(d);
        s = CAB_OK;
    }
    cab_diag_fini(&again);
    return s;
}

cab_status cab_client_refused(const cab_client_answer *w, const char *path, cab_diag *d)
{
    json_t *o = json_loadb(w->body.p ? w->body.p : "", w->body.n, 0, NULL);
    const char *why = json_string_value(json_object_get(o, "error"));
    cab_fail(d, CAB_EIO, NULL, "%s: %d: %s", path, w->status, why ? why : "no reason given");
    json_decref(o);
    return CAB_EIO;
}

cab_status cab_client_send(const cab_client_args *a, const char *method, const char *path, const cab_bytes *body, long json_bytes,
                           json_t **out, cab_diag *d)
{
    cab_client_answer w;
    json_t *o = NULL;
    cab_status s = cab_client_ask(a, method, path, body, json_bytes, &w, d);
    if (s == CAB_OK && w.status / 100 != 2)
        s = cab_client_refused(&w, path, d);
    if (s == CAB_OK && out && !(o = json_loadb(w.body.p ? w.body.p : "", w.body.n, 0, NULL)))
        s = cab_fail(d, CAB_EIO, NULL, "%s: the answer is no JSON", path);
    if (out)
        *out = o;
    cab_bytes_fini(&w.body);
    return s;
}

cab_status cab_client_json(const cab_client_args *a, const char *method, const char *path, const json_t *body,
                           json_t **out, cab_diag *d)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body && !text)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    const cab_bytes b = { .p = text, .n = text ? strlen(text) : 0 };
    cab_status s = cab_client_send(a, method, path, body ? &b : NULL, CAB_CLIENT_ALL_JSON, out, d);
    free(text);
    return s;
}
