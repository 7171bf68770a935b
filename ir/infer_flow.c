/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_flow.c - ops that name symbols of the run: sizes read from data.
 */
#include "ir/ir_int.h"

cab_status cab_infer_item(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_dim *const *v;

    (void)g;
    CAB_TRY(cab_infer_dims(n, "value", 1, &v, d));
    if (v[0]->kind != CAB_DIM_SYM)
        return cab_infer_fail(n, d, "attribute 'value' is no symbol");
    if (cab_type_numel_static(&n->in[0]->type) != 1)
        return cab_infer_fail(n, d, "the operand has not one element");
    return cab_infer_set(n, 0, CAB_DT_i64, 0, NULL, d);
}
