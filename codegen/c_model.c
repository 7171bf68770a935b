/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c_model.c - a whole model as one file of portable C11.
 *
 * Made from the same kernels and the same plan as the artifact (cab_plan_build):
 * kernels by the C renderer, the shape program as straight-line code, steps in
 * order (c_flow.c), constants as static arrays, buffers overlaid by lifetime.  The text
 * needs libc and libm, no extension of any compiler, and has no state but the
 * text of the last error of a thread.  Steps run on the calling thread.
 */
#include "codegen/c_model_int.h"
#include <string.h>

/* ---- small pieces ---- */

void cab_cm_put(cab_cmodel *c, const char *text)
{
    for (size_t n; *text; text += n) {
        n = strcspn(text, "@");
        cab_buf_bytes(c->b, text, n);
        if (text[n] == '@') {
            cab_buf_str(c->b, c->prefix);
            n++;
        }
    }
}

bool cab_cm_known(const cab_cmodel *c, uint32_t slot, int64_t *out)
{
    const cab_plan_scalar *s = &c->w->scalars.slots.p[slot];
    if (s->op == CAB_S_CONST)
        *out = s->imm;
    return s->op == CAB_S_CONST;
}

const char *cab_cm_slot(const cab_cmodel *c, uint32_t slot)
{
    int64_t v;
    if (!cab_cm_known(c, slot, &v))
        return cab_printf(c->arena, "z->s[%u]", slot);
    if (v == INT64_MIN)
        return "INT64_MIN";
    return cab_printf(c->arena, v < 0 ? "(%lld)" : "%lld", (long long)v);
}

const char *cab_cm_text(const cab_cmodel *c, uint32_t string)
{
    return c->w->scalars.text.p + string;
}

void cab_cm_comment(cab_buf *b, const char *text)
{
    for (; *text; text++) {
        bool plain = *text >= 32 && *text < 127 && *text != '*' && *text != '\\' && *text != '?';
        cab_buf_char(b, plain ? *text : '_');
    }
}

void cab_cm_quote(cab_buf *b, const char *text)
{
    enum { MOST = 500 };       /* C11 promises 4095; a name is no novel */
    cab_buf_char(b, '"');
    for (int i = 0; text[i] && i < MOST; i++) {
        unsigned char x = (unsigned char)text[i];
        if (x < 32 || x >= 127 || x == '"' || x == '\\' || x == '?')
            cab_buf_printf(b, "\\%03o", x);
        else
            cab_buf_char(b, (char)x);
    }
    cab_buf_char(b, '"');
}

/* ---- where values are ---- */

static void value_at(cab_cmodel *c, size_t i)
{
    const cab_plan_value *v = &c->w->values.p[i];
    int constant = c->w->constant_of.p[i];
    cab_buf_printf(c->b, "    v[%zu] = ", i);
    switch (v->cls) {
    case CAB_V_INPUT: cab_buf_printf(c->b, "in[%u].data;\n", v->index); break;
    case CAB_V_OUTPUT: cab_buf_printf(c->b, "out[%u].data;\n", v->index); break;
    case CAB_V_ALIAS:
        cab_buf_printf(c->b, "v[%u] + %s;\n", v->index, cab_cm_slot(c, v->slot_offset));
        break;
    case CAB_V_CONST:
        if (c->w->constants.list.p[constant].bytes)
            cab_buf_printf(c->b, "(u8 *)&%s;\n", cab_cm_constant(c, constant));
        else
            cab_buf_str(c->b, "NULL;\n");
        break;
    default:
        if (c->fixed)
            cab_buf_printf(c->b, "work + %llu;\n", (unsigned long long)c->at[i]);
        else
            cab_buf_printf(c->b, "work + z->at[%llu];\n", (unsigned long long)c->at[i]);
    }
}

static void locate(cab_cmodel *c)
{
    cab_cm_put(c, "static void locate(const sizes *z, const @_tensor *in, const @_tensor *out, "
                  "u8 *work,\n                   u8 **v)\n{\n"
                  "    (void)z;\n    (void)in;\n    (void)out;\n    (void)work;\n    (void)v;\n");
    for (size_t i = 0; i < c->w->values.n; i++)
        value_at(c, i);
    cab_buf_str(c->b, "}\n\n");
}

