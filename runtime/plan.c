/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - reads the tables of one variant of a .cab file and checks every
 * offset, count and index in them, so that the session may follow them without
 * checks.
 */
#include "runtime/runtime_int.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int cab_rt_fail(cab_error *e, int code, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        e->code = code;
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

static cab_status bad(cab_error *e, const char *what)
{
    return (cab_status)cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: %s", what);
}

/* Takes count records of size bytes from the plan section. */
static const void *take(const uint8_t **at, uint64_t *left, uint64_t count, uint64_t size)
{
    if (count > *left / size)
        return NULL;
    const void *p = *at;
    *at += count * size;
    *left -= count * size;
    return p;
}

static cab_status read_tables(const uint8_t *p, uint64_t n, cab_plan *out, cab_error *e)
{
    const cab_plan_header *h = out->header = take(&p, &n, 1, sizeof *h);
    if (!h)
        return bad(e, "plan header");
    if (!(out->scalars = take(&p, &n, h->n_scalars, sizeof *out->scalars)) ||
        !(out->checks = take(&p, &n, h->n_checks, sizeof *out->checks)) ||
        !(out->values = take(&p, &n, h->n_values, sizeof *out->values)) ||
        !(out->kernels = take(&p, &n, h->n_kernels, sizeof *out->kernels)) ||
        !(out->instrs = take(&p, &n, h->n_instrs, sizeof *out->instrs)) ||
        !(out->words = take(&p, &n, h->n_words, sizeof *out->words)) ||
        !(out->inputs = take(&p, &n, h->n_inputs, sizeof *out->inputs)) ||
        !(out->outputs = take(&p, &n, h->n_outputs, sizeof *out->outputs)))
        return bad(e, "plan tables");
    return CAB_OK;
}

/* ---- the tables ---- */

static bool text_ok(const cab_plan *p, uint32_t at) { return at < p->strings_bytes; }

static bool is_value(const cab_plan *p, uint32_t v, uint32_t cls)
{
    return v < p->header->n_values && p->values[v].cls == cls;
}

static cab_status check_scalars(cab_plan *p, cab_error *e)
{
    p->n_early = p->header->n_scalars;
    for (uint32_t i = 0; i < p->header->n_scalars; i++) {
        const cab_plan_scalar *s = &p->scalars[i];
        bool ok = s->op < CAB_S_COUNT && text_ok(p, s->name);
        if (s->op == CAB_S_INPUT_DIM)
            ok = ok && s->a < p->header->n_inputs && is_value(p, p->inputs[s->a], CAB_V_INPUT) &&
                 s->b < p->values[p->inputs[s->a]].rank;
        else if (s->op >= CAB_S_ADD && s->op <= CAB_S_MAX)
            ok = ok && s->a < i && s->b < i;
        else if (s->op == CAB_S_SIZE_READ && i < p->n_early)
            p->n_early = i;
        else if (s->op == CAB_S_CAPACITY)
            ok = ok && s->a < i && i < p->n_early && s->b < p->header->n_outputs;
        if (!ok)
            return bad(e, "shape program");
    }
    for (uint32_t i = 0; i < p->header->n_checks; i++) {
        const cab_plan_check *c = &p->checks[i];
        if (c->a >= p->header->n_scalars || c->b >= p->header->n_scalars || !text_ok(p, c->why) ||
            (c->kind & ~(uint32_t)CAB_C_LATE) >= CAB_C_COUNT ||
            (!(c->kind & CAB_C_LATE) && (c->a >= p->n_early || c->b >= p->n_early)))
            return bad(e, "shape checks");
    }
    return CAB_OK;
}

/* An output that goes on from an input is of its kind, and has room. */
static bool grows_ok(const cab_plan *p, const cab_plan_value *v)
{
    uint32_t k = CAB_GROWS_INPUT(v->offset);
    if (!(v->flags & CAB_V_GROWS))
        return true;
    if (k >= p->header->n_inputs || !is_value(p, p->inputs[k], CAB_V_INPUT) ||
        v->slot_offset >= p->header->n_scalars ||
        p->scalars[v->slot_offset].op != CAB_S_CAPACITY)
        return false;
    const cab_plan_value *in = &p->values[p->inputs[k]];
    return in->rank == v->rank && in->dtype == v->dtype && !(in->flags & CAB_V_FIXED) &&
           CAB_GROWS_AXIS(v->offset) < v->rank;
}

