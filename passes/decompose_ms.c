/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_ms.c - operators of com.microsoft, as optimised and quantised
 * models carry them.
 *
 * Most are an operator of the standard with something done before or after:
 * they dequantise, compute in f32 and quantise, or reuse the decomposition of
 * their sibling, whose attributes have the same names.  Packed weights are
 * unpacked where they are used, so they stay packed in the artifact.
 */
#include "passes/decompose_int.h"
#include <string.h>

/* ---- fused products ---- */

/* The attribute `activation` of a fused operator; its numbers are in the list
 * activation_params or in attributes of their own. */
static cab_value *activated(cab_dec *d, cab_value *x)
{
    const char *name = cab_attr_str(d->n, "activation");
    const cab_attr *list = cab_attr_find(d->n, "activation_params");
    double p = cab_attr_float(d->n, "activation_alpha");
    double q = cab_attr_float(d->n, "activation_beta");
    cab_value *one = cab_dec_num(d, x, 1), *zero = cab_dec_num(d, x, 0), *y;

    if (list && list->kind == CAB_ATTR_FLOATS) {
        p = list->n > 0 ? list->u.floats[0] : 0;
        q = list->n > 1 ? list->u.floats[1] : 0;
    }
    if (!name || !*name)
        return x;
    if (!strcmp(name, "Relu"))
        return cab_dec_bin(d, CAB_OP_max, x, zero);
    if (!strcmp(name, "Tanh"))
        return cab_dec_un(d, CAB_OP_tanh, x);
    if (!strcmp(name, "Sigmoid")) {
        y = cab_dec_un(d, CAB_OP_exp, cab_dec_un(d, CAB_OP_neg, x));
        return cab_dec_bin(d, CAB_OP_div, one, cab_dec_bin(d, CAB_OP_add, y, one));
    }
    if (!strcmp(name, "LeakyRelu"))
        return cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_lt, x, zero),
                            cab_dec_bin(d, CAB_OP_mul, x, cab_dec_num(d, x, p)), x);
    if (!strcmp(name, "Clip")) {
        y = cab_dec_bin(d, CAB_OP_max, x, cab_dec_num(d, x, p));
        return cab_dec_bin(d, CAB_OP_min, y, cab_dec_num(d, x, q));
    }
    if (!strcmp(name, "HardSigmoid")) {
        y = cab_dec_bin(d, CAB_OP_mul, x, cab_dec_num(d, x, p));
        y = cab_dec_bin(d, CAB_OP_add, y, cab_dec_num(d, x, q));
        return cab_dec_bin(d, CAB_OP_max, cab_dec_bin(d, CAB_OP_min, y, one), zero);
    }
    return cab_dec_unsupported(d, "the activation %s", name);
}

cab_value *cab_dec_ms_FusedConv(cab_dec *d)
{
    cab_value *y = cab_dec_Conv(d), *z = cab_dec_in(d, 3);

    return activated(d, z ? cab_dec_bin(d, CAB_OP_add, y, z) : y);
}

cab_value *cab_dec_ms_FusedGemm(cab_dec *d)
{
    return activated(d, cab_dec_Gemm(d));
}

/* `batch`: axis 0 goes behind the batch axes; then `last` exchanges the last
 * two. */
static cab_value *turned(cab_dec *d, cab_value *x, const char *batch, const char *last)
{
    int64_t perm[CAB_MAX_RANK];
    int rank = cab_dec_rank(x);

    if (rank < 2)
        return x;
    for (int i = 0; i < rank; i++)
        perm[i] = i;
    if (cab_attr_int(d->n, batch)) {
        for (int i = 0; i + 2 < rank; i++)
            perm[i] = i + 1;
        perm[rank - 2] = 0;
    }
    if (cab_attr_int(d->n, last)) {
        int64_t p = perm[rank - 2];

        perm[rank - 2] = perm[rank - 1];
        perm[rank - 1] = p;
    }
    return cab_dec_transpose(d, x, perm);
}

cab_value *cab_dec_ms_FusedMatMul(cab_dec *d)
{
    cab_value *y = cab_dec_matmul(d, turned(d, cab_dec_in(d, 0), "transBatchA", "transA"),
                                  turned(d, cab_dec_in(d, 1), "transBatchB", "transB"),
                                  CAB_DT_none);
    double alpha = cab_attr_float(d->n, "alpha");

    return alpha == 1 ? y : cab_dec_bin(d, CAB_OP_mul, y, cab_dec_num(d, y, alpha));
}

