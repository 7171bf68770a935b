/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c_flow.c - the instructions of a plan as C functions.
 *
 * What computes stands in functions of a few steps each; execute() calls them
 * in order, and has what decides what runs: jumps, symbols of the run, checks.
 * Memory is placed before anything runs, so a tensor whose size only the run
 * decides has no form here.
 */
#include "codegen/c_model_int.h"
#include <string.h>

enum { STEPS_PER_FUNCTION = 32 };

/* ---- what has no form ---- */

static cab_status refuse(const cab_cmodel *c, const char *name)
{
    return cab_fail(c->diag, CAB_EUNSUPPORTED, NULL, "C text has no form for a tensor whose size "
                    "is decided by data ('%s'): compile to an artifact", name);
}

cab_status cab_cm_sizes_are_early(const cab_cmodel *c)
{
    for (size_t i = 0; i < c->w->values.n; i++) {
        const cab_plan_value *v = &c->w->values.p[i];
        if (v->kind)
            return cab_fail(c->diag, CAB_EUNSUPPORTED, NULL, "C text has no form for sequences and "
                            "optionals ('%s'): compile to an artifact", cab_cm_text(c, v->name));
        bool late = v->cls == CAB_V_DYNAMIC || v->slot_bytes >= c->n_early ||
                    (v->cls == CAB_V_ALIAS && v->slot_offset >= c->n_early);
        for (int k = 0; v->cls == CAB_V_OUTPUT && k < v->rank; k++)
            late |= v->dims[k] >= c->n_early;
        if (late)
            return refuse(c, cab_cm_text(c, v->name));
    }
    for (size_t i = 0; i < c->w->instrs.n; i++) {
        const cab_plan_instr *x = &c->w->instrs.p[i];
        const uint32_t *w = c->w->words.p + x->b;
        if (x->op == CAB_I_HELPER && w[2 + w[0] + 1] >= c->n_early)
            return refuse(c, cab_cm_text(c, x->d));
    }
    return CAB_OK;
}

/* ---- what decides ---- */

typedef struct writer {
    cab_cmodel *c;
    cab_buf top;               /* the inside of execute() */
    uint8_t *target;           /* per instruction: something jumps there */
    size_t n_functions;
    int n_steps;               /* in the open function; 0: none is open */
} writer;

static void size_read(writer *w, const cab_plan_instr *x)
{
    cab_dtype dt = cab_dtype_from_onnx(w->c->w->values.p[x->b].dtype);
    int bits = cab_dtype_bits(dt);
    const char *sign = cab_dtype_is_signed(dt) && dt != CAB_DT_bool ? "" : "u";
    cab_buf_printf(&w->top, "    {\n        %sint%d_t x;\n"
                   "        memcpy(&x, v[%u] + %u, sizeof x);\n        z->s[%u] = (i64)x;\n    }\n",
                   sign, bits, x->b, x->c * (uint32_t)bits / 8, x->a);
}

static void eval_shape(writer *w, const cab_plan_instr *x)
{
    cab_buf *b = w->c->b;
    w->c->b = &w->top;
    cab_buf_str(&w->top, "    {\n");
    cab_cm_slots(w->c, x->a, x->b);
    cab_buf_str(&w->top, "    }\n");
    w->c->b = b;
}

static void check(writer *w, const cab_plan_instr *x)
{
    const char *node = cab_cm_text(w->c, x->d);
    cab_buf *b = w->c->b;
    w->c->b = &w->top;
    cab_buf_str(&w->top, *node ? "    if (!in_node(" : "    if (!");
    cab_cm_check(w->c, &w->c->w->checks.p[x->a]);
    if (*node) {
        cab_buf_str(&w->top, ", ");
        cab_cm_quote(&w->top, node);
        cab_buf_char(&w->top, ')');
    }
    cab_buf_str(&w->top, ")\n        return 0;\n");
    w->c->b = b;
}

static void bounds(writer *w, const cab_plan_instr *x)
{
    const cab_cmodel *c = w->c;
    const uint32_t *at = c->w->words.p + x->b;
    const cab_plan_value *v = &c->w->values.p[at[1]];
    cab_buf_printf(&w->top, "    if (!in_node(rows_of(v[%u], %d, %s, ", at[1], cab_dtype_bits(cab_dtype_from_onnx(v->dtype)) / 8,
                   cab_cm_slot(c, at[3]));
    cab_buf_printf(&w->top, "%s, ", cab_cm_slot(c, at[4]));
    cab_cm_quote(&w->top, cab_cm_text(c, v->name));
    cab_buf_str(&w->top, "), ");
    cab_cm_quote(&w->top, cab_cm_text(c, x->d));
    cab_buf_str(&w->top, "))\n        return 0;\n");
}

