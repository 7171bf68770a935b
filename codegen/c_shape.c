/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c_shape.c - the shape program as straight-line C: inputs -> sizes.
 *
 * Writes struct sizes, measure() (checks the inputs, computes every size and
 * places the buffers), and what fills in and checks tensors.  Where no size
 * depends on an input the numbers stand in the text and nothing is computed.
 */
#include "codegen/c_model_int.h"

static const char *const op_names[CAB_S_COUNT] = {
    [CAB_S_ADD] = "s_add", [CAB_S_SUB] = "s_sub", [CAB_S_MUL] = "s_mul",
    [CAB_S_FLOORDIV] = "s_floor", [CAB_S_CEILDIV] = "s_ceil", [CAB_S_MOD] = "s_mod",
    [CAB_S_MIN] = "s_min", [CAB_S_MAX] = "s_max",
};

static const cab_plan_value *io_value(const cab_cmodel *c, const int *io, size_t i, uint32_t *at)
{
    *at = c->w->value_of[io[i]];
    return &c->w->values.p[*at];
}

static void quoted(cab_cmodel *c, uint32_t string)
{
    cab_cm_quote(c->b, cab_cm_text(c, string));
}

/* ---- the sizes ---- */

static void slots(cab_cmodel *c)
{
    cab_buf_str(c->b, "    int ok = 1;\n");
    for (size_t i = 0; i < c->w->scalars.slots.n; i++) {
        const cab_plan_scalar *s = &c->w->scalars.slots.p[i];
        if (s->op == CAB_S_INPUT_DIM)
            cab_buf_printf(c->b, "    z->s[%zu] = in[%u].dims[%u];\n", i, s->a, s->b);
        else if (s->op == CAB_S_CAPACITY)      /* no state is held: the extent itself */
            cab_buf_printf(c->b, "    z->s[%zu] = %s;\n", i, cab_cm_slot(c, s->a));
        else if (s->op != CAB_S_CONST)
            cab_buf_printf(c->b, "    ok = ok && %s(%s, %s, &z->s[%zu]);\n", op_names[s->op],
                           cab_cm_slot(c, s->a), cab_cm_slot(c, s->b), i);
    }
    cab_buf_str(c->b, "    if (!ok)\n        return say(\"a size overflows or divides by zero "
                      "for these input shapes\", \"\", 0, 0, 0);\n");
}

static void input_types(cab_cmodel *c)
{
    const cab_program *p = c->w->p;
    uint32_t at;
    for (size_t i = 0; i < p->inputs.n; i++) {
        const cab_plan_value *v = io_value(c, p->inputs.p, i, &at);
        cab_buf_printf(c->b, "    if (!input_is(&in[%zu], ", i);
        quoted(c, v->name);
        cab_buf_printf(c->b, ", %d, %d))\n        return 0;\n", v->dtype, v->rank);
    }
}

static void extents(cab_cmodel *c)
{
    const cab_program *p = c->w->p;
    uint32_t at;
    for (size_t i = 0; i < p->inputs.n; i++) {
        const cab_plan_value *v = io_value(c, p->inputs.p, i, &at);
        for (int k = 0; k < v->rank; k++) {
            cab_buf_printf(c->b, "    if (!extent(&in[%zu], ", i);
            quoted(c, v->name);
            cab_buf_printf(c->b, ", %d, %s, ", k, cab_cm_slot(c, v->dims[k]));
            quoted(c, c->w->scalars.slots.p[v->dims[k]].name);
            cab_buf_str(c->b, "))\n        return 0;\n");
        }
    }
}

static void guards(cab_cmodel *c)
{
    for (size_t i = 0; i < c->w->checks.n; i++) {
        const cab_plan_check *k = &c->w->checks.p[i];
        cab_buf_printf(c->b, "    if (!equal(%s, %s, ", cab_cm_slot(c, k->a), cab_cm_slot(c, k->b));
        quoted(c, k->why);
        cab_buf_str(c->b, "))\n        return 0;\n");
    }
}

/* A slot once, as bytes where it is both. */
static void size_check(cab_cmodel *c, uint8_t *seen, uint32_t slot, bool bytes, uint32_t name)
{
    int64_t known;
    if (seen[slot] || cab_cm_known(c, slot, &known))
        return;
    seen[slot] = 1;
    cab_buf_printf(c->b, "    if (!size_is(%s, %s, ", cab_cm_slot(c, slot),
                   bytes ? "(i64)1 << 47" : "INT64_MAX");
    quoted(c, name);
    cab_buf_str(c->b, "))\n        return 0;\n");
}

static void sizes(cab_cmodel *c)
{
    uint8_t *seen = CAB_NEW_N(c->arena, uint8_t, c->w->scalars.slots.n + 1);
    for (size_t i = 0; i < c->w->values.n; i++)
        size_check(c, seen, c->w->values.p[i].slot_bytes, true, c->w->values.p[i].name);
    for (size_t i = 0; i < c->w->values.n; i++)
        for (int k = 0; k < c->w->values.p[i].rank; k++)
            size_check(c, seen, c->w->values.p[i].dims[k], false, c->w->values.p[i].name);
}

/* ---- where buffers are ---- */

