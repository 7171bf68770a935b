/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_make.c - random CORE graphs from the op table.
 *
 * Scalar functions come straight from their rows; the other ops have a maker
 * that finds attributes which fit; a few makers build what real models
 * consist of.  Ops whose result jumps (comparisons, casts to integers, index
 * of the largest) only get operands that no rounding has touched, so that
 * every difference found is one.
 */
#include <string.h>
#include "tests/fuzz/graph_gen.h"

enum { MAX_RANK = 5, MAX_ELEMS = 4096 };

int gen_pick(gen *q, int n) { return (int)fuzz_draw(q->s, 0, n - 1); }
bool gen_coin(gen *q) { return gen_pick(q, 2); }
const cab_dim *gen_num(gen *q, int64_t v) { return cab_dim_const(q->g->dims, v); }
static int64_t extent(gen *q, const cab_value *v, int k) { return graph_extent(q->seed, v->type.dims[k]); }

/* One of the set; f32, when there, half of the time. */
static cab_dtype pick_dtype(gen *q, cab_dtset set)
{
    set &= FLOATS | INTS | BOOL;
    if (set & CAB_DTBIT(CAB_DT_f32) && gen_coin(q))
        return CAB_DT_f32;
    for (int i = gen_pick(q, CAB_DT_COUNT), n = 0; n < CAB_DT_COUNT; n++, i++)
        if (set & CAB_DTBIT(i % CAB_DT_COUNT))
            return (cab_dtype)(i % CAB_DT_COUNT);
    return CAB_DT_f32;
}

/* ---- values ---- */
void gen_note(gen *q, const cab_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        q->noisy[n->out[i]->id % GRAPH_MAX_IDS] = graph_noisy(n, q->noisy);
}

static int64_t elems(gen *q, const cab_value *v)
{
    int64_t n = 1;
    for (int i = 0; i < v->type.rank; i++)
        if (extent(q, v, i) < 0 || __builtin_mul_overflow(n, extent(q, v, i), &n))
            return -1;
    return n;
}

void gen_add(gen *q, cab_value *v)
{
    if (!v || q->n == MAX_VALUES || v->type.rank > MAX_RANK)
        return;
    int64_t n = elems(q, v);
    if (n >= 0 && n <= MAX_ELEMS)
        q->v[q->n++] = v;
}

cab_value *gen_build(gen *q, cab_op_id op, int n_in, cab_value **in, int n_attr,
                        const cab_attr *attr)
{
    cab_node *n = cab_build_node(&q->b, op, n_in, in, 1, n_attr, attr);
    if (!n)
        return NULL;
    gen_note(q, n);
    return n->out[0];
}

cab_value *gen_unary(gen *q, cab_op_id op, cab_value *x) { return gen_build(q, op, 1, &x, 0, NULL); }

cab_value *gen_binary(gen *q, cab_op_id op, cab_value *x, cab_value *y)
{
    cab_value *in[2] = { x, y };
    return gen_build(q, op, 2, in, 0, NULL);
}

static cab_value *cast(gen *q, cab_value *x, cab_dtype to)
{
    cab_attr a = cab_a_dtype("to", to);
    return x->type.dtype == to ? x : gen_build(q, CAB_OP_cast, 1, &x, 1, &a);
}

/* Not an extent that inputs can have. */
static bool is_late(const cab_dim *x)
{
    if (x->kind == CAB_DIM_SYM)
        return !strncmp(x->name, "size", 4) || !strncmp(x->name, "iter", 4);
    for (int i = 0; i < x->n_args; i++)
        if (is_late(x->args[i]))
            return true;
    return false;
}

static cab_value *expanded(gen *q, cab_dtype dt, int rank, const cab_dim *const *dims, int64_t top)
{
    cab_value *x = gen_leaf(q, dt, 0, NULL, top);
    cab_attr a = cab_a_dims("dims", dims, rank);
    return x ? gen_build(q, CAB_OP_expand, 1, &x, 1, &a) : NULL;
}