/* ---- packed weights ---- */

/* Each byte along the last axis is 8 / bits elements, the low bits first. */
static cab_value *unpacked(cab_dec *d, cab_value *x, int64_t bits)
{
    const cab_dim *dims[CAB_MAX_RANK], *per = cab_dec_c(d, bits ? 8 / bits : 0);
    int rank = cab_dec_rank(x);
    cab_value *shift;

    if (!x || bits == 8)
        return x;
    if (rank < 1 || rank >= CAB_MAX_RANK)
        return cab_dec_unsupported(d, "packed elements of rank %d", rank);
    memcpy(dims, x->type.dims, sizeof dims);
    dims[rank - 1] = cab_dim_mul(d->g->dims, dims[rank - 1], per);
    shift = cab_dec_iota(d, rank + 1, rank, per, CAB_DT_u8);
    shift = cab_dec_bin(d, CAB_OP_mul, shift, cab_dec_int(d, shift, bits));
    x = cab_dec_bin(d, CAB_OP_shr, cab_dec_unsqueeze(d, x, rank), shift);
    x = cab_dec_bin(d, CAB_OP_and, x, cab_dec_int(d, x, (1 << bits) - 1));
    return cab_dec_reshape(d, x, rank, dims);
}

/* The attributes bits and block_size; false after a failure. */
static bool read_packing(cab_dec *d, int64_t *bits, int64_t *block)
{
    *bits = cab_attr_int(d->n, "bits");
    *block = cab_attr_int(d->n, "block_size");
    if (*bits != 2 && *bits != 4 && *bits != 8)
        cab_dec_unsupported(d, "%lld-bit weights", (long long)*bits);
    else if (*block < 8 || *block > 1 << 20 || *block % 8)
        cab_dec_unsupported(d, "blocks of %lld elements", (long long)*block);
    return !cab_dec_failed(d);
}

/* What is subtracted from the elements [n, blocks, block]: packed like them,
 * or plain numbers, one per block; half of their range when absent. */
static cab_value *block_zeros(cab_dec *d, cab_value *z, int64_t n, int64_t blocks, int64_t bits)
{
    const cab_dim *dims[2] = { cab_dec_c(d, n), cab_dec_c(d, blocks) };
    bool packed = z && cab_dec_dtype(z) == CAB_DT_u8;

    if (!z)
        return cab_b_scalar(&d->b, CAB_DT_f32, (double)(1 << (bits - 1)));
    if (packed)
        dims[1] = cab_dec_c(d, (blocks * bits + 7) / 8);
    z = cab_dec_reshape(d, z, 2, dims);
    if (packed)
        z = cab_dec_cut(d, unpacked(d, z, bits), 1, cab_dec_c(d, 0), cab_dec_c(d, blocks));
    return cab_dec_unsqueeze(d, cab_dec_cast(d, z, CAB_DT_f32), 2);
}

/* Blocks [n, blocks, bytes] as numbers [n, k] of type t. */
static cab_value *block_weights(cab_dec *d, int64_t n, int64_t k, cab_dtype t)
{
    int64_t bits, block, blocks;
    const cab_dim *dims[3], *flat[2];
    cab_value *w, *scale;

    if (!read_packing(d, &bits, &block))
        return NULL;
    blocks = (k + block - 1) / block;
    dims[0] = flat[0] = cab_dec_c(d, n);
    dims[1] = cab_dec_c(d, blocks);
    dims[2] = cab_dec_c(d, block / 8 * bits);
    flat[1] = cab_dec_c(d, blocks * block);
    w = unpacked(d, cab_dec_reshape(d, cab_dec_in(d, 1), 3, dims), bits);
    dims[2] = cab_dec_c(d, 1);
    scale = cab_dec_reshape(d, cab_dec_cast(d, cab_dec_in(d, 2), CAB_DT_f32), 3, dims);
    w = cab_dec_bin(d, CAB_OP_sub, cab_dec_cast(d, w, CAB_DT_f32),
                    block_zeros(d, cab_dec_in(d, 3), n, blocks, bits));
    w = cab_dec_cast(d, cab_dec_bin(d, CAB_OP_mul, w, scale), t);
    w = cab_dec_reshape(d, w, 2, flat);
    return cab_dec_cut(d, w, 1, cab_dec_c(d, 0), cab_dec_c(d, k));
}

