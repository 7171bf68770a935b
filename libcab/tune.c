/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune.c - measures the schedules that the cost model cannot tell apart.
 *
 * Kernels are timed where they run: in the model, with its data and the caches
 * as the kernels before left them.  Round k compiles the model with the k-th
 * candidate of every kernel at once; runs of that and of the untuned model take
 * turns.  A candidate must win by more than NOISE twice over: by the least times
 * of its launches, since what a neighbour on the machine does only ever adds,
 * and by the median of what two runs next to each other say.  Then it must win
 * again in a round of winners alone, and the whole must not be slower and give the
 * results of the untuned model, else nothing is changed.
 */
#include "libcab/libcab_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOISE 0.03             /* a smaller gain in the first measurement is none, */
#define AGAIN 0.02             /* or in the second */
#define SLOWER 0.01            /* the whole may seem so much slower */
#define LEAST_SHARE 0.002      /* kernels below that part of a run are left alone */
#define LEAST_NS 30
enum { SECONDS = 40, MIN_RUNS = 6, WHOLE_RUNS = 12, MAX_RUNS = 60, TRIES = 3, MAX_CANDIDATES = 32 };

typedef struct kernel {
    const char *name, *key;
    int n;                     /* candidates; 0 is the model's choice */
    const char *sched[MAX_CANDIDATES];
    double ns;                 /* per run, untuned */
    int best;
    double gain;               /* of the best one, part of ns */
} kernel;

/* A compiled form of the model, and its launches. */
typedef struct form {
    cab_model *model;
    cab_session *session;
    cab_tensor_view *out;
    double *least;             /* per event, ns; of the present round */
    double *now;               /* per kernel, ns of the last run */
    double whole, last;        /* ns of the shortest and of the last run */
} form;

typedef struct tuner {
    const cab_compiler *c;
    const cab_source *s;
    const cab_tune_options *o;
    cab_job mem;
    cab_arena *arena;
    cab_diag *diag;
    const char *head;          /* of a record for this target */
    CAB_VEC(kernel) kernels;
    cab_map *by_name;
    size_t n_events;
    int *kernel_of;            /* event -> kernel, -1 = none */
    form plain, other;         /* untuned; what is compared with it */
    int n_pairs;               /* of runs, in the present round: */
    double *ratio;             /* per pair: other to plain of every kernel, then of the whole */
    double run_ms, compile_ms;
    int64_t start, end;        /* when to be done with measuring */
} tuner;

static void say(const tuner *t, const char *text)
{
    if (t->o->progress)
        t->o->progress(t->o->progress_user, text);
}

/* ---- candidates ---- */

/* "kernel KEY NAME SCHED" */
static void take_line(tuner *t, char *line)
{
    char *key = line + strlen("kernel "), *name = strchr(key, ' '), *sched;
    if (!name || !(sched = strchr(name + 1, ' ')))
        return;
    *name++ = 0;
    *sched++ = 0;
    uintptr_t at = (uintptr_t)cab_map_gets(t->by_name, name);
    if (!at) {
        kernel k = { .name = name, .key = key };
        cab_vec_push(t->arena, &t->kernels, k);
        at = t->kernels.n;
        cab_map_sets(t->by_name, name, (void *)at);
    }
    kernel *k = &t->kernels.p[at - 1];
    if (k->n < MAX_CANDIDATES)
        k->sched[k->n++] = sched;
}

static cab_status find_candidates(tuner *t)
{
    char *text;
    size_t n;
    cab_buf head = cab_buf_on(t->arena);
    CAB_TRY(cab_compiler_emit(t->c, t->s, "candidates", NULL, &text, &n, t->diag));
    char *own = cab_strdup(t->arena, text);
    free(text);
    for (char *line = own, *next; line && *line; line = next) {
        if ((next = strchr(line, '\n')))
            *next++ = 0;
        if (!strncmp(line, "kernel ", 7))
            take_line(t, line);
        else
            cab_buf_printf(&head, "%s\n", line);
    }
    t->head = cab_buf_cstr(&head);
    return CAB_OK;
}

