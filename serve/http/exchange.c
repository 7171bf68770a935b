/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.c - a request, its answer, and whose it is.
 */
#include "serve/http/server.h"
#include "serve/json/json_pull.h"
#include <stdarg.h>
#include <stdio.h>

static const char *const method_names[CAB_METHOD_COUNT] = {
    [CAB_METHOD_OTHER] = "?", [CAB_METHOD_GET] = "GET", [CAB_METHOD_HEAD] = "HEAD",
    [CAB_METHOD_POST] = "POST", [CAB_METHOD_PUT] = "PUT", [CAB_METHOD_DELETE] = "DELETE",
    [CAB_METHOD_OPTIONS] = "OPTIONS",
};

cab_method cab_method_of(cab_slice name)
{
    for (int m = CAB_METHOD_GET; m < CAB_METHOD_COUNT; m++)
        if (cab_slice_is(name, method_names[m]))
            return (cab_method)m;
    return CAB_METHOD_OTHER;
}

const char *cab_method_name(cab_method m)
{
    return method_names[m];
}

cab_slice cab_exchange_field(const cab_exchange *x, const char *name)
{
    for (int i = 0; i < x->n_fields; i++)
        if (cab_slice_is(x->fields[i].name, name))
            return x->fields[i].value;
    return (cab_slice){ NULL, 0 };
}

void cab_exchange_put_field(cab_exchange *x, const char *name, cab_slice value)
{
    if (x->n_answer_fields < CAB_ANSWER_FIELDS)
        x->answer_fields[x->n_answer_fields++] = (cab_field){ cab_slice_of(name), value };
}

/* Status codes of gRPC (google.rpc.Code). */
static int grpc_status(int status)
{
    static const struct { int http, grpc; } rows[] = {
        { 400, 3 }, { 401, 16 }, { 403, 7 }, { 404, 5 }, { 405, 12 }, { 408, 4 }, { 409, 6 }, { 413, 8 },
        { 422, 9 }, { 429, 8 }, { 431, 8 }, { 499, 1 }, { 501, 12 }, { 503, 14 }, { 504, 4 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].http == status)
            return rows[i].grpc;
    return 13;
}

void cab_exchange_end(cab_exchange *x, int status, const char *text)
{
    x->status = status;
    x->type = "application/grpc";
    x->grpc_status = grpc_status(status);
    cab_bytes_clear(&x->grpc_message);
    cab_json_put_utf8(&x->grpc_message, cab_slice_of(text));
}

void cab_exchange_say(cab_exchange *x, int status, const char *text)
{
    cab_bytes_clear(&x->out);
    if (status >= 500)
        x->why = cab_pieces_text(&x->mem, cab_slice_of(text));
    if (x->grpc) {
        cab_exchange_end(x, status, text);
        return;
    }
    x->status = status;
    x->type = "application/json";
    cab_bytes_str(&x->out, "{\"error\":");
    cab_json_put_string(&x->out, cab_slice_of(text));
    cab_bytes_char(&x->out, '}');
}

void cab_exchange_refuse(cab_exchange *x, int status, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cab_exchange_say(x, status, text);
    cab_exchange_answer(x);
}

void cab_exchange_fail(cab_exchange *x, const cab_diag *d)
{
    static const struct { cab_status code; int status; } rows[] = {
        { CAB_EINVAL, 400 }, { CAB_EPARSE, 400 }, { CAB_EMODEL, 422 }, { CAB_EUNSUPPORTED, 422 }, { CAB_EINPUT, 400 },
        { CAB_EARTIFACT, 422 }, { CAB_ENOTFOUND, 404 }, { CAB_ECONFLICT, 409 }, { CAB_ELIMIT, 422 }, { CAB_ENOMEM, 503 },
        { CAB_EDEADLINE, 422 }, { CAB_ECANCELLED, 503 },
    };
    const cab_diag_entry *e = cab_diag_first(d);
    cab_bytes b = { .limit = 4096 };
    int status = 500;
    for (size_t i = 0; e && i < sizeof rows / sizeof *rows; i++)
        status = rows[i].code == e->code ? rows[i].status : status;
    cab_bytes_printf(&b, "%s%s%s", e ? e->where : "", e && *e->where ? ": " : "", e ? e->text : "an error without a story");
    for (int i = 0; e && i < e->n_notes; i++)
        cab_bytes_printf(&b, "; %s", e->notes[i]);
    cab_exchange_refuse(x, status, "%s", cab_bytes_cstr(&b));
    cab_bytes_fini(&b);
}

void cab_exchange_done(cab_exchange *x)
{
    x->status = 200;
    x->type = NULL;
    cab_bytes_clear(&x->out);
    if (x->grpc) {                     /* an empty message */
        x->type = "application/grpc";
        cab_bytes_put(&x->out, "\0\0\0\0", CAB_GRPC_PREFIX);
    }
    cab_exchange_answer(x);
}

