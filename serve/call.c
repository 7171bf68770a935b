/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.c - an inference request from its inputs to its answer.
 */
#include "serve/call.h"
#include "base/log.h"
#include "serve/classes.h"
#include "serve/json/json_tensor.h"
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- life ---- */

static void cancel(cab_exchange *x)
{
    cab_infer *q = x->user;
    if (q->submitted)
        cab_call_cancel(&q->call);
}

static void release(cab_exchange *x)
{
    cab_infer *q = x->user;
    if (q->submitted)
        cab_call_release(&q->call);
    for (int i = 0; i < q->n_wanted; i++)
        cab_bytes_fini(&q->wanted[i].texts);
    cab_resident_unref(q->loaded);
}

static void say_full(cab_exchange *x)
{
    cab_exchange_say(x, 429, "the model's queue is full");
    cab_exchange_put_field(x, "retry-after", CAB_SLICE("1"));
}

cab_infer *cab_infer_begin(cab_exchange *x, cab_resident *l, bool (*encode)(cab_infer *q))
{
    if (cab_served_turns_away(l->served)) {
        cab_exchange_name(x, l->name, l->version);
        cab_resident_unref(l);
        say_full(x);
        cab_exchange_answer(x);
        return NULL;
    }
    cab_infer *q = cab_pieces_zero(&x->mem, 1, sizeof *q);
    size_t in = (size_t)l->n_inputs, out = (size_t)l->n_outputs;
    if (q) {
        q->inputs = cab_pieces_zero(&x->mem, in, sizeof *q->inputs);
        q->outputs = cab_pieces_zero(&x->mem, out, sizeof *q->outputs);
        q->wanted = cab_pieces_zero(&x->mem, out, sizeof *q->wanted);
    }
    if (!q || !q->inputs || !q->outputs || !q->wanted) {
        cab_resident_unref(l);
        cab_exchange_refuse(x, 503, "out of memory");
        return NULL;
    }
    q->x = x;
    q->loaded = l;
    q->encode = encode;
    x->user = q;
    x->loaded = l;
    x->cancel = cancel;
    x->release = release;
    return q;
}

bool cab_infer_fault(cab_infer *q, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(q->why, sizeof q->why, fmt, ap);
    va_end(ap);
    return false;
}

bool cab_infer_starve(cab_infer *q)
{
    q->starved = true;
    return cab_infer_fault(q, "out of memory");
}

void cab_infer_refuse(cab_infer *q)
{
    cab_exchange_refuse(q->x, q->starved ? 503 : 400, "%s", q->why);
}

/* ---- inputs and outputs ---- */

static int find(const cab_tensor_info *t, int n, cab_slice name)
{
    for (int i = 0; i < n; i++)
        if (cab_slice_is(name, t[i].name))
            return i;
    return -1;
}

static bool fits(cab_infer *q, const cab_tensor_info *t, int dtype, int rank, const int64_t *dims)
{
    if (dtype != t->dtype)
        return cab_infer_fault(q, "inference input '%s' data-type is '%s', but model '%s' expects '%s'", t->name,
                               cab_json_type_name(dtype), q->loaded->name, cab_json_type_name(t->dtype));
    bool same = rank == t->rank;
    for (int i = 0; same && i < rank; i++)
        same = t->dims[i] < 0 || t->dims[i] == dims[i];
    if (same)
        return true;
    char got[200], want[200];
    cab_shape_text(got, sizeof got, rank, dims);
    cab_shape_text(want, sizeof want, t->rank, t->dims);
    return cab_infer_fault(q, "unexpected shape for input '%s' for model '%s'. Expected %s, got %s", t->name,
                           q->loaded->name, want, got);
}

/* max_batch holds for each request, whether batches are made of several or not. */
static bool batch_fits(cab_infer *q, const cab_tensor_info *t, int rank, const int64_t *dims)
{
    const cab_resident *l = q->loaded;
    return !l->max_batch || !rank || (dims[0] > 0 && dims[0] <= l->max_batch) ? true
         : cab_infer_fault(q, "inference request batch-size must be > 0 and <= %lld for '%s', input '%s' has %lld rows",
                           (long long)l->max_batch, l->name, t->name, (long long)dims[0]);
}

void cab_shape_text(char *to, size_t n, int rank, const int64_t *dims)
{
    size_t used = (size_t)snprintf(to, n, "[");
    for (int i = 0; i < rank && used < n; i++)
        used += (size_t)snprintf(to + used, n - used, "%s%lld", i ? "," : "", (long long)dims[i]);
    if (used < n)
        snprintf(to + used, n - used, "]");
}

static int find_input(cab_infer *q, cab_slice name)
{
    int i = find(q->loaded->inputs, q->loaded->n_inputs, name);
    if (i < 0)
        cab_infer_fault(q, "unexpected inference input '%.*s' for model '%s'", (int)(name.n < 100 ? name.n : 100), name.p,
                        q->loaded->name);
    return i;
}

