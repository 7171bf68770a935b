/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_dynamic.c - what it costs that one artifact serves every size.
 *
 *   bench_dynamic MODEL [FLAGS] SIZE...        SIZE: NAME=N[,NAME=N]..., extents as the artifact names them
 *     (no mode)       each size: the symbolic artifact beside a compilation for that size alone
 *     --curve         each size: the symbolic artifact alone, all sizes in turn in every round
 *     --kernels       each size: as without a mode, per node of the model, largest loss first
 *     --against CAB   not the compilation for that size: that artifact (of another build)
 *     --rounds N      rounds (default 15)
 *     --opens N       both sides are made anew so many times in the rounds (default 3): pages that
 *                     happen to lie well in the caches are worth 10 % and more at small sizes
 *     --below NAME=N  that input of integers: random, below N (else all 1)
 *     --count NAME    that input of integers: 0, 1, 2, ... along its last axis
 *
 * One line per size: "SIZE symbolic_us static_us ratio error" (error: largest
 * difference relative to the largest value), or "SIZE us".  One thread; times
 * are processor time of that thread, so that neighbours on a busy machine
 * disturb little.  A round calls each side for a few milliseconds, takes the
 * best of each, and the next round starts with the other; shown are medians.
 * dynamic.py knows models and sizes; this knows none.
 */
#include "include/cab.h"
#include "libcab/libcab.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_IO = 256, MAX_DIMS = 16, MAX_ROUNDS = 501, MAX_SIZES = 512 };
#define ROUND_US 4000.0

typedef struct size {
    const char *text;
    int n;
    struct { const char *name; int64_t value; } dims[MAX_DIMS];
} size;

typedef struct side {
    cab_model *model;
    cab_session *session;
    cab_tensor_view out[MAX_IO];
} side;

static struct { const char *name; int64_t below; } fills[MAX_IO];   /* below 0: count */
static int n_fills, rounds = 15, opens = 3;
static const char *against;

static void die(const char *what, const char *text)
{
    fprintf(stderr, "bench_dynamic: %s: %s\n", what, text);
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n ? (v[(n - 1) / 2] + v[n / 2]) / 2 : 0;
}

/* ---- sizes and inputs ---- */

static size parse_size(char *text)
{
    size s = { .text = strdup(text) };

    for (char *p = strtok(text, ","); p && s.n < MAX_DIMS; p = strtok(NULL, ",")) {
        char *eq = strrchr(p, '=');
        if (!eq)
            die(s.text, "a size is NAME=N,NAME=N");
        *eq = 0;
        s.dims[s.n].name = strdup(p);
        s.dims[s.n].value = strtoll(eq + 1, NULL, 10);
        s.n++;
    }
    return s;
}

static int64_t extent(const size *s, const cab_tensor_info *t, int axis)
{
    if (t->dims[axis] >= 0)
        return t->dims[axis];
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->dims[i].name, t->dim_names[axis]))
            return s->dims[i].value;
    die(t->dim_names[axis], "the size does not say this extent");
    return 0;
}

static uint64_t next_random(void)
{
    static uint64_t x = 20261127;

    x = x * 6364136223846793005u + 1442695040888963407u;
    return x >> 33;
}

static int64_t whole_value(const char *name, int64_t i, int64_t last)
{
    for (int f = 0; f < n_fills; f++)
        if (!strcmp(fills[f].name, name))
            return fills[f].below ? (int64_t)(next_random() % (uint64_t)fills[f].below) : i % last;
    return 1;
}

static void fill(const char *name, cab_tensor_view *t)
{
    int64_t n = 1, last = t->rank ? t->dims[t->rank - 1] : 1;

    for (int k = 0; k < t->rank; k++)
        n *= t->dims[k];
    for (int64_t i = 0; i < n; i++) {
        if (t->dtype == CAB_TYPE_F32)
            ((float *)t->data)[i] = (float)((double)next_random() / 1073741824.0 - 1);
        else if (t->dtype == CAB_TYPE_I64)
            ((int64_t *)t->data)[i] = whole_value(name, i, last);
        else if (t->dtype == CAB_TYPE_I32)
            ((int32_t *)t->data)[i] = (int32_t)whole_value(name, i, last);
        else
            die(name, "an input of this type is not made up here");
    }
}

static cab_tensor_view *make_inputs(const cab_model *m, const size *s)
{
    int n = cab_model_input_count(m);
    cab_tensor_view *in = calloc((size_t)n + 1, sizeof *in);

    for (int i = 0; i < n; i++) {
        cab_tensor_info t;
        cab_model_input(m, i, &t);
        in[i] = (cab_tensor_view){ .dtype = t.dtype, .rank = t.rank };
        for (int k = 0; k < t.rank; k++)
            in[i].dims[k] = extent(s, &t, k);
        in[i].bytes = cab_tensor_bytes(t.dtype, t.rank, in[i].dims);
        in[i].data = aligned_alloc(64, (in[i].bytes + 64) / 64 * 64);
        fill(t.name, &in[i]);
    }
    return in;
}

static void drop_inputs(cab_tensor_view *in, int n)
{
    for (int i = 0; i < n; i++)
        free(in[i].data);
    free(in);
}

