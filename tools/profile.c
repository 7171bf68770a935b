/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile.c - the time of every instruction of a run, beside what the
 * processor could do.
 *
 * Runs without trace and runs with it take turns, so many at a time as take some
 * milliseconds, the first of each turn not counted: it finds the caches full of
 * the other's tensors.  Times are means over the fastest quarter: on a machine
 * that does other work too, the rest measures that work.  What the thread
 * waited for a processor is taken off too, where the system tells: of a run
 * with trace, off the rows that took longer in it than in others.  What a trace
 * record costs is measured and taken off; what a run does beside instructions
 * is a row of its own, so the rows add up to a run.
 */
#include "tools/profile.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TURN_MS = 10, MEASURES = 6, NAIVE_RUNS = 3 };
/* One call of exp and its kin costs about as much as so many operations. */
static const double special_flops = 16;

typedef struct timing {
    bench *b;
    cab_session *traced;
    profile_plan plan;
    uint32_t width;            /* of a row of ns: instructions, what is none, between */
    int runs;
    double *plain, *wall;      /* ns per run, without and with trace */
    double *plain_lost, *wall_lost;    /* ns of them in which the thread waited for a processor */
    int waits;                 /* descriptor of what the system says of that, or -1 */
    double *ns;                /* runs x width */
    double *calls;             /* of the last run */
    double outside, inside;    /* ns of a record: beside the time it gives, and in it */
} timing;

/* ---- the clock ---- */
/* As the runtime records: two looks at the clock and a row of a table. */
static void measure_record(timing *t)
{
    enum { N = 2000 };
    static cab_trace_event rows[N];
    static double whole[N], in[N];
    for (int i = 0; i < N; i++) {
        int64_t t0 = cab_now_ns(), start = cab_now_ns();
        rows[i] = (cab_trace_event){ .kind = "launch", .name = "", .layers = "", .what = "",
                                     .start_ns = start - t0, .ns = cab_now_ns() - start };
        whole[i] = (double)(cab_now_ns() - t0);
        in[i] = (double)rows[i].ns;
    }
    t->inside = bench_median(in, N);
    /* The loop looks four times, a record twice. */
    t->outside = fmax(0, bench_median(whole, N) - 2 * t->inside);
}

/* ns that this thread was ready and did not run, so far. */
static double waited(const timing *t)
{
    char text[100] = { 0 };
    long long ran, waiting = 0;
    if (t->waits < 0 || pread(t->waits, text, sizeof text - 1, 0) <= 0 ||
        sscanf(text, "%lld %lld", &ran, &waiting) != 2)
        return 0;
    return (double)waiting;
}

/* ---- runs ---- */
static cab_status one_run(timing *t, cab_session *s, double *ns)
{
    cab_error e = { 0 };
    int64_t t0 = cab_now_ns();
    int rc = cab_session_run(s, t->b->in, t->b->out, &e);
    *ns = (double)(cab_now_ns() - t0);
    return rc == CAB_OK ? CAB_OK : cab_fail(&t->b->diag, (cab_status)rc, NULL, "%s", e.text);
}

static cab_status plain_runs(timing *t, int first, int last)
{
    double warm;
    CAB_TRY(one_run(t, t->b->session, &warm));
    for (int i = first; i < last; i++) {
        double before = waited(t);
        CAB_TRY(one_run(t, t->b->session, &t->plain[i]));
        t->plain_lost[i] = waited(t) - before;
    }
    return CAB_OK;
}

/* What the records do not cover, nor make, is the last column. */
static void take_trace(timing *t, int run)
{
    const cab_trace_event *e;
    size_t n;
    double *ns = t->ns + (size_t)run * t->width, sum = 0, records = 0;
    cab_session_trace(t->traced, &e, &n);
    profile_spread(&t->plan, e, n, ns, t->calls);
    for (uint32_t i = 0; i + 1 < t->width; i++) {
        sum += ns[i];
        records += t->calls[i];
        ns[i] = fmax(0, ns[i] - t->calls[i] * t->inside);
    }
    ns[t->width - 1] = fmax(0, t->wall[run] - sum - records * t->outside);
}

static cab_status traced_runs(timing *t, int first, int last)
{
    double warm;
    CAB_TRY(one_run(t, t->traced, &warm));
    for (int i = first; i < last; i++) {
        double before = waited(t);
        CAB_TRY(one_run(t, t->traced, &t->wall[i]));
        t->wall_lost[i] = waited(t) - before;
        take_trace(t, i);
    }
    return CAB_OK;
}

