/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_dim.c - canonical forms, facts, text, and random algebra.
 *
 * The random part builds an expression twice: with the constructors, which
 * simplify, and as plain arithmetic on the values of the symbols.  They must
 * agree wherever the plain arithmetic is defined.  CAB_SEED replays a run.
 */
#include "tests/test.h"
#include "base/base.h"

static cab_job job;

typedef struct pool { cab_arena *a; cab_dims *d; } pool;

static pool pool_open(void)
{
    cab_arena *a = cab_arena_create(&job);
    return (pool){ a, cab_dims_create(a) };
}

static const cab_dim *parse(cab_dims *d, const char *s)
{
    const cab_dim *x = cab_dim_parse(d, &s);

    if (x && *s) {
        fprintf(stderr, "left over: '%s'\n", s);
        return NULL;
    }
    return x;
}

static const char *text(pool p, const cab_dim *x)
{
    cab_buf b = cab_buf_on(p.a);

    if (!x)
        return "(none)";
    cab_dim_print(&b, x);
    return cab_buf_cstr(&b);
}

static void same(pool p, const char *a, const char *b)
{
    const cab_dim *x = parse(p.d, a), *y = parse(p.d, b);

    if (x != y || !x)
        fprintf(stderr, "'%s' is %s, '%s' is %s\n", a, text(p, x), b,
                text(p, y));
    CHECK(x && x == y);
}

static void prints(pool p, const char *in, const char *out)
{
    CHECK_STR(text(p, parse(p.d, in)), out);
}

static void facts(pool p)
{
    /* N, M, K: extents */
    cab_dim_assume(p.d, cab_dim_sym(p.d, "E"), 0, 1024, 8);
    cab_dim_assume(p.d, cab_dim_sym(p.d, "P"), 1, 100, 1);
    cab_dim_assume(p.d, cab_dim_sym(p.d, "S"), -20, 20, 1);
}

static void check_canonical(void)
{
    static const char *const rows[][2] = {
        { "(N + 1) - 1", "N" },
        { "2*(N + M) - N", "N + 2*M" },
        { "(N + 1)*(N - 1)", "N*N - 1" },
        { "(N + M)*(N + M) - 2*N*M", "M*M + N*N" },
        { "N - N", "0" },
        { "floordiv(4*N, 4)", "N" },
        { "floordiv(4*N + 7, 4)", "N + 1" },
        { "floordiv(6*N + 4, 4)", "N + 1 + floordiv(N, 2)" },
        { "floordiv(N*M*3, N)", "3*M" },
        { "floordiv(N*M + K, N)", "M + floordiv(K, N)" },
        { "floordiv(floordiv(N, 2), 3)", "floordiv(N, 6)" },
        { "floordiv(floordiv(N - 1, 2) + 1 - 1, 2) + 1",
          "floordiv(N - 1, 4) + 1" },
        { "floordiv(2*N + 1, 4)", "floordiv(N, 2)" },
        { "floordiv((N + 1)*M, N + 1)", "M" },
        { "floordiv(N*M, N*K)", "floordiv(M, K)" },
        { "floordiv(N, -2)", "-ceildiv(N, 2)" },
        { "ceildiv(N, 2)", "floordiv(N + 1, 2)" },
        { "ceildiv(-N, 2)", "-floordiv(N, 2)" },
        { "ceildiv(6*N, 3)", "2*N" },
        { "ceildiv(N*M, N)", "M" },
        { "ceildiv(1, N)", "1" },
        { "floordiv(-7, 2)", "-4" },
        { "ceildiv(-7, 2)", "-3" },
        { "mod(-7, 2)", "1" },
        { "mod(7, -2)", "-1" },
        { "mod(4*N + 3, 4)", "3" },
        { "mod(5*N, 4)", "mod(N, 4)" },
        { "mod(2*N + 3, 4)", "2*mod(N + 1, 2) + 1" },
        { "mod(mod(N, 12) + 1, 4)", "mod(N + 1, 4)" },
        { "mod(N*M, N)", "0" },
        { "mod(N*M, N*K)", "N*mod(M, K)" },
        { "4*floordiv(N, 4) + mod(N, 4)", "N" },
        { "mod(N + 3, 4)*M + 4*M*floordiv(N + 3, 4)", "M*N + 3*M" },
        { "mod(-N, 8)", "7 - mod(N + 7, 8)" },
        /* facts */
        { "mod(E, 8)", "0" },
        { "mod(E + 3, 4)", "3" },
        { "mod(N*E + 5, 4)", "1" },
        { "4*floordiv(E, 4)", "E" },
        { "8*floordiv(E, 8) + 4*floordiv(E, 4)", "2*E" },
        { "floordiv(E + N, 4)", "floordiv(E, 4) + floordiv(N, 4)" },
        { "floordiv(E + 7, 8)", "ceildiv(E, 8)" },
        { "floordiv(E + 1, 16)", "floordiv(E, 16)" },
        { "floordiv(floordiv(E, 4), 2)", "floordiv(E, 8)" },
        { "floordiv(E, 1025)", "0" },
        { "mod(E, 1025)", "E" },
        { "floordiv(P - 1, P)", "0" },
        { "mod(P - 1, P)", "P - 1" },
        { "ceildiv(P, P)", "1" },
        { "max(N, 0)", "N" },
        { "min(N, 9223372036854775807)", "N" },
        { "min(N, N + 1)", "N" },
        { "max(N + M, N)", "N + M" },
        { "min(min(N, M), N)", "min(M, N)" },
        { "min(M, min(N, K))", "min(min(K, N), M)" },
        { "max(min(E, 2000), -1)", "E" },
        { "max(P, 1)", "P" },
    };
    pool p = pool_open();

    facts(p);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        same(p, rows[i][0], rows[i][1]);
    CHECK(!cab_dims_overflowed(p.d));
    cab_arena_destroy(p.a);
}

