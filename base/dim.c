/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dim.c - the pool of dims: nodes, facts, comparison, symbols, evaluation.
 *
 * A node is found by its structure, so equal canonical expressions are equal
 * pointers.  Its facts are computed once, from those of its arguments; they
 * hold for every environment under which cab_dim_eval succeeds.  Division by
 * zero has no value, so facts (and the rules in dim_div.c) may take every
 * divisor to be nonzero.  CEILDIV is rewritten as FLOORDIV: no node has it.
 */
#include "base/dim_int.h"
#include <string.h>

static const cab_i128 INFINITE = (cab_i128)1 << 110;

static cab_dim_node *node_of(const cab_dim *x)
{
    return (cab_dim_node *)(uintptr_t)x;
}

uint64_t cab_gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

uint64_t cab_abs64(int64_t v)
{
    return v < 0 ? -(uint64_t)v : (uint64_t)v;
}

cab_i128 cab_floor128(cab_i128 a, cab_i128 b)
{
    cab_i128 q = a / b;

    return q - (a % b != 0 && (a < 0) != (b < 0));
}

/* ---- terms ------------------------------------------------------------ */

int cab_dim_n_terms(const cab_dim *x)
{
    return x->kind == CAB_DIM_ADD ? x->n_args : !cab_dim_is(x, 0);
}

cab_term cab_dim_term(const cab_dim *x, int i)
{
    const cab_dim *t = x->kind == CAB_DIM_ADD ? x->args[i] : x;

    if (t->kind == CAB_DIM_CONST)
        return (cab_term){ t->value, 0, NULL };
    if (t->kind != CAB_DIM_MUL)
        return (cab_term){ 1, 1, &node_of(t)->self };
    if (t->args[0]->kind == CAB_DIM_CONST)
        return (cab_term){ t->args[0]->value, t->n_args - 1, t->args + 1 };
    return (cab_term){ 1, t->n_args, t->args };
}

int cab_term_cmp(const cab_term *a, const cab_term *b)
{
    if (a->n != b->n)
        return a->n > b->n ? -1 : 1;
    for (int i = 0; i < a->n; i++) {
        int c = cab_dim_cmp(a->atoms[i], b->atoms[i]);
        if (c)
            return c;
    }
    return 0;
}

int cab_dim_cmp(const cab_dim *a, const cab_dim *b)
{
    if (a == b)
        return 0;
    if (a->kind != b->kind) {
        if (a->kind == CAB_DIM_CONST || b->kind == CAB_DIM_CONST)
            return a->kind == CAB_DIM_CONST ? 1 : -1;
        return a->kind < b->kind ? -1 : 1;
    }
    if (a->kind == CAB_DIM_CONST)
        return a->value < b->value ? -1 : 1;
    if (a->kind == CAB_DIM_SYM)
        return strcmp(a->name, b->name);
    if (a->n_args != b->n_args)
        return a->n_args < b->n_args ? -1 : 1;
    /* Different nodes differ in an argument: only one pair is descended. */
    for (int i = 0; i < a->n_args; i++)
        if (a->args[i] != b->args[i])
            return cab_dim_cmp(a->args[i], b->args[i]);
    return 0;
}

uint64_t cab_term_divisor(const cab_term *t)
{
    uint64_t v = cab_abs64(t->c), w;

    /* Leaving out a factor that does not fit keeps it a divisor. */
    for (int i = 0; i < t->n; i++)
        if (!__builtin_mul_overflow(v, (uint64_t)t->atoms[i]->divisor, &w))
            v = w;
    return v;
}

/* ---- interval arithmetic ---------------------------------------------- */

typedef struct range { cab_i128 lo, hi; } range;

static cab_i128 mul_clamped(cab_i128 a, cab_i128 b)
{
    cab_i128 v;

    if (__builtin_mul_overflow(a, b, &v))
        v = (a < 0) != (b < 0) ? -INFINITE : INFINITE;
    return v > INFINITE ? INFINITE : v < -INFINITE ? -INFINITE : v;
}

static void include(range *r, cab_i128 v)
{
    if (v < r->lo)
        r->lo = v;
    if (v > r->hi)
        r->hi = v;
}