static bool value_ok(const cab_plan *p, uint32_t i)
{
    const cab_plan_value *v = &p->values[i];
    const cab_plan_header *h = p->header;
    if (v->cls >= CAB_V_CLASS_COUNT || v->rank > CAB_PLAN_MAX_RANK || !text_ok(p, v->name) ||
        v->slot_bytes >= h->n_scalars || v->last > h->n_instrs || v->first > v->last ||
        cab_dtype_from_onnx(v->dtype) == CAB_DT_none)
        return false;
    for (int k = 0; k < v->rank; k++)
        if (v->dims[k] >= (v->cls == CAB_V_INPUT ? p->n_early : h->n_scalars))
            return false;
    if (v->kind > 2 || (v->kind != 0) != (v->cls == CAB_V_LIST || (v->kind != 0 && (
            v->cls == CAB_V_INPUT || v->cls == CAB_V_OUTPUT))) || (v->kind && v->rank) ||
        (v->kind && v->cls == CAB_V_INPUT && v->flags & CAB_V_FIXED))
        return false;
    if ((v->cls == CAB_V_ARENA || v->cls == CAB_V_INPUT) && v->slot_bytes >= p->n_early)
        return false;
    switch (v->cls) {
    case CAB_V_INPUT: return v->index < h->n_inputs && p->inputs[v->index] == i;
    case CAB_V_DYNAMIC: return v->index < h->n_values;
    case CAB_V_OUTPUT: return v->index < h->n_outputs && p->outputs[v->index] == i && grows_ok(p, v);
    case CAB_V_ALIAS: return v->index < i && v->slot_offset < h->n_scalars;
    default: return true;
    }
}

/* Bytes of constants are compile-time numbers: their slots are CONST. */
static bool constant_ok(const cab_plan *p, const cab_plan_value *v)
{
    if (v->cls != CAB_V_CONST && !(v->cls == CAB_V_INPUT && v->flags & CAB_V_FIXED))
        return true;
    const cab_plan_scalar *s = &p->scalars[v->slot_bytes];
    return s->op == CAB_S_CONST && s->imm >= 0 && v->offset % 64 == 0 &&
           v->offset <= p->weights_bytes && (uint64_t)s->imm <= p->weights_bytes - v->offset;
}

static cab_status check_values(cab_plan *p, cab_error *e)
{
    for (uint32_t i = 0; i < p->header->n_values; i++) {
        const cab_plan_value *v = &p->values[i];
        if (!value_ok(p, i) || !constant_ok(p, v))
            return bad(e, "value table");
        p->n_aliases += v->cls == CAB_V_ALIAS;
        p->n_lists += v->kind != 0;
        if (v->cls == CAB_V_DYNAMIC && v->index >= p->n_dynamic)
            p->n_dynamic = v->index + 1;
    }
    for (uint32_t i = 0; i < p->header->n_inputs; i++)
        if (!is_value(p, p->inputs[i], CAB_V_INPUT) || p->values[p->inputs[i]].index != i)
            return bad(e, "input list");
    for (uint32_t i = 0; i < p->header->n_outputs; i++)
        if (!is_value(p, p->outputs[i], CAB_V_OUTPUT) || p->values[p->outputs[i]].index != i)
            return bad(e, "output list");
    for (uint32_t i = 0; i < p->header->n_kernels; i++) {
        const cab_plan_kernel *k = &p->kernels[i];
        if (!text_ok(p, k->name) || k->offset > p->code_bytes || k->bytes == 0 ||
            k->bytes > p->code_bytes - k->offset)
            return bad(e, "kernel table");
    }
    return CAB_OK;
}

/* words[at]: count, then indices below limit; returns the next position or 0. */
static uint64_t list_ok(const cab_plan *p, uint64_t at, uint32_t limit, uint32_t *out_n)
{
    if (at >= p->header->n_words)
        return 0;
    *out_n = p->words[at];
    if (*out_n > p->header->n_words - at - 1)
        return 0;
    for (uint32_t i = 0; i < *out_n; i++)
        if (p->words[at + 1 + i] >= limit)
            return 0;
    return at + 1 + *out_n;
}