/* ---- steps ---- */

static void call_arguments(cab_cmodel *c, const cab_plan_instr *x)
{
    const uint32_t *w = c->w->words.p + x->b, *param = w + 1 + w[0];
    cab_buf_str(c->b, "        void *const b[] = { ");
    for (uint32_t i = 0; i < w[0]; i++)
        cab_buf_printf(c->b, "%sv[%u]", i ? ", " : "", w[1 + i]);
    cab_buf_str(c->b, w[0] ? " };\n" : "NULL };\n");
    cab_buf_str(c->b, "        const i64 n[] = { ");
    for (uint32_t i = 0; i < param[0]; i++)
        cab_buf_printf(c->b, "%s%s", i ? ", " : "", cab_cm_slot(c, param[1 + i]));
    cab_buf_str(c->b, param[0] ? " };\n" : "0 };\n");
}

static void call(cab_cmodel *c, const cab_plan_instr *x)
{
    cab_buf_str(c->b, "    {   /* ");
    cab_cm_comment(c->b, cab_cm_text(c, x->e));
    cab_buf_str(c->b, ": ");
    cab_cm_comment(c->b, cab_cm_text(c, x->d));
    cab_buf_str(c->b, " */\n");
    call_arguments(c, x);
    if (x->op == CAB_I_LAUNCH) {
        cab_buf_printf(c->b, "        %s(b, n, 0, %s);\n    }\n", c->w->src->units[x->a].symbol,
                       cab_cm_slot(c, x->c));
        return;
    }
    cab_buf_printf(c->b, "        %s(b, n, work + z->scratch);\n    }\n",
                   cab_cm_helper_name(c, x));
}

static void clear(cab_cmodel *c, const cab_plan_instr *x)
{
    const char *bytes = cab_cm_slot(c, c->w->values.p[x->a].slot_bytes);
    if (!x->c)
        cab_buf_printf(c->b, "    if (%s > 0)\n        memset(v[%u], 0, (size_t)%s);\n", bytes, x->a,
                       bytes);
    for (uint32_t i = 0; i < x->c; i++) {
        const uint32_t *w = c->w->words.p + x->b + i * CAB_ZERO_PART;
        cab_buf_printf(c->b, "    for (i64 i = 0; %s > 0 && i < %s; i++)\n        memset(v[%u] + ",
                       bytes, cab_cm_slot(c, w[3]), x->a);
        cab_buf_printf(c->b, "%s + i * %s, 0, (size_t)%s);\n", cab_cm_slot(c, w[0]),
                       cab_cm_slot(c, w[2]), cab_cm_slot(c, w[1]));
    }
}

cab_status cab_cm_step(cab_cmodel *c, const cab_plan_instr *x)
{
    switch (x->op) {
    case CAB_I_LAUNCH: case CAB_I_HELPER:
        if (x->op == CAB_I_HELPER && !cab_cm_helper_name(c, x))
            return cab_fail(c->diag, CAB_EUNSUPPORTED, NULL,
                            "C text has no form yet for the runtime's helper %u", x->a);
        call(c, x);
        return CAB_OK;
    case CAB_I_ZERO:
        clear(c, x);
        return CAB_OK;
    default:
        break;
    }
    return cab_fail(c->diag, CAB_EUNSUPPORTED, NULL,
                    "C text has no form yet for a plan's instruction %u", x->op);
}

/* ---- the public functions ---- */