int cab_infer_type(cab_infer *q, cab_slice name, cab_slice datatype)
{
    int dtype = cab_json_type_of(datatype), i = dtype ? 0 : find_input(q, name);
    if (dtype || i < 0)
        return dtype;
    const cab_tensor_info *t = &q->loaded->inputs[i];
    bool texts = cab_slice_is(datatype, "BYTES");
    cab_infer_fault(q, "inference input '%s' data-type is '%.*s', but model '%s' expects '%s'%s", t->name,
                    (int)(datatype.n < 20 ? datatype.n : 20), datatype.p, q->loaded->name, cab_json_type_name(t->dtype),
                    texts ? ": no model takes texts here" : "");
    return 0;
}

cab_tensor_view *cab_infer_input(cab_infer *q, cab_slice name, int dtype, int rank, const int64_t *dims)
{
    const cab_resident *l = q->loaded;
    int i = find_input(q, name);
    if (i < 0)
        return NULL;
    cab_tensor_view *v = &q->inputs[i];
    if (v->dtype) {
        cab_infer_fault(q, "input '%s' is given twice", l->inputs[i].name);
        return NULL;
    }
    if (!fits(q, &l->inputs[i], dtype, rank, dims) || !batch_fits(q, &l->inputs[i], rank, dims))
        return NULL;
    v->rank = rank;
    for (int k = 0; k < rank; k++)
        v->dims[k] = dims[k];
    v->dtype = dtype;
    v->bytes = cab_tensor_bytes(dtype, rank, dims);
    if (v->bytes == SIZE_MAX) {
        cab_infer_fault(q, "the extents of input '%s' are too large", l->inputs[i].name);
        return NULL;
    }
    return v;
}

bool cab_infer_room(cab_infer *q, cab_tensor_view *v)
{
    v->data = cab_pieces_take(&q->x->mem, v->bytes ? v->bytes : 1);
    return v->data ? true : cab_infer_starve(q);
}

bool cab_infer_raw(cab_infer *q, cab_tensor_view *v, const void *p, size_t n)
{
    const char *name = q->loaded->inputs[v - q->inputs].name;
    if (n != v->bytes)
        return cab_infer_fault(q, "unexpected total byte size %zu for input '%s', expecting %zu", n, name, v->bytes);
    if (n && (uintptr_t)p % 64 == 0) {           /* nothing has data, too: somewhere */
        v->data = (void *)(uintptr_t)p;
        return true;
    }
    if (!cab_infer_room(q, v))
        return false;
    if (n)
        memcpy(v->data, p, n);
    return true;
}

cab_wanted *cab_infer_want(cab_infer *q, cab_slice name)
{
    const cab_resident *l = q->loaded;
    int i = find(l->outputs, l->n_outputs, name);
    if (i < 0) {
        cab_infer_fault(q, "unexpected inference output '%.*s' for model '%s'",
                        (int)(name.n < 100 ? name.n : 100), name.p, l->name);
        return NULL;
    }
    for (int k = 0; k < q->n_wanted; k++)
        if (q->wanted[k].output == i) {
            cab_infer_fault(q, "output '%s' is asked for twice", l->outputs[i].name);
            return NULL;
        }
    cab_wanted *w = &q->wanted[q->n_wanted++];
    *w = (cab_wanted){ .output = i };
    return w;
}

bool cab_infer_classes(cab_infer *q, cab_wanted *w, int64_t k)
{
    const cab_tensor_info *t = &q->loaded->outputs[w->output];
    if (!cab_classes_known(t->dtype))
        return cab_infer_fault(q, "output '%s': there is no classification of %s", t->name, cab_json_type_name(t->dtype));
    w->classes = k;
    return true;
}

bool cab_infer_answer(const cab_infer *q, int i, cab_answer *out)
{
    const cab_wanted *w = i < q->n_wanted ? &q->wanted[i] : NULL;
    if (i >= (q->n_wanted ? q->n_wanted : q->loaded->n_outputs))
        return false;
    int output = w ? w->output : i;
    const cab_tensor_view *v = &q->outputs[output];
    *out = (cab_answer){ .name = q->loaded->outputs[output].name, .datatype = cab_json_type_name(v->dtype), .dtype = v->dtype,
                         .binary = w && w->said ? w->binary : q->binary_outputs, .rank = v->rank, .dims = v->dims,
                         .data = v->data, .bytes = cab_tensor_bytes(v->dtype, v->rank, v->dims) };
    if (!w || !w->classes)
        return true;
    bool rows = q->loaded->max_batch > 0 && v->rank > 0;
    out->datatype = "BYTES";
    out->dtype = 0;
    out->rank = rows ? 2 : 1;
    out->dims = rows ? w->dims : w->dims + 1;
    out->data = w->texts.p ? w->texts.p : "";
    out->bytes = w->texts.n;
    return true;
}

/* ---- the run ---- */

