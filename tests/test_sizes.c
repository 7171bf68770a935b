/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sizes.c - specialised plans: artifacts for listed sizes, and sizes that
 * a watched model meets often.
 *
 * The model makes its input longer, so that its output is the next run's input
 * of another size, and so of another plan.
 */
#include "libcab/libcab.h"
#include "tests/test.h"
#include "tests/wire.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 40 };
static wire model;             /* y = concat(x + a, a), z = y b;  x: f32[N, 4] */
static const float a_row[4] = { 1, 2, 3, 4 };
static const float b_matrix[16] = { 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 2, 0, 0, -1, 0, 1 };

static wire constant(const char *name, int64_t rows, const float *p)
{
    const int64_t dims[2] = { rows, 4 };
    wire t = m_tensor(name, 1, 2, dims);
    w_blob(&t, 9, p, (size_t)rows * 16);
    return t;
}

static void make_model(void)
{
    const int64_t dims[2] = { -1, 4 };
    wire g = { 0 }, concat = m_node("Concat", "s,a", "y");
    w_sub(&concat, 5, m_attr_int("axis", 0));
    w_sub(&g, 1, m_node("Add", "x,a", "s"));
    w_sub(&g, 1, concat);
    w_sub(&g, 1, m_node("MatMul", "y,b", "z"));
    w_str(&g, 2, "g");
    w_sub(&g, 5, constant("a", 1, a_row));
    w_sub(&g, 5, constant("b", 4, b_matrix));
    w_sub(&g, 11, m_value("x", 2, dims));
    w_sub(&g, 12, m_value("y", -1, NULL));
    w_sub(&g, 12, m_value("z", -1, NULL));
    model = m_model(14, g);
}

/* ---- runs ---- */

typedef struct io { float x[LONGEST * 4]; cab_tensor_view in, out[2]; } io;

static void set(io *k, int64_t n)
{
    for (int i = 0; i < LONGEST * 4; i++)
        k->x[i] = (float)(i % 7) - 3;
    k->in = (cab_tensor_view){ 1, 2, { n, 4 }, k->x, (size_t)n * 16 };
    k->out[0] = k->out[1] = (cab_tensor_view){ 0 };
}

/* y and z for k->in, which is left as it is. */
static bool right(const float *x, int64_t n, const cab_tensor_view *out)
{
    bool ok = out[0].dims[0] == n + 1 && out[1].dims[0] == n + 1;
    const float *y = out[0].data, *z = out[1].data;
    for (int64_t i = 0; ok && i <= n; i++)
        for (int j = 0; j < 4; j++) {
            float sum = 0;
            for (int m = 0; m < 4; m++)
                sum += y[i * 4 + m] * b_matrix[m * 4 + j];
            ok = ok && y[i * 4 + j] == (i < n ? x[i * 4 + j] : 0) + a_row[j] && z[i * 4 + j] == sum;
        }
    return ok;
}

/* What the trace says of the last run. */
static const char *plan_of(const cab_session *s)
{
    const cab_trace_event *ev;
    size_t n;
    return cab_session_trace(s, &ev, &n) == CAB_RT_OK && n && !strcmp(ev[0].kind, "plan") ? ev[0].name
                                                                                         : "none";
}

static bool run_size(cab_session *s, int64_t n, const char *plan)
{
    io k;
    cab_error e = { 0 };
    set(&k, n);
    if (cab_session_run(s, &k.in, k.out, &e) != CAB_RT_OK) {
        fprintf(stderr, "%s\n", e.text);
        return false;
    }
    if (plan && strcmp(plan_of(s), plan))
        fprintf(stderr, "N = %d ran the plan for %s\n", (int)n, plan_of(s));
    return right(k.x, n, k.out) && (!plan || !strcmp(plan_of(s), plan));
}

/* ---- listed sizes ---- */

static cab_compile_options listed(const cab_dim_range *dims, size_t n)
{
    cab_compile_options o = CAB_INIT(cab_compile_options);
    o.dims = dims;
    o.n_dims = n;
    o.model_name = "grow";
    return o;
}

