/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_run.c - one case three ways: reference evaluator, naive program,
 * optimised program; and whether what comes out is the same.
 *
 * Values no rounding has touched must be equal.  For the others the graph
 * itself says how far two right answers may be apart: the reference runs
 * again a few times, every rounded value disturbed by an ulp or two (sums by
 * an ulp of their largest term) and denormal ones made 0; the spread of the
 * results is the measure.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "codegen/codegen.h"
#include "runtime/runtime.h"
#include "tests/fuzz/graph.h"

enum { N_DISTURBED = 5, CHILD_LIMIT_S = 20 };

/* ---- what the seed decides ---- */
int64_t graph_symbol(uint64_t seed, const char *name)
{
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 7, 9, 17 };
    cab_rng r;
    cab_rng_seed(&r, seed ^ fuzz_hash(name, strlen(name)));
    return sizes[cab_rng_i64(&r, 0, 7)];
}

static bool symbol_of(void *arg, const char *sym, int64_t *out)
{
    *out = graph_symbol(*(const uint64_t *)arg, sym);
    return true;
}

int64_t graph_extent(uint64_t seed, const cab_dim *x)
{
    int64_t v;
    return cab_dim_eval(x, symbol_of, &seed, &v) ? v : -1;
}

/* Moderate numbers, small integers with ties and zeros, or (style 0) numbers
 * with infinities and NaNs among them. */
static double float_element(cab_rng *r, int style)
{
    static const double odd[] = { 0, INFINITY, -INFINITY, NAN, 65504, 1e-8, -3e4 };
    if (style >= 5)
        return (double)cab_rng_i64(r, -4, 4);
    if (style == 0 && cab_rng_i64(r, 0, 9) == 0)
        return odd[cab_rng_i64(r, 0, sizeof odd / sizeof *odd - 1)];
    return cab_rng_f64(r, -2, 2);
}

static int64_t int_element(cab_rng *r, int style, int64_t top)
{
    if (top > 0)
        return cab_rng_i64(r, -top, top - 1);
    if (style == 0)
        return (int64_t)cab_rng_u64(r);
    return cab_rng_i64(r, -9, 9);
}

void graph_fill(cab_tensor *t, uint64_t seed, const char *name, int64_t top, bool wild)
{
    cab_rng r;
    cab_rng_seed(&r, seed ^ fuzz_hash(name, strlen(name)) ^ 77);
    if (!strncmp(name, "size", 4) && t->dtype == CAB_DT_i64)   /* of the symbol of that name */
        top = graph_symbol(seed, name);
    int style = (int)cab_rng_i64(&r, wild ? 0 : 1, 7), bits = cab_dtype_bits(t->dtype);
    int64_t n = cab_tensor_numel(t);
    for (int64_t i = 0; i < n; i++) {
        int64_t v = strncmp(name, "size", 4) ? int_element(&r, style, top) : top;
        double x = float_element(&r, style);
        float f = (float)x;
        uint16_t h = t->dtype == CAB_DT_f16 ? cab_f32_to_f16(f) : cab_f32_to_bf16(f);
        uint8_t b = v & 1;
        const void *from = t->dtype == CAB_DT_f64 ? (const void *)&x
                         : t->dtype == CAB_DT_f32 ? (const void *)&f
                         : t->dtype == CAB_DT_bool ? (const void *)&b
                         : cab_dtype_is_float(t->dtype) ? (const void *)&h : (const void *)&v;
        memcpy((char *)t->data + i * (bits / 8), from, (size_t)bits / 8);
    }
}

/* Padding times infinity is a NaN in some right answers and absent in others;
 * the index in a window of nothing but -inf may name the padding. */
static bool has_padding(const cab_graph *g)
{
    for (const cab_node *n = g->first; n; n = n->next)
        if (n->op->traits & (CAB_T_CONTRACT | CAB_T_WINDOW) && n->op->id != CAB_OP_dot)
            return true;
    return false;
}

/* An input that is an index stays inside what it indexes. */
static int64_t index_top(const cab_value *v, uint64_t seed)
{
    int64_t top = 0;
    for (const cab_use *u = v->uses; u; u = u->next)
        if (u->node && u->node->op->id == CAB_OP_gather && u->index == 1) {
            int64_t axis = cab_attr_int(u->node, "axis");
            int64_t e = graph_extent(seed, u->node->in[0]->type.dims[axis]);
            top = top == 0 || e < top ? e : top;
        }
    return top;
}