/* Not a constant or an input, nor a part of one. */
static bool writable(const cab_plan *p, uint32_t v)
{
    enum { MAX_CHAIN = 1000 };         /* of aliases; each names an earlier value */
    for (int i = 0; i < MAX_CHAIN && v < p->header->n_values; i++) {
        if (p->values[v].cls != CAB_V_ALIAS)
            return p->values[v].cls != CAB_V_CONST && p->values[v].cls != CAB_V_INPUT;
        v = p->values[v].index;
    }
    return false;
}

static bool helper_ok(const cab_plan *p, const cab_plan_instr *x, uint32_t n_values,
                      uint32_t n_params)
{
    const cab_helper_row *row = cab_helper_get(x->a);
    if (!row || row->n_values != n_values || row->n_params != n_params)
        return false;
    for (uint32_t i = 0; i < n_values; i++)
        if (row->written >> i & 1 && !writable(p, p->words[x->b + 1 + i]))
            return false;
    return true;
}

static bool call_ok(const cab_plan *p, const cab_plan_instr *x)
{
    uint32_t n_values, n_params;
    uint64_t at = list_ok(p, x->b, p->header->n_values, &n_values);
    if (!at || !list_ok(p, at, p->header->n_scalars, &n_params))
        return false;
    for (uint32_t i = 0; i < n_values; i++)
        if (p->values[p->words[x->b + 1 + i]].kind)
            return false;
    if (!text_ok(p, x->d) || !text_ok(p, x->e))
        return false;
    if (x->op == CAB_I_LAUNCH)
        return x->a < p->header->n_kernels && x->c < p->header->n_scalars;
    return helper_ok(p, x, n_values, n_params);
}

/* The tensors of a CUSTOM instruction; the position after them, or 0. */
static uint64_t custom_tensors_ok(const cab_plan *p, uint64_t at, uint32_t n, bool written)
{
    const uint32_t *w = p->words;
    for (uint32_t i = 0; i < n; i++) {
        if (at + 3 > p->header->n_words || w[at + 2] > CAB_PLAN_MAX_RANK ||
            at + 3 + w[at + 2] > p->header->n_words)
            return 0;
        bool absent = w[at] == CAB_PLAN_NONE;
        if (absent ? written || w[at + 1] || w[at + 2]
                   : w[at] >= p->header->n_values || (written && !writable(p, w[at])) ||
                     cab_dtype_from_onnx(w[at + 1]) == CAB_DT_none)
            return 0;
        for (uint32_t k = 0; k < w[at + 2]; k++)
            if (w[at + 3 + k] >= p->header->n_scalars)
                return 0;
        at += 3 + w[at + 2];
    }
    return at;
}

static uint64_t custom_attrs_ok(const cab_plan *p, uint64_t at, uint32_t n)
{
    const uint32_t *w = p->words;
    for (uint32_t i = 0; i < n; i++) {
        if (at + 3 > p->header->n_words || !text_ok(p, w[at]) || w[at + 1] >= CAB_PA_COUNT)
            return 0;
        uint64_t words = (uint64_t)w[at + 2] * (w[at + 1] == CAB_PA_INTS ? 2 : 1);
        if (w[at + 2] > INT32_MAX || words > p->header->n_words - at - 3)
            return 0;
        if (w[at + 1] == CAB_PA_TEXT && (words != 1 || !text_ok(p, w[at + 3])))
            return 0;
        at += 3 + words;
    }
    return at;
}

/* The end of its words, or 0. */
static uint64_t custom_ok(const cab_plan *p, const cab_plan_instr *x)
{
    const uint32_t *w = p->words + x->b;
    uint64_t at = (uint64_t)x->b + CAB_CUSTOM_HEAD;
    if (at > p->header->n_words || !text_ok(p, x->d) || !text_ok(p, x->e) ||
        !text_ok(p, w[CAB_CUSTOM_DOMAIN]) || !text_ok(p, w[CAB_CUSTOM_NAME]) ||
        !text_ok(p, w[CAB_CUSTOM_NODE]) || w[CAB_CUSTOM_OUTPUTS] == 0)
        return 0;
    at = custom_tensors_ok(p, at, w[CAB_CUSTOM_INPUTS], false);
    at = at ? custom_tensors_ok(p, at, w[CAB_CUSTOM_OUTPUTS], true) : 0;
    return at ? custom_attrs_ok(p, at, w[CAB_CUSTOM_ATTRS]) : 0;
}

