/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_custom.c - operators of the host program, from the model file to the
 * call of their kernels; and operators defined by a file of functions.
 *
 *   test_custom --write DIR     writes swirl.onnx, twice.onnx and functions.onnx
 */
#include <math.h>
#include <unistd.h>
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "runtime/runtime.h"
#include "tests/test.h"
#include "tests/wire.h"
#include "tools/tool.h"

const cab_custom_op *cab_custom_ops(size_t *n);
const cab_custom_shape *cab_custom_shapes(size_t *n);

/* ---- models ---- */
static wire acme(const char *op, const char *in, const char *out, const char *name)
{
    wire n = m_node(op, in, out);
    w_str(&n, 3, name);
    w_str(&n, 7, "acme");
    return n;
}

static wire floats_attr(const char *name, float a, float b)
{
    wire w = m_attr_head(name, 6);
    w_float(&w, 7, a);
    w_float(&w, 7, b);
    return w;
}

static wire floats_tensor(const char *name, const float *v, int64_t n)
{
    wire t = m_tensor(name, 1, 1, &n);
    w_blob(&t, 9, v, 4 * (size_t)n);
    return t;
}

static wire model_of(wire graph)
{
    wire m = m_model(17, graph);
    w_sub(&m, 8, m_opset("acme", 1));
    return m;
}

/* x [N, 4] -> Relu -> Swirl(h, _, b) -> y + x -> z;  |count| -> k */
static wire swirl_model(void)
{
    static const int64_t dims[2] = { -1, 4 }, taps[3] = { 1, -2, 5 };
    static const float b = 0.5f;
    wire g = { 0 }, n;
    w_sub(&g, 1, m_node("Relu", "x", "h"));
    n = acme("Swirl", "h,,b", "s,c", "swirl");
    w_sub(&n, 5, m_attr_int("turns", 1));
    w_sub(&n, 5, m_attr_ints("taps", taps, 3));
    w_sub(&n, 5, m_attr_float("gain", 2));
    w_sub(&n, 5, floats_attr("levels", 0.25f, 8));
    w_sub(&n, 5, m_attr_str("mode", "up"));
    w_sub(&g, 1, n);
    w_sub(&g, 1, m_node("Add", "s,x", "z"));
    w_sub(&g, 1, m_node("Abs", "c", "k"));
    w_str(&g, 2, "g");
    w_sub(&g, 5, floats_tensor("b", &b, 1));
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("z", -1, NULL));
    w_sub(&g, 12, m_value("k", -1, NULL));
    return model_of(g);
}

static wire one_op(wire node)
{
    wire m = m_one_node(17, node);
    w_sub(&m, 8, m_opset("acme", 1));
    return m;
}

/* x -> Twice(x), which the model does not define; a weight of its own first. */
static wire twice_model(void)
{
    static const int64_t dims[2] = { -1, 4 };
    static const float w[4] = { 1, 2, 3, 4 };
    wire g = { 0 };
    w_sub(&g, 1, m_node("Mul", "x,w", "h"));
    w_sub(&g, 1, acme("Twice", "h", "y", "call"));
    w_str(&g, 2, "g");
    w_sub(&g, 5, floats_tensor("v", w, 4));
    w_sub(&g, 5, floats_tensor("w", w, 4));
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    return model_of(g);
}

/* Twice(a) = a + a + tensor constant, in a file without a graph. */
static wire function_file(float constant)
{
    wire m = { 0 }, f = { 0 }, c = { 0 }, t = floats_tensor("", &constant, 1);
    w_str(&f, 1, "Twice");
    w_str(&f, 4, "a");
    w_str(&f, 5, "r");
    w_list(&c, 2, "k");
    w_str(&c, 4, "Constant");
    w_sub(&c, 5, m_attr_sub("value", 4, 5, t));
    w_sub(&f, 7, c);
    w_sub(&f, 7, m_node("Add", "a,a", "t"));
    w_sub(&f, 7, m_node("Add", "t,k", "r"));
    w_sub(&f, 9, m_opset("", 17));
    w_str(&f, 10, "acme");
    w_num(&m, 1, 8);
    w_sub(&m, 8, m_opset("", 17));
    w_sub(&m, 25, f);
    return m;
}