static range range_mul(range a, range b)
{
    cab_i128 v = mul_clamped(a.lo, b.lo);
    range r = { v, v };

    include(&r, mul_clamped(a.lo, b.hi));
    include(&r, mul_clamped(a.hi, b.lo));
    include(&r, mul_clamped(a.hi, b.hi));
    return r;
}

static range range_of(const cab_dim *x)
{
    return (range){ x->lo, x->hi };
}

/* Every value but zero; lo > hi when there is none. */
static range without_zero(range b)
{
    if (!b.lo)
        b.lo = 1;
    if (!b.hi)
        b.hi = -1;
    return b;
}

static range range_floordiv(range a, range b)
{
    cab_i128 v, most;
    range r;

    b = without_zero(b);
    if (b.lo > b.hi)
        return (range){ INT64_MIN, INT64_MAX };
    if (b.lo < 0 && b.hi > 0) {     /* |quotient| <= |a| */
        most = -a.lo > a.hi ? -a.lo : a.hi;
        return (range){ -most, most };
    }
    v = cab_floor128(a.lo, b.lo);
    r = (range){ v, v };
    include(&r, cab_floor128(a.lo, b.hi));
    include(&r, cab_floor128(a.hi, b.lo));
    include(&r, cab_floor128(a.hi, b.hi));
    return r;
}

/* The sign of a remainder is the divisor's. */
static range range_mod(range a, range b)
{
    range r = { b.lo < 0 ? b.lo + 1 : 0, b.hi > 0 ? b.hi - 1 : 0 };

    if (!b.lo && !b.hi)
        return (range){ INT64_MIN, INT64_MAX };
    if (a.lo >= 0 && b.lo >= 0 && a.hi < r.hi)
        r.hi = a.hi;
    return r;
}

static void span_add(cab_dim_span *s, cab_i128 c, const cab_term *t)
{
    range r = { c, c };
    cab_term unit = *t;

    if (!c)
        return;
    if (!t->n) {
        s->lo += c;
        s->hi += c;
        s->constant = c >= INT64_MIN && c <= INT64_MAX ? (int64_t)c : 0;
        s->gcd = c == s->constant ? s->gcd : 1;
        return;
    }
    for (int i = 0; i < t->n; i++)
        r = range_mul(r, range_of(t->atoms[i]));
    s->lo += r.lo;
    s->hi += r.hi;
    unit.c = c >= INT64_MIN && c <= INT64_MAX ? (int64_t)c : 1;
    s->gcd = cab_gcd(s->gcd, cab_term_divisor(&unit));
}

cab_dim_span cab_dim_diff(const cab_dim *a, const cab_dim *b)
{
    cab_dim_span s = { 0 };
    int n = cab_dim_n_terms(a), m = b ? cab_dim_n_terms(b) : 0;

    for (int i = 0, j = 0; i < n || j < m;) {
        cab_term t = { 0 }, u = { 0 };
        int order;
        if (i < n)
            t = cab_dim_term(a, i);
        if (j < m)
            u = cab_dim_term(b, j);
        order = i == n ? 1 : j == m ? -1 : cab_term_cmp(&t, &u);
        span_add(&s, (cab_i128)(order <= 0 ? t.c : 0) - (order >= 0 ? u.c : 0),
                 order <= 0 ? &t : &u);
        i += order <= 0;
        j += order >= 0;
    }
    return s;
}

/* ---- nodes ------------------------------------------------------------ */

