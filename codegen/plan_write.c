/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_write.c - program + kernels + image -> the bytes of a .cab file.
 *
 * Turns buffers into plan values with their lifetimes, steps into
 * instructions, dimension expressions into slots, and lays out the sections
 * in an anonymous file.  Offsets of arena buffers are not decided here: the
 * runtime packs them per shape from the lifetimes.
 */
#include "codegen/codegen_int.h"
#include <string.h>

/* ---- values ---- */

/* A sequence or an optional: what its elements are. */
static cab_status fill_list(cab_planner *w, cab_plan_value *v, const cab_buffer *b)
{
    const cab_type *e = b->type.elem;
    v->kind = b->type.kind == CAB_KIND_sequence ? 1 : 2;
    if (e->kind != CAB_KIND_tensor) {
        v->flags |= CAB_V_NESTED;
        e = e->elem;
    }
    v->dtype = (uint8_t)cab_dtype_onnx(e->dtype);
    v->offset = e->rank == CAB_RANK_UNKNOWN ? CAB_PLAN_NONE : (uint64_t)e->rank;
    v->name = cab_scalars_text(&w->scalars, b->name);
    v->slot_bytes = cab_scalars_const(&w->scalars, 0);
    if (v->cls == CAB_V_ARENA)
        v->cls = CAB_V_LIST;
    return CAB_OK;
}

static cab_status fill_type(cab_planner *w, cab_plan_value *v, const cab_buffer *b)
{
    if (b->type.kind != CAB_KIND_tensor)
        return fill_list(w, v, b);
    v->kind = (uint8_t)b->type.kind;
    v->dtype = (uint8_t)cab_dtype_onnx(b->type.dtype);
    v->rank = (uint8_t)b->type.rank;
    v->name = cab_scalars_text(&w->scalars, b->name);
    for (int i = 0; i < b->type.rank; i++)
        CAB_TRY(cab_scalars_slot(&w->scalars, b->type.dims[i], &v->dims[i], w->diag));
    return cab_scalars_bytes(&w->scalars, w->p->dims, b->elems, b->type.dtype,
                             &v->slot_bytes, w->diag);
}

static uint32_t index_in(const int *list, size_t n, int buffer)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == buffer)
            return (uint32_t)i;
    return CAB_PLAN_NONE;
}

static uint32_t push_value(cab_planner *w, cab_plan_value v, int constant)
{
    v.first = CAB_PLAN_NONE;
    cab_vec_push(w->arena, &w->values, v);
    cab_vec_push(w->arena, &w->constant_of, constant);
    return (uint32_t)w->values.n - 1;
}

static cab_status classify(cab_planner *w, cab_plan_value *v, int buffer, int *constant)
{
    const cab_buffer *b = &w->p->buffers.p[buffer];
    uint32_t at;
    switch (b->kind) {
    case CAB_BUFFER_INPUT:
        v->cls = CAB_V_INPUT;
        v->index = index_in(w->p->inputs.p, w->p->inputs.n, buffer);
        if (b->blob) {
            v->flags |= CAB_V_FIXED;
            *constant = cab_constants_add(&w->constants, buffer, b->blob, NULL);
        }
        return CAB_OK;
    case CAB_BUFFER_CONST:
        v->cls = CAB_V_CONST;
        *constant = cab_constants_add(&w->constants, buffer, b->blob, NULL);
        return CAB_OK;
    case CAB_BUFFER_OUTPUT:
    case CAB_BUFFER_TEMP:
        break;
    }
    if (b->alias_of >= 0) {
        v->cls = CAB_V_ALIAS;
        CAB_TRY(cab_plan_value_of(w, b->alias_of, &at));
        v->index = at;
        return cab_scalars_bytes(&w->scalars, w->p->dims, b->alias_at, b->type.dtype,
                                 &v->slot_offset, w->diag);
    }
    v->cls = b->kind == CAB_BUFFER_OUTPUT ? CAB_V_OUTPUT : CAB_V_ARENA;
    if (b->kind == CAB_BUFFER_OUTPUT)
        v->index = index_in(w->p->outputs.p, w->p->outputs.n, buffer);
    if (b->zeroed)
        v->flags |= CAB_V_ZEROED;
    return CAB_OK;
}

