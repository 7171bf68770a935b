/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_tensor.c - reference evaluation: sources, elementwise, movement.
 *
 * Every function checks what would lead it out of bounds (attribute lengths,
 * ranks, extents) and says so; the rest is left to the graph verifier.
 */
#include "ir/eval_int.h"
#include "ir/spec_int.h"
#include <string.h>

/* ---- helpers of all ops ---- */
cab_status cab_eval_out(cab_eval *e, int k, cab_dtype t, int rank, const int64_t *dims)
{
    cab_tensor *o = &e->out[k];
    *o = (cab_tensor){ .dtype = t, .rank = rank };
    memcpy(o->dims, dims, (size_t)rank * sizeof *dims);
    if (!cab_tensor_alloc(e->a, o))
        return cab_eval_error(e, CAB_ELIMIT, "result of type %s is too large or has no size",
                              cab_dtype_name(t));
    return CAB_OK;
}

cab_status cab_eval_dims(cab_eval *e, const char *attr, int want, int64_t *out, int *n)
{
    const cab_dim *const *x = NULL;
    int64_t len = cab_attr_dims(e->n, attr, &x);
    if (len < 0 || len > CAB_MAX_RANK || (want >= 0 && len != want))
        return cab_eval_error(e, CAB_EINVAL, "attribute '%s' has not the length it needs", attr);
    for (int64_t i = 0; i < len; i++)
        if (!cab_env_eval(e->env, x[i], &out[i]))
            return cab_eval_error(e, CAB_EINVAL, "attribute '%s' holds an unknown extent", attr);
    if (n)
        *n = (int)len;
    return CAB_OK;
}

cab_status cab_eval_ints(cab_eval *e, const char *attr, int want, const int64_t **out)
{
    if (cab_attr_ints(e->n, attr, out) != want)
        return cab_eval_error(e, CAB_EINVAL, "attribute '%s' needs %d elements", attr, want);
    return CAB_OK;
}

cab_status cab_eval_axis(cab_eval *e, const char *attr, int rank, int *out)
{
    int64_t v = cab_attr_int(e->n, attr);
    v += v < 0 ? rank : 0;
    if (v < 0 || v >= rank)
        return cab_eval_error(e, CAB_EINVAL, "attribute '%s' is no axis of a rank %d tensor",
                              attr, rank);
    *out = (int)v;
    return CAB_OK;
}

void cab_eval_strides(int rank, const int64_t *dims, int64_t *strides)
{
    int64_t s = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = s;
        s *= dims[i];
    }
}

bool cab_eval_next(int rank, const int64_t *dims, int64_t *idx)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (++idx[i] < dims[i])
            return true;
        idx[i] = 0;
    }
    return false;
}

/* ---- sources ---- */
cab_status cab_eval_op_const(cab_eval *e)
{
    const cab_attr *at = cab_attr_find(e->n, "value");
    if (!at || at->kind != CAB_ATTR_TENSOR || !at->u.tensor->blob)
        return cab_eval_error(e, CAB_EUNSUPPORTED, "constant without bytes");
    const cab_type *t = &at->u.tensor->type;
    const cab_blob *blob = at->u.tensor->blob;
    int64_t dims[CAB_MAX_RANK];
    uint64_t bytes = 0;
    for (int i = 0; i < t->rank; i++)
        if (!cab_env_eval(e->env, t->dims[i], &dims[i]))
            return cab_eval_error(e, CAB_EINVAL, "constant of unknown shape");
    CAB_TRY(cab_eval_out(e, 0, t->dtype, t->rank, dims));
    int64_t n = cab_tensor_numel(&e->out[0]);
    if (!cab_dtype_bytes(t->dtype, (uint64_t)n, &bytes) || bytes > blob->bytes)
        return cab_eval_error(e, CAB_EMODEL, "constant has %llu bytes, its type needs %llu",
                              (unsigned long long)blob->bytes, (unsigned long long)bytes);
    if (bytes)
        memcpy(e->out[0].data, blob->data, (size_t)bytes);
    return CAB_OK;
}

cab_status cab_eval_op_dim(cab_eval *e)
{
    int64_t v;
    CAB_TRY(cab_eval_dims(e, "value", 1, &v, NULL));
    CAB_TRY(cab_eval_out(e, 0, CAB_DT_i64, 0, &v));
    memcpy(e->out[0].data, &v, sizeof v);
    return CAB_OK;
}

