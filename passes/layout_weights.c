/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_weights.c - weights of depthwise convolutions, channels innermost.
 *
 * Their kernels run channels along the lanes, and no product packs the
 * weights: in the order of the file, [O, 1, kernel], every lane would be
 * gathered.  The same bytes in the order [kernel, 1, O] become a constant of
 * their own, read through a transpose, which is a view and costs nothing.
 */
#include "passes/lower_int.h"
#include <string.h>

/* At least one output channel per group, and one input channel. */
static bool is_depthwise(const cab_node *n)
{
    const cab_type *w = &n->in[1]->type;
    return n->op->id == CAB_OP_conv && w->rank >= 3 && cab_attr_int(n, "group") > 1 &&
           cab_dim_is(w->dims[1], 1) && cab_dtype_bits(w->dtype) % 8 == 0;
}

/* [o][i] -> [i][o] */
static void turn(uint8_t *to, const uint8_t *from, int64_t o, int64_t inner, size_t size)
{
    for (int64_t i = 0; i < inner; i++)
        for (int64_t k = 0; k < o; k++)
            memcpy(to + (size_t)(i * o + k) * size, from + (size_t)(k * inner + i) * size, size);
}

cab_status cab_layout_weights(cab_graph *g, cab_node *n, cab_diag *d)
{
    if (!is_depthwise(n) || !cab_const_node(n->in[1]))
        return CAB_OK;
    const cab_attr *value = cab_attr_find(cab_const_node(n->in[1]), "value");
    cab_type w = n->in[1]->type, t = w;
    int64_t all = cab_type_numel_static(&w), perm[CAB_MAX_RANK];
    if (!value || value->kind != CAB_ATTR_TENSOR || all <= 0 || w.layout || w.quant)
        return CAB_OK;
    size_t size = (size_t)cab_dtype_bits(w.dtype) / 8;
    const cab_blob *blob = value->u.tensor->blob;
    int64_t o = w.dims[0]->value;
    uint8_t *p = cab_alloc(g->arena, (size_t)all * size);
    turn(p, blob->data, o, all / o, size);
    for (int i = 0; i < w.rank; i++) {
        t.dims[i] = w.dims[i + 2 < w.rank ? i + 2 : i + 2 == w.rank ? 1 : 0];
        perm[i] = i == 0 ? w.rank - 1 : i == 1 ? w.rank - 2 : i - 2;
    }
    cab_builder b = cab_builder_at(g, n, d);
    cab_value *turned = cab_const_blob(g, &t, p, (size_t)all * size, n);
    cab_value *view = cab_b_transpose(&b, turned, perm);
    if (!view)
        return b.status;
    cab_node_set_in(n, 1, view);
    return CAB_OK;
}