/* ---- rounding ---- */
static bool rounds(const cab_node *n)
{
    switch (n->op->id) {
    case CAB_OP_neg: case CAB_OP_abs: case CAB_OP_floor: case CAB_OP_ceil: case CAB_OP_rint:
    case CAB_OP_trunc: case CAB_OP_sign: case CAB_OP_min: case CAB_OP_max: case CAB_OP_select:
    case CAB_OP_cast: case CAB_OP_bitcast:
        return false;
    case CAB_OP_reduce:
        return cab_attr_str(n, "op")[0] == 's' || cab_attr_str(n, "op")[0] == 'p';
    case CAB_OP_window:
        return cab_attr_str(n, "op")[0] == 's';
    default:
        return n->op->traits & (CAB_T_ELTWISE | CAB_T_CONTRACT) || n->op->id == CAB_OP_scan;
    }
}

bool graph_noisy(const cab_node *n, const bool *noisy)
{
    bool is_float = n->n_out && cab_dtype_is_float(n->out[0]->type.dtype);
    bool in = n->op->id == CAB_OP_if || n->op->id == CAB_OP_loop;  /* their bodies may round */
    for (int i = 0; i < n->n_in; i++)
        in = in || (n->in[i] && noisy[n->in[i]->id % GRAPH_MAX_IDS]);
    return in || (is_float && rounds(n));
}

static double epsilon(cab_dtype t)
{
    return t == CAB_DT_f64 ? 0x1p-52 : t == CAB_DT_f32 ? 0x1p-23 : t == CAB_DT_f16 ? 0x1p-10 : 0x1p-7;
}

/* Smallest steps of the type: below, results may be flushed or not. */
static double tiny(cab_dtype t)
{
    return t == CAB_DT_f64 ? 1e-300 : t == CAB_DT_f16 ? 0x1p-23 : 1e-37;
}

static void put(cab_dtype t, void *p, int64_t i, double v)
{
    float f = (float)v;
    uint16_t h = t == CAB_DT_f16 ? cab_f32_to_f16(f) : cab_f32_to_bf16(f);
    if (t == CAB_DT_f64)
        ((double *)p)[i] = v;
    else if (t == CAB_DT_f32)
        ((float *)p)[i] = f;
    else
        ((uint16_t *)p)[i] = h;
}

typedef struct disturb {
    cab_rng r;
    int round;
    double largest[GRAPH_MAX_IDS];     /* absolute value in a tensor */
    int64_t elems[GRAPH_MAX_IDS];
} disturb;

static void measure(disturb *s, const cab_value *v, const cab_tensor *t)
{
    double top = 0;
    int64_t n = cab_tensor_numel(t);
    for (int64_t i = 0; i < n && cab_dtype_is_float(t->dtype); i++) {
        double x = fabs(cab_elem_f64(t->dtype, t->data, (uint64_t)i));
        top = isfinite(x) && x > top ? x : top;
    }
    s->largest[v->id % GRAPH_MAX_IDS] = top;
    s->elems[v->id % GRAPH_MAX_IDS] = n;
}

/* Terms of one sum, or more. */
static double n_terms(const disturb *s, const cab_node *n, int64_t n_out)
{
    double out = n_out > 0 ? (double)n_out : 1, terms = 1, all = 1;
    if (n->op->id == CAB_OP_conv)
        return (double)s->elems[n->in[1]->id % GRAPH_MAX_IDS];
    for (int i = 0; i < n->n_in; i++) {
        double per = (double)s->elems[n->in[i]->id % GRAPH_MAX_IDS];
        all *= per;
        terms = per > terms ? per : terms;
    }
    if (n->op->id == CAB_OP_dot)           /* [b,m,k] and [b,k,n] to [b,m,n]: k sqrt(b) */
        return sqrt(all / out) + 1;
    return n->op->id == CAB_OP_scan ? terms : terms / out + 1;
}

/* What one term of a sum may weigh, times the root of their number. */
static double sum_scale(const disturb *s, const cab_node *n, int64_t n_out)
{
    double scale = 1;
    if (!(n->op->traits & (CAB_T_CONTRACT | CAB_T_REDUCE | CAB_T_WINDOW)) && n->op->id != CAB_OP_scan)
        return 0;
    for (int i = 0; i < n->n_in; i++)
        scale *= s->largest[n->in[i]->id % GRAPH_MAX_IDS];
    return scale * sqrt(n_terms(s, n, n_out) * 4);
}

