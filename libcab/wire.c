/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.c - the two messages between a host and its compile worker.
 *
 * Both ends are the same build (the request names it), so numbers travel as
 * they lie in memory; yet every length is checked, for a worker may die in
 * the middle of an answer.
 */
#include "libcab/libcab_int.h"
#include <string.h>

#define REQUEST "cab request 3 " CAB_VERSION
#define ANSWER "cab answer 1"

/* ---- writing ---- */

static void put_u64(cab_buf *b, uint64_t v) { cab_buf_bytes(b, &v, sizeof v); }

static void put_bytes(cab_buf *b, const void *p, size_t n)
{
    put_u64(b, n);
    cab_buf_bytes(b, p ? p : "", n);
}

/* NULL is not "". */
static void put_text(cab_buf *b, const char *s)
{
    put_u64(b, s != NULL);
    put_bytes(b, s, s ? strlen(s) + 1 : 0);
}

static void put_import(cab_buf *b, const cab_import_options *o)
{
    put_u64(b, (uint64_t)o->n_inputs);
    for (int i = 0; i < o->n_inputs; i++) {
        const cab_import_input *in = &o->inputs[i];
        put_text(b, in->name);
        put_u64(b, in->dtype);
        put_u64(b, in->list);
        put_u64(b, (uint64_t)(int64_t)in->rank);
        put_bytes(b, in->dims, in->list ? 0 : (size_t)in->rank * sizeof *in->dims);
        put_u64(b, in->data != NULL);
        put_bytes(b, in->data, in->data ? in->bytes : 0);
    }
    put_u64(b, (uint64_t)o->n_binds);
    for (int i = 0; i < o->n_binds; i++) {
        put_text(b, o->binds[i].name);
        put_u64(b, (uint64_t)o->binds[i].value);
    }
    put_u64(b, (uint64_t)o->n_ranges);
    for (int i = 0; i < o->n_ranges; i++) {
        put_text(b, o->ranges[i].name);
        put_u64(b, (uint64_t)o->ranges[i].lo);
        put_u64(b, (uint64_t)o->ranges[i].hi);
    }
    put_u64(b, (uint64_t)o->n_functions);
    for (int i = 0; i < o->n_functions; i++) {
        put_bytes(b, o->functions[i].p, o->functions[i].n);
        put_text(b, o->functions[i].label);
    }
    put_u64(b, o->static_shapes);
    put_u64(b, o->max_nodes);
    put_u64(b, o->max_messages);
    put_u64(b, o->max_bytes);
    put_u64(b, (uint64_t)o->max_depth);
}

void cab_wire_put_request(cab_buf *b, const cab_compiler *c, const cab_opened *f)
{
    put_text(b, REQUEST);
    put_text(b, f->label);
    put_text(b, f->name);
    put_bytes(b, f->hash, f->hash ? 32 : 0);
    put_import(b, &c->import);
    put_u64(b, c->naive);
    put_u64(b, c->naive_kernels);
    put_u64(b, c->exact);
    put_u64(b, c->hash_model);
    put_text(b, c->target);
    put_text(b, c->tuning);
    put_u64(b, (uint64_t)c->threads);
    put_u64(b, c->max_memory);
    put_u64(b, c->seal);
    put_u64(b, c->no_costs);
    put_u64(b, c->embed_model);
    put_bytes(b, c->sign_seed, c->sign_seed ? 32 : 0);
    put_u64(b, (uint64_t)c->test_signal);
}

void cab_wire_put_answer(cab_buf *b, cab_status s, const cab_compiled *r, const cab_diag *from)
{
    put_text(b, ANSWER);
    put_u64(b, s);
    put_u64(b, r->size);
    put_u64(b, r->fixed_shapes);
    put_bytes(b, &r->times, sizeof r->times);
    put_u64(b, from->n);
    for (size_t i = 0; i < from->n; i++) {
        const cab_diag_entry *e = &from->entries[i];
        put_u64(b, e->code);
        put_u64(b, e->severity);
        put_text(b, e->where);
        put_text(b, e->text);
        put_u64(b, (uint64_t)e->n_notes);
        for (int k = 0; k < e->n_notes; k++)
            put_text(b, e->notes[k]);
    }
    put_text(b, ANSWER);
}

/* ---- reading ---- */

typedef struct reader { const uint8_t *p; size_t n; bool bad; } reader;

static uint64_t get_u64(reader *r)
{
    uint64_t v = 0;
    if (r->n < sizeof v) {
        r->bad = true;
        return 0;
    }
    memcpy(&v, r->p, sizeof v);
    r->p += sizeof v;
    r->n -= sizeof v;
    return v;
}

static const void *get_bytes(reader *r, size_t *out_n)
{
    uint64_t n = get_u64(r);
    const void *p = r->p;
    *out_n = 0;
    if (n > r->n) {
        r->bad = true;
        return "";
    }
    *out_n = (size_t)n;
    r->p += n;
    r->n -= n;
    return p;
}

static const char *get_text(reader *r)
{
    size_t n;
    bool there = get_u64(r) != 0;
    const char *s = get_bytes(r, &n);
    if (there && (!n || s[n - 1])) {
        r->bad = true;
        return "";
    }
    return there ? s : NULL;
}

/* Numbers of things that take at least 8 bytes each. */
static int get_count(reader *r)
{
    uint64_t n = get_u64(r);
    if (n > r->n / 8) {
        r->bad = true;
        return 0;
    }
    return (int)n;
}