/* An input, or a constant where every extent is known. */
cab_value *gen_leaf(gen *q, cab_dtype dt, int rank, const cab_dim *const *dims, int64_t top)
{
    cab_type t = cab_type_tensor(dt, rank, dims);
    const char *name = cab_printf(q->g->arena, "x%d", q->n_leaves++);
    for (int i = 0; i < rank; i++)
        if (is_late(dims[i]) || (q->depth && !cab_dim_is_const(dims[i])))
            return expanded(q, dt, rank, dims, top);
    if (!q->depth && (!cab_type_is_static(&t) || gen_coin(q)))
        return q->g->inputs.n < GRAPH_MAX_IO ? cab_graph_add_input(q->g, name, &t) : NULL;
    cab_tensor v = { .dtype = dt, .rank = rank };
    uint64_t bytes;
    for (int i = 0; i < rank; i++)
        v.dims[i] = dims[i]->value;
    if (!cab_tensor_alloc(q->g->arena, &v))
        return NULL;
    graph_fill(&v, q->seed, name, top, false);
    cab_dtype_bytes(dt, (uint64_t)cab_tensor_numel(&v), &bytes);
    return cab_const_blob(q->g, &t, v.data, bytes, NULL);
}

static cab_value *fresh(gen *q, cab_dtset set)
{
    const cab_dim *dims[CAB_MAX_RANK];
    int64_t n = 1;
    int rank = gen_pick(q, 5);
    for (int i = 0; i < rank; i++) {
        dims[i] = q->dim[gen_pick(q, N_DIMS)];
        n *= graph_extent(q->seed, dims[i]);
        if (n > MAX_ELEMS)
            rank = i;
    }
    cab_value *v = gen_leaf(q, pick_dtype(q, set), rank, dims, 0);
    gen_add(q, v);
    return v;
}

static bool fits(gen *q, const cab_value *v, cab_dtset set, bool exact)
{
    return set & CAB_DTBIT(v->type.dtype) && !(exact && q->noisy[v->id % GRAPH_MAX_IDS]);
}

/* A value of the set, mostly a late one; exact: untouched by rounding. */
cab_value *gen_any(gen *q, cab_dtset set, bool exact)
{
    for (int i = 0; i < 12 && q->n; i++) {
        int at = gen_coin(q) ? q->n - 1 - gen_pick(q, q->n < 4 ? q->n : 4) : gen_pick(q, q->n);
        if (fits(q, q->v[at], set, exact))
            return q->v[at];
    }
    return fresh(q, set);
}

/* Extents that surely broadcast together. */
static bool broadcasts(const cab_value *x, const cab_value *y)
{
    for (int i = 1; i <= x->type.rank && i <= y->type.rank; i++) {
        const cab_dim *a = x->type.dims[x->type.rank - i], *b = y->type.dims[y->type.rank - i];
        if (a != b && !cab_dim_is(a, 1) && !cab_dim_is(b, 1))
            return false;
    }
    return true;
}

/* A second operand for x: from the pool, or made with some extents 1. */
static cab_value *partner(gen *q, const cab_value *x, cab_dtset set, bool exact)
{
    for (int i = 0; i < 12 && q->n; i++) {
        cab_value *y = q->v[gen_pick(q, q->n)];
        if (fits(q, y, set, exact) && broadcasts(x, y))
            return y;
    }
    const cab_dim *dims[CAB_MAX_RANK];
    int skip = gen_coin(q) ? 0 : gen_pick(q, x->type.rank + 1), rank = x->type.rank - skip;
    for (int i = 0; i < rank; i++)
        dims[i] = gen_pick(q, 3) ? x->type.dims[skip + i] : gen_num(q, 1);
    return gen_leaf(q, pick_dtype(q, set), rank, dims, 0);
}

/* ---- scalar functions, by their rows ---- */

/* The operands that must be exact: the result jumps there. */
static bool jumps(cab_op_id op, int operand)
{
    switch (op) {
    case CAB_OP_floor: case CAB_OP_ceil: case CAB_OP_rint: case CAB_OP_trunc: case CAB_OP_sign:
    case CAB_OP_isnan: case CAB_OP_isinf: case CAB_OP_eq: case CAB_OP_ne: case CAB_OP_lt:
    case CAB_OP_le: case CAB_OP_mod: case CAB_OP_rem: case CAB_OP_bitcast:
        return true;
    case CAB_OP_pow:
        return operand == 1;
    default:
        return false;
    }
}

static cab_dtset set_of(const cab_op *op, const char *var)
{
    for (int i = 0; i < op->n_type; i++)
        if (!strcmp(op->type[i].var, var))
            return op->type[i].set;
    return 0;
}

static cab_value *make_cast(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, set_of(op, "T"), op->id == CAB_OP_bitcast);
    cab_dtset to = set_of(op, "U");
    if (!x)
        return NULL;
    for (int t = 0; t < CAB_DT_COUNT && op->id == CAB_OP_bitcast; t++)
        if (cab_dtype_bits((cab_dtype)t) != cab_dtype_bits(x->type.dtype) || t == CAB_DT_bool)
            to &= ~CAB_DTBIT(t);
    if (x->type.dtype == CAB_DT_bool && op->id == CAB_OP_bitcast)
        return NULL;
    if (q->noisy[x->id % GRAPH_MAX_IDS])
        to &= FLOATS;
    cab_attr a = cab_a_dtype("to", pick_dtype(q, to));
    if (!(to & CAB_DTBIT(a.u.dtype)))
        return NULL;
    return gen_build(q, op->id, 1, &x, 1, &a);
}