cab_value *cab_dec_ms_MatMulNBits(cab_dec *d)
{
    int64_t n = cab_attr_int(d->n, "N"), k = cab_attr_int(d->n, "K");
    cab_value *a = cab_dec_in(d, 0), *bias = cab_dec_in(d, 5), *y;
    int rank = cab_dec_rank(a);

    if (cab_dec_in(d, 4) || cab_attr_int(d->n, "weight_prepacked"))
        return cab_dec_unsupported(d, "reordered or prepacked weights");
    if (n < 1 || k < 1 || n > INT32_MAX || k > INT32_MAX || rank < 1)
        return cab_dec_bad(d, "N = %lld, K = %lld for an operand of rank %d", (long long)n,
                           (long long)k, rank);
    y = block_weights(d, n, k, cab_dec_dtype(a));
    y = y ? cab_dec_dot(d, a, y, 0, rank - 1, 1, CAB_DT_none) : NULL;
    return bias ? cab_dec_bin(d, CAB_OP_add, y, bias) : y;
}

/* Rows first, then unpacked: only what is wanted is computed. */
cab_value *cab_dec_ms_GatherBlockQuantized(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *at = cab_dec_in(d, 1), *s = cab_dec_in(d, 2);
    cab_value *z = cab_dec_in(d, 3);
    int rank = cab_dec_rank(x), from, axis;
    int64_t bits, block;

    if (!read_packing(d, &bits, &block))
        return NULL;
    from = cab_dec_axis(d, cab_attr_int(d->n, "gather_axis"), rank);
    axis = cab_dec_axis(d, cab_attr_int(d->n, "quantize_axis"), rank);
    if (cab_dec_failed(d))
        return NULL;
    if (cab_dec_dtype(x) != CAB_DT_u8 || axis != rank - 1 || from == axis)
        return cab_dec_unsupported(d, "anything but bytes quantised along the last axis");
    axis += cab_dec_rank(at) - 1;
    x = unpacked(d, cab_dec_gather(d, x, at, from), bits);
    s = cab_dec_gather(d, s, at, from);
    if (z) {
        z = unpacked(d, cab_dec_gather(d, z, at, from), bits);
        z = cab_dec_cut(d, z, axis, cab_dec_c(d, 0), cab_dec_dim(d, s, axis));
        z = cab_dec_quant_param(d, z, x, axis);
    } else {
        z = cab_dec_int(d, x, 1 << (bits - 1));
    }
    x = cab_dec_bin(d, CAB_OP_sub, cab_dec_cast(d, x, CAB_DT_f32),
                    cab_dec_cast(d, z, CAB_DT_f32));
    x = cab_dec_bin(d, CAB_OP_mul, x,
                    cab_dec_cast(d, cab_dec_quant_param(d, s, x, axis), CAB_DT_f32));
    return cab_dec_cast(d, x, cab_dec_dtype(s));
}

/* ---- rotary embedding ---- */

/* The rows of a cache for the positions, [N or 1, 1, L, half]. */
static cab_value *angles(cab_dec *d, cab_value *cache, cab_value *ids)
{
    return cab_dec_unsqueeze(d, cab_dec_gather(d, cache, ids, 0), 1);
}

cab_value *cab_dec_ms_RotaryEmbedding(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *ids = cab_dec_in(d, 1), *cos = cab_dec_in(d, 2);
    int64_t heads = cab_attr_int(d->n, "num_heads"), half, hidden;
    const cab_attr *scale = cab_attr_find(d->n, "scale");
    bool packed = cab_dec_rank(x) == 3;

    if (cab_attr_int(d->n, "is_packed_batching") || (scale && cab_attr_float(d->n, "scale") != 1))
        return cab_dec_unsupported(d, "attribute is_packed_batching or scale");
    if (packed && !heads) {
        half = cab_dec_extent(d, cos, 1);
        hidden = cab_dec_extent(d, x, 2);
        heads = half > 0 ? hidden / (2 * half) : 0;
    }
    if (packed)
        x = cab_dec_split_heads(d, x, heads);
    if (cab_dec_rank(ids) == 1) {      /* the first position; the others follow */
        const cab_dim *length = cab_dec_dim(d, x, 2);

        ids = cab_dec_bin(d, CAB_OP_add, cab_dec_unsqueeze(d, ids, 0),
                          cab_dec_iota(d, 2, 1, length, CAB_DT_i64));
    }
    x = cab_dec_rotate(d, x, angles(d, cos, ids), angles(d, cab_dec_in(d, 3), ids),
                       cab_attr_int(d->n, "rotary_embedding_dim"),
                       cab_attr_int(d->n, "interleaved") != 0);
    return packed ? cab_dec_join_heads(d, x) : x;
}

