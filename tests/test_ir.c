/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_ir.c - op and schema tables, graphs, attributes, inference, constants.
 */
#include <limits.h>
#include "ir/ir.h"
#include "tests/test.h"

static cab_arena *arena;
static cab_diag diag;

static cab_graph *new_graph(void)
{
    cab_diag_clear(&diag);
    return cab_graph_create(arena, "test", CAB_LEVEL_CORE);
}

/* Value of the type written as text, e.g. "f32[N,3]"; the graph's new input. */
static cab_value *input(cab_graph *g, const char *name, cab_dtype dt, const char *dims)
{
    cab_type t = { .kind = CAB_KIND_tensor, .dtype = dt };

    while (*dims) {
        t.dims[t.rank++] = cab_dim_parse(g->dims, &dims);
        dims += strspn(dims, ", ");
    }
    return cab_graph_add_input(g, name, &t);
}

static const cab_dim *dim(cab_graph *g, const char *text)
{
    return cab_dim_parse(g->dims, &text);
}

static const char *type_text(const cab_value *v)
{
    cab_buf b = cab_buf_on(arena);

    if (!v)
        return "failed";
    cab_type_print(&b, &v->type);
    return cab_buf_cstr(&b);
}

/* The followed elements, "[N, 4]", or "unknown". */
static const char *sym_text(const cab_value *v)
{
    cab_buf b = cab_buf_on(arena);

    if (!v || !v->sym)
        return v ? "unknown" : "failed";
    cab_buf_char(&b, '[');
    for (int64_t i = 0; i < v->n_sym; i++) {
        if (i)
            cab_buf_str(&b, ", ");
        cab_dim_print(&b, v->sym[i]);
    }
    cab_buf_char(&b, ']');
    return cab_buf_cstr(&b);
}

static const char *story(void)
{
    const cab_diag_entry *e = cab_diag_first(&diag);

    return e ? e->text : "";
}

/* ---- tables ---- */
static void check_ops(void)
{
    const cab_op *conv = cab_op_find("conv", 4), *big = cab_op_find("Conv", 4);
    const cab_op *ml = cab_op_find_onnx("ai.onnx.ml", "Scaler");

    for (int i = 1; i < CAB_OP_COUNT; i++) {
        const cab_op *op = cab_op_get((cab_op_id)i);
        CHECK_EQ(op->id, i);
        CHECK(cab_op_find(op->name, strlen(op->name)) == op);
        CHECK(cab_op_is_onnx(op->id) == (op->onnx_name != NULL));
        CHECK(!op->onnx_name || cab_op_find_onnx(op->domain, op->onnx_name) == op);
        CHECK(!op->onnx_name == (op->infer != NULL));
        for (int k = 0; k < op->n_in + op->n_out; k++) {
            const char *var = k < op->n_in ? op->in[k].var : op->out[k - op->n_in].var;
            int found = 0;
            for (int t = 0; t < op->n_type; t++)
                found += !strcmp(op->type[t].var, var) && op->type[t].set;
            CHECK_EQ(found, 1);
        }
        if (op->traits & CAB_T_COMM)
            CHECK(op->n_in == 2 && !strcmp(op->in[0].var, op->in[1].var));
    }
    CHECK(conv && conv->id == CAB_OP_conv && conv->n_in == 2 && conv->n_attr == 6);
    CHECK(conv->traits & CAB_T_CONTRACT);
    CHECK(big && big->id == CAB_OP_Conv);
    CHECK(ml && !strcmp(ml->name, "ai.onnx.ml.Scaler"));
    CHECK(cab_op_find_onnx("ai.onnx", "Conv") == big);
    CHECK(!cab_op_find("con", 3) && !cab_op_find("", 0) && !cab_op_find("convx", 5));
    CHECK(!cab_op_find_onnx("com.other", "Conv"));
    CHECK(cab_op_get(CAB_OP_select)->n_in == 3);
    CHECK(cab_op_get(CAB_OP_sqrt)->type[0].set & CAB_DTBIT(CAB_DT_bf16));
    CHECK(!(cab_op_get(CAB_OP_sqrt)->type[0].set & CAB_DTBIT(CAB_DT_i32)));
    CHECK(cab_op_get(CAB_OP_reshape)->type[0].set & CAB_DTBIT(CAB_DT_str));
}

