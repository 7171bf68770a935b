/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swirl.c - the operators of domain "acme" that tests register: part of
 * test_custom and fuzz_artifact, and a library for cab --custom.
 *
 *   Swirl(x [N, C], w [C] or absent, shift [1] or absent)
 *       {turns, taps, gain, levels, mode} -> y [N, C], count i64 [N]
 *     y[n, c] = gain * x[n, (c + turns) % C] (* w[c]) (+ shift)
 *               + sum of taps + sum of levels + (mode is "up")
 *     count[n] = elements of x[n] over 0
 *   Fail(x) -> y like x: computing it fails.
 *   Bad(x) {how} -> y: its shape function answers nonsense.
 */
#include "include/cab.h"
#include <stdio.h>
#include <string.h>

const cab_custom_op *cab_custom_ops(size_t *n);
const cab_custom_shape *cab_custom_shapes(size_t *n);

static const cab_custom_attr *find(const cab_custom_attr *a, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(a[i].name, name))
            return &a[i];
    return NULL;
}

static float sum_of(const cab_custom_call *c, const char *name)
{
    const cab_custom_attr *a = find(c->attrs, c->n_attrs, name);
    float sum = 0;
    for (int i = 0; a && i < a->n; i++)
        sum += a->ints ? (float)a->ints[i] : a->floats ? a->floats[i] : 0;
    return sum;
}

static int swirl(void *user, const cab_custom_call *c, cab_error *e)
{
    const cab_custom_attr *mode = find(c->attrs, c->n_attrs, "mode");
    if (c->n_inputs < 1 || c->n_outputs != 2 || c->inputs[0].rank != 2 || c->inputs[0].dtype != 1) {
        snprintf(e->text, sizeof e->text, "it wants a matrix and has two results");
        return e->code = CAB_RT_EMODEL;
    }
    int64_t rows = c->inputs[0].dims[0], cols = c->inputs[0].dims[1];
    int64_t turns = (int64_t)sum_of(c, "turns");
    float more = sum_of(c, "taps") + sum_of(c, "levels"), gain = sum_of(c, "gain");
    const float *x = c->inputs[0].data;
    const float *w = c->n_inputs > 1 ? c->inputs[1].data : NULL;
    const float *shift = c->n_inputs > 2 ? c->inputs[2].data : NULL;
    float *y = c->outputs[0].data;
    int64_t *count = c->outputs[1].data;
    more += (mode && mode->text && !strcmp(mode->text, "up")) + (shift ? shift[0] : 0);
    for (int64_t r = 0; r < rows; r++) {
        count[r] = 0;
        for (int64_t k = 0; k < cols; k++) {
            float v = gain * x[r * cols + (k + turns) % cols];
            y[r * cols + k] = (w ? v * w[k] : v) + more;
            count[r] += x[r * cols + k] > 0;
        }
    }
    if (user)
        ++*(int *)user;
    return 0;
}

static int fail(void *user, const cab_custom_call *c, cab_error *e)
{
    (void)user;
    snprintf(e->text, sizeof e->text, "no luck with %d inputs", c->n_inputs);
    return e->code = CAB_RT_ELIMIT;
}

static int swirl_shape(void *user, const char *node, int n_inputs, const cab_tensor_info *in,
                       int n_attrs, const cab_custom_attr *attrs, int n_outputs,
                       cab_custom_type *out, cab_error *e)
{
    (void)user;
    (void)node;
    if (n_inputs < 1 || in[0].rank != 2 || n_outputs > 2 || !find(attrs, n_attrs, "gain")) {
        snprintf(e->text, sizeof e->text, "Swirl wants a matrix and a gain");
        return e->code = CAB_RT_EMODEL;
    }
    out[0] = (cab_custom_type){ in[0].dtype, 2, { cab_extent_of(0, 0), cab_extent_of(0, 1) } };
    if (n_outputs > 1)
        out[1] = (cab_custom_type){ 7, 1, { cab_extent_of(0, 0) } };
    return 0;
}

static int like_shape(void *user, const char *node, int n_inputs, const cab_tensor_info *in,
                      int n_attrs, const cab_custom_attr *attrs, int n_outputs,
                      cab_custom_type *out, cab_error *e)
{
    const cab_custom_attr *how = find(attrs, n_attrs, "how");
    (void)user;
    (void)node;
    (void)n_inputs;
    (void)n_outputs;
    *out = (cab_custom_type){ in[0].dtype, in[0].rank, { cab_extent_of(0, 0), cab_extent_of(0, 1) } };
    switch (how ? (int)how->ints[0] : 0) {
    case 1: out->rank = 9; break;
    case 2: out->dims[1] = cab_extent(-4); break;
    case 3: out->dtype = 99; break;
    case 4: out->dims[0] = cab_extent_of(0, 2); break;
    case 5: out->dims[0] = cab_extent_of(7, 0); break;
    case 6: snprintf(e->text, sizeof e->text, "not on Fridays"); return CAB_RT_EUNSUPPORTED;
    case 7: return -5;
    case 8: out->dtype = 8; break;             /* strings */
    case 9: out->rank = -1; break;
    default: break;
    }
    return 0;
}

const cab_custom_op *cab_custom_ops(size_t *n)
{
    static const cab_custom_op ops[] = { { "acme", "Swirl", swirl, NULL },
                                         { "acme", "Fail", fail, NULL } };
    *n = sizeof ops / sizeof *ops;
    return ops;
}

const cab_custom_shape *cab_custom_shapes(size_t *n)
{
    static const cab_custom_shape shapes[] = { { "acme", "Swirl", swirl_shape, NULL },
                                               { "acme", "Fail", like_shape, NULL },
                                               { "acme", "Bad", like_shape, NULL } };
    *n = sizeof shapes / sizeof *shapes;
    return shapes;
}