static int status_of(int code)
{
    static const struct { int code, status; } rows[] = {
        { CAB_RT_EINPUT, 400 }, { CAB_RT_EINVAL, 400 }, { CAB_CALL_FULL, 429 }, { CAB_CALL_EXPIRED, 504 },
        { CAB_RT_EDEADLINE, 504 }, { CAB_CALL_CANCELLED, 499 }, { CAB_RT_ECANCELLED, 499 },
        { CAB_CALL_DRAINING, 503 }, { CAB_RT_ENOMEM, 503 }, { CAB_RT_ELIMIT, 413 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code)
            return rows[i].status;
    return 500;
}

/* Row by row when the first axis is a batch, else all elements together. */
static bool classify(cab_infer *q, cab_wanted *w)
{
    const cab_tensor_view *v = &q->outputs[w->output];
    const struct json_t *labels = json_object_get(q->loaded->labels, q->loaded->outputs[w->output].name);
    int from = q->loaded->max_batch > 0 && v->rank > 0;
    size_t n = 1, one = cab_json_type_bytes(v->dtype);
    for (int i = from; i < v->rank; i++)
        n *= (size_t)v->dims[i];
    w->dims[0] = from ? v->dims[0] : 1;
    w->dims[1] = w->classes < (int64_t)n ? w->classes : (int64_t)n;
    bool fine = true;
    for (int64_t r = 0; fine && r < w->dims[0]; r++)
        fine = cab_classes_put(&w->texts, v->dtype, (const char *)v->data + (size_t)r * n * one, n, (size_t)w->dims[1], labels);
    return fine ? true : cab_infer_starve(q);
}

bool cab_infer_classify(cab_infer *q)
{
    for (int i = 0; i < q->n_wanted; i++)
        if (q->wanted[i].classes && !classify(q, &q->wanted[i]))
            return false;
    return true;
}

static void say_no_answer(cab_infer *q)
{
    char text[100];
    bool over = q->x->out.over;
    snprintf(text, sizeof text, "the answer is longer than the %zu bytes of --max-answer", q->x->out.limit);
    cab_exchange_say(q->x, over ? 413 : q->starved ? 503 : 500, over ? text : q->why);
}

static void done(cab_call *c)
{
    cab_infer *q = c->user;
    cab_exchange *x = q->x;
    if (c->code == CAB_RT_OK) {
        x->status = 200;
        if (!cab_infer_classify(q) || !q->encode(q))
            say_no_answer(q);
    } else if (c->code == CAB_CALL_FULL) {
        say_full(x);
    } else {
        cab_exchange_say(x, status_of(c->code), c->error.text);
    }
    cab_exchange_answer(x);
}

/* Names what is missing. */
static bool incomplete(cab_infer *q, int given)
{
    const cab_resident *l = q->loaded;
    cab_infer_fault(q, "expected %d inputs but got %d inputs for model '%s'", l->n_inputs, given, l->name);
    size_t n = strlen(q->why);
    const char *before = ": missing ";
    for (int i = 0; i < l->n_inputs && n < sizeof q->why; i++)
        if (!q->inputs[i].data) {
            n += (size_t)snprintf(q->why + n, sizeof q->why - n, "%s'%s'", before, l->inputs[i].name);
            before = ", ";
        }
    return false;
}

/* Every input is there, and with batches all have as many rows. */
static bool complete(cab_infer *q)
{
    const cab_resident *l = q->loaded;
    int given = 0;
    for (int i = 0; i < l->n_inputs; i++)
        given += q->inputs[i].data != NULL;
    if (given != l->n_inputs)
        return incomplete(q, given);
    for (int i = 1; l->max_batch && i < l->n_inputs; i++)
        if (q->inputs[i].dims[0] != q->inputs[0].dims[0])
            return cab_infer_fault(q, "input '%s' has %lld rows, input '%s' %lld", l->inputs[i].name, (long long)q->inputs[i].dims[0],
                                   l->inputs[0].name, (long long)q->inputs[0].dims[0]);
    return true;
}

/* The time so many us after it; 0, which is none, for one that no clock will show. */
static int64_t after(int64_t ns, int64_t us)
{
    return us > (INT64_MAX - ns) / 1000 ? 0 : ns + us * 1000;
}

static void submit(cab_exchange *x)
{
    cab_infer *q = x->user;
    q->call.inputs = q->inputs;
    q->call.outputs = q->outputs;
    q->call.done = done;
    q->call.user = q;
    q->call.level = q->priority > INT_MAX ? INT_MAX : (int)q->priority;
    if (q->timeout_us > 0)
        q->call.deadline = after(q->x->arrived_ns, q->timeout_us);
    if (q->until_ns && (!q->call.deadline || q->until_ns < q->call.deadline))
        q->call.deadline = q->until_ns;
    q->submitted = true;
    cab_call_submit_inline(q->loaded->served, &q->call);
}

void cab_infer_submit(cab_infer *q)
{
    if (complete(q))
        cab_exchange_then(q->x, submit, NULL);
    else
        cab_infer_refuse(q);
}
