/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen.c - Spec and Sched to a kernel: parameters, tasks, and the nest.
 *
 * A kernel's tasks are consecutive pieces of its outer parallel axes; what a
 * task computes never depends on the others, nor on how many run at once.
 * The CUDA form has one thread per point of the parallel axes.
 */
#include <string.h>
#include "codegen/gen_int.h"

enum { CUDA_BLOCK = 256 };

static bool supported(cab_dtype dt)
{
    return dt == CAB_DT_bool || dt == CAB_DT_f16 || dt == CAB_DT_bf16 || dt == CAB_DT_f32 ||
           dt == CAB_DT_f64 || (cab_dtype_is_int(dt) && cab_dtype_bits(dt) >= 8);
}

static cab_status check_expr(cab_map *seen, const cab_expr *e, cab_dtype *bad)
{
    if (cab_map_getu(seen, (uint64_t)(uintptr_t)e))
        return CAB_OK;
    cab_map_setu(seen, (uint64_t)(uintptr_t)e, seen);
    if (!supported(e->dtype)) {
        *bad = e->dtype;
        return CAB_EUNSUPPORTED;
    }
    for (int i = 0; i < 3 && e->arg[i]; i++)
        CAB_TRY(check_expr(seen, e->arg[i], bad));
    return CAB_OK;
}

static cab_status check_dtypes(cab_arena *a, const cab_spec *s, cab_diag *d)
{
    cab_map *seen = cab_map_create(a);
    cab_dtype bad = CAB_DT_none;
    cab_where w = { .node = s->name };

    for (size_t i = 0; i < s->views.n && bad == CAB_DT_none; i++) {
        if (!supported(s->views.p[i].dtype))
            bad = s->views.p[i].dtype;
        for (int j = 0; j < s->views.p[i].n_loaded; j++)
            check_expr(seen, s->views.p[i].loaded[j].index, &bad);
    }
    for (size_t i = 0; i < s->stages.n && bad == CAB_DT_none; i++)
        check_expr(seen, s->stages.p[i].value, &bad);
    if (bad == CAB_DT_none)
        return CAB_OK;
    return cab_fail(d, CAB_EUNSUPPORTED, &w, "no kernel for element type %s",
                    cab_dtype_name(bad));
}

static bool axis_is(const cab_spec *s, int axis, cab_axis_kind kind)
{
    return axis >= 0 && axis < s->n_axes && s->axis[axis].kind == kind;
}

static bool can_turn(const cab_spec *s, const cab_sched *c)
{
    if (!axis_is(s, c->n_axis, CAB_AXIS_PAR) || c->n_block)
        return false;
    if (c->turn == CAB_TURN_SCALARS)
        return c->lanes <= 1 && c->mr > 1 && c->n_axis != c->m_axis;
    for (size_t i = 0; i < s->stages.n; i++)
        if (s->stages.p[i].kind != CAB_STAGE_STORE || s->stages.p[i].axes ||
            s->views.p[s->stages.p[i].view].dtype == CAB_DT_bool)
            return false;
    return c->turn == CAB_TURN_VECTORS && c->lanes > 1 && c->mr <= 1 &&
           axis_is(s, c->vec_axis, CAB_AXIS_PAR) && c->n_axis != c->vec_axis &&
           cab_gen_turn_steps(c->nv, c->lanes) &&
           (c->nv != 3 || s->axis[c->n_axis].extent->divisor % 3 == 0);
}

/* A product walks columns of b alone and rows of a alone, each axis once. */
static bool product_axes_fit(const cab_spec *s, const cab_sched *c)
{
    cab_contraction k;

    if (c->n_block <= 0 || !cab_contraction_find(s, &k))
        return true;
    if (c->swap)
        cab_contraction_swap(s, &k);
    return (k.n >> c->n_axis & 1) &&
           (k.m ? c->m_axis >= 0 && c->m_axis < s->n_axes && (k.m >> c->m_axis & 1) : c->mr <= 1);
}

/* Vectors do not cross from one panel of a packed operand to the next: tasks
 * of maps cut the vector axis, their innermost level, between vectors; and
 * between threes that are turned. */