static void check_schemas(void)
{
    const cab_schema *s = cab_schema_at(CAB_OP_Relu, 13);
    int n = 0;

    CHECK_EQ(cab_schema_count(), 684);
    for (int i = CAB_OP_first_onnx_; i < CAB_OP_COUNT; i++) {
        const cab_schema *v = cab_schema_newest((cab_op_id)i);
        CHECK(v && v->op == (cab_op_id)i);
        for (int opset = 1, last = 0; v && opset <= v->since; opset++) {
            const cab_schema *at = cab_schema_at((cab_op_id)i, opset);
            n += at && at->since != last;
            last = at ? at->since : 0;
        }
    }
    CHECK_EQ(n, 684);
    CHECK(s && s->since == 13 && s->n_in == 1 && !strcmp(s->in[0].name, "X"));
    CHECK_EQ(cab_schema_at(CAB_OP_Relu, 12)->since, 6);
    CHECK(!cab_schema_at(CAB_OP_Gelu, 19));
    CHECK(cab_schema_at(CAB_OP_Upsample, 10)->deprecated);
    CHECK_EQ(cab_schema_at(CAB_OP_Concat, 13)->max_in, INT_MAX);
    CHECK(cab_schema_newest_opset("") >= 24 && cab_schema_newest_opset("ai.onnx.ml") >= 4);
    CHECK_EQ(cab_schema_newest_opset("com.other"), 0);
}

/* ---- graphs ---- */
static void check_graph(void)
{
    cab_graph *g = new_graph();
    cab_builder b = cab_builder_at(g, NULL, &diag);
    cab_value *x = input(g, "x", CAB_DT_f32, "N, 4"), *y, *z, *w;

    y = cab_b_unary(&b, CAB_OP_neg, x);
    z = cab_b_binary(&b, CAB_OP_add, y, y);
    w = cab_b_unary(&b, CAB_OP_abs, x);
    cab_value_set_name(g, z, "out");
    cab_graph_add_output(g, y, "y");
    cab_graph_add_output(g, z, "z");
    CHECK_EQ(b.status, CAB_OK);
    CHECK_EQ(cab_graph_count(g), 3);
    CHECK_EQ(y->n_uses, 3);
    CHECK_EQ(cab_graph_verify(g, &diag), CAB_OK);
    cab_value_replace(g, y, w);
    CHECK_EQ(y->n_uses, 0);
    CHECK(w->n_uses == 3 && g->outputs.p[0] == w && z->def->in[1] == w);
    CHECK(cab_graph_verify(g, &diag) != CAB_OK);   /* z now precedes w */
    cab_diag_clear(&diag);
    CHECK(cab_graph_sort(g));
    CHECK_EQ(cab_graph_verify(g, &diag), CAB_OK);
    cab_node_erase(y->def);
    CHECK_EQ(cab_graph_count(g), 2);
    CHECK_EQ(x->n_uses, 1);
    CHECK_EQ(cab_graph_verify(g, &diag), CAB_OK);
    cab_node_set_in(w->def, 0, z);
    CHECK(!cab_graph_sort(g));
    cab_node_set_in(w->def, 0, x);
    cab_value_set_name(g, w, "out");
    CHECK_STR(w->name, "out.1");
    cab_node_append_in(z->def, x);
    CHECK(cab_graph_verify(g, &diag) != CAB_OK);
    CHECK(strstr(story(), "3 operands"));
    CHECK_STR(story(), "3 operands, takes at most 2");
}

