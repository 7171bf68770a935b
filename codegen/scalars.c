/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scalars.c - the shape program: dimension expressions become int64 slots.
 *
 * Each distinct expression is one slot, computed from earlier ones; symbols
 * come from the extents of the inputs, or are set during the run.  At the end
 * the slots are put in order: those that the inputs decide, then behind each
 * symbol of the run what follows from it and from earlier ones.  Also owns the strings section, since
 * slots carry the names of their symbols.
 */
#include "codegen/codegen_int.h"
#include <string.h>

void cab_scalars_init(cab_scalars *s, cab_arena *a)
{
    *s = (cab_scalars){ .arena = a, .by_dim = cab_map_create(a),
                        .strings = cab_map_create(a), .text = cab_buf_on(a) };
    cab_scalars_text(s, "");
}

uint32_t cab_scalars_text(cab_scalars *s, const char *text)
{
    text = text ? text : "";
    uintptr_t known = (uintptr_t)cab_map_gets(s->strings, text);
    if (known)
        return (uint32_t)(known - 1);
    size_t at = s->text.n;
    cab_buf_bytes(&s->text, text, strlen(text) + 1);
    cab_map_sets(s->strings, text, (void *)(uintptr_t)(at + 1));
    return (uint32_t)at;
}

static uint32_t push(cab_scalars *s, cab_plan_scalar x)
{
    cab_vec_push(s->arena, &s->slots, x);
    return (uint32_t)s->slots.n - 1;
}

static uint32_t lookup(const cab_scalars *s, const cab_dim *x)
{
    uintptr_t v = (uintptr_t)cab_map_getu(s->by_dim, (uintptr_t)x);
    return v ? (uint32_t)(v - 1) : CAB_PLAN_NONE;
}

static uint32_t remember(cab_scalars *s, const cab_dim *x, uint32_t slot)
{
    cab_map_setu(s->by_dim, (uintptr_t)x, (void *)((uintptr_t)slot + 1));
    return slot;
}

void cab_scalars_bind_inputs(cab_scalars *s, const cab_program *p)
{
    for (size_t i = 0; i < p->inputs.n; i++) {
        const cab_type *t = &p->buffers.p[p->inputs.p[i]].type;
        for (int k = 0; k < t->rank; k++) {
            const cab_dim *x = t->dims[k];
            if (x->kind != CAB_DIM_SYM || lookup(s, x) != CAB_PLAN_NONE)
                continue;
            cab_plan_scalar slot = { CAB_S_INPUT_DIM, (uint32_t)i, (uint32_t)k,
                                     cab_scalars_text(s, x->name), 0 };
            remember(s, x, push(s, slot));
        }
    }
}

void cab_scalars_bind_late(cab_scalars *s, const cab_dim *sym)
{
    if (lookup(s, sym) == CAB_PLAN_NONE) {
        cab_plan_scalar slot = { CAB_S_SIZE_READ, 0, 0, cab_scalars_text(s, sym->name), 0 };
        remember(s, sym, push(s, slot));
    }
}

/* The symbol x: an extent where no session holds the state. */
static cab_status bind_room(cab_scalars *s, const cab_dim *x, const cab_dim *extent, int output,
                            cab_diag *d)
{
    uint32_t dense;
    if (lookup(s, x) != CAB_PLAN_NONE)
        return CAB_OK;
    CAB_TRY(cab_scalars_slot(s, extent, &dense, d));
    remember(s, x, push(s, (cab_plan_scalar){ CAB_S_CAPACITY, dense, (uint32_t)output,
                                              cab_scalars_text(s, ""), 0 }));
    return CAB_OK;
}

cab_status cab_scalars_bind_states(cab_scalars *s, const cab_program *p, cab_diag *d)
{
    for (size_t i = 0; i < p->states.n; i++) {
        const cab_program_state *x = &p->states.p[i];
        const cab_type *in = &p->buffers.p[p->inputs.p[x->input]].type;
        const cab_type *out = &p->buffers.p[p->outputs.p[x->output]].type;
        CAB_TRY(bind_room(s, x->room_in, in->dims[x->axis], x->output, d));
        CAB_TRY(bind_room(s, x->room_out, out->dims[x->axis], x->output, d));
    }
    return CAB_OK;
}