/* ---- compiling ---- */
typedef struct compiled {
    cab_job job;
    cab_arena *arena;
    cab_diag diag;
    cab_program *program;
    int fd;
    int status;
    char story[600];
} compiled;

static cab_status compile_graph(compiled *c, cab_graph *g, bool naive)
{
    cab_pass_options po = { .naive = naive, .verify = true };
    cab_codegen_options co = { .naive = naive, .target = "x86-64-v3", .model_name = "test" };
    uint64_t size;
    CAB_TRY(cab_graph_verify(g, &c->diag));
    if (g->level == CAB_LEVEL_ONNX)
        CAB_TRY(cab_passes_run(g, &po, &c->program, &c->diag));
    else
        CAB_TRY(cab_passes_run_list(g, naive ? "lower" : "fold,canon,cse,fuse,dce,layout,canon,dce,"
                                    "group,lower", &po, &c->program, &c->diag));
    return cab_codegen(c->arena, c->program, &co, &c->fd, &size, &c->diag);
}

typedef struct request { const wire *model, *library; const char *text; int n_shapes; bool naive; } request;

static cab_status compile_job(compiled *c, const request *q)
{
    cab_foreign_op ops[8] = { { 0 } };
    cab_import_functions lib = { 0 };
    size_t n;
    const cab_custom_shape *shapes = cab_custom_shapes(&n);
    cab_import_options o = { .n_foreign = q->n_shapes, .foreign = ops };
    cab_graph *g;
    for (size_t i = 0; i < n; i++)
        ops[i] = cab_foreign_of(&shapes[i]);
    if (q->library) {
        lib = (cab_import_functions){ q->library->p, q->library->n, "functions" };
        o.functions = &lib;
        o.n_functions = 1;
    }
    if (q->text)
        CAB_TRY(cab_graph_parse(c->arena, q->text, strlen(q->text), "text", &g, &c->diag));
    else
        CAB_TRY(cab_import_memory(c->arena, q->model->p, q->model->n, NULL, &o, &g, &c->diag));
    return compile_graph(c, g, q->naive);
}

static void compile(compiled *c, request q)
{
    memset(c, 0, sizeof *c);
    c->fd = -1;
    cab_diag_init(&c->diag);
    c->arena = cab_arena_create(&c->job);
    if (CAB_JOB_ENTER(&c->job) == 0)
        c->status = compile_job(c, &q);
    else
        c->status = CAB_ENOMEM;
    const cab_diag_entry *e = cab_diag_first(&c->diag);
    char *text = e ? cab_diag_format(e) : NULL;
    snprintf(c->story, sizeof c->story, "%s", text ? text : "");
    free(text);
}

static void done(compiled *c)
{
    if (c->fd >= 0)
        close(c->fd);
    cab_arena_destroy(c->arena);
    cab_diag_fini(&c->diag);
}

static int calls;

static cab_model_options with_ops(cab_custom_op *ops)
{
    size_t n;
    const cab_custom_op *list = cab_custom_ops(&n);
    memcpy(ops, list, n * sizeof *ops);
    ops[0].user = &calls;
    return (cab_model_options){ .size = sizeof(cab_model_options), .custom = ops, .n_custom = n };
}

/* ---- the whole way ---- */
static float swirled(const float *x, int64_t n, int64_t c)
{
    float v = x[n * 4 + (c + 1) % 4];
    return 2 * (v > 0 ? v : 0) + 4 + 8.25f + 1 + 0.5f + x[n * 4 + c];
}