static void check_text(void)
{
    pool p = pool_open();
    const char *s = "N + 1 , M", *bad[] = {
        "", "+", "N +", "floordiv(N)", "floordiv(N, 2", "(N", "2 *", "`N",
        "`\\q`", "9223372036854775808", "-9223372036854775809", "min(,1)",
    };
    char deep[2048];

    prints(p, "4*N+2", "4*N + 2");
    prints(p, "2 + N*4 - M", "-M + 4*N + 2");
    prints(p, "mod ( N , 8 )", "mod(N, 8)");
    prints(p, "min(a, b)", "min(a, b)");
    prints(p, "-9223372036854775808*N", "-9223372036854775808*N");
    prints(p, "M - 9223372036854775808*Z", "M - 9223372036854775808*Z");
    prints(p, "-9223372036854775808", "-9223372036854775808");
    prints(p, "`batch size` + `a\\x60b\\x5c` + `min`",
           "`a\\x60b\\x5c` + `batch size` + `min`");
    prints(p, "-(N - 3)", "-N + 3");
    prints(p, "min + max(min, 3)", "`min` + max(`min`, 3)");
    CHECK(cab_dim_parse(p.d, &s) && !strcmp(s, " , M"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s = bad[i];
        CHECK(!cab_dim_parse(p.d, &s) && s == bad[i]);
    }
    memset(deep, '(', sizeof deep);
    deep[sizeof deep - 1] = 0;
    s = deep;
    CHECK(!cab_dim_parse(p.d, &s));
    CHECK(!cab_dims_overflowed(p.d));
    cab_arena_destroy(p.a);
}

static void check_facts(void)
{
    pool p = pool_open();
    const cab_dim *n = cab_dim_sym(p.d, "N"), *x;

    facts(p);
    CHECK(cab_dim_sym(p.d, "N") == n);
    CHECK_EQ(n->lo, 0);
    CHECK_EQ(n->hi, INT32_MAX);
    x = parse(p.d, "4*E + 16");
    CHECK_EQ(x->divisor, 16);
    CHECK_EQ(x->hi, 4 * 1024 + 16);
    x = parse(p.d, "floordiv(E, 4)");
    CHECK_EQ(x->divisor, 2);
    CHECK_EQ(x->hi, 256);
    x = parse(p.d, "mod(N, 8)");
    CHECK_EQ(x->lo, 0);
    CHECK_EQ(x->hi, 7);
    x = parse(p.d, "N*N*N*N*N");
    CHECK_EQ(x->hi, INT64_MAX);
    x = parse(p.d, "-N*N*N*N*N");
    CHECK_EQ(x->lo, INT64_MIN);
    x = parse(p.d, "ceildiv(N, P)");
    CHECK_EQ(x->lo, 0);
    CHECK_EQ(x->hi, INT32_MAX);
    CHECK_EQ(cab_dim_eq(n, parse(p.d, "N + 1")), 0);
    CHECK_EQ(cab_dim_eq(n, parse(p.d, "M")), -1);
    CHECK_EQ(cab_dim_eq(parse(p.d, "2*N"), parse(p.d, "4*M + 1")), 0);
    CHECK_EQ(cab_dim_lt(n, parse(p.d, "N + 1")), 1);
    CHECK_EQ(cab_dim_lt(n, n), 0);
    CHECK_EQ(cab_dim_lt(parse(p.d, "E"), parse(p.d, "2000")), 1);
    CHECK_EQ(cab_dim_lt(n, parse(p.d, "M")), -1);
    cab_dim_assume(p.d, n, 5, 30, 4);
    CHECK_EQ(n->lo, 8);
    CHECK_EQ(n->hi, 28);
    cab_dim_assume(p.d, n, 0, 1000, 6);
    CHECK_EQ(n->divisor, 12);
    CHECK_EQ(n->lo, 12);
    CHECK_EQ(n->hi, 24);
    cab_arena_destroy(p.a);
}

static void check_divexact(void)
{
    static const char *const rows[][3] = {
        { "4*N + 8", "4", "N + 2" }, { "4*N + 6", "4", NULL },
        { "N*M", "N", "M" }, { "N", "M", NULL }, { "E", "8", "floordiv(E, 8)" },
        { "E", "16", NULL }, { "N*N - M*M", "N + M", "N - M" },
        { "6*N", "-3", "-2*N" }, { "N", "0", NULL }, { "0", "N", "0" },
        { "N*E", "4*N", "floordiv(E, 4)" },
        { "N*floordiv(M + 1, 2)", "floordiv(M + 1, 2)", "N" },
    };
    pool p = pool_open();

    facts(p);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const cab_dim *q = cab_dim_divexact(p.d, parse(p.d, rows[i][0]),
                                            parse(p.d, rows[i][1]));
        const cab_dim *want = rows[i][2] ? parse(p.d, rows[i][2]) : NULL;
        if (q != want)
            fprintf(stderr, "%s / %s is %s\n", rows[i][0], rows[i][1],
                    text(p, q));
        CHECK(q == want);
    }
    cab_arena_destroy(p.a);
}

