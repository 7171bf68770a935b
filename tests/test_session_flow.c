/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_session_flow.c - instructions that decide what runs, on plans made by
 * hand: symbols, checks, loops, exchanges, memory and outputs of late sizes.
 */
#include "tests/plan_kit.h"

static plan_kit k;
static cab_model *model;
static cab_session *session;
static cab_error err;

static void open_with(const cab_session_options *o)
{
    finish(&k);
    CHECK_EQ(load(&k, &model, &err), CAB_OK);
    CHECK_EQ(cab_session_create(model, o, &session, &err), CAB_OK);
}

static void close_all(void)
{
    cab_session_destroy(session);
    cab_model_destroy(model);
}

/* n elements in, and out; the number of allocations of the run. */
static uint64_t allocations_of(int64_t *in, int64_t n, cab_tensor_view *out)
{
    uint64_t before = cab_session_allocations(session);
    cab_tensor_view iv = i64s(in, n);
    CHECK_EQ(cab_session_run(session, &iv, out, &err), CAB_OK);
    if (err.code)
        fprintf(stderr, "%s\n", err.text);
    return cab_session_allocations(session) - before;
}

static int run_on(int64_t *in, int64_t n, cab_tensor_view *out)
{
    cab_tensor_view iv = i64s(in, n);
    return cab_session_run(session, &iv, out, &err);
}

static int64_t at(const cab_tensor_view *v, int64_t i) { return ((const int64_t *)v->data)[i]; }

static bool told(const char *part)
{
    if (!strstr(err.text, part))
        fprintf(stderr, "'%s' is not told: %s\n", part, err.text);
    return strstr(err.text, part) != NULL;
}

/* ---- symbols and checks ---- */

/* s <- in[0]; then t <- s + 1; s must not be above 5, and t not 4. */
static void check_set_and_check(void)
{
    start(&k);
    uint32_t one = num(&k, 1), two = num(&k, 2), five = num(&k, 5), bytes = num(&k, 16);
    uint32_t s = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0), next = scalar(&k, CAB_S_ADD, s, one, 0);
    uint32_t t = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0), four = scalar(&k, CAB_S_MIN, t, t, 0);
    uint32_t want = scalar(&k, CAB_S_ADD, next, four, 0);      /* of both: 2 * t */
    uint32_t x = value(&k, CAB_V_INPUT, two, bytes), y = value(&k, CAB_V_OUTPUT, two, bytes);
    k.checks[k.h.n_checks++] = (cab_plan_check){ s, five, text(&k, "at most five"),
                                                CAB_C_LATE | CAB_C_LE };
    k.checks[k.h.n_checks++] = (cab_plan_check){ want, next, text(&k, "the sum"), CAB_C_LATE };
    k.checks[k.h.n_checks++] = (cab_plan_check){ t, next, text(&k, "t follows"), CAB_C_LATE };
    instr(&k, CAB_I_SIZE_READ, s, x, 0);
    instr(&k, CAB_I_EVAL_SHAPE, s + 1, t, 0);
    k.instrs[instr(&k, CAB_I_CHECK, 0, 0, 0)].d = text(&k, "Loop_7");
    instr(&k, CAB_I_SET, t, next, 0);
    instr(&k, CAB_I_EVAL_SHAPE, t + 1, k.h.n_scalars, 0);
    instr(&k, CAB_I_CHECK, 2, 0, 0);
    uint32_t branch = instr(&k, CAB_I_BRANCH, 0, s, 0);        /* 0: not the last check */
    instr(&k, CAB_I_CHECK, 1, 0, 0);
    k.instrs[branch].a = instr(&k, CAB_I_COPY, y, x, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    open_with(NULL);
    int64_t zero[2] = { 0, 8 }, six[2] = { 6, 8 }, three[2] = { 3, 8 };
    cab_tensor_view out = { 0 };
    CHECK_EQ(run_on(zero, 2, &out), CAB_OK);
    CHECK_EQ(at(&out, 1), 8);
    CHECK_EQ(run_on(six, 2, &out), CAB_EINPUT);
    CHECK_STR(err.text, "node 'Loop_7': at most five, not 6");
    CHECK_EQ(run_on(three, 2, &out), CAB_EINPUT);
    CHECK_STR(err.text, "sizes do not fit: the sum (8 and 4)");
    CHECK_EQ(run_on(zero, 2, &out), CAB_OK);                   /* a refusal leaves nothing behind */
    close_all();
}