cab_status cab_plan_value_of(cab_planner *w, int buffer, uint32_t *out)
{
    if (w->value_of[buffer] == CAB_PLAN_NONE) {
        cab_plan_value v = { 0 };
        int constant = -1;
        CAB_TRY(classify(w, &v, buffer, &constant));
        CAB_TRY(fill_type(w, &v, &w->p->buffers.p[buffer]));
        w->value_of[buffer] = push_value(w, v, constant);
    }
    *out = w->value_of[buffer];
    return CAB_OK;
}

/* A value that exists for one launch only: packed constant or scratch. */
static cab_status packed_value(cab_planner *w, int buffer, const cab_pack *pack, uint32_t *out)
{
    const cab_buffer *b = &w->p->buffers.p[buffer];
    int c = cab_constants_add(&w->constants, buffer, b->blob, pack);
    for (size_t i = 0; i < w->values.n; i++)
        if (w->constant_of.p[i] == c && w->values.p[i].cls == CAB_V_CONST) {
            *out = (uint32_t)i;
            return CAB_OK;
        }
    cab_plan_value v = { .cls = CAB_V_CONST, .dtype = (uint8_t)cab_dtype_onnx(b->type.dtype),
                         .name = cab_scalars_text(&w->scalars, b->name) };
    v.slot_bytes = cab_scalars_const(&w->scalars, (int64_t)w->constants.list.p[c].bytes);
    *out = push_value(w, v, c);
    return CAB_OK;
}

static cab_status scratch_value(cab_planner *w, const cab_dim *bytes, uint32_t *out)
{
    cab_plan_value v = { .cls = CAB_V_ARENA, .dtype = (uint8_t)cab_dtype_onnx(CAB_DT_u8),
                         .name = cab_scalars_text(&w->scalars, "scratch") };
    CAB_TRY(cab_scalars_slot(&w->scalars, bytes, &v.slot_bytes, w->diag));
    *out = push_value(w, v, -1);
    return CAB_OK;
}

/* Widens the lifetime of a value and of what it lives in. */
void cab_plan_touch(cab_planner *w, uint32_t value)
{
    uint32_t now = (uint32_t)w->instrs.n;
    for (;;) {
        cab_plan_value *v = &w->values.p[value];
        if (v->first == CAB_PLAN_NONE)
            v->first = now;
        v->last = now;
        if (v->cls != CAB_V_ALIAS)
            return;
        value = v->index;
    }
}

/* ---- instructions ---- */

static void word(cab_planner *w, uint32_t x) { cab_vec_push(w->arena, &w->words, x); }

/* A word that is the slot of x. */
cab_status cab_plan_slot_word(cab_planner *w, const cab_dim *x)
{
    uint32_t slot;
    CAB_TRY(cab_scalars_slot(&w->scalars, x, &slot, w->diag));
    cab_vec_push(w->arena, &w->slot_words, (uint32_t)w->words.n);
    word(w, slot);
    return CAB_OK;
}

/* A zeroed buffer is cleared just before the first step that touches it. */
static cab_status clear_first(cab_planner *w, const cab_step *s)
{
    for (int i = 0; i < s->n_args; i++) {
        int b = s->args[i];
        if (b < 0)
            continue;
        while (w->p->buffers.p[b].alias_of >= 0)
            b = w->p->buffers.p[b].alias_of;
        if (!w->p->buffers.p[b].zeroed || w->zero_done[b])
            continue;
        w->zero_done[b] = 1;
        uint32_t v;
        CAB_TRY(cab_plan_value_of(w, b, &v));
        cab_plan_touch(w, v);
        CAB_TRY(cab_plan_zero(w, &w->p->buffers.p[b], v));
    }
    return CAB_OK;
}