/* In order, and none inside the words of another: what a loader makes of them
 * is bounded by the file. */
static cab_status check_custom(cab_plan *p, cab_error *e)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < p->header->n_instrs; i++) {
        const cab_plan_instr *x = &p->instrs[i];
        if (x->op != CAB_I_CUSTOM)
            continue;
        if (x->a != p->n_custom || x->b < end || !(end = custom_ok(p, x)))
            return bad(e, "a custom operator");
        p->n_custom++;
    }
    return CAB_OK;
}

static bool is_list(const cab_plan *p, uint32_t v)
{
    return v < p->header->n_values && p->values[v].kind != 0;
}

static bool list_value_ok(const cab_plan *p, char want, uint32_t v)
{
    bool list = is_list(p, v);
    switch (want) {
    case 'L': return list;
    case 'W': return list && p->values[v].cls != CAB_V_INPUT;
    case 'B': return is_value(p, v, CAB_V_BORROWED);
    case 'D': return !list && writable(p, v);
    default: return !list;
    }
}

static bool list_instr_ok(const cab_plan *p, const cab_plan_instr *x)
{
    uint32_t n_values, n_params;
    uint64_t at = list_ok(p, x->b, p->header->n_values, &n_values);
    const cab_list_row *row = cab_list_row_of(x->a);
    if (!row || !at || !list_ok(p, at, p->header->n_scalars, &n_params) || !text_ok(p, x->d) ||
        n_values != strlen(row->values))
        return false;
    if (row->n_params >= 0 ? n_params != (uint32_t)row->n_params
                           : n_params < 1 || n_params > 1 + CAB_PLAN_MAX_RANK)
        return false;
    for (uint32_t i = 0; i < n_values; i++)
        if (!list_value_ok(p, row->values[i], p->words[x->b + 1 + i]))
            return false;
    return !row->sets || (x->c < p->header->n_scalars && p->scalars[x->c].op == CAB_S_SIZE_READ);
}

/* Memory of the session's own, of one class. */
static bool swap_ok(const cab_plan *p, uint32_t a, uint32_t b)
{
    if (is_value(p, a, CAB_V_LIST) || is_value(p, b, CAB_V_LIST))
        return is_value(p, a, CAB_V_LIST) && is_value(p, b, CAB_V_LIST);
    return (is_value(p, a, CAB_V_ARENA) && is_value(p, b, CAB_V_ARENA)) ||
           (is_value(p, a, CAB_V_DYNAMIC) && is_value(p, b, CAB_V_DYNAMIC));
}

static bool zero_ok(const cab_plan *p, const cab_plan_instr *x)
{
    uint64_t n = (uint64_t)x->c * CAB_ZERO_PART;
    if (!writable(p, x->a) || p->values[x->a].kind)
        return false;
    if (n && (x->b > p->header->n_words || n > p->header->n_words - x->b))
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (p->words[x->b + i] >= p->header->n_scalars)
            return false;
    return true;
}

static bool band_ok(const cab_plan *p, uint32_t i)
{
    const cab_plan_instr *x = &p->instrs[i];
    uint32_t n_values, n_params;
    uint64_t at = list_ok(p, x->b, p->header->n_values, &n_values);
    if (!at || !list_ok(p, at, p->header->n_scalars, &n_params))
        return false;
    if (x->a < 2 || x->a > CAB_BAND_LAUNCHES || x->a >= p->header->n_instrs - i ||
        n_values >= CAB_BAND_LAUNCHES || n_params != 1 + 2 * n_values)
        return false;
    for (uint32_t k = 1; k <= x->a; k++)
        if (p->instrs[i + k].op != CAB_I_LAUNCH)
            return false;
    return true;
}