/* ---- the two sides ---- */

static void open_session(side *a, const char *path, int trace)
{
    cab_session_options so = { .size = sizeof so, .threads = 1, .trace = trace };
    cab_error e = { 0 };

    if (cab_session_create(a->model, &so, &a->session, &e))
        die(path, e.text);
}

static bool is_artifact(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".cab");
}

static void open_symbolic(side *a, const char *path, int trace)
{
    cab_compile_options o = { .size = sizeof o };
    cab_report *r = NULL;
    cab_error e;

    memset(a, 0, sizeof *a);
    if (is_artifact(path)) {
        if (cab_model_load(path, NULL, &a->model, &e))
            die(path, e.text);
        open_session(a, path, trace);
        return;
    }
    if (cab_jit_file(path, &o, NULL, &a->model, &r))
        die(path, cab_report_text(r));
    cab_report_destroy(r);
    open_session(a, path, trace);
}

/* Code for the extents of these inputs alone; unnamed ones too, which no
 * cab_dim_range reaches. */
static void open_fixed(side *a, const char *path, const cab_tensor_view *in, int n, int trace)
{
    static cab_import_input offers[MAX_IO];
    cab_compiler c = { .import = { .n_inputs = n, .inputs = offers, .static_shapes = true } };
    cab_diag d;

    memset(a, 0, sizeof *a);
    if (against) {
        cab_error e;
        if (cab_model_load(against, NULL, &a->model, &e))
            die(against, e.text);
        open_session(a, path, trace);
        return;
    }
    cab_diag_init(&d);
    for (int i = 0; i < n; i++)
        offers[i] = (cab_import_input){ .dtype = cab_dtype_from_onnx(in[i].dtype),
                                        .rank = in[i].rank, .dims = in[i].dims };
    if (cab_compiler_jit(&c, &(cab_source){ .path = path }, NULL, &a->model, NULL, &d))
        die(path, "the compilation for one size failed");
    cab_diag_fini(&d);
    open_session(a, path, trace);
}

static void close_side(side *a)
{
    cab_session_destroy(a->session);
    cab_model_destroy(a->model);
}

static double call(side *a, const cab_tensor_view *in)
{
    cab_error e = { 0 };
    double t = now_us();

    if (cab_session_run(a->session, in, a->out, &e))
        die("run", e.text);
    return now_us() - t;
}

/* The best of a few calls, ROUND_US of them but at least two. */
static double best_call(side *a, const cab_tensor_view *in)
{
    double best = call(a, in), sum = best;

    for (int n = 1; n < 2 || (sum < ROUND_US && n < 1000); n++) {
        double t = call(a, in);
        sum += t;
        best = t < best ? t : best;
    }
    return best;
}

static double value_at(const cab_tensor_view *t, size_t i)
{
    switch (t->dtype) {
    case CAB_TYPE_F32: return ((float *)t->data)[i];
    case CAB_TYPE_I64: return (double)((int64_t *)t->data)[i];
    default: return 0;
    }
}

/* Largest difference of the outputs, relative to the largest value of each. */
static double difference(const side *a, const side *b)
{
    double worst = 0;

    for (int i = 0; i < cab_model_output_count(a->model); i++) {
        const cab_tensor_view *x = &a->out[i], *y = &b->out[i];
        double diff = 0, most = 1e-9;
        size_t n = x->bytes / (x->dtype == CAB_TYPE_I64 ? 8 : 4);
        if (x->dtype != y->dtype || x->rank != y->rank ||
            memcmp(x->dims, y->dims, sizeof *x->dims * (size_t)x->rank))
            return INFINITY;
        for (size_t k = 0; k < n; k++) {
            diff = fmax(diff, fabs(value_at(x, k) - value_at(y, k)));
            most = fmax(most, fabs(value_at(x, k)));
        }
        worst = fmax(worst, diff / most);
    }
    return worst;
}

/* ---- modes ---- */

static void compare(const char *path, const size *s)
{
    static double us[2][MAX_ROUNDS];
    side sym, fixed;
    cab_tensor_view *in = NULL;
    double diff = 0, m[2];

    for (int r = 0; r < rounds; r++) {
        if (r * opens / rounds != (r - 1) * opens / rounds || !r) {
            if (r) {
                close_side(&sym);
                close_side(&fixed);
            }
            open_symbolic(&sym, path, 0);
            in = in ? in : make_inputs(sym.model, s);
            open_fixed(&fixed, path, in, cab_model_input_count(sym.model), 0);
            call(&sym, in);
            call(&fixed, in);
            diff = fmax(diff, difference(&sym, &fixed));
        }
        for (int i = 0; i < 2; i++) {
            int which = (r + i) % 2;
            us[which][r] = best_call(which ? &fixed : &sym, in);
        }
    }
    m[0] = median(us[0], rounds);
    m[1] = median(us[1], rounds);
    printf("%s %.1f %.1f %.3f %.1e\n", s->text, m[0], m[1], m[0] / m[1], diff);
    drop_inputs(in, cab_model_input_count(sym.model));
    close_side(&sym);
    close_side(&fixed);
}

