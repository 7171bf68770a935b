/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_frontend.c - importing models: what good files become, and that bad
 * ones are refused with the right code.
 */
#include "frontend/frontend.h"
#include "tests/test.h"
#include "tests/wire.h"

/* One import: arena, diagnostics and graph together. */
typedef struct run {
    cab_job job;
    cab_arena *arena;
    cab_diag diag;
    cab_graph *g;
    cab_status status;
} run;

static void end(run *r)
{
    cab_arena_destroy(r->arena);
    cab_diag_fini(&r->diag);
}

static void import_bytes(run *r, const void *p, size_t n,
                         const cab_import_options *o)
{
    memset(r, 0, sizeof *r);
    cab_diag_init(&r->diag);
    if (CAB_JOB_ENTER(&r->job)) {
        r->status = CAB_ENOMEM;
        return;
    }
    r->arena = cab_arena_create(&r->job);
    r->status = cab_import_memory(r->arena, p, n, NULL, o, &r->g, &r->diag);
}

static void import_with(run *r, wire model, const cab_import_options *o)
{
    /* The graph points into the bytes: they go to the arena. */
    unsigned char *copy = malloc(model.n + 1);

    memcpy(copy, model.p, model.n);
    import_bytes(r, copy, model.n, o);
    if (r->arena)
        cab_arena_cleanup(r->arena, free, copy);
    else
        free(copy);
    w_free(&model);
}

static void import(run *r, wire model)
{
    import_with(r, model, NULL);
}

/* The model is refused with that code, and the story has that text. */
static void refused(wire model, cab_status code, const char *text)
{
    const cab_diag_entry *e;
    run r;

    import(&r, model);
    e = cab_diag_first(&r.diag);
    CHECK_EQ(r.status, code);
    CHECK(e && strstr(e->text, text));
    if (!e || !strstr(e->text, text))
        fprintf(stderr, "    wanted '%s', got '%s'\n", text, e ? e->text : "");
    end(&r);
}

static cab_node *find_op(const cab_graph *g, const char *name)
{
    for (cab_node *n = g->first; n; n = n->next) {
        if (!strcmp(n->op->name, name))
            return n;
    }
    return NULL;
}

static size_t count_op(const cab_graph *g, const char *name)
{
    size_t count = 0;

    for (cab_node *n = g->first; n; n = n->next)
        count += !strcmp(n->op->name, name);
    return count;
}

/* Elements of a constant i64 operand; -1 when it is none. */
static int64_t const_i64(const cab_value *v, int64_t i)
{
    const cab_attr *a;
    int64_t x;

    if (!v || !v->def || v->def->op->id != CAB_OP_const)
        return -1;
    a = cab_attr_find(v->def, "value");
    memcpy(&x, (const char *)a->u.tensor->blob->data + 8 * i, 8);
    return x;
}

/* ---- good models ---- */
static void check_simple(void)
{
    run r;

    import(&r, m_one_node(17, m_node("Relu", "x", "y")));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(r.g->inputs.n, 1);
    CHECK_EQ(r.g->outputs.n, 1);
    CHECK_STR(r.g->output_names.p[0], "y");
    CHECK_STR(r.g->inputs.p[0]->name, "x");
    CHECK_EQ(r.g->inputs.p[0]->type.rank, 2);
    CHECK_STR(r.g->inputs.p[0]->type.dims[0]->name, "N");
    CHECK(cab_dim_is(r.g->inputs.p[0]->type.dims[1], 4));
    CHECK_EQ(r.g->first->opset, 14);
    CHECK_EQ(r.g->first->out[0]->type.rank, CAB_RANK_UNKNOWN);
    CHECK_STR(r.g->first->loc, "y");
    CHECK_STR(r.g->first->loc_op, "Relu");
    end(&r);
}

static void check_newer_versions(void)
{
    run r;

    import(&r, m_one_node(99, m_node("Relu", "x", "y")));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(r.diag.n, 1);
    CHECK_EQ(r.diag.entries[0].severity, CAB_WARNING);
    end(&r);
}