static bool cuts_tiles(const cab_spec *s, const cab_sched *c, int64_t width)
{
    int par = 0, split = c->task_axes > 0 ? c->task_axes : 1;
    int64_t block = c->task_block > 0 ? c->task_block : 1;

    for (int i = 0; i < s->n_axes; i++)
        par += s->axis[i].kind == CAB_AXIS_PAR;
    if (c->turn == CAB_TURN_VECTORS && c->nv == 3 && split >= par && block % 3)
        return true;
    return c->pack_b && !c->n_block && split >= par && block % width;
}

/* What does not fit, in a word; NULL: it does. */
static const char *misfit(const cab_spec *s, const cab_sched *c)
{
    int64_t rows = c->mr > 1 ? c->mr : 1, cols = c->nv > 1 ? c->nv : 1;
    int64_t width = cols * c->lanes, parts = (int64_t)c->unroll + 1;
    bool vector = c->lanes > 1, par = vector && axis_is(s, c->vec_axis, CAB_AXIS_PAR);
    cab_contraction k;

    if (vector && (c->vec_axis < 0 || c->vec_axis >= s->n_axes ||
                   c->lanes > CAB_KIR_MAX_LANES || (c->lanes & (c->lanes - 1))))
        return "lanes";
    if (rows > 1 && (!axis_is(s, c->m_axis, CAB_AXIS_PAR) || (par && c->m_axis == c->vec_axis)))
        return "m_axis";
    if (rows * (par ? cols : 1) > CAB_GEN_TILE || c->unroll < 0 ||
        rows * (par ? cols : parts) > CAB_GEN_TILE)
        return "tile";
    if (c->turn && !can_turn(s, c))
        return "turn";
    if (c->n_block > 0 && (!par || c->n_axis != c->vec_axis || c->n_block % width))
        return "n_block";
    if (par && cuts_tiles(s, c, width))
        return "task_block";
    if (!product_axes_fit(s, c))
        return "axes of the product";
    if (c->row_stores && (rows < 2 || c->n_block <= 0 || !cab_contraction_find(s, &k)))
        return "row_stores";
    if (c->task_axes < 0 || c->task_block < 0 || c->ku < 0 || c->ku > CAB_GEN_TILE)
        return "counts";
    return NULL;
}

/* Schedules may come from files: what would break the generator is refused,
 * what is merely slow is not. */
cab_status cab_sched_check(const cab_spec *s, const cab_sched *c, cab_diag *d)
{
    cab_where w = { .node = s->name };
    const char *why = misfit(s, c);

    if (!why)
        return CAB_OK;
    return cab_fail(d, CAB_EINVAL, &w, "the schedule does not fit: %s", why);
}

/* ---- setting up ---- */

static void add_affine(cab_gen *g, const cab_affine *f)
{
    g->affines[g->n_affines++] = (cab_gen_affine){ f, false, -1 };
}

/* The address of an earlier view, a known distance before v's: one sum serves
 * both, and the distance is part of the instruction. */
static bool share_affine(cab_gen *g, size_t i)
{
    const cab_view *v = &g->s->views.p[i];

    for (size_t k = 0; k < i && !v->n_guards; k++) {
        const cab_view *o = &g->s->views.p[k];
        const cab_dim *by = cab_dim_sub(g->dims, v->at.base, o->at.base);
        if (o->operand != v->operand || o->n_guards || g->view_offset[k] || !cab_dim_is_const(by) ||
            memcmp(o->at.coef, v->at.coef, sizeof v->at.coef))
            continue;
        g->view_affine[i] = g->view_affine[k];
        g->view_offset[i] = by->value;
        return true;
    }
    return false;
}

static void create_affines(cab_gen *g)
{
    int n = 0;

    for (size_t i = 0; i < g->s->views.n; i++)
        n += 1 + g->s->views.p[i].n_guards;
    g->affines = CAB_NEW_N(g->arena, cab_gen_affine, n);
    g->view_affine = CAB_NEW_N(g->arena, int, g->s->views.n);
    g->view_offset = CAB_NEW_N(g->arena, int64_t, g->s->views.n);
    for (size_t i = 0; i < g->s->views.n; i++) {
        const cab_view *v = &g->s->views.p[i];
        if (share_affine(g, i))
            continue;
        g->view_affine[i] = g->n_affines;
        add_affine(g, &v->at);
        for (int j = 0; j < v->n_guards; j++)
            add_affine(g, &v->guard[j].at);
    }
}

