/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.c - a request, its answer, and whose it is.
 */
#include "serve/serve_int.h"
#include "serve/json_write.h"
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

void cab_exchange_say(cab_exchange *x, int status, const char *text)
{
    x->status = status;
    x->type = "application/json";
    cab_bytes_clear(&x->out);
    cab_bytes_str(&x->out, "{\"error\":");
    cab_json_put_text(&x->out, cab_slice_of(text));
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
    shrink(&x->scratch);
    shrink(&x->grpc_message);
    x->method = CAB_METHOD_OTHER;
    x->path = x->query = x->body = (cab_slice){ NULL, 0 };
    x->fields = NULL;
    x->n_fields = x->n_answer_fields = x->status = x->grpc_status = 0;
    x->type = NULL;
    x->http2 = x->grpc = x->given = x->answered = x->whole = x->answering = false;
    x->deadline_ns = x->arrived_ns = 0;
    x->cancel = x->release = NULL;
    x->user = NULL;
    x->conn = NULL;
    x->stream = 0;
    x->sent = x->reserved = 0;
    x->next = NULL;
}

void cab_exchange_fini(cab_exchange *x)
{
    cab_bytes_fini(&x->head);
    cab_bytes_fini(&x->body_bytes);
    cab_bytes_fini(&x->out);
    cab_bytes_fini(&x->scratch);
    cab_bytes_fini(&x->grpc_message);
}

/* The exchange whose handler this thread is in: its answer needs no inbox. */
static _Thread_local cab_exchange *handling;

void cab_exchange_answer(cab_exchange *x)
{
    if (handling == x)
        x->answered = true;
    else
        cab_loop_post(x->loop, x);
}

bool cab_exchange_handle(cab_exchange *x)
{
    cab_exchange *outer = handling;
    x->given = true;
    handling = x;
    x->server->handle(x->server, x);
    handling = outer;
    /* Written by this thread only: whoever else has x posts it to the inbox, which this thread empties. */
    return x->answered;
}