static void put(cab_buf *b, const kernel *k, int which)
{
    cab_buf_printf(b, "kernel %s %s %s\n", k->key, k->name, k->sched[which]);
}

/* The record of round `which`; 0: of the best ones. */
static const char *record(const tuner *t, int which)
{
    cab_buf b = cab_buf_on(t->arena);
    cab_buf_str(&b, t->head);
    for (size_t i = 0; i < t->kernels.n; i++) {
        const kernel *k = &t->kernels.p[i];
        int take = which ? which : k->best;
        if (take && take < k->n && (!which || k->ns > 0))
            put(&b, k, take);
    }
    return cab_buf_cstr(&b);
}

/* ---- runs ---- */

static void close_other(tuner *t)
{
    form *f = &t->other;
    cab_session_destroy(f->session);
    cab_model_destroy(f->model);
    *f = (form){ 0 };
}

static cab_status story(const tuner *t, const cab_error *e)
{
    return cab_fail(t->diag, (cab_status)e->code, NULL, "%s", e->text);
}

static cab_status one_run(tuner *t, form *f)
{
    cab_error e = { 0 };
    CAB_TRY(cab_cancel_check(&t->c->cancel, t->diag));
    int64_t from = cab_now_ns();
    if (cab_session_run(f->session, t->o->inputs, f->out, &e) != CAB_RT_OK)
        return story(t, &e);
    f->last = (double)(cab_now_ns() - from);
    f->whole = f->whole && f->whole < f->last ? f->whole : f->last;
    return CAB_OK;
}

/* The least of each launch; a run of other launches (data decides) counts not. */
static void take_trace(const tuner *t, form *f)
{
    const cab_trace_event *e;
    size_t n;
    cab_session_trace(f->session, &e, &n);
    memset(f->now, 0, t->kernels.n * sizeof *f->now);
    for (size_t i = 0; n == t->n_events && i < n; i++) {
        double ns = (double)e[i].ns;
        f->least[i] = f->least[i] && f->least[i] < ns ? f->least[i] : ns;
        if (t->kernel_of[i] >= 0)
            f->now[t->kernel_of[i]] += ns;
    }
}

static cab_status open_session(tuner *t, form *f, bool trace)
{
    cab_error e = { 0 };
    cab_session_options so = { .size = sizeof so, .threads = t->o->threads, .trace = trace };
    cab_session_destroy(f->session);
    f->session = NULL;
    f->whole = 0;
    f->out = CAB_NEW_N(t->arena, cab_tensor_view, cab_model_output_count(f->model) + 1);
    f->least = CAB_NEW_N(t->arena, double, t->n_events + 1);
    f->now = CAB_NEW_N(t->arena, double, t->kernels.n + 1);
    if (cab_session_create(f->model, &so, &f->session, &e) != CAB_RT_OK)
        return story(t, &e);
    return one_run(t, f);      /* memory, caches */
}

static cab_status open_other(tuner *t, const char *text)
{
    cab_compiler c = *t->c;
    int64_t from = cab_now_ns();
    c.tuning = text;
    CAB_TRY(cab_compiler_jit(&c, t->s, t->o->load, &t->other.model, NULL, t->diag));
    t->compile_ms = (double)(cab_now_ns() - from) / 1e6;
    return open_session(t, &t->other, true);
}

static void keep_pair(tuner *t)
{
    size_t n = t->kernels.n;
    double *to = t->ratio + (size_t)t->n_pairs++ * (n + 1);
    for (size_t k = 0; k < n; k++)
        to[k] = t->plain.now[k] > 0 ? t->other.now[k] / t->plain.now[k] : 1;
    to[n] = t->other.last / t->plain.last;
}

