/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program_parse.c - reads programs as spec_text.c writes them.
 *
 * The program comes first, then its Specs and blobs in any order; names and
 * blob numbers become pointers at the end, and the whole is verified.
 */
#include "ir/spec_scan.h"
#include <string.h>

static cab_status parse_sym_line(cab_scan *p)
{
    const cab_dim *x;
    int64_t lo, hi, divisor;
    CAB_TRY(cab_scan_dim(p, &x));
    CAB_TRY(cab_scan_i64(p, &lo));
    CAB_TRY(cab_scan_i64(p, &hi));
    CAB_TRY(cab_scan_i64(p, &divisor));
    if (x->kind != CAB_DIM_SYM || lo > hi || divisor < 1)
        return cab_scan_fail(p, "bad facts about a symbol");
    cab_dim_assume(p->dims, x, lo, hi, divisor);
    return CAB_OK;
}

static cab_status parse_layout(cab_scan *p, cab_type *t)
{
    cab_layout *l = CAB_NEW(p->a, cab_layout);
    uint32_t seen = 0;
    int lo, hi, axis;
    l->rank = t->rank;
    CAB_TRY(cab_scan_expect(p, "("));
    for (int i = 0; i < t->rank; i++) {
        if (i)
            CAB_TRY(cab_scan_expect(p, ","));
        CAB_TRY(cab_scan_int(p, 0, t->rank - 1, &axis));
        l->perm[i] = (uint8_t)axis;
        seen |= 1u << axis;
    }
    if (seen != (1u << t->rank) - 1)
        return cab_scan_fail(p, "the layout is no permutation");
    CAB_TRY(cab_scan_expect(p, ")"));
    CAB_TRY(cab_scan_expect(p, "halo"));
    CAB_TRY(cab_scan_expect(p, "("));
    for (int i = 0; i < t->rank; i++) {
        if (i)
            CAB_TRY(cab_scan_expect(p, ","));
        CAB_TRY(cab_scan_int(p, 0, INT32_MAX, &lo));
        CAB_TRY(cab_scan_expect(p, ":"));
        CAB_TRY(cab_scan_int(p, 0, INT32_MAX, &hi));
        l->halo_lo[i] = lo;
        l->halo_hi[i] = hi;
    }
    t->layout = l;
    return cab_scan_expect(p, ")");
}

static cab_status parse_type(cab_scan *p, cab_type *t)
{
    bool seq = cab_scan_take(p, "seq");
    memset(t, 0, sizeof *t);
    if (seq || cab_scan_take(p, "optional")) {
        cab_type *elem = CAB_NEW(p->a, cab_type);
        t->kind = seq ? CAB_KIND_sequence : CAB_KIND_optional;
        t->elem = elem;
        if (p->nesting++ > 8)
            return cab_scan_fail(p, "types nested too deep");
        CAB_TRY(cab_scan_expect(p, "("));
        CAB_TRY(parse_type(p, elem));
        p->nesting--;
        return cab_scan_expect(p, ")");
    }
    t->kind = CAB_KIND_tensor;
    CAB_TRY(cab_scan_dtype(p, &t->dtype));
    CAB_TRY(cab_scan_expect(p, "["));
    if (cab_scan_take(p, "...")) {
        t->rank = CAB_RANK_UNKNOWN;
        return cab_scan_expect(p, "]");
    }
    if (!cab_scan_take(p, "]")) {
        do {
            if (t->rank == CAB_MAX_RANK)
                return cab_scan_fail(p, "rank above %d", CAB_MAX_RANK);
            CAB_TRY(cab_scan_dim(p, &t->dims[t->rank++]));
        } while (cab_scan_take(p, ","));
        CAB_TRY(cab_scan_expect(p, "]"));
    }
    return cab_scan_take(p, "layout") ? parse_layout(p, t) : CAB_OK;
}

/* The blob of that number, filled in when its block is read. */
static cab_status blob_at(cab_scan *p, const cab_blob **out)
{
    int i;
    CAB_TRY(cab_scan_int(p, 0, (int64_t)p->blobs.n, &i));
    if ((size_t)i == p->blobs.n)
        cab_vec_push(p->a, &p->blobs, CAB_NEW(p->a, cab_blob));
    *out = p->blobs.p[i];
    return CAB_OK;
}