/* The symbol has this value from here on; in a loop, another one each time. */
cab_status cab_eval_op_item(cab_eval *e)
{
    const cab_dim *const *sym;
    int64_t v = cab_scalar_load(e->in[0]->dtype, e->in[0]->data, 0).i;
    cab_attr_dims(e->n, "value", &sym);
    if (v < sym[0]->lo || v > sym[0]->hi)
        return cab_eval_error(e, CAB_EINPUT, "a size of %lld", (long long)v);
    if (e->env)
        cab_env_set(e->env, sym[0]->name, v);
    CAB_TRY(cab_eval_out(e, 0, CAB_DT_i64, 0, &v));
    memcpy(e->out[0].data, &v, sizeof v);
    return CAB_OK;
}

cab_status cab_eval_op_iota(cab_eval *e)
{
    int64_t dims[CAB_MAX_RANK], idx[CAB_MAX_RANK] = { 0 };
    int rank = 0, axis = 0;
    cab_dtype t = cab_attr_dtype(e->n, "dtype");
    CAB_TRY(cab_eval_dims(e, "dims", -1, dims, &rank));
    CAB_TRY(cab_eval_axis(e, "axis", rank, &axis));
    CAB_TRY(cab_eval_out(e, 0, t, rank, dims));
    int64_t n = cab_tensor_numel(&e->out[0]);
    for (int64_t i = 0; i < n; i++, cab_eval_next(rank, dims, idx))
        cab_scalar_store(t, e->out[0].data, (uint64_t)i,
                         cab_scalar_cast(CAB_DT_i64, t, (cab_scalar){ .i = idx[axis] }));
    return CAB_OK;
}

/* ---- elementwise ---- */
static bool broadcast(const cab_tensor *const *in, int n, int *rank, int64_t *dims)
{
    *rank = 0;
    for (int i = 0; i < n; i++)
        *rank = in[i]->rank > *rank ? in[i]->rank : *rank;
    for (int k = 0; k < *rank; k++) {
        dims[k] = 1;
        for (int i = 0; i < n; i++) {
            int at = k - (*rank - in[i]->rank);
            int64_t x = at < 0 ? 1 : in[i]->dims[at];
            if (x != 1 && dims[k] != 1 && dims[k] != x)
                return false;
            dims[k] = x != 1 ? x : dims[k];
        }
    }
    return true;
}

/* Strides of t as seen with more axes in front, 0 where it repeats. */
static void broadcast_strides(const cab_tensor *t, int rank, int64_t *strides)
{
    int64_t own[CAB_MAX_RANK];
    cab_eval_strides(t->rank, t->dims, own);
    for (int k = 0; k < rank; k++) {
        int at = k - (rank - t->rank);
        strides[k] = at < 0 || t->dims[at] == 1 ? 0 : own[at];
    }
}

static int64_t offset(int rank, const int64_t *idx, const int64_t *strides)
{
    int64_t o = 0;
    for (int i = 0; i < rank; i++)
        o += idx[i] * strides[i];
    return o;
}

static cab_dtype scalar_type(const cab_eval *e, cab_expr_op op)
{
    cab_dtype t[3] = { CAB_DT_none, CAB_DT_none, CAB_DT_none };
    cab_dtype to = CAB_DT_none;
    for (int i = 0; i < e->n->n_in; i++)
        t[i] = e->in[i]->dtype;
    if (op == CAB_EX_cast || op == CAB_EX_bitcast)
        to = cab_attr_dtype(e->n, "to");
    return cab_ex_type(op, t, to);
}

cab_status cab_eval_op_scalar(cab_eval *e)
{
    cab_expr_op op = cab_ex_from_op(e->n->op->id);
    int n_in = e->n->n_in, rank = 0;
    int64_t dims[CAB_MAX_RANK], idx[CAB_MAX_RANK] = { 0 };
    int64_t strides[3][CAB_MAX_RANK] = { { 0 } };
    cab_scalar x[3] = { { .i = 0 } };
    cab_dtype to = scalar_type(e, op), from = e->in[n_in == 3 ? 1 : 0]->dtype;
    if (to == CAB_DT_none)
        return cab_eval_error(e, CAB_EINVAL, "operand types do not fit '%s'", e->n->op->name);
    if (!broadcast(e->in, n_in, &rank, dims))
        return cab_eval_error(e, CAB_EINPUT, "operand shapes do not broadcast");
    CAB_TRY(cab_eval_out(e, 0, to, rank, dims));
    for (int i = 0; i < n_in; i++)
        broadcast_strides(e->in[i], rank, strides[i]);
    int64_t n = cab_tensor_numel(&e->out[0]);
    for (int64_t i = 0; i < n; i++, cab_eval_next(rank, dims, idx)) {
        for (int k = 0; k < n_in; k++)
            x[k] = cab_scalar_load(e->in[k]->dtype, e->in[k]->data,
                                   (uint64_t)offset(rank, idx, strides[k]));
        cab_scalar_store(to, e->out[0].data, (uint64_t)i,
                         cab_scalar_apply(op, from, to, x));
    }
    return CAB_OK;
}

