/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sched.c - calls of real models through queues, batches and instances:
 * equal bytes, exact caps, deadlines on time, cancelling, draining, memory.
 *
 *   test_sched [SEED]
 *
 * Two models: the digits sample, and Nap (x [N, 4] -> y = 2 x by an operator of
 * this program, which sleeps first and fails for rows that begin with -666).
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>
#include "base/rng.h"
#include "include/cab.h"
#include "serve/sched/scheduler.h"
#include "tests/test.h"
#include "tests/wire.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { CYCLES = 300, SLACK_MS = 200 };
#else
enum { CYCLES = 10000, SLACK_MS = 200 };
#endif
enum { MS = 1000000 };

/* ---- allocations: counted, and made to fail (linked with --wrap) ---- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);
static atomic_long allocations, fail_at;       /* fail_at 0: never */

static int may_allocate(void)
{
    atomic_fetch_add(&allocations, 1);
    return !atomic_load(&fail_at) || atomic_fetch_sub(&fail_at, 1) != 1;
}
void *__wrap_malloc(size_t n) { return may_allocate() ? __real_malloc(n) : NULL; }
void *__wrap_calloc(size_t n, size_t size) { return may_allocate() ? __real_calloc(n, size) : NULL; }
void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return may_allocate() ? __real_aligned_alloc(align, n) : NULL;
}

/* ---- models ---- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void nap(int64_t ns)
{
    struct timespec t = { ns / 1000000000, ns % 1000000000 };
    if (ns > 0)
        nanosleep(&t, NULL);
}

static _Atomic int64_t nap_ns;
static atomic_int nap_runs, nap_inside, nap_most;

static int nap_compute(void *user, const cab_custom_call *call, cab_error *e)
{
    const float *x = call->inputs[0].data;
    float *y = call->outputs[0].data;
    int64_t rows = call->inputs[0].dims[0];
    (void)user;
    atomic_fetch_add(&nap_runs, 1);
    int inside = atomic_fetch_add(&nap_inside, 1) + 1;
    if (inside > atomic_load(&nap_most))
        atomic_store(&nap_most, inside);
    nap(atomic_load(&nap_ns));
    atomic_fetch_sub(&nap_inside, 1);
    for (int64_t i = 0; i < rows; i++)
        if (x[4 * i] == -666) {
            snprintf(e->text, sizeof e->text, "row %lld is bad", (long long)i);
            return e->code = CAB_RT_EINPUT;
        }
    for (int64_t i = 0; i < 4 * rows; i++)
        y[i] = 2 * x[i];
    return 0;
}

static int nap_infer(void *user, const char *node, int n_inputs, const cab_tensor_info *inputs,
                     int n_attrs, const cab_custom_attr *attrs, int n_outputs,
                     cab_custom_type *outputs, cab_error *e)
{
    (void)user, (void)node, (void)n_inputs, (void)inputs, (void)n_attrs, (void)attrs;
    (void)n_outputs, (void)e;
    outputs[0] = (cab_custom_type){ CAB_TYPE_F32, 2, { cab_extent_of(0, 0), cab_extent(4) } };
    return 0;
}

static const cab_custom_op nap_op = { "acme", "Nap", nap_compute, NULL };
static uint8_t *artifacts[2];
static size_t artifact_bytes[2];
enum { DIGITS, NAP };

static void keep_artifact(int which, int fd)
{
    off_t n = lseek(fd, 0, SEEK_END);
    artifacts[which] = aligned_alloc(64, ((size_t)n + 63) / 64 * 64);
    artifact_bytes[which] = (size_t)n;
    CHECK(pread(fd, artifacts[which], (size_t)n, 0) == n);
    close(fd);
}

static void compile_models(void)
{
    static const cab_custom_shape shape = { "acme", "Nap", nap_infer, NULL };
    static const int64_t dims[2] = { -1, 4 };
    char path[4096];
    cab_report *r = NULL;
    int fd = -1;
    snprintf(path, sizeof path, "%s/samples/digits/digits.onnx", getenv("srcdir") ? getenv("srcdir") : "..");
    CHECK_EQ(cab_compile_file(path, NULL, &fd, &r), CAB_RT_OK);
    cab_report_destroy(r);
    keep_artifact(DIGITS, fd);

    cab_compile_options o = CAB_INIT(cab_compile_options);
    wire g = { 0 }, n = m_node("Nap", "x", "y");
    o.custom = &shape;
    o.n_custom = 1;
    w_str(&n, 7, "acme");
    w_sub(&g, 1, n);
    w_str(&g, 2, "g");
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    wire m = m_model(17, g);
    w_sub(&m, 8, m_opset("acme", 1));
    CHECK_EQ(cab_compile_memory(m.p, m.n, NULL, &o, &fd, &r), CAB_RT_OK);
    fputs(cab_report_text(r), stderr);
    cab_report_destroy(r);
    w_free(&m);
    keep_artifact(NAP, fd);
}

static cab_model *load(int which)
{
    cab_model_options o = CAB_INIT(cab_model_options);
    cab_model *m = NULL;
    cab_error e;
    o.custom = &nap_op;
    o.n_custom = 1;
    if (cab_model_load_memory(artifacts[which], artifact_bytes[which], "test", &o, &m, &e))
        return NULL;
    return m;
}

/* ---- calls ---- */

