/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_direct.c - products that read their second operand where it lies.
 *
 * The keys and values of attention are read through views: heads repeated for
 * groups of queries (expand, reshape), rows and columns exchanged.  Storing
 * the view first costs a copy of the whole cache, three times the cache when
 * heads are repeated.  Two cases need none.  When a free axis of b has unit
 * stride all the same (the values), the kernel walks the view: the repeated
 * axis becomes rows of a.  When it is the axis summed over (the keys), sums
 * along it are as fast as long as a has few rows; with many, a tile that reads
 * a transposed copy is faster.  Where the number of rows is known only to a
 * run, both are made, and it decides (cab_step.when).
 */
#include "passes/lower_int.h"
#include <string.h>

/* Rows of a up to which sums along the keys beat the transposed copy. */
enum { FEW_ROWS = 4 };

/* ---- strides, as far as they are known ---- */

/* As cab_strides_reshape, with NULL for axes that have no stride of their own. */
static bool partial_reshape(cab_graph *g, const cab_type *from, const cab_dim *const *in,
                            const cab_type *to, const cab_dim **out)
{
    int i = from->rank - 1, k = to->rank - 1;
    if (!cab_reshape_is_affine(g, to, from))
        return false;
    for (int j = 0; j < to->rank; j++)
        out[j] = NULL;
    /* Equal extents from the inside, then from the outside. */
    for (; i >= 0 && k >= 0 && from->dims[i] == to->dims[k]; i--, k--)
        out[k] = in[i];
    for (int j = 0; j <= i && j <= k && from->dims[j] == to->dims[j]; j++)
        out[j] = in[j];
    return true;
}

static void add_null(const cab_dim *const *in, int n, const cab_dim **safe, cab_dims *d,
                     uint32_t *unknown)
{
    *unknown = 0;
    for (int i = 0; i < n; i++) {
        *unknown |= (uint32_t)!in[i] << i;
        safe[i] = in[i] ? in[i] : cab_dim_const(d, 0);
    }
}

/* Strides of the result of one view; NULL where there is none. */
static bool step(cab_graph *g, const cab_node *n, const cab_dim *const *in, const cab_dim **out)
{
    const cab_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    const cab_dim *safe[CAB_MAX_RANK], *base = cab_dim_const(g->dims, 0);
    const int64_t *perm;
    uint32_t unknown;
    add_null(in, x->rank, safe, g->dims, &unknown);
    if (n->op->id == CAB_OP_reshape) {
        if (!unknown && cab_strides_reshape(g->dims, x, in, y, out))
            return true;
        return partial_reshape(g, x, in, y, out);
    }
    if (!cab_strides_view(g, n, &base, safe, out))
        return false;
    cab_attr_ints(n, "perm", &perm);
    for (int i = 0; i < y->rank; i++) {
        int from = n->op->id == CAB_OP_transpose ? (int)perm[i] : i + x->rank - y->rank;
        if (from >= 0 && unknown >> from & 1)
            out[i] = NULL;
    }
    return true;
}

/* Walks v's views, whatever their layouts, down to *base. */
static bool partial_strides(cab_graph *g, const cab_value *v, const cab_value **base,
                            const cab_dim *out[CAB_MAX_RANK])
{
    enum { DEEP = 16 };
    const cab_node *chain[DEEP];
    const cab_dim *next[CAB_MAX_RANK], *at;
    int n = 0;
    for (; v->def && cab_op_is_view(v->def->op->id); v = v->def->in[0]) {
        if (n == DEEP)
            return false;
        chain[n++] = v->def;
    }
    *base = v;
    cab_type_strides(g, &v->type, out, &at, NULL);
    for (int i = 0; i < v->type.rank; i++)
        if (!out[i])
            out[i] = cab_dim_const(g->dims, 0);
    while (n-- > 0) {
        if (!step(g, chain[n], out, next))
            return false;
        memcpy(out, next, (size_t)chain[n]->out[0]->type.rank * sizeof *out);
    }
    return true;
}

/* ---- what a product may do ---- */

static uint32_t axes_of(const cab_node *n, const char *name)
{
    const int64_t *list;
    uint32_t mask = 0;
    for (int64_t i = 0, m = cab_attr_ints(n, name, &list); i < m; i++)
        mask |= 1u << list[i];
    return mask;
}

/* Strides of b as far as known: only batch axes may lack theirs. */
static bool b_strides(cab_graph *g, const cab_node *dot, const cab_value **base,
                      const cab_dim *out[CAB_MAX_RANK])
{
    const cab_value *b = dot->in[1];
    uint32_t batch = axes_of(dot, "b_batch");
    if (!partial_strides(g, b, base, out) || cab_const_node(*base))
        return false;
    for (int i = 0; i < b->type.rank; i++)
        if (!out[i] && !(batch >> i & 1) && !cab_dim_is(b->type.dims[i], 1))
            return false;
    return true;
}