/* ---- exchanges ---- */

/* a holds x, b zeros; they change places in[0] times; y <- a. */
static void swap_plan(uint8_t cls)
{
    start(&k);
    uint32_t two = num(&k, 2), bytes = num(&k, 16);
    uint32_t n = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0), i = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0);
    uint32_t x = value(&k, CAB_V_INPUT, two, bytes), y = value(&k, CAB_V_OUTPUT, two, bytes);
    uint32_t a = value(&k, cls, two, bytes), b = value(&k, cls, two, bytes);
    k.values[b].index = cls == CAB_V_DYNAMIC;
    instr(&k, CAB_I_SIZE_READ, n, x, 0);
    if (cls == CAB_V_DYNAMIC) {
        instr(&k, CAB_I_ALLOC, a, 0, 0);
        instr(&k, CAB_I_ALLOC, b, 0, 0);
    }
    instr(&k, CAB_I_COPY, a, x, 0);
    instr(&k, CAB_I_ZERO, b, 0, 0);
    uint32_t l = instr(&k, CAB_I_LOOP, i, n, 0);
    instr(&k, CAB_I_SWAP, a, b, 0);
    instr(&k, CAB_I_NEXT, i, l, 0);
    k.instrs[l].c = instr(&k, CAB_I_COPY, y, a, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
}

static void check_swap(uint8_t cls)
{
    swap_plan(cls);
    open_with(NULL);
    cab_tensor_view out = { 0 };
    for (int64_t n = -1; n < 6; n++) {
        int64_t in[2] = { n, 9 };
        CHECK_EQ(run_on(in, 2, &out), CAB_OK);
        CHECK_EQ(at(&out, 1), n > 0 && n % 2 ? 0 : 9);
    }
    int64_t three[2] = { 3, 1 };
    CHECK_EQ(allocations_of(three, 2, &out), 0);
    close_all();
}

/* ---- memory ---- */

/* d grows by one element each time, which is in[1]; y, of late size, is d.
 * Returns the value d. */
static uint32_t growing_plan(bool swaps)
{
    start(&k);
    uint32_t one = num(&k, 1), two = num(&k, 2), eight = num(&k, 8), sixteen = num(&k, 16);
    uint32_t n = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0), n_bytes = scalar(&k, CAB_S_MUL, n, eight, 0);
    uint32_t i = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0), from = scalar(&k, CAB_S_MUL, i, eight, 0);
    uint32_t now = scalar(&k, CAB_S_ADD, from, eight, 0);
    uint32_t x = value(&k, CAB_V_INPUT, two, sixteen), y = value(&k, CAB_V_OUTPUT, n, n_bytes);
    uint32_t d = value(&k, CAB_V_DYNAMIC, n, now), e = value(&k, CAB_V_DYNAMIC, n, now);
    uint32_t last = value(&k, CAB_V_ALIAS, one, eight), second = value(&k, CAB_V_ALIAS, one, eight);
    k.values[e].index = 1;
    k.values[last].index = d;
    k.values[last].slot_offset = from;
    k.values[second].index = x;
    k.values[second].slot_offset = eight;
    instr(&k, CAB_I_SIZE_READ, n, x, 0);
    instr(&k, CAB_I_EVAL_SHAPE, n + 1, i, 0);
    uint32_t l = instr(&k, CAB_I_LOOP, i, n, 0);
    instr(&k, CAB_I_EVAL_SHAPE, i + 1, k.h.n_scalars, 0);
    instr(&k, CAB_I_ALLOC, d, 1, 0);
    instr(&k, CAB_I_COPY, last, second, 0);
    if (swaps) {
        instr(&k, CAB_I_ALLOC, e, 0, 0);
        instr(&k, CAB_I_COPY, e, d, 0);
        instr(&k, CAB_I_SWAP, d, e, 0);
    }
    instr(&k, CAB_I_NEXT, i, l, 0);
    k.instrs[l].c = instr(&k, CAB_I_ALLOC, y, 0, 0);
    uint32_t none = instr(&k, CAB_I_BRANCH, 0, n, 0);
    instr(&k, CAB_I_COPY, y, d, 0);
    k.instrs[none].a = instr(&k, CAB_I_END, 0, 0, 0);
    return d;
}