static cab_sched *sched;

static cab_served *serve(int which, const cab_served_config *c)
{
    cab_served *s = NULL;
    cab_error e = { 0 };
    cab_model *m = load(which);
    CHECK(m);
    CHECK_EQ(cab_served_create(sched, m, c, &s, &e), CAB_RT_OK);
    if (!s)
        fprintf(stderr, "%s\n", e.text);
    return s;
}

typedef struct ask {
    cab_call c;                /* first */
    cab_tensor_view in, out;
    float x[64 * 8], y[64];    /* y: what should come */
    atomic_int told;
    int64_t told_at;
    pthread_t told_by;
} ask;

static void told(cab_call *c)
{
    ask *a = (ask *)c;
    a->told_at = now_ns();
    a->told_by = pthread_self();
    atomic_fetch_add(&a->told, 1);
}

static void nap_ask(ask *a, int64_t rows, float first)
{
    memset(a, 0, sizeof *a);
    a->in = (cab_tensor_view){ .dtype = CAB_TYPE_F32, .rank = 2, .dims = { rows, 4 }, .data = a->x,
                               .bytes = (size_t)rows * 16 };
    for (int64_t i = 0; i < 4 * rows; i++) {
        a->x[i] = first + (float)i;
        a->y[i] = 2 * a->x[i];
    }
    a->c = (cab_call){ .inputs = &a->in, .outputs = &a->out, .done = told };
}

static void await(ask *a)
{
    for (int i = 0; !atomic_load(&a->told) && i < 200000; i++)
        nap(50000);
    CHECK_EQ(atomic_load(&a->told), 1);
    if (!atomic_load(&a->told)) {
        fprintf(stderr, "a call was lost\n");
        abort();
    }
}

/* The answer is what should come. */
static int right(const ask *a)
{
    size_t n = cab_tensor_bytes(a->out.dtype, a->out.rank, a->out.dims);
    return a->c.code == CAB_RT_OK && a->out.dims[0] == a->in.dims[0] && n == a->out.bytes &&
           n <= sizeof a->y && !memcmp(a->out.data, a->y, n);
}

static void settle(ask *a, int code)
{
    await(a);
    CHECK_EQ(a->c.code, code);
    CHECK_EQ(a->c.error.code, code);
    if (code == CAB_RT_OK)
        CHECK(right(a));
    else
        CHECK(a->c.error.text[0]);
    cab_call_release(&a->c);
}

static void until_inside(int n)
{
    for (int i = 0; atomic_load(&nap_inside) < n && i < 100000; i++)
        nap(20000);
}

/* Executors have come back to wait, so that the next call is given at once. */
static void warm(cab_served *s)
{
    static ask a;
    atomic_store(&nap_ns, 0);
    nap_ask(&a, 1, 1);
    cab_call_submit(s, &a.c);
    settle(&a, CAB_RT_OK);
    nap(40 * MS);
}

/* ---- equal bytes ---- */

enum { IMAGES = 32, THREADS = 4, ROUNDS = 300 };
static ask images[IMAGES];

/* Images of 1 to 4 rows, and what a session says to them. */
static void make_images(uint64_t seed)
{
    cab_model *m = load(DIGITS);
    cab_session *s = NULL;
    cab_rng r;
    cab_rng_seed(&r, seed);
    CHECK_EQ(cab_session_create(m, NULL, &s, NULL), CAB_RT_OK);
    for (int i = 0; i < IMAGES; i++) {
        ask *a = &images[i];
        int64_t rows = 1 + i % 4;
        for (int k = 0; k < 64 * rows; k++)
            a->x[k] = (float)cab_rng_i64(&r, 0, 16);
        a->in = (cab_tensor_view){ .dtype = 1, .rank = 4, .dims = { rows, 1, 8, 8 }, .data = a->x,
                                   .bytes = (size_t)rows * 256 };
        cab_tensor_view y = { .data = a->y, .bytes = sizeof a->y };
        CHECK_EQ(cab_session_run(s, &a->in, &y, NULL), CAB_RT_OK);
    }
    cab_session_destroy(s);
    cab_model_destroy(m);
}

typedef struct crowd { cab_served *s; int number, wrong; } crowd;

