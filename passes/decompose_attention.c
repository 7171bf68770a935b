/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_attention.c - attention and rotary embedding.
 *
 * Attention is two products around a masked softmax over [N, heads, q, k].
 * Grouped key and value heads are repeated by an expand; masks are additive
 * with -inf; a row with every key masked gives zeros.
 */
#include "passes/decompose_int.h"
#include <math.h>
#include <string.h>

typedef struct attn {
    cab_value *q, *k, *v;      /* [N, heads, length, size] */
    cab_value *past_k, *past_v, *mask, *valid;
    cab_value *bias;           /* additive, broadcasts to [N, heads, q, k]; NULL = none */
    const cab_dim *n, *lq, *lk;
    bool packed;               /* operands were [N, length, heads * size] */
} attn;

/* [N, L, H*S] -> [N, H, L, S] */
cab_value *cab_dec_split_heads(cab_dec *d, cab_value *x, int64_t heads)
{
    static const int64_t perm[] = { 0, 2, 1, 3 };
    const cab_dim *dims[4];

    if (cab_dec_rank(x) != 3)
        return cab_dec_bad(d, "the operands differ in rank");
    if (heads < 1)
        return cab_dec_bad(d, "the number of heads is missing");
    dims[0] = x->type.dims[0];
    dims[1] = x->type.dims[1];
    dims[2] = cab_dec_c(d, heads);
    dims[3] = cab_dim_divexact(d->g->dims, x->type.dims[2], dims[2]);
    if (!dims[3])
        return cab_dec_bad(d, "%lld heads do not divide the hidden size", (long long)heads);
    return cab_dec_transpose(d, cab_dec_reshape(d, x, 4, dims), perm);
}

cab_value *cab_dec_join_heads(cab_dec *d, cab_value *x)
{
    static const int64_t perm[] = { 0, 2, 1, 3 };
    const cab_dim *dims[3];

    x = cab_dec_transpose(d, x, perm);
    if (!x)
        return NULL;
    dims[0] = x->type.dims[0];
    dims[1] = x->type.dims[1];
    dims[2] = cab_dim_mul(d->g->dims, x->type.dims[2], x->type.dims[3]);
    return cab_dec_reshape(d, x, 3, dims);
}

static bool read_operands(cab_dec *d, attn *a)
{
    int64_t hq = cab_attr_int(d->n, "q_num_heads"), hk = cab_attr_int(d->n, "kv_num_heads");
    cab_value *join[2];

    a->q = cab_dec_in(d, 0);
    a->k = cab_dec_in(d, 1);
    a->v = cab_dec_in(d, 2);
    a->packed = cab_dec_rank(a->q) == 3;
    if (a->packed) {
        a->q = cab_dec_split_heads(d, a->q, hq);
        a->k = cab_dec_split_heads(d, a->k, hk);
        a->v = cab_dec_split_heads(d, a->v, hk);
    }
    if (cab_dec_failed(d))
        return false;
    if (cab_dec_rank(a->q) != 4 || cab_dec_rank(a->k) != 4 || cab_dec_rank(a->v) != 4) {
        cab_dec_bad(d, "operands must have rank 3 or 4");
        return false;
    }
    a->mask = cab_dec_in(d, 3);
    a->past_k = cab_dec_in(d, 4);
    a->past_v = cab_dec_in(d, 5);
    a->valid = cab_dec_in(d, 6);
    if (a->past_k && a->past_v) {
        join[0] = a->past_k;
        join[1] = a->k;
        a->k = cab_dec_concat(d, join, 2, 2);
        join[0] = a->past_v;
        join[1] = a->v;
        a->v = cab_dec_concat(d, join, 2, 2);
    }
    a->n = cab_dec_dim(d, a->q, 0);
    a->lq = cab_dec_dim(d, a->q, 2);
    a->lk = cab_dec_dim(d, a->k, 2);
    return !cab_dec_failed(d);
}