static const char public_text[] =
    "static void drop_outputs(@_tensor *out, const u8 *made)\n{\n"
    "    for (int i = 0; i < @_OUTPUTS; i++)\n"
    "        if (made[i]) {\n            free(out[i].data);\n            out[i].data = NULL;\n        }\n}\n\n"
    "/* Memory for the outputs that bring none; all or nothing. */\n"
    "static int make_outputs(@_tensor *out, const u64 *need, u8 *made)\n{\n"
    "    int ok = 1;\n"
    "    for (int i = 0; i < @_OUTPUTS && ok; i++) {\n"
    "        if (out[i].data && out[i].bytes < need[i]) {\n"
    "            ok = say(\"output %d needs %d bytes, %d are given\", \"\", i, (i64)need[i],\n"
    "                     (i64)out[i].bytes);\n"
    "        } else if (!out[i].data) {\n"
    "            out[i].data = malloc((size_t)need[i] + 1);\n"
    "            out[i].bytes = (size_t)need[i];\n"
    "            made[i] = 1;\n"
    "            ok = out[i].data ? 1 : say(\"no memory for output %d\", \"\", i, 0, 0);\n"
    "        }\n    }\n"
    "    if (!ok)\n        drop_outputs(out, made);\n"
    "    return ok;\n}\n\n"
    "int @_run(const @_tensor *inputs, @_tensor *outputs)\n{\n"
    "    sizes z = { 0 };\n    u64 need[@_OUTPUTS + 1];\n"
    "    u8 *v[N_VALUES], *work, made[@_OUTPUTS + 1] = { 0 };\n    int ok;\n"
    "    if (!measure(inputs, &z) || !read_inputs(&z, inputs))\n        return 1;\n"
    "    describe(&z, outputs, need);\n"
    "    work = z.work < SIZE_MAX ? malloc((size_t)z.work + 1) : NULL;\n"
    "    if (!work)\n"
    "        return 1 + say(\"no memory for %d bytes of intermediate tensors\", \"\", (i64)z.work, 0, 0);\n"
    "    if (!make_outputs(outputs, need, made)) {\n        free(work);\n        return 1;\n    }\n"
    "    locate(&z, inputs, outputs, work, v);\n"
    "    ok = execute(&z, v, work);\n"
    "    free(work);\n"
    "    if (!ok)\n        drop_outputs(outputs, made);\n"
    "    return !ok;\n}\n\n"
    "int @_memory(const @_tensor *inputs, @_tensor *outputs, size_t *work)\n{\n"
    "    sizes z = { 0 };\n    u64 need[@_OUTPUTS + 1];\n"
    "    if (!measure(inputs, &z))\n        return 1;\n"
    "    describe(&z, outputs, need);\n"
    "    for (int i = 0; i < @_OUTPUTS; i++)\n        outputs[i].bytes = (size_t)need[i];\n"
    "    *work = (size_t)z.work + 1;\n"
    "    return 0;\n}\n\n"
    "const char *@_error(void) { return error_text; }\n";

/* ---- the file ---- */

static void title(cab_cmodel *c)
{
    cab_buf_str(c->b, "/*\n * ");
    cab_cm_comment(c->b, c->o->model_name ? c->o->model_name : c->prefix);
    cab_buf_str(c->b, " as portable C11, made by ");
    cab_cm_comment(c->b, c->o->producer ? c->o->producer : "cabochon");
    cab_buf_printf(c->b, ".\n *\n"
        " * Needs libc and libm: cc -std=c11 -O2 FILE.c -lm.  Keep the strict mode\n"
        " * (-std=c11, no -ffast-math): contraction of a * b + c would change results.  Many\n"
        " * kernels call fmaf; where the machine has it as an instruction (-mfma, -march=native)\n"
        " * they are far faster, with the same results.\n *\n"
        " * Schedule: %s\n */\n", c->o->naive
        ? "naive.  Scalar loops in the order of the axes, the bytes of cab run --naive."
        : "the tiles and vectors of the artifact (written as loops over lanes), so the\n"
          " * results are the same bytes as the artifact's for the same --target (x86-64-v3\n"
          " * unless one is named, as this text does not know its machine).");
}

static void state(cab_cmodel *c)
{
    bool late = c->n_early < c->w->scalars.slots.n;
    size_t n = c->fixed && !late ? 0 : c->w->scalars.slots.n;
    cab_buf_printf(c->b, "enum { N_VALUES = %zu };\n\n", c->w->values.n + 1);
    cab_buf_printf(c->b, "typedef struct sizes {\n"
        "    i64 s[%zu];                  /* the shape program's numbers */\n"
        "    u64 at[%zu];                 /* offsets in the work memory */\n"
        "    u32 order[%zu];\n"
        "    u64 scratch, work;          /* where helpers work; bytes in all */\n} sizes;\n\n",
        n + 1, c->n_arena + 1, c->n_arena + 1);
    cab_buf_str(c->b, "#ifdef __STDC_NO_THREADS__\nstatic char error_text[400];\n#else\n"
                      "static _Thread_local char error_text[400];\n#endif\n\n");
}

