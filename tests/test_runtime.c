/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_runtime.c - the runtime on plans made by hand: control instructions,
 * size reads, dynamic values, refusals, packing, the pool, hostile files.
 */
#include "runtime/session_int.h"
#include "tests/plan_kit.h"
#include <pthread.h>

/* ---- tests ---- */

/* out[2] <- in[2] through an arena copy, n times round a loop. */
static void check_loop_and_copy(void)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    int64_t in[2] = { 3, 9 };
    start(&k);
    uint32_t two = num(&k, 2), bytes = num(&k, 16), three = num(&k, 3);
    uint32_t count = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0);
    uint32_t x = value(&k, CAB_V_INPUT, two, bytes), y = value(&k, CAB_V_OUTPUT, two, bytes);
    uint32_t t = value(&k, CAB_V_ARENA, two, bytes);
    instr(&k, CAB_I_ZERO, y, 0, 0);
    uint32_t l = instr(&k, CAB_I_LOOP, count, three, 5);
    instr(&k, CAB_I_COPY, t, x, 0);
    instr(&k, CAB_I_COPY, y, t, 0);
    instr(&k, CAB_I_NEXT, count, l, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    cab_session_options o = { .size = sizeof o, .threads = 1, .trace = 1 };
    CHECK_EQ(cab_session_create(m, &o, &s, &e), CAB_OK);
    cab_tensor_view iv = i64s(in, 2), ov = { 0 };
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK_EQ(((int64_t *)ov.data)[0], 3);
    CHECK_EQ(((int64_t *)ov.data)[1], 9);
    CHECK_EQ(ov.rank, 1);
    CHECK_EQ(ov.dims[0], 2);
    const cab_trace_event *ev;
    size_t n;
    cab_session_trace(s, &ev, &n);
    CHECK_EQ(n, 7);                                    /* each time round: two copies */
    uint64_t before = cab_session_allocations(s);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK_EQ(cab_session_allocations(s), before);      /* nothing new for a seen shape */
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* y <- x, then runs of bytes of y cleared: offset, run, distance, number. */
static int run_clear(const int64_t part[4], int64_t *y, uint32_t slots_added)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    int64_t in[4] = { 1, 2, 3, 4 };
    start(&k);
    uint32_t four = num(&k, 4), bytes = num(&k, 32);
    uint32_t x = value(&k, CAB_V_INPUT, four, bytes), out = value(&k, CAB_V_OUTPUT, four, bytes);
    for (int i = 0; i < CAB_ZERO_PART; i++)
        k.words[k.h.n_words++] = num(&k, part[i]) + slots_added;
    instr(&k, CAB_I_COPY, out, x, 0);
    instr(&k, CAB_I_ZERO, out, 0, 1);
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    int rc = load(&k, &m, &e);
    if (rc != CAB_OK)
        return rc;
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_OK);
    cab_tensor_view iv = i64s(in, 4), ov = { 0 };
    rc = cab_session_run(s, &iv, &ov, &e);
    if (rc == CAB_OK)
        memcpy(y, ov.data, sizeof in);
    cab_session_destroy(s);
    cab_model_destroy(m);
    return rc;
}

static void check_clear(void)
{
    static const int64_t beyond[][4] = {
        { 24, 9, 0, 1 }, { 33, 1, 0, 1 }, { -8, 8, 0, 1 }, { 0, 8, 16, 3 }, { 0, 8, -8, 2 },
        { 0, 8, INT64_MAX, 3 }, { INT64_MAX, INT64_MAX, 0, 1 }, { 0, 1, 1, INT64_MAX },
    };
    int64_t y[4];

    CHECK_EQ(run_clear((int64_t[]){ 8, 8, 16, 2 }, y, 0), CAB_OK);
    CHECK(y[0] == 1 && y[1] == 0 && y[2] == 3 && y[3] == 0);
    CHECK_EQ(run_clear((int64_t[]){ 99, 8, 16, 0 }, y, 0), CAB_OK);       /* no runs */
    CHECK(y[0] == 1 && y[1] == 2 && y[2] == 3 && y[3] == 4);
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        CHECK_EQ(run_clear(beyond[i], y, 0), CAB_EARTIFACT);
    CHECK_EQ(run_clear(beyond[0], y, 99), CAB_EARTIFACT);                  /* no such slots */
}