static void check_growing(bool swaps)
{
    growing_plan(swaps);
    open_with(NULL);
    cab_tensor_view out = { 0 };
    int64_t many[2] = { 101, 7 }, few[2] = { 3, 5 }, none[2] = { 0, 5 };
    CHECK(allocations_of(many, 2, &out) < 40);         /* by halves, not by ones */
    CHECK_EQ(out.dims[0], 101);
    for (int i = 0; i < 101; i++)
        CHECK_EQ(at(&out, i), 7);
    CHECK_EQ(allocations_of(many, 2, &out), 0);        /* sizes seen before */
    CHECK_EQ(allocations_of(few, 2, &out), 0);
    CHECK_EQ(out.dims[0], 3);
    CHECK_EQ(at(&out, 2), 5);
    CHECK_EQ(allocations_of(none, 2, &out), 0);
    CHECK_EQ(out.dims[0], 0);
    CHECK_EQ(allocations_of(many, 2, &out), 0);
    close_all();
}

/* Every limit between nothing and enough refuses or runs, and says why. */
static void check_limit(void)
{
    int64_t in[2] = { 100, 7 };
    int refused = 0, ran = 0;
    for (uint64_t most = 100; most < 4000; most += 100) {
        growing_plan(false);
        cab_session_options o = { .size = sizeof o, .threads = 1, .max_bytes = most };
        open_with(&o);
        cab_tensor_view out = { 0 };
        int rc = run_on(in, 2, &out);
        CHECK(rc == CAB_OK || rc == CAB_ELIMIT);
        CHECK(rc == CAB_OK || told("more than is allowed"));
        refused += rc != CAB_OK;
        ran += rc == CAB_OK;
        close_all();
    }
    CHECK(refused > 10 && ran > 10);
}

static void check_impossible_size(void)
{
    growing_plan(false);
    k.instrs[2].b = num(&k, 0);        /* the loop does not run */
    open_with(NULL);
    cab_tensor_view out = { 0 };
    int64_t less[2] = { -1, 0 }, more[2] = { (int64_t)1 << 50, 0 }, over[2] = { INT64_MAX, 0 };
    CHECK_EQ(run_on(less, 2, &out), CAB_EINPUT);
    CHECK(told("a tensor out gets a negative or enormous size"));
    CHECK_EQ(run_on(more, 2, &out), CAB_EINPUT);
    CHECK(told("enormous"));
    CHECK_EQ(run_on(over, 2, &out), CAB_EINPUT);
    CHECK(told("overflows"));
    close_all();
}

/* ---- outputs whose size the run decides ---- */
static void check_caller_memory(void)
{
    growing_plan(false);
    open_with(NULL);
    int64_t memory[8] = { 0 }, in[2] = { 4, 3 };
    cab_tensor_view out = { .data = memory, .bytes = 24 };
    CHECK_EQ(run_on(in, 2, &out), CAB_EINPUT);
    CHECK_STR(err.text, "output 'out' needs 32 bytes, 24 are given");
    CHECK_EQ(memory[0], 0);
    out = (cab_tensor_view){ .data = memory, .bytes = sizeof memory };
    CHECK_EQ(run_on(in, 2, &out), CAB_OK);
    CHECK(out.data == memory && out.dims[0] == 4 && memory[3] == 3 && memory[4] == 0);
    out = (cab_tensor_view){ .data = in, .bytes = sizeof in };     /* over the input: aside */
    in[0] = 2;
    CHECK_EQ(run_on(in, 2, &out), CAB_OK);
    CHECK(in[0] == 3 && in[1] == 3);
    close_all();
}