/* Results that hold for no digit: sines of huge numbers (docs/math.md), and
 * products whose parts may overflow in one order and not in another. */
static bool unbounded(const disturb *s, const cab_node *n, int64_t n_out)
{
    double top = s->largest[n->in[0]->id % GRAPH_MAX_IDS];
    if (n->op->id == CAB_OP_sin || n->op->id == CAB_OP_cos || n->op->id == CAB_OP_tan)
        return top > 0x1p40;
    if ((n->op->id == CAB_OP_reduce || n->op->id == CAB_OP_scan) &&
        !strcmp(cab_attr_str(n, "op"), "prod"))
        return top > 1 && n_terms(s, n, n_out) * log2(top) > 127;
    return false;
}

static void disturb_value(void *arg, const cab_value *v, const cab_tensor *t)
{
    disturb *s = arg;
    double e = 2 * epsilon(t->dtype);
    if (cab_dtype_is_float(t->dtype) && v->def && rounds(v->def)) {
        int64_t n = cab_tensor_numel(t);
        double scale = sum_scale(s, v->def, n) * epsilon(t->dtype);
        bool wild = v->def->n_in && unbounded(s, v->def, n);
        for (int64_t i = 0; i < n; i++) {
            double x = cab_elem_f64(t->dtype, t->data, (uint64_t)i);
            if (wild)
                put(t->dtype, t->data, i, NAN);
            else if (fabs(x) < tiny(t->dtype))      /* of a sum: what was cancelled may remain */
                put(t->dtype, t->data, i, scale * (s->round == 0 ? 1 : s->round == 1 ? -1
                                                   : cab_rng_f64(&s->r, -1, 1)));
            else if (isfinite(x))
                put(t->dtype, t->data, i, x * (1 + cab_rng_f64(&s->r, -e, e)) +
                                              cab_rng_f64(&s->r, -scale, scale));
        }
    }
    measure(s, v, t);
}

/* ---- the case ---- */
typedef struct kase {
    const char *text;
    uint64_t seed;
    cab_graph *g;
    int n_in, n_out;
    cab_tensor in[GRAPH_MAX_IO], want[GRAPH_MAX_IO], other[N_DISTURBED][GRAPH_MAX_IO];
    bool noisy[GRAPH_MAX_IDS];
    disturb state;
    graph_verdict *v;
} kase;

static cab_status say(kase *k, graph_answer a, const char *fmt, ...)
{
    va_list ap;
    k->v->answer = a;
    va_start(ap, fmt);
    vsnprintf(k->v->text, sizeof k->v->text, fmt, ap);
    va_end(ap);
    return CAB_OK;
}

static const char *story(const cab_diag *d)
{
    const cab_diag_entry *e = cab_diag_first(d);
    return e ? e->text : "no story";
}

static cab_status make_inputs(kase *k)
{
    const cab_graph *g = k->g;
    bool wild = !has_padding(g);
    k->n_in = (int)g->inputs.n;
    k->n_out = (int)g->outputs.n;
    if (k->n_in > GRAPH_MAX_IO || k->n_out > GRAPH_MAX_IO || g->next_id > GRAPH_MAX_IDS)
        return CAB_ELIMIT;
    for (int i = 0; i < k->n_in; i++) {
        const cab_value *v = g->inputs.p[i];
        cab_tensor *t = &k->in[i];
        *t = (cab_tensor){ .dtype = v->type.dtype, .rank = v->type.rank };
        for (int a = 0; a < t->rank; a++)
            t->dims[a] = graph_extent(k->seed, v->type.dims[a]);
        if (!cab_tensor_alloc(g->arena, t))
            return CAB_ELIMIT;
        graph_fill(t, k->seed, v->name, index_top(v, k->seed), wild);
        measure(&k->state, v, t);
    }
    return CAB_OK;
}

static cab_status reference(kase *k, cab_diag *d)
{
    cab_arena *a = k->g->arena;
    for (const cab_node *n = k->g->first; n; n = n->next)
        for (int i = 0; i < n->n_out; i++)
            k->noisy[n->out[i]->id] = graph_noisy(n, k->noisy);
    CAB_TRY(cab_eval_graph(a, k->g, k->in, k->want, d));
    cab_rng_seed(&k->state.r, k->seed);
    for (int i = 0; i < N_DISTURBED; i++) {
        k->state.round = i;
        CAB_TRY(cab_eval_graph_trace(a, k->g, k->in, k->other[i], d, disturb_value, &k->state));
    }
    return CAB_OK;
}