static void curve(const char *path, const size *s, int n)
{
    side sym;
    static double us[MAX_SIZES][MAX_ROUNDS];
    cab_tensor_view *in[MAX_SIZES];

    open_symbolic(&sym, path, 0);
    for (int i = 0; i < n; i++)
        in[i] = make_inputs(sym.model, &s[i]);
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < n; i++) {
            call(&sym, in[i]);  /* the session turns to this size */
            us[i][r] = best_call(&sym, in[i]);
        }
    for (int i = 0; i < n; i++) {
        printf("%s %.1f\n", s[i].text, median(us[i], rounds));
        drop_inputs(in[i], cab_model_input_count(sym.model));
    }
    close_side(&sym);
}

/* ---- per node ---- */

typedef struct part { const char *layers, *what, *name; double us[2]; int n[2]; } part;

static part *part_of(part *p, int *n, const cab_trace_event *t)
{
    const char *layers = t->layers && *t->layers ? t->layers : t->kind;

    for (int i = 0; i < *n; i++)
        if (!strcmp(p[i].layers, layers))
            return &p[i];
    p[*n] = (part){ strdup(layers), strdup(t->what ? t->what : ""), strdup(t->name), { 0 }, { 0 } };
    return &p[(*n)++];
}

static int more_lost(const void *a, const void *b)
{
    const part *x = a, *y = b;
    double dx = x->us[0] - x->us[1], dy = y->us[0] - y->us[1];
    return (dx < dy) - (dx > dy);
}

/* Fastest of the rounds for every launch, summed by node. */
static int add_launches(side *a, const cab_tensor_view *in, int which, part *p, int n)
{
    const cab_trace_event *t;
    size_t count;
    double *best;

    call(a, in);
    cab_session_trace(a->session, &t, &count);
    best = malloc((count + 1) * sizeof *best);
    for (size_t i = 0; i < count; i++)
        best[i] = INFINITY;
    for (int r = 0; r < rounds; r++) {
        call(a, in);
        cab_session_trace(a->session, &t, &count);
        for (size_t i = 0; i < count; i++)
            best[i] = fmin(best[i], (double)t[i].ns / 1e3);
    }
    for (size_t i = 0; i < count; i++) {
        part *q = part_of(p, &n, &t[i]);
        q->us[which] += best[i];
        q->n[which]++;
    }
    free(best);
    return n;
}

static void kernels(const char *path, const size *s)
{
    side sym;
    part *p = calloc(65536, sizeof *p);
    cab_tensor_view *in;
    side fixed;
    double sum[2] = { 0 };
    int n;

    open_symbolic(&sym, path, 1);
    in = make_inputs(sym.model, s);
    open_fixed(&fixed, path, in, cab_model_input_count(sym.model), 1);
    n = add_launches(&sym, in, 0, p, 0);
    n = add_launches(&fixed, in, 1, p, n);
    qsort(p, (size_t)n, sizeof *p, more_lost);
    for (int i = 0; i < n; i++) {
        sum[0] += p[i].us[0];
        sum[1] += p[i].us[1];
        printf("%9.1f %9.1f %+8.1f  %dx/%dx %-24s %-40.40s %.80s\n", p[i].us[0], p[i].us[1],
               p[i].us[0] - p[i].us[1], p[i].n[0], p[i].n[1], p[i].name, p[i].what, p[i].layers);
    }
    printf("%9.1f %9.1f together, %s\n", sum[0], sum[1], s->text);
    drop_inputs(in, cab_model_input_count(sym.model));
    close_side(&sym);
    close_side(&fixed);
    free(p);
}

static void fill_flag(char *text, bool count)
{
    char *eq = count ? NULL : strrchr(text, '=');

    if (n_fills == MAX_IO || (!count && !eq))
        die(text, "--below NAME=N, --count NAME");
    if (eq)
        *eq = 0;
    fills[n_fills].name = text;
    fills[n_fills++].below = eq ? strtoll(eq + 1, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    static size sizes[MAX_SIZES];
    const char *path = NULL, *mode = "";
    int n = 0;

    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--rounds") && more)
            rounds = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--opens") && more)
            opens = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--against") && more)
            against = argv[++i];
        else if (!strcmp(argv[i], "--below") && more)
            fill_flag(argv[++i], false);
        else if (!strcmp(argv[i], "--count") && more)
            fill_flag(argv[++i], true);
        else if (argv[i][0] == '-')
            mode = argv[i];
        else if (!path)
            path = argv[i];
        else if (n < MAX_SIZES)
            sizes[n++] = parse_size(argv[i]);
    }
    if (!path || !n || rounds < 1 || rounds > MAX_ROUNDS || opens < 1 || opens > rounds)
        die("usage", "bench_dynamic MODEL [FLAGS] SIZE...");
    if (!strcmp(mode, "--curve"))
        curve(path, sizes, n);
    for (int i = 0; i < n && strcmp(mode, "--curve"); i++) {
        if (!strcmp(mode, "--kernels"))
            kernels(path, &sizes[i]);
        else
            compare(path, &sizes[i]);
        fflush(stdout);
    }
    return 0;
}