/* Two late outputs side by side in one block: what the last run's sizes were
 * does not matter, this run's do. */
static void check_neighbours(void)
{
    start(&k);
    uint32_t two = num(&k, 2), eight = num(&k, 8), sixteen = num(&k, 16);
    uint32_t n = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0), bytes = scalar(&k, CAB_S_MUL, n, eight, 0);
    uint32_t x = value(&k, CAB_V_INPUT, two, sixteen);
    uint32_t y = value(&k, CAB_V_OUTPUT, n, bytes), z = value(&k, CAB_V_OUTPUT, n, bytes);
    instr(&k, CAB_I_SIZE_READ, n, x, 0);
    instr(&k, CAB_I_EVAL_SHAPE, n + 1, k.h.n_scalars, 0);
    instr(&k, CAB_I_ALLOC, y, 0, 0);
    instr(&k, CAB_I_ALLOC, z, 0, 0);
    instr(&k, CAB_I_ZERO, y, 0, 0);
    instr(&k, CAB_I_ZERO, z, 0, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    open_with(NULL);
    int64_t block[64], in[2] = { 30, 0 };
    cab_tensor_view out[2] = { { .data = block, .bytes = 256 }, { .data = block + 32, .bytes = 256 } };
    CHECK_EQ(run_on(in, 2, out), CAB_OK);
    in[0] = 4;
    out[0] = (cab_tensor_view){ .data = block, .bytes = 32 };
    out[1] = (cab_tensor_view){ .data = block + 4, .bytes = 32 };
    CHECK_EQ(run_on(in, 2, out), CAB_OK);
    in[0] = 5;
    out[0].bytes = out[1].bytes = 40;
    CHECK_EQ(run_on(in, 2, out), CAB_EINPUT);
    CHECK(told("lie on the same memory"));
    close_all();
}

/* ---- trace and deadline inside loops ---- */
static void check_trace(void)
{
    growing_plan(true);
    cab_session_options o = { .size = sizeof o, .threads = 1, .trace = 1 };
    open_with(&o);
    int64_t in[2] = { 50, 1 };
    cab_tensor_view out = { 0 };
    const cab_trace_event *ev;
    size_t n, allocs = 0, copies = 0;
    CHECK_EQ(run_on(in, 2, &out), CAB_OK);
    CHECK_EQ(cab_session_trace(session, &ev, &n), CAB_OK);
    for (size_t i = 0; i < n; i++) {
        allocs += !strcmp(ev[i].kind, "alloc");
        copies += !strcmp(ev[i].kind, "copy");
        CHECK(i == 0 || ev[i].start_ns >= ev[i - 1].start_ns);
    }
    CHECK_EQ(allocs, 101);
    CHECK_EQ(copies, 101);
    close_all();
}

static void check_deadline(void)
{
    swap_plan(CAB_V_ARENA);
    open_with(NULL);
    int64_t in[2] = { (int64_t)1 << 60, 0 };
    cab_tensor_view out = { 0 };
    cab_session_deadline(session, cab_now_ns() + 20 * 1000 * 1000);
    CHECK_EQ(run_on(in, 2, &out), CAB_EDEADLINE);
    cab_session_deadline(session, 0);
    in[0] = 1;
    CHECK_EQ(run_on(in, 2, &out), CAB_OK);
    close_all();
}

/* ---- damaged plans ---- */

/* The growing plan with instruction i changed does not load. */
static void refused(int i, cab_plan_instr x)
{
    cab_model *m = NULL;
    growing_plan(true);
    k.instrs[i] = x;
    finish(&k);
    CHECK_EQ(load(&k, &m, &err), CAB_EARTIFACT);
    CHECK(told("instructions"));
    CHECK(!m);
}