static cab_status parse_buffer_line(cab_scan *p)
{
    static const char *const kinds[] = { "input", "output", "const", "temp", NULL };
    cab_buffer b = { .alias_of = -1 };
    int i, kind, n = (int)p->p->buffers.n;
    CAB_TRY(cab_scan_int(p, n, n, &i));
    CAB_TRY(cab_scan_one_of(p, kinds, &kind));
    b.kind = (cab_buffer_kind)kind;
    cab_scan_skip(p);
    if (*p->s == '"')
        CAB_TRY(cab_scan_string(p, &b.name));
    CAB_TRY(parse_type(p, &b.type));
    CAB_TRY(cab_scan_expect(p, "elems"));
    CAB_TRY(cab_scan_dim(p, &b.elems));
    b.zeroed = cab_scan_take(p, "zeroed");
    if (cab_scan_take(p, "alias")) {
        CAB_TRY(cab_scan_int(p, 0, INT32_MAX, &b.alias_of));
        CAB_TRY(cab_scan_expect(p, "at"));
        CAB_TRY(cab_scan_dim(p, &b.alias_at));
    }
    if (cab_scan_take(p, "blob"))
        CAB_TRY(blob_at(p, &b.blob));
    cab_program_buffer(p->p, &b);
    return CAB_OK;
}

typedef CAB_VEC(int) int_list;

static cab_status parse_ints(cab_scan *p, int_list *v)
{
    int i;
    CAB_TRY(cab_scan_expect(p, "("));
    if (cab_scan_take(p, ")"))
        return CAB_OK;
    do {
        CAB_TRY(cab_scan_int(p, 0, INT32_MAX, &i));
        cab_vec_push(p->a, v, i);
    } while (cab_scan_take(p, ","));
    return cab_scan_expect(p, ")");
}

static cab_status parse_io(cab_scan *p, bool inputs)
{
    int_list v = { 0 };
    CAB_TRY(parse_ints(p, &v));
    for (size_t i = 0; i < v.n; i++) {
        if (inputs)
            cab_vec_push(p->a, &p->p->inputs, v.p[i]);
        else
            cab_vec_push(p->a, &p->p->outputs, v.p[i]);
    }
    return CAB_OK;
}

static cab_status parse_guard_line(cab_scan *p)
{
    cab_guard_eq g = { 0 };
    CAB_TRY(cab_scan_dim(p, &g.lhs));
    g.le = cab_scan_take(p, "<=");
    if (!g.le)
        CAB_TRY(cab_scan_expect(p, "=="));
    CAB_TRY(cab_scan_dim(p, &g.rhs));
    if (cab_scan_take(p, "why"))
        CAB_TRY(cab_scan_string(p, &g.why));
    cab_vec_push(p->a, &p->p->guards, g);
    return CAB_OK;
}

static cab_status parse_state_line(cab_scan *p)
{
    cab_program_state s = { 0 };
    CAB_TRY(cab_scan_int(p, 0, INT32_MAX, &s.input));
    CAB_TRY(cab_scan_expect(p, "->"));
    CAB_TRY(cab_scan_int(p, 0, INT32_MAX, &s.output));
    CAB_TRY(cab_scan_expect(p, "axis"));
    CAB_TRY(cab_scan_int(p, 0, CAB_MAX_RANK - 1, &s.axis));
    CAB_TRY(cab_scan_expect(p, "room"));
    CAB_TRY(cab_scan_dim(p, &s.room_in));
    CAB_TRY(cab_scan_expect(p, ","));
    CAB_TRY(cab_scan_dim(p, &s.room_out));
    cab_vec_push(p->a, &p->p->states, s);
    return CAB_OK;
}

static cab_status parse_step_end(cab_scan *p, cab_step *s, const int_list *args,
                                 const char *launch)
{
    if (cab_scan_take(p, "loc"))
        CAB_TRY(cab_scan_string(p, &s->loc));
    if (cab_scan_take(p, "what"))
        CAB_TRY(cab_scan_string(p, &s->what));
    s->n_args = (int)args->n;
    s->args = args->p;
    cab_program_step(p->p, s);
    cab_vec_push(p->a, &p->launches, launch);
    return CAB_OK;
}

static cab_status parse_params(cab_scan *p, cab_step *s)
{
    CAB_VEC(const cab_dim *) params = { 0 };
    if (cab_scan_take(p, "params")) {
        CAB_TRY(cab_scan_expect(p, "("));
        do {
            const cab_dim *x;
            CAB_TRY(cab_scan_dim(p, &x));
            cab_vec_push(p->a, &params, x);
        } while (cab_scan_take(p, ","));
        CAB_TRY(cab_scan_expect(p, ")"));
    }
    s->n_params = (int)params.n;
    s->params = params.p;
    return CAB_OK;
}

