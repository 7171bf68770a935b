/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tune.c - schedules and tuning records as text, hostile ones too; what is
 * compiled with a record, and by tuning.
 */
#include "codegen/codegen_int.h"
#include "libcab/libcab.h"
#include "tests/test.h"
#include <math.h>
#include <unistd.h>

static cab_job job;
static cab_arena *arena;
static cab_diag diag;
static char digits[4096];

static const char *said(void)
{
    const char *all = "";
    for (size_t i = 0; i < diag.n; i++) {
        char *one = cab_diag_format(&diag.entries[i]);
        all = cab_printf(arena, "%s%s", all, one ? one : "");
        free(one);
    }
    cab_diag_clear(&diag);
    return all;
}

static bool says(const char *all, const char *what)
{
    bool yes = strstr(all, what) != NULL;
    if (!yes)
        fprintf(stderr, "lacks '%s':\n%s\n", what, all);
    return yes;
}

/* ---- schedules ---- */
static void check_sched_text(void)
{
    for (size_t i = 0; i < sizeof(cab_sched) / sizeof(int); i++) {
        cab_sched s = { 0 }, back;
        cab_buf b = cab_buf_on(arena);
        ((int *)(void *)&s)[i] = 1;
        cab_sched_print(&b, &s);
        const char *p = cab_buf_cstr(&b);
        CHECK(cab_sched_parse(arena, &p, &back) == NULL);
        CHECK(!*p && !memcmp(&s, &back, sizeof s));
    }
}