/* Key and value heads repeated so that there are as many as query heads. */
static cab_value *repeat_heads(cab_dec *d, cab_value *x, const cab_dim *heads)
{
    const cab_dim *dims[5], *times;

    if (!x || cab_dim_eq(x->type.dims[1], heads) == 1)
        return x;
    times = cab_dim_divexact(d->g->dims, heads, x->type.dims[1]);
    if (!times)
        return cab_dec_bad(d, "the key heads do not divide the query heads");
    dims[0] = x->type.dims[0];
    dims[1] = x->type.dims[1];
    dims[2] = times;
    dims[3] = x->type.dims[2];
    dims[4] = x->type.dims[3];
    x = cab_b_expand(&d->b, cab_dec_unsqueeze(d, x, 2), 5, dims);
    dims[1] = heads;
    dims[2] = dims[3];
    dims[3] = dims[4];
    return cab_dec_reshape(d, x, 4, dims);
}

static cab_value *minus_inf(cab_dec *d, const cab_value *like)
{
    return cab_dec_num(d, like, -INFINITY);
}

/* bias + (allowed ? 0 : -inf) */
static void forbid(cab_dec *d, attn *a, cab_value *allowed)
{
    cab_value *b = cab_b_select(&d->b, allowed, cab_dec_num(d, a->q, 0), minus_inf(d, a->q));

    a->bias = a->bias ? cab_dec_bin(d, CAB_OP_add, a->bias, b) : b;
}

/* A mask shorter than the keys is padded with "masked". */
static cab_value *pad_mask(cab_dec *d, attn *a)
{
    cab_value *m = a->mask, *fill;
    const cab_dim *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK];
    int rank = cab_dec_rank(m);

    if (rank < 1 || cab_dim_eq(m->type.dims[rank - 1], a->lk) == 1 ||
        cab_dim_is(m->type.dims[rank - 1], 1))
        return m;
    for (int i = 0; i < rank; i++)
        lo[i] = hi[i] = cab_dec_c(d, 0);
    hi[rank - 1] = cab_dim_sub(d->g->dims, a->lk, m->type.dims[rank - 1]);
    fill = m->type.dtype == CAB_DT_bool ? cab_dec_int(d, m, 0) : minus_inf(d, m);
    return cab_dec_pad(d, m, lo, hi, fill);
}

/* Position of each query minus that of each key, i64, [(N, 1,) q, k]. */
static cab_value *distance(cab_dec *d, attn *a)
{
    int rank = a->valid && !a->past_k ? 4 : 2;
    cab_value *i = cab_dec_iota(d, rank, rank - 2, a->lq, CAB_DT_i64);
    cab_value *j = cab_dec_iota(d, rank, rank - 1, a->lk, CAB_DT_i64);
    const cab_dim *one = cab_dec_c(d, 1);

    if (rank == 4) {
        cab_value *v = cab_dec_cast(d, a->valid, CAB_DT_i64);

        v = cab_dec_reshape(d, v, 4, (const cab_dim *[]){ a->n, one, one, one });
        v = cab_dec_bin(d, CAB_OP_sub, v, cab_b_dim(&d->b, a->lq));
        i = cab_dec_bin(d, CAB_OP_add, i, v);
    } else if (a->past_k) {
        i = cab_dec_bin(d, CAB_OP_add, i, cab_b_dim(&d->b, cab_dec_dim(d, a->past_k, 2)));
    }
    return cab_dec_bin(d, CAB_OP_sub, i, j);
}

static void make_bias(cab_dec *d, attn *a)
{
    int64_t left = cab_attr_int(d->n, "left_window_size");
    int64_t right = cab_attr_int(d->n, "right_window_size");
    bool causal = cab_attr_int(d->n, "is_causal") != 0;
    cab_value *m = a->mask ? pad_mask(d, a) : NULL, *x;
    const cab_dim *one = cab_dec_c(d, 1);

    if (m && m->type.dtype == CAB_DT_bool)
        forbid(d, a, m);
    else if (m)
        a->bias = cab_dec_cast(d, m, cab_dec_dtype(a->q));
    if (causal || left >= 0 || right >= 0) {
        x = distance(d, a);
        if (causal)
            forbid(d, a, cab_dec_bin(d, CAB_OP_le, cab_dec_int(d, x, 0), x));
        if (left >= 0)
            forbid(d, a, cab_dec_bin(d, CAB_OP_le, x, cab_dec_int(d, x, left)));
        if (right >= 0)
            forbid(d, a, cab_dec_bin(d, CAB_OP_le, cab_dec_int(d, x, -right), x));
    }
    if (a->valid) {
        cab_value *v = cab_dec_cast(d, a->valid, CAB_DT_i64);

        v = cab_dec_reshape(d, v, 4, (const cab_dim *[]){ a->n, one, one, one });
        x = cab_dec_iota(d, 4, 3, a->lk, CAB_DT_i64);
        forbid(d, a, cab_dec_bin(d, CAB_OP_lt, x, v));
    }
}