/* n numbers of 64 bits, copied through an intermediate tensor. */
static void plan_of_copies(plan_kit *k)
{
    start(k);
    uint32_t n = scalar(k, CAB_S_INPUT_DIM, 0, 0, 0), eight = num(k, 8);
    uint32_t bytes = scalar(k, CAB_S_MUL, n, eight, 0);
    uint32_t x = value(k, CAB_V_INPUT, n, bytes), y = value(k, CAB_V_OUTPUT, n, bytes);
    uint32_t t = value(k, CAB_V_ARENA, n, bytes);
    instr(k, CAB_I_COPY, t, x, 0);
    instr(k, CAB_I_COPY, y, t, 0);
    instr(k, CAB_I_END, 0, 0, 0);
    finish(k);
}

/* The need is known before the run, and a limit refuses it. */
static void check_memory(void)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    cab_memory mem;
    int64_t in[1000] = { 0 };
    plan_of_copies(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    cab_session_options o = { .size = sizeof o, .threads = 1, .max_bytes = 4000 };
    CHECK_EQ(cab_session_create(m, &o, &s, &e), CAB_OK);
    cab_tensor_view iv = i64s(NULL, 1000), ov = { 0 };
    CHECK_EQ(cab_session_estimate(s, &iv, &mem, &e), CAB_OK);
    CHECK_EQ(mem.intermediate, 8000);
    CHECK_EQ(mem.outputs, 8000);
    CHECK_EQ(cab_session_arena_bytes(s), 0);
    iv.data = in;
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_ELIMIT);
    CHECK(strstr(e.text, "are allowed") != NULL);
    CHECK_EQ(cab_session_arena_bytes(s), 0);
    iv = i64s(in, 100);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* An arena of 2 MB and more is whole huge pages when the session asks for them; a smaller one is as it was. */
static void check_huge_pages(void)
{
    enum { LARGE = 400000, SMALL = 100 };
    static plan_kit k;
    static int64_t in[LARGE];
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    plan_of_copies(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    cab_session_options o = { .size = sizeof o, .threads = 1, .huge_pages = 1 };
    CHECK_EQ(cab_session_create(m, &o, &s, &e), CAB_OK);
    for (int i = 0; i < LARGE; i++)
        in[i] = i * 7;
    cab_tensor_view iv = i64s(in, SMALL), ov = { 0 };
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK(cab_session_arena_bytes(s) < 4096);
    iv = i64s(in, LARGE);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK(cab_session_arena_bytes(s) == 4 << 20);
    CHECK(!memcmp(ov.data, in, sizeof in));
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* A size read from data decides a dynamic value; a branch skips a copy. */
static void check_size_read_and_branch(void)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    start(&k);
    uint32_t one = num(&k, 1), eight = num(&k, 8), two = num(&k, 2), sixteen = num(&k, 16);
    uint32_t n = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0);
    uint32_t bytes = scalar(&k, CAB_S_MUL, n, eight, 0);
    uint32_t x = value(&k, CAB_V_INPUT, two, sixteen), y = value(&k, CAB_V_OUTPUT, two, sixteen);
    uint32_t d = value(&k, CAB_V_DYNAMIC, n, bytes);
    (void)one;
    instr(&k, CAB_I_ZERO, y, 0, 0);
    instr(&k, CAB_I_SIZE_READ, n, x, 0);
    instr(&k, CAB_I_EVAL_SHAPE, bytes, bytes + 1, 0);
    instr(&k, CAB_I_BRANCH, 7, n, 0);                  /* n == 0: to the end */
    instr(&k, CAB_I_ALLOC, d, 0, 0);
    instr(&k, CAB_I_COPY, d, x, 0);                    /* fits for n == 2 only */
    instr(&k, CAB_I_COPY, y, d, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_OK);
    int64_t a[2] = { 2, 5 }, b[2] = { 0, 5 }, c[2] = { 7, 5 };
    cab_tensor_view ov = { 0 }, iv = i64s(a, 2);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK_EQ(((int64_t *)ov.data)[1], 5);
    iv = i64s(b, 2);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK_EQ(((int64_t *)ov.data)[1], 0);
    iv = i64s(c, 2);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_EARTIFACT);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* Inputs are refused in words: dtype, rank, extents, guards, fixed values. */