static const cab_pack *pack_of(const cab_kernel *k, int operand)
{
    for (int i = 0; i < k->n_packs; i++)
        if (k->packs[i].operand == operand)
            return &k->packs[i];
    return NULL;
}

static cab_status arguments(cab_planner *w, const cab_step *s, const cab_kernel *k)
{
    uint32_t v;
    word(w, (uint32_t)(s->n_args + (k ? k->n_scratch : 0)));
    for (int i = 0; i < s->n_args; i++) {
        const cab_pack *pack = k ? pack_of(k, i) : NULL;
        CAB_TRY(pack ? packed_value(w, s->args[i], pack, &v) : cab_plan_value_of(w, s->args[i], &v));
        cab_plan_touch(w, v);
        word(w, v);
    }
    for (int i = 0; k && i < k->n_scratch; i++) {
        CAB_TRY(scratch_value(w, k->scratch[i], &v));
        cab_plan_touch(w, v);
        word(w, v);
    }
    int n = k ? k->n_params : s->n_params;
    const cab_dim *const *params = k ? k->params : s->params;
    word(w, (uint32_t)n);
    for (int i = 0; i < n; i++)
        CAB_TRY(cab_plan_slot_word(w, params[i]));
    return CAB_OK;
}

static uint32_t helper_number(const char *name)
{
#define HELPER(number, id, nv, np) if (!strcmp(name, #id)) return number;
    CAB_HELPERS(HELPER)
#undef HELPER
    return CAB_PLAN_NONE;
}

/* ---- kernels of the host program (words: runtime/plan.h) ---- */
static cab_status custom_tensor(cab_planner *w, int buffer, const cab_type *t)
{
    uint32_t v = CAB_PLAN_NONE;
    if (buffer >= 0) {
        CAB_TRY(cab_plan_value_of(w, buffer, &v));
        cab_plan_touch(w, v);
    }
    word(w, v);
    word(w, buffer < 0 ? 0 : (uint32_t)cab_dtype_onnx(t->dtype));
    word(w, buffer < 0 ? 0 : (uint32_t)t->rank);
    for (int k = 0; buffer >= 0 && k < t->rank; k++)
        CAB_TRY(cab_plan_slot_word(w, t->dims[k]));
    return CAB_OK;
}

static void custom_attr(cab_planner *w, const cab_foreign_attr *a)
{
    word(w, cab_scalars_text(&w->scalars, a->name));
    word(w, a->text ? CAB_PA_TEXT : a->ints ? CAB_PA_INTS : CAB_PA_FLOATS);
    word(w, (uint32_t)a->n);
    if (a->text)
        word(w, cab_scalars_text(&w->scalars, a->text));
    for (int k = 0; a->ints && k < a->n; k++) {
        word(w, (uint32_t)a->ints[k]);
        word(w, (uint32_t)((uint64_t)a->ints[k] >> 32));
    }
    for (int k = 0; a->floats && k < a->n; k++) {
        uint32_t bits;
        memcpy(&bits, &a->floats[k], sizeof bits);
        word(w, bits);
    }
}

static cab_status write_custom(cab_planner *w, const cab_step *s, cab_plan_instr *x)
{
    const cab_step_custom *c = s->custom;
    x->op = CAB_I_CUSTOM;
    x->a = w->n_custom++;
    word(w, cab_scalars_text(&w->scalars, c->domain));
    word(w, cab_scalars_text(&w->scalars, c->name));
    word(w, x->d);
    word(w, (uint32_t)c->n_in);
    word(w, (uint32_t)(s->n_args - c->n_in));
    word(w, (uint32_t)c->n_attrs);
    for (int i = 0; i < s->n_args; i++)
        CAB_TRY(custom_tensor(w, s->args[i], &c->types[i]));
    for (int i = 0; i < c->n_attrs; i++)
        custom_attr(w, &c->attrs[i]);
    return CAB_OK;
}