/* ---- quantised operators ---- */
cab_value *cab_dec_ms_QuantizeLinear(cab_dec *d)
{
    return cab_dec_QuantizeLinear(d);
}

cab_value *cab_dec_ms_DequantizeLinear(cab_dec *d)
{
    return cab_dec_DequantizeLinear(d);
}

/* A scale or zero point that must be one number. */
static cab_value *one(cab_dec *d, int i)
{
    cab_value *v = cab_dec_in(d, i);

    return v && v->type.rank ? cab_dec_reshape(d, v, 0, NULL) : v;
}

/* Operand i with the scale and zero point behind it, as f32. */
static cab_value *real(cab_dec *d, int i)
{
    cab_value *x = cab_dec_in(d, i);

    if (cab_dtype_is_float(cab_dec_dtype(x)))
        return x;
    x = cab_dec_cast(d, cab_dec_centred(d, x, one(d, i + 2), 0), CAB_DT_f32);
    return cab_dec_bin(d, CAB_OP_mul, x, one(d, i + 1));
}

/* y of type t, with scale and zero point in operands i and i + 1. */
static cab_value *quantized(cab_dec *d, cab_value *y, int i, cab_dtype t)
{
    return y ? cab_dec_quantize(d, y, one(d, i), one(d, i + 1), t) : NULL;
}

static cab_dtype type_of(const cab_dec *d)
{
    return cab_dec_dtype(cab_dec_in(d, 0));
}

cab_value *cab_dec_ms_QLinearAdd(cab_dec *d)
{
    return quantized(d, cab_dec_bin(d, CAB_OP_add, real(d, 0), real(d, 3)), 6, type_of(d));
}

cab_value *cab_dec_ms_QLinearMul(cab_dec *d)
{
    return quantized(d, cab_dec_bin(d, CAB_OP_mul, real(d, 0), real(d, 3)), 6, type_of(d));
}

cab_value *cab_dec_ms_QLinearSigmoid(cab_dec *d)
{
    cab_value *x = real(d, 0), *n = cab_dec_num(d, x, 1);
    cab_value *e = cab_dec_un(d, CAB_OP_exp, cab_dec_un(d, CAB_OP_neg, x));

    return quantized(d, cab_dec_bin(d, CAB_OP_div, n, cab_dec_bin(d, CAB_OP_add, e, n)), 3,
                     type_of(d));
}

cab_value *cab_dec_ms_QLinearLeakyRelu(cab_dec *d)
{
    cab_value *x = real(d, 0), *low;

    low = cab_dec_bin(d, CAB_OP_mul, x, cab_dec_num(d, x, cab_attr_float(d->n, "alpha")));
    x = cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_lt, x, cab_dec_num(d, x, 0)), low, x);
    return quantized(d, x, 3, type_of(d));
}

cab_value *cab_dec_ms_QLinearConcat(cab_dec *d)
{
    int n = d->n->n_in / 3, rank = cab_dec_rank(cab_dec_in(d, 2)), axis;
    cab_value **part = CAB_NEW_N(d->tmp, cab_value *, n + 1);
    cab_dtype t = cab_dec_dtype(cab_dec_in(d, 1));

    if (d->n->n_in % 3 != 2)
        return cab_dec_bad(d, "%d operands are no triples", d->n->n_in - 2);
    axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank);
    for (int i = 0; i < n; i++)
        part[i] = quantized(d, real(d, 3 * i + 2), 0, t);
    return cab_dec_failed(d) ? NULL : cab_dec_concat(d, part, n, axis);
}