static cab_value *make_scalar(gen *q, const cab_op *op)
{
    cab_value *in[3];
    if (op->n_attr)
        return make_cast(q, op);
    for (int i = 0; i < op->n_in; i++) {
        cab_dtset set = set_of(op, op->in[i].var);
        for (int k = 0; k < i; k++)
            if (!strcmp(op->in[k].var, op->in[i].var))
                set = CAB_DTBIT(in[k]->type.dtype);
        in[i] = i ? partner(q, in[0], set, jumps(op->id, i)) : gen_any(q, set, jumps(op->id, i));
        if (!in[i])
            return NULL;
    }
    if (op->n_in == 3 && !broadcasts(in[1], in[2]))
        return NULL;
    return gen_build(q, op->id, op->n_in, in, 0, NULL);
}

/* ---- movement ---- */
static cab_value *make_reshape(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS | BOOL, false);
    const cab_dim *d[CAB_MAX_RANK + 1];
    int n = 0, r = x ? x->type.rank : 0, at = r ? gen_pick(q, r) : 0, how = gen_pick(q, 4);
    for (int i = 0; i < r; i++) {
        const cab_dim *e = x->type.dims[i];
        if (i == at && how == 0 && i + 1 < r) {
            d[n++] = cab_dim_mul(q->g->dims, e, x->type.dims[++i]);
        } else if (i == at && how == 1 && cab_dim_is_const(e) && e->value % 2 == 0 && e->value) {
            d[n++] = gen_num(q, gen_coin(q) ? 2 : e->value / 2);
            d[n] = gen_num(q, e->value / d[n - 1]->value);
            n++;
        } else {
            if (i == at && how == 2)
                d[n++] = gen_num(q, 1);
            d[n++] = e;
        }
    }
    cab_attr a = cab_a_dims("dims", d, n);
    if (how == 3 && n >= 2) {
        const cab_dim *t = d[n - 1];
        d[n - 1] = d[n - 2];
        d[n - 2] = t;
    }
    return x && n <= MAX_RANK ? gen_build(q, op->id, 1, &x, 1, &a) : NULL;
}

static cab_value *make_transpose(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS | BOOL, false);
    int64_t perm[CAB_MAX_RANK];
    for (int i = 0; x && i < x->type.rank; i++) {
        int j = gen_pick(q, i + 1);
        perm[i] = perm[j];
        perm[j] = i;
    }
    cab_attr a = cab_a_ints("perm", perm, x ? x->type.rank : 0);
    return x ? gen_build(q, op->id, 1, &x, 1, &a) : NULL;
}

static cab_value *make_expand(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS | BOOL, false);
    const cab_dim *d[CAB_MAX_RANK];
    int more = gen_pick(q, 2), r = x ? x->type.rank : 0;
    if (!x || r + more > MAX_RANK)
        return NULL;
    for (int i = 0; i < r + more; i++)
        d[i] = i < more || cab_dim_is(x->type.dims[i - more], 1) ? q->dim[gen_pick(q, N_DIMS)]
                                                                : x->type.dims[i - more];
    cab_attr a = cab_a_dims("dims", d, r + more);
    return gen_build(q, op->id, 1, &x, 1, &a);
}

static cab_value *make_slice(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS | BOOL, false);
    const cab_dim *start[CAB_MAX_RANK], *size[CAB_MAX_RANK];
    int64_t step[CAB_MAX_RANK];
    int r = x ? x->type.rank : 0;
    for (int i = 0; i < r; i++) {
        const cab_dim *e = x->type.dims[i];
        start[i] = gen_num(q, 0);
        size[i] = e;
        step[i] = 1;
        if (!cab_dim_is_const(e) || e->value < 1 || gen_coin(q))
            continue;
        int64_t from = gen_pick(q, (int)e->value), st = gen_coin(q) ? 1 : 1 + gen_pick(q, 3);
        int64_t most = (e->value - 1 - from) / st + 1;
        if (gen_pick(q, 3) == 0) {
            most = from / st + 1;
            st = -st;
        }
        start[i] = gen_num(q, from);
        step[i] = st;
        size[i] = gen_num(q, 1 + gen_pick(q, (int)most));
    }
    cab_attr a[] = { cab_a_dims("starts", start, r), cab_a_ints("steps", step, r),
                     cab_a_dims("dims", size, r) };
    return x ? gen_build(q, op->id, 1, &x, 3, a) : NULL;
}

