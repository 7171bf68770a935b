/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer.c - result types of CORE nodes: the frame, and the simple ops.
 *
 * cab_infer_node checks the node against its rows, calls the function its OP
 * row names and then follows small integer values (infer_sym.c).  Functions
 * may rely on the checked rows (arity, dtypes, attribute names and kinds) but
 * on nothing else: lengths, axes and extents come from files.  Extents that
 * must agree and are not known to become guards of the graph.
 */
#include <string.h>
#include "ir/ir_int.h"

cab_status cab_infer_fail(const cab_node *n, cab_diag *d, const char *fmt, ...)
{
    cab_where w = cab_node_where(n);
    cab_status s;
    va_list ap;

    va_start(ap, fmt);
    s = cab_vfail(d, CAB_EMODEL, &w, fmt, ap);
    va_end(ap);
    return s;
}

cab_status cab_infer_set(cab_node *n, int i, cab_dtype dt, int rank,
                         const cab_dim *const *dims, cab_diag *d)
{
    cab_type *t = &n->out[i]->type, old = *t;

    if (rank > CAB_MAX_RANK) {
        cab_where w = cab_node_where(n);
        return cab_fail(d, CAB_EUNSUPPORTED, &w, "a result of rank %d; at most %d",
                        rank, CAB_MAX_RANK);
    }
    for (int k = 0; k < rank; k++)
        if (dims[k]->hi < 0)
            return cab_infer_fail(n, d, "extent %d of the result is negative", k);
    *t = cab_type_tensor(dt, rank, dims);
    if (old.layout && old.layout->rank == rank)
        t->layout = old.layout;
    t->quant = old.quant;
    return CAB_OK;
}

cab_status cab_infer_axis(const cab_node *n, int rank, int64_t *out, cab_diag *d)
{
    *out = cab_attr_int(n, "axis");
    if (*out < 0 || *out >= rank)
        return cab_infer_fail(n, d, "axis %lld is outside rank %d", (long long)*out,
                              rank);
    return CAB_OK;
}

static cab_status bad_length(const cab_node *n, const char *name, int64_t got,
                             int64_t want, cab_diag *d)
{
    return cab_infer_fail(n, d, "attribute '%s' has %lld elements, needs %lld", name,
                          (long long)(got < 0 ? 0 : got), (long long)want);
}

cab_status cab_infer_ints(const cab_node *n, const char *name, int64_t want,
                          const int64_t **out, cab_diag *d)
{
    int64_t got = cab_attr_ints(n, name, out);

    return got == want ? CAB_OK : bad_length(n, name, got, want, d);
}

cab_status cab_infer_dims(const cab_node *n, const char *name, int64_t want,
                          const cab_dim *const **out, cab_diag *d)
{
    int64_t got = cab_attr_dims(n, name, out);

    return got == want ? CAB_OK : bad_length(n, name, got, want, d);
}

cab_status cab_infer_axes(const cab_node *n, const char *name, const int64_t *axes,
                          int64_t count, int rank, bool *seen, cab_diag *d)
{
    for (int64_t i = 0; i < count; i++) {
        if (axes[i] < 0 || axes[i] >= rank)
            return cab_infer_fail(n, d, "attribute '%s': axis %lld is outside rank %d",
                                  name, (long long)axes[i], rank);
        if (seen[axes[i]])
            return cab_infer_fail(n, d, "attribute '%s': axis %lld comes twice",
                                  name, (long long)axes[i]);
        seen[axes[i]] = true;
    }
    return CAB_OK;
}

cab_status cab_infer_choice(const cab_node *n, const char *name,
                            const char *const *choices, int *out, cab_diag *d)
{
    const char *s = cab_attr_str(n, name);

    for (int i = 0; s && choices[i]; i++)
        if (!strcmp(s, choices[i])) {
            *out = i;
            return CAB_OK;
        }
    return cab_infer_fail(n, d, "attribute '%s' is \"%s\"", name, s ? s : "");
}

cab_status cab_infer_node(cab_graph *g, cab_node *n, cab_diag *d)
{
    CAB_ASSERT(n->op->infer);
    CAB_TRY(cab_check_rows(n, false, d));
    CAB_TRY(n->op->infer(g, n, d));
    for (int i = 0; i < n->n_out; i++) {
        n->out[i]->sym = NULL;
        n->out[i]->n_sym = 0;
    }
    cab_infer_sym(g, n);
    return CAB_OK;
}