/* Bursts of up to 8 calls, some of them inline. */
static void *crowd_thread(void *arg)
{
    crowd *c = arg;
    static ask room[THREADS][8];
    ask *a = room[c->number];
    cab_rng r;
    cab_rng_seed(&r, (uint64_t)c->number);
    for (int i = 0; i < ROUNDS; i++) {
        int n = (int)cab_rng_i64(&r, 1, 8);
        for (int k = 0; k < n; k++) {
            a[k] = images[cab_rng_i64(&r, 0, IMAGES - 1)];
            a[k].in.data = a[k].x;
            a[k].c = (cab_call){ .inputs = &a[k].in, .outputs = &a[k].out, .done = told };
            if (cab_rng_i64(&r, 0, 1))
                cab_call_submit(c->s, &a[k].c);
            else
                cab_call_submit_inline(c->s, &a[k].c);
        }
        for (int k = 0; k < n; k++) {
            while (!atomic_load(&a[k].told))
                nap(20000);
            c->wrong += !right(&a[k]) || atomic_load(&a[k].told) != 1;
            cab_call_release(&a[k].c);
        }
    }
    return NULL;
}

static void check_bytes(const char *name, const cab_served_config *config)
{
    cab_served *s = serve(DIGITS, config);
    pthread_t t[THREADS];
    crowd c[THREADS];
    int64_t sizes[2] = { 0 }, most = 0;
    cab_served_stats st;
    cab_batch_stats b[64];
    for (int i = 0; i < THREADS; i++) {
        c[i] = (crowd){ s, i, 0 };
        CHECK(!pthread_create(&t[i], NULL, crowd_thread, &c[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        CHECK_EQ(c[i].wrong, 0);
    }
    cab_served_get_stats(s, &st);
    for (int64_t i = 0, n = cab_served_get_batches(s, b, 64); i < n; i++) {
        sizes[0] += (int64_t)b[i].count;
        sizes[1] += i * (int64_t)b[i].count;
        most = b[i].count ? i : most;
    }
    CHECK_EQ(st.fail.count, 0);
    CHECK_EQ(sizes[0], st.executions);
    CHECK(st.waiting == 0 && st.running == 0 && st.success.count == st.queue.count);
    if (config->queue.max_batch) {
        CHECK_EQ(sizes[1], st.inferences);
        CHECK(most <= config->queue.max_batch);
    } else {
        CHECK_EQ(st.executions, st.success.count);
    }
    fprintf(stderr, "%-10s %llu calls, %llu runs, %llu inline; us a call: queue %.0f, input %.1f, "
            "infer %.0f, output %.1f\n", name, (unsigned long long)st.success.count,
            (unsigned long long)st.executions, (unsigned long long)st.inlined,
            (double)st.queue.ns / 1e3 / (double)st.success.count,
            (double)st.input.ns / 1e3 / (double)st.success.count,
            (double)st.infer.ns / 1e3 / (double)st.success.count,
            (double)st.output.ns / 1e3 / (double)st.success.count);
    cab_served_destroy(s);
}

/* ---- caps ---- */

typedef struct burst { cab_served *s; ask *a; int n; } burst;

static void *burst_thread(void *arg)
{
    burst *b = arg;
    for (int i = 0; i < b->n; i++)
        cab_call_submit(b->s, &b->a[i].c);
    return NULL;
}

static void check_cap(void)
{
    enum { N = 40, CAP = 6 };
    static ask a[N];
    cab_served_config config = { .queue = { .max_queue = CAP }, .threads = 1 };
    cab_served *s = serve(NAP, &config);
    cab_served_stats st;
    for (int round = 0; round < 5; round++) {
        int accepted = 0;
        pthread_t t[THREADS];
        burst b[THREADS];
        warm(s);
        atomic_store(&nap_ns, 60 * MS);
        for (int i = 0; i < N; i++)
            nap_ask(&a[i], 1, (float)i);
        for (int i = 0; i < THREADS; i++) {
            b[i] = (burst){ s, a + i * (N / THREADS), N / THREADS };
            pthread_create(&t[i], NULL, burst_thread, &b[i]);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(t[i], NULL);
        cab_served_get_stats(s, &st);
        CHECK_EQ(st.running, 1);
        CHECK_EQ(st.waiting, CAP);
        CHECK(cab_served_turns_away(s));
        cab_served_stats after;
        cab_served_get_stats(s, &after);
        CHECK_EQ(after.full, st.full + 1);
        nap(1 * MS);
        atomic_store(&nap_ns, 0);
        for (int i = 0; i < N; i++) {
            await(&a[i]);
            accepted += a[i].c.code == CAB_RT_OK;
            settle(&a[i], a[i].c.code == CAB_RT_OK ? CAB_RT_OK : CAB_CALL_FULL);
        }
        CHECK_EQ(accepted, CAP + 1);
        CHECK(!cab_served_turns_away(s));
    }
    cab_served_destroy(s);
}

/* ---- deadlines ---- */

static void check_lateness(const ask *a, const char *what)
{
    double late = (double)(a->told_at - a->c.deadline) / MS;
    CHECK(late >= 0 && late < SLACK_MS);
    if (late < 0 || late >= SLACK_MS)
        fprintf(stderr, "%s: %.1f ms late\n", what, late);
}

/* Every executor is busy with the slow model, and those that wait expire on time. */
static void check_deadlines(void)
{
    enum { N = 8 };
    static ask slow[2], a[N];
    cab_served_config config = { .instances = 2 };
    cab_served *s = serve(NAP, &config);
    double worst = 0;
    warm(s);
    atomic_store(&nap_ns, 400 * MS);
    for (int i = 0; i < 2; i++) {
        nap_ask(&slow[i], 1, 1);
        cab_call_submit(s, &slow[i].c);
    }
    until_inside(2);
    for (int i = 0; i < N; i++) {
        nap_ask(&a[i], 1, 1);
        a[i].c.deadline = now_ns() + (N - i) * 20 * MS;        /* the last the earliest */
        cab_call_submit(s, &a[i].c);
    }
    for (int i = N - 1; i >= 0; i--) {
        await(&a[i]);
        check_lateness(&a[i], "waiting");
        worst = (double)(a[i].told_at - a[i].c.deadline) > worst
                    ? (double)(a[i].told_at - a[i].c.deadline) : worst;
        settle(&a[i], CAB_CALL_EXPIRED);
    }
    CHECK_EQ(atomic_load(&nap_inside), 2);
    for (int i = 0; i < 2; i++)
        settle(&slow[i], CAB_RT_OK);
    nap_ask(&a[0], 1, 1);
    a[0].c.deadline = 1;       /* long ago */
    cab_call_submit(s, &a[0].c);
    CHECK_EQ(atomic_load(&a[0].told), 1);
    settle(&a[0], CAB_CALL_EXPIRED);
    atomic_store(&nap_ns, 100 * MS);
    nap_ask(&a[1], 1, 1);      /* alone: the run ends, and at its next launch */
    a[1].c.deadline = now_ns() + 30 * MS;
    cab_call_submit(s, &a[1].c);
    await(&a[1]);
    CHECK(a[1].c.code == CAB_RT_OK || a[1].c.code == CAB_CALL_EXPIRED);
    cab_call_release(&a[1].c);
    cab_served_stats st;
    cab_served_get_stats(s, &st);
    CHECK(st.expired >= N + 1);
    cab_served_destroy(s);
    fprintf(stderr, "deadlines  latest answer %.2f ms after its deadline\n", worst / MS);
}

/* In a batch that runs: answered at once, the neighbour's rows come. */
static void check_batch_ends(void)
{
    static ask a[4];
    cab_served_config config = { .queue = { .max_batch = 4, .max_delay_ns = 500 * MS } };
    cab_served *s = serve(NAP, &config);
    atomic_store(&nap_ns, 300 * MS);
    for (int i = 0; i < 4; i++)
        nap_ask(&a[i], 1, (float)(i + 1));
    a[1].c.deadline = now_ns() + 5000 * (int64_t)MS;
    a[3].c.deadline = now_ns() + 100 * MS;
    for (int i = 0; i < 4; i++)
        cab_call_submit(s, &a[i].c);
    /* The third has no time to wait for company: the batch is full anyway. */
    until_inside(1);
    cab_call_cancel(&a[2].c);
    CHECK_EQ(atomic_load(&a[2].told), 1);
    settle(&a[2], CAB_CALL_CANCELLED);
    await(&a[3]);
    check_lateness(&a[3], "in a batch");
    CHECK_EQ(atomic_load(&nap_inside), 1);
    settle(&a[3], CAB_CALL_EXPIRED);
    settle(&a[0], CAB_RT_OK);
    CHECK_EQ(a[0].c.batch_rows, 4);
    settle(&a[1], CAB_RT_OK);
    cab_served_destroy(s);
}

/* ---- cancelling, draining ---- */

static void check_cancel(void)
{
    static ask a[3];
    cab_served_config config = { .queue = { .max_queue = 10 } };
    cab_served *s = serve(NAP, &config);
    warm(s);
    atomic_store(&nap_ns, 100 * MS);
    for (int i = 0; i < 3; i++) {
        nap_ask(&a[i], 1, 1);
        cab_call_submit(s, &a[i].c);
    }
    until_inside(1);
    cab_call_cancel(&a[1].c);
    CHECK_EQ(atomic_load(&a[1].told), 1);
    cab_call_cancel(&a[0].c);
    CHECK_EQ(atomic_load(&a[0].told), 0);      /* its inputs are being read */
    atomic_store(&nap_ns, 0);
    settle(&a[0], CAB_CALL_CANCELLED);
    settle(&a[1], CAB_CALL_CANCELLED);
    await(&a[2]);
    cab_call_cancel(&a[2].c);
    settle(&a[2], CAB_RT_OK);
    cab_served_destroy(s);
}

static void check_drain(void)
{
    static ask a[4];
    cab_served *s = serve(NAP, &(cab_served_config){ 0 });
    warm(s);
    atomic_store(&nap_ns, 40 * MS);
    for (int i = 0; i < 4; i++)
        nap_ask(&a[i], 1, 1);
    for (int i = 0; i < 3; i++)
        cab_call_submit(s, &a[i].c);
    cab_served_drain(s);
    cab_call_submit(s, &a[3].c);
    CHECK_EQ(atomic_load(&a[3].told), 1);
    settle(&a[3], CAB_CALL_DRAINING);
    cab_served_destroy(s);     /* when they are answered */
    for (int i = 0; i < 3; i++)
        CHECK_EQ(atomic_load(&a[i].told), 1);
    cab_call_cancel(&a[0].c);  /* late, and without effect */
    for (int i = 0; i < 3; i++)        /* answers outlive the model */
        settle(&a[i], CAB_RT_OK);
}

/* ---- on the caller's thread ---- */

static void check_inline(void)
{
    static ask a;
    cab_served *s = serve(NAP, &(cab_served_config){ .inline_ns = 5 * MS });
    long before = 0;
    atomic_store(&nap_ns, 0);
    for (int i = 0; i < 100; i++) {
        if (i == 50)
            before = atomic_load(&allocations);
        nap_ask(&a, 1 + i % 3, (float)i);
        cab_call_submit_inline(s, &a.c);
        if (i >= 50) {
            CHECK_EQ(atomic_load(&a.told), 1);
            CHECK(pthread_equal(a.told_by, pthread_self()));
        }
        settle(&a, CAB_RT_OK);
        nap(i < 10 ? MS : 0);
    }
    CHECK_EQ(atomic_load(&allocations) - before, 0);
    atomic_store(&nap_ns, 40 * MS);
    for (int i = 0; i < 4; i++) {      /* not any more: it has become slow */
        nap_ask(&a, 1, (float)i);
        cab_call_submit_inline(s, &a.c);
        await(&a);
        if (i == 3)
            CHECK(!pthread_equal(a.told_by, pthread_self()));
        settle(&a, CAB_RT_OK);
    }
    cab_served_stats st;
    cab_served_get_stats(s, &st);
    CHECK(st.inlined >= 50 && st.inlined < 104);
    atomic_store(&nap_ns, 0);
    cab_served_destroy(s);
}

/* The executors' way, and batches, allocate nothing either once a shape was seen. */
static void check_steady(void)
{
    static ask a[8];
    cab_served *s = serve(NAP, &(cab_served_config){ .queue = { .max_batch = 8 } });
    long before = 0;
    for (int i = 0; i < 200; i++) {
        if (i == 120)
            before = atomic_load(&allocations);
        for (int k = 0; k < 8; k++) {
            nap_ask(&a[k], 1, (float)k);
            cab_call_submit(s, &a[k].c);
        }
        for (int k = 0; k < 8; k++)
            settle(&a[k], CAB_RT_OK);
    }
    CHECK(atomic_load(&allocations) - before <= 32);   /* sizes of batches met late: 4 each; one a call would be 640 */
    cab_served_destroy(s);
}

/* ---- refusals, levels, neighbours ---- */

static void refused(cab_served *s, ask *a, int code, const char *says)
{
    cab_call_submit(s, &a->c);
    CHECK_EQ(atomic_load(&a->told), 1);
    CHECK(strstr(a->c.error.text, says));
    if (!strstr(a->c.error.text, says))
        fprintf(stderr, "%s\n", a->c.error.text);
    settle(a, code);
}

static void check_refusals(void)
{
    static ask a;
    cab_served *s = serve(NAP, &(cab_served_config){ .queue = { .max_batch = 4, .levels = 2 } });
    cab_error e;
    nap_ask(&a, 5, 1);
    refused(s, &a, CAB_RT_EINPUT, "5 rows, the model takes 4");
    nap_ask(&a, 0, 1);
    refused(s, &a, CAB_RT_EINPUT, "no rows");
    nap_ask(&a, 1, 1);
    a.in.dtype = CAB_TYPE_F64;
    refused(s, &a, CAB_RT_EINPUT, "element type");
    nap_ask(&a, 1, 1);
    a.in.rank = 1;
    refused(s, &a, CAB_RT_EINPUT, "rank 1");
    nap_ask(&a, 1, 1);
    a.in.dims[1] = 5;
    refused(s, &a, CAB_RT_EINPUT, "extent 1 is 5, must be 4");
    nap_ask(&a, 2, 1);
    a.in.bytes = 16;
    refused(s, &a, CAB_RT_EINPUT, "needs 32 bytes, 16 are given");
    nap_ask(&a, 1, 1);
    a.c.level = 3;
    refused(s, &a, CAB_RT_EINPUT, "no such priority");
    cab_served_destroy(s);

    cab_model *m = load(NAP);
    static const struct { cab_served_config c; const char *says; } bad[] = {
        { { .instances = -1 }, "instances" }, { { .threads = -1 }, "threads" },
        { { .queue = { .max_batch = 65537 } }, "65536" }, { { .queue = { .levels = 99 } }, "levels" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(cab_served_create(sched, m, &bad[i].c, &s, &e), CAB_RT_EINVAL);
        CHECK(!s && strstr(e.text, bad[i].says));
    }
    cab_model_destroy(m);
}

static void check_levels(void)
{
    static ask a[4];
    cab_served *s = serve(NAP, &(cab_served_config){ .queue = { .levels = 3, .default_level = 2 } });
    warm(s);
    atomic_store(&nap_ns, 30 * MS);
    for (int i = 0; i < 4; i++) {
        nap_ask(&a[i], 1, (float)i);
        a[i].c.level = i == 0 ? 3 : 4 - i;
        if (i == 2)
            a[i].c.level = 0;
        cab_call_submit(s, &a[i].c);
        until_inside(1);
    }
    for (int i = 0; i < 4; i++)
        settle(&a[i], CAB_RT_OK);
    CHECK(a[0].told_at < a[3].told_at && a[3].told_at < a[2].told_at && a[2].told_at < a[1].told_at);
    atomic_store(&nap_ns, 0);
    cab_served_destroy(s);
}

/* A request that the model refuses does not fail those in its batch. */
static void check_neighbours(void)
{
    static ask a[4];
    cab_served *s = serve(NAP, &(cab_served_config){ .queue = { .max_batch = 8,
                                                     .max_delay_ns = 1000 * (int64_t)MS } });
    for (int i = 0; i < 4; i++) {
        nap_ask(&a[i], 2, i == 2 ? -666 : (float)i);
        cab_call_submit(s, &a[i].c);
    }
    for (int i = 0; i < 4; i++)
        settle(&a[i], i == 2 ? CAB_RT_EINPUT : CAB_RT_OK);
    CHECK(strstr(a[2].c.error.text, "row 0 is bad"));
    cab_served_destroy(s);
}

/* ---- memory ---- */

static cab_memory digits_need(int64_t rows)
{
    cab_model *m = load(DIGITS);
    cab_memory need = { 0 };
    cab_tensor_view v = { .dtype = 1, .rank = 4, .dims = { rows, 1, 8, 8 } };
    CHECK_EQ(cab_model_estimate(m, &v, &need, NULL), CAB_RT_OK);
    cab_model_destroy(m);
    return need;
}

/* Two models, and memory for one of them at a time: they take turns. */
static void check_memory(void)
{
    enum { N = 200 };
    static ask a[N];
    static float big[64 * 400];
    cab_sched *all = sched;
    cab_memory one = digits_need(4), much = digits_need(400);
    uint64_t limit = one.intermediate + 4 * one.outputs + 4096;
    sched = cab_sched_create(&(cab_sched_options){ .executors = 2, .memory = limit });
    cab_served *s[2];
    for (int i = 0; i < 2; i++)
        s[i] = serve(DIGITS, &(cab_served_config){ .instances = 2, .threads = 1,
                                                   .queue = { .max_batch = i ? 4 : 0 } });
    ask *h = &a[0];
    nap_ask(h, 1, 1);
    h->in = (cab_tensor_view){ .dtype = 1, .rank = 4, .dims = { 400, 1, 8, 8 }, .data = big,
                               .bytes = sizeof big };
    CHECK(much.intermediate > limit);
    refused(s[0], h, CAB_RT_ELIMIT, "MB of tensors");
    uint64_t most = 0;
    for (int i = 0; i < N; i++) {
        a[i] = images[i % IMAGES];
        a[i].in.data = a[i].x;
        a[i].c = (cab_call){ .inputs = &a[i].in, .outputs = &a[i].out, .done = told };
        cab_call_submit(s[i % 3 == 0], &a[i].c);
        most = cab_sched_memory(sched) > most ? cab_sched_memory(sched) : most;
    }
    for (int left = N, tries = 0; left && tries < 100000; tries++) {   /* answers hold memory */
        nap(50000);
        for (int i = 0; i < N; i++)
            if (a[i].c.done && atomic_load(&a[i].told)) {
                settle(&a[i], CAB_RT_OK);
                a[i].c.done = NULL;
                left--;
            }
        most = cab_sched_memory(sched) > most ? cab_sched_memory(sched) : most;
    }
    CHECK(most > 0 && most <= limit);
    for (int i = 0; i < 2; i++)
        cab_served_destroy(s[i]);
    cab_sched_trim(sched);
    CHECK_EQ(cab_sched_memory(sched), 0);
    cab_sched_destroy(sched);
    sched = all;
}

/* Holds its executor in done until it may go. */
static atomic_int held, may_go;

static void hold(cab_call *c)
{
    told(c);
    atomic_store(&held, 1);
    while (!atomic_load(&may_go))
        nap(MS);
}

static void *destroy_served(void *arg)
{
    cab_served_destroy(arg);
    return NULL;
}

static void until_held(void)
{
    while (!atomic_load(&held))
        nap(MS);
}

/* A model that goes gives its memory back when it is in no list any more: one that waits for memory is told. */
static void check_memory_of_unloaded(void)
{
    static ask a, b;
    cab_sched *all = sched;
    cab_memory one = digits_need(4);
    pthread_t t;
    atomic_store(&held, 0);
    atomic_store(&may_go, 0);
    sched = cab_sched_create(&(cab_sched_options){ .executors = 2, .memory = one.intermediate + 4 * one.outputs + 4096 });
    cab_served *goes = serve(DIGITS, &(cab_served_config){ .threads = 1 }), *waits = serve(DIGITS, &(cab_served_config){ .threads = 1 });
    a = b = images[3];
    a.in.data = a.x;
    a.c = (cab_call){ .inputs = &a.in, .outputs = &a.out, .done = hold };
    b.in.data = b.x;
    b.c = (cab_call){ .inputs = &b.in, .outputs = &b.out, .done = told };
    cab_call_submit(goes, &a.c);
    until_held();
    CHECK_EQ(a.c.code, CAB_RT_OK);
    cab_call_release(&a.c);            /* the instance keeps its arena */
    CHECK(!pthread_create(&t, NULL, destroy_served, goes));
    nap(20 * MS);                      /* unlinked, waits for its executor */
    cab_call_submit(waits, &b.c);
    nap(50 * MS);
    CHECK(!atomic_load(&b.told));
    atomic_store(&may_go, 1);
    pthread_join(t, NULL);
    settle(&b, CAB_RT_OK);
    cab_served_destroy(waits);
    cab_sched_destroy(sched);
    sched = all;
}

/* Calls of a batch that failed run one by one, in the memory of the batch. */
static void check_memory_of_neighbours(void)
{
    enum { ROWS = 16000, N = 4, BYTES = ROWS * 16 };
    static float x[N][4 * ROWS];
    static ask a[N];
    cab_sched *all = sched;
    uint64_t limit = 3 * (uint64_t)N * BYTES + BYTES + 100000;
    sched = cab_sched_create(&(cab_sched_options){ .executors = 1, .memory = limit });
    cab_served *s = serve(NAP, &(cab_served_config){ .threads = 1, .queue = { .max_batch = N * ROWS, .max_delay_ns = 1000 * (int64_t)MS } });
    atomic_store(&nap_ns, 0);
    for (int i = 0; i < N; i++) {
        nap_ask(&a[i], 1, 1);
        for (int k = 0; k < 4 * ROWS; k++)
            x[i][k] = (float)(i + k % 100);
        x[2][0] = -666;
        a[i].in = (cab_tensor_view){ .dtype = CAB_TYPE_F32, .rank = 2, .dims = { ROWS, 4 }, .data = x[i], .bytes = BYTES };
        cab_call_submit(s, &a[i].c);
    }
    for (int i = 0; i < N; i++)
        await(&a[i]);
    CHECK(cab_sched_memory(sched) <= limit);   /* the answers are held yet */
    for (int i = 0; i < N; i++) {
        const float *y = a[i].out.data;
        bool same = true;
        CHECK_EQ(a[i].c.code, i == 2 ? CAB_RT_EINPUT : CAB_RT_OK);
        CHECK_EQ(a[i].c.batch_rows, ROWS);
        for (int k = 0; i != 2 && k < 4 * ROWS; k++)
            same &= y[k] == 2 * x[i][k];
        CHECK(same);
        cab_call_release(&a[i].c);
    }
    cab_served_destroy(s);
    cab_sched_destroy(sched);
    sched = all;
}

/* Every allocation of loading a model and calling it may fail. */
static void check_no_memory(void)
{
    static ask a[2];
    bool through = false;
    int failures = 0;
    for (long k = 1; k < 2000 && !through; k++) {
        cab_model *m = load(NAP);
        cab_served *s = NULL;
        cab_error e;
        cab_served_config config = { .queue = { .max_batch = 4, .max_delay_ns = 20 * MS,
                                                .n_preferred = 1, .preferred = { 2 } } };
        atomic_store(&fail_at, k);
        int rc = cab_served_create(sched, m, &config, &s, &e);
        CHECK(rc == CAB_RT_OK || (rc == CAB_RT_ENOMEM && !s) || (rc == CAB_RT_EINVAL && !s));
        failures += rc != CAB_RT_OK;
        if (rc != CAB_RT_OK)
            cab_model_destroy(m);
        for (int i = 0; s && i < 2; i++) {
            nap_ask(&a[i], 1, (float)i);
            cab_call_submit(s, &a[i].c);
        }
        for (int i = 0; s && i < 2; i++) {
            await(&a[i]);
            failures += a[i].c.code != CAB_RT_OK;
            CHECK(a[i].c.code == CAB_RT_OK ? right(&a[i]) : a[i].c.code == CAB_RT_ENOMEM);
            cab_call_release(&a[i].c);
        }
        through = atomic_load(&fail_at) > 0;
        atomic_store(&fail_at, 0);
        cab_served_destroy(s);
        cab_sched_trim(sched);
    }
    CHECK(through && failures > 10);
}

static void check_cycles(void)
{
    static ask a;
    size_t before = 0;
    for (int i = 0; i < CYCLES; i++) {
        cab_served *s = serve(NAP, &(cab_served_config){ .instances = 2 });
        nap_ask(&a, 1, 1);
        cab_call_submit(s, &a.c);
        if (i % 2)
            await(&a);         /* else destroy waits for it */
        cab_served_destroy(s);
        settle(&a, CAB_RT_OK);
        if (i == CYCLES / 10)
            before = mallinfo2().uordblks;
    }
    CHECK(mallinfo2().uordblks <= before + 4096);
}

/* ---- everything at once ---- */

typedef struct storm { cab_served *s[2]; uint64_t seed; int number; int64_t by_code[128]; int wrong; } storm;

static void *storm_thread(void *arg)
{
    storm *t = arg;
    enum { HAND = 16 };
    static ask room[THREADS][HAND];
    ask *a = room[t->number];
    cab_rng r;
    cab_rng_seed(&r, t->seed + (uint64_t)t->number);
    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < HAND; k++) {
            nap_ask(&a[k], cab_rng_i64(&r, 1, 5), cab_rng_i64(&r, 0, 40) ? (float)k : -666);
            a[k].c.deadline = cab_rng_i64(&r, 0, 2) ? 0 : now_ns() + cab_rng_i64(&r, -1000, 2 * MS);
            a[k].c.level = (int)cab_rng_i64(&r, 0, 2);
            cab_served *s = t->s[cab_rng_i64(&r, 0, 1)];
            if (cab_rng_i64(&r, 0, 1))
                cab_call_submit(s, &a[k].c);
            else
                cab_call_submit_inline(s, &a[k].c);
            if (!cab_rng_i64(&r, 0, 5))
                cab_call_cancel(&a[cab_rng_i64(&r, 0, k)].c);
        }
        for (int k = 0; k < HAND; k++) {
            while (!atomic_load(&a[k].told))
                nap(20000);
            int code = a[k].c.code;
            t->by_code[code < 128 ? code : 127]++;
            t->wrong += atomic_load(&a[k].told) != 1;
            t->wrong += code == CAB_RT_OK && (!right(&a[k]) || a[k].x[0] == -666);
            t->wrong += code == CAB_RT_EINPUT && a[k].x[0] != -666 && a[k].in.dims[0] <= 4;
            cab_call_release(&a[k].c);
        }
    }
    return NULL;
}

static void check_storm(uint64_t seed)
{
    pthread_t t[THREADS];
    static storm m[THREADS];
    cab_served *s[2] = {
        serve(NAP, &(cab_served_config){ .queue = { .max_batch = 4, .max_delay_ns = 200000, .levels = 2,
                                                    .max_queue = 30 }, .instances = 2 }),
        serve(NAP, &(cab_served_config){ .queue = { .levels = 2, .max_queue = 20,
                                                    .default_timeout_ns = 20 * MS } }) };
    int64_t all = 0, by[128] = { 0 };
    atomic_store(&nap_ns, 30000);
    for (int i = 0; i < THREADS; i++) {
        m[i] = (storm){ .s = { s[0], s[1] }, .seed = seed, .number = i };
        pthread_create(&t[i], NULL, storm_thread, &m[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        CHECK_EQ(m[i].wrong, 0);
        for (int k = 0; k < 128; k++) {
            by[k] += m[i].by_code[k];
            all += m[i].by_code[k];
        }
    }
    CHECK_EQ(all, THREADS * 400 * 16);
    CHECK_EQ(all, by[CAB_RT_OK] + by[CAB_RT_EINPUT] + by[CAB_CALL_FULL] + by[CAB_CALL_EXPIRED] +
                      by[CAB_CALL_CANCELLED]);
    fprintf(stderr, "storm      %lld ok, %lld bad, %lld full, %lld expired, %lld cancelled\n",
            (long long)by[0], (long long)by[CAB_RT_EINPUT], (long long)by[CAB_CALL_FULL],
            (long long)by[CAB_CALL_EXPIRED], (long long)by[CAB_CALL_CANCELLED]);
    atomic_store(&nap_ns, 0);
    for (int i = 0; i < 2; i++)
        cab_served_destroy(s[i]);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    compile_models();
    sched = cab_sched_create(&(cab_sched_options){ .executors = 2 });
    CHECK(sched);
    make_images(seed);
    check_bytes("alone", &(cab_served_config){ .instances = 2, .threads = 1 });
    check_bytes("batches", &(cab_served_config){ .threads = 1, .queue = { .max_batch = 8 } });
    check_bytes("delay", &(cab_served_config){ .instances = 2, .queue = { .max_batch = 16,
                           .max_delay_ns = 200000, .n_preferred = 1, .preferred = { 8 } } });
    check_cap();
    check_deadlines();
    check_batch_ends();
    check_cancel();
    check_drain();
    check_inline();
    check_steady();
    check_refusals();
    check_levels();
    check_neighbours();
    check_memory();
    check_memory_of_unloaded();
    check_memory_of_neighbours();
    check_no_memory();
    check_storm(seed);
    check_cycles();
    cab_sched_trim(sched);
    CHECK_EQ(cab_sched_memory(sched), 0);
    cab_sched_destroy(sched);
    free(artifacts[DIGITS]);
    free(artifacts[NAP]);
    TEST_END();
}