/* Masked accesses of narrow elements are one instruction only with AVX-512. */
static bool masks_are_cheap(const cab_spec *s, const cab_target *t)
{
    bool wide = true;

    for (size_t i = 0; i < s->views.n; i++)
        wide &= cab_dtype_bits(s->views.p[i].dtype) >= 32;
    return t->vector_bytes == 64 || (t->vector_bytes == 32 && wide);
}

static cab_gen *create(cab_arena *a, const cab_spec *s, const cab_sched *sched,
                       const cab_target *t, const char *name, cab_diag *d)
{
    cab_gen *g = CAB_NEW(a, cab_gen);

    g->arena = a;
    g->s = s;
    g->sched = sched;
    g->target = t;
    g->dims = s->dims;
    g->diag = d;
    g->k = cab_kir_create(a, name, s->n_operands, 0);
    /* Three are no vector to mask. */
    g->masks = t && masks_are_cheap(s, t) && !(sched->turn && sched->nv == 3);
    g->point = g->from_left = g->to_left = -1;
    g->lanes = g->rows = g->cols = 1;
    g->vec = g->tail = g->mask = -1;
    g->staged_by = g->staged_view = g->sums = -1;
    if (sched->stage_rows && sched->lanes > 1 &&
        !cab_gen_find_staged(s, sched->vec_axis, &g->staged_by, &g->staged_view))
        g->staged_by = -1;
    g->bufs = CAB_NEW_N(a, cab_kv, s->n_operands);
    g->results = cab_alloc_zero(a, s->stages.n, sizeof *g->results);
    create_affines(g);
    return g;
}

/* Emits what the whole kernel uses. */
static void begin(cab_gen *g)
{
    for (int i = 0; i < g->s->n_operands; i++)
        g->bufs[i] = cab_k_buf(g->k, i, g->s->operands[i].dtype, !g->s->operands[i].written);
    for (int i = 0; i < g->s->n_axes; i++)
        g->at[i] = (cab_gen_axis){ cab_k_i64(g->k, 0), 0 };
    for (int i = 0; i < g->n_affines; i++)
        g->affines[i].sum = cab_gen_dim(g, g->affines[i].f->base);
    if (g->sched->row_stores)
        g->sums = cab_k_alloc(g->k, CAB_KS_STACK, cab_gen_type(g->s->stages.p[0].acc),
                              (int64_t)g->sched->mr * (g->sched->nv > 1 ? g->sched->nv : 1) *
                                  (g->sched->lanes > 1 ? g->sched->lanes : 1));
}

static void finish(cab_gen *g, const cab_dim *n_tasks, cab_kernel *out)
{
    *out = (cab_kernel){ .kir = g->k, .n_tasks = n_tasks, .n_params = (int)g->params.n,
                         .params = g->params.p };
}

/* ---- levels and tasks ---- */

static void add_level(cab_gen *g, int axis)
{
    g->level[g->n_levels++] = (cab_gen_level){ axis, 0 };
}

/* Rows innermost, columns outside them, so that a panel of b stays near. */
static void contraction_levels(cab_gen *g, const cab_contraction *c)
{
    const cab_sched *sc = g->sched;

    g->row_axes = c->m;
    for (int i = 0; i < g->s->n_axes; i++)
        if (g->s->axis[i].kind == CAB_AXIS_PAR && i != sc->n_axis && !(c->m >> i & 1))
            add_level(g, i);
    add_level(g, sc->n_axis);
    for (int i = 0; i < g->s->n_axes; i++)
        if ((c->m >> i & 1) && i != sc->m_axis)
            add_level(g, i);
    if (c->m)
        add_level(g, sc->m_axis);
}