static void check_bad_scheds(void)
{
    static const struct { const char *text, *why; } bad[] = {
        { "", "begins with" }, { "sched", "begins with" }, { "sched{ }", "begins with" },
        { "sched { mr=1", "not closed" }, { "sched { mr=1 \n}", "not closed" },
        { "sched { rm=1 }", "has no 'rm'" }, { "sched { =1 }", "has no ''" },
        { "sched { mr }", "'mr' wants a number" }, { "sched { mr= }", "'mr' wants a number" },
        { "sched { mr=-1 }", "wants a number" }, { "sched { mr=65 }", "at most 64" },
        { "sched { lanes=99999999999999999999999 }", "at most 64" }, { "sched { mr=1 mr=2 }", "twice" },
        { "sched { ku=0 }", "is 0" }, { "sched { mr=1,nv=2 }", "blanks part" },
        { "sched { mr=1x }", "blanks part" }, { "sched { vec_axis=12 }", "at most 11" },
        { "sched { turn=3 }", "at most 2" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cab_sched s;
        const char *p = bad[i].text, *why = cab_sched_parse(arena, &p, &s);
        CHECK(why && says(why, bad[i].why));
    }
}

/* ---- records ---- */
static const cab_target target = { .cpu = "made-up", .vector_bytes = 32, .n_vector_regs = 16,
                                   .fma = true, .l1_bytes = 32768, .l2_bytes = 1 << 20 };
static const bool constant[3] = { false, true, false };

static cab_spec *product(const char *name)
{
    const char *text = cab_printf(arena,
        "spec @%s contract {\n"
        " axis m par 64\n axis n par 32\n axis k red 16\n"
        " operand 0 f32 in elems 1024\n operand 1 f32 in elems 512\n operand 2 f32 out elems 2048\n"
        " view 0 = operand 0 [0; m: 16, k: 1]\n view 1 = operand 1 [0; n: 1, k: 32]\n"
        " view 2 = operand 2 [0; m: 32, n: 1]\n"
        " r0 = sum f32 over (k) mul(v0, v1)\n store v2 over () r0\n}\n", name);
    cab_spec *s;
    CHECK_EQ(cab_spec_parse(arena, cab_dims_create(arena), text, strlen(text), "t", &s, &diag), CAB_OK);
    return s;
}

#define HEAD "cabochon tuning 1\ntarget made-up 32\n"
#define KEY "c534ea95873d24212cdfa56bd8654bca"
#define TILE "sched { mr=4 nv=2 ku=2 lanes=8 vec_axis=1 n_axis=1 task_axes=2 task_block=8 n_block=32 pack_b=1 }"

static cab_status parse(const char *text, cab_tuning **t)
{
    *t = NULL;
    return cab_tuning_parse(arena, text, t, &diag);
}

/* The text is for ever: keys are of Specs without names. */
static void check_golden(void)
{
    cab_sched s;
    const char *p = TILE;
    cab_buf b = cab_buf_on(arena);
    CHECK(cab_sched_parse(arena, &p, &s) == NULL);
    cab_tuning_put_head(&b, &target);
    cab_tuning_put_kernel(&b, product("dot_1"), constant, "k1 dot", &s);
    CHECK_STR(cab_buf_cstr(&b), HEAD "kernel " KEY " k1_dot " TILE "\n");
    cab_buf other = cab_buf_on(arena), third = cab_buf_on(arena);
    cab_tuning_put_kernel(&other, product("other"), constant, "k1 dot", &s);
    CHECK(strstr(cab_buf_cstr(&other), KEY) != NULL);
    cab_tuning_put_kernel(&third, product("dot_1"), NULL, "k1 dot", &s);
    CHECK(strstr(cab_buf_cstr(&third), KEY) == NULL);
}

static cab_sched chosen(const char *text, cab_status want)
{
    cab_tuning *t;
    cab_sched s = { .mr = 3 };
    CHECK_EQ(parse(text, &t), CAB_OK);
    CHECK_EQ(cab_tuning_choose(t, product("x"), &target, constant, &s, &diag), want);
    if (want == CAB_OK)
        cab_tuning_report(t, &diag);
    return s;
}

static void check_choice(void)
{
    CHECK_EQ(chosen(HEAD "kernel " KEY " a " TILE "\n", CAB_OK).mr, 4);
    CHECK_STR(said(), "");
    CHECK_EQ(chosen("# said\r\n\n  " HEAD "\t kernel  " KEY " a " TILE "\r\n", CAB_OK).mr, 4);
    CHECK_EQ(chosen(HEAD "kernel " KEY " a " TILE, CAB_OK).mr, 4);
    CHECK_STR(said(), "");
    /* The last one counts, also of records behind one another. */
    CHECK_EQ(chosen(HEAD "kernel " KEY " a " TILE "\n" HEAD "kernel " KEY " a sched { }\n", CAB_OK).mr, 0);
    CHECK_STR(said(), "");
    CHECK_EQ(chosen("cabochon tuning 1\ntarget made-up 64\nkernel " KEY " a " TILE "\n", CAB_OK).mr, 3);
    CHECK(says(said(), "is for other targets (made-up 64)"));
    CHECK_EQ(chosen(HEAD "kernel 00000000000000000000000000000000 a " TILE "\n", CAB_OK).mr, 3);
    CHECK(says(said(), "1 of the 1 lines of the tuning record for this target are for kernels"));
    CHECK_EQ(chosen(HEAD, CAB_OK).mr, 3);
    CHECK_STR(said(), "");
}

/* The record of what was used says the same, and says it again. */
static void check_used(void)
{
    const char *text = HEAD "kernel " KEY " a sched { mr=2 }\nkernel 00000000000000000000000000000000 b "
                       TILE "\n# x\nkernel " KEY " a " TILE "\ntarget else 16\nkernel " KEY " a " TILE "\n";
    for (int i = 0; i < 2; i++) {
        cab_tuning *t;
        cab_sched s;
        cab_buf b = cab_buf_on(arena);
        CHECK_EQ(parse(text, &t), CAB_OK);
        CHECK_EQ(cab_tuning_choose(t, product("x"), &target, constant, &s, &diag), CAB_OK);
        cab_tuning_put_used(t, &b);
        text = cab_buf_cstr(&b);
        CHECK_STR(text, HEAD "kernel " KEY " a " TILE "\n");
    }
}

static void check_hostile(void)
{
    static const struct { const char *text, *why; } bad[] = {
        { "", "it is empty" }, { "\n\n# only words\n", "it is empty" },
        { "kernel x", "tuning record:1" }, { "\x7f" "ELF\x01\x02", "does not begin with" },
        { "cabochon tuning 2\n", "does not begin with" }, { "cabochon tuning 12\n", "another version" },
        { "cabochon tuning 1\nkernel " KEY " a " TILE, "before any 'target'" },
        { HEAD "kernel\n", "32 digits" }, { HEAD "kernel " KEY "\n", "has no name" },
        { HEAD "kernel " KEY "0 a " TILE, "32 digits" }, { HEAD "kernel " KEY " a\n", "begins with 'sched {'" },
        { HEAD "kernel C534ea954b82fa83aa5a4ce34ea7fdde a " TILE, "32 digits" },
        { HEAD "kernel " KEY " a sched { mr=4\n }", "tuning record:3" },
        { HEAD "kernel " KEY " a " TILE " or so", "more on the line" },
        { HEAD "kernels " KEY " a " TILE, "'kernels' is neither" },
        { "cabochon tuning 1\ntarget\n", "wants a processor" }, { "cabochon tuning 1\ntarget a b\n", "wants a processor" },
        { "cabochon tuning 1\ntarget a 1024\n", "wants a processor" }, { HEAD "target x 32 y\n", "more on the line" },
    };
    cab_tuning *t;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(parse(bad[i].text, &t), CAB_EPARSE);
        CHECK(says(said(), bad[i].why));
    }
}