/* ---- constants ---- */
cab_status cab_infer_const(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_tensor_attr *t = cab_attr_find(n, "value")->u.tensor;
    int64_t numel = cab_type_numel_static(&t->type);
    uint64_t bytes;

    (void)g;
    if (t->type.rank < 0 || numel < 0)
        return cab_infer_fail(n, d, "a constant needs a static shape");
    if (t->type.dtype == CAB_DT_none)
        return cab_infer_fail(n, d, "a constant of no element type");
    if (t->type.dtype == CAB_DT_str) {
        if (!t->strs)
            return cab_infer_fail(n, d, "a constant without its strings");
    } else if (!t->blob || !cab_dtype_bytes(t->type.dtype, (uint64_t)numel, &bytes)
               || t->blob->bytes != bytes) {
        return cab_infer_fail(n, d, "a constant with %llu bytes for %lld elements",
                              (unsigned long long)(t->blob ? t->blob->bytes : 0),
                              (long long)numel);
    }
    return cab_infer_set(n, 0, t->type.dtype, t->type.rank, t->type.dims, d);
}

cab_status cab_infer_dim(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_dim *const *v;

    (void)g;
    CAB_TRY(cab_infer_dims(n, "value", 1, &v, d));
    return cab_infer_set(n, 0, CAB_DT_i64, 0, NULL, d);
}

cab_status cab_infer_iota(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_dim *const *dims;
    int64_t rank = cab_attr_dims(n, "dims", &dims), axis;

    (void)g;
    if (rank > CAB_MAX_RANK)
        rank = CAB_MAX_RANK + 1;
    CAB_TRY(cab_infer_axis(n, (int)rank, &axis, d));
    return cab_infer_set(n, 0, cab_attr_dtype(n, "dtype"), (int)rank, dims, d);
}

/* ---- scalar functions ---- */

/* bool for the predicates, the attribute's type for casts, else that of the
 * operand with the result's type variable. */
static cab_dtype scalar_result(const cab_node *n)
{
    const cab_op *op = n->op;
    const char *var = op->out[0].var;

    for (int i = 0; i < op->n_in; i++)
        if (!strcmp(op->in[i].var, var))
            return n->in[i]->type.dtype;
    return op->n_attr ? cab_attr_dtype(n, "to") : CAB_DT_bool;
}

/* The physical order all operands of full rank share, without halos. */
static const cab_layout *common_layout(cab_graph *g, const cab_node *n, int rank)
{
    const cab_layout *first = NULL;
    cab_layout *l;

    for (int i = 0; i < n->n_in; i++) {
        const cab_type *t = &n->in[i]->type;
        if (t->rank != rank)
            continue;
        if (!t->layout || (first && memcmp(first->perm, t->layout->perm,
                                           (size_t)rank)))
            return NULL;
        first = t->layout;
    }
    if (!first)
        return NULL;
    l = CAB_NEW(g->arena, cab_layout);
    l->rank = rank;
    memcpy(l->perm, first->perm, (size_t)rank);
    return l;
}

static cab_status check_cast(const cab_node *n, cab_dtype to, cab_diag *d)
{
    cab_dtype from = n->in[0]->type.dtype;

    if (to == CAB_DT_none || to == CAB_DT_str || to == CAB_DT_c64 || to == CAB_DT_c128)
        return cab_infer_fail(n, d, "cannot convert to %s", cab_dtype_name(to));
    if (n->op->id == CAB_OP_bitcast && cab_dtype_bits(to) != cab_dtype_bits(from))
        return cab_infer_fail(n, d, "%s and %s differ in width", cab_dtype_name(from),
                              cab_dtype_name(to));
    return CAB_OK;
}

cab_status cab_infer_scalar(cab_graph *g, cab_node *n, cab_diag *d)
{
    cab_where w = cab_node_where(n);
    cab_type t = n->in[0]->type;
    cab_dtype dt = scalar_result(n);

    if (n->op->n_attr)
        CAB_TRY(check_cast(n, dt, d));
    for (int i = 1; i < n->n_in; i++)
        CAB_TRY(cab_broadcast(g, &t, &n->in[i]->type, &t, &w, d));
    CAB_TRY(cab_infer_set(n, 0, dt, t.rank, t.dims, d));
    if (!n->out[0]->type.layout)
        n->out[0]->type.layout = common_layout(g, n, t.rank);
    return CAB_OK;
}