cab_value *cab_dec_ms_QLinearGlobalAveragePool(cab_dec *d)
{
    cab_value *x = real(d, 0);
    int64_t axes[CAB_MAX_RANK], first = cab_attr_int(d->n, "channels_last") ? 1 : 2;
    int n = 0;

    for (int64_t i = first; n < cab_dec_rank(x) - 2; i++)
        axes[n++] = i;
    return quantized(d, cab_dec_mean(d, x, axes, n, true), 3, type_of(d));
}

cab_value *cab_dec_ms_QLinearConv(cab_dec *d)
{
    if (cab_attr_int(d->n, "channels_last"))
        return cab_dec_unsupported(d, "attribute channels_last");
    return cab_dec_QLinearConv(d);
}

/* acc (i32) times two scales; the second may be one per column. */
static cab_value *scaled(cab_dec *d, cab_value *acc, cab_value *a, cab_value *b, cab_dtype t)
{
    cab_value *y = cab_dec_cast(d, acc, CAB_DT_f32);

    a = cab_dec_bin(d, CAB_OP_mul, cab_dec_cast(d, a, CAB_DT_f32), cab_dec_cast(d, b, CAB_DT_f32));
    return cab_dec_cast(d, cab_dec_bin(d, CAB_OP_mul, y, a), t);
}

static cab_value *biased(cab_dec *d, cab_value *y, cab_value *bias)
{
    return bias ? cab_dec_bin(d, CAB_OP_add, y, bias) : y;
}

/* B of a product as i32, zero points one or one per column. */
static cab_value *columns(cab_dec *d, int i, int zero)
{
    cab_value *b = cab_dec_in(d, i), *z = cab_dec_in(d, zero);

    if (cab_dec_rank(z) > 1)
        return cab_dec_bin(d, CAB_OP_sub, cab_dec_cast(d, b, CAB_DT_i32),
                           cab_dec_cast(d, z, CAB_DT_i32));
    return cab_dec_centred(d, b, z, cab_dec_rank(b) - 1);
}

cab_value *cab_dec_ms_DynamicQuantizeMatMul(cab_dec *d)
{
    cab_value *scale, *zero, *a, *y;

    a = cab_dec_quantize_dynamic(d, cab_dec_in(d, 0), &scale, &zero);
    y = cab_dec_matmul(d, cab_dec_centred(d, a, zero, 0), columns(d, 1, 3), CAB_DT_i32);
    return biased(d, scaled(d, y, scale, cab_dec_in(d, 2), CAB_DT_f32), cab_dec_in(d, 4));
}

cab_value *cab_dec_ms_MatMulIntegerToFloat(cab_dec *d)
{
    cab_value *a = cab_dec_in(d, 0), *sa = cab_dec_in(d, 2), *y;

    a = cab_dec_centred(d, a, one(d, 4), 0);
    y = cab_dec_matmul(d, a, columns(d, 1, 5), CAB_DT_i32);
    return biased(d, scaled(d, y, sa, cab_dec_in(d, 3), cab_dec_dtype(sa)), cab_dec_in(d, 6));
}

cab_value *cab_dec_ms_QGemm(cab_dec *d)
{
    bool ta = cab_attr_int(d->n, "transA") != 0, tb = cab_attr_int(d->n, "transB") != 0;
    cab_value *a = cab_dec_in(d, 0), *b = cab_dec_in(d, 3), *c = cab_dec_in(d, 6), *y;
    double alpha = cab_attr_float(d->n, "alpha");

    if (cab_dec_rank(a) != 2 || cab_dec_rank(b) != 2)
        return cab_dec_bad(d, "operands of rank %d and %d, expected 2", cab_dec_rank(a),
                           cab_dec_rank(b));
    a = cab_dec_centred(d, a, one(d, 2), 0);
    b = cab_dec_centred(d, b, cab_dec_in(d, 5), tb ? 0 : 1);
    y = a && b ? cab_dec_dot(d, a, b, 0, ta ? 0 : 1, tb ? 1 : 0, CAB_DT_i32) : NULL;
    y = scaled(d, biased(d, y, c), one(d, 1), cab_dec_in(d, 4), CAB_DT_f32);
    if (alpha != 1)
        y = cab_dec_bin(d, CAB_OP_mul, y, cab_dec_num(d, y, alpha));
    return cab_dec_in(d, 7) ? quantized(d, y, 7, cab_dec_dtype(cab_dec_in(d, 8))) : y;
}