/* Initializers: a default value for an input, and typed payload fields. */
static wire typed_model(int dtype, int64_t extent, wire payload)
{
    const int64_t dims[1] = { extent };
    wire g = { 0 }, t = m_tensor("w", dtype, 1, dims);

    w_bytes(&t, payload.p, payload.n);
    w_free(&payload);
    w_sub(&g, 1, m_node("Identity", "w", "y"));
    w_sub(&g, 5, t);
    w_sub(&g, 11, m_value("w", 1, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    return m_model(17, g);
}

static void typed_ok(int dtype, int64_t extent, wire payload,
                     const void *want, size_t n)
{
    const cab_attr *a;
    run r;

    import(&r, typed_model(dtype, extent, payload));
    CHECK_EQ(r.status, CAB_OK);
    if (r.status == CAB_OK) {
        CHECK_EQ(r.g->inputs.n, 0);
        a = cab_attr_find(r.g->first, "value");
        CHECK_EQ(a->u.tensor->blob->bytes, n);
        CHECK(!memcmp(a->u.tensor->blob->data, want, n));
    }
    end(&r);
}

static wire packed(int field, const void *p, size_t n)
{
    wire w = { 0 };

    w_blob(&w, field, p, n);
    return w;
}

static void check_payloads(void)
{
    const float f[2] = { 1.5f, -2 };
    const int64_t i64[2] = { -1, 300 };
    const uint16_t h[2] = { 0x3c00, 0x8000 };
    const uint8_t b[2] = { 1, 0 }, nibbles[2] = { 0x21, 0x03 };
    wire w = { 0 };

    typed_ok(1, 2, packed(9, f, 8), f, 8);
    typed_ok(1, 2, packed(4, f, 8), f, 8);
    w_float(&w, 4, f[0]);
    w_float(&w, 4, f[1]);
    typed_ok(1, 2, w, f, 8);
    w = (wire){ 0 };
    w_num(&w, 7, i64[0]);
    w_blob(&w, 7, "\xac\x02", 2);
    typed_ok(7, 2, w, i64, 16);
    typed_ok(10, 2, packed(5, "\x80\x78\x80\x80\x02", 5), h, 4);
    typed_ok(9, 2, packed(5, "\x01\x00", 2), b, 2);
    typed_ok(22, 3, packed(5, "\x21\x03", 2), nibbles, 2);
    typed_ok(22, 3, packed(9, nibbles, 2), nibbles, 2);
    refused(typed_model(1, 2, packed(9, f, 7)), CAB_EMODEL, "holds 7 bytes");
    refused(typed_model(1, 2, packed(4, f, 4)), CAB_EMODEL, "holds 4 bytes");
    refused(typed_model(7, 2, packed(7, "\x01", 1)), CAB_EMODEL, "holds 8");
    refused(typed_model(7, 1, packed(7, "\x01\x02", 2)), CAB_EMODEL, "holds 16");
    refused(typed_model(7, 1, packed(7, "\xff", 1)), CAB_EMODEL, "does not end");
    refused(typed_model(1, -1, packed(9, f, 8)), CAB_EMODEL, "extent -1");
    refused(typed_model(99, 2, packed(9, f, 8)), CAB_EUNSUPPORTED, "number 99");
    refused(typed_model(8, 2, packed(6, "a", 1)), CAB_EMODEL, "1 strings");
    refused(typed_model(7, (int64_t)1 << 61, packed(7, "", 0)), CAB_EMODEL,
            "overflows");
    refused(typed_model(7, (int64_t)1 << 40, packed(7, "", 0)), CAB_ELIMIT,
            "limit");
}

static void check_dims_overflow(void)
{
    const int64_t dims[3] = { (int64_t)1 << 40, (int64_t)1 << 40, 2 };
    wire g = { 0 };

    w_sub(&g, 5, m_tensor("w", 1, 3, dims));
    refused(m_model(17, g), CAB_EMODEL, "overflows");
}

static void check_strings(void)
{
    wire w = { 0 };
    run r;

    w_str(&w, 6, "ab");
    w_str(&w, 6, "");
    import(&r, typed_model(8, 2, w));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_STR(cab_attr_find(r.g->first, "value")->u.tensor->strs[0], "ab");
    CHECK_STR(cab_attr_find(r.g->first, "value")->u.tensor->strs[1], "");
    end(&r);
}

static void check_sparse(void)
{
    const int64_t two[1] = { 2 }, at[2] = { 1, 3 };
    const float v[2] = { 5, 7 }, want[4] = { 0, 5, 0, 7 };
    wire g = { 0 }, s = { 0 }, values = m_tensor("w", 1, 1, two),
         indices = m_tensor("", 7, 1, two);
    run r;

    w_blob(&values, 9, v, 8);
    w_blob(&indices, 9, at, 16);
    w_sub(&s, 1, values);
    w_sub(&s, 2, indices);
    w_num(&s, 3, 4);
    w_sub(&g, 15, s);
    w_sub(&g, 12, m_value("w", -1, NULL));
    import(&r, m_model(17, g));
    CHECK_EQ(r.status, CAB_OK);
    CHECK(!memcmp(cab_attr_find(r.g->first, "value")->u.tensor->blob->data,
                  want, 16));
    end(&r);
}

/* Constant in its scalar and list forms. */
static void check_constants(void)
{
    const int64_t three[3] = { 7, 8, 9 };
    wire n = m_node("Constant", "", "y");
    run r;

    w_sub(&n, 5, m_attr_ints("value_ints", three, 3));
    import(&r, m_one_node(17, n));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(r.g->outputs.p[0]->type.dtype, CAB_DT_i64);
    CHECK_EQ(const_i64(r.g->outputs.p[0], 2), 9);
    end(&r);
    n = m_node("Constant", "", "y");
    w_sub(&n, 5, m_attr_float("value_float", 2.5f));
    import(&r, m_one_node(17, n));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(r.g->outputs.p[0]->type.dtype, CAB_DT_f32);
    CHECK_EQ(r.g->outputs.p[0]->type.rank, 0);
    end(&r);
    n = m_node("Constant", "", "y");
    w_sub(&n, 5, m_attr_str("value_string", "hi"));
    import(&r, m_one_node(17, n));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(r.g->outputs.p[0]->type.dtype, CAB_DT_str);
    end(&r);
    refused(m_one_node(17, m_node("Constant", "", "y")), CAB_EMODEL,
            "one attribute");
}

/* ---- structure ---- */
static wire two_nodes(wire a, wire b)
{
    const int64_t dims[2] = { -1, 4 };
    wire g = { 0 };

    w_sub(&g, 1, a);
    w_sub(&g, 1, b);
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    return m_model(17, g);
}

static void check_names(void)
{
    run r;

    refused(m_one_node(17, m_node("Relu", "nope", "y")), CAB_EMODEL,
            "'nope' is not defined");
    refused(m_one_node(17, m_node("Relu", "x", "z")), CAB_EMODEL,
            "output 'y'");
    refused(m_one_node(17, m_node("Relu", "x", "x")), CAB_EMODEL, "twice");
    refused(two_nodes(m_node("Add", "x,b", "a"), m_node("Relu", "a", "b")),
            CAB_EMODEL, "cycle");
    import(&r, two_nodes(m_node("Relu", "a", "y"), m_node("Neg", "x", "a")));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_STR(r.g->first->op->name, "Neg");
    end(&r);
}

static void check_schema(void)
{
    wire n = m_node("Relu", "x", "y");

    w_sub(&n, 5, m_attr_int("alpha", 1));
    refused(m_one_node(17, n), CAB_EMODEL, "no attribute 'alpha'");
    n = m_node("Flatten", "x", "y");
    w_sub(&n, 5, m_attr_float("axis", 1));
    refused(m_one_node(17, n), CAB_EMODEL, "attribute 'axis' is a float");
    refused(m_one_node(17, m_node("Concat", "x,x", "y")), CAB_EMODEL,
            "attribute 'axis' is missing");
    refused(m_one_node(17, m_node("Add", "x", "y")), CAB_EMODEL, "1 inputs");
    refused(m_one_node(17, m_node("Add", ",x", "y")), CAB_EMODEL,
            "input 'A' is missing");
    refused(m_one_node(17, m_node("Relu", "x", "y,z")), CAB_EMODEL,
            "2 outputs");
    refused(m_one_node(17, m_node("Mish", "x", "y")), CAB_EUNSUPPORTED,
            "does not exist in opset 17");
}

/* All unknown operators are told, and what hangs on them is not. */
static void check_all_unknown(void)
{
    const int64_t dims[2] = { -1, 4 };
    wire g = { 0 };
    run r;

    w_sub(&g, 1, m_node("Foo", "x", "a"));
    w_sub(&g, 1, m_node("Relu", "a", "b"));
    w_sub(&g, 1, m_node("Bar", "b", "y"));
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    import(&r, m_model(17, g));
    CHECK_EQ(r.status, CAB_EUNSUPPORTED);
    CHECK_EQ(r.diag.n, 2);
    CHECK(strstr(r.diag.entries[0].where, "'a'"));
    CHECK(strstr(r.diag.entries[1].text, "'Bar'"));
    end(&r);
}

static wire body_graph(wire node)
{
    wire g = { 0 };

    w_sub(&g, 1, node);
    w_str(&g, 2, "body");
    w_sub(&g, 12, m_value("r", -1, NULL));
    return g;
}

static void check_subgraph(void)
{
    wire n = m_node("If", "c", "y"), g = { 0 };
    const int64_t dims[2] = { -1, 4 };
    const cab_attr *a;
    run r;

    w_sub(&n, 5, m_attr_sub("then_branch", 5, 6,
                            body_graph(m_node("Relu", "late", "r"))));
    w_sub(&n, 5, m_attr_sub("else_branch", 5, 6,
                            body_graph(m_node("Neg", "x", "r"))));
    w_sub(&g, 1, n);
    /* Used inside, produced behind: the nodes are sorted. */
    w_sub(&g, 1, m_node("Abs", "x", "late"));
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 11, m_value("c", 0, NULL));
    w_sub(&g, 12, m_value("y", -1, NULL));
    import(&r, m_model(17, g));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_STR(r.g->first->op->name, "Abs");
    a = cab_attr_find(r.g->last, "then_branch");
    CHECK(a && a->u.graph->first->in[0] == r.g->first->out[0]);
    CHECK_EQ(a->u.graph->outputs.n, 1);
    end(&r);
}

/* ---- functions ---- */
/* act(a) = LeakyRelu(a, alpha = @slope, default 0.25); twice(a) = act(act(a)) */
static wire function_model(const char *inner, const char *op, bool slope)
{
    wire f = { 0 }, n, m, call;

    n = m_node("LeakyRelu", "a", "r");
    w_sub(&n, 5, m_attr_ref("alpha", 1, "slope"));
    w_str(&f, 1, "act");
    w_str(&f, 4, "a");
    w_str(&f, 5, "r");
    w_sub(&f, 7, n);
    w_sub(&f, 9, m_opset("", 17));
    w_str(&f, 10, "own");
    w_sub(&f, 11, m_attr_float("slope", 0.25f));
    call = m_node(op, "x", "y");
    w_str(&call, 7, "own");
    w_str(&call, 3, "call");
    if (slope)
        w_sub(&call, 5, m_attr_float("slope", 0.5f));
    m = m_one_node(17, call);
    w_sub(&m, 8, m_opset("own", 1));
    w_sub(&m, 25, f);
    f = (wire){ 0 };
    w_str(&f, 1, "twice");
    w_str(&f, 4, "a");
    w_str(&f, 5, "r");
    n = m_node(inner, "a", "t");
    w_str(&n, 7, "own");
    w_sub(&f, 7, n);
    n = m_node(inner, "t", "r");
    w_str(&n, 7, "own");
    w_sub(&f, 7, n);
    w_sub(&f, 9, m_opset("own", 1));
    w_str(&f, 10, "own");
    w_sub(&m, 25, f);
    return m;
}

static void check_functions(void)
{
    run r;

    import(&r, function_model("act", "act", true));
    CHECK_EQ(r.status, CAB_OK);
    CHECK(cab_attr_float(r.g->first, "alpha") == 0.5);
    CHECK_STR(r.g->first->loc, "call/r");
    end(&r);
    import(&r, function_model("act", "act", false));
    CHECK(cab_attr_float(r.g->first, "alpha") == 0.25);
    end(&r);
    import(&r, function_model("act", "twice", false));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(count_op(r.g, "LeakyRelu"), 2);
    CHECK(r.g->last->in[0] == r.g->first->out[0]);
    CHECK(strcmp(r.g->last->out[0]->name, r.g->first->out[0]->name));
    end(&r);
    refused(function_model("twice", "twice", false), CAB_ELIMIT, "deep");
}

/* ---- upgrades ---- */
static void check_upgrade_inputs(void)
{
    const int64_t axis[1] = { 1 }, split[2] = { 1, 3 };
    wire n = m_node("ReduceMean", "x", "y");
    run r;

    w_sub(&n, 5, m_attr_ints("axes", axis, 1));
    import(&r, m_one_node(11, n));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(r.g->last->n_in, 2);
    CHECK_EQ(r.g->last->n_attr, 0);
    CHECK_EQ(r.g->last->opset, 18);
    CHECK_EQ(const_i64(r.g->last->in[1], 0), 1);
    end(&r);
    n = m_node("Split", "x", "y,z");
    w_sub(&n, 5, m_attr_ints("split", split, 2));
    import(&r, m_one_node(11, n));
    CHECK_EQ(const_i64(r.g->last->in[1], 1), 3);
    CHECK(!cab_attr_find(r.g->last, "num_outputs"));
    end(&r);
    import(&r, m_one_node(13, m_node("Split", "x", "y,z")));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(cab_attr_int(r.g->last, "num_outputs"), 2);
    end(&r);
    n = m_node("Clip", "x", "y");
    w_sub(&n, 5, m_attr_float("max", 6));
    import(&r, m_one_node(9, n));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(r.g->last->n_in, 3);
    CHECK(r.g->last->in[1] == NULL && r.g->last->in[2] != NULL);
    end(&r);
}

static void check_upgrade_forms(void)
{
    wire n;
    run r;

    import(&r, m_one_node(11, m_node("Softmax", "x", "y")));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_STR(r.g->last->op->name, "Reshape");
    CHECK_STR(r.g->last->loc_op, "Softmax");
    CHECK_EQ(cab_attr_int(find_op(r.g, "Flatten"), "axis"), 1);
    CHECK_EQ(cab_attr_int(find_op(r.g, "Softmax"), "axis"), -1);
    end(&r);
    n = m_node("Softmax", "x", "y");
    w_sub(&n, 5, m_attr_int("axis", -1));
    import(&r, m_one_node(11, n));
    CHECK_STR(r.g->last->op->name, "Softmax");
    CHECK_EQ(cab_graph_count(r.g), 1);
    end(&r);
    import(&r, m_one_node(9, m_node("Upsample", "x,x", "y")));
    CHECK_EQ(r.status, CAB_OK);
    CHECK_STR(r.g->last->op->name, "Resize");
    CHECK_EQ(r.g->last->n_in, 3);
    CHECK(r.g->last->in[1] == NULL);
    CHECK_STR(cab_attr_str(r.g->last, "coordinate_transformation_mode"),
              "asymmetric");
    end(&r);
    n = m_node("BatchNormalization", "x,x,x,x,x", "y,m");
    refused(m_one_node(9, n), CAB_EUNSUPPORTED, "training");
    n = m_node("RoiAlign", "x,x,x", "y");
    import(&r, m_one_node(10, n));
    CHECK_STR(cab_attr_str(r.g->last, "coordinate_transformation_mode"),
              "output_half_pixel");
    end(&r);
}

static bool has_row(cab_op_id op, int from, int to)
{
    static const struct { cab_op_id op; int from, to; } rows[] = {
#define UPGRADE(id, a, b, fn) { CAB_OP_##id, a, b },
#include "frontend/upgrades.def"
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].op == op && rows[i].from <= from && rows[i].to >= to)
            return true;
    }
    return false;
}