void cab_exchange_name(cab_exchange *x, const char *model, int64_t version)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)version);
    const char *name = cab_pieces_text(&x->mem, cab_slice_of(model)), *text = cab_pieces_text(&x->mem, cab_slice_of(number));
    x->model = cab_slice_of(name ? name : "");
    x->version = cab_slice_of(version && text ? text : "");
    x->known = true;
}

/* Memory of ordinary size stays for the next request. */
static void shrink(cab_bytes *b)
{
    enum { KEEP = 64 << 10 };
    if (b->cap > KEEP)
        cab_bytes_fini(b);
    else
        cab_bytes_clear(b);
}

void cab_exchange_reset(cab_exchange *x)
{
    shrink(&x->head);
    shrink(&x->body_bytes);
    shrink(&x->out);
    cab_pieces_reset(&x->mem);
    shrink(&x->grpc_message);
    x->method = CAB_METHOD_OTHER;
    x->path = x->query = x->body = (cab_slice){ NULL, 0 };
    x->fields = NULL;
    x->n_fields = x->n_answer_fields = x->status = x->grpc_status = 0;
    x->type = NULL;
    x->http2 = x->grpc = x->given = x->answered = x->whole = x->answering =
        x->streamed = x->is_part = x->away = x->ready = x->over = false;
    x->pace = CAB_PACE_NONE;
    atomic_store(&x->gone, false);
    x->resume = NULL;
    x->resume_arg = NULL;
    x->part = x->parent = NULL;
    x->deadline_ns = x->since_ns = x->begun_ns = x->arrived_ns = 0;
    x->cancel = x->release = NULL;
    x->route = x->who = x->peer = x->why = NULL;
    x->model = x->version = (cab_slice){ NULL, 0 };
    x->loaded = NULL;
    x->known = x->changes = false;
    x->user = NULL;
    x->conn = NULL;
    x->stream = 0;
    x->came = x->sent = x->reserved = x->moved = x->taken = x->held = 0;
    x->next = x->next_stream = NULL;
}

void cab_exchange_fini(cab_exchange *x)
{
    cab_bytes_fini(&x->head);
    cab_bytes_fini(&x->body_bytes);
    cab_bytes_fini(&x->out);
    cab_pieces_fini(&x->mem);
    cab_bytes_fini(&x->grpc_message);
}

/* The exchange whose handler this thread is in: its answer needs no inbox. */
static _Thread_local cab_exchange *handling;

void cab_exchange_answer(cab_exchange *x)
{
    if (handling == x) {
        x->answered = true;
        return;
    }
    if (x->server->pack)
        x->server->pack(x, false);
    cab_loop_post(x->loop, x);
}

/* What a handler leaves on the I/O thread: true: an answer to be sent now.
 * `answered` is a worker's while x is away; else written by this thread only: whoever else has x posts it to the
 * inbox, which this thread empties. */
static bool is_ready(cab_exchange *x)
{
    bool ready = !x->away && x->answered && (!x->server->pack || x->server->pack(x, true));
    x->loop->given += !ready;
    return ready;
}

bool cab_exchange_handle(cab_exchange *x)
{
    cab_exchange *outer = handling;
    x->given = true;
    handling = x;
    x->server->handle(x->server, x);
    handling = outer;
    return is_ready(x);
}

bool cab_exchange_opens(cab_exchange *x)
{
    cab_exchange *outer = handling;
    handling = x;
    bool opens = !x->server->opens || x->server->opens(x);
    handling = outer;
    return opens;
}

/* ---- workers ---- */

void cab_exchange_then(cab_exchange *x, void (*next)(cab_exchange *x), void *arg)
{
    x->resume_arg = arg;
    if (x->away)
        x->resume = next;
    else
        next(x);
}

void cab_exchange_work(cab_exchange *x, void (*work)(cab_exchange *x))
{
    handling = x;
    if (!atomic_load(&x->gone) && !x->answered)
        work(x);
    if (!atomic_load(&x->gone) && x->answered && x->server->pack)
        x->server->pack(x, false);
    handling = NULL;
    cab_loop_post(x->loop, x);
}

bool cab_exchange_resume(cab_exchange *x)
{
    void (*next)(cab_exchange *x) = x->resume;
    x->away = false;
    x->resume = NULL;
    if (!next && !x->answered)
        cab_exchange_say(x, 500, "the request was forgotten");
    if (!next)
        return true;
    cab_exchange *outer = handling;
    handling = x;
    next(x);
    handling = outer;
    return is_ready(x);
}

void cab_exchange_abandon(cab_exchange *x)
{
    x->conn = NULL;
    atomic_store(&x->gone, true);
    if (!x->away && x->cancel)
        x->cancel(x);
}