static int64_t clamp64(cab_i128 v)
{
    return v < INT64_MIN ? INT64_MIN : v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

/* Rounds the interval inwards to multiples of the divisor. */
static void set_facts(cab_dim *x, range r, uint64_t divisor)
{
    cab_i128 k, lo, hi;

    x->divisor = divisor && divisor <= INT64_MAX ? (int64_t)divisor : 1;
    k = x->divisor;
    lo = -cab_floor128(-(cab_i128)clamp64(r.lo), k) * k;
    hi = cab_floor128(clamp64(r.hi), k) * k;
    if (lo > hi) {                  /* no value at all: facts need not help */
        lo = r.lo;
        hi = r.hi;
    }
    x->lo = clamp64(lo);
    x->hi = clamp64(hi);
}

/* As a divisor; 0 for the constant 0, which everything divides. */
static uint64_t divisor_of(const cab_dim *x)
{
    return cab_dim_is(x, 0) ? 0 : (uint64_t)x->divisor;
}

static void derive_facts(cab_dim *x)
{
    range a, b, r = { 0, 0 };
    uint64_t divisor = 1;
    cab_dim_span s;

    if (x->kind == CAB_DIM_ADD || x->kind == CAB_DIM_MUL) {
        s = cab_dim_diff(x, NULL);
        set_facts(x, (range){ s.lo, s.hi },
                  cab_gcd(s.gcd, cab_abs64(s.constant)));
        return;
    }
    a = range_of(x->args[0]);
    b = range_of(x->args[1]);
    divisor = cab_gcd(divisor_of(x->args[0]), divisor_of(x->args[1]));
    switch (x->kind) {
    case CAB_DIM_FLOORDIV:
        r = range_floordiv(a, b);
        divisor = 1;
        if (x->args[1]->kind == CAB_DIM_CONST && x->args[1]->value > 0
            && x->args[0]->divisor % x->args[1]->value == 0)
            divisor = (uint64_t)(x->args[0]->divisor / x->args[1]->value);
        break;
    case CAB_DIM_MOD:
        r = range_mod(a, b);
        break;
    case CAB_DIM_MIN:
        r = (range){ a.lo < b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi };
        break;
    case CAB_DIM_MAX:
        r = (range){ a.lo > b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi };
        break;
    default:
        CAB_UNREACHABLE();
    }
    set_facts(x, r, divisor);
}

static cab_dim_node *new_node(cab_dims *d, cab_dim_kind kind)
{
    cab_dim_node *n = CAB_NEW(d->arena, cab_dim_node);

    n->dim.kind = kind;
    n->dim.id = d->n_nodes++;
    n->self = &n->dim;
    n->weight = n->depth = 1;
    return n;
}

const cab_dim *cab_dim_intern(cab_dims *d, cab_dim_kind kind,
                              const cab_dim *const *args, int n_args)
{
    cab_mark mark = cab_arena_mark(d->scratch);
    uint32_t *key = CAB_NEW_N(d->scratch, uint32_t, n_args + 1);
    size_t size = sizeof *key * ((size_t)n_args + 1);
    cab_dim_node *n;
    uint64_t weight = 1;
    uint32_t depth = 0;

    key[0] = kind;
    for (int i = 0; i < n_args; i++) {
        const cab_dim_node *arg = node_of(args[i]);
        key[i + 1] = args[i]->id;
        weight += arg->weight;
        depth = arg->depth > depth ? arg->depth : depth;
    }
    n = cab_map_get(d->nodes, key, size);
    if (!n && weight <= CAB_DIM_MAX_WEIGHT && depth < CAB_DIM_MAX_DEPTH) {
        n = new_node(d, kind);
        n->weight = (uint32_t)weight;
        n->depth = depth + 1;
        n->dim.n_args = n_args;
        n->dim.args = cab_dup(d->arena, args, sizeof *args * (size_t)n_args);
        derive_facts(&n->dim);
        cab_map_set(d->nodes, key, size, n);
    }
    cab_arena_release(d->scratch, mark);
    return n ? &n->dim : cab_dim_lost(d);
}

const cab_dim *cab_dim_const(cab_dims *d, int64_t v)
{
    struct { uint32_t kind, zero; int64_t v; } key = { CAB_DIM_CONST, 0, v };
    cab_dim_node *n = cab_map_get(d->nodes, &key, sizeof key);

    if (!n) {
        n = new_node(d, CAB_DIM_CONST);
        n->dim.value = v;
        set_facts(&n->dim, (range){ v, v }, cab_abs64(v));
        cab_map_set(d->nodes, &key, sizeof key, n);
    }
    return &n->dim;
}

/* ---- the pool and its symbols ----------------------------------------- */

static void drop_scratch(void *pool)
{
    cab_arena_destroy(((cab_dims *)pool)->scratch);
}

cab_dims *cab_dims_create(cab_arena *a)
{
    cab_dims *d = CAB_NEW(a, cab_dims);

    /* The registration comes first: it may jump, and nothing may leak. */
    d->arena = a;
    d->nodes = cab_map_create(a);
    d->syms = cab_map_create(a);
    d->divisions = cab_map_create(a);
    cab_arena_cleanup(a, drop_scratch, d);
    d->scratch = cab_arena_create(cab_arena_job(a));
    if (!d->scratch)
        cab_alloc(a, SIZE_MAX);     /* takes the arena's way out */
    /* A first chunk below every mark: releases do not free it. */
    cab_alloc(d->scratch, 1);
    return d;
}

bool cab_dims_overflowed(const cab_dims *d)
{
    return d->overflowed;
}

static const cab_dim *new_sym(cab_dims *d, const char *name, range r)
{
    cab_dim_node *n = new_node(d, CAB_DIM_SYM);
    n->dim.likely = -1;

    n->dim.name = cab_strdup(d->arena, name);
    set_facts(&n->dim, r, 1);
    cab_map_sets(d->syms, n->dim.name, n);
    return &n->dim;
}

const cab_dim *cab_dim_sym(cab_dims *d, const char *name)
{
    cab_dim_node *n = cab_map_gets(d->syms, name);

    return n ? cab_dim_subst(d, &n->dim)
             : new_sym(d, name, (range){ 0, INT32_MAX });
}

static const cab_dim *fresh(cab_dims *d, const char *prefix, range r)
{
    char *name;

    do
        name = cab_printf(d->arena, "%s%llu", prefix,
                          (unsigned long long)d->n_fresh++);
    while (cab_map_gets(d->syms, name));
    return new_sym(d, name, r);
}

const cab_dim *cab_dim_fresh(cab_dims *d, const char *prefix)
{
    return fresh(d, prefix, (range){ 0, INT32_MAX });
}

const cab_dim *cab_dim_lost(cab_dims *d)
{
    d->overflowed = true;
    return fresh(d, "overflow", (range){ INT64_MIN, INT64_MAX });
}

void cab_dim_assume(cab_dims *d, const cab_dim *sym, int64_t lo, int64_t hi,
                    int64_t divisor)
{
    cab_dim *x = &node_of(sym)->dim;
    uint64_t g, lcm;

    (void)d;
    if (x->kind != CAB_DIM_SYM)
        return;
    if (node_of(x)->assumed && lo < x->lo)
        lo = x->lo;
    if (node_of(x)->assumed && hi > x->hi)
        hi = x->hi;
    if (lo > hi)
        return;
    node_of(x)->assumed = true;
    if (divisor < 1)
        divisor = 1;
    g = cab_gcd((uint64_t)divisor, (uint64_t)x->divisor);
    if (__builtin_mul_overflow((uint64_t)divisor / g, (uint64_t)x->divisor,
                               &lcm) || lcm > INT64_MAX)
        lcm = (uint64_t)divisor;
    set_facts(x, (range){ lo, hi }, lcm);
}

void cab_dim_expect(cab_dims *d, const cab_dim *sym, int64_t v)
{
    (void)d;
    if (sym->kind == CAB_DIM_SYM && v >= 0)
        node_of(sym)->dim.likely = v;
}

static bool expected_symbol(void *arg, const char *name, int64_t *out)
{
    *out = cab_dim_sym(arg, name)->likely;
    return *out >= 0;
}

bool cab_dim_expected(cab_dims *d, const cab_dim *x, int64_t *out)
{
    return cab_dim_eval(x, expected_symbol, d, out);
}

void cab_dims_rely(cab_dims *d) { d->relied = true; }

bool cab_dims_relied(const cab_dims *d) { return d->relied; }

static bool contains(const cab_dim *x, const cab_dim *sym)
{
    if (x == sym)
        return true;
    for (int i = 0; i < x->n_args; i++)
        if (contains(x->args[i], sym))
            return true;
    return false;
}

void cab_dim_bind(cab_dims *d, const cab_dim *sym, const cab_dim *value)
{
    value = cab_dim_subst(d, value);
    if (sym->kind != CAB_DIM_SYM || node_of(sym)->bound
        || contains(value, sym))
        return;
    node_of(sym)->bound = value;
    d->epoch++;
}

const cab_dim *cab_dim_subst(cab_dims *d, const cab_dim *x)
{
    typedef const cab_dim *(*maker)(cab_dims *, const cab_dim *,
                                    const cab_dim *);
    static const maker make[] = {
        [CAB_DIM_ADD] = cab_dim_add, [CAB_DIM_MUL] = cab_dim_mul,
        [CAB_DIM_FLOORDIV] = cab_dim_floordiv,
        [CAB_DIM_CEILDIV] = cab_dim_ceildiv, [CAB_DIM_MOD] = cab_dim_mod,
        [CAB_DIM_MIN] = cab_dim_min, [CAB_DIM_MAX] = cab_dim_max,
    };
    cab_dim_node *n = node_of(x);
    const cab_dim *r;
    bool changed = false;

    if (n->epoch == d->epoch)       /* also when nothing was ever bound */
        return n->resolved ? n->resolved : x;
    r = x;
    if (x->kind == CAB_DIM_SYM && n->bound)
        r = cab_dim_subst(d, n->bound);
    for (int i = 0; i < x->n_args; i++)
        changed |= cab_dim_subst(d, x->args[i]) != x->args[i];
    if (changed) {
        r = cab_dim_subst(d, x->args[0]);
        for (int i = 1; i < x->n_args; i++)
            r = make[x->kind](d, r, cab_dim_subst(d, x->args[i]));
    }
    n->epoch = d->epoch;
    n->resolved = r;
    return r;
}

/* ---- questions -------------------------------------------------------- */

int cab_dim_eq(const cab_dim *a, const cab_dim *b)
{
    cab_dim_span s;

    if (a == b)
        return 1;
    s = cab_dim_diff(a, b);
    if (s.lo == 0 && s.hi == 0)
        return 1;
    if (s.lo > 0 || s.hi < 0 || (s.gcd && cab_abs64(s.constant) % s.gcd))
        return 0;
    return -1;
}

int cab_dim_lt(const cab_dim *a, const cab_dim *b)
{
    cab_dim_span s = cab_dim_diff(a, b);

    return s.hi < 0 ? 1 : s.lo >= 0 ? 0 : -1;
}

typedef bool env_fn(void *arg, const char *sym, int64_t *out);

static bool eval_pair(cab_dim_kind kind, int64_t a, int64_t b, cab_i128 *out)
{
    cab_i128 q;

    if (kind == CAB_DIM_MIN || kind == CAB_DIM_MAX) {
        *out = (a < b) == (kind == CAB_DIM_MIN) ? a : b;
        return true;
    }
    if (!b)
        return false;
    q = kind == CAB_DIM_CEILDIV ? -cab_floor128(-(cab_i128)a, b)
                                : cab_floor128(a, b);
    *out = kind == CAB_DIM_MOD ? a - q * b : q;
    return true;
}

static bool eval_sum(const cab_dim *x, env_fn *env, void *arg, cab_i128 *out)
{
    int64_t v;

    *out = x->kind == CAB_DIM_MUL;
    for (int i = 0; i < x->n_args; i++) {
        if (!cab_dim_eval(x->args[i], env, arg, &v))
            return false;
        *out = x->kind == CAB_DIM_MUL ? *out * v : *out + v;
        if (x->kind == CAB_DIM_MUL && *out != clamp64(*out))
            return false;
    }
    return true;
}

bool cab_dim_eval(const cab_dim *x, env_fn *env, void *arg, int64_t *out)
{
    int64_t a, b;
    cab_i128 v;

    switch (x->kind) {
    case CAB_DIM_CONST:
        *out = x->value;
        return true;
    case CAB_DIM_SYM:
        return env(arg, x->name, out);
    case CAB_DIM_ADD:
    case CAB_DIM_MUL:
        if (!eval_sum(x, env, arg, &v))
            return false;
        break;
    default:
        if (!cab_dim_eval(x->args[0], env, arg, &a)
            || !cab_dim_eval(x->args[1], env, arg, &b)
            || !eval_pair(x->kind, a, b, &v))
            return false;
    }
    *out = clamp64(v);
    return v == *out;
}