/* A value used inside a subgraph, as operand and as output. */
static void check_subgraph(void)
{
    cab_graph *g = cab_graph_create(arena, "outer", CAB_LEVEL_ONNX), *then, *other;
    cab_value *x = input(g, "x", CAB_DT_f32, "4"), *c = input(g, "c", CAB_DT_bool, "");
    cab_value *y = input(g, "y", CAB_DT_f32, "4");
    cab_node *n, *relu;
    cab_attr a = { .name = "then_branch", .kind = CAB_ATTR_GRAPH };

    cab_diag_clear(&diag);
    then = cab_graph_create_sub(g, "then");
    relu = cab_node_create(then, cab_op_get(CAB_OP_Relu), 1, &x, 1, NULL);
    relu->out[0]->type = x->type;
    cab_graph_add_output(then, relu->out[0], "r");
    other = cab_graph_create_sub(g, "else");
    cab_graph_add_output(other, x, "x");
    n = cab_node_create(g, cab_op_get(CAB_OP_If), 1, &c, 1, NULL);
    n->out[0]->type = x->type;
    a.u.graph = then;
    cab_attr_set(n, &a);
    a.name = "else_branch";
    a.u.graph = other;
    cab_attr_set(n, &a);
    cab_graph_add_output(g, n->out[0], "z");
    CHECK_EQ(cab_graph_verify(g, &diag), CAB_OK);
    CHECK_EQ(x->n_uses, 2);
    cab_value_replace(g, x, y);
    CHECK(x->n_uses == 0 && y->n_uses == 2 && other->outputs.p[0] == y);
    CHECK_EQ(cab_graph_verify(g, &diag), CAB_OK);
    cab_graph_set_output(g, 0, y);
    cab_node_erase(n);
    CHECK_EQ(y->n_uses, 1);
    CHECK_EQ(cab_graph_verify(g, &diag), CAB_OK);
}

static void check_attrs(void)
{
    cab_graph *g = cab_graph_create(arena, "attrs", CAB_LEVEL_ONNX);
    cab_value *x = input(g, "x", CAB_DT_f32, "1, 4, 8");
    cab_node *n = cab_node_create(g, cab_op_get(CAB_OP_LSTM), 1, &x, 1, NULL);
    cab_node *pool = cab_node_create(g, cab_op_get(CAB_OP_MaxPool), 1, &x, 1, NULL);
    int64_t kernel[] = { 2, 3 };
    const int64_t *list;
    cab_attr a = cab_a_ints("kernel_shape", kernel, 2);

    CHECK_STR(cab_attr_str(n, "direction"), "forward");
    CHECK(!cab_attr_str(n, "no such"));
    CHECK_EQ(cab_attr_int(pool, "storage_order"), 0);
    CHECK_EQ(cab_attr_ints(pool, "strides", &list), -1);
    cab_attr_set(pool, &a);
    kernel[1] = 9;
    CHECK_EQ(cab_attr_ints(pool, "kernel_shape", &list), 2);
    CHECK(list && list[1] == 3);
    CHECK(!cab_attr_equal(cab_attr_find(pool, "kernel_shape"), &a));
    cab_attr_remove(pool, "kernel_shape");
    CHECK(!cab_attr_find(pool, "kernel_shape") && pool->n_attr == 0);
    n = cab_node_create(g, cab_op_get(CAB_OP_LeakyRelu), 1, &x, 1, NULL);
    CHECK(cab_attr_float(n, "alpha") == (double)0.01f);
    n = cab_node_create(g, cab_op_get(CAB_OP_iota), 0, NULL, 1, NULL);
    CHECK_EQ(cab_attr_dtype(n, "dtype"), CAB_DT_i64);
}