static void plain_levels(cab_gen *g)
{
    const cab_sched *sc = g->sched;
    int row = sc->mr > 1 ? sc->m_axis : -1, vec = sc->lanes > 1 ? sc->vec_axis : -1;
    int turn = sc->turn ? sc->n_axis : -1;

    for (int i = 0; i < g->s->n_axes; i++)
        if (g->s->axis[i].kind == CAB_AXIS_PAR && i != row && i != vec && i != turn)
            add_level(g, i);
    if (row >= 0)
        add_level(g, row);
    if (vec >= 0 && g->s->axis[vec].kind == CAB_AXIS_PAR)
        add_level(g, vec);
    if (turn >= 0)             /* innermost: the axis the result walks */
        add_level(g, turn);
}

/* Steps of a task of a level that is cut further: no tile is cut, and none at
 * the border moves to a place that is not known. */
static int64_t whole_rows(const cab_gen *g, int d)
{
    const cab_sched *sc = g->sched;
    const cab_dim *e = g->s->axis[g->level[d].axis].extent;

    if (sc->mr <= 1 || g->level[d].axis != sc->m_axis)
        return 1;
    return sc->skip & CAB_SKIP_ROWS && cab_dim_is_const(e) && e->value > 0 ? e->value : sc->mr;
}

static void choose_blocks(cab_gen *g)
{
    const cab_sched *sc = g->sched;
    int n = sc->task_axes > 0 ? sc->task_axes : 1;

    for (int d = 0; d < n && d < g->n_levels; d++) {
        bool last = d == n - 1 || d == g->n_levels - 1;
        g->level[d].block = last && sc->task_block > 0 ? sc->task_block : whole_rows(g, d);
        if (sc->n_block > 0 && g->level[d].axis == sc->n_axis)
            g->level[d].block = sc->n_block;
    }
}

static const cab_dim *pieces(cab_gen *g, int d)
{
    return cab_dim_ceildiv(g->dims, g->s->axis[g->level[d].axis].extent,
                           cab_dim_const(g->dims, g->level[d].block));
}

/* The task number into a range of each task level. */
static const cab_dim *split_task(cab_gen *g)
{
    const cab_dim *total = cab_dim_const(g->dims, 1);
    cab_kv rest = cab_k_grid(g->k), zero = cab_k_i64(g->k, 0);
    int first = -1;

    for (int d = g->n_levels - 1; d >= 0; d--) {
        const cab_dim *e = g->s->axis[g->level[d].axis].extent;
        g->lo[d] = zero;
        g->hi[d] = cab_gen_dim(g, e);
        if (g->level[d].block && !(cab_dim_is_const(e) && e->value <= g->level[d].block))
            first = d;
        else if (!cab_dim_is(e, 0))
            g->level[d].block = 0;
    }
    for (int d = g->n_levels - 1; d >= 0; d--) {
        int64_t block = g->level[d].block;
        const cab_dim *e = g->s->axis[g->level[d].axis].extent;
        cab_kv n, at = rest, b = cab_k_i64(g->k, block);
        if (!block)
            continue;
        total = cab_dim_mul(g->dims, total, pieces(g, d));
        if (d != first) {
            n = cab_gen_dim(g, pieces(g, d));
            rest = cab_k_op2(g->k, CAB_K_div, at, n);
            at = cab_k_op2(g->k, CAB_K_sub, at, cab_k_op2(g->k, CAB_K_mul, rest, n));
        }
        g->lo[d] = cab_k_op2(g->k, CAB_K_mul, at, b);
        n = cab_k_op2(g->k, CAB_K_add, g->lo[d], b);
        g->hi[d] = e->divisor % block == 0 ? n : cab_k_op2(g->k, CAB_K_min, n, g->hi[d]);
    }
    return total;
}

/* ---- entry points ---- */

/* Constant products of extents, or 0. */
static double points_of(const cab_spec *s, uint32_t axes)
{
    double n = 1;

    for (int i = 0; i < s->n_axes; i++)
        if (axes >> i & 1)
            n *= cab_dim_is_const(s->axis[i].extent) ? (double)s->axis[i].extent->value : 0;
    return n;
}