/* Attributes of a that are gone, or of another kind, in b. */
static bool loses_attr(const cab_schema *a, const cab_schema *b)
{
    for (int i = 0; i < a->n_attr; i++) {
        bool kept = false;

        for (int k = 0; k < b->n_attr; k++)
            kept |= !strcmp(a->attr[i].name, b->attr[k].name)
                && a->attr[i].kind == b->attr[k].kind;
        if (!kept)
            return true;
    }
    return false;
}

/* Every step of the standard's main domain after opset 7 that takes something
 * away from a node has a row. */
static void check_upgrade_rows(void)
{
    int steps = 0;

    for (int op = CAB_OP_first_onnx_; op < CAB_OP_COUNT; op++) {
        if (*cab_op_get((cab_op_id)op)->domain)
            continue;
        for (int v = 8; v <= 28; v++) {
            const cab_schema *a = cab_schema_at((cab_op_id)op, v - 1);
            const cab_schema *b = cab_schema_at((cab_op_id)op, v);

            if (!a || a == b || (!loses_attr(a, b) && a->min_in >= b->min_in
                                 && a->max_in <= b->max_in))
                continue;
            steps++;
            CHECK(has_row((cab_op_id)op, a->since, b->since));
            if (!has_row((cab_op_id)op, a->since, b->since))
                fprintf(stderr, "    %s %d -> %d\n",
                        cab_op_get((cab_op_id)op)->name, a->since, b->since);
        }
    }
    CHECK(steps > 20);
}