static cab_value *make_pad(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS | BOOL, false), *in[2] = { x, NULL };
    const cab_dim *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK];
    int r = x ? x->type.rank : 0;
    for (int i = 0; i < r; i++) {
        lo[i] = gen_num(q, gen_pick(q, 3) ? 0 : gen_pick(q, 3));
        hi[i] = gen_num(q, gen_pick(q, 3) ? 0 : gen_pick(q, 3));
    }
    if (x && gen_coin(q))
        in[1] = gen_leaf(q, x->type.dtype, 0, NULL, 0);
    cab_attr a[] = { cab_a_dims("lo", lo, r), cab_a_dims("hi", hi, r) };
    return x ? gen_build(q, op->id, in[1] ? 2 : 1, in, 2, a) : NULL;
}

static cab_value *make_concat(gen *q, const cab_op *op)
{
    cab_value *in[4] = { gen_any(q, FLOATS | INTS | BOOL, false) };
    int n = 1, r = in[0] ? in[0]->type.rank : 0;
    if (r == 0)
        return NULL;
    int axis = gen_pick(q, r), want = 1 + gen_pick(q, 3);
    for (int i = 0; i < q->n && n <= want; i++) {
        cab_value *y = q->v[(i + gen_pick(q, q->n)) % q->n];
        bool ok = y->type.rank == r && y->type.dtype == in[0]->type.dtype;
        for (int k = 0; ok && k < r; k++)
            ok = k == axis || y->type.dims[k] == in[0]->type.dims[k];
        if (ok)
            in[n++] = y;
    }
    cab_attr a = cab_a_int("axis", axis);
    return gen_build(q, op->id, n, in, 1, &a);
}

static cab_value *make_gather(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS | BOOL, false), *in[2] = { x, NULL };
    const cab_dim *d[2] = { q->dim[gen_pick(q, N_DIMS)], q->dim[gen_pick(q, N_DIMS)] };
    if (!x || x->type.rank == 0)
        return NULL;
    int axis = gen_pick(q, x->type.rank);
    int64_t top = extent(q, x, axis);
    if (top < 1)
        return NULL;
    in[1] = gen_leaf(q, gen_coin(q) ? CAB_DT_i64 : CAB_DT_i32, gen_pick(q, 3), d, top);
    cab_attr a = cab_a_int("axis", axis);
    return in[1] ? gen_build(q, op->id, 2, in, 1, &a) : NULL;
}

static cab_value *make_iota(gen *q, const cab_op *op)
{
    const cab_dim *d[3];
    int r = 1 + gen_pick(q, 3);
    for (int i = 0; i < r; i++)
        d[i] = q->dim[gen_pick(q, N_DIMS)];
    cab_attr a[] = { cab_a_dims("dims", d, r), cab_a_int("axis", gen_pick(q, r)),
                     cab_a_dtype("dtype", pick_dtype(q, FLOATS | INTS)) };
    return gen_build(q, op->id, 0, NULL, 3, a);
}

static cab_value *make_dim(gen *q, const cab_op *op)
{
    cab_attr a = cab_a_dims("value", &q->dim[gen_pick(q, N_DIMS)], 1);
    return gen_build(q, op->id, 0, NULL, 1, &a);
}

/* ---- reductions ---- */
cab_value *gen_reduce(gen *q, const char *op, cab_value *x, const int64_t *axes, int n, bool keep)
{
    cab_attr a[] = { cab_a_str("op", op), cab_a_ints("axes", axes, n), cab_a_int("keepdims", keep) };
    return gen_build(q, CAB_OP_reduce, 1, &x, 3, a);
}

static cab_value *make_reduce(gen *q, const cab_op *op)
{
    static const char *const ops[] = { "sum", "max", "min", "prod" };
    cab_value *x = gen_any(q, FLOATS | INTS, false);
    int64_t axes[CAB_MAX_RANK];
    int n = 0;
    (void)op;
    for (int i = 0; x && i < x->type.rank; i++)
        if (gen_coin(q))
            axes[n++] = i;
    return x ? gen_reduce(q, ops[gen_pick(q, 4)], x, axes, n, gen_coin(q)) : NULL;
}