static cab_status start(timing *t, bench *b, const tool_args *args, int runs)
{
    cab_error e = { 0 };
    cab_session_options o = { .size = sizeof o, .threads = args->threads, .trace = 1,
                              .huge_pages = args->huge_pages };
    const cab_trace_event *ev;
    size_t n;
    double ns;
    t->b = b;
    t->runs = runs;
    int rc = cab_session_create(b->model, &o, &t->traced, &e);
    if (rc != CAB_OK)
        return cab_fail(&b->diag, (cab_status)rc, NULL, "%s", e.text);
    CAB_TRY(one_run(t, t->traced, &ns));
    cab_session_trace(t->traced, &ev, &n);
    CAB_TRY(profile_plan_find(b->arena, &b->artifact, ev, n, &t->plan, &b->diag));
    t->width = t->plan.plan.header->n_instrs + 2;
    t->waits = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    t->plain_lost = CAB_NEW_N(b->arena, double, runs);
    t->wall_lost = CAB_NEW_N(b->arena, double, runs);
    t->plain = CAB_NEW_N(b->arena, double, runs);
    t->wall = CAB_NEW_N(b->arena, double, runs);
    t->ns = CAB_NEW_N(b->arena, double, (size_t)runs * t->width);
    t->calls = CAB_NEW_N(b->arena, double, t->width);
    measure_record(t);
    return CAB_OK;
}

/* Off what each row has more than in its shortest run, in proportion; what is
 * left of it hit rows that wait in every run, so it goes off by their length. */
static void take_off(double *ns, const double *least, uint32_t n, double lost)
{
    double more = 0, all = 0;
    for (uint32_t k = 0; k < n; k++) {
        more += ns[k] - least[k];
        all += least[k];
    }
    double part = more > lost ? lost / more : 1;
    double rest = all > 0 ? fmin(1, fmax(0, lost - more) / all) : 0;
    for (uint32_t k = 0; k < n; k++)
        ns[k] = (ns[k] - part * (ns[k] - least[k])) * (1 - rest);
}

static void take_waiting_off(timing *t)
{
    double *least = CAB_NEW_N(t->b->arena, double, t->width);
    for (uint32_t k = 0; k < t->width; k++)
        for (int i = 0; i < t->runs; i++) {
            double ns = t->ns[(size_t)i * t->width + k];
            least[k] = i && least[k] < ns ? least[k] : ns;
        }
    for (int i = 0; i < t->runs; i++)
        if (t->wall_lost[i] > 0)
            take_off(t->ns + (size_t)i * t->width, least, t->width, t->wall_lost[i]);
}

static void stop(timing *t)
{
    cab_session_destroy(t->traced);
    if (t->waits >= 0)
        close(t->waits);
}

/* ---- means ---- */
static int ascending(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

/* The longest of the fastest quarter. */
static double quartile(cab_arena *a, const double *ns, int n)
{
    double *sorted = cab_dup(a, ns, (size_t)n * sizeof *ns);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    return sorted[(n - 1) / 4];
}

/* Mean of a column over the runs whose whole time is in the fastest quarter: not
 * the median, since medians of parts do not add up to that of the whole. */
static double of_fastest(const timing *t, const double *whole, const double *column, uint32_t step)
{
    cab_arena *a = t->b->arena;
    cab_mark m = cab_arena_mark(a);
    double limit = quartile(a, whole, t->runs), sum = 0;
    int n = 0;
    for (int i = 0; i < t->runs; i++)
        if (whole[i] <= limit) {
            sum += column[(size_t)i * step];
            n++;
        }
    cab_arena_release(a, m);
    return sum / n;
}

static double column_us(const timing *t, uint32_t column)
{
    return of_fastest(t, t->wall, t->ns + column, t->width) / 1e3;
}

/* ---- rows ---- */
/* Instructions that did not run go. */
static void fill_times(const timing *t, const uint32_t *instr, profile *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++) {
        profile_row r = out->row[i];
        r.calls = t->calls[instr[i]];
        r.us = column_us(t, instr[i]);
        if (r.calls > 0)
            out->row[kept++] = r;
    }
    out->row[kept++] = (profile_row){
        .kind = "between", .kernel = "", .what = "binding, sizes, dispatch", .layers = "", .sched = "",
        .calls = 1, .us = column_us(t, t->width - 1), .naive_us = -1, .fma = -1, .read = -1,
        .bound_us = -1, .cost = { 0, 0, 0, 0, -1 } };
    out->n = kept;
    for (size_t i = 0; i < kept; i++)
        out->rows_us += out->row[i].us;
}

static double times(double calls, double x) { return x < 0 ? x : x * calls; }

/* Constants come from where all of the model's fit; the rest from where the rest
 * of this kernel's does. */