/* ---- options ---- */
static void check_options(void)
{
    const int64_t dims[2] = { 3, 4 }, wrong[2] = { 3, 5 };
    const cab_import_bind bind = { "N", 2 };
    const float data[12] = { 0 };
    cab_import_input in = { "x", CAB_DT_f32, 2, dims, data, sizeof data, false };
    cab_import_options o = { .n_binds = 1, .binds = &bind };
    run r;

    import_with(&r, m_one_node(17, m_node("Relu", "x", "y")), &o);
    CHECK(cab_dim_is(r.g->inputs.p[0]->type.dims[0], 2));
    end(&r);
    o = (cab_import_options){ .n_inputs = 1, .inputs = &in };
    import_with(&r, m_one_node(17, m_node("Relu", "x", "y")), &o);
    CHECK_EQ(r.g->inputs.p[0]->type.dims[0]->kind, CAB_DIM_SYM);
    CHECK(r.g->inputs.p[0]->hint && r.g->inputs.p[0]->hint->data == data);
    end(&r);
    o.static_shapes = true;
    import_with(&r, m_one_node(17, m_node("Relu", "x", "y")), &o);
    CHECK(cab_dim_is(r.g->inputs.p[0]->type.dims[0], 3));
    end(&r);
    in.dims = wrong;
    import_with(&r, m_one_node(17, m_node("Relu", "x", "y")), &o);
    CHECK_EQ(r.status, CAB_EINPUT);
    end(&r);
    in = (cab_import_input){ NULL, CAB_DT_f64, 2, dims, NULL, 0, false };
    import_with(&r, m_one_node(17, m_node("Relu", "x", "y")), &o);
    CHECK_EQ(r.status, CAB_EINPUT);
    end(&r);
}

