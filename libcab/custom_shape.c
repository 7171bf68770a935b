/* SPDX-License-Identifier: Apache-2.0 */
/*
 * custom_shape.c - the public shape function of a custom operator (cab.h) as
 * the compiler asks it (ir.h).  Plain memory: the host's code may be slow, may
 * fail, and must find nothing of the compile job's arena under its hands.
 */
#include "libcab/libcab.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct call {
    cab_tensor_info *in;
    cab_custom_attr *attrs;
    cab_custom_type *out;
    cab_error error;
} call;

static void give(const cab_foreign_query *q, call *c)
{
    for (int i = 0; i < q->n_in; i++) {
        const cab_foreign_input *x = &q->in[i];
        c->in[i] = (cab_tensor_info){ .name = x->name ? x->name : "", .dtype = x->dtype,
                                      .rank = x->rank };
        memcpy(c->in[i].dims, x->dims, sizeof x->dims);
        for (int k = 0; k < CAB_MAX_RANK; k++)
            c->in[i].dim_names[k] = x->dim_names[k] ? x->dim_names[k] : "";
    }
    for (int i = 0; i < q->n_attrs; i++) {
        const cab_foreign_attr *a = &q->attrs[i];
        c->attrs[i] = (cab_custom_attr){ a->name, a->n, a->ints, a->floats, a->text };
    }
    for (int i = 0; i < q->n_out; i++)
        for (int k = 0; k < CAB_MAX_RANK; k++)
            c->out[i].dims[k].input = -1;
}

static void take(const call *c, cab_foreign_query *q)
{
    for (int i = 0; i < q->n_out; i++) {
        q->out[i].dtype = c->out[i].dtype;
        q->out[i].rank = c->out[i].rank;
        for (int k = 0; k < CAB_MAX_RANK; k++) {
            const cab_custom_extent *x = &c->out[i].dims[k];
            q->out[i].dims[k] = (cab_foreign_extent){ x->value, x->input, x->axis };
        }
    }
    snprintf(q->why, sizeof q->why, "%.*s", (int)sizeof c->error.text - 1, c->error.text);
}

static int infer(void *user, cab_foreign_query *q)
{
    const cab_custom_shape *s = user;
    call c = { .in = calloc((size_t)q->n_in + 1, sizeof *c.in),
               .attrs = calloc((size_t)q->n_attrs + 1, sizeof *c.attrs),
               .out = calloc((size_t)q->n_out + 1, sizeof *c.out) };
    int rc = CAB_ENOMEM;
    if (c.in && c.attrs && c.out) {
        give(q, &c);
        rc = s->infer(s->user, q->node, q->n_in, c.in, q->n_attrs, c.attrs, q->n_out, c.out,
                      &c.error);
        take(&c, q);
    } else {
        snprintf(q->why, sizeof q->why, "out of memory");
    }
    free(c.in);
    free(c.attrs);
    free(c.out);
    return rc;
}

cab_foreign_op cab_foreign_of(const cab_custom_shape *s)
{
    return (cab_foreign_op){ s->domain, s->name, s->infer ? infer : NULL, (void *)(uintptr_t)s };
}