static cab_status parse_step_rest(cab_scan *p, cab_step *s, const char *launch)
{
    int_list args = { 0 };
    CAB_TRY(parse_ints(p, &args));
    CAB_TRY(parse_params(p, s));
    if (cab_scan_take(p, "when"))
        CAB_TRY(cab_scan_dim(p, &s->when));
    if (cab_scan_take(p, "past")) {
        CAB_TRY(cab_scan_int(p, 0, INT32_MAX - 1, &s->past));
        s->past++;
    }
    return parse_step_end(p, s, &args, launch);
}

/* ---- steps of the host program ---- */
typedef struct custom {
    cab_step_custom x;
    int_list args;
    CAB_VEC(cab_type) types;
    CAB_VEC(cab_foreign_attr) attrs;
} custom;

static cab_status parse_custom_args(cab_scan *p, custom *c)
{
    CAB_TRY(cab_scan_expect(p, "("));
    if (cab_scan_take(p, ")"))
        return CAB_OK;
    do {
        cab_type t = { .kind = CAB_KIND_tensor };
        int i = -1;
        if (!cab_scan_take(p, "-")) {
            CAB_TRY(cab_scan_int(p, 0, INT32_MAX, &i));
            CAB_TRY(parse_type(p, &t));
        }
        cab_vec_push(p->a, &c->args, i);
        cab_vec_push(p->a, &c->types, t);
    } while (cab_scan_take(p, ","));
    return cab_scan_expect(p, ")");
}

/* kind: 0 ints, 1 floats, 2 text */
static cab_status parse_custom_attr(cab_scan *p, int kind, cab_foreign_attr *out)
{
    CAB_VEC(int64_t) ints = { 0 };
    CAB_VEC(float) floats = { 0 };
    static const int64_t none;
    static const float no_float;
    *out = (cab_foreign_attr){ 0 };
    CAB_TRY(cab_scan_string(p, &out->name));
    CAB_TRY(cab_scan_expect(p, "("));
    while (!cab_scan_take(p, ")")) {
        int64_t i = 0;
        double f = 0;
        if (out->n++)
            CAB_TRY(cab_scan_expect(p, ","));
        CAB_TRY(kind == 2 ? cab_scan_string(p, &out->text)
                : kind == 1 ? cab_scan_double(p, &f) : cab_scan_i64(p, &i));
        cab_vec_push(p->a, &ints, i);
        cab_vec_push(p->a, &floats, (float)f);
    }
    if (kind == 2)
        return out->n == 1 ? CAB_OK : cab_scan_fail(p, "one text expected");
    if (kind == 1)
        out->floats = out->n ? floats.p : &no_float;
    else
        out->ints = out->n ? ints.p : &none;
    return CAB_OK;
}

static cab_status parse_custom(cab_scan *p, cab_step *s)
{
    static const char *const kinds[] = { "ints", "floats", "text" };
    custom c = { .x.n_in = 0 };
    CAB_TRY(cab_scan_string(p, &c.x.domain));
    CAB_TRY(cab_scan_string(p, &c.x.name));
    CAB_TRY(parse_custom_args(p, &c));
    c.x.n_in = (int)c.args.n;
    CAB_TRY(cab_scan_expect(p, "results"));
    CAB_TRY(parse_custom_args(p, &c));
    for (int k = 0; k < 3; k++)
        while (cab_scan_take(p, kinds[k])) {
            cab_foreign_attr a;
            CAB_TRY(parse_custom_attr(p, k, &a));
            cab_vec_push(p->a, &c.attrs, a);
        }
    c.x.types = c.types.p;
    c.x.attrs = c.attrs.p;
    c.x.n_attrs = (int)c.attrs.n;
    s->kind = CAB_STEP_CUSTOM;
    s->custom = cab_dup(p->a, &c.x, sizeof c.x);
    return parse_step_end(p, s, &c.args, NULL);
}

/* Its word was taken. */
static cab_status parse_flow(cab_scan *p, cab_step *s)
{
    const cab_flow_row *f = cab_flow_row_of(s->kind);
    int_list args = { 0 };
    if (f->sym)
        CAB_TRY(cab_scan_dim(p, &s->sym));
    if (f->n_args)
        CAB_TRY(parse_ints(p, &args));
    CAB_TRY(parse_params(p, s));
    return parse_step_end(p, s, &args, NULL);
}