/* Well-formed, and no way to make the kernel. */
static void check_misfits(void)
{
    static const char *const bad[] = {
        "lanes=3", "lanes=8 vec_axis=7", "mr=4 m_axis=2", "mr=8 nv=9 lanes=8 vec_axis=1", "mr=64 unroll=2",
        "turn=1 mr=4 n_axis=2", "mr=4 lanes=8 vec_axis=1 n_block=32", "lanes=8 vec_axis=1 n_axis=1 n_block=20",
        "row_stores=1", "ku=64 mr=28 nv=2 lanes=8 vec_axis=1",
        "mr=4 lanes=8 vec_axis=1 n_axis=1 n_block=32 swap=1",              /* a has no columns of its own */
        "mr=4 m_axis=1 lanes=8 vec_axis=1 n_axis=1 n_block=32",            /* rows and columns are one axis */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        chosen(cab_printf(arena, HEAD "\nkernel " KEY " dot sched { %s }\n", bad[i]), CAB_EINVAL);
        CHECK(says(said(), "tuning record:4"));
    }
    cab_tuning *t;
    cab_sched s;
    CHECK_EQ(parse(HEAD "kernel 7b0f1a2e a sched { }", &t), CAB_EPARSE);
    cab_diag_clear(&diag);
    /* What is no constant cannot be packed. */
    const char *p = TILE;
    cab_buf b = cab_buf_on(arena);
    CHECK(cab_sched_parse(arena, &p, &s) == NULL);
    cab_tuning_put_head(&b, &target);
    cab_tuning_put_kernel(&b, product("x"), NULL, "k", &s);
    CHECK_EQ(parse(cab_buf_cstr(&b), &t), CAB_OK);
    CHECK_EQ(cab_tuning_choose(t, product("x"), &target, NULL, &s, &diag), CAB_EINVAL);
    CHECK(says(said(), "no kernel 'k' can be made"));
}