static cab_value *make_argreduce(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS, true);
    int r = x ? x->type.rank : 0, axis = r ? gen_pick(q, r) : 0;
    if (r == 0 || extent(q, x, axis) < 1)
        return NULL;
    cab_attr a[] = { cab_a_str("op", gen_coin(q) ? "max" : "min"), cab_a_int("axis", axis),
                     cab_a_int("keepdims", gen_pick(q, 2)), cab_a_int("last", gen_pick(q, 2)) };
    return gen_build(q, op->id, 1, &x, 4, a);
}

static cab_value *make_scan(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS, false);
    if (!x || x->type.rank == 0)
        return NULL;
    cab_attr a[] = { cab_a_str("op", gen_pick(q, 3) ? "sum" : "prod"),
                     cab_a_int("axis", gen_pick(q, x->type.rank)),
                     cab_a_int("exclusive", gen_pick(q, 2)), cab_a_int("reverse", gen_pick(q, 2)) };
    return gen_build(q, op->id, 1, &x, 4, a);
}

static cab_value *make_topk(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS, true);
    int r = x ? x->type.rank : 0, axis = r ? gen_pick(q, r) : 0;
    if (r == 0 || !cab_dim_is_const(x->type.dims[axis]) || x->type.dims[axis]->value < 1)
        return NULL;
    const cab_dim *k = gen_num(q, 1 + gen_pick(q, (int)x->type.dims[axis]->value));
    cab_attr a[] = { cab_a_dims("k", &k, 1), cab_a_int("axis", axis), cab_a_int("largest", gen_pick(q, 2)) };
    cab_node *n = cab_build_node(&q->b, op->id, 1, &x, 2, 3, a);
    if (!n)
        return NULL;
    gen_note(q, n);
    gen_add(q, n->out[1]);
    return n->out[0];
}

static cab_value *make_sort(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS, true);
    if (!x || x->type.rank == 0)
        return NULL;
    const cab_dim *d[2] = { x->type.dims[0], gen_num(q, 1) };
    for (int i = 1; i < x->type.rank; i++)
        d[1] = cab_dim_mul(q->g->dims, d[1], x->type.dims[i]);
    x = cab_b_reshape(&q->b, x, 2, d);
    return x ? gen_build(q, op->id, 1, &x, 0, NULL) : NULL;
}

/* All of the first result counts, so the limit is what is surely found: 0, or
 * every box, none of which has an area. */
static cab_value *make_nms(gen *q, const cab_op *op)
{
    const cab_dim *n = q->dim[gen_pick(q, N_DIMS)], *b[3] = { gen_num(q, 2), n, gen_num(q, 4) };
    const cab_dim *s[3] = { gen_num(q, 2), gen_num(q, 1 + gen_pick(q, 2)), n },
                  *limit = gen_coin(q) ? n : gen_num(q, 0);
    cab_value *in[4] = { gen_leaf(q, CAB_DT_f32, 3, b, 0), gen_leaf(q, CAB_DT_f32, 3, s, 0) };
    cab_attr a[] = { cab_a_dims("limit", &limit, 1), cab_a_int("center", 0), cab_a_int("filter", 0) };
    if (!in[0] || !in[1])
        return NULL;
    in[0] = gen_binary(q, CAB_OP_mul, in[0], cab_b_scalar(&q->b, CAB_DT_f32, 0));
    in[2] = in[3] = cab_b_scalar(&q->b, CAB_DT_f32, 0.5);
    cab_node *x = in[0] ? cab_build_node(&q->b, op->id, 4, in, 2, 3, a) : NULL;
    if (!x)
        return NULL;
    gen_note(q, x);
    gen_add(q, x->out[1]);
    return x->out[0];
}

/* ---- products and windows ---- */

/* Accumulating type of a product's result: ints of 8 bits usually widen. */
static cab_dtype out_type(gen *q, cab_dtype t)
{
    if (t == CAB_DT_i8 || t == CAB_DT_u8)
        return gen_pick(q, 4) ? CAB_DT_i32 : CAB_DT_none;
    return t == CAB_DT_f16 && gen_coin(q) ? CAB_DT_f32 : CAB_DT_none;
}

static cab_value *dot(gen *q, cab_value *x, cab_value *y, int nb, int kx, int ky)
{
    static const int64_t batch[] = { 0, 1, 2, 3 };
    int64_t cx = kx, cy = ky;
    cab_value *in[2] = { x, y };
    cab_attr a[] = { cab_a_ints("a_batch", batch, nb), cab_a_ints("b_batch", batch, nb),
                     cab_a_ints("a_contract", &cx, 1), cab_a_ints("b_contract", &cy, 1),
                     cab_a_dtype("out", out_type(q, x->type.dtype)) };
    return gen_build(q, CAB_OP_dot, 2, in, 5, a);
}

