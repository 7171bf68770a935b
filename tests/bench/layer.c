/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer.c - graph text -> passes -> kernels -> functions on plain memory.
 *
 * What the runtime does around kernels is left out on purpose: buffers live
 * apart and stay where they are.  Shapes are static.
 */
#include "tests/bench/layer.h"
#include "passes/pass.h"
#include <stdio.h>
#include <stdlib.h>

float *layer_floats(uint64_t n)
{
    float *p = aligned_alloc(4096, (n * 4 + 8191) / 4096 * 4096);

    for (uint64_t i = 0; p && i < n; i++)
        p[i] = (float)((i * 7919 % 1000) / 1000.0 - 0.5);
    return p;
}

/* ---- texts ---- */

const char *layer_product_text(cab_arena *a, int64_t m, int64_t n, int64_t k, bool constant)
{
    char b = constant ? 'w' : 'v';

    return cab_printf(a, "graph @row(%%x: f32[%lld,%lld], %%%c: f32[%lld,%lld]) -> (%%y) onnx {\n"
                      "  %%y = MatMul %%x, %%%c : none[] loc \"layer\" \"MatMul\" 13\n}\n", (long long)m,
                      (long long)k, b, (long long)k, (long long)n, b);
}

/* The input of a convolution comes from another one before it, which writes
 * its halo, as in a model. */
#define BEFORE "  %%p = Conv %%x, %%u : none[] loc \"before\" \"Conv\" 11\n"
enum { BEFORE_CHANNELS = 4 };

const char *layer_conv_text(cab_arena *a, int64_t h, int64_t c, int64_t o, int64_t kernel,
                            int64_t stride, int64_t group)
{
    long long p = kernel / 2, s = stride, k = kernel, in = c, out = o;

    return cab_printf(a,
        "graph @row(%%x: f32[1,%d,%lld,%lld], %%u: f32[%lld,%d,1,1], %%w: f32[%lld,%lld,%lld,%lld], "
        "%%b: f32[%lld]) -> (%%y) onnx {\n" BEFORE
        "  %%c = Conv %%p, %%w, %%b {pads = [%lld, %lld, %lld, %lld], strides = [%lld, %lld], group = %lld} "
        ": none[] loc \"layer\" \"Conv\" 11\n"
        "  %%y = Relu %%c : none[] loc \"layer\" \"Relu\" 14\n}\n", BEFORE_CHANNELS, (long long)h, (long long)h,
        in, BEFORE_CHANNELS, out, in / (long long)group, k, k, out, p, p, p, p, s, s, (long long)group);
}

const char *layer_pair_text(cab_arena *a, int64_t h, int64_t c, int64_t o)
{
    long long in = c, mid = o, n = h;

    return cab_printf(a,
        "graph @row(%%x: f32[1,%d,%lld,%lld], %%u: f32[%lld,%d,1,1], %%w: f32[%lld,%lld,1,1], %%b: f32[%lld], "
        "%%w1: f32[%lld,%lld,1,1], %%b1: f32[%lld]) -> (%%y) onnx {\n" BEFORE
        "  %%c = Conv %%p, %%w, %%b : none[] loc \"layer\" \"Conv\" 11\n"
        "  %%r = Relu %%c : none[] loc \"layer\" \"Relu\" 14\n"
        "  %%d = Conv %%r, %%w1, %%b1 : none[] loc \"layer\" \"Conv\" 11\n"
        "  %%y = Relu %%d : none[] loc \"layer\" \"Relu\" 14\n}\n", BEFORE_CHANNELS, n, n, in, BEFORE_CHANNELS,
        mid, in, mid, in, mid, in);
}

/* ---- the graph ---- */

static void hold(layer *l, const char *name, const float *p)
{
    if (!strcmp(name, "w"))
        l->w = p;
    else if (!strcmp(name, "b"))
        l->bias = p;
}

/* Inputs but x and v become constants. */
static void fix_weights(layer *l, cab_graph *g)
{
    for (size_t i = g->inputs.n; i-- > 0;) {
        cab_value *v = g->inputs.p[i];
        uint64_t n = (uint64_t)cab_type_numel_static(&v->type);
        const char *name = v->name;
        float *p;

        if (!strcmp(name, "x") || !strcmp(name, "v"))
            continue;
        p = layer_floats(n);
        cab_arena_cleanup(l->arena, free, p);
        hold(l, name, p);
        cab_value_replace(g, v, cab_const_blob(g, &v->type, p, n * sizeof *p, g->first));
        cab_graph_remove_input(g, i);
    }
}

/* ---- its memory ---- */

static float *place(const layer *l, int buffer)
{
    float **at = l->at;
    const cab_buffer *b = &l->program->buffers.p[buffer];

    if (at[buffer])
        return at[buffer];
    if (b->alias_of >= 0)
        return at[buffer] = place(l, b->alias_of) + b->alias_at->value;
    if (b->kind == CAB_BUFFER_CONST)
        return at[buffer] = (float *)(uintptr_t)b->blob->data;
    at[buffer] = layer_floats((uint64_t)b->elems->value);
    cab_arena_cleanup(l->arena, free, at[buffer]);
    if (b->zeroed)
        memset(at[buffer], 0, (size_t)b->elems->value * sizeof(float));
    return at[buffer];
}

static void *packed(const layer *l, const cab_pack *p, const void *from)
{
    void *to = layer_floats(packed_elems(p));

    cab_arena_cleanup(l->arena, free, to);
    pack_operand(p, from, to);
    return to;
}

/* ---- its kernels ---- */

bool layer_is_timed(const cab_step *s)
{
    return s->loc && strstr(s->loc, "layer") && s->what && strcmp(s->what, "copy") &&
           strcmp(s->what, "relayout");
}