/* ---- movement ---- */
/* out[i] = x[base + sum idx * strides], for all i of the output. */
static void copy_strided(cab_eval *e, const cab_tensor *x, int64_t base, const int64_t *strides)
{
    cab_tensor *o = &e->out[0];
    int64_t idx[CAB_MAX_RANK] = { 0 }, n = cab_tensor_numel(o);
    for (int64_t i = 0; i < n; i++, cab_eval_next(o->rank, o->dims, idx))
        cab_elem_copy(o->dtype, o->data, (uint64_t)i, x->data,
                      (uint64_t)(base + offset(o->rank, idx, strides)));
}

static void copy_all(cab_eval *e)
{
    uint64_t bytes = 0;
    cab_dtype_bytes(e->out[0].dtype, (uint64_t)cab_tensor_numel(&e->out[0]), &bytes);
    memcpy(e->out[0].data, e->in[0]->data, (size_t)bytes);
}

cab_status cab_eval_op_copy(cab_eval *e)
{
    CAB_TRY(cab_eval_out(e, 0, e->in[0]->dtype, e->in[0]->rank, e->in[0]->dims));
    copy_all(e);
    return CAB_OK;
}

cab_status cab_eval_op_reshape(cab_eval *e)
{
    int64_t dims[CAB_MAX_RANK];
    int rank = 0;
    CAB_TRY(cab_eval_dims(e, "dims", -1, dims, &rank));
    CAB_TRY(cab_eval_out(e, 0, e->in[0]->dtype, rank, dims));
    int64_t have = cab_tensor_numel(e->in[0]), want = cab_tensor_numel(&e->out[0]);
    if (have != want)
        return cab_eval_error(e, CAB_EINPUT, "%lld elements do not fill a shape of %lld",
                              (long long)have, (long long)want);
    copy_all(e);
    return CAB_OK;
}

cab_status cab_eval_op_transpose(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    const int64_t *perm;
    int64_t own[CAB_MAX_RANK], dims[CAB_MAX_RANK], strides[CAB_MAX_RANK];
    uint32_t seen = 0;
    CAB_TRY(cab_eval_ints(e, "perm", x->rank, &perm));
    cab_eval_strides(x->rank, x->dims, own);
    for (int i = 0; i < x->rank; i++) {
        if (perm[i] < 0 || perm[i] >= x->rank || (seen >> perm[i] & 1))
            return cab_eval_error(e, CAB_EINVAL, "perm is no permutation");
        seen |= 1u << perm[i];
        dims[i] = x->dims[perm[i]];
        strides[i] = own[perm[i]];
    }
    CAB_TRY(cab_eval_out(e, 0, x->dtype, x->rank, dims));
    copy_strided(e, x, 0, strides);
    return CAB_OK;
}

cab_status cab_eval_op_expand(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    int64_t dims[CAB_MAX_RANK], strides[CAB_MAX_RANK];
    int rank = 0;
    CAB_TRY(cab_eval_dims(e, "dims", -1, dims, &rank));
    bool ok = rank >= x->rank;
    for (int i = 0; ok && i < x->rank; i++)
        ok = x->dims[i] == 1 || x->dims[i] == dims[i + rank - x->rank];
    if (!ok)
        return cab_eval_error(e, CAB_EINPUT, "the operand does not broadcast to the shape");
    CAB_TRY(cab_eval_out(e, 0, x->dtype, rank, dims));
    broadcast_strides(x, rank, strides);
    copy_strided(e, x, 0, strides);
    return CAB_OK;
}

cab_status cab_eval_op_slice(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    const int64_t *steps;
    int64_t starts[CAB_MAX_RANK], dims[CAB_MAX_RANK], strides[CAB_MAX_RANK], base = 0;
    CAB_TRY(cab_eval_dims(e, "starts", x->rank, starts, NULL));
    CAB_TRY(cab_eval_dims(e, "dims", x->rank, dims, NULL));
    CAB_TRY(cab_eval_ints(e, "steps", x->rank, &steps));
    CAB_TRY(cab_eval_out(e, 0, x->dtype, x->rank, dims));
    if (cab_tensor_numel(&e->out[0]) == 0)
        return CAB_OK;
    cab_eval_strides(x->rank, x->dims, strides);
    for (int i = 0; i < x->rank; i++) {
        int64_t last;
        if (__builtin_mul_overflow(dims[i] - 1, steps[i], &last) ||
            __builtin_add_overflow(last, starts[i], &last) || last < 0 ||
            last >= x->dims[i] || starts[i] < 0 || starts[i] >= x->dims[i])
            return cab_eval_error(e, CAB_EINPUT, "axis %d is sliced beyond its %lld elements",
                                  i, (long long)x->dims[i]);
        base += starts[i] * strides[i];
        /* An axis of one element may have any step. */
        strides[i] *= dims[i] == 1 ? 0 : steps[i];
    }
    copy_strided(e, x, base, strides);
    return CAB_OK;
}