/* x times a leaf: leading batch axes, then the contracted one and a free one. */
static cab_value *make_dot(gen *q, const cab_op *op)
{
    cab_value *x = gen_any(q, FLOATS | INTS, false), *y;
    const cab_dim *d[CAB_MAX_RANK];
    int r = x ? x->type.rank : 0;
    (void)op;
    if (r < 1 || r > 4)
        return NULL;
    int nb = r >= 2 ? gen_pick(q, r > 3 ? 3 : r) : 0, k = nb + gen_pick(q, r - nb), turned = gen_pick(q, 2);
    for (int i = 0; i < nb; i++)
        d[i] = x->type.dims[i];
    d[nb + turned] = x->type.dims[k];
    d[nb + !turned] = q->dim[gen_pick(q, N_DIMS)];
    cab_dtype t = x->type.dtype;
    if ((t == CAB_DT_u8 || t == CAB_DT_i8) && gen_coin(q))
        t = t == CAB_DT_u8 ? CAB_DT_i8 : CAB_DT_u8;
    y = gen_leaf(q, t, nb + 2, d, 0);
    return y ? dot(q, x, y, nb, k, nb + turned) : NULL;
}

/* Something with channels and 1 to 3 spatial axes. */
static cab_value *image(gen *q)
{
    cab_value *x = gen_any(q, FLOATS | CAB_DTBIT(CAB_DT_i8) | CAB_DTBIT(CAB_DT_u8) |
                          CAB_DTBIT(CAB_DT_i32), false);
    static const int64_t sizes[] = { 1, 3, 5, 6, 8, 9, 12 }, channels[] = { 1, 2, 3, 4, 8, 16 };
    const cab_dim *d[5] = { q->dim[gen_pick(q, N_DIMS)], gen_num(q, channels[gen_pick(q, 6)]) };
    int s = x ? x->type.rank - 2 : 0;
    if (s >= 1 && s <= 3 && cab_dim_is_const(x->type.dims[1]) && x->type.dims[1]->value >= 1)
        return x;
    s = 1 + gen_pick(q, 3);
    for (int i = 0; i < s; i++)
        d[2 + i] = gen_pick(q, 5) ? gen_num(q, sizes[gen_pick(q, s == 3 ? 3 : 7)]) : q->dim[gen_pick(q, N_DIMS)];
    x = gen_leaf(q, gen_pick(q, 4) ? CAB_DT_f32 : pick_dtype(q, FLOATS | CAB_DTBIT(CAB_DT_i8)), 2 + s, d, 0);
    int64_t n = x ? elems(q, x) : -1;
    return n >= 0 && n <= MAX_ELEMS ? x : NULL;
}

static cab_value *make_conv(gen *q, const cab_op *op)
{
    int64_t strides[3], lo[3], hi[3], dil[3], group = 1;
    const cab_dim *w[5];
    cab_value *x = image(q);
    if (!x)
        return NULL;
    int s = x->type.rank - 2;
    int64_t c = x->type.dims[1]->value;
    if (gen_pick(q, 3) == 0)
        group = c;
    else if (c % 2 == 0 && gen_pick(q, 3) == 0)
        group = 2;
    w[0] = gen_num(q, group * (group > 4 ? 1 : 1 + gen_pick(q, group > 1 ? 3 : 20)));
    w[1] = gen_num(q, c / group);
    for (int i = 0; i < s; i++) {
        int64_t k = 1 + gen_pick(q, 3);
        w[i + 2] = gen_num(q, k);
        strides[i] = 1 + gen_pick(q, 2);
        dil[i] = 1 + (gen_pick(q, 4) == 0);
        int64_t reach = (k - 1) * dil[i];
        lo[i] = gen_coin(q) ? reach / 2 : gen_pick(q, (int)reach + 2);
        hi[i] = extent(q, x, i + 2) + lo[i] > reach && gen_coin(q) ? gen_pick(q, 2) : reach;
    }
    cab_value *in[2] = { x, gen_leaf(q, x->type.dtype, s + 2, w, 0) };
    cab_attr a[] = { cab_a_ints("strides", strides, s), cab_a_ints("pads_lo", lo, s),
                     cab_a_ints("pads_hi", hi, s), cab_a_ints("dilations", dil, s),
                     cab_a_int("group", group), cab_a_dtype("out", out_type(q, x->type.dtype)) };
    cab_value *y = in[1] ? gen_build(q, op->id, 2, in, 6, a) : NULL;
    if (!y || gen_coin(q))
        return y;
    const cab_dim *bias[4] = { w[0], gen_num(q, 1), gen_num(q, 1), gen_num(q, 1) };
    cab_value *b = gen_leaf(q, y->type.dtype, s + 1, bias, 0);
    y = b ? gen_binary(q, CAB_OP_add, y, b) : y;
    if (!y || gen_coin(q))
        return y;
    cab_value *zero = cab_b_scalar(&q->b, y->type.dtype, 0);
    return zero ? gen_binary(q, CAB_OP_max, y, zero) : NULL;
}