static wire no_shape_model(void)
{
    wire g = { 0 };

    w_sub(&g, 1, m_node("Relu", "x", "y"));
    w_sub(&g, 11, m_value("x", -1, NULL));
    w_sub(&g, 12, m_value("y", -1, NULL));
    return m_model(17, g);
}

static void check_unknown_rank(void)
{
    const int64_t dims[2] = { 3, 4 };
    cab_import_input in = { NULL, CAB_DT_f32, 2, dims, NULL, 0, false };
    cab_import_options o = { .n_inputs = 1, .inputs = &in };
    run r;

    refused(no_shape_model(), CAB_EUNSUPPORTED, "without a shape");
    import_with(&r, no_shape_model(), &o);
    CHECK_EQ(r.status, CAB_OK);
    CHECK_EQ(r.g->inputs.p[0]->type.rank, 2);
    CHECK_EQ(r.g->inputs.p[0]->type.dims[1]->kind, CAB_DIM_SYM);
    end(&r);
}

int main(void)
{
    check_simple();
    check_newer_versions();
    check_payloads();
    check_dims_overflow();
    check_strings();
    check_sparse();
    check_constants();
    check_names();
    check_schema();
    check_all_unknown();
    check_subgraph();
    check_functions();
    check_upgrade_inputs();
    check_upgrade_forms();
    check_upgrade_rows();
    check_options();
    check_unknown_rank();
    TEST_END();
}