/* softmax over keys; a row whose bias is all -inf gives zeros. */
static cab_value *masked_softmax(cab_dec *d, attn *a, cab_value *s)
{
    int64_t axis = 3, last;
    cab_value *m = cab_dec_reduce(d, s, "max", &axis, 1, true), *none, *e, *sum;
    cab_value *zero = cab_dec_num(d, s, 0);

    none = cab_dec_bin(d, CAB_OP_eq, m, minus_inf(d, m));
    e = cab_dec_bin(d, CAB_OP_sub, s, cab_b_select(&d->b, none, zero, m));
    e = cab_dec_un(d, CAB_OP_exp, e);
    sum = cab_dec_reduce(d, e, "sum", &axis, 1, true);
    none = cab_dec_bin(d, CAB_OP_eq, sum, zero);
    sum = cab_b_select(&d->b, none, cab_dec_num(d, s, 1), sum);
    e = cab_dec_bin(d, CAB_OP_div, e, sum);
    if (!a->bias)
        return e;
    last = cab_dec_rank(a->bias) - 1;
    if (last < 0)
        return e;
    m = cab_dec_reduce(d, a->bias, "max", &last, 1, true);
    none = cab_dec_bin(d, CAB_OP_eq, m, minus_inf(d, m));
    return cab_b_select(&d->b, none, zero, e);
}

/* Query times key, both scaled by the root of the scale. */
static cab_value *scores(cab_dec *d, attn *a)
{
    static const int64_t perm[] = { 0, 1, 3, 2 };
    cab_value *k = repeat_heads(d, a->k, cab_dec_dim(d, a->q, 1)), *r;
    const cab_dim *size = cab_dec_dim(d, a->q, 3);
    double softcap = cab_attr_float(d->n, "softcap"), scale;
    cab_value *s;

    if (cab_attr_find(d->n, "scale")) {
        scale = cab_attr_float(d->n, "scale");
    } else {
        if (!cab_dim_is_const(size))
            return cab_dec_unsupported(d, "a head size that is not known");
        scale = 1 / sqrt((double)size->value);
    }
    r = cab_dec_num(d, a->q, sqrt(scale));
    s = cab_dec_matmul(d, cab_dec_bin(d, CAB_OP_mul, a->q, r),
                       cab_dec_bin(d, CAB_OP_mul, cab_dec_transpose(d, k, perm), r), CAB_DT_none);
    if (softcap > 0) {
        s = cab_dec_un(d, CAB_OP_tanh, cab_dec_bin(d, CAB_OP_div, s, cab_dec_num(d, s, softcap)));
        s = cab_dec_bin(d, CAB_OP_mul, s, cab_dec_num(d, s, softcap));
    }
    return s;
}

cab_value *cab_dec_Attention(cab_dec *d)
{
    attn a = { 0 };
    int64_t mode = cab_attr_int(d->n, "qk_matmul_output_mode");
    cab_value *s, *probe, *p, *y;
    cab_dtype dt, soft;

    if (!read_operands(d, &a))
        return NULL;
    dt = cab_dec_dtype(a.q);
    soft = cab_attr_find(d->n, "softmax_precision")
               ? cab_dtype_from_onnx(cab_attr_int(d->n, "softmax_precision")) : dt;
    if (!cab_dtype_is_float(soft) || cab_dtype_bits(soft) < 16)
        return cab_dec_unsupported(d, "attribute softmax_precision");
    make_bias(d, &a);
    s = probe = scores(d, &a);
    if (a.bias)
        s = cab_dec_bin(d, CAB_OP_add, s, a.bias);
    if (mode == 2)
        probe = s;
    p = masked_softmax(d, &a, cab_dec_cast(d, s, soft));
    p = cab_dec_cast(d, p, dt);
    if (cab_dec_wants(d, 1))
        d->out[1] = a.k;
    if (cab_dec_wants(d, 2))
        d->out[2] = a.v;
    if (cab_dec_wants(d, 3))
        d->out[3] = mode == 3 ? p : probe;
    y = repeat_heads(d, a.v, cab_dec_dim(d, a.q, 1));
    y = cab_dec_matmul(d, p, cab_dec_cast(d, y, dt), CAB_DT_none);
    y = cab_dec_cast(d, y, dt);
    return a.packed ? cab_dec_join_heads(d, y) : y;
}