static void check_refusals(void)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    start(&k);
    uint32_t two = num(&k, 2), bytes = num(&k, 16);
    uint32_t x = value(&k, CAB_V_INPUT, two, bytes);
    uint32_t f = value(&k, CAB_V_INPUT, two, bytes);
    k.values[f].flags = CAB_V_FIXED;
    k.weights[0] = 4;
    k.weights[8] = 5;
    uint32_t extent = scalar(&k, CAB_S_INPUT_DIM, 0, 0, 0);
    k.checks[k.h.n_checks++] = (cab_plan_check){ extent, two, text(&k, "rows and columns"), 0 };
    (void)x;
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_OK);
    int64_t a[3] = { 1, 2, 3 }, good[2] = { 4, 5 };
    cab_tensor_view in[2] = { i64s(a, 2), i64s(good, 2) };
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_OK);
    in[0].dtype = 1;
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_EINPUT);
    CHECK_STR(e.text, "input 'in' holds f32, the model wants i64");
    in[0] = i64s(a, 3);
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_EINPUT);
    CHECK_STR(e.text, "input 'in': extent 0 is 3, must be 2");
    in[0] = i64s(a, 2);
    in[0].bytes = 8;
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_EINPUT);
    CHECK_STR(e.text, "input 'in' needs 16 bytes, 8 are given");
    in[0] = i64s(a, 2);
    in[1] = i64s(a, 2);
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_EINPUT);
    CHECK(strstr(e.text, "decides sizes") != NULL);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* Every mutation of a valid file is refused or loads; none crashes. */