static int compile(const cab_compile_options *o, int *fd, char *why)
{
    cab_report *r;
    int rc = cab_compile_memory(model.p, model.n, NULL, o, fd, &r);
    snprintf(why, 400, "%s", cab_report_text(r));
    cab_report_destroy(r);
    return rc;
}

static const cab_dim_range three[] = { { "N", 3, 3 }, { "N", 5, 5 }, { "N", 9, 9 } };

static void check_listed(int isolate, const char *target)
{
    cab_compile_options o = listed(three, 3);
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    cab_error e = { 0 };
    cab_tensor_info info;
    cab_model *m;
    cab_session *s;
    char why[400];
    int fd;
    o.isolate = isolate;
    o.target = target;
    CHECK_EQ(compile(&o, &fd, why), CAB_RT_OK);
    CHECK_STR(why, "");
    CHECK_EQ(cab_model_load_fd(fd, "grow", NULL, &m, &e), CAB_RT_OK);
    close(fd);
    CHECK_EQ(cab_model_special_count(m), 3);
    CHECK_EQ(cab_model_input(m, 0, &info), 0);
    CHECK(info.dims[0] == -1 && info.dims[1] == 4);
    CHECK_STR(info.dim_names[0], "N");
    CHECK_EQ(cab_session_create(m, &so, &s, &e), CAB_RT_OK);
    CHECK(run_size(s, 4, "all sizes"));
    CHECK(run_size(s, 3, "N=3"));
    CHECK(run_size(s, 5, "N=5"));
    CHECK(run_size(s, 9, "N=9"));
    CHECK(run_size(s, 0, "all sizes"));
    uint64_t before = cab_session_allocations(s);
    CHECK(before > 0);
    for (int i = 0; i < 20; i++)
        CHECK(run_size(s, 3 + i % 3, i % 3 == 0 ? "N=3" : i % 3 == 1 ? "all sizes" : "N=5"));
    CHECK_EQ(cab_session_allocations(s), before);
    CHECK(cab_session_arena_bytes(s) < 1 << 20);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* The session's output of one run is the next one's input, and each takes
 * another plan than the one before. */
static void check_carried(void)
{
    const cab_dim_range even[] = { { "N", 2, 2 }, { "N", 4, 4 }, { "N", 6, 6 }, { "N", 7, 7 },
                                   { "N", 10, 10 } };
    cab_compile_options o = listed(even, 5);
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    cab_error e = { 0 };
    cab_model *m;
    cab_session *s;
    char why[400];
    float x[LONGEST * 4];
    io k;
    int fd, others = 0;
    bool ok = true;
    CHECK_EQ(compile(&o, &fd, why), CAB_RT_OK);
    CHECK_EQ(cab_model_load_fd(fd, "grow", NULL, &m, &e), CAB_RT_OK);
    close(fd);
    CHECK_EQ(cab_session_create(m, &so, &s, &e), CAB_RT_OK);
    set(&k, 1);
    for (int64_t n = 1; n < LONGEST - 1 && ok; n++) {
        memcpy(x, k.in.data, (size_t)n * 16);
        ok = cab_session_run(s, &k.in, k.out, &e) == CAB_RT_OK && right(x, n, k.out);
        others += !!strcmp(plan_of(s), "all sizes");
        k.in = k.out[0];               /* views that are used again, with memory of the session */
    }
    CHECK(ok);
    CHECK_EQ(others, 5);
    /* An output of the caller's, and one over the input. */
    set(&k, 4);
    memcpy(x, k.x, sizeof x);
    k.out[0].data = k.x;
    k.out[0].bytes = sizeof k.x;
    CHECK_EQ(cab_session_run(s, &k.in, k.out, &e), CAB_RT_OK);
    CHECK(right(x, 4, k.out) && k.out[0].data == (void *)k.x);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

static void check_list_refusals(void)
{
    cab_dim_range d[20];
    cab_compile_options o = listed(d, 20);
    char why[400];
    int fd;
    for (int i = 0; i < 20; i++)
        d[i] = (cab_dim_range){ "N", i + 1, i + 1 };
    CHECK_EQ(compile(&o, &fd, why), CAB_RT_EINVAL);
    CHECK(strstr(why, "more than 16 combinations"));
    o = listed((const cab_dim_range[]){ { "M", 1, 1 }, { "M", 2, 2 } }, 2);
    CHECK_EQ(compile(&o, &fd, why), CAB_RT_EINVAL);
    CHECK(strstr(why, "'M'") && strstr(why, "no input has an open extent"));
    o = listed((const cab_dim_range[]){ { "N", 1, 1 }, { "N", 9, 9 }, { "N", 2, 12 } }, 3);
    CHECK_EQ(compile(&o, &fd, why), CAB_RT_EINVAL);
    CHECK(strstr(why, "'N' is to be 1, and is said to be from 2 to 12"));
    /* The same value twice is one value. */
    cab_model *m;
    cab_tensor_info info;
    o = listed((const cab_dim_range[]){ { "N", 6, 6 }, { "N", 6, 6 } }, 2);
    CHECK_EQ(compile(&o, &fd, why), CAB_RT_OK);
    CHECK_EQ(cab_model_load_fd(fd, "grow", NULL, &m, NULL), CAB_RT_OK);
    CHECK(cab_model_input(m, 0, &info) == 0 && info.dims[0] == 6 && !cab_model_special_count(m));
    cab_model_destroy(m);
    close(fd);
    /* Text forms are for one plan. */
    cab_diag diag;
    cab_compiler c = { .import = { .n_binds = 2, .binds = (const cab_import_bind[]){ { "N", 1 }, { "N", 2 } } } };
    char *text = NULL;
    size_t n;
    cab_diag_init(&diag);
    CHECK_EQ(cab_compiler_emit(&c, &(cab_source){ NULL, model.p, model.n }, "c", NULL, &text, &n, &diag),
             CAB_EINVAL);
    CHECK(cab_diag_first(&diag) && strstr(cab_diag_first(&diag)->text, "--emit"));
    cab_diag_fini(&diag);
}

/* Values offered for one size do not get in the way of the others. */
static void check_offered(void)
{
    io k;
    cab_compile_options o = listed(three, 3);
    char why[400];
    int fd;
    set(&k, 5);
    o.inputs = &(cab_offered_input){ "x", k.in };
    o.n_inputs = 1;
    CHECK_EQ(compile(&o, &fd, why), CAB_RT_OK);
    CHECK_STR(why, "");
    close(fd);
}

/* ---- the container ---- */

static uint8_t *bytes_of(const cab_compile_options *o, size_t *n)
{
    char why[400];
    cab_mapping m;
    int fd;
    CHECK_EQ(compile(o, &fd, why), CAB_RT_OK);
    CHECK_EQ(cab_fd_map(fd, "grow", &m, NULL), CAB_OK);
    uint8_t *p = aligned_alloc(64, (m.n + 63) / 64 * 64);
    CHECK(p != NULL);
    memcpy(p, m.p, *n = m.n);
    cab_file_unmap(&m);
    close(fd);
    return p;
}

/* Every byte of the plans and the code of specialisations counts. */
static void check_damage(void)
{
    cab_compile_options o = listed(three, 3);
    cab_artifact a;
    cab_error e = { 0 };
    cab_model *m;
    size_t n;
    int wrong = 0, tried = 0;
    uint8_t *p = bytes_of(&o, &n);
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_OK);
    CHECK(a.n_variants == 4 && a.n_targets == 1);
    CHECK_EQ(cab_artifact_verify(&a, &e), CAB_OK);
    for (uint32_t i = 0; i < a.header->n_sections; i++) {
        const cab_file_section s = a.sections[i];
        for (uint64_t at = 0; s.special_of && at < s.bytes; at += 37, tried++) {
            p[s.offset + at] ^= 4;
            wrong += cab_model_load_memory(p, n, "grow", NULL, &m, &e) != CAB_RT_EARTIFACT ||
                     !strstr(e.text, cab_section_name(s.kind));
            p[s.offset + at] ^= 4;
        }
    }
    CHECK(tried > 100);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(cab_model_load_memory(p, n, "grow", NULL, &m, &e), CAB_RT_OK);
    cab_model_destroy(m);
    free(p);
}

/* Makes the header's hash good again, and that of every plan. */
static void reseal(uint8_t *p)
{
    cab_file_section *sec = (cab_file_section *)(void *)(p + sizeof(cab_file_header));

    cab_file_header h;
    cab_sha256 sum;
    memcpy(&h, p, sizeof h);
    memset(h.sha256, 0, sizeof h.sha256);
    for (uint32_t i = 0; i < h.n_sections; i++)
        if (sec[i].kind == CAB_SEC_PLAN)
            cab_sha256_of(p + sec[i].offset, sec[i].bytes, sec[i].sha256);
    cab_sha256_init(&sum);
    cab_sha256_add(&sum, &h, sizeof h);
    cab_sha256_add(&sum, p + sizeof h, h.n_sections * sizeof(cab_file_section));
    cab_sha256_done(&sum, h.sha256);
    memcpy(p, &h, sizeof h);
}

/* Whole sections in the wrong roles, the checksums good. */
static void check_roles(void)
{
    cab_compile_options o = listed(three, 3), other = listed(NULL, 0);
    cab_error e = { 0 };
    cab_artifact a;
    cab_model *m;
    size_t n;
    uint8_t *p = bytes_of(&o, &n);
    cab_file_section *sec = (cab_file_section *)(void *)(p + sizeof(cab_file_header));
    uint32_t n_sec = ((cab_file_header *)(void *)p)->n_sections;
    static const uint32_t bad[] = { 2, 3, 4, 99, UINT32_MAX };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        for (uint32_t i = 0; i < n_sec; i++)
            sec[i].special_of = sec[i].special_of ? bad[k] : 0;
        reseal(p);
        CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_EARTIFACT);
        CHECK(strstr(e.text, "section plan specialises no other"));
    }
    /* It needs more of the processor than the plan it belongs to. */
    for (uint32_t i = 0; i < n_sec; i++) {
        sec[i].special_of = sec[i].special_of ? 1 : 0;
        sec[i].isa |= sec[i].special_of ? 1u << 30 : 0;
    }
    reseal(p);
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_EARTIFACT);
    free(p);
    /* Of another model. */
    p = bytes_of(&o, &n);
    sec = (cab_file_section *)(void *)(p + sizeof(cab_file_header));
    CHECK(sec[2].kind == CAB_SEC_PLAN && sec[2].special_of);
    p[sec[2].offset + offsetof(cab_plan_header, model_hash)] ^= 1;
    reseal(p);
    CHECK_EQ(cab_model_load_memory(p, n, "grow", NULL, &m, &e), CAB_RT_EARTIFACT);
    CHECK(strstr(e.text, "does not belong"));
    free(p);
    /* The plan of a lower level, for all sizes, passed off as one for some. */
    other.target = "x86-64-v2,x86-64-v3";
    p = bytes_of(&other, &n);
    sec = (cab_file_section *)(void *)(p + sizeof(cab_file_header));
    n_sec = ((cab_file_header *)(void *)p)->n_sections;
    for (uint32_t i = 0; i < n_sec; i++)
        if (sec[i].kind == CAB_SEC_PLAN || sec[i].kind == CAB_SEC_CODE) {
            sec[i].special_of = sec[i].variant;
            sec[i].isa = sec[0].isa;
        }
    reseal(p);
    CHECK_EQ(cab_model_load_memory(p, n, "grow", NULL, &m, &e), CAB_RT_EARTIFACT);
    CHECK(strstr(e.text, "does not belong"));
    free(p);
    other.target = NULL;
    /* A file without lists has one plan. */
    p = bytes_of(&other, &n);
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_OK);
    CHECK(a.n_variants == 1 && a.n_targets == 1);
    CHECK_EQ(cab_model_load_memory(p, n, "grow", NULL, &m, &e), CAB_RT_OK);
    CHECK_EQ(cab_model_special_count(m), 0);
    cab_model_destroy(m);
    free(p);
}