static void check_bind(void)
{
    pool p = pool_open();
    const cab_dim *n = cab_dim_sym(p.d, "N"), *m = cab_dim_sym(p.d, "M");
    const cab_dim *x = parse(p.d, "floordiv(N + 1, 2) + mod(M*N, 7)");
    const cab_dim *f = cab_dim_fresh(p.d, "N");

    CHECK(f != n && f != cab_dim_fresh(p.d, "N"));
    CHECK(cab_dim_subst(p.d, x) == x);
    cab_dim_bind(p.d, n, parse(p.d, "2*M"));
    CHECK_STR(text(p, cab_dim_subst(p.d, x)), "M + mod(2*M*M, 7)");
    CHECK_STR(text(p, cab_dim_add(p.d, n, m)), "3*M");
    cab_dim_bind(p.d, m, parse(p.d, "M + 1"));   /* contains itself */
    CHECK(cab_dim_subst(p.d, m) == m);
    cab_dim_bind(p.d, m, cab_dim_const(p.d, 5));
    CHECK(cab_dim_is(cab_dim_subst(p.d, x), 6));
    CHECK(cab_dim_is(cab_dim_sym(p.d, "N"), 10));
    CHECK(cab_dim_is(cab_dim_mul(p.d, n, m), 50));
    cab_arena_destroy(p.a);
}

