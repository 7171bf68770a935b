/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade_attr.c - steps that rename attributes or make operands of them.
 *
 * Each function is named in rows of upgrades.def and does one step; the order
 * of steps and the final check against the newest schema are opset.c's.
 */
#include <string.h>
#include "frontend/frontend_int.h"

/* A list attribute becomes operand i; false when the node has none. */
static bool ints_to_input(cab_draft *d, const char *name, size_t i)
{
    cab_attr *a = cab_draft_attr(d, name);

    if (!a)
        return false;
    cab_draft_set_in(d, i, cab_draft_i64s(d, a->u.ints, a->n));
    cab_draft_drop(d, name);
    return true;
}

cab_status cab_up_axes(cab_draft *d)
{
    ints_to_input(d, "axes", 1);
    return CAB_OK;
}

cab_status cab_up_topk(cab_draft *d)
{
    cab_attr *k = cab_draft_attr(d, "k");

    cab_draft_set_in(d, 1, cab_draft_i64s(d, &k->u.i, 1));
    cab_draft_drop(d, "k");
    return CAB_OK;
}

cab_status cab_up_slice(cab_draft *d)
{
    ints_to_input(d, "starts", 1);
    ints_to_input(d, "ends", 2);
    ints_to_input(d, "axes", 3);
    return CAB_OK;
}

cab_status cab_up_pad_2(cab_draft *d)
{
    cab_attr pads = *cab_draft_attr(d, "paddings");

    cab_draft_drop(d, "paddings");
    pads.name = "pads";
    cab_draft_set(d, pads);
    return CAB_OK;
}

cab_status cab_up_pad_11(cab_draft *d)
{
    cab_attr *value = cab_draft_attr(d, "value");
    double v = value ? value->u.f : 0;

    ints_to_input(d, "pads", 1);
    cab_draft_drop(d, "value");
    if (v != 0)
        cab_draft_set_in(d, 2, cab_draft_like(d, v, d->in.p[0]));
    return CAB_OK;
}

/* The second operand was dropped and came back as an attribute. */
cab_status cab_up_split_2(cab_draft *d)
{
    if (d->in.n > 1)
        return cab_draft_refuse(d, "operand 'split' of version 1");
    return CAB_OK;
}

cab_status cab_up_split_13(cab_draft *d)
{
    ints_to_input(d, "split", 1);
    return CAB_OK;
}

/* Equal parts, as many as there are outputs, must now be said. */
cab_status cab_up_split_18(cab_draft *d)
{
    if (!cab_draft_in(d, 1))
        cab_draft_set(d, cab_a_int("num_outputs", d->n_out));
    return CAB_OK;
}

cab_status cab_up_clip(cab_draft *d)
{
    static const char *const names[2] = { "min", "max" };

    for (size_t i = 0; i < 2; i++) {
        cab_attr *a = cab_draft_attr(d, names[i]);

        if (a)
            cab_draft_set_in(d, i + 1, cab_draft_like(d, a->u.f, d->in.p[0]));
        cab_draft_drop(d, names[i]);
    }
    return CAB_OK;
}

cab_status cab_up_dft(cab_draft *d)
{
    cab_attr *a = cab_draft_attr(d, "axis");
    int64_t *v = CAB_NEW(d->im->arena, int64_t);
    cab_raw_tensor t = { .dtype = CAB_DT_i64, .n = 1, .data = v, .bytes = 8 };

    *v = a ? a->u.i : 1;
    cab_draft_drop(d, "axis");
    cab_draft_set_in(d, 2, cab_const_raw(d->scope->g, &t));
    return CAB_OK;
}

cab_status cab_up_grid_sample(cab_draft *d)
{
    cab_attr *a = cab_draft_attr(d, "mode");

    if (a && !strcmp(a->u.s, "bilinear"))
        cab_draft_set(d, cab_a_str("mode", "linear"));
    else if (a && !strcmp(a->u.s, "bicubic"))
        cab_draft_set(d, cab_a_str("mode", "cubic"));
    return CAB_OK;
}

cab_status cab_up_roi_align(cab_draft *d)
{
    cab_draft_set(d, cab_a_str("coordinate_transformation_mode",
                               "output_half_pixel"));
    return CAB_OK;
}

cab_status cab_up_scatter(cab_draft *d)
{
    d->op = CAB_OP_ScatterElements;
    d->since = 11;
    return CAB_OK;
}

static cab_attr graph_attr(const char *name, cab_graph *g)
{
    cab_attr a = { .name = name, .kind = CAB_ATTR_GRAPH };

    a.u.graph = g;
    return a;
}