static double flops_of(const cab_spec *s)
{
    uint32_t par = 0;
    double n = 0;

    for (int i = 0; i < s->n_axes; i++)
        par |= (uint32_t)(s->axis[i].kind == CAB_AXIS_PAR) << i;
    for (size_t i = 0; i < s->stages.n; i++)
        n += 2 * points_of(s, par | s->stages.p[i].axes);
    return n;
}

cab_status cab_generate(cab_arena *a, const cab_spec *s, const cab_sched *sched,
                        const cab_target *t, const char *name, cab_kernel *out, cab_diag *d)
{
    cab_contraction c;
    cab_pack pack;
    const cab_dim *n_tasks;

    CAB_TRY(check_dtypes(a, s, d));
    CAB_TRY(cab_sched_check(s, sched, d));
    cab_gen *g = create(a, s, sched, t, name, d);
    bool product = cab_contraction_find(s, &c), contract = product && sched->n_block > 0;
    bool packed = false;

    if (product && sched->swap)
        cab_contraction_swap(s, &c);
    if (product && sched->pack_b && sched->lanes > 1 &&
        (packed = cab_contraction_pack(s, &c, sched->vec_axis, &pack) &&
                  sched->lanes <= pack.dims[pack.lo]))
        cab_gen_use_packed(g, &c, sched->vec_axis, &pack);
    g->masks |= packed;        /* single columns do not walk panels */
    begin(g);
    if (contract)
        contraction_levels(g, &c);
    else
        plain_levels(g);
    choose_blocks(g);
    n_tasks = split_task(g);
    cab_gen_nest(g, 0);
    g->k->licm = g->k->cse = sched->ir_passes != 0;
    finish(g, n_tasks, out);
    out->flops = flops_of(s);
    if (packed) {
        out->packs[0] = pack;
        out->n_packs = 1;
    }
    return CAB_OK;
}

/* Thread number into a point of the parallel axes. */
static void split_thread(cab_gen *g, cab_kv rest)
{
    int last = -1;

    for (int i = 0; i < g->s->n_axes; i++)
        if (g->s->axis[i].kind == CAB_AXIS_PAR && last < 0)
            last = i;          /* outermost: takes what is left */
    for (int i = g->s->n_axes - 1; i >= 0; i--) {
        cab_kv n, q;
        if (g->s->axis[i].kind != CAB_AXIS_PAR)
            continue;
        if (i == last) {
            cab_gen_bind(g, i, rest);
            return;
        }
        n = cab_gen_dim(g, g->s->axis[i].extent);
        q = cab_k_op2(g->k, CAB_K_div, rest, n);
        cab_gen_bind(g, i, cab_k_op2(g->k, CAB_K_sub, rest, cab_k_op2(g->k, CAB_K_mul, q, n)));
        rest = q;
    }
}

cab_status cab_generate_cuda(cab_arena *a, const cab_spec *s, const char *name,
                             cab_kernel *out, cab_diag *d)
{
    static const cab_sched naive = { 0 };
    cab_kv tid;
    const cab_dim *total, *block;

    CAB_TRY(check_dtypes(a, s, d));
    cab_gen *g = create(a, s, &naive, NULL, name, d);
    begin(g);
    g->k->block = CUDA_BLOCK;
    block = cab_dim_const(g->dims, CUDA_BLOCK);
    total = cab_dim_const(g->dims, 1);
    for (int i = 0; i < s->n_axes; i++)
        if (s->axis[i].kind == CAB_AXIS_PAR)
            total = cab_dim_mul(g->dims, total, s->axis[i].extent);
    tid = cab_k_op2(g->k, CAB_K_mul, cab_k_grid(g->k), cab_k_i64(g->k, CUDA_BLOCK));
    tid = cab_k_op2(g->k, CAB_K_add, tid, cab_k_thread(g->k));
    cab_k_if(g->k, cab_k_cmp(g->k, CAB_KC_LT, tid, cab_gen_dim(g, total)));
    split_thread(g, tid);
    cab_gen_nest(g, 0);
    cab_k_endif(g->k, 0, NULL, NULL);
    finish(g, cab_dim_ceildiv(g->dims, total, block), out);
    out->flops = flops_of(s);
    return CAB_OK;
}