/* ---- compiled ---- */
static cab_status compile(kase *k, bool naive, cab_program **p, int *fd, cab_diag *d)
{
    cab_pass_options po = { .naive = naive, .verify = true, .exact = k->seed % 4 == 0 };
    cab_codegen_options co = { .naive = naive };
    cab_graph *g;
    uint64_t size;
    CAB_TRY(cab_graph_parse(k->g->arena, k->text, strlen(k->text), "case", &g, d));
    CAB_TRY(fuzz_passes(g, &po, p, d));
    return cab_codegen(k->g->arena, *p, &co, fd, &size, d);
}

static int run(kase *k, int fd, cab_tensor *got, cab_session **session, cab_model **m, cab_error *e)
{
    cab_tensor_view in[GRAPH_MAX_IO], out[GRAPH_MAX_IO] = { { 0 } };
    cab_session_options so = { .size = sizeof so, .threads = 1 };
    int rc = cab_model_load_fd(fd, "case", NULL, m, e);
    if (rc == 0)
        rc = cab_session_create(*m, &so, session, e);
    for (int i = 0; i < k->n_in; i++) {
        const cab_tensor *t = &k->in[i];
        uint64_t bytes = 0;
        cab_dtype_bytes(t->dtype, (uint64_t)cab_tensor_numel(t), &bytes);
        in[i] = (cab_tensor_view){ cab_dtype_onnx(t->dtype), t->rank, { 0 }, t->data, bytes };
        memcpy(in[i].dims, t->dims, sizeof in[i].dims);
    }
    if (rc == 0)
        rc = cab_session_run(*session, in, out, e);
    for (int i = 0; i < k->n_out && rc == 0; i++) {
        got[i] = (cab_tensor){ cab_dtype_from_onnx(out[i].dtype), out[i].rank, { 0 }, out[i].data };
        memcpy(got[i].dims, out[i].dims, sizeof got[i].dims);
    }
    return rc;
}

/* ---- comparison ---- */
static double spread(const kase *k, int o, uint64_t i, double x, bool *wild)
{
    double most = 0;
    for (int r = 0; r < N_DISTURBED; r++) {
        double y = cab_elem_f64(k->other[r][o].dtype, k->other[r][o].data, i);
        *wild = *wild || !isfinite(y);
        most = fabs(y - x) > most ? fabs(y - x) : most;
    }
    return most;
}

static bool near(const kase *k, int o, uint64_t i, double x, double y)
{
    cab_dtype t = k->want[o].dtype;
    bool wild = !isfinite(x);
    if (x == y || (isnan(x) && isnan(y)))
        return true;
    if (!k->noisy[k->g->outputs.p[o]->id])
        return false;
    double far = spread(k, o, i, x, &wild);
    return wild || fabs(x - y) <= 4 * far + 4 * epsilon(t) * fabs(x) + tiny(t);
}

static bool same(kase *k, int o, const cab_tensor *y, const char *who)
{
    const cab_tensor *x = &k->want[o];
    if (x->dtype != y->dtype || x->rank != y->rank ||
        memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims)) {
        say(k, GRAPH_FAILS, "%s: output %d has another type", who, o);
        return false;
    }
    for (int64_t i = 0; i < cab_tensor_numel(x); i++) {
        uint64_t at = (uint64_t)i;
        bool is_float = cab_dtype_is_float(x->dtype);
        double a = cab_elem_f64(x->dtype, x->data, at), b = cab_elem_f64(y->dtype, y->data, at);
        bool wild = false;
        if (is_float ? near(k, o, at, a, b)
                     : cab_elem_i64(x->dtype, x->data, at) == cab_elem_i64(y->dtype, y->data, at))
            continue;
        say(k, GRAPH_FAILS, "%s: output %d, element %lld is %.9g, must be %.9g (%s, spread %.3g)",
            who, o, (long long)i, b, a, cab_dtype_name(x->dtype),
            is_float ? spread(k, o, at, a, &wild) : 0);
        return false;
    }
    return true;
}

/* Where the difference comes from: the passes or the code. */
static void blame(kase *k, const cab_program *p, cab_diag *d)
{
    cab_tensor got[GRAPH_MAX_IO];
    char text[sizeof k->v->text];
    bool right = cab_program_eval(k->g->arena, p, k->in, got, d) == CAB_OK;
    memcpy(text, k->v->text, sizeof text);
    for (int o = 0; o < k->n_out && right; o++)
        right = same(k, o, &got[o], "");
    say(k, GRAPH_FAILS, "%.500s; the program of Specs is %s", text,
        right ? "right: code generation" : "wrong: passes");
}