static void add_cost(layer *l, const cab_spec *s, const bool *constant)
{
    cab_cost c;

    cab_spec_cost(s, constant, &c);
    l->flops += (double)c.flops->value;
    l->special += (double)c.special->value;
    l->bytes += (double)c.bytes->value;
}

/* BENCH_TILE=mr,nv,ku: another tile for products. */
static void override(cab_sched *s)
{
    const char *e = getenv("BENCH_TILE");
    int width;

    if (!e || s->nv < 1 || !s->n_block || sscanf(e, "%d,%d,%d", &s->mr, &s->nv, &s->ku) != 3)
        return;
    width = s->nv * s->lanes;
    s->n_block = (s->n_block + width - 1) / width * width;
}

static cab_status make_step(layer *l, const cab_step *s, const cab_target *t, cab_diag *d)
{
    layer_step *o = &l->step[l->n++];
    bool constant[LAYER_BUFS] = { false };
    cab_buf sched = cab_buf_on(l->arena);
    cab_sched how;
    cab_kernel k;
    const cab_kir *all[1];

    for (int i = 0; i < s->n_args; i++) {
        constant[i] = l->program->buffers.p[s->args[i]].kind == CAB_BUFFER_CONST;
        o->bufs[i] = place(l, s->args[i]);
    }
    how = cab_sched_choose(s->spec, t, constant, false);
    override(&how);
    CAB_TRY(cab_generate(l->arena, s->spec, &how, t, "k", &k, d));
    CAB_TRY(cab_kir_verify(k.kir, d));
    all[0] = k.kir;
    CAB_TRY(load_kernels(l->arena, all, 1, t, &o->code, d));
    o->f = loaded_find(&o->code, "k");
    for (int i = 0; i < k.n_packs; i++)
        o->bufs[k.packs[i].operand] = packed(l, &k.packs[i], o->bufs[k.packs[i].operand]);
    for (int i = 0; i < k.n_scratch; i++) {
        o->bufs[s->n_args + i] = layer_floats((uint64_t)k.scratch[i]->value / 4 + 1);
        cab_arena_cleanup(l->arena, free, o->bufs[s->n_args + i]);
    }
    o->tasks = k.n_tasks->value;
    o->timed = layer_is_timed(s);
    o->what = s->what;
    cab_sched_print(&sched, &how);
    o->sched = cab_buf_cstr(&sched);
    if (o->timed)
        add_cost(l, s->spec, constant);
    return CAB_OK;
}

cab_status layer_lower(cab_arena *a, const char *text, bool exact, layer *l, cab_diag *d)
{
    cab_pass_options po = { .exact = exact };
    cab_graph *g;

    *l = (layer){ .arena = a };
    CAB_TRY(cab_graph_parse(a, text, strlen(text), "layer", &g, d));
    fix_weights(l, g);
    return cab_passes_run(g, &po, &l->program, d);
}

cab_status layer_make(cab_arena *a, const char *text, bool exact, const cab_target *t, layer *l,
                      cab_diag *d)
{
    CAB_TRY(layer_lower(a, text, exact, l, d));
    cab_program *p = l->program;
    l->at = CAB_NEW_N(a, float *, p->buffers.n + 1);
    for (size_t i = 0; i < p->steps.n; i++) {
        if (p->steps.p[i].kind != CAB_STEP_LAUNCH || l->n == LAYER_STEPS)
            return cab_fail(d, CAB_EINTERNAL, NULL, "a layer is a few launches");
        CAB_TRY(make_step(l, &p->steps.p[i], t, d));
    }
    l->in = place(l, p->inputs.p[0]);
    if (p->inputs.n > 1)
        l->w = place(l, p->inputs.p[1]);
    l->out = place(l, p->outputs.p[0]);
    l->n_out = (uint64_t)p->buffers.p[p->outputs.p[0]].elems->value;
    return CAB_OK;
}

/* Where element i, counted row by row, lies. */
static int64_t element(const cab_dim *const *strides, const int64_t *dims, int rank, int64_t i)
{
    int64_t at = 0;

    for (int k = rank - 1; k >= 0; k--) {
        at += i % dims[k] * strides[k]->value;
        i /= dims[k];
    }
    return at;
}

float *layer_input(const layer *l)
{
    const cab_buffer *b = NULL;
    const cab_dim *strides[CAB_MAX_RANK], *base, *elems;
    int64_t dims[CAB_MAX_RANK], n = 1;
    int at = 0;

    for (int i = 0; i < l->n && !b; i++)
        if (l->step[i].timed) {
            at = l->program->steps.p[i].args[0];
            b = &l->program->buffers.p[at];
        }
    if (!b)
        return NULL;
    cab_graph g = { .arena = l->arena, .dims = l->program->dims };
    cab_type_strides(&g, &b->type, strides, &base, &elems);
    for (int k = 0; k < b->type.rank; k++)
        n *= dims[k] = b->type.dims[k]->value;
    float *p = layer_floats((uint64_t)n);
    for (int64_t i = 0; i < n; i++)
        p[i] = l->at[at][base->value + element(strides, dims, b->type.rank, i)];
    return p;
}

static void call(const layer_step *s)
{
    const int64_t ints[1] = { 0 };

    s->f(s->bufs, ints, 0, s->tasks);
}

void layer_run(const layer *l)
{
    for (int i = 0; i < l->n; i++)
        call(&l->step[i]);
}

void layer_run_timed(const layer *l)
{
    for (int i = 0; i < l->n; i++)
        if (l->step[i].timed)
            call(&l->step[i]);
}

void layer_free(layer *l)
{
    for (int i = 0; i < l->n; i++)
        unload(&l->step[i].code);
}