cab_status cab_eval_op_pad(cab_eval *e)
{
    const cab_tensor *x = e->in[0], *value = e->n->n_in > 1 ? e->in[1] : NULL;
    int64_t lo[CAB_MAX_RANK], hi[CAB_MAX_RANK], dims[CAB_MAX_RANK];
    int64_t own[CAB_MAX_RANK], idx[CAB_MAX_RANK] = { 0 };
    CAB_TRY(cab_eval_dims(e, "lo", x->rank, lo, NULL));
    CAB_TRY(cab_eval_dims(e, "hi", x->rank, hi, NULL));
    for (int i = 0; i < x->rank; i++)
        if (lo[i] < 0 || hi[i] < 0 || __builtin_add_overflow(x->dims[i], lo[i], &dims[i]) ||
            __builtin_add_overflow(dims[i], hi[i], &dims[i]))
            return cab_eval_error(e, CAB_EINPUT, "axis %d: bad padding", i);
    if (value && (value->dtype != x->dtype || cab_tensor_numel(value) != 1))
        return cab_eval_error(e, CAB_EINVAL, "the padding value is no scalar of that type");
    CAB_TRY(cab_eval_out(e, 0, x->dtype, x->rank, dims));
    cab_eval_strides(x->rank, x->dims, own);
    int64_t n = cab_tensor_numel(&e->out[0]);
    for (int64_t i = 0; i < n; i++, cab_eval_next(x->rank, dims, idx)) {
        int64_t at = 0;
        for (int k = 0; k < x->rank && at >= 0; k++) {
            int64_t p = idx[k] - lo[k];
            at = p < 0 || p >= x->dims[k] ? -1 : at + p * own[k];
        }
        if (at >= 0)
            cab_elem_copy(x->dtype, e->out[0].data, (uint64_t)i, x->data, (uint64_t)at);
        else if (value)
            cab_elem_copy(x->dtype, e->out[0].data, (uint64_t)i, value->data, 0);
    }
    return CAB_OK;
}

/* Elements in front of axis, and behind it. */
static void around(const cab_tensor *t, int axis, int64_t *outer, int64_t *inner)
{
    *outer = *inner = 1;
    for (int i = 0; i < t->rank; i++)
        *(i < axis ? outer : inner) *= i == axis ? 1 : t->dims[i];
}

cab_status cab_eval_op_concat(cab_eval *e)
{
    if (e->n->n_in == 0 || !e->in[0])
        return cab_eval_error(e, CAB_EINVAL, "nothing to join");
    const cab_tensor *x = e->in[0];
    int64_t dims[CAB_MAX_RANK], outer, inner, at = 0;
    int axis = 0;
    CAB_TRY(cab_eval_axis(e, "axis", x->rank, &axis));
    memcpy(dims, x->dims, sizeof dims);
    for (int i = 1; i < e->n->n_in; i++) {
        const cab_tensor *y = e->in[i];
        bool ok = y && y->dtype == x->dtype && y->rank == x->rank;
        for (int k = 0; ok && k < x->rank; k++)
            ok = k == axis || y->dims[k] == x->dims[k];
        if (!ok || __builtin_add_overflow(dims[axis], y->dims[axis], &dims[axis]))
            return cab_eval_error(e, CAB_EINPUT, "operand %d does not fit the first", i);
    }
    CAB_TRY(cab_eval_out(e, 0, x->dtype, x->rank, dims));
    around(&e->out[0], axis, &outer, &inner);
    for (int i = 0; i < e->n->n_in; i++) {
        const cab_tensor *y = e->in[i];
        int64_t rows = y->dims[axis] * inner;
        for (int64_t o = 0; o < outer; o++)
            for (int64_t k = 0; k < rows; k++)
                cab_elem_copy(x->dtype, e->out[0].data,
                              (uint64_t)(o * dims[axis] * inner + at + k), y->data,
                              (uint64_t)(o * rows + k));
        at += rows;
    }
    return CAB_OK;
}