/* False when x computes. */
static bool decide(writer *w, const cab_plan_instr *x)
{
    const cab_cmodel *c = w->c;
    const cab_plan_instr *loop = &c->w->instrs.p[x->op == CAB_I_NEXT ? x->b : 0];
    cab_buf *b = &w->top;
    switch (x->op) {
    case CAB_I_SIZE_READ: size_read(w, x); return true;
    case CAB_I_EVAL_SHAPE: eval_shape(w, x); return true;
    case CAB_I_CHECK: check(w, x); return true;
    case CAB_I_HELPER:
        if (x->a == CAB_H_bounds)
            bounds(w, x);
        return x->a == CAB_H_bounds;
    case CAB_I_SET:
        cab_buf_printf(b, "    z->s[%u] = %s;\n", x->a, cab_cm_slot(c, x->b));
        return true;
    case CAB_I_SWAP:
        cab_buf_printf(b, "    {\n        u8 *t = v[%u];\n        v[%u] = v[%u];\n"
                          "        v[%u] = t;\n    }\n", x->a, x->a, x->b, x->b);
        return true;
    case CAB_I_JUMP:
        cab_buf_printf(b, "    goto i%u;\n", x->a);
        return true;
    case CAB_I_BRANCH:
        cab_buf_printf(b, "    if (%s == 0)\n        goto i%u;\n", cab_cm_slot(c, x->b), x->a);
        return true;
    case CAB_I_LOOP:
        cab_buf_printf(b, "    z->s[%u] = 0;\n    if (z->s[%u] >= %s)\n        goto i%u;\n",
                       x->a, x->a, cab_cm_slot(c, x->b), x->c);
        return true;
    case CAB_I_NEXT:
        cab_buf_printf(b, "    if (++z->s[%u] < %s)\n        goto i%u;\n    goto i%u;\n", x->a,
                       cab_cm_slot(c, loop->b), x->b + 1, loop->c);
        return true;
    case CAB_I_SAME:           /* no state is held: what follows is done */
        return true;
    case CAB_I_END:
        cab_buf_str(b, "    return 1;\n");
        return true;
    default:
        return false;
    }
}

static void find_targets(writer *w)
{
    const cab_planner *p = w->c->w;
    for (size_t i = 0; i < p->instrs.n; i++) {
        const cab_plan_instr *x = &p->instrs.p[i];
        if (x->op == CAB_I_JUMP || x->op == CAB_I_BRANCH)
            w->target[x->a] = 1;
        else if (x->op == CAB_I_LOOP)
            w->target[x->c] = 1;
        else if (x->op == CAB_I_NEXT)
            w->target[x->b + 1] = 1;
    }
}

/* ---- in order ---- */

static void close_function(writer *w)
{
    if (w->n_steps)
        cab_buf_str(w->c->b, "}\n\n");
    w->n_steps = 0;
}

static cab_status compute(writer *w, const cab_plan_instr *x)
{
    if (w->n_steps == STEPS_PER_FUNCTION)
        close_function(w);
    if (!w->n_steps) {
        cab_buf_printf(w->c->b, "static void steps_%zu(const sizes *z, u8 *const *v, u8 *work)\n{\n"
                                "    (void)z;\n    (void)v;\n    (void)work;\n", w->n_functions);
        cab_buf_printf(&w->top, "    steps_%zu(z, v, work);\n", w->n_functions++);
    }
    w->n_steps++;
    return cab_cm_step(w->c, x);
}

cab_status cab_cm_steps(cab_cmodel *c)
{
    writer w = { .c = c, .top = cab_buf_on(c->arena),
                 .target = CAB_NEW_N(c->arena, uint8_t, c->w->instrs.n + 1) };
    find_targets(&w);
    for (size_t i = 0; i < c->w->instrs.n; i++) {
        const cab_plan_instr *x = &c->w->instrs.p[i];
        if (w.target[i]) {
            close_function(&w);
            cab_buf_printf(&w.top, "i%zu:;\n", i);
        }
        if (decide(&w, x))
            close_function(&w);
        else
            CAB_TRY(compute(&w, x));
    }
    cab_buf_str(c->b, "static int execute(sizes *z, u8 **v, u8 *work)\n{\n"
                      "    (void)z;\n    (void)v;\n    (void)work;\n");
    cab_buf_bytes(c->b, w.top.p, w.top.n);
    cab_buf_str(c->b, "}\n\n");
    return CAB_OK;
}