uint32_t cab_scalars_const(cab_scalars *s, int64_t v)
{
    for (size_t i = 0; i < s->slots.n; i++)
        if (s->slots.p[i].op == CAB_S_CONST && s->slots.p[i].imm == v)
            return (uint32_t)i;
    return push(s, (cab_plan_scalar){ CAB_S_CONST, 0, 0, 0, v });
}

static const uint32_t op_of_kind[] = {
    [CAB_DIM_ADD] = CAB_S_ADD,           [CAB_DIM_MUL] = CAB_S_MUL,
    [CAB_DIM_FLOORDIV] = CAB_S_FLOORDIV, [CAB_DIM_CEILDIV] = CAB_S_CEILDIV,
    [CAB_DIM_MOD] = CAB_S_MOD,           [CAB_DIM_MIN] = CAB_S_MIN,
    [CAB_DIM_MAX] = CAB_S_MAX,
};

cab_status cab_scalars_slot(cab_scalars *s, const cab_dim *x, uint32_t *out, cab_diag *d)
{
    *out = lookup(s, x);
    if (*out != CAB_PLAN_NONE)
        return CAB_OK;
    if (x->kind == CAB_DIM_CONST) {
        *out = remember(s, x, cab_scalars_const(s, x->value));
        return CAB_OK;
    }
    if (x->kind == CAB_DIM_SYM) {
        cab_fail(d, CAB_EUNSUPPORTED, NULL,
                 "the size '%s' is not an extent of any input", x->name);
        cab_note(d, "it is decided by data during the run; give it a value with "
                    "--dim %s=NUMBER if it is fixed", x->name);
        return CAB_EUNSUPPORTED;
    }
    uint32_t acc, arg;
    CAB_TRY(cab_scalars_slot(s, x->args[0], &acc, d));
    for (int i = 1; i < x->n_args; i++) {
        CAB_TRY(cab_scalars_slot(s, x->args[i], &arg, d));
        acc = push(s, (cab_plan_scalar){ op_of_kind[x->kind], acc, arg, 0, 0 });
    }
    *out = remember(s, x, acc);
    return CAB_OK;
}

cab_status cab_scalars_bytes(cab_scalars *s, cab_dims *dims, const cab_dim *elems,
                             cab_dtype dt, uint32_t *out, cab_diag *d)
{
    const cab_dim *bits = cab_dim_mul(dims, elems, cab_dim_const(dims, cab_dtype_bits(dt)));
    return cab_scalars_slot(s, cab_dim_ceildiv(dims, bits, cab_dim_const(dims, 8)), out, d);
}

/* ---- order ---- */
static bool has_arguments(const cab_plan_scalar *x)
{
    return x->op >= CAB_S_ADD && x->op <= CAB_S_MAX;
}

/* 0: an early slot; else the number of the last symbol it follows from. */
static uint32_t *find_ranks(const cab_scalars *s)
{
    uint32_t *rank = CAB_NEW_N(s->arena, uint32_t, s->slots.n + 1), n = 0;
    for (size_t i = 0; i < s->slots.n; i++) {
        const cab_plan_scalar *x = &s->slots.p[i];
        if (x->op == CAB_S_SIZE_READ)
            rank[i] = ++n;
        else if (x->op == CAB_S_CAPACITY)
            rank[i] = rank[x->a];
        else if (has_arguments(x))
            rank[i] = rank[x->a] > rank[x->b] ? rank[x->a] : rank[x->b];
    }
    return rank;
}

uint32_t *cab_scalars_order(cab_scalars *s)
{
    uint32_t n = (uint32_t)s->slots.n, at = 0, ranks = 0;
    uint32_t *rank = find_ranks(s), *to = CAB_NEW_N(s->arena, uint32_t, n + 1);
    cab_plan_scalar *old = cab_dup(s->arena, s->slots.p, n * sizeof *old);
    for (uint32_t i = 0; i < n; i++)
        ranks = rank[i] > ranks ? rank[i] : ranks;
    for (uint32_t r = 0; r <= ranks; r++)
        for (uint32_t i = 0; i < n; i++)
            if (rank[i] == r)
                to[i] = at++;
    for (uint32_t i = 0; i < n; i++) {
        cab_plan_scalar x = old[i];
        if (has_arguments(&x)) {
            x.a = to[x.a];
            x.b = to[x.b];
        }
        if (x.op == CAB_S_CAPACITY)
            x.a = to[x.a];
        s->slots.p[to[i]] = x;
    }
    return to;
}
