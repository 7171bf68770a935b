/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_drive.c - bytes through serve/http/http1.h as a connection would do it.
 */
#include <stdlib.h>
#include "tests/serve/http1_drive.h"

typedef struct drive {
    http1_seen *s;
    const cab_http1_limits *lim;
    size_t most;
    char *p;                   /* of the open request */
    size_t n;
    cab_http1_head head;
    cab_http1_body body;
    bool in_body, over;
} drive;

static void say(cab_bytes *out, const char *name, cab_slice v)
{
    cab_bytes_printf(out, "%s ", name);
    if (v.p)
        cab_bytes_slice(out, v);
    cab_bytes_str(out, v.p ? "\n" : "-\n");
}

static void say_head(cab_bytes *out, const cab_http1_head *h)
{
    say(out, "method", h->method);
    say(out, "target", h->target);
    say(out, "path", h->path);
    say(out, "query", h->query);
    say(out, "authority", h->authority);
    cab_bytes_printf(out, "minor %d keep %d expect %d chunked %d length %llu\n", h->minor, h->keep_alive,
                     h->expect_continue, h->chunked, (unsigned long long)h->length);
    for (size_t i = 0; i < h->n_fields; i++) {
        cab_bytes_slice(out, h->fields[i].name);
        say(out, ":", h->fields[i].value);
    }
    cab_bytes_str(out, "body ");
}

void http1_drive_again(cab_bytes *out, const cab_http1_head *h)
{
    cab_bytes_slice(out, h->method);
    cab_bytes_char(out, ' ');
    cab_bytes_slice(out, h->target);
    cab_bytes_printf(out, " HTTP/1.%d\r\n", h->minor);
    for (size_t i = 0; i < h->n_fields; i++) {
        cab_bytes_slice(out, h->fields[i].name);
        cab_bytes_str(out, ":");
        cab_bytes_slice(out, h->fields[i].value);
        cab_bytes_str(out, "\r\n");
    }
    cab_bytes_str(out, "\r\n");
}

/* An exact copy of what is left behind at, and of the piece. */
static void refill(drive *d, size_t at, const char *piece, size_t n)
{
    size_t kept = d->n - at;
    char *p = malloc(kept + n ? kept + n : 1);
    if (!p)
        abort();
    if (kept)
        memcpy(p, d->p + at, kept);
    if (n)
        memcpy(p + kept, piece, n);
    free(d->p);
    d->p = p;
    d->n = kept + n;
}

static void refused(drive *d, int status, const char *why)
{
    d->s->status = status;
    d->s->why = why;
    d->over = true;
    cab_bytes_printf(&d->s->text, "\nrefused %d %s\n", status, why);
}

/* False when more bytes are wanted. */
static bool step_head(drive *d, size_t *at)
{
    cab_http1_got got = cab_http1_head_read(&d->head, d->lim, d->p + *at, d->n - *at);
    if (got == CAB_HTTP1_REFUSED)
        refused(d, d->head.status, d->head.why);
    if (got != CAB_HTTP1_DONE)
        return false;
    say_head(&d->s->text, &d->head);
    cab_http1_body_start(&d->body, &d->head, d->lim->body);
    *at += d->head.bytes;
    d->s->used += d->head.bytes;
    d->in_body = true;
    return true;
}

static bool step_body(drive *d, size_t *at)
{
    size_t used;
    cab_slice data;
    cab_http1_got got = cab_http1_body_read(&d->body, d->p + *at, d->n - *at, &used, &data);
    *at += used;
    d->s->used += used;
    if (got == CAB_HTTP1_DATA)
        cab_bytes_slice(&d->s->text, data);
    if (got == CAB_HTTP1_REFUSED)
        refused(d, d->body.status, d->body.why);
    if (got != CAB_HTTP1_DONE)
        return got == CAB_HTTP1_DATA;
    cab_bytes_printf(&d->s->text, "\nend %zu\n", d->s->used);
    d->s->requests++;
    d->s->closed = !d->head.keep_alive;
    d->over = d->s->closed || d->s->requests == d->most;
    d->in_body = false;
    cab_http1_head_start(&d->head);
    return !d->over;
}

void http1_drive(http1_seen *s, const char *p, size_t n, const cab_http1_limits *lim, size_t most,
                 http1_piece *piece, void *arg)
{
    drive *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    *s = (http1_seen){ .text = { 0 } };
    *d = (drive){ .s = s, .lim = lim, .most = most };
    cab_http1_head_start(&d->head);
    for (size_t at = 0, done = 0; done < n && !d->over;) {
        size_t k = piece ? piece(arg, n - done) : n;
        k = k < n - done ? k : n - done;
        refill(d, at, p + done, k);
        done += k;
        for (at = 0; d->in_body ? step_body(d, &at) : step_head(d, &at);)
            ;
        s->open = !d->over && (d->in_body || at < d->n);
    }
    cab_bytes_printf(&s->text, "open %d closed %d\n", s->open, s->closed);
    free(d->p);
    free(d);
}