/* ---- inference ---- */
static void check_types(void)
{
    cab_graph *g = new_graph();
    cab_builder b = cab_builder_at(g, NULL, &diag);
    cab_value *x = input(g, "x", CAB_DT_f32, "N, 1, 4"), *y = input(g, "y", CAB_DT_f32, "M, 4");
    cab_value *n = input(g, "n", CAB_DT_f32, "3, 7, 4"), *v;
    const cab_dim *d[3] = { dim(g, "floordiv(4*N, 2)"), dim(g, "2"), NULL };
    cab_attr idx = cab_a_int("axis", 1);
    cab_value *rows = input(g, "rows", CAB_DT_i32, "B, S"), *in[2] = { x, rows };

    CHECK_STR(type_text(cab_b_binary(&b, CAB_OP_add, x, y)), "f32[N,M,4]");
    CHECK_EQ(g->guards.n, 0);
    CHECK_STR(type_text(cab_b_binary(&b, CAB_OP_lt, x, n)), "bool[3,7,4]");
    CHECK_EQ(g->guards.n, 1);
    CHECK(g->guards.n == 1 && g->guards.p[0].lhs == dim(g, "N")
          && cab_dim_is(g->guards.p[0].rhs, 3));
    cab_b_binary(&b, CAB_OP_add, n, x);
    CHECK_EQ(g->guards.n, 1);
    CHECK_STR(type_text(cab_b_reshape(&b, x, 2, d)), "f32[2*N,2]");
    CHECK_EQ(g->guards.n, 1);
    CHECK_STR(type_text(cab_build(&b, CAB_OP_gather, 2, in, 1, &idx)), "f32[N,B,S,4]");
    v = cab_b_cast(&b, x, CAB_DT_i8);
    CHECK_STR(type_text(v), "i8[N,1,4]");
    CHECK(cab_b_cast(&b, v, CAB_DT_i8) == v);
    CHECK_STR(type_text(cab_b_select(&b, cab_b_binary(&b, CAB_OP_eq, x, x), x, y)),
              "f32[N,M,4]");
    CHECK_EQ(b.status, CAB_OK);
    CHECK(!cab_b_binary(&b, CAB_OP_add, x, v));
    CHECK_EQ(b.status, CAB_EMODEL);
    CHECK(strstr(story(), "operand 'y' has type i8[N,1,4]"));
    CHECK(!cab_b_unary(&b, CAB_OP_neg, x) && !cab_b_reshape(&b, NULL, 2, d)
          && !cab_b_transpose(&b, NULL, NULL) && !cab_b_cast(&b, NULL, CAB_DT_f32));
    CHECK_EQ(cab_graph_verify(g, NULL), CAB_OK);
}

static void check_conv(void)
{
    cab_graph *g = new_graph();
    cab_builder b = cab_builder_at(g, NULL, &diag);
    cab_value *in[2] = { input(g, "x", CAB_DT_f32, "N, 3, H, 224"),
                         input(g, "w", CAB_DT_f32, "64, 3, 7, 7") };
    int64_t two[] = { 2, 2 }, three[] = { 3, 3 }, one[] = { 1, 1 };
    cab_attr a[] = { cab_a_ints("strides", two, 2), cab_a_ints("pads_lo", three, 2),
                     cab_a_ints("pads_hi", three, 2), cab_a_ints("dilations", one, 2) };

    CHECK_STR(type_text(cab_build(&b, CAB_OP_conv, 2, in, 4, a)),
              "f32[N,64,floordiv(H + 1, 2),112]");
    CHECK_EQ(g->guards.n, 0);
}

/* Shape -> Gather -> arithmetic -> Concat -> Reshape, as exporters write. */
static void check_shape_chain(void)
{
    cab_graph *g = new_graph();
    cab_builder b = cab_builder_at(g, NULL, &diag);
    cab_value *x = input(g, "x", CAB_DT_f32, "B, S, 768"), *part[4], *shape, *v, *in[2];
    cab_attr axis = cab_a_int("axis", 0), op[3];
    const cab_dim *one = cab_dim_const(g->dims, 1), **dims;
    int64_t zero = 0, n;

    for (int i = 0; i < 3; i++) {
        v = cab_b_dim(&b, x->type.dims[i]);
        part[i] = cab_b_reshape(&b, v, 1, &one);
    }
    shape = cab_build(&b, CAB_OP_concat, 3, part, 1, &axis);
    CHECK_STR(sym_text(shape), "[B, S, 768]");
    in[0] = shape;
    in[1] = cab_b_scalar_i(&b, CAB_DT_i64, -2);
    v = cab_build(&b, CAB_OP_gather, 2, in, 1, &axis);
    CHECK_STR(sym_text(v), "[S]");
    v = cab_b_binary(&b, CAB_OP_mul, v, cab_b_scalar_i(&b, CAB_DT_i64, 12));
    CHECK_STR(sym_text(v), "[12*S]");
    part[1] = cab_b_reshape(&b, v, 1, &one);
    part[2] = cab_b_i64s(&b, (int64_t[]){ 64 }, 1);
    v = cab_build(&b, CAB_OP_concat, 3, part, 1, &axis);
    CHECK(cab_value_dims(g, v, &dims, &n) && n == 3);
    CHECK_STR(type_text(cab_b_reshape(&b, x, 3, dims)), "f32[B,12*S,64]");
    op[0] = cab_a_str("op", "prod");
    op[1] = cab_a_ints("axes", &zero, 1);
    op[2] = cab_a_int("keepdims", 0);
    CHECK_STR(sym_text(cab_build(&b, CAB_OP_reduce, 1, &v, 3, op)), "[768*B*S]");
    v = cab_b_cast(&b, cab_b_cast(&b, v, CAB_DT_i32), CAB_DT_i64);
    CHECK_STR(sym_text(v), "[B, 12*S, 64]");
    CHECK_EQ(b.status, CAB_OK);
    CHECK_EQ(g->guards.n, 0);
}