static void run_swirl(cab_session *s, int64_t n)
{
    float x[8 * 4];
    for (int i = 0; i < n * 4; i++)
        x[i] = (float)((i * 7) % 11) - 5;
    cab_tensor_view in = { 1, 2, { n, 4 }, x, (size_t)n * 16 }, out[2] = { { 0 } };
    cab_error e = { 0 };
    CHECK_EQ(cab_session_run(s, &in, out, &e), CAB_RT_OK);
    CHECK_STR(e.text, "");
    if (!out[0].data || !out[1].data)
        return;
    CHECK(out[0].dims[0] == n && out[0].dims[1] == 4 && out[1].rank == 1 && out[1].dtype == 7);
    for (int64_t r = 0; r < n; r++) {
        int64_t count = 0;
        for (int64_t c = 0; c < 4; c++) {
            CHECK(fabsf(((float *)out[0].data)[r * 4 + c] - swirled(x, r, c)) < 1e-5f);
            count += x[r * 4 + c] > 0;
        }
        CHECK_EQ(((int64_t *)out[1].data)[r], count);
    }
}

static void check_trace(const cab_session *s)
{
    const cab_trace_event *t;
    size_t n;
    int found = 0;
    CHECK_EQ(cab_session_trace(s, &t, &n), CAB_RT_OK);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(t[i].kind, "custom")) {
            found++;
            CHECK_STR(t[i].name, "Swirl");
            CHECK_STR(t[i].layers, "swirl");
        }
    CHECK_EQ(found, 1);
}

static void check_loaded(cab_model *m)
{
    cab_session_options so = { .size = sizeof so, .threads = 2, .trace = 1 };
    cab_session *s = NULL;
    cab_error e = { 0 };
    calls = 0;
    CHECK_EQ(cab_session_create(m, &so, &s, &e), CAB_RT_OK);
    run_swirl(s, 3);
    run_swirl(s, 8);
    run_swirl(s, 0);
    uint64_t before = cab_session_allocations(s);
    run_swirl(s, 3);
    CHECK_EQ(cab_session_allocations(s), before);
    CHECK_EQ(calls, 4);
    check_trace(s);
    cab_session_destroy(s);
}

/* The artifact outlives the compiler: as a file, loaded by its path. */
static void check_file(const compiled *c, const cab_model_options *mo)
{
    char path[] = "/tmp/test_custom_XXXXXX";
    int fd = mkstemp(path);
    cab_mapping map;
    cab_model *m = NULL;
    cab_error e = { 0 };
    CHECK(fd >= 0);
    CHECK_EQ(cab_fd_map(c->fd, "artifact", &map, NULL), CAB_OK);
    CHECK_EQ(cab_fd_write_at(fd, 0, map.p, map.n, NULL), CAB_OK);
    cab_file_unmap(&map);
    CHECK_EQ(cab_model_load(path, mo, &m, &e), CAB_RT_OK);
    close(fd);
    unlink(path);
    if (m)
        check_loaded(m);
    cab_model_destroy(m);
}

static void check_refused_load(const compiled *c)
{
    cab_custom_op ops[8];
    cab_model_options mo = with_ops(ops);
    cab_model *m = NULL;
    cab_error e = { 0 };
    CHECK_EQ(cab_model_load_fd(c->fd, "test", NULL, &m, &e), CAB_RT_EUNSUPPORTED);
    CHECK_STR(e.text, "the artifact needs the custom operator acme::Swirl: register it in "
                      "cab_model_options.custom");
    CHECK(!m);
    ops[0].domain = "acme2";
    CHECK_EQ(cab_model_load_fd(c->fd, "test", &mo, &m, &e), CAB_RT_EUNSUPPORTED);
    ops[0].domain = "acme";
    mo.size = 8;                       /* a program from before there were any */
    CHECK_EQ(cab_model_load_fd(c->fd, "test", &mo, &m, &e), CAB_RT_EUNSUPPORTED);
}