static void hold_to_peaks(profile *p)
{
    double weights = 0;
    for (size_t i = 0; i < p->n; i++)
        weights += fmax(0, p->row[i].cost.weights);
    for (size_t i = 0; i < p->n; i++) {
        profile_row *r = &p->row[i];
        cost *c = &r->cost;
        double data = fmax(0, c->bytes - c->weights), ns = r->us * 1e3;
        double read = fmax(0, c->weights) / peaks_read_of(&p->peaks, weights) +
                      data / peaks_read_of(&p->peaks, data);
        *c = (cost){ times(r->calls, c->flops), times(r->calls, c->special),
                     times(r->calls, c->bytes), times(r->calls, c->weights), c->kind };
        if (c->bytes < 0 || !strcmp(r->kind, "between"))
            continue;
        double math = (fmax(0, c->flops) + special_flops * fmax(0, c->special)) / p->peaks.fma;
        r->bound_us = fmax(math, read * r->calls) / 1e3;
        r->read = ns > 0 ? read * r->calls / ns : -1;
        r->fma = c->flops < 0 || ns <= 0 ? -1 : c->flops / p->peaks.fma / ns;
    }
}

static int longest_first(const void *pa, const void *pb)
{
    const profile_row *a = pa, *b = pb;
    return (a->us < b->us) - (a->us > b->us);
}

/* ---- with naive kernels ---- */
/* The same steps: instruction by instruction. */
static cab_status compare_naive(const timing *t, timing *naive, const uint32_t *instr, profile *out)
{
    const cab_plan *a = &t->plan.plan, *b = &naive->plan.plan;
    bool same = a->header->n_instrs == b->header->n_instrs;
    for (uint32_t i = 0; same && i < a->header->n_instrs; i++)
        same = a->instrs[i].op == b->instrs[i].op;
    if (!same)
        return cab_fail(&t->b->diag, CAB_EINTERNAL, NULL, "the naive plan has other steps");
    CAB_TRY(traced_runs(naive, 0, naive->runs));
    take_waiting_off(naive);
    for (size_t i = 0; i < out->n; i++)
        out->row[i].naive_us = column_us(naive, instr[i]);
    return CAB_OK;
}

static cab_status guarded_naive(const timing *t, timing *n, const tool_args *args,
                                const uint32_t *instr, profile *out)
{
    if (CAB_JOB_ENTER(&n->b->job))
        return cab_fail(&n->b->diag, CAB_ENOMEM, NULL, "out of memory");
    CAB_TRY(start(n, n->b, args, n->b->first_ms > 1000 ? 1 : NAIVE_RUNS));
    return compare_naive(t, n, instr, out);
}

static cab_status with_naive(const timing *t, const tool_args *args, const uint32_t *instr,
                             profile *out)
{
    tool_args na = *args;
    bench b;
    timing n = { .b = &b, .waits = -1 };
    na.compile.naive_kernels = true;
    cab_status s = bench_open(&b, &na, args->input, args->n_inputs, true);
    if (s == CAB_OK)
        s = guarded_naive(t, &n, &na, instr, out);
    for (size_t i = 0; i < b.diag.n; i++)
        cab_fail(&t->b->diag, b.diag.entries[i].code, NULL, "%s", b.diag.entries[i].text);
    stop(&n);
    bench_close(&b);
    out->naive = s == CAB_OK;
    return s;
}

/* ---- all ---- */
static cab_status take_turns(timing *t, peaks *p)
{
    int step = 1 + (int)(TURN_MS / fmax(t->b->first_ms, 0.001)), measured = 0;
    for (int first = 0, last; first < t->runs; first = last) {
        last = first + step < t->runs ? first + step : t->runs;
        if (first * MEASURES >= measured * t->runs) {
            peaks_measure(p);
            measured++;
        }
        CAB_TRY(plain_runs(t, first, last));
        CAB_TRY(traced_runs(t, first, last));
    }
    peaks_measure(p);
    take_waiting_off(t);
    return CAB_OK;
}

static cab_status make(bench *b, const tool_args *args, timing *t, int runs, profile *out)
{
    uint32_t *instr;
    peaks_init(&out->peaks, args->threads);
    CAB_TRY(start(t, b, args, runs));
    CAB_TRY(take_turns(t, &out->peaks));
    CAB_TRY(profile_rows(&t->plan, args->model, b->in, out, &instr, &b->diag));
    if (args->naive_too)
        CAB_TRY(with_naive(t, args, instr, out));
    fill_times(t, instr, out);
    hold_to_peaks(out);
    qsort(out->row, out->n, sizeof *out->row, longest_first);
    out->lost_us = of_fastest(t, t->plain, t->plain_lost, 1) / 1e3;
    out->run_us = of_fastest(t, t->plain, t->plain, 1) / 1e3 - out->lost_us;
    out->event_ns = t->inside + t->outside;
    out->runs = runs;
    return CAB_OK;
}

cab_status profile_make(bench *b, const tool_args *args, int runs, profile *out)
{
    timing *t = calloc(1, sizeof *t);
    cab_status s;
    *out = (profile){ 0 };
    if (!t)
        return cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
    t->waits = -1;
    if (CAB_JOB_ENTER(&b->job) == 0)
        s = make(b, args, t, runs, out);
    else
        s = cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
    stop(t);
    free(t);
    return s;
}