/* Any change of a byte or a cut is read or refused, never more. */
static void check_mutations(void)
{
    const char *text = HEAD "kernel " KEY " a " TILE "\nkernel " KEY " b sched { lanes=4 vec_axis=1 nv=2 }\n";
    size_t n = strlen(text);
    cab_rng r;
    cab_rng_seed(&r, 7);
    for (int i = 0; i < 20000; i++) {
        cab_mark m = cab_arena_mark(arena);
        char *copy = cab_strdup(arena, text);
        cab_tuning *t;
        cab_sched s = { 0 };
        for (int k = (int)cab_rng_i64(&r, 0, 3); k >= 0; k--)
            copy[cab_rng_i64(&r, 0, (int64_t)n - 1)] = "0123456789={} \n#\xff" "akt\0"[cab_rng_i64(&r, 0, 21)];
        cab_diag_clear(&diag);
        if (parse(copy, &t) == CAB_OK)
            cab_tuning_choose(t, product("x"), &target, constant, &s, &diag);
        test_passed += i % 1000 == 0;
        cab_arena_release(arena, m);
    }
    cab_diag_clear(&diag);
}

/* ---- compiling ---- */
static cab_mapping compile(const char *tuning, const char *targets, bool isolate, cab_status want)
{
    cab_compile_options o = CAB_INIT(cab_compile_options);
    cab_report *r;
    cab_mapping m = { 0 };
    int fd;
    o.tuning = tuning;
    o.target = targets;
    o.isolate = isolate;
    CHECK_EQ(cab_compile_file(digits, &o, &fd, &r), want);
    if (strcmp(cab_report_text(r), ""))
        cab_fail(&diag, CAB_EINVAL, NULL, "%s", cab_report_text(r));
    cab_report_destroy(r);
    if (fd >= 0)
        CHECK_EQ(cab_fd_map(fd, "a", &m, NULL), CAB_OK);
    if (fd >= 0)
        close(fd);
    return m;
}

/* Candidates of that target: for every kernel the last one, or all. */
static const char *other_record(const char *targets)
{
    cab_compiler c = { .target = targets };
    char *text;
    size_t n;
    CHECK_EQ(cab_compiler_emit(&c, &(cab_source){ .path = digits }, "candidates", NULL, &text, &n, &diag),
             CAB_OK);
    const char *copy = cab_strdup(arena, text);
    free(text);
    return copy;
}

static bool same(cab_mapping a, cab_mapping b) { return a.n == b.n && a.n && !memcmp(a.p, b.p, a.n); }

static const char *record_in(cab_mapping m)
{
    cab_artifact a;
    cab_error e;
    CHECK_EQ(cab_artifact_open(m.p, m.n, &a, &e), CAB_OK);
    const cab_file_section *s = cab_artifact_find(&a, CAB_SEC_TUNING, 0);
    return s ? cab_strndup(arena, (const char *)cab_artifact_bytes(&a, s), s->bytes) : NULL;
}

