/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_launch.c - one kernel: a Spec over the axes of its result.
 *
 * The axes are those of the result in the physical order of its layout.  Axes
 * that no reduction of the kernel depends on are rows: they are looped inside
 * the stages (softmax stores over the axis it summed over).  Lowering starts
 * over when an axis had to be split or turned out to be a row.
 */
#include "passes/lower_int.h"
#include <string.h>

#define ATTEMPTS 48

/* ---- names for people ---- */
static const char *root_name(const cab_node *n, int group, const cab_members *m)
{
    const cab_node *best = n;
    for (size_t i = 0; group > 0 && i < m->v.n; i++) {
        uint32_t t = m->v.p[i]->op->traits;
        if (t & (CAB_T_CONTRACT | CAB_T_WINDOW))
            return m->v.p[i]->op->name;
        if ((t & CAB_T_REDUCE) && !(best->op->traits & CAB_T_REDUCE))
            best = m->v.p[i];
    }
    return best ? best->op->name : "copy";
}

/* Movement is named only when there is nothing else. */
static const char *ops_text(cab_lower *l, const cab_node *n, int group)
{
    cab_buf b = cab_buf_on(l->a);
    if (group <= 0)
        return n ? n->op->name : "copy";
    const cab_members *m = &l->groups[group];
    for (int views = 0; views < 2 && !b.n; views++)
        for (size_t i = 0; i < m->v.n; i++) {
            if (!views && cab_op_is_view(m->v.p[i]->op->id))
                continue;
            if (b.n)
                cab_buf_char(&b, '+');
            cab_buf_str(&b, m->v.p[i]->op->name);
        }
    return cab_buf_cstr(&b);
}

static void add_loc(cab_buf *b, const char *loc)
{
    if (!loc || (b->n && strstr(cab_buf_cstr(b), loc)))
        return;
    if (b->n)
        cab_buf_str(b, ", ");
    cab_buf_str(b, loc);
}

static const char *loc_text(cab_lower *l, const cab_node *n, int group)
{
    cab_buf b = cab_buf_on(l->a);
    if (group <= 0)
        return n ? n->loc : NULL;
    for (size_t i = 0; i < l->groups[group].v.n; i++)
        add_loc(&b, l->groups[group].v.p[i]->loc);
    return b.n ? cab_buf_cstr(&b) : NULL;
}

/* ---- one attempt ---- */
static void start(cab_kernel *k, const char *name)
{
    k->s = cab_spec_create(k->l->a, k->l->d, name, CAB_SPEC_MAP);
    k->state = CAB_KERNEL_OK;
    k->why = NULL;
    k->n_laxes = k->depth = k->n_results = k->n_guards = k->n_halo = 0;
    k->serial = k->guard_id = k->guard_serial = k->result_axes = 0;
    k->has_root = k->has_window = false;
    k->fill = 0;
    k->memo = cab_map_create(k->l->c->scratch);
    k->args.n = 0;
}

/* Axes of the result, outermost in memory first; the mask of the row axes. */
static uint32_t result_axes(cab_kernel *k, const cab_type *t, cab_ix *ix)
{
    uint32_t rows = 0;
    for (int i = 0; i < t->rank; i++) {
        int a = cab_value_axis_at(t, i);
        ix[a] = cab_ix_zero(k);
        if (cab_dim_is(t->dims[a], 1))
            continue;
        bool row = k->rows >> k->n_laxes & 1;
        int lax = cab_kernel_lax(k, row ? CAB_AXIS_RED : CAB_AXIS_PAR, t->dims[a], "i");
        if (lax < 0)
            return 0;
        ix[a] = cab_ix_axis(k, lax);
        rows |= row ? cab_kernel_lax_mask(k, lax) : 0;
    }
    return rows;
}

/* Logical axes of the result that no reduction depends on. */
static uint32_t find_rows(const cab_kernel *k, int n_result)
{
    uint32_t rows = 0;
    for (int i = 0; i < n_result && k->n_results; i++)
        if (!(cab_kernel_lax_mask(k, i) & k->result_axes))
            rows |= 1u << i;
    return rows;
}

static void attempt(cab_kernel *k, cab_value *v, const cab_place *to)
{
    cab_ix ix[CAB_MAX_RANK];
    uint32_t rows = result_axes(k, &v->type, ix);
    int n = k->n_laxes;
    const cab_expr *e = cab_lower_elem(k, v, ix);
    if (k->state != CAB_KERNEL_OK)
        return;
    uint32_t found = find_rows(k, n);
    if (found != k->rows && !k->rows) {
        k->rows = found;
        k->state = CAB_KERNEL_AGAIN;
        return;
    }
    int view = cab_kernel_view(k, to, &v->type, ix, true);
    cab_spec_store(k->s, rows, view, cab_ex_cast(k->s, v->type.dtype, e));
    k->s->kind = k->has_root ? CAB_SPEC_CONTRACT : k->has_window ? CAB_SPEC_WINDOW
               : k->n_results ? CAB_SPEC_ROWRED : CAB_SPEC_MAP;
}

/* The Spec that body writes down; texts name the group or the node. */
static bool run(cab_lower *l, cab_kernel *k, const cab_node *n, int group, const char **why,
                void (*body)(cab_kernel *k, cab_value *v, const cab_place *to),
                cab_value *v, const cab_place *to)
{
    const cab_members *m = group > 0 ? &l->groups[group] : NULL;
    const char *name = cab_printf(l->a, "%s_%d", root_name(n, group, m), l->n_kernels);
    k->l = l;
    k->state = CAB_KERNEL_AGAIN;
    for (int i = 0; i < ATTEMPTS && k->state == CAB_KERNEL_AGAIN; i++) {
        start(k, name);
        body(k, v, to);
    }
    *why = k->state == CAB_KERNEL_AGAIN ? "its axes never settle" : k->why;
    if (k->state != CAB_KERNEL_OK)
        return false;
    l->n_kernels++;
    cab_spec_simplify(k->s);
    cab_step s = { .kind = CAB_STEP_LAUNCH, .spec = k->s, .n_args = (int)k->args.n,
                   .args = k->args.p, .loc = loc_text(l, n, group),
                   .what = ops_text(l, n, group) };
    cab_program_step(l->p, &s);
    return true;
}

bool cab_lower_launch(cab_lower *l, cab_value *v, int group, const cab_node *only,
                      const cab_place *to, const char **why)
{
    cab_kernel *k = CAB_NEW(l->c->scratch, cab_kernel);
    k->group = group;
    k->only = only;
    return run(l, k, only, group, why, attempt, v, to);
}

bool cab_lower_serial(cab_lower *l, cab_node *n, const cab_place *to, const char **why)
{
    cab_kernel *k = CAB_NEW(l->c->scratch, cab_kernel);
    return run(l, k, n, -1, why,
               n->op->id == CAB_OP_wino_in ? cab_lower_wino_in
               : n->op->id == CAB_OP_scan  ? cab_lower_scan : cab_lower_scatter,
               n->out[0], to);
}

bool cab_lower_wino(cab_lower *l, cab_value *v, const cab_place *to, const char **why)
{
    cab_kernel *k = CAB_NEW(l->c->scratch, cab_kernel);
    k->group = v->def->group;
    k->only = v->def;
    return run(l, k, v->def, v->def->group, why, cab_lower_wino_out, v, to);
}