static void check_sym_rules(void)
{
    cab_graph *g = new_graph();
    cab_builder b = cab_builder_at(g, NULL, &diag);
    cab_value *s = cab_b_dim(&b, dim(g, "S")), *seven = cab_b_scalar_i(&b, CAB_DT_i64, 7);
    cab_value *minus = cab_b_scalar_i(&b, CAB_DT_i64, -7), *v, *list;
    cab_value *two = cab_b_scalar_i(&b, CAB_DT_i64, 2), *most;
    const cab_dim *start[2], *size[2];
    int64_t step[2] = { -1, 2 }, perm[2] = { 1, 0 };

    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_div, s, two)), "[floordiv(S, 2)]");
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_div, minus, two)), "[-3]");
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_mod, minus, two)), "[1]");
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_div, minus, s)), "unknown");
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_div, seven, cab_b_scalar_i(&b, CAB_DT_i64, 0))),
              "unknown");
    CHECK_STR(sym_text(cab_b_unary(&b, CAB_OP_neg, s)), "[-S]");
    CHECK_STR(sym_text(cab_b_unary(&b, CAB_OP_abs, s)), "[S]");
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_min, s, two)), "[min(S, 2)]");
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_eq, s, two)), "unknown");
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_eq, s, minus)), "[0]");
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_lt, minus, s)), "[1]");
    v = cab_b_binary(&b, CAB_OP_le, s, minus);
    CHECK_STR(sym_text(v), "[0]");
    CHECK_STR(sym_text(cab_b_select(&b, v, two, s)), "[S]");
    CHECK_STR(sym_text(cab_b_cast(&b, minus, CAB_DT_u8)), "unknown");
    CHECK_STR(sym_text(cab_b_cast(&b, minus, CAB_DT_f32)), "unknown");
    CHECK_STR(sym_text(cab_b_cast(&b, minus, CAB_DT_bool)), "[1]");
    most = cab_b_scalar_i(&b, CAB_DT_i64, INT64_MAX);
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_add, most, two)), "unknown");
    v = cab_b_scalar_i(&b, CAB_DT_i32, INT32_MAX);
    CHECK_STR(sym_text(cab_b_binary(&b, CAB_OP_add, v, v)), "unknown");
    size[0] = dim(g, "2");
    size[1] = dim(g, "3");
    list = cab_b_reshape(&b, cab_b_i64s(&b, (int64_t[]){ 0, 1, 2, 3, 4, 5 }, 6), 2, size);
    start[0] = dim(g, "1");
    start[1] = dim(g, "0");
    size[1] = dim(g, "2");
    CHECK_STR(sym_text(cab_b_slice(&b, list, start, step, size)), "[3, 5, 0, 2]");
    CHECK_STR(sym_text(cab_b_transpose(&b, list, perm)), "[0, 3, 1, 4, 2, 5]");
    v = cab_b_binary(&b, CAB_OP_mul, list, cab_b_i64s(&b, (int64_t[]){ 1, 10, 100 }, 3));
    CHECK_STR(sym_text(v), "[0, 10, 200, 3, 40, 500]");
    CHECK_EQ(b.status, CAB_OK);
    CHECK(!cab_dims_overflowed(g->dims));
}