static void copy_attr(cab_node *n, const cab_attr *a, const char *name)
{
    cab_attr b;

    if (!a)
        return;
    b = *a;
    b.name = name;
    cab_attr_set(n, &b);
}

/* Opset 8 scans along axis 1 for every index of axis 0: a scan of axis 0 whose
 * body is the scan of one index. */
cab_status cab_up_scan(cab_draft *d)
{
    cab_attr *body = cab_draft_attr(d, "body");
    int n = d->in.n > 0 ? (int)d->in.n - 1 : 0;
    cab_value **in = CAB_NEW_N(d->im->arena, cab_value *, n + 1);
    cab_type unknown = { .kind = CAB_KIND_tensor, .rank = CAB_RANK_UNKNOWN };
    cab_graph *batch;
    cab_node *scan;

    if (d->in.n && d->in.p[0])
        return cab_draft_refuse(d, "a Scan of opset 8 with lengths of its sequences");
    if (!body || body->kind != CAB_ATTR_GRAPH)
        return cab_draft_refuse(d, "a Scan without a body");
    batch = cab_graph_create_sub(d->scope->g, "batch");
    for (int i = 0; i < n; i++)
        in[i] = cab_graph_add_input(batch, NULL, &unknown);
    scan = cab_node_create(batch, cab_op_get(CAB_OP_Scan), n, in,
                           (int)body->u.graph->outputs.n, NULL);
    scan->loc = d->loc;
    scan->loc_op = d->loc_op;
    scan->opset = 9;
    body->u.graph->parent = batch;
    cab_attr_set(scan, body);
    copy_attr(scan, cab_draft_attr(d, "num_scan_inputs"), "num_scan_inputs");
    copy_attr(scan, cab_draft_attr(d, "directions"), "scan_input_directions");
    for (int i = 0; i < scan->n_out; i++) {
        scan->out[i]->type = unknown;
        cab_graph_add_output(batch, scan->out[i], NULL);
    }
    for (int i = 0; i < n; i++)
        d->in.p[i] = d->in.p[i + 1];
    d->in.n = (size_t)n;
    cab_draft_drop(d, "directions");
    cab_draft_set(d, graph_attr("body", batch));
    cab_draft_set(d, cab_a_int("num_scan_inputs", n));
    return CAB_OK;
}

/* ---- Upsample, Resize ---- */
cab_status cab_up_upsample_7(cab_draft *d)
{
    double *scales = CAB_NEW_N(d->im->arena, double, 4);
    cab_attr a = { .name = "scales", .kind = CAB_ATTR_FLOATS, .n = 4 };

    scales[0] = scales[1] = 1;
    scales[2] = cab_draft_attr(d, "height_scale")->u.f;
    scales[3] = cab_draft_attr(d, "width_scale")->u.f;
    a.u.floats = scales;
    cab_draft_drop(d, "height_scale");
    cab_draft_drop(d, "width_scale");
    cab_draft_set(d, a);
    return CAB_OK;
}

cab_status cab_up_upsample_9(cab_draft *d)
{
    cab_attr *a = cab_draft_attr(d, "scales");

    cab_draft_set_in(d, 1, cab_draft_f32s(d, a->u.floats, a->n));
    cab_draft_drop(d, "scales");
    return CAB_OK;
}

/* Resize with operands (X, scales) -> (X, roi, scales); what it did then is
 * now spelled out. */
cab_status cab_up_resize_11(cab_draft *d)
{
    cab_draft_set_in(d, 2, cab_draft_in(d, 1));
    cab_draft_set_in(d, 1, NULL);
    cab_draft_set(d, cab_a_str("coordinate_transformation_mode", "asymmetric"));
    cab_draft_set(d, cab_a_str("nearest_mode", "floor"));
    return CAB_OK;
}

cab_status cab_up_upsample_11(cab_draft *d)
{
    cab_attr *mode = cab_draft_attr(d, "mode");

    if (mode && !strcmp(mode->u.s, "bilinear"))
        cab_draft_set(d, cab_a_str("mode", "linear"));
    CAB_TRY(cab_up_resize_11(d));
    d->op = CAB_OP_Resize;
    d->since = 13;
    return CAB_OK;
}

/* Operands that had to be given, empty, are now absent. */
cab_status cab_up_resize_13(cab_draft *d)
{
    for (size_t i = 1; i < d->in.n; i++) {
        const cab_value *v = d->in.p[i];

        if (v && v->def && v->def->op->id == CAB_OP_const
            && cab_type_numel_static(&v->type) == 0)
            d->in.p[i] = NULL;
    }
    while (d->in.n && !d->in.p[d->in.n - 1])
        d->in.n--;
    return CAB_OK;
}