bool cab_dot_reads_views(cab_graph *g, const cab_node *dot)
{
    const cab_dim *stride[CAB_MAX_RANK];
    const cab_value *base, *b = dot->in[1];
    uint32_t bound = axes_of(dot, "b_batch") | axes_of(dot, "b_contract");
    if (!b_strides(g, dot, &base, stride))
        return false;
    for (int i = 0; i < b->type.rank; i++)
        if (!(bound >> i & 1) && !cab_dim_is(b->type.dims[i], 1) && stride[i] &&
            cab_dim_is(stride[i], 1))
            return true;
    return false;
}

/* Its bytes lie in an order that is not ours to choose: an input or output. */
static bool is_fixed(const cab_graph *g, const cab_value *v)
{
    for (size_t i = 0; i < g->outputs.n; i++)
        if (g->outputs.p[i] == v)
            return !v->type.layout;
    return !v->def;
}

/* Points of an operand of one batch and one step of the sum. */
static const cab_dim *free_points(cab_graph *g, const cab_value *v, uint32_t bound)
{
    const cab_dim *n = cab_dim_const(g->dims, 1);
    for (int i = 0; i < v->type.rank; i++)
        if (!(bound >> i & 1))
            n = cab_dim_mul(g->dims, n, v->type.dims[i]);
    return n;
}

const cab_dim *cab_dot_rows_of_sums(cab_graph *g, const cab_node *dot)
{
    const cab_dim *stride[CAB_MAX_RANK];
    const cab_value *base, *b = dot->in[1];
    uint32_t contract = axes_of(dot, "b_contract");
    const cab_dim *rows = free_points(g, dot->in[0], axes_of(dot, "a_batch") |
                                                     axes_of(dot, "a_contract"));
    bool unit = false;
    if (!cab_dtype_is_float(b->type.dtype) || !b_strides(g, dot, &base, stride) ||
        !is_fixed(g, base))
        return NULL;
    for (int i = 0; i < b->type.rank; i++)
        unit = unit || ((contract >> i & 1) && stride[i] && cab_dim_is(stride[i], 1));
    /* Few rows beside as few columns: the copy is small then, too. */
    return unit && free_points(g, b, axes_of(dot, "b_batch") | contract) != rows ? rows : NULL;
}

bool cab_dot_sums_along_b(cab_graph *g, const cab_node *dot)
{
    const cab_dim *rows = cab_dot_rows_of_sums(g, dot);
    return rows && rows->hi <= FEW_ROWS;
}

/* ---- both ways ---- */

/* The product among the nodes of a kernel, when its b is a view stored for it
 * alone. */
static cab_node *product_of_view(const cab_lower *l, const cab_node *n)
{
    const cab_members *m = n->group > 0 ? &l->groups[n->group] : NULL;
    cab_node *dot = NULL;
    for (size_t i = 0; m && i < m->v.n; i++)
        if (m->v.p[i]->op->id == CAB_OP_dot)
            dot = m->v.p[i];
    cab_node *view = dot ? dot->in[1]->def : NULL;
    if (!view || view->group <= 0 || view->group == n->group || dot->in[1]->n_uses != 1 ||
        !cab_lower_info(l, dot->in[1])->step)
        return NULL;
    for (size_t i = 0; i < l->groups[view->group].v.n; i++)
        if (!cab_op_is_view(l->groups[view->group].v.p[i]->op->id))
            return NULL;
    return dot;
}

/* The kernel once more, with b read through its views. */
static bool launch_direct(cab_lower *l, cab_node *n, cab_node *dot, const cab_place *to)
{
    cab_vinfo *b = cab_lower_info(l, dot->in[1]);
    const cab_members *views = &l->groups[dot->in[1]->def->group];
    int group = dot->in[1]->def->group;
    cab_place stored = b->at;
    const char *why;
    for (size_t i = 0; i < views->v.n; i++)
        views->v.p[i]->group = CAB_GROUP_INLINE;
    b->at.buffer = -1;
    bool ok = cab_lower_launch(l, n->out[0], n->group, n, to, &why);
    b->at = stored;
    for (size_t i = 0; i < views->v.n; i++)
        views->v.p[i]->group = group;
    return ok;
}

void cab_lower_also_direct(cab_lower *l, cab_node *n, const cab_place *to)
{
    cab_node *dot = product_of_view(l, n);
    const cab_dim *rows = dot ? cab_dot_rows_of_sums(l->g, dot) : NULL;
    cab_dims *d = l->d;
    if (!rows || cab_dim_is_const(rows))
        return;
    size_t tiled = l->p->steps.n - 1;
    if (!launch_direct(l, n, dot, to))
        return;
    const cab_dim *many = cab_dim_floordiv(d, rows, cab_dim_const(d, FEW_ROWS + 1));
    const cab_dim *few = cab_dim_floordiv(d, cab_dim_const(d, FEW_ROWS),
                                          cab_dim_max(d, rows, cab_dim_const(d, 1)));
    l->p->steps.p[cab_lower_info(l, dot->in[1])->step - 1].when = many;
    l->p->steps.p[tiled].when = many;
    l->p->steps.p[tiled + 1].when = few;
}