/* ---- RotaryEmbedding ---- */

/* Every second element along the last axis, from `at`. */
static cab_value *every_second(cab_dec *d, cab_value *x, int64_t at, const cab_dim *n)
{
    const cab_dim *starts[CAB_MAX_RANK], *sizes[CAB_MAX_RANK];
    int64_t steps[CAB_MAX_RANK];
    int rank = cab_dec_rank(x);

    for (int i = 0; i < rank; i++) {
        starts[i] = cab_dec_c(d, i == rank - 1 ? at : 0);
        sizes[i] = i == rank - 1 ? n : x->type.dims[i];
        steps[i] = i == rank - 1 ? 2 : 1;
    }
    return x ? cab_b_slice(&d->b, x, starts, steps, sizes) : NULL;
}

/* cos or sin as [N, 1, L, half]. */
static cab_value *angles(cab_dec *d, cab_value *cache, cab_value *ids)
{
    if (ids)
        cache = cab_dec_gather(d, cache, ids, 0);
    if (cab_dec_rank(cache) != 3)
        return cab_dec_bad(d, "a cache of rank %d", cab_dec_rank(cache));
    return cab_dec_unsqueeze(d, cache, 1);
}

cab_value *cab_dec_rotate(cab_dec *d, cab_value *x, cab_value *c, cab_value *s,
                          int64_t turn, bool woven)
{
    const cab_dim *size, *n, *half, *zero = cab_dec_c(d, 0), *dims[4];
    cab_value *a, *b, *part[3];

    if (cab_dec_failed(d) || cab_dec_rank(x) != 4)
        return cab_dec_bad(d, "an operand of rank %d", cab_dec_rank(x));
    size = x->type.dims[3];
    n = turn ? cab_dec_c(d, turn) : size;
    half = cab_dim_floordiv(d->g->dims, n, cab_dec_c(d, 2));
    part[0] = cab_dec_cut(d, x, 3, zero, n);
    a = woven ? every_second(d, part[0], 0, half) : cab_dec_cut(d, part[0], 3, zero, half);
    b = woven ? every_second(d, part[0], 1, half) : cab_dec_cut(d, part[0], 3, half, half);
    part[0] = cab_dec_bin(d, CAB_OP_sub, cab_dec_bin(d, CAB_OP_mul, c, a),
                          cab_dec_bin(d, CAB_OP_mul, s, b));
    part[1] = cab_dec_bin(d, CAB_OP_add, cab_dec_bin(d, CAB_OP_mul, s, a),
                          cab_dec_bin(d, CAB_OP_mul, c, b));
    part[2] = cab_dec_cut(d, x, 3, n, cab_dim_sub(d->g->dims, size, n));
    if (cab_dec_failed(d))
        return NULL;
    if (!woven)
        return cab_dec_concat(d, part, turn ? 3 : 2, 3);
    memcpy(dims, x->type.dims, sizeof dims);
    dims[3] = n;
    part[0] = cab_dec_unsqueeze(d, part[0], 4);
    part[1] = cab_dec_unsqueeze(d, part[1], 4);
    part[1] = cab_dec_reshape(d, cab_dec_concat(d, part, 2, 4), 4, dims);
    return turn ? cab_dec_concat(d, part + 1, 2, 3) : part[1];
}

cab_value *cab_dec_RotaryEmbedding(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *ids = cab_dec_in(d, 3), *c, *s;
    bool packed = cab_dec_rank(x) == 3;

    if (packed)
        x = cab_dec_split_heads(d, x, cab_attr_int(d->n, "num_heads"));
    c = angles(d, cab_dec_in(d, 1), ids);
    s = angles(d, cab_dec_in(d, 2), ids);
    x = cab_dec_rotate(d, x, c, s, cab_attr_int(d->n, "rotary_embedding_dim"),
                       cab_attr_int(d->n, "interleaved") != 0);
    return packed ? cab_dec_join_heads(d, x) : x;
}