cab_status cab_eval_op_gather(cab_eval *e)
{
    const cab_tensor *x = e->in[0], *index = e->in[1];
    int64_t dims[2 * CAB_MAX_RANK], outer, inner;
    int axis = 0, rank = 0;
    CAB_TRY(cab_eval_axis(e, "axis", x->rank, &axis));
    for (int i = 0; i < x->rank; i++) {
        if (i != axis)
            dims[rank++] = x->dims[i];
        for (int k = 0; i == axis && k < index->rank; k++)
            dims[rank++] = index->dims[k];
    }
    if (rank > CAB_MAX_RANK || !cab_dtype_is_int(index->dtype))
        return cab_eval_error(e, CAB_EUNSUPPORTED, "result of rank %d, index of %s", rank,
                              cab_dtype_name(index->dtype));
    CAB_TRY(cab_eval_out(e, 0, x->dtype, rank, dims));
    around(x, axis, &outer, &inner);
    int64_t n = cab_tensor_numel(index), rows = x->dims[axis];
    if (cab_tensor_numel(&e->out[0]) == 0)
        return CAB_OK;
    for (int64_t j = 0; j < n; j++) {
        int64_t i = cab_scalar_load(index->dtype, index->data, (uint64_t)j).i;
        i += i < 0 ? rows : 0;
        if (i < 0 || i >= rows)
            return cab_eval_error(e, CAB_EINPUT, "index %lld of %lld rows",
                                  (long long)i, (long long)rows);
        for (int64_t o = 0; o < outer; o++)
            for (int64_t k = 0; k < inner; k++)
                cab_elem_copy(x->dtype, e->out[0].data, (uint64_t)((o * n + j) * inner + k),
                              x->data, (uint64_t)((o * rows + i) * inner + k));
    }
    return CAB_OK;
}

/* Place of the update at idx in y, or -1 when it falls outside. */
static int64_t target(const cab_tensor *y, int axis, int64_t index, const int64_t *idx,
                      const int64_t *strides)
{
    int64_t at = 0;
    for (int i = 0; i < y->rank; i++) {
        int64_t p = i == axis ? index : idx[i];
        if (p < 0 || p >= y->dims[i])
            return -1;
        at += p * strides[i];
    }
    return at;
}

static cab_status scatter_op(cab_eval *e, cab_expr_op *op)
{
    const char *name = cab_attr_str(e->n, "op");
    cab_store_mode mode;
    if (cab_scatter_mode(name, &mode)) {
        *op = cab_store_op(mode);
        return CAB_OK;
    }
    return cab_eval_error(e, CAB_EUNSUPPORTED, "op '%s'", name ? name : "");
}

cab_status cab_eval_op_scatter(cab_eval *e)
{
    const cab_tensor *x = e->in[0], *index = e->in[1], *u = e->in[2];
    cab_tensor *y = &e->out[0];
    int64_t idx[CAB_MAX_RANK] = { 0 }, own[CAB_MAX_RANK], from[CAB_MAX_RANK];
    cab_expr_op op = CAB_EX_COUNT;
    int axis = 0;
    CAB_TRY(scatter_op(e, &op));
    CAB_TRY(cab_eval_axis(e, "axis", x->rank, &axis));
    bool ok = index->rank == x->rank && u->rank == x->rank && u->dtype == x->dtype &&
              cab_dtype_is_int(index->dtype);
    for (int i = 0; ok && i < x->rank; i++)
        ok = index->dims[i] == 1 || index->dims[i] == u->dims[i];
    if (!ok)
        return cab_eval_error(e, CAB_EINPUT, "index and updates do not fit the operand");
    CAB_TRY(cab_eval_op_copy(e));
    cab_eval_strides(x->rank, x->dims, own);
    broadcast_strides(index, x->rank, from);
    int64_t n = cab_tensor_numel(u);
    for (int64_t i = 0; i < n; i++, cab_eval_next(u->rank, u->dims, idx)) {
        int64_t row = cab_scalar_load(index->dtype, index->data,
                                      (uint64_t)offset(x->rank, idx, from)).i;
        int64_t at = target(y, axis, row, idx, own);
        cab_scalar v[3] = { { .i = 0 } };
        if (at < 0)
            continue;
        if (op == CAB_EX_COUNT) {
            cab_elem_copy(x->dtype, y->data, (uint64_t)at, u->data, (uint64_t)i);
            continue;
        }
        v[0] = cab_scalar_load(x->dtype, y->data, (uint64_t)at);
        v[1] = cab_scalar_load(x->dtype, u->data, (uint64_t)i);
        cab_scalar_store(x->dtype, y->data, (uint64_t)at,
                         cab_scalar_apply(op, x->dtype, x->dtype, v));
    }
    return CAB_OK;
}