static cab_value *make_window(gen *q, const cab_op *op)
{
    static const char *const ops[] = { "max", "sum", "argmax" };
    int64_t k[3], strides[3], lo[3], dil[3];
    const cab_dim *dims[3];
    cab_value *x = image(q);
    if (!x)
        return NULL;
    /* The index of a window full of the least number may name the padding. */
    bool least = !cab_dtype_is_float(x->type.dtype) && !cab_dtype_is_signed(x->type.dtype);
    int s = x->type.rank - 2, how = gen_pick(q, least || q->noisy[x->id % GRAPH_MAX_IDS] ? 2 : 3);
    for (int i = 0; i < s; i++) {
        const cab_dim *e = x->type.dims[i + 2];
        k[i] = 1 + gen_pick(q, 3);
        lo[i] = k[i] > 1 ? gen_pick(q, 2) : 0;
        dil[i] = 1 + (gen_pick(q, 5) == 0);
        strides[i] = cab_dim_is_const(e) ? 1 + gen_pick(q, 3) : 1;
        dims[i] = strides[i] == 1 ? e : gen_num(q, (e->value + strides[i] - 1) / strides[i]);
    }
    cab_attr a[] = { cab_a_str("op", ops[how]), cab_a_ints("kernel", k, s),
                     cab_a_ints("strides", strides, s), cab_a_ints("pads_lo", lo, s),
                     cab_a_ints("dilations", dil, s), cab_a_dims("dims", dims, s) };
    return gen_build(q, op->id, 1, &x, 6, a);
}

/* ---- what real models consist of ---- */
static cab_value *make_rows(gen *q)
{
    cab_value *x = gen_any(q, FLOATS, false);
    int64_t axis = x ? x->type.rank - 1 : -1;
    if (axis < 0)
        return NULL;
    cab_dtype t = x->type.dtype;
    cab_value *m = gen_reduce(q, gen_coin(q) ? "max" : "sum", x, &axis, 1, true);
    cab_value *c = m ? gen_binary(q, CAB_OP_sub, x, m) : NULL;
    if (!c)
        return NULL;
    if (gen_coin(q)) {
        cab_value *e = gen_unary(q, CAB_OP_exp, c), *s = e ? gen_reduce(q, "sum", e, &axis, 1, true) : NULL;
        return s ? gen_binary(q, CAB_OP_div, e, s) : NULL;
    }
    cab_value *two = gen_binary(q, CAB_OP_mul, c, c), *s = two ? gen_reduce(q, "sum", two, &axis, 1, true) : NULL;
    s = s ? gen_binary(q, CAB_OP_add, s, cab_b_scalar(&q->b, t, 1)) : NULL;
    s = s ? gen_unary(q, CAB_OP_sqrt, s) : NULL;
    return s ? gen_binary(q, CAB_OP_div, c, s) : NULL;
}

static cab_value *make_attention(gen *q)
{
    cab_value *x = gen_any(q, CAB_DTBIT(CAB_DT_f32), false);
    int r = x ? x->type.rank : 0;
    int64_t axis = r - 1;
    if (r < 3 || r > 4)
        return NULL;
    cab_value *s = dot(q, x, gen_unary(q, CAB_OP_tanh, x), r - 2, r - 1, r - 1);
    cab_value *m = s ? gen_reduce(q, "max", s, &axis, 1, true) : NULL;
    cab_value *e = m ? gen_unary(q, CAB_OP_exp, gen_binary(q, CAB_OP_sub, s, m)) : NULL;
    cab_value *d = e ? gen_reduce(q, "sum", e, &axis, 1, true) : NULL;
    cab_value *p = d ? gen_binary(q, CAB_OP_div, e, d) : NULL;
    return p ? dot(q, p, x, r - 2, r - 1, r - 2) : NULL;
}

static cab_value *make_gelu(gen *q)
{
    cab_value *x = gen_any(q, FLOATS, false);
    if (!x)
        return NULL;
    cab_dtype t = x->type.dtype;
    cab_value *e = gen_unary(q, CAB_OP_erf, gen_binary(q, CAB_OP_mul, x, cab_b_scalar(&q->b, t, 0.70710678)));
    e = e ? gen_binary(q, CAB_OP_add, e, cab_b_scalar(&q->b, t, 1)) : NULL;
    return e ? gen_binary(q, CAB_OP_mul, gen_binary(q, CAB_OP_mul, x, e), cab_b_scalar(&q->b, t, 0.5)) : NULL;
}