static void check_damaged(void)
{
    growing_plan(true);
    const plan_kit good = k;
    uint32_t n_values = good.h.n_values, n_instrs = good.h.n_instrs, end = n_instrs - 1;
    const cab_plan_instr bad[] = {
        { .op = CAB_I_SWAP, .a = 0, .b = 2 },              /* an input */
        { .op = CAB_I_SWAP, .a = 1, .b = 1 },              /* an output */
        { .op = CAB_I_SWAP, .a = 2, .b = 4 },              /* an alias */
        { .op = CAB_I_SWAP, .a = 2, .b = n_values },
        { .op = CAB_I_SET, .a = 0, .b = 1 },               /* no symbol */
        { .op = CAB_I_SET, .a = 4, .b = 999 },
        { .op = CAB_I_SIZE_READ, .a = 1, .b = 0 },
        { .op = CAB_I_SIZE_READ, .a = 4, .b = n_values },
        { .op = CAB_I_CHECK },                             /* there are none */
        { .op = CAB_I_ALLOC, .a = 0 },
        { .op = CAB_I_ALLOC, .a = 1, .b = 1 },             /* an output that keeps */
        { .op = CAB_I_ALLOC, .a = 4 },
        { .op = CAB_I_JUMP, .a = n_instrs },
        { .op = CAB_I_BRANCH, .a = n_instrs },
        { .op = CAB_I_BRANCH, .b = 999 },
        { .op = CAB_I_LOOP, .a = 6, .b = 4, .c = n_instrs },
        { .op = CAB_I_LOOP, .a = 5, .b = 4, .c = end },    /* counts in no symbol */
        { .op = CAB_I_NEXT, .a = 6, .b = 0 },              /* of no loop */
        { .op = CAB_I_NEXT, .a = 4, .b = 2 },              /* of another slot */
        { .op = CAB_I_NEXT, .a = 6, .b = 11 },             /* forwards */
        { .op = CAB_I_EVAL_SHAPE, .a = 0, .b = 2 },        /* what the inputs decide */
        { .op = CAB_I_EVAL_SHAPE, .a = 6, .b = 99 },
        { .op = CAB_I_EVAL_SHAPE, .a = 7, .b = 5 },
        { .op = CAB_I_BAND },                              /* of no launches */
        { .op = CAB_I_BAND, .a = 2 },                      /* of others */
        { .op = CAB_I_BAND, .a = UINT32_MAX },
        { .op = CAB_I_BAND, .a = 2, .b = UINT32_MAX },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(3, bad[i]);
    cab_model *m = NULL;
    k = good;
    k.values[2].cls = CAB_V_ARENA;                         /* placed before its size is known */
    finish(&k);
    CHECK_EQ(load(&k, &m, &err), CAB_EARTIFACT);
    k = good;
    k.checks[k.h.n_checks++] = (cab_plan_check){ 4, 5, 0, CAB_C_EQ };  /* early, of late slots */
    finish(&k);
    CHECK_EQ(load(&k, &m, &err), CAB_EARTIFACT);
    CHECK(told("shape checks"));
}

/* Sound tables that use memory before they ask for it. */
static void check_no_memory_yet(void)
{
    growing_plan(false);
    k.instrs[4].op = CAB_I_ZERO;                           /* for ALLOC d: nothing to clear */
    open_with(NULL);
    cab_tensor_view out = { 0 };
    int64_t in[2] = { 3, 5 };
    CHECK_EQ(run_on(in, 2, &out), CAB_EARTIFACT);
    CHECK(told("damaged artifact"));
    close_all();
}

int main(void)
{
    check_set_and_check();
    check_swap(CAB_V_ARENA);
    check_swap(CAB_V_DYNAMIC);
    check_growing(false);
    check_growing(true);
    check_limit();
    check_impossible_size();
    check_caller_memory();
    check_neighbours();
    check_trace();
    check_deadline();
    check_damaged();
    check_no_memory_yet();
    TEST_END();
}