/* Goes around the launch that follows when its condition is 0, or when the
 * state it copies lies where it was. */
static cab_status skip_unless(cab_planner *w, const cab_step *s)
{
    cab_plan_instr x = { .op = s->past ? CAB_I_SAME : CAB_I_BRANCH,
                         .a = (uint32_t)w->instrs.n + 2 };
    if (!s->past && !s->when)
        return CAB_OK;
    if (s->past) {
        const cab_program_state *t = &w->p->states.p[s->past - 1];
        CAB_TRY(cab_plan_value_of(w, w->p->inputs.p[t->input], &x.b));
        CAB_TRY(cab_plan_value_of(w, w->p->outputs.p[t->output], &x.c));
    } else {
        CAB_TRY(cab_scalars_slot(&w->scalars, s->when, &x.b, w->diag));
    }
    cab_vec_push(w->arena, &w->instrs, x);
    return CAB_OK;
}

/* None where nothing is written: an axis beside one of no extent may be as long as a caller says. */
static const cab_dim *tasks_of(const cab_planner *w, const cab_step *s, const cab_kernel *k)
{
    cab_dims *d = w->p->dims;
    const cab_dim *written = cab_dim_const(d, 0);
    for (int i = 0; i < s->n_args; i++)
        if (s->spec->operands[i].written)
            written = cab_dim_add(d, written, s->spec->operands[i].elems);
    return cab_dim_mul(d, k->n_tasks, cab_dim_min(d, written, cab_dim_const(d, 1)));
}

/* All that the launches of a band use is alive as long as the band runs. */
static cab_status touch_band(cab_planner *w, const cab_band *b)
{
    for (int k = b->first; k < b->first + b->n; k++) {
        const cab_step *s = &w->p->steps.p[k];
        for (int i = 0; i < s->n_args; i++) {
            uint32_t v;
            if (w->p->buffers.p[s->args[i]].kind == CAB_BUFFER_CONST)
                continue;
            CAB_TRY(cab_plan_value_of(w, s->args[i], &v));
            cab_plan_touch(w, v);
        }
    }
    return CAB_OK;
}

static cab_status band_part(cab_planner *w, const cab_band *b, int i, const cab_dim *rows)
{
    int bytes = cab_dtype_bits(w->p->buffers.p[b->buffer[i]].type.dtype) / 8;
    return cab_plan_slot_word(w, cab_dim_mul(w->p->dims, cab_dim_mul(w->p->dims, rows, b->stride[i]),
                                             cab_dim_const(w->p->dims, bytes)));
}

/* What steps of a band need before they run comes before all of them. */
static cab_status open_band(cab_planner *w, const cab_band *b)
{
    cab_plan_follow(w);
    for (int k = b->first; k < b->first + b->n; k++)
        CAB_TRY(cab_plan_alloc_first(w, &w->p->steps.p[k]));
    for (int k = b->first; k < b->first + b->n; k++)
        CAB_TRY(clear_first(w, &w->p->steps.p[k]));
    CAB_TRY(touch_band(w, b));
    cab_plan_instr x = { .op = CAB_I_BAND, .a = (uint32_t)b->n, .b = (uint32_t)w->words.n };
    word(w, (uint32_t)b->n - 1);
    for (int i = 0; i < b->n - 1; i++)
        word(w, w->value_of[b->buffer[i]]);
    word(w, 1 + 2 * ((uint32_t)b->n - 1));
    CAB_TRY(cab_plan_slot_word(w, b->per));
    for (int i = 0; i < b->n - 1; i++) {
        CAB_TRY(band_part(w, b, i, b->block));
        CAB_TRY(band_part(w, b, i, b->rows));
    }
    cab_vec_push(w->arena, &w->instrs, x);
    return CAB_OK;
}