static void check_overflow(void)
{
    static const char *const rows[] = {
        "9223372036854775807 + 1", "4611686018427387904*N*2",
        "-(-9223372036854775808)", "(A+B)*(A+B)*(A+B)*(A+B)*(A+B)*(A+B)*(A+B)"
        "*(A+C+D+E+F+G+H)*(A+C+D+E+F+G+H)*(A+C+D+E+F+G+H)*(A+C+D+E+F+G+H)"
        "*(A+C+D+E+F+G+H)*(A+C+D+E+F+G+H)*(A+C+D+E+F+G+H)*(A+C+D+E+F+G+H)",
    };
    pool p;
    const cab_dim *x, *n;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        p = pool_open();
        x = parse(p.d, rows[i]);
        CHECK(x && x->lo == INT64_MIN && x->hi == INT64_MAX);
        CHECK(cab_dims_overflowed(p.d));
        cab_arena_destroy(p.a);
    }
    /* Growth without end is refused in bounded time. */
    p = pool_open();
    n = cab_dim_sym(p.d, "N");
    x = n;
    for (int i = 0; i < 2000; i++)
        x = cab_dim_add(p.d, cab_dim_floordiv(p.d, x, cab_dim_sym(p.d, "K")),
                        cab_dim_mod(p.d, x, cab_dim_const(p.d, i % 5 + 2)));
    CHECK(cab_dims_overflowed(p.d));
    cab_arena_destroy(p.a);
}

/* ---- random algebra ---------------------------------------------------- */

enum { SYMBOLS = 5, TRIES = 12 };
static const char *const names[SYMBOLS] = { "N", "M", "E", "P", "S" };

typedef struct world {
    pool p;
    cab_rng rng;
    int64_t env[TRIES][SYMBOLS];
} world;

/* An expression, and its value (if any) in each environment. */
typedef struct expr {
    const cab_dim *x;
    bool defined[TRIES];
    int64_t v[TRIES];
} expr;

static bool lookup(void *arg, const char *sym, int64_t *out)
{
    for (int i = 0; i < SYMBOLS; i++)
        if (!strcmp(sym, names[i])) {
            *out = ((const int64_t *)arg)[i];
            return true;
        }
    return false;
}

static int64_t draw(world *w, int sym)
{
    switch (sym) {
    case 2: return 8 * cab_rng_i64(&w->rng, 0, 128);
    case 3: return cab_rng_i64(&w->rng, 1, 100);
    case 4: return cab_rng_i64(&w->rng, -20, 20);
    default: return cab_rng_i64(&w->rng, 0, 40);
    }
}

static bool apply(int op, int64_t a, int64_t b, int64_t *out)
{
    int64_t q;

    if (op >= 3 && op <= 5 && !b)
        return false;
    q = op >= 3 && op <= 5 ? a / b - (a % b != 0 && (a < 0) != (b < 0)) : 0;
    switch (op) {
    case 0: return !__builtin_add_overflow(a, b, out);
    case 1: return !__builtin_sub_overflow(a, b, out);
    case 2: return !__builtin_mul_overflow(a, b, out);
    case 3: *out = q; return true;
    case 4: *out = q + (q * b != a); return true;
    case 5: *out = a - q * b; return true;
    case 6: *out = a < b ? a : b; return true;
    default: *out = a > b ? a : b; return true;
    }
}

static void check_against(world *w, const expr *e)
{
    for (int t = 0; t < TRIES; t++) {
        int64_t got;
        bool ok;
        if (!e->defined[t])
            continue;
        ok = cab_dim_eval(e->x, lookup, w->env[t], &got);
        if (!ok || got != e->v[t])
            fprintf(stderr, "%s at N=%" PRId64 " M=%" PRId64 " E=%" PRId64
                    " P=%" PRId64 " S=%" PRId64 ": %" PRId64 ", expected %"
                    PRId64 "\n", text(w->p, e->x), w->env[t][0], w->env[t][1],
                    w->env[t][2], w->env[t][3], w->env[t][4], ok ? got : -1,
                    e->v[t]);
        CHECK(ok && got == e->v[t]);
        CHECK(e->v[t] >= e->x->lo && e->v[t] <= e->x->hi);
        CHECK(e->v[t] % e->x->divisor == 0);
    }
}

static expr leaf(world *w)
{
    expr e = { 0 };
    int s = (int)cab_rng_i64(&w->rng, 0, SYMBOLS + 2);
    int64_t c = cab_rng_i64(&w->rng, -9, 16);

    e.x = s < SYMBOLS ? cab_dim_sym(w->p.d, names[s])
                      : cab_dim_const(w->p.d, c);
    for (int t = 0; t < TRIES; t++) {
        e.defined[t] = true;
        e.v[t] = s < SYMBOLS ? w->env[t][s] : c;
    }
    return e;
}