static bool instr_ok(const cab_plan *p, uint32_t i)
{
    const cab_plan_instr *x = &p->instrs[i];
    const cab_plan_header *h = p->header;
    switch (x->op) {
    case CAB_I_LAUNCH:
    case CAB_I_HELPER: return call_ok(p, x);
    case CAB_I_ZERO: return zero_ok(p, x);
    case CAB_I_COPY: return writable(p, x->a) && x->b < h->n_values && !p->values[x->a].kind &&
                            !p->values[x->b].kind;
    case CAB_I_EVAL_SHAPE: return x->a >= p->n_early && x->a <= x->b && x->b <= h->n_scalars;
    case CAB_I_SET: return x->a < h->n_scalars && x->b < h->n_scalars &&
                           p->scalars[x->a].op == CAB_S_SIZE_READ;
    case CAB_I_CHECK: return x->a < h->n_checks && text_ok(p, x->d);
    case CAB_I_SWAP: return swap_ok(p, x->a, x->b);
    case CAB_I_LIST: return list_instr_ok(p, x);
    case CAB_I_SIZE_READ: return x->a < h->n_scalars && x->b < h->n_values &&
                                 p->scalars[x->a].op == CAB_S_SIZE_READ;
    case CAB_I_ALLOC: return is_value(p, x->a, CAB_V_DYNAMIC) ||
                             (is_value(p, x->a, CAB_V_OUTPUT) &&
                              p->values[x->a].slot_bytes >= p->n_early && !x->b);
    case CAB_I_JUMP: return x->a < h->n_instrs;
    case CAB_I_BRANCH: return x->a < h->n_instrs && x->b < h->n_scalars;
    case CAB_I_LOOP: return x->a < h->n_scalars && x->b < h->n_scalars && x->c < h->n_instrs &&
                            p->scalars[x->a].op == CAB_S_SIZE_READ;
    case CAB_I_NEXT: return x->b < i && p->instrs[x->b].op == CAB_I_LOOP &&
                            p->instrs[x->b].a == x->a;
    case CAB_I_SAME: return x->a < h->n_instrs && x->b < h->n_values && x->c < h->n_values;
    case CAB_I_BAND: return band_ok(p, i);
    case CAB_I_END:
    case CAB_I_CUSTOM: return true;    /* check_custom */
    default: return false;
    }
}

static cab_status check_instrs(const cab_plan *p, cab_error *e)
{
    uint32_t n = p->header->n_instrs;
    if (n == 0 || p->instrs[n - 1].op != CAB_I_END)
        return bad(e, "the plan has no end");
    for (uint32_t i = 0; i < n; i++)
        if (!instr_ok(p, i))
            return bad(e, "instructions");
    return CAB_OK;
}

/* Fills in where the parts of a variant lie; hashes them. */
static cab_status find_parts(const cab_artifact *a, uint32_t variant, cab_plan *out, cab_error *e)
{
    const cab_file_section *plan = cab_artifact_find(a, CAB_SEC_PLAN, variant);
    const cab_file_section *code = cab_artifact_find(a, CAB_SEC_CODE, variant);
    const cab_file_section *text = cab_artifact_find(a, CAB_SEC_STRINGS, 0);
    const cab_file_section *weights = cab_artifact_find(a, CAB_SEC_WEIGHTS, 0);
    CAB_TRY(cab_artifact_check(a, plan, e));
    CAB_TRY(cab_artifact_check(a, text, e));
    CAB_TRY(cab_artifact_check(a, code, e));
    out->isa = plan->isa;
    out->strings = (const char *)cab_artifact_bytes(a, text);
    if (text->bytes == 0 || text->bytes > UINT32_MAX || out->strings[text->bytes - 1] != 0)
        return bad(e, "strings");
    out->strings_bytes = (uint32_t)text->bytes;
    out->code = cab_artifact_bytes(a, code);
    out->code_offset = code->offset;
    out->code_bytes = code->bytes;
    out->weights = cab_artifact_bytes(a, weights);
    out->weights_offset = weights->offset;
    out->weights_bytes = weights->bytes;
    return read_tables(cab_artifact_bytes(a, plan), plan->bytes, out, e);
}

cab_status cab_plan_open(const cab_artifact *a, uint32_t variant, cab_plan *out, cab_error *e)
{
    memset(out, 0, sizeof *out);
    CAB_TRY(find_parts(a, variant, out, e));
    if (!text_ok(out, out->header->model_name) || !text_ok(out, out->header->producer))
        return bad(e, "names");
    CAB_TRY(check_scalars(out, e));
    CAB_TRY(check_values(out, e));
    CAB_TRY(check_instrs(out, e));
    return check_custom(out, e);
}

cab_status cab_plan_check_bytes(const void *bytes, uint64_t n, cab_plan *out, cab_error *e)
{
    cab_artifact a;
    CAB_TRY(cab_artifact_open(bytes, n, &a, e));
    return cab_plan_open(&a, 0, out, e);
}