/* Whether all sizes of buffers are numbers, and then where buffers are. */
static cab_status place(cab_cmodel *c)
{
    const cab_planner *w = c->w;
    size_t n = w->scalars.slots.n, n_values = w->values.n;
    int64_t *slot = CAB_NEW_N(c->arena, int64_t, n + 1);
    uint32_t *order = CAB_NEW_N(c->arena, uint32_t, n_values + 1);
    c->at = CAB_NEW_N(c->arena, uint64_t, n_values + 1);
    c->fixed = true;
    while (c->n_early < n && w->scalars.slots.p[c->n_early].op != CAB_S_SIZE_READ)
        c->n_early++;
    CAB_TRY(cab_cm_sizes_are_early(c));
    for (size_t i = 0; i < c->n_early; i++) {
        c->fixed &= w->scalars.slots.p[i].op == CAB_S_CONST;
        slot[i] = w->scalars.slots.p[i].imm;
    }
    for (size_t i = 0; i < n_values; i++)
        if (w->values.p[i].cls == CAB_V_ARENA)
            c->at[i] = c->n_arena++;
    if (c->fixed && !cab_arena_pack(w->values.p, (uint32_t)n_values, slot, c->at, order,
                                    &c->arena_bytes))
        return cab_fail(c->diag, CAB_ELIMIT, NULL, "the buffers exceed the address space");
    return CAB_OK;
}

static cab_status tensors_only(const cab_program *p, cab_diag *d)
{
    const int *const io[2] = { p->inputs.p, p->outputs.p };
    const size_t n[2] = { p->inputs.n, p->outputs.n };
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < n[k]; i++)
            if (p->buffers.p[io[k][i]].type.kind != CAB_KIND_tensor)
                return cab_fail(d, CAB_EUNSUPPORTED, NULL, "'%s' is no tensor: C text has tensors "
                                "only", p->buffers.p[io[k][i]].name);
    return CAB_OK;
}

/* Everything that calls the fixed functions. */
static cab_status body(cab_cmodel *c)
{
    cab_cm_shape(c);
    cab_cm_helpers(c);
    locate(c);
    CAB_TRY(cab_cm_steps(c));
    cab_cm_put(c, public_text);
    return CAB_OK;
}

static void kernels(cab_cmodel *c)
{
    size_t n = c->w->src->n_units;
    const cab_kir **k = CAB_NEW_N(c->arena, const cab_kir *, n + 1);
    for (size_t i = 0; i < n; i++)
        k[i] = c->w->src->units[i].kernel.kir;
    cab_buf_str(c->b, "\n#include <math.h>\n#include <stdlib.h>\n#include <string.h>\n\n");
    cab_kirs_to_c(c->b, k, (int)n, cab_cm_calls_halves(c));
}

cab_status cab_c_model(cab_arena *a, const cab_plan_source *s, cab_buf *out, cab_diag *d)
{
    cab_planner w;
    cab_buf tail = cab_buf_on(a);
    CAB_TRY(tensors_only(s->program, d));
    CAB_TRY(cab_plan_build(a, s, &w, d));
    cab_cmodel c = { .arena = a, .b = out, .w = &w, .o = s->options, .diag = d,
                     .prefix = s->options->prefix ? s->options->prefix : "model" };
    CAB_TRY(place(&c));
    title(&c);
    cab_cm_api(out, s->program, c.prefix);
    kernels(&c);
    cab_cm_constants(&c);
    state(&c);
    c.b = &tail;
    CAB_TRY(body(&c));
    c.b = out;
    cab_cm_functions(&c, cab_buf_cstr(&tail));
    cab_buf_bytes(out, tail.p, tail.n);
    return CAB_OK;
}

cab_status cab_c_header(const cab_program *p, const cab_codegen_options *o, cab_buf *out,
                        cab_diag *d)
{
    CAB_TRY(tensors_only(p, d));
    cab_cm_api(out, p, o->prefix ? o->prefix : "model");
    return CAB_OK;
}