static expr combine(world *w, int op, const expr *a, const expr *b)
{
    static const cab_dim *(*const make[])(cab_dims *, const cab_dim *,
                                          const cab_dim *) = {
        cab_dim_add, cab_dim_sub, cab_dim_mul, cab_dim_floordiv,
        cab_dim_ceildiv, cab_dim_mod, cab_dim_min, cab_dim_max,
    };
    expr e = { .x = make[op](w->p.d, a->x, b->x) };

    for (int t = 0; t < TRIES; t++)
        e.defined[t] = a->defined[t] && b->defined[t]
                       && apply(op, a->v[t], b->v[t], &e.v[t]);
    check_against(w, &e);
    return e;
}

static expr grow(world *w, int depth)
{
    expr a, b;
    int op;

    if (!depth || !cab_rng_i64(&w->rng, 0, 5))
        return leaf(w);
    a = grow(w, depth - 1);
    op = (int)cab_rng_i64(&w->rng, 0, 7);
    b = op >= 3 && op <= 5 && cab_rng_i64(&w->rng, 0, 2) ? leaf(w)
                                                         : grow(w, depth - 1);
    return combine(w, op, &a, &b);
}

static void check_identities(world *w, const expr *a, const expr *b)
{
    cab_dims *d = w->p.d;
    const cab_dim *sum = cab_dim_add(d, a->x, b->x);
    const cab_dim *product = cab_dim_mul(d, a->x, b->x), *q;

    CHECK(sum == cab_dim_add(d, b->x, a->x));
    CHECK(cab_dim_sub(d, sum, b->x) == a->x);
    CHECK(product == cab_dim_mul(d, b->x, a->x));
    CHECK(cab_dim_min(d, a->x, b->x) == cab_dim_min(d, b->x, a->x));
    CHECK(cab_dim_max(d, a->x, b->x) == cab_dim_max(d, b->x, a->x));
    for (int t = 0; t < TRIES; t++) {
        int eq = cab_dim_eq(a->x, b->x), lt = cab_dim_lt(a->x, b->x);
        if (!a->defined[t] || !b->defined[t])
            continue;
        CHECK(eq < 0 || eq == (a->v[t] == b->v[t]));
        CHECK(lt < 0 || lt == (a->v[t] < b->v[t]));
    }
    q = cab_dim_divexact(d, a->x, b->x);
    for (int t = 0; t < TRIES && q; t++) {
        int64_t v;
        if (a->defined[t] && b->defined[t] && b->v[t]
            && cab_dim_eval(q, lookup, w->env[t], &v))
            CHECK_EQ(v * b->v[t], a->v[t]);
    }
}

/* Print, parse in this pool and in a fresh one: the same text. */
static void check_round_trip(world *w, const cab_dim *x)
{
    const char *s = text(w->p, x), *again;
    pool p = pool_open();

    CHECK(parse(w->p.d, s) == x);
    facts(p);
    again = text(p, parse(p.d, s));
    CHECK_STR(again, s);
    cab_arena_destroy(p.a);
}

static world world_open(uint64_t seed)
{
    world w = { .p = pool_open() };

    cab_rng_seed(&w.rng, seed);
    facts(w.p);
    for (int t = 0; t < TRIES; t++)
        for (int i = 0; i < SYMBOLS; i++)
            w.env[t][i] = draw(&w, i);
    return w;
}

static void check_random(void)
{
    const char *given = getenv("CAB_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0)
                          : (uint64_t)cab_now_ns();

    fprintf(stderr, "test_dim: CAB_SEED=%" PRIu64 "\n", seed);
    for (int i = 0; i < 300; i++) {
        world w = world_open(seed + (uint64_t)i);
        for (int k = 0; k < 6; k++) {
            expr a = grow(&w, 4), b = grow(&w, 3);
            check_identities(&w, &a, &b);
            check_round_trip(&w, a.x);
        }
        cab_arena_destroy(w.p.a);
    }
}

int main(void)
{
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    check_canonical();
    check_text();
    check_facts();
    check_divexact();
    check_bind();
    check_overflow();
    check_random();
    TEST_END();
}