static void run(cab_mapping m, float out[30])
{
    float image[3 * 64];
    cab_model *model = NULL;
    cab_session *s = NULL;
    cab_error e = { 0 };
    cab_tensor_view in = { .dtype = 1, .rank = 4, .dims = { 3, 1, 8, 8 }, .data = image, .bytes = sizeof image };
    cab_tensor_view to = { .data = out, .bytes = 30 * sizeof *out };
    for (int i = 0; i < 3 * 64; i++)
        image[i] = (float)(i * 7 % 17);
    CHECK_EQ(cab_model_load_memory(m.p, m.n, "a", NULL, &model, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_create(model, NULL, &s, &e), CAB_RT_OK);
    CHECK_EQ(cab_session_run(s, &in, &to, &e), CAB_RT_OK);
    cab_session_destroy(s);
    cab_model_destroy(model);
}

static void check_compile(void)
{
    const char *text = other_record(NULL), *kept;
    cab_mapping plain = compile(NULL, NULL, false, CAB_OK), tuned = compile(text, NULL, false, CAB_OK);
    float want[30], got[30];
    CHECK_STR(said(), "");
    CHECK(record_in(plain) == NULL);
    CHECK((kept = record_in(tuned)) != NULL && strlen(kept) < strlen(text));
    CHECK(!same(plain, tuned));
    cab_mapping again = compile(kept, NULL, false, CAB_OK), apart = compile(kept, NULL, true, CAB_OK);
    CHECK_STR(said(), "");
    CHECK(same(tuned, again) && same(tuned, apart));
    run(plain, want);
    run(tuned, got);
    for (int i = 0; i < 30; i++)
        CHECK(fabsf(want[i] - got[i]) <= 1e-4f * (1 + fabsf(want[i])));
    compile(cab_printf(arena, "%skernel %s", kept, "x"), NULL, false, CAB_EPARSE);
    CHECK(says(said(), "32 digits"));
    cab_file_unmap(&plain);
    cab_file_unmap(&tuned);
    cab_file_unmap(&again);
    cab_file_unmap(&apart);
}

/* Records for several processors behind one another. */
static void check_targets(void)
{
    const char *both = cab_printf(arena, "%s%s", other_record("x86-64-v2"), other_record("x86-64-v3"));
    cab_mapping a = compile(both, "x86-64-v3,x86-64-v2", false, CAB_OK), b;
    const char *kept = record_in(a);
    CHECK(strstr(kept, "target x86-64-v2 16") && strstr(kept, "target x86-64-v3 32"));
    said();
    b = compile(kept, "x86-64-v2,x86-64-v3", false, CAB_OK);
    CHECK(same(a, b));
    CHECK_STR(said(), "");
    cab_file_unmap(&b);
    b = compile(kept, "x86-64-v3", false, CAB_OK);             /* lines for others do no harm */
    CHECK_STR(said(), "");
    cab_file_unmap(&a);
    cab_file_unmap(&b);
}

/* ---- tuning ---- */
static int rounds;
static void count(void *user, const char *line)
{
    rounds += user != NULL && !strncmp(line, "round", 5);
}

static void check_tune(void)
{
    cab_compiler c = { .threads = 1 };
    cab_source s = { .path = digits };
    float image[64] = { [11] = 16, [19] = 16, [27] = 16 };
    cab_tensor_view in = { .dtype = 1, .rank = 4, .dims = { 1, 1, 8, 8 }, .data = image, .bytes = sizeof image };
    cab_tune_options o = { .inputs = &in, .threads = 1, .seconds = 5, .progress = count, .progress_user = &o };
    cab_model *m;
    cab_tuned r;
    CHECK_EQ(cab_compiler_jit(&c, &s, NULL, &m, NULL, &diag), CAB_OK);
    CHECK_EQ(cab_tune(&c, &s, m, &o, &r, &diag), CAB_OK);
    CHECK(rounds >= 2 && r.kernels >= 4 && r.changed <= r.kernels && r.untuned_ms > 0 && r.tuned_ms > 0);
    cab_mapping a = compile(r.record, NULL, false, CAB_OK);
    CHECK((record_in(a) != NULL) == (r.changed > 0));
    CHECK_STR(said(), "");
    cab_file_unmap(&a);
    free(r.record);
    in.dims[0] = -3;
    CHECK_EQ(cab_tune(&c, &s, m, &o, &r, &diag), CAB_EINPUT);
    CHECK(!r.record);
    c.target = "x86-64-v2,x86-64-v3";
    CHECK_EQ(cab_tune(&c, &s, m, &o, &r, &diag), CAB_EINVAL);
    CHECK(says(said(), "one target at a time"));
    cab_model_destroy(m);
}

int main(void)
{
    const char *src = getenv("srcdir");
    snprintf(digits, sizeof digits, "%s/samples/digits/digits.onnx", src ? src : ".");
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    check_sched_text();
    check_bad_scheds();
    check_golden();
    check_choice();
    check_used();
    check_hostile();
    check_misfits();
    check_mutations();
    check_compile();
    check_targets();
    check_tune();
    cab_diag_fini(&diag);
    cab_arena_destroy(arena);
    TEST_END();
}