static void check_hostile_files(void)
{
    static plan_kit k, mutant;
    cab_rng r;
    const uint64_t seed = 20261123;
    int refused = 0;
    start(&k);
    uint32_t two = num(&k, 2), bytes = num(&k, 16);
    uint32_t x = value(&k, CAB_V_INPUT, two, bytes), y = value(&k, CAB_V_OUTPUT, two, bytes);
    instr(&k, CAB_I_COPY, y, x, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    cab_rng_seed(&r, seed);
    for (int i = 0; i < 3000; i++) {
        mutant = k;
        /* Half keep a valid checksum, so that the tables' own checks are met. */
        if (i % 2) {
            size_t at = (size_t)cab_rng_i64(&r, 0, 1200);
            mutant.file[at] ^= (uint8_t)(1 << cab_rng_i64(&r, 0, 7));
        } else {
            uint32_t *w = (uint32_t *)(i % 4 ? (void *)mutant.values : (void *)&mutant.scalars);
            size_t words = i % 4 ? 2 * sizeof(cab_plan_value) / 4 : 2 * sizeof(cab_plan_scalar) / 4;
            w[cab_rng_i64(&r, 0, (int64_t)words - 1)] = (uint32_t)cab_rng_u64(&r);
            size_t n = mutant.h.n_instrs;
            (void)n;
            finish(&mutant);
        }
        cab_plan p;
        cab_error e = { 0 };
        cab_status s = cab_plan_check_bytes(mutant.file, mutant.n, &p, &e);
        refused += s != CAB_OK;
        CHECK(s == CAB_OK || e.text[0]);
    }
    fprintf(stderr, "seed %llu: %d of 3000 mutations refused\n", (unsigned long long)seed, refused);
    CHECK(refused > 1000);
    for (size_t n = 0; n < 1500; n += 7) {
        cab_plan p;
        CHECK(cab_plan_check_bytes(k.file, n, &p, NULL) != CAB_OK);
    }
}

/* ---- pool ---- */

static void add_tasks(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi)
{
    int64_t *hits = bufs[0];
    for (int64_t i = lo; i < hi; i++)
        hits[i] += ints[0];
}

static void *pool_user(void *arg)
{
    enum { N = 1000 };
    static _Thread_local int64_t hits[N];
    int64_t one = 1;
    void *bufs[1] = { hits };
    int *ok = arg;
    *ok = 1;
    for (int round = 1; round <= 200; round++) {
        cab_pool_enter(0);
        cab_pool_run(add_tasks, bufs, &one, N, 0);
        cab_pool_leave(0);
        for (int i = 0; i < N; i++)
            *ok &= hits[i] == round;
    }
    return NULL;
}

/* ---- halos cleared by the tasks of the launch behind ---- */

/* A run at a ZERO of one part and a launch of that many tasks. */
static void clear_beside(int64_t at, int64_t run, int64_t apart, int64_t n, int64_t tasks)
{
    enum { BYTES = 1000, TASKS = 64 };
    static uint8_t buf[BYTES];
    cab_plan_instr code[] = { { .op = CAB_I_ZERO, .a = 0, .b = 0, .c = 1 },
                              { .op = CAB_I_LAUNCH, .c = 4 }, { .op = CAB_I_END } };
    uint32_t words[CAB_ZERO_PART] = { 0, 1, 2, 3 };
    int64_t slots[] = { at, run, apart, n, tasks }, hits[TASKS] = { 0 }, one = 1;
    void *data[] = { buf }, *bufs[] = { hits };
    uint64_t bytes[] = { BYTES };
    cab_plan p = { .instrs = code, .words = words };
    cab_session s = { .plan = &p, .slots = slots, .data = data, .bytes = bytes, .bufs = bufs,
                      .ints = &one };
    cab_run r = { .s = &s };
    int wrong = 0;

    memset(buf, 7, sizeof buf);
    CHECK_EQ(cab_run_zero(&r, code), CAB_OK);
    CHECK_EQ(r.clear == code, tasks > 1);
    cab_pool_enter(0);
    if (r.clear)
        cab_run_clearing(&r, add_tasks, tasks);
    cab_pool_leave(0);
    for (int i = 0; tasks > 1 && i < TASKS; i++)
        wrong += hits[i] != (i < tasks);
    for (int64_t i = 0; i < BYTES; i++) {
        int64_t k = i - at;
        bool cleared = k >= 0 && n > 0 && (apart ? k / apart < n && k % apart < run : k < run);
        wrong += buf[i] != (cleared ? 0 : 7);
    }
    CHECK_EQ(wrong, 0);
}

static void check_clear_beside(void)
{
    static const int64_t parts[][4] = { { 0, 1000, 0, 1 }, { 10, 7, 31, 20 }, { 1, 1, 2, 499 },
                                        { 100, 3, 0, 1 },  { 5, 50, 50, 3 },  { 0, 9, 9, 0 } };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (int64_t tasks = 1; tasks <= 64; tasks += 1 + tasks / 3)
            clear_beside(parts[i][0], parts[i][1], parts[i][2], parts[i][3], tasks);
}

/* ---- custom operators ---- */

static int negate(void *user, const cab_custom_call *c, cab_error *e)
{
    (void)user;
    (void)e;
    CHECK(c->n_inputs == 2 && c->n_outputs == 1 && c->n_attrs == 3);
    CHECK(c->inputs[1].dtype == 0 && !c->inputs[1].data);
    CHECK(c->attrs[0].n == 2 && c->attrs[0].ints[1] == -((int64_t)1 << 40));
    CHECK(c->attrs[1].n == 1 && c->attrs[1].floats[0] == 1.5f);
    CHECK_STR(c->attrs[2].text, "text");
    for (int64_t i = 0; i < c->inputs[0].dims[0]; i++)
        ((int64_t *)c->outputs[0].data)[i] = -((const int64_t *)c->inputs[0].data)[i];
    return 0;
}

/* Words of the calls: x and an absent input -> y, three attributes. */
static uint32_t custom_words(plan_kit *k, uint32_t x, uint32_t y, uint32_t n)
{
    float f = 1.5f;
    uint32_t bits, at = k->h.n_words;
    memcpy(&bits, &f, 4);
    const uint32_t w[] = { text(k, "own"), text(k, "Negate"), text(k, "node"), 2, 1, 3,
                           x, 7, 1, n, CAB_PLAN_NONE, 0, 0, y, 7, 1, n,
                           text(k, "ints"), CAB_PA_INTS, 2, 5, 0, 0, 0xffffff00u,
                           text(k, "floats"), CAB_PA_FLOATS, 1, bits,
                           text(k, "text"), CAB_PA_TEXT, 1, text(k, "text") };
    memcpy(k->words + at, w, sizeof w);
    k->h.n_words += sizeof w / sizeof *w;
    return at;
}

static void custom_plan(plan_kit *k)
{
    start(k);
    uint32_t two = num(k, 2), bytes = num(k, 16);
    uint32_t x = value(k, CAB_V_INPUT, two, bytes), y = value(k, CAB_V_OUTPUT, two, bytes);
    uint32_t t = value(k, CAB_V_ARENA, two, bytes);
    num(k, 3);
    instr(k, CAB_I_CUSTOM, 0, custom_words(k, x, t, two), 0);
    instr(k, CAB_I_CUSTOM, 1, custom_words(k, t, y, two), 0);
    instr(k, CAB_I_END, 0, 0, 0);
}

/* Word i of the first call becomes v: what loading says, and then running. */
static void spoiled(int i, uint32_t v, int load_rc, int run_rc)
{
    static plan_kit k;
    const cab_custom_op op = { "own", "Negate", negate, NULL };
    const cab_model_options o = { .size = sizeof o, .custom = &op, .n_custom = 1 };
    cab_model *m = NULL;
    cab_session *s = NULL;
    cab_error e = { 0 };
    int64_t in[2] = { 3, -9 };
    cab_tensor_view iv = i64s(in, 2), ov = { 0 };
    custom_plan(&k);
    if (i >= 0)
        k.words[i] = v;
    finish(&k);
    CHECK_EQ(load_with(&k, &o, &m, &e), load_rc);
    if (load_rc != CAB_OK) {
        CHECK(e.text[0] && !m);
        return;
    }
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_OK);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), run_rc);
    if (run_rc == CAB_OK)
        CHECK(((int64_t *)ov.data)[0] == 3 && ((int64_t *)ov.data)[1] == -9);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