/* ---- constants ---- */
static void check_consts(void)
{
    cab_graph *g = new_graph();
    cab_builder b = cab_builder_at(g, NULL, &diag);
    float splat[3] = { 0.5f, 0.5f, 0.5f }, other[3] = { 0.5f, 1, 0.5f };
    int64_t three = 3, n, *ints, four[4] = { 4, 3, 2, 1 };
    cab_type t = cab_type_static(g, CAB_DT_f32, 1, &three);
    cab_value *v = cab_const_blob(g, &t, splat, sizeof splat, NULL), *hinted, *sum;
    cab_blob hint = { four, sizeof four };
    double x;

    CHECK(cab_value_scalar(v, &x) && x == 0.5);
    CHECK(cab_value_blob(v)->data == splat);
    v = cab_const_blob(g, &t, other, sizeof other, NULL);
    CHECK(!cab_value_scalar(v, &x));
    CHECK(!cab_value_ints(g, v, &ints, &n));
    CHECK(cab_value_scalar(cab_b_scalar(&b, CAB_DT_f16, 0.1), &x) && x > 0.0999 && x < 0.1001);
    v = cab_b_binary(&b, CAB_OP_add, cab_b_i64s(&b, four, 4), cab_b_scalar_i(&b, CAB_DT_i64, 1));
    CHECK(cab_value_ints(g, v, &ints, &n) && n == 4 && ints[0] == 5 && ints[3] == 2);
    CHECK(cab_value_blob(v) && cab_value_blob(v)->bytes == 32
          && !memcmp(cab_value_blob(v)->data, ints, 32));
    v = cab_b_dim(&b, dim(g, "N"));
    CHECK(!cab_value_blob(v) && !cab_value_ints(g, v, &ints, &n));
    hinted = input(g, "sizes", CAB_DT_i64, "4");
    hinted->hint = &hint;
    sum = cab_b_binary(&b, CAB_OP_add, hinted, cab_b_i64s(&b, four, 4));
    CHECK(!cab_value_scalar(hinted, &x));
    CHECK(!hinted->hint_used && !sum->sym);
    CHECK(cab_value_ints(g, sum, &ints, &n) && n == 4 && ints[0] == 8);
    CHECK(hinted->hint_used);
    CHECK_EQ(b.status, CAB_OK);
}

static void check_strides(void)
{
    cab_graph *g = new_graph();
    cab_value *x = input(g, "x", CAB_DT_f32, "N, 3, 5, 7");
    cab_layout l = { 4, { 0, 2, 3, 1 }, { 0, 0, 1, 2 }, { 0, 0, 1, 1 } };
    const cab_dim *strides[CAB_MAX_RANK], *base, *elems;

    cab_type_strides(g, &x->type, strides, &base, &elems);
    CHECK(cab_dim_is(strides[0], 105) && cab_dim_is(strides[3], 1) && cab_dim_is(base, 0));
    CHECK(elems == dim(g, "105*N"));
    x->type.layout = &l;
    cab_type_strides(g, &x->type, strides, &base, &elems);
    CHECK(cab_dim_is(strides[1], 1) && cab_dim_is(strides[3], 3)
          && cab_dim_is(strides[2], 30) && cab_dim_is(strides[0], 210));
    CHECK(cab_dim_is(base, 36));
    CHECK(elems == dim(g, "210*N"));
}

int main(void)
{
    cab_job job = {0};

    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    if (!arena || CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    check_ops();
    check_schemas();
    check_graph();
    check_subgraph();
    check_attrs();
    check_types();
    check_conv();
    check_shape_chain();
    check_sym_rules();
    check_consts();
    check_strides();
    cab_diag_fini(&diag);
    cab_arena_destroy(arena);
    TEST_END();
}