/* print(parse(t)) == t, and the evaluator has no reference. */
static void check_program_text(compiled *c)
{
    cab_buf first = cab_buf_on(c->arena), second = cab_buf_on(c->arena);
    cab_program *p = NULL;
    cab_tensor none[4] = { { 0 } };
    cab_program_print(&first, c->program);
    const char *text = cab_buf_cstr(&first);
    CHECK(strstr(text, "custom \"acme\" \"Swirl\" (") != NULL);
    CHECK(strstr(text, ", -, ") != NULL);
    CHECK_EQ(cab_program_parse(c->arena, text, first.n, "text", &p, &c->diag), CAB_OK);
    if (p)
        cab_program_print(&second, p);
    CHECK_STR(cab_buf_cstr(&second), text);
    float x[4] = { 0 };
    none[0] = (cab_tensor){ CAB_DT_f32, 2, { 1, 4 }, x };
    if (p)
        CHECK_EQ(cab_program_eval(c->arena, p, none, none + 1, &c->diag), CAB_EUNSUPPORTED);
}

static void check_swirl(bool naive)
{
    wire model = swirl_model();
    cab_custom_op ops[8];
    cab_model_options mo = with_ops(ops);
    cab_model *m = NULL;
    cab_error e = { 0 };
    compiled c;
    compile(&c, (request){ .model = &model, .n_shapes = 3, .naive = naive });
    CHECK_EQ(c.status, CAB_OK);
    CHECK_STR(c.story, "");
    if (c.status == CAB_OK) {
        CHECK_EQ(cab_model_load_fd(c.fd, "test", &mo, &m, &e), CAB_RT_OK);
        if (m)
            check_loaded(m);
        cab_model_destroy(m);
        check_file(&c, &mo);
        check_refused_load(&c);
        check_program_text(&c);
    }
    done(&c);
    w_free(&model);
}

/* ---- refusals ---- */
static void refused(wire model, int n_shapes, int status, const char *story)
{
    compiled c;
    compile(&c, (request){ .model = &model, .n_shapes = n_shapes });
    CHECK_EQ(c.status, status);
    CHECK(strstr(c.story, story) != NULL);
    if (!strstr(c.story, story))
        fprintf(stderr, "    wanted '%s', got '%s'\n", story, c.story);
    done(&c);
    w_free(&model);
}

static wire bad_node(int how)
{
    wire n = acme("Bad", "x", "y", "strange");
    w_sub(&n, 5, m_attr_int("how", how));
    return one_op(n);
}

static void check_refusals(void)
{
    static const int64_t one = 1;
    static const float f = 1;
    wire n;
    refused(one_op(acme("Swirl", "x", "y", "s")), 0, CAB_EUNSUPPORTED,
            "operator 'Swirl' of domain 'acme' is not known");
    refused(bad_node(1), 3, CAB_EINVAL, "node 'strange' (acme::Bad, opset 1): the shape function "
            "of the custom operator gives result 0 the rank 9");
    refused(bad_node(2), 3, CAB_EINVAL, "says -4 for extent 1 of result 0");
    refused(bad_node(3), 3, CAB_EINVAL, "the element type number 99");
    refused(bad_node(4), 3, CAB_EINVAL, "axis 2 of input 0, which is not there");
    refused(bad_node(5), 3, CAB_EINVAL, "axis 0 of input 7, which is not there");
    refused(bad_node(6), 3, CAB_EUNSUPPORTED, "node 'strange' (acme::Bad, opset 1): not on Fridays");
    refused(bad_node(7), 3, CAB_EINVAL, "refuses these operands");
    refused(bad_node(8), 3, CAB_EUNSUPPORTED, "result 0 has element type str");
    refused(bad_node(9), 3, CAB_EINVAL, "the rank -1");
    refused(one_op(acme("Swirl", "x", "y", "s")), 3, CAB_EMODEL, "Swirl wants a matrix and a gain");
    n = acme("Bad", "x", "y", "strange");
    w_sub(&n, 5, m_attr_sub("w", 4, 5, floats_tensor("", &f, one)));
    refused(one_op(n), 3, CAB_EUNSUPPORTED, "attribute 'w': a custom operator takes integers");
    refused(one_op(acme("Bad", "x", "y", "strange")), 4, CAB_EINVAL, "custom operator 3 has no name");
}