static int ascending(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

/* Of kernel k; of the whole: their number. */
static double median_ratio(const tuner *t, size_t k)
{
    double of[MAX_RUNS];
    for (int i = 0; i < t->n_pairs; i++)
        of[i] = t->ratio[(size_t)i * (t->kernels.n + 1) + k];
    qsort(of, (size_t)t->n_pairs, sizeof *of, ascending);
    return t->n_pairs ? of[t->n_pairs / 2] : 1;
}

static cab_status take_turns(tuner *t, int runs, bool trace)
{
    t->n_pairs = 0;
    memset(t->plain.least, 0, t->n_events * sizeof *t->plain.least);
    t->plain.whole = t->other.whole = 0;
    for (int i = 0; i < 2 * runs; i++) {
        form *now = (i ^ i >> 1) & 1 ? &t->other : &t->plain;      /* a b b a */
        CAB_TRY(one_run(t, now));
        if (trace)
            take_trace(t, now);
        if (i & 1)
            keep_pair(t);
    }
    return CAB_OK;
}

/* ---- results ---- */

static double element(const cab_tensor_view *v, size_t i)
{
    cab_dtype t = cab_dtype_from_onnx(v->dtype);
    return cab_elem_f64(t, v->data, i);
}

static bool same_tensor(const cab_tensor_view *a, const cab_tensor_view *b)
{
    cab_dtype t = cab_dtype_from_onnx(a->dtype);
    size_t n = 1, bytes = cab_tensor_bytes(a->dtype, a->rank, a->dims);
    double most = 0, part = cab_dtype_bits(t) == 16 ? 2e-2 : 1e-3;
    if (!cab_dtype_is_float(t))
        return bytes == SIZE_MAX || !bytes || !memcmp(a->data, b->data, bytes);
    for (int i = 0; i < a->rank; i++)
        n *= (size_t)a->dims[i];
    for (size_t i = 0; i < n; i++)
        if (isfinite(element(a, i)))
            most = fmax(most, fabs(element(a, i)));
    for (size_t i = 0; i < n; i++) {
        double x = element(a, i), y = element(b, i);
        if (isnan(x) != isnan(y) || (isinf(x) && x != y) || fabs(x - y) > part * most)
            return false;
    }
    return true;
}

/* Rounding apart. */
static bool same_values(const cab_tensor_view *a, const cab_tensor_view *b, int64_t n)
{
    bool same = true;
    for (int64_t i = 0; same && i < n; i++) {
        same = a[i].rank == b[i].rank && a[i].dtype == b[i].dtype;
        for (int k = 0; same && k < a[i].rank; k++)
            same = a[i].dims[k] == b[i].dims[k];
        if (a[i].rank == CAB_RANK_SEQUENCE)
            same = same && a[i].dims[0] == b[i].dims[0] &&
                   same_values(a[i].data, b[i].data, a[i].dims[0]);
        else if (a[i].rank >= 0)
            same = same && same_tensor(&a[i], &b[i]);
    }
    return same;
}

static bool same_results(const tuner *t)
{
    return same_values(t->plain.out, t->other.out, cab_model_output_count(t->plain.model));
}

/* ---- rounds ---- */

/* ns of a run, untuned and otherwise, per kernel. */
typedef struct times { double *plain, *other; } times;

static times per_kernel(const tuner *t)
{
    times x = { CAB_NEW_N(t->arena, double, t->kernels.n + 1),
                CAB_NEW_N(t->arena, double, t->kernels.n + 1) };
    for (size_t i = 0; i < t->n_events; i++)
        if (t->kernel_of[i] >= 0) {
            x.plain[t->kernel_of[i]] += t->plain.least[i];
            x.other[t->kernel_of[i]] += t->other.least[i];
        }
    return x;
}

static double gain_of(const tuner *t, const times *x, size_t k, double noise)
{
    double plain = x->plain[k], other = x->other[k];
    double gain = plain > 0 && other > 0 ? 1 - other / plain : 0;
    gain = fmin(gain, 1 - median_ratio(t, k));
    return gain > noise && plain - other > LEAST_NS ? gain : 0;
}

static int runs_for(const tuner *t, int shares)
{
    double left = (double)(t->end - cab_now_ns()) / 1e6 / shares - t->compile_ms;
    double n = left / (2 * fmax(t->run_ms, 0.001));
    return n < MIN_RUNS ? MIN_RUNS : n > MAX_RUNS ? MAX_RUNS : (int)n;
}

static void take_gains(tuner *t, int which)
{
    times x = per_kernel(t);
    for (size_t i = 0; i < t->kernels.n; i++) {
        kernel *k = &t->kernels.p[i];
        double gain = which < k->n ? gain_of(t, &x, i, NOISE) : 0;
        if (gain > k->gain) {
            k->best = which;
            k->gain = gain;
        }
    }
}

static cab_status round_of(tuner *t, int which, int left)
{
    CAB_TRY(open_other(t, record(t, which)));
    if (same_results(t)) {
        CAB_TRY(take_turns(t, runs_for(t, left + 2), true));
        take_gains(t, which);
    } else {
        say(t, cab_printf(t->arena, "round %d: other results, left out", which));
    }
    close_other(t);
    return CAB_OK;
}

/* Those that win once more stay. */
static cab_status confirm(tuner *t)
{
    CAB_TRY(open_other(t, record(t, 0)));
    CAB_TRY(take_turns(t, runs_for(t, 2), true));
    times x = per_kernel(t);
    for (size_t i = 0; i < t->kernels.n; i++) {
        kernel *k = &t->kernels.p[i];
        k->gain = k->best ? gain_of(t, &x, i, AGAIN) : 0;
        k->best = k->gain > 0 ? k->best : 0;
        k->ns = x.plain[i];
    }
    close_other(t);
    return CAB_OK;
}

/* The whole, without trace.  Kernels won twice by now: it must look slower as often as
 * that before this is believed. */
static cab_status compare(tuner *t, cab_tuned *out)
{
    CAB_TRY(open_other(t, record(t, 0)));
    bool same = same_results(t);
    CAB_TRY(open_session(t, &t->other, false));
    CAB_TRY(open_session(t, &t->plain, false));
    for (int i = 0; i < TRIES && (!i || out->ratio >= 1 + SLOWER); i++) {
        int runs = runs_for(t, 1);
        CAB_TRY(take_turns(t, runs < WHOLE_RUNS ? WHOLE_RUNS : runs, false));
        out->untuned_ms = t->plain.whole / 1e6;
        out->tuned_ms = t->other.whole / 1e6;
        out->ratio = median_ratio(t, t->kernels.n);
    }
    close_other(t);
    if (same && out->ratio < 1 + SLOWER)
        return CAB_OK;
    say(t, same ? "the whole is no faster: nothing is changed"
                : "the whole gives other results: nothing is changed");
    for (size_t i = 0; i < t->kernels.n; i++)
        t->kernels.p[i].best = 0;
    return CAB_OK;
}

/* ---- all ---- */

/* Which launches are whose, and what they take. */
static cab_status know_launches(tuner *t)
{
    const cab_trace_event *e;
    int64_t from;
    double all = 0;
    CAB_TRY(open_session(t, &t->plain, true));
    cab_session_trace(t->plain.session, &e, &t->n_events);
    t->kernel_of = CAB_NEW_N(t->arena, int, t->n_events + 1);
    t->plain.least = CAB_NEW_N(t->arena, double, t->n_events + 1);
    for (size_t i = 0; i < t->n_events; i++)
        t->kernel_of[i] = strcmp(e[i].kind, "launch") ? -1
                        : (int)(uintptr_t)cab_map_gets(t->by_name, e[i].name) - 1;
    from = cab_now_ns();
    for (int i = 0; i < 3; i++) {
        CAB_TRY(one_run(t, &t->plain));
        take_trace(t, &t->plain);
    }
    t->run_ms = (double)(cab_now_ns() - from) / 3e6;
    for (size_t i = 0; i < t->n_events; i++) {
        all += t->plain.least[i];
        if (t->kernel_of[i] >= 0)
            t->kernels.p[t->kernel_of[i]].ns += t->plain.least[i];
    }
    for (size_t i = 0; i < t->kernels.n; i++)
        if (t->kernels.p[i].ns < LEAST_SHARE * all)
            t->kernels.p[i].ns = 0;
    return CAB_OK;
}

static int most_candidates(const tuner *t)
{
    int most = 1;
    for (size_t i = 0; i < t->kernels.n; i++)
        if (t->kernels.p[i].ns > 0 && t->kernels.p[i].n > most)
            most = t->kernels.p[i].n;
    return most;
}

/* What is changed, for people: a line of the record with its gain before it. */
static void put_changes(const tuner *t, cab_buf *text, cab_tuned *out)
{
    out->kernels = (int)t->kernels.n;
    for (size_t i = 0; i < t->kernels.n; i++) {
        const kernel *k = &t->kernels.p[i];
        if (!k->best)
            continue;
        out->changed++;
        out->saved_ms += k->ns * k->gain / 1e6;
        cab_buf_printf(text, "# %s: %.1f us a run, %.1f %% less than by %s\n", k->name, k->ns / 1e3 *
                       (1 - k->gain), 100 * k->gain, k->sched[0]);
        put(text, k, k->best);
    }
}

/* The last quarter is for what won; candidates that are left are the least likely. */
static bool late(const tuner *t)
{
    bool yes = cab_now_ns() > t->start + (t->end - t->start) / 4 * 3;
    if (yes)
        say(t, "the time for rounds is over");
    return yes;
}

static cab_status measure(tuner *t, cab_tuned *out)
{
    cab_buf text = cab_buf_on(t->arena);
    CAB_TRY(find_candidates(t));
    CAB_TRY(know_launches(t));
    t->ratio = CAB_NEW_N(t->arena, double, MAX_RUNS * (t->kernels.n + 1));
    int most = most_candidates(t);
    for (int k = 1; k < most && !late(t); k++) {
        say(t, cab_printf(t->arena, "round %d of %d", k, most - 1));
        CAB_TRY(round_of(t, k, most - k));
    }
    CAB_TRY(confirm(t));
    CAB_TRY(compare(t, out));
    cab_buf_str(&text, t->head);
    put_changes(t, &text, out);
    out->record = strdup(cab_buf_cstr(&text));
    return out->record ? CAB_OK : cab_fail(t->diag, CAB_ENOMEM, NULL, "no room for the record");
}

static cab_status refuse_options(const cab_compiler *c, cab_diag *d)
{
    if (c->naive || c->naive_kernels)
        return cab_fail(d, CAB_EINVAL, NULL, "naive kernels have nothing to tune");
    if (c->tuning)
        return cab_fail(d, CAB_EINVAL, NULL, "tuning begins without a record");
    if (c->target && strchr(c->target, ','))
        return cab_fail(d, CAB_EINVAL, NULL, "tuning is for one target at a time: records of several "
                                             "may be put behind one another");
    return CAB_OK;
}

static cab_status guarded(tuner *t, cab_tuned *out)
{
    if (CAB_JOB_ENTER(&t->mem))
        return cab_fail(t->diag, CAB_ENOMEM, NULL, "out of memory");
    t->by_name = cab_map_create(t->arena);
    return measure(t, out);
}

cab_status cab_tune(const cab_compiler *c, const cab_source *s, cab_model *untuned,
                    const cab_tune_options *o, cab_tuned *out, cab_diag *d)
{
    cab_compiler plain = *c;
    tuner t = { .c = &plain, .s = s, .o = o, .diag = d, .plain.model = untuned };
    *out = (cab_tuned){ 0 };
    CAB_TRY(refuse_options(c, d));
    plain.cache_dir = NULL;
    plain.isolate = false;
    t.arena = cab_arena_create(&t.mem);
    if (!t.arena)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    t.start = cab_now_ns();
    t.end = t.start + (int64_t)((o->seconds > 0 ? o->seconds : SECONDS) * 1e9);
    cab_status status = guarded(&t, out);
    close_other(&t);
    cab_session_destroy(t.plain.session);
    cab_arena_destroy(t.arena);
    return status;
}