static void get_input(cab_arena *a, reader *r, cab_import_input *in)
{
    size_t n;
    in->name = get_text(r);
    in->dtype = (cab_dtype)get_u64(r);
    in->list = get_u64(r) != 0;
    int64_t rank = (int64_t)get_u64(r);
    const void *dims = get_bytes(r, &n);
    in->rank = in->list && rank >= CAB_RANK_UNKNOWN && rank <= CAB_MAX_RANK
                   ? (int)rank : (int)(n / sizeof *in->dims);
    in->dims = cab_dup(a, dims, n);
    bool data = get_u64(r) != 0;
    const void *p = get_bytes(r, &n);
    in->data = data ? cab_dup(a, p, n) : NULL;      /* aligned */
    in->bytes = n;
}

static void get_functions(cab_arena *a, reader *r, cab_import_options *o)
{
    o->n_functions = get_count(r);
    cab_import_functions *f = CAB_NEW_N(a, cab_import_functions, o->n_functions + 1);
    for (int i = 0; i < o->n_functions; i++) {
        f[i].p = get_bytes(r, &f[i].n);
        f[i].label = get_text(r);
    }
    o->functions = f;
}

static void get_import(cab_arena *a, reader *r, cab_import_options *o)
{
    o->n_inputs = get_count(r);
    cab_import_input *in = CAB_NEW_N(a, cab_import_input, o->n_inputs + 1);
    for (int i = 0; i < o->n_inputs; i++)
        get_input(a, r, &in[i]);
    o->inputs = in;
    o->n_binds = get_count(r);
    cab_import_bind *binds = CAB_NEW_N(a, cab_import_bind, o->n_binds + 1);
    for (int i = 0; i < o->n_binds; i++) {
        binds[i].name = get_text(r);
        binds[i].value = (int64_t)get_u64(r);
    }
    o->binds = binds;
    o->n_ranges = get_count(r);
    cab_import_range *ranges = CAB_NEW_N(a, cab_import_range, o->n_ranges + 1);
    for (int i = 0; i < o->n_ranges; i++) {
        ranges[i].name = get_text(r);
        ranges[i].lo = (int64_t)get_u64(r);
        ranges[i].hi = (int64_t)get_u64(r);
    }
    o->ranges = ranges;
    get_functions(a, r, o);
    o->static_shapes = get_u64(r) != 0;
    o->max_nodes = get_u64(r);
    o->max_messages = get_u64(r);
    o->max_bytes = get_u64(r);
    o->max_depth = (int)get_u64(r);
}

static const uint8_t *get_32(reader *r)
{
    size_t n;
    const uint8_t *p = get_bytes(r, &n);
    return n == 32 ? p : NULL;
}

cab_status cab_wire_get_request(cab_arena *a, const void *p, size_t n, cab_compiler *c,
                                cab_opened *f, cab_diag *d)
{
    reader r = { p, n, false };
    const char *head = get_text(&r);
    if (r.bad || !head || strcmp(head, REQUEST))
        return cab_fail(d, CAB_EINTERNAL, NULL, "the compile worker is of another version");
    *c = (cab_compiler){ 0 };
    f->label = get_text(&r);
    f->name = get_text(&r);
    f->hash = get_32(&r);
    get_import(a, &r, &c->import);
    c->naive = get_u64(&r);
    c->naive_kernels = get_u64(&r);
    c->exact = get_u64(&r);
    c->hash_model = get_u64(&r);
    c->target = get_text(&r);
    c->tuning = get_text(&r);
    c->threads = (int)get_u64(&r);
    c->max_memory = (size_t)get_u64(&r);
    c->seal = get_u64(&r);
    c->no_costs = get_u64(&r);
    c->embed_model = get_u64(&r);
    c->sign_seed = get_32(&r);
    c->test_signal = (int)get_u64(&r);
    return r.bad ? cab_fail(d, CAB_EINTERNAL, NULL, "the request is cut off") : CAB_OK;
}

static void get_entry(reader *r, cab_diag *to)
{
    cab_status code = (cab_status)get_u64(r);
    uint64_t severity = get_u64(r);
    cab_where w = { .file = get_text(r) };
    const char *text = get_text(r);
    int n = get_count(r);
    if (r->bad || !text || !w.file)
        return;
    const cab_where *where = *w.file ? &w : NULL;
    if (severity == CAB_ERROR)
        cab_fail(to, code, where, "%s", text);
    else
        cab_warn(to, where, "%s", text);
    for (int i = 0; i < n && !r->bad; i++) {
        const char *note = get_text(r);
        cab_note(to, "%s", note ? note : "");
    }
}

static bool is(const char *s, const char *want) { return s && !strcmp(s, want); }

cab_status cab_wire_get_answer(const void *p, size_t n, cab_compiled *out,
                               cab_diag *to, bool *whole)
{
    reader r = { p, n, false };
    size_t k;
    bool head = is(get_text(&r), ANSWER);
    cab_status s = (cab_status)get_u64(&r);
    out->size = get_u64(&r);
    out->fixed_shapes = get_u64(&r);
    const void *times = get_bytes(&r, &k);
    if (k == sizeof out->times)
        memcpy(&out->times, times, k);
    uint64_t entries = get_u64(&r);
    for (uint64_t i = 0; head && i < entries && !r.bad; i++)
        get_entry(&r, to);
    *whole = head && !r.bad && is(get_text(&r), ANSWER) && s < CAB_STATUS_COUNT;
    return *whole ? s : CAB_EINTERNAL;
}
