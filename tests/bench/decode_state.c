/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode_state.c - what a token costs a language model with caches, and what
 * of it is copying: docs/benchmarks.md, "State".
 *
 *   decode_state MODEL.cab [--threads N] LENGTH...
 *
 * For every length: tokens follow a cache of so many steps (zeros) one by one,
 * the caches once handed back as inputs and once bound to the session; an
 * artifact that knows no states has its past.* and present.* handed back only.  Prints the median of a token, and from the trace the launches
 * that move elements without computing (copy, transpose, reshape, expand) and
 * their time; the two ways must give the same logits, byte for byte.
 * Inputs are input_ids, position_ids and the states.  Links libcabrt alone.
 */
#include <cab_rt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_IO = 256, TOKENS = 25, MOVES = 16 };

typedef struct decoder {
    cab_model *m;
    cab_session *s;
    int n_in, n_out, n_states, ids, positions;
    cab_state_info states[MAX_IO];
    cab_tensor_view in[MAX_IO], out[MAX_IO];
    void *first[MAX_IO];       /* caches of the first run, where they are handed */
} decoder;

/* What moves elements in a run. */
typedef struct moves { int n, n_alloc; double ms; char names[MOVES][48]; int count[MOVES], kinds; } moves;

static void die(const char *what, const cab_error *e)
{
    fprintf(stderr, "decode_state: %s%s\n", what, e ? e->text : "");
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The pairs by their names, where the artifact does not tell them. */
static void pair_names(decoder *d)
{
    for (int i = 0; i < d->n_in; i++) {
        char name[128];
        cab_tensor_info info;
        cab_model_input(d->m, i, &info);
        snprintf(name, sizeof name, "present.%s", info.name + 5);
        if (!strncmp(info.name, "past.", 5))
            d->states[d->n_states++] = (cab_state_info){ i, cab_model_find_output(d->m, name), 2 };
    }
}

static void start(decoder *d, cab_model *m, int threads, int64_t length, int bound)
{
    cab_session_options o = { .size = sizeof o, .threads = threads, .trace = 1 };
    cab_error e;
    memset(d, 0, sizeof *d);
    d->m = m;
    if (cab_session_create(m, &o, &d->s, &e))
        die("", &e);
    d->n_in = cab_model_input_count(m);
    d->n_out = cab_model_output_count(m);
    d->n_states = cab_model_state_count(m);
    for (int i = 0; i < d->n_states && i < MAX_IO; i++)
        cab_model_state(m, i, &d->states[i]);
    if (!d->n_states)
        pair_names(d);
    d->ids = cab_model_find_input(m, "input_ids");
    d->positions = cab_model_find_input(m, "position_ids");
    if (d->ids < 0 || d->positions < 0 || d->n_in > MAX_IO || d->n_out > MAX_IO ||
        d->n_states != d->n_in - 2)
        die("the model has other inputs than ids, positions and growing states", NULL);
    for (int i = 0; i < d->n_states; i++) {
        cab_tensor_info info;
        cab_state_info *x = &d->states[i];
        cab_model_input(m, x->input, &info);
        d->in[x->input] = (cab_tensor_view){ .dtype = info.dtype, .rank = info.rank };
        for (int k = 0; k < info.rank; k++)
            d->in[x->input].dims[k] = k == x->axis ? length : info.dims[k] < 0 ? 1 : info.dims[k];
        size_t bytes = cab_tensor_bytes(info.dtype, info.rank, d->in[x->input].dims);
        if (!bound && !(d->first[i] = calloc(bytes + 1, 1)))
            die("no memory", NULL);
        d->in[x->input].data = d->first[i];
        d->in[x->input].bytes = bytes;
        if (bound && cab_session_bind_state(d->s, x->input, x->output, &d->in[x->input], 0, &e))
            die("", &e);
    }
}

/* n tokens after the first `from`. */
static void run(decoder *d, int64_t from, int64_t n, int bound)
{
    int64_t *ids = malloc((size_t)n * 16), *at = ids + n;
    cab_error e;
    if (!ids)
        die("no memory", NULL);
    for (int64_t i = 0; i < n; i++) {
        ids[i] = (from + i) * 7919 % 40000 + 5;
        at[i] = from + i;
    }
    d->in[d->ids] = (cab_tensor_view){ CAB_TYPE_I64, 2, { 1, n }, ids, (size_t)n * 8 };
    d->in[d->positions] = (cab_tensor_view){ CAB_TYPE_I64, 2, { 1, n }, at, (size_t)n * 8 };
    if (cab_session_run(d->s, d->in, d->out, &e))
        die("", &e);
    for (int i = 0; i < d->n_states && !bound; i++)
        d->in[d->states[i].input] = d->out[d->states[i].output];
    free(ids);
}

static void add(moves *m, const cab_trace_event *t)
{
    const char *name = t->what;
    m->n++;
    m->ms += (double)t->ns / 1e6;
    for (int i = 0; i < m->kinds; i++)
        if (!strcmp(m->names[i], name)) {
            m->count[i]++;
            return;
        }
    if (m->kinds < MOVES) {
        snprintf(m->names[m->kinds], sizeof m->names[0], "%s", name);
        m->count[m->kinds++] = 1;
    }
}

/* "reshape+expand+transpose": nothing but moves. */
static int only_moves(const char *what)
{
    static const char *const kinds[] = { "copy", "transpose", "reshape", "expand", "concat", "slice",
                                         "relayout" };
    while (*what) {
        size_t n = strcspn(what, "+"), k = 0;
        while (k < sizeof kinds / sizeof *kinds &&
               (strlen(kinds[k]) != n || strncmp(what, kinds[k], n)))
            k++;
        if (k == sizeof kinds / sizeof *kinds)
            return 0;
        what += n + (what[n] == '+');
    }
    return 1;
}

static void find_moves(const decoder *d, moves *m)
{
    const cab_trace_event *t;
    size_t n;
    memset(m, 0, sizeof *m);
    cab_session_trace(d->s, &t, &n);
    for (size_t i = 0; i < n; i++) {
        m->n_alloc += !strcmp(t[i].kind, "alloc");
        if (!strcmp(t[i].kind, "copy") || (!strcmp(t[i].kind, "launch") && only_moves(t[i].what)))
            add(m, &t[i]);
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Logits of the last token; the caller frees them. */
static void *decode(cab_model *m, int threads, int bound, int64_t length, size_t *bytes)
{
    static decoder d;
    double ms[TOKENS];
    moves v;
    int grew = 0;
    start(&d, m, threads, length, bound);
    run(&d, length, 1, bound);
    uint64_t before = cab_session_allocations(d.s);
    for (int i = 0; i < TOKENS; i++) {
        double t = now_ms();
        run(&d, length + 1 + i, 1, bound);
        ms[i] = now_ms() - t;
        find_moves(&d, &v);
        grew += v.n_alloc;
    }
    qsort(ms, TOKENS, sizeof *ms, ascending);
    printf("%6lld steps, %-11s: %7.2f ms a token (least %.2f); %d moves in %.3f ms (", (long long)length,
           bound ? "bound" : "handed back", ms[TOKENS / 2], ms[0], v.n, v.ms);
    for (int i = 0; i < v.kinds; i++)
        printf("%s%d %s", i ? ", " : "", v.count[i], v.names[i]);
    printf("); in %d tokens %d states grew, %llu allocations\n", TOKENS, grew,
           (unsigned long long)(cab_session_allocations(d.s) - before));
    int logits = cab_model_find_output(m, "logits");
    *bytes = cab_tensor_bytes(d.out[logits].dtype, d.out[logits].rank, d.out[logits].dims);
    void *copy = malloc(*bytes);
    if (copy)
        memcpy(copy, d.out[logits].data, *bytes);
    cab_session_destroy(d.s);
    for (int i = 0; i < d.n_states; i++)
        free(d.first[i]);
    return copy;
}

int main(int argc, char **argv)
{
    cab_model *m;
    cab_error e;
    int threads = 1, bad = 0;
    if (argc < 3)
        return 2;
    if (cab_model_load(argv[1], NULL, &m, &e))
        die("", &e);
    for (int i = 2; i < argc; i++) {
        size_t n[2];
        if (!strcmp(argv[i], "--threads") && i + 1 < argc) {
            threads = atoi(argv[++i]);
            continue;
        }
        void *a = decode(m, threads, 0, atoll(argv[i]), &n[0]);
        if (cab_model_state_count(m) == 0) {
            free(a);
            continue;
        }
        void *b = decode(m, threads, 1, atoll(argv[i]), &n[1]);
        if (!a || !b || n[0] != n[1] || memcmp(a, b, n[0])) {
            printf("the logits differ\n");
            bad = 1;
        }
        free(a);
        free(b);
    }
    cab_model_destroy(m);
    return bad;
}