/* The reference of programs, which no code generation stands behind. */
static bool program_agrees(kase *k, const cab_program *p, cab_diag *d)
{
    cab_tensor got[GRAPH_MAX_IO];
    if (cab_program_eval(k->g->arena, p, k->in, got, d) != CAB_OK) {
        say(k, GRAPH_FAILS, "the program of Specs does not run: %s", story(d));
        return false;
    }
    for (int o = 0; o < k->n_out; o++)
        if (!same(k, o, &got[o], "the program of Specs"))
            return false;
    return true;
}

static cab_status compare_compiled(kase *k, bool naive, cab_diag *d)
{
    const char *who = naive ? "naive" : k->seed % 4 == 0 ? "optimised, exact" : "optimised";
    cab_tensor got[GRAPH_MAX_IO];
    cab_session *session = NULL;
    cab_program *p;
    cab_model *m = NULL;
    cab_error e = { 0 };
    bool ok = true;
    int fd = -1;
    cab_status s = compile(k, naive, &p, &fd, d);
    if (s == CAB_EUNSUPPORTED || s == CAB_ELIMIT)
        return say(k, GRAPH_UNSUPPORTED, "%s: %s", who, story(d));
    if (s != CAB_OK)
        return say(k, GRAPH_FAILS, "%s: does not compile: %s", who, story(d));
    if (k->seed % 4 == 1 && !program_agrees(k, p, d)) {
        close(fd);
        return CAB_OK;
    }
    int rc = run(k, fd, got, &session, &m, &e);
    if (rc != 0)
        say(k, GRAPH_FAILS, "%s: does not run: %s", who, e.text);
    for (int o = 0; o < k->n_out && rc == 0 && ok; o++)
        ok = same(k, o, &got[o], who);
    if (!ok)
        blame(k, p, d);
    cab_session_destroy(session);
    cab_model_destroy(m);
    close(fd);
    return CAB_OK;
}

static cab_status try_case(cab_arena *a, void *arg, cab_diag *d)
{
    kase *k = CAB_NEW(a, kase);
    const kase *given = arg;
    k->text = given->text;
    k->seed = given->seed;
    k->v = given->v;
    if (cab_graph_parse(a, k->text, strlen(k->text), "case", &k->g, d) != CAB_OK ||
        cab_graph_verify(k->g, d) != CAB_OK)
        return say(k, GRAPH_FAILS, "the text is refused: %s", story(d));
    if (make_inputs(k) != CAB_OK || reference(k, d) != CAB_OK)
        return say(k, GRAPH_SKIPPED, "%s", story(d));
    CAB_TRY(compare_compiled(k, true, d));
    if (k->v->answer == GRAPH_SAME)
        CAB_TRY(compare_compiled(k, false, d));
    return CAB_OK;
}

graph_verdict graph_try(const char *text, uint64_t seed)
{
    graph_verdict v = { GRAPH_SAME, "" };
    kase k = { .text = text, .seed = seed, .v = &v };
    if (fuzz_job(0, try_case, &k) == CAB_ELIMIT)
        v.answer = GRAPH_UNSUPPORTED;
    return v;
}

/* ---- in a child ---- */
static void child(const char *text, uint64_t seed, bool quiet, graph_verdict *v)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    if (quiet && !freopen("/dev/null", "w", stderr))
        _exit(1);
    alarm(CHILD_LIMIT_S);
    *v = graph_try(text, seed);
    _exit(0);
}

graph_verdict graph_try_apart(const char *text, uint64_t seed, bool quiet)
{
    graph_verdict *v = mmap(NULL, sizeof *v, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    graph_verdict out = { GRAPH_SKIPPED, "no child" };
    int status = 0;
    if (v == MAP_FAILED)
        return out;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        child(text, seed, quiet, v);
    if (pid > 0 && waitpid(pid, &status, 0) == pid) {
        out = *v;
        if (WIFSIGNALED(status) || WEXITSTATUS(status)) {
            out.answer = GRAPH_FAILS;
            snprintf(out.text, sizeof out.text, "%s %d", WIFSIGNALED(status) ? "signal" : "exit status",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
    }
    munmap(v, sizeof *v);
    return out;
}