typedef struct counter { atomic_int live, calls; int fail_at; } counter;

static void *count_alloc(void *user, size_t bytes, size_t align)
{
    counter *c = user;
    if (atomic_fetch_add(&c->calls, 1) + 1 == c->fail_at)
        return NULL;
    atomic_fetch_add(&c->live, 1);
    align = align < sizeof(void *) ? sizeof(void *) : align;
    return aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void count_release(void *user, void *p)
{
    atomic_fetch_sub(&((counter *)user)->live, 1);
    free(p);
}

/* Every allocation of a load and of runs on all plans fails once: a story, or
 * right results by the plan for all sizes. */
static void check_memory(void)
{
    cab_compile_options o = listed(three, 3);
    size_t n;
    uint8_t *p = bytes_of(&o, &n);
    bool wrong = false, through = false;
    int k = 1;
    for (; !through && k < 500; k++) {
        counter c = { .fail_at = k };
        cab_allocator hook = { count_alloc, count_release, &c };
        cab_model_options mo = { .size = sizeof mo, .allocator = &hook };
        cab_model *m;
        cab_session *s = NULL;
        cab_error e = { 0 };
        int rc = cab_model_load_memory(p, n, "grow", &mo, &m, &e);
        if (rc == CAB_RT_OK)
            rc = cab_session_create(m, NULL, &s, &e);
        for (int i = 0; i < 4 && rc == CAB_RT_OK; i++) {
            io x;
            set(&x, i + 3);
            rc = cab_session_run(s, &x.in, x.out, &e);
            wrong |= rc == CAB_RT_OK && !right(x.x, i + 3, x.out);
        }
        through = c.calls < k;
        wrong |= rc != CAB_RT_OK && rc != CAB_RT_ENOMEM;
        cab_session_destroy(s);
        cab_model_destroy(m);
        wrong |= c.live != 0;
    }
    CHECK(!wrong && through && k > 60);
    free(p);
}

/* ---- sizes that are met often ---- */

static cab_model *watched(int after, int most, const cab_model_options *mo)
{
    cab_compile_options o = listed(NULL, 0);
    cab_model *m = NULL;
    cab_report *r;
    o.specialise = 1;
    o.specialise_after = after;
    o.specialise_most = most;
    CHECK_EQ(cab_jit_memory(model.p, model.n, NULL, &o, mo, &m, &r), CAB_RT_OK);
    CHECK_STR(cab_report_text(r), "");
    cab_report_destroy(r);
    return m;
}

/* Runs N = n until the trace names that plan; how many runs that took, or -1. */
static int until(cab_session *s, int64_t n, const char *plan)
{
    for (int i = 1; i < 20000; i++) {
        if (!run_size(s, n, NULL))
            return -1;
        if (!strcmp(plan_of(s), plan))
            return i;
        nanosleep(&(struct timespec){ 0, 500000 }, NULL);
    }
    return -1;
}

static void check_often(void)
{
    cab_model *m = watched(4, 2, NULL);
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    cab_error e = { 0 };
    cab_session *s, *other;
    CHECK_EQ(cab_session_create(m, &so, &s, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_create(m, &so, &other, &e), CAB_RT_OK);
    for (int i = 0; i < 3; i++)            /* all once, none often */
        for (int n = 0; n < 20; n++)
            CHECK(run_size(s, n, "all sizes"));
    nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
    CHECK_EQ(cab_model_special_count(m), 0);
    CHECK(until(s, 7, "N=7") > 0);
    CHECK(run_size(other, 7, "N=7"));      /* sessions of the model share them */
    CHECK(until(s, 8, "N=8") > 0);
    CHECK(run_size(s, 7, "N=7"));
    uint64_t before = cab_session_allocations(s);
    for (int i = 0; i < 10; i++)
        CHECK(run_size(s, 7 + i % 2, i % 2 ? "N=8" : "N=7"));
    CHECK_EQ(cab_session_allocations(s), before);
    CHECK(run_size(s, 7, "N=7"));          /* 8 is older now, and goes */
    CHECK(until(s, 9, "N=9") > 0);
    CHECK_EQ(cab_model_special_count(m), 2);
    CHECK(run_size(s, 7, "N=7"));
    CHECK(run_size(s, 8, "all sizes"));
    CHECK(until(s, 8, "N=8") > 4);         /* it must be met more often than at first */
    CHECK(cab_session_allocations(s) > before);
    cab_model_destroy(m);
    cab_session_destroy(s);
    cab_session_destroy(other);            /* the model ends here */
}

/* Listed sizes have their plans; others earn them, and only those go again. */
static void check_both(void)
{
    cab_compile_options o = listed(three, 3);
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    cab_model *m;
    cab_session *s;
    o.specialise = o.specialise_after = o.specialise_most = 1;
    CHECK_EQ(cab_jit_memory(model.p, model.n, NULL, &o, NULL, &m, NULL), CAB_RT_OK);
    CHECK_EQ(cab_session_create(m, &so, &s, NULL), CAB_RT_OK);
    CHECK(run_size(s, 5, "N=5"));
    CHECK(until(s, 7, "N=7") > 0);
    CHECK(until(s, 8, "N=8") > 0);
    CHECK_EQ(cab_model_special_count(m), 4);
    CHECK(run_size(s, 3, "N=3") && run_size(s, 5, "N=5") && run_size(s, 9, "N=9"));
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* The output of a plan that is given up is the next run's input. */
static void check_given_up(void)
{
    cab_model *m = watched(1, 1, NULL);
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    cab_error e = { 0 };
    cab_session *s, *other;
    float x[LONGEST * 4];
    io k;
    CHECK_EQ(cab_session_create(m, &so, &s, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_create(m, &so, &other, &e), CAB_RT_OK);
    CHECK(until(s, 5, "N=5") > 0);
    set(&k, 5);
    CHECK_EQ(cab_session_run(s, &k.in, k.out, &e), CAB_RT_OK);
    CHECK_STR(plan_of(s), "N=5");
    CHECK(until(other, 11, "N=11") > 0);   /* N=5 is no more */
    CHECK_EQ(cab_model_special_count(m), 1);
    CHECK_STR(plan_of(s), "N=5");          /* and its trace is still there */
    k.in = k.out[0];
    memcpy(x, k.in.data, 6 * 16);
    CHECK_EQ(cab_session_run(s, &k.in, k.out, &e), CAB_RT_OK);
    CHECK(right(x, 6, k.out));
    cab_session_destroy(s);
    cab_session_destroy(other);
    cab_model_destroy(m);
}

typedef struct runner { pthread_t t; cab_model *m; int id; atomic_int *wrong, *special; } runner;

static void *run_many(void *arg)
{
    runner *r = arg;
    cab_session *s;
    cab_session_options so = { .size = sizeof so, .threads = 1, .trace = 1 };
    int64_t end = cab_now_ns() + INT64_C(700000000);
    while (cab_now_ns() < end) {
        if (cab_session_create(r->m, &so, &s, NULL) != CAB_RT_OK)
            return NULL;
        for (int i = 0; i < 4000; i++) {
            if (!run_size(s, (i / 200 + r->id) % 6, NULL))
                atomic_fetch_add(r->wrong, 1);
            atomic_fetch_add(r->special, strcmp(plan_of(s), "all sizes") != 0);
        }
        cab_session_destroy(s);
    }
    return NULL;
}

/* Many sessions on many threads, more hot sizes than plans. */
static void check_many(void)
{
    enum { N = 4 };
    runner r[N];
    atomic_int wrong = 0, special = 0;
    cab_model *m = watched(3, 3, NULL);
    for (int i = 0; i < N; i++) {
        r[i] = (runner){ .m = m, .id = i, .wrong = &wrong, .special = &special };
        CHECK_EQ(pthread_create(&r[i].t, NULL, run_many, &r[i]), 0);
    }
    for (int i = 0; i < N; i++)
        pthread_join(r[i].t, NULL);
    CHECK_EQ(atomic_load(&wrong), 0);
    CHECK(atomic_load(&special) > 100);
    CHECK(cab_model_special_count(m) <= 3);
    cab_model_destroy(m);
}

/* The model goes while the thread is at work. */
static void check_early_end(void)
{
    for (int i = 0; i < 12; i++) {
        cab_model *m = watched(1, 0, NULL);
        cab_session *s;
        CHECK_EQ(cab_session_create(m, NULL, &s, NULL), CAB_RT_OK);
        cab_model_destroy(m);
        for (int n = 1; n < 4; n++)
            CHECK(run_size(s, n, NULL));
        nanosleep(&(struct timespec){ 0, i * 1000000 }, NULL);
        int64_t t = cab_now_ns();
        cab_session_destroy(s);
        CHECK(cab_now_ns() - t < INT64_C(2000000000));
    }
}

static void check_specialise_refusals(void)
{
    cab_compile_options o = listed(NULL, 0);
    cab_model *m;
    cab_report *r;
    o.specialise = 1;
    o.specialise_most = 33;
    CHECK_EQ(cab_jit_memory(model.p, model.n, NULL, &o, NULL, &m, &r), CAB_RT_EINVAL);
    CHECK(strstr(cab_report_text(r), "from 1 to 32") && !m);
    cab_report_destroy(r);
    o.specialise_most = 0;
    o.custom = &(cab_custom_shape){ .name = "x" };
    o.n_custom = 1;
    CHECK_EQ(cab_jit_memory(model.p, model.n, NULL, &o, NULL, &m, &r), CAB_RT_EINVAL);
    CHECK(strstr(cab_report_text(r), "custom operators do not go with specialise"));
    cab_report_destroy(r);
    /* Nothing is open: nothing to wait for. */
    o = listed((const cab_dim_range[]){ { "N", 2, 2 } }, 1);
    o.specialise = 1;
    CHECK_EQ(cab_jit_memory(model.p, model.n, NULL, &o, NULL, &m, NULL), CAB_RT_OK);
    cab_model_destroy(m);
}

/* The file is another one by now: its plan is refused, the runs go on. */
static void check_changed_file(void)
{
    char path[] = "/tmp/cab-sizes-XXXXXX";
    cab_compile_options o = listed(NULL, 0);
    cab_model *m;
    cab_session *s;
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQ(cab_file_write(path, model.p, model.n, NULL), CAB_OK);
    o.specialise = o.specialise_after = 1;
    CHECK_EQ(cab_jit_file(path, &o, NULL, &m, NULL), CAB_RT_OK);
    wire other = { 0 };
    w_bytes(&other, model.p, model.n);
    w_str(&other, 6, "another");           /* doc_string */
    CHECK_EQ(cab_file_write(path, other.p, other.n, NULL), CAB_OK);
    w_free(&other);
    CHECK_EQ(cab_session_create(m, NULL, &s, NULL), CAB_RT_OK);
    for (int i = 0; i < 20; i++) {
        CHECK(run_size(s, 3, NULL));
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    }
    CHECK_EQ(cab_model_special_count(m), 0);
    cab_session_destroy(s);
    cab_model_destroy(m);
    unlink(path);
}

/* All memory of all plans comes from the host's hooks, and goes back. */
static void check_allocator(void)
{
    counter c = { 0 };
    cab_allocator hook = { count_alloc, count_release, &c };
    cab_model_options mo = { .size = sizeof mo, .allocator = &hook };
    cab_model *m = watched(2, 1, &mo);
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    cab_session *s;
    CHECK_EQ(cab_session_create(m, &so, &s, NULL), CAB_RT_OK);
    CHECK(until(s, 3, "N=3") > 0);
    CHECK(until(s, 4, "N=4") > 0);
    CHECK(run_size(s, 4, "N=4"));
    int before = atomic_load(&c.calls);
    for (int i = 0; i < 5; i++)
        CHECK(run_size(s, 4, "N=4"));
    CHECK_EQ(atomic_load(&c.calls), before);
    cab_session_destroy(s);
    cab_model_destroy(m);
    CHECK_EQ(atomic_load(&c.live), 0);
}

int main(void)
{
    make_model();
    check_listed(0, NULL);
    check_listed(1, NULL);
    check_listed(0, "x86-64-v2,x86-64-v3");
    check_carried();
    check_list_refusals();
    check_offered();
    check_damage();
    check_roles();
    check_memory();
    check_often();
    check_both();
    check_given_up();
    check_many();
    check_early_end();
    check_specialise_refusals();
    check_changed_file();
    check_allocator();
    w_free(&model);
    TEST_END();
}