static cab_value *make_round_trip(gen *q)
{
    cab_value *x = gen_any(q, CAB_DTBIT(CAB_DT_f32), true);
    if (!x)
        return NULL;
    x = cast(q, x, gen_coin(q) ? CAB_DT_f16 : CAB_DT_i8);
    return x ? cast(q, x, CAB_DT_f32) : NULL;
}

/* ---- the table ---- */
typedef cab_value *maker(gen *q, const cab_op *op);
static maker *const makers[CAB_OP_COUNT] = {
    [CAB_OP_reshape] = make_reshape,     [CAB_OP_transpose] = make_transpose,
    [CAB_OP_expand] = make_expand,       [CAB_OP_slice] = make_slice,
    [CAB_OP_pad] = make_pad,             [CAB_OP_concat] = make_concat,
    [CAB_OP_gather] = make_gather,       [CAB_OP_iota] = make_iota,
    [CAB_OP_dim] = make_dim,             [CAB_OP_reduce] = make_reduce,
    [CAB_OP_argreduce] = make_argreduce, [CAB_OP_scan] = make_scan,
    [CAB_OP_topk] = make_topk,           [CAB_OP_dot] = make_dot,
    [CAB_OP_sort] = make_sort,           [CAB_OP_nms] = make_nms,
    [CAB_OP_conv] = make_conv,           [CAB_OP_window] = make_window,
};
static cab_value *(*const idioms[])(gen *q) = { make_rows, make_attention, make_gelu, make_round_trip };

cab_value *gen_step(gen *q)
{
    if (gen_pick(q, q->depth ? 10 : 5) == 0)
        return gen_flow(q);
    if (gen_pick(q, 8) == 0)
        return idioms[gen_pick(q, sizeof idioms / sizeof *idioms)](q);
    bool scalar = gen_coin(q);
    for (int i = 0; i < 200; i++) {
        const cab_op *op = cab_op_get((cab_op_id)(1 + gen_pick(q, CAB_OP_before_onnx_)));
        if (op->traits & CAB_T_ELTWISE && scalar)
            return make_scalar(q, op);
        if (makers[op->id] && !scalar)
            return makers[op->id](q, op);
    }
    return NULL;
}

/* An extent of the inputs' choosing, and an input that chooses it. */
static void symbol(gen *q, int i, const char *name)
{
    q->dim[i] = cab_dim_sym(q->g->dims, name);
    gen_add(q, gen_leaf(q, pick_dtype(q, FLOATS | INTS), 1, &q->dim[i], 0));
}

static void choose_dims(gen *q)
{
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 16, 17, 33 };
    for (int i = 0; i < N_DIMS; i++)
        q->dim[i] = gen_num(q, sizes[gen_pick(q, sizeof sizes / sizeof *sizes)]);
    if (gen_coin(q))
        symbol(q, 0, "N");
    if (gen_pick(q, 4) == 0)
        symbol(q, 1, "M");
    if (gen_pick(q, 16) == 0)
        q->dim[2] = gen_num(q, 0);
}

/* Everything nobody uses, and now and then something somebody uses. */
static void choose_outputs(gen *q)
{
    int n = 0;
    for (int i = q->n - 1; i >= 0 && n < 6; i--)
        if ((q->v[i]->n_uses == 0 && q->v[i]->def) || (q->v[i]->def && gen_pick(q, 12) == 0))
            cab_graph_add_output(q->g, q->v[i], cab_printf(q->g->arena, "y%d", n++));
}

cab_graph *graph_make(cab_arena *a, fuzz_src *s, uint64_t seed, cab_diag *d)
{
    gen *q = CAB_NEW(a, gen);
    q->s = s;
    q->seed = seed;
    q->g = cab_graph_create(a, "random", CAB_LEVEL_CORE);
    q->b = cab_builder_at(q->g, NULL, d);
    choose_dims(q);
    for (int i = 1 + gen_pick(q, 3); i > 0; i--)
        fresh(q, FLOATS | INTS | BOOL);
    for (int i = 2 + gen_pick(q, 20); i > 0 && q->b.status == CAB_OK; i--)
        gen_add(q, gen_step(q));
    choose_outputs(q);
    return q->b.status == CAB_OK && q->g->outputs.n ? q->g : NULL;
}