static void check_custom(void)
{
    static plan_kit k;
    cab_model *m;
    cab_error e = { 0 };
    enum { HEAD = CAB_CUSTOM_HEAD, ABSENT = HEAD + 4, RESULT = HEAD + 7, ATTRS = HEAD + 11 };
    spoiled(-1, 0, CAB_OK, CAB_OK);
    spoiled(CAB_CUSTOM_DOMAIN, 9999, CAB_EARTIFACT, 0);
    spoiled(CAB_CUSTOM_NAME, 0, CAB_EUNSUPPORTED, 0);
    spoiled(CAB_CUSTOM_INPUTS, UINT32_MAX, CAB_EARTIFACT, 0);
    spoiled(CAB_CUSTOM_OUTPUTS, 0, CAB_EARTIFACT, 0);
    spoiled(CAB_CUSTOM_ATTRS, 4, CAB_EARTIFACT, 0);        /* into the next call */
    spoiled(CAB_CUSTOM_ATTRS, UINT32_MAX, CAB_EARTIFACT, 0);
    spoiled(HEAD, 3, CAB_EARTIFACT, 0);                    /* no such value */
    spoiled(HEAD + 1, 77, CAB_EARTIFACT, 0);               /* dtype */
    spoiled(HEAD + 2, 9, CAB_EARTIFACT, 0);                /* rank */
    spoiled(HEAD + 3, 3, CAB_EARTIFACT, 0);                /* slot */
    spoiled(HEAD + 3, 2, CAB_OK, CAB_EARTIFACT);           /* 3 elements of 2 */
    spoiled(ABSENT + 1, 7, CAB_EARTIFACT, 0);              /* absent, with a type */
    spoiled(RESULT, CAB_PLAN_NONE, CAB_EARTIFACT, 0);
    spoiled(RESULT, 0, CAB_EARTIFACT, 0);                  /* writes an input */
    spoiled(RESULT + 3, 2, CAB_OK, CAB_EARTIFACT);
    spoiled(ATTRS, 9999, CAB_EARTIFACT, 0);
    spoiled(ATTRS + 1, CAB_PA_COUNT, CAB_EARTIFACT, 0);
    spoiled(ATTRS + 2, UINT32_MAX, CAB_EARTIFACT, 0);
    spoiled(ATTRS + 13, 2, CAB_EARTIFACT, 0);              /* two texts */
    spoiled(ATTRS + 14, 9999, CAB_EARTIFACT, 0);
    for (int i = 0; i < 3; i++) {
        custom_plan(&k);
        if (i == 0)
            k.instrs[1].b = 0;                             /* the words of the first */
        else if (i == 1)
            k.instrs[1].a = 0;
        else
            k.instrs[1].b = UINT32_MAX;
        finish(&k);
        CHECK_EQ(load(&k, &m, &e), CAB_EARTIFACT);
    }
    custom_plan(&k);
    finish(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_EUNSUPPORTED);
    CHECK(strstr(e.text, "own::Negate") != NULL);
}