static void check_failing(void)
{
    wire model = one_op(acme("Fail", "x", "y", "unlucky"));
    cab_custom_op ops[8];
    cab_model_options mo = with_ops(ops);
    cab_model *m = NULL;
    cab_session *s = NULL;
    cab_error e = { 0 };
    float x[4] = { 0 };
    cab_tensor_view in = { 1, 2, { 1, 4 }, x, 16 }, out = { 0 };
    compiled c;
    compile(&c, (request){ .model = &model, .n_shapes = 3 });
    CHECK_EQ(c.status, CAB_OK);
    CHECK_EQ(cab_model_load_fd(c.fd, "test", &mo, &m, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_run(s, &in, &out, &e), CAB_RT_ELIMIT);
    CHECK_STR(e.text, "node 'unlucky' (acme::Fail): no luck with 1 inputs");
    CHECK_EQ(cab_session_run(s, &in, &out, NULL), CAB_RT_ELIMIT);
    cab_session_destroy(s);
    cab_model_destroy(m);
    done(&c);
    w_free(&model);
}

/* ---- among convolutions: physical orders end at a kernel of the host ---- */
static const char convolutions[] =
    "graph @g(%x: f32[1,2,5,5], %w: f32[3,2,3,3], %v: f32[2,3,3,3]) -> (%y, %k) core {\n"
    "  %a = conv %x, %w {strides = [1, 1], pads_lo = [1, 1], pads_hi = [1, 1], dilations = [1, 1]}\n"
    "  %b = reshape %a {dims = [15, 5]}\n"
    "  %c, %k = custom %b {domain = \"acme\", name = \"Swirl\", dtypes = [\"f32\", \"i64\"], "
    "ranks = [2, 1], dims = [15, 5, 15], float_names = [\"gain\"], float_counts = [1], "
    "floats = [1]}\n"
    "  %d = reshape %c {dims = [1, 3, 5, 5]}\n"
    "  %y = conv %d, %v {strides = [1, 1], pads_lo = [1, 1], pads_hi = [1, 1], dilations = [1, 1]}\n"
    "}\n";

static void run_convolutions(bool naive, float *y, int64_t *k)
{
    cab_custom_op ops[8];
    cab_model_options mo = with_ops(ops);
    cab_model *m = NULL;
    cab_session *s = NULL;
    cab_error e = { 0 };
    float x[54];
    compiled c;
    for (int i = 0; i < 54; i++)
        x[i] = (float)(i * 5 % 7) - 3;
    cab_tensor_view in[3] = { { 1, 4, { 1, 2, 5, 5 }, x, 200 }, { 1, 4, { 3, 2, 3, 3 }, x, 216 },
                              { 1, 4, { 2, 3, 3, 3 }, x, 216 } };
    cab_tensor_view out[2] = { { .data = y, .bytes = 200 }, { .data = k, .bytes = 120 } };
    compile(&c, (request){ .text = convolutions, .naive = naive });
    CHECK_EQ(c.status, CAB_OK);
    CHECK_STR(c.story, "");
    CHECK_EQ(cab_model_load_fd(c.fd, "test", &mo, &m, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_run(s, in, out, &e), CAB_RT_OK);
    cab_session_destroy(s);
    cab_model_destroy(m);
    done(&c);
}

static void check_convolutions(void)
{
    float y[2][50];
    int64_t k[2][15];
    run_convolutions(false, y[0], k[0]);
    run_convolutions(true, y[1], k[1]);
    for (int i = 0; i < 50; i++)
        CHECK(fabsf(y[0][i] - y[1][i]) < 1e-3f);
    for (int i = 0; i < 15; i++)
        CHECK_EQ(k[0][i], k[1][i]);
}

/* Constant operands stay a call; equal calls are one; unused ones are none. */
static void check_passes(void)
{
    static const char text[] =
        "graph @g(%x: f32[N]) -> (%y) core {\n"
        "  %w = const f32[2] [1, 2]\n"
        "  %a = custom %w {domain = \"acme\", name = \"A\", dtypes = [\"f32\"], ranks = [0]}\n"
        "  %b = custom %w {domain = \"acme\", name = \"A\", dtypes = [\"f32\"], ranks = [0]}\n"
        "  %c = custom %w {domain = \"acme\", name = \"C\", dtypes = [\"f32\"], ranks = [0]}\n"
        "  %d = add %a, %b\n"
        "  %y = add %d, %x\n"
        "}\n";
    compiled c;
    int n = 0;
    compile(&c, (request){ .text = text });
    CHECK_EQ(c.status, CAB_OK);
    for (size_t i = 0; c.program && i < c.program->steps.n; i++)
        n += c.program->steps.p[i].kind == CAB_STEP_CUSTOM;
    CHECK_EQ(n, 1);
    done(&c);
}

/* ---- files of functions ---- */
static void check_functions(void)
{
    wire model = twice_model(), lib = function_file(0.5f), broken = function_file(1);
    cab_model *m = NULL;
    cab_session *s = NULL;
    cab_error e = { 0 };
    float x[4] = { 1, 1, 1, 1 };
    cab_tensor_view in = { 1, 2, { 1, 4 }, x, 16 }, out = { 0 };
    compiled c;
    compile(&c, (request){ .model = &model });
    CHECK_EQ(c.status, CAB_EUNSUPPORTED);
    done(&c);
    compile(&c, (request){ .model = &model, .library = &lib });
    CHECK_EQ(c.status, CAB_OK);
    CHECK_STR(c.story, "");
    CHECK_EQ(cab_model_load_fd(c.fd, "test", NULL, &m, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_run(s, &in, &out, &e), CAB_RT_OK);
    for (int i = 0; out.data && i < 4; i++)
        CHECK(((float *)out.data)[i] == 2 * (float)(i + 1) + 0.5f);
    cab_session_destroy(s);
    cab_model_destroy(m);
    done(&c);
    cab_function_file files = { lib.p, lib.n, NULL };
    cab_compile_options o = CAB_INIT(cab_compile_options);
    o.functions = &files;
    o.n_functions = 1;
    for (o.isolate = 0; o.isolate < 2; o.isolate++) {
        CHECK_EQ(cab_jit_memory(model.p, model.n, NULL, &o, NULL, &m, NULL), CAB_RT_OK);
        cab_model_destroy(m);
    }
    broken.n -= 3;
    compile(&c, (request){ .model = &model, .library = &broken });
    CHECK_EQ(c.status, CAB_EMODEL);
    CHECK(strstr(c.story, "functions") != NULL);
    done(&c);
    w_free(&model);
    w_free(&lib);
    w_free(&broken);
}

/* ---- files for the commands ---- */
static int write_model(const char *dir, const char *name, wire w)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cab_status s = cab_file_write(path, w.p, w.n, NULL);
    w_free(&w);
    return s != CAB_OK;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--write"))
        return write_model(argv[2], "swirl.onnx", swirl_model()) ||
               write_model(argv[2], "twice.onnx", twice_model()) ||
               write_model(argv[2], "functions.onnx", function_file(0.5f));
    check_swirl(false);
    check_swirl(true);
    check_refusals();
    check_failing();
    check_convolutions();
    check_passes();
    check_functions();
    TEST_END();
}