static cab_status write_step(cab_planner *w, size_t i)
{
    const cab_step *s = &w->p->steps.p[i];
    const cab_band *band = cab_band_of(w->src->bands, i);
    if (cab_flow_row_of(s->kind))
        return cab_plan_flow(w, s);
    if (band && band->first == (int)i)
        CAB_TRY(open_band(w, band));
    if (band)
        CAB_TRY(touch_band(w, band));
    cab_plan_follow(w);
    CAB_TRY(cab_plan_alloc_first(w, s));
    CAB_TRY(clear_first(w, s));
    CAB_TRY(skip_unless(w, s));
    cab_plan_instr x = { .b = (uint32_t)w->words.n, .d = cab_scalars_text(&w->scalars, s->loc),
                         .e = cab_scalars_text(&w->scalars, s->what) };
    if (s->kind == CAB_STEP_CUSTOM) {
        CAB_TRY(write_custom(w, s, &x));
    } else if (s->kind == CAB_STEP_HELPER) {
        x.op = CAB_I_HELPER;
        x.a = helper_number(s->helper);
        if (x.a == CAB_PLAN_NONE)
            return cab_fail(w->diag, CAB_EINTERNAL, NULL, "no helper '%s'", s->helper);
        CAB_TRY(arguments(w, s, NULL));
    } else {
        int unit = w->src->unit_of_step[i];
        const cab_kernel *k = &w->src->units[unit].kernel;
        x.op = CAB_I_LAUNCH;
        x.a = (uint32_t)unit;
        CAB_TRY(arguments(w, s, k));
        CAB_TRY(cab_scalars_slot(&w->scalars, tasks_of(w, s, k), &x.c, w->diag));
    }
    cab_vec_push(w->arena, &w->instrs, x);
    return CAB_OK;
}

static cab_status write_kernels(cab_planner *w)
{
    for (size_t i = 0; i < w->src->n_units; i++) {
        const cab_symbol *y = cab_image_find(w->src->image, w->src->units[i].symbol);
        if (!y)
            return cab_fail(w->diag, CAB_EINTERNAL, NULL, "kernel %s was not linked",
                            w->src->units[i].symbol);
        cab_plan_kernel k = { cab_scalars_text(&w->scalars, y->name), 0, y->offset, y->bytes };
        cab_vec_push(w->arena, &w->kernels, k);
    }
    return CAB_OK;
}

static cab_status write_checks(cab_planner *w)
{
    for (size_t i = 0; i < w->p->guards.n; i++) {
        const cab_guard_eq *g = &w->p->guards.p[i];
        cab_plan_check c = { 0 };
        CAB_TRY(cab_scalars_slot(&w->scalars, g->lhs, &c.a, w->diag));
        CAB_TRY(cab_scalars_slot(&w->scalars, g->rhs, &c.b, w->diag));
        c.why = cab_scalars_text(&w->scalars, g->why);
        c.kind = g->le ? CAB_C_LE : CAB_C_EQ;
        cab_vec_push(w->arena, &w->checks, c);
    }
    return CAB_OK;
}

/* Inputs and outputs live for the whole run. */
static cab_status write_io(cab_planner *w, const int *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t v;
        CAB_TRY(cab_plan_value_of(w, list[i], &v));
    }
    return CAB_OK;
}

/* The values of outputs that go on from an input say so. */
static cab_status write_states(cab_planner *w)
{
    for (size_t i = 0; i < w->p->states.n; i++) {
        const cab_program_state *s = &w->p->states.p[i];
        cab_plan_value *v = &w->values.p[w->value_of[w->p->outputs.p[s->output]]];
        v->flags |= CAB_V_GROWS;
        v->offset = CAB_GROWS(s->input, s->axis);
        CAB_TRY(cab_scalars_slot(&w->scalars, s->room_out, &v->slot_offset, w->diag));
    }
    return CAB_OK;
}