static cab_status parse_program_line(cab_scan *p)
{
    cab_step s = { .kind = CAB_STEP_HELPER };
    const char *name = NULL;
    for (int k = 0; k < CAB_STEP_COUNT; k++) {
        const cab_flow_row *f = cab_flow_row_of((cab_step_kind)k);
        s.kind = (cab_step_kind)k;
        if (f && cab_scan_take(p, f->word))
            return parse_flow(p, &s);
    }
    s.kind = CAB_STEP_HELPER;
    if (cab_scan_take(p, "sym"))
        return parse_sym_line(p);
    if (cab_scan_take(p, "buffer"))
        return parse_buffer_line(p);
    if (cab_scan_take(p, "inputs"))
        return parse_io(p, true);
    if (cab_scan_take(p, "outputs"))
        return parse_io(p, false);
    if (cab_scan_take(p, "guard"))
        return parse_guard_line(p);
    if (cab_scan_take(p, "state"))
        return parse_state_line(p);
    if (cab_scan_take(p, "helper")) {
        CAB_TRY(cab_scan_string(p, &s.helper));
        return parse_step_rest(p, &s, NULL);
    }
    if (cab_scan_take(p, "custom"))
        return parse_custom(p, &s);
    if (cab_scan_take(p, "launch")) {
        s.kind = CAB_STEP_LAUNCH;
        CAB_TRY(cab_scan_expect(p, "@"));
        CAB_TRY(cab_scan_name(p, &name));
        return parse_step_rest(p, &s, name);
    }
    return cab_scan_fail(p, "expected a statement");
}

static cab_status parse_blob(cab_scan *p)
{
    const cab_blob *found;
    int64_t n;
    CAB_TRY(cab_scan_expect(p, "blob"));
    CAB_TRY(blob_at(p, &found));
    cab_blob *b = (cab_blob *)found;
    CAB_TRY(cab_scan_i64(p, &n));
    if (b->data || n < 0 || (uint64_t)n > strlen(p->s) / 2)
        return cab_scan_fail(p, "a blob given twice, or longer than its text");
    uint8_t *bytes = cab_alloc(p->a, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        cab_scan_skip(p);
        if (cab_scan_hex_digit(p->s[0]) < 0 || cab_scan_hex_digit(p->s[1]) < 0)
            return cab_scan_fail(p, "expected two hexadecimal digits");
        bytes[i] = (uint8_t)(cab_scan_hex_digit(p->s[0]) * 16 + cab_scan_hex_digit(p->s[1]));
        p->s += 2;
    }
    b->data = bytes;
    b->bytes = (uint64_t)n;
    return CAB_OK;
}

/* Names become pointers once everything is read. */
static cab_status resolve(cab_scan *p)
{
    for (size_t i = 0; i < p->blobs.n; i++)
        if (!p->blobs.p[i]->data)
            return cab_scan_fail(p, "blob %zu is missing", i);
    for (size_t i = 0; i < p->launches.n; i++) {
        const char *name = p->launches.p[i];
        if (!name)
            continue;
        p->p->steps.p[i].spec = cab_map_gets(p->specs, name);
        if (!p->p->steps.p[i].spec)
            return cab_scan_fail(p, "spec '%s' is missing", name);
    }
    return cab_program_verify(p->p, p->d);
}

static cab_status parse_program(cab_scan *p)
{
    const char *name;
    CAB_TRY(cab_scan_expect(p, "program"));
    CAB_TRY(cab_scan_expect(p, "@"));
    CAB_TRY(cab_scan_name(p, &name));
    CAB_TRY(cab_scan_expect(p, "{"));
    p->p = cab_program_create(p->a, p->dims, name);
    while (!cab_scan_take(p, "}"))
        CAB_TRY(parse_program_line(p));
    for (cab_scan_skip(p); *p->s; cab_scan_skip(p)) {
        if (cab_scan_word_length(p->s) == 4 && !strncmp(p->s, "blob", 4)) {
            CAB_TRY(parse_blob(p));
            continue;
        }
        CAB_TRY(cab_parse_spec(p));
        if (cab_map_sets(p->specs, p->spec->name, p->spec))
            return cab_scan_fail(p, "two specs are named '%s'", p->spec->name);
    }
    return resolve(p);
}

cab_status cab_program_parse(cab_arena *a, const char *text, size_t n, const char *file,
                             cab_program **out, cab_diag *d)
{
    cab_scan p = { .a = a, .dims = cab_dims_create(a), .file = file, .d = d,
                 .specs = cab_map_create(a) };
    CAB_TRY(cab_scan_start(&p, text, n));
    CAB_TRY(parse_program(&p));
    *out = p.p;
    return CAB_OK;
}