/* The first and last step of every buffer in the arena. */
static void lives(cab_cmodel *c)
{
    size_t seen = 0;
    if (c->fixed || !c->n_arena)
        return;
    cab_buf_printf(c->b, "enum { N_BUFFERS = %zu };\n\n"
                         "/* First and last step that uses each buffer. */\n"
                         "static const u32 life[N_BUFFERS][2] = {", c->n_arena);
    for (size_t i = 0; i < c->w->values.n; i++) {
        const cab_plan_value *v = &c->w->values.p[i];
        if (v->cls == CAB_V_ARENA)
            cab_buf_printf(c->b, "%s{ %u, %u },", seen++ % 6 ? " " : "\n    ", v->first, v->last);
    }
    cab_buf_str(c->b, "\n};\n\n");
}

static void placing(cab_cmodel *c)
{
    size_t n = 0;
    if (c->fixed) {
        cab_buf_printf(c->b, "    z->scratch = z->work = %lluu;\n",
                       (unsigned long long)c->arena_bytes);
        return;
    }
    if (!c->n_arena) {
        cab_buf_str(c->b, "    z->scratch = z->work = 0;\n");
        return;
    }
    cab_buf_str(c->b, "    u64 size[N_BUFFERS];\n");
    for (size_t i = 0; i < c->w->values.n; i++)
        if (c->w->values.p[i].cls == CAB_V_ARENA)
            cab_buf_printf(c->b, "    size[%zu] = (u64)%s;\n", n++,
                           cab_cm_slot(c, c->w->values.p[i].slot_bytes));
    cab_buf_str(c->b, "    z->scratch = z->work = place(life, N_BUFFERS, size, z->at, z->order);\n");
}

/* Helpers work behind the buffers. */
static void scratch(cab_cmodel *c)
{
    for (size_t i = 0; i < c->w->instrs.n; i++) {
        const cab_plan_instr *x = &c->w->instrs.p[i];
        if (x->op != CAB_I_HELPER)
            continue;
        uint32_t slot;
        int key = cab_cm_helper_room(c, x, &slot);
        if (key)
            cab_buf_printf(c->b, "    if (!room(%s, %d, z))\n        return 0;\n",
                           cab_cm_slot(c, slot), key);
    }
}

static void measure(cab_cmodel *c)
{
    cab_cm_put(c, "/* Checks what is known of the inputs before their bytes are read. */\n"
                  "static int measure(const @_tensor *in, sizes *z)\n{\n    (void)in;\n");
    if (c->rows)
        cab_buf_str(c->b, "    if (!little_endian())\n        return say(\"the constants of this text "
                          "are for little-endian machines\", \"\", 0, 0, 0);\n");
    input_types(c);
    if (!c->fixed)
        slots(c);
    extents(c);
    guards(c);
    sizes(c);
    placing(c);
    scratch(c);
    cab_buf_str(c->b, "    return 1;\n}\n\n");
}

/* ---- inputs and outputs ---- */

static void outputs(cab_cmodel *c)
{
    const cab_program *p = c->w->p;
    uint32_t at;
    cab_cm_put(c, "static void describe(const sizes *z, @_tensor *out, u64 *need)\n{\n"
                  "    (void)z;\n    (void)out;\n    (void)need;\n");
    for (size_t i = 0; i < p->outputs.n; i++) {
        const cab_plan_value *v = io_value(c, p->outputs.p, i, &at);
        cab_buf_printf(c->b, "    out[%zu].dtype = %d;\n    out[%zu].rank = %d;\n", i, v->dtype,
                       i, v->rank);
        for (int k = 0; k < v->rank; k++)
            cab_buf_printf(c->b, "    out[%zu].dims[%d] = %s;\n", i, k, cab_cm_slot(c, v->dims[k]));
        cab_buf_printf(c->b, "    need[%zu] = (u64)%s;\n", i, cab_cm_slot(c, v->slot_bytes));
    }
    cab_buf_str(c->b, "}\n\n");
}

static void inputs(cab_cmodel *c)
{
    const cab_program *p = c->w->p;
    uint32_t at;
    cab_cm_put(c, "static int read_inputs(const sizes *z, const @_tensor *in)\n{\n"
                  "    (void)z;\n    (void)in;\n");
    for (size_t i = 0; i < p->inputs.n; i++) {
        const cab_plan_value *v = io_value(c, p->inputs.p, i, &at);
        const char *bytes = cab_cm_slot(c, v->slot_bytes);
        cab_buf_printf(c->b, "    if (!given(&in[%zu], ", i);
        quoted(c, v->name);
        cab_buf_printf(c->b, ", (u64)%s))\n        return 0;\n", bytes);
        if (!(v->flags & CAB_V_FIXED) || c->w->constants.list.p[c->w->constant_of.p[at]].bytes == 0)
            continue;
        cab_buf_printf(c->b, "    if (!same(&in[%zu], ", i);
        quoted(c, v->name);
        cab_buf_printf(c->b, ", &%s, (u64)%s))\n        return 0;\n",
                       cab_cm_constant(c, c->w->constant_of.p[at]), bytes);
    }
    cab_buf_str(c->b, "    return 1;\n}\n\n");
}

void cab_cm_shape(cab_cmodel *c)
{
    lives(c);
    measure(c);
    inputs(c);
    outputs(c);
}