static cab_status plan(cab_planner *w)
{
    const cab_program *p = w->p;
    cab_scalars_bind_inputs(&w->scalars, p);
    cab_plan_bind_symbols(w);
    CAB_TRY(cab_scalars_bind_states(&w->scalars, p, w->diag));
    CAB_TRY(write_io(w, p->inputs.p, p->inputs.n));
    CAB_TRY(write_io(w, p->outputs.p, p->outputs.n));
    CAB_TRY(write_states(w));
    CAB_TRY(write_checks(w));
    for (size_t i = 0; i < p->steps.n; i++)
        CAB_TRY(write_step(w, i));
    CAB_TRY(cab_plan_alloc_outputs(w));
    cab_vec_push(w->arena, &w->instrs, ((cab_plan_instr){ .op = CAB_I_END }));
    if (w->src->image)
        CAB_TRY(write_kernels(w));
    for (size_t i = 0; i < w->values.n; i++) {
        cab_plan_value *v = &w->values.p[i];
        if (v->first == CAB_PLAN_NONE)
            v->first = v->last = 0;
        if (w->constant_of.p[i] >= 0)
            v->offset = w->constants.list.p[w->constant_of.p[i]].offset;
    }
    cab_plan_finish_flow(w);
    return CAB_OK;
}

/* ---- the plan section ---- */

void cab_plan_bytes(cab_planner *w, cab_buf *b)
{
    const cab_program *p = w->p;
    cab_plan_header h = {
        (uint32_t)w->scalars.slots.n, (uint32_t)w->checks.n, (uint32_t)w->values.n,
        (uint32_t)w->kernels.n, (uint32_t)w->instrs.n, (uint32_t)w->words.n,
        (uint32_t)p->inputs.n, (uint32_t)p->outputs.n,
        cab_scalars_text(&w->scalars, w->src->options->model_name),
        cab_scalars_text(&w->scalars, w->src->options->producer), { 0 }
    };
    if (w->src->options->model_hash)
        memcpy(h.model_hash, w->src->options->model_hash, sizeof h.model_hash);
    cab_buf_bytes(b, &h, sizeof h);
    cab_buf_bytes(b, w->scalars.slots.p, w->scalars.slots.n * sizeof *w->scalars.slots.p);
    cab_buf_bytes(b, w->checks.p, w->checks.n * sizeof *w->checks.p);
    cab_buf_bytes(b, w->values.p, w->values.n * sizeof *w->values.p);
    cab_buf_bytes(b, w->kernels.p, w->kernels.n * sizeof *w->kernels.p);
    cab_buf_bytes(b, w->instrs.p, w->instrs.n * sizeof *w->instrs.p);
    cab_buf_bytes(b, w->words.p, w->words.n * sizeof *w->words.p);
    for (size_t i = 0; i < p->inputs.n; i++)
        cab_buf_bytes(b, &w->value_of[p->inputs.p[i]], 4);
    for (size_t i = 0; i < p->outputs.n; i++)
        cab_buf_bytes(b, &w->value_of[p->outputs.p[i]], 4);
}

/* Strings and constants are common to all variants of a file. */
static void go_on_from(cab_planner *w, const cab_planner *before)
{
    w->constants = before->constants;
    w->scalars.text = before->scalars.text;
    w->scalars.strings = before->scalars.strings;
}

cab_status cab_plan_build(cab_arena *a, const cab_plan_source *s, cab_planner *out, cab_diag *d)
{
    *out = (cab_planner){ .arena = a, .src = s, .p = s->program, .diag = d };
    cab_scalars_init(&out->scalars, a);
    cab_constants_init(&out->constants, a);
    if (s->before)
        go_on_from(out, s->before);
    if (s->compare)
        cab_constants_compare(&out->constants);
    out->value_of = CAB_NEW_N(a, uint32_t, out->p->buffers.n);
    out->zero_done = CAB_NEW_N(a, uint8_t, out->p->buffers.n);
    out->swaps_late = CAB_NEW_N(a, uint8_t, out->p->buffers.n);
    out->has_memory = CAB_NEW_N(a, uint8_t, out->p->buffers.n);
    for (size_t i = 0; i < out->p->buffers.n; i++)
        out->value_of[i] = CAB_PLAN_NONE;
    return plan(out);
}