static void check_pool(void)
{
    pthread_t t[4];
    int ok[4];
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, pool_user, &ok[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        CHECK(ok[i]);
    }
    CHECK(cab_pool_threads() >= 1);
}

/* ---- packing ---- */

static void check_packing(void)
{
    enum { N = 40 };
    static cab_plan_value v[N];
    static int64_t slots[N];
    static uint64_t offset[N];
    static uint32_t order[N];
    cab_rng r;
    cab_rng_seed(&r, 5);
    uint64_t total, sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        v[i] = (cab_plan_value){ .cls = CAB_V_ARENA, .slot_bytes = i };
        v[i].first = (uint32_t)cab_rng_i64(&r, 0, 50);
        v[i].last = v[i].first + (uint32_t)cab_rng_i64(&r, 0, 8);
        slots[i] = cab_rng_i64(&r, 0, 5000);
        sum += (uint64_t)slots[i];
    }
    CHECK(cab_arena_pack(v, N, slots, offset, order, &total));
    CHECK(total < sum);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(offset[i] % 64, 0);
        CHECK(offset[i] + (uint64_t)slots[i] <= total);
        for (int j = 0; j < i; j++) {
            bool in_time = v[i].first <= v[j].last && v[j].first <= v[i].last;
            bool in_space = offset[i] < offset[j] + (uint64_t)slots[j] &&
                            offset[j] < offset[i] + (uint64_t)slots[i];
            CHECK(!(in_time && in_space));
        }
    }
}

int main(void)
{
    check_loop_and_copy();
    check_custom();
    check_memory();
    check_huge_pages();
    check_clear();
    check_clear_beside();
    check_size_read_and_branch();
    check_refusals();
    check_hostile_files();
    check_pool();
    check_packing();
    TEST_END();
}
