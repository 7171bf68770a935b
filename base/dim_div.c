/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dim_div.c - quotients, remainders, minima and maxima.
 *
 * Every division starts by splitting a = q*b + r: what divides goes to q, so
 * floordiv(a, b) = q + floordiv(r, b) and mod(a, b) = mod(r, b).  A divisor
 * fact counts as dividing.  When facts settle floordiv(r, b), no node is made;
 * otherwise r is brought to one form (positive leading coefficient, nested
 * divisions by constants merged, common factors gone) so that equal quotients
 * are equal nodes.  A divisor is taken to be nonzero: N*M/N is M.  Ceilings
 * are floors: ceildiv(a, b) = floordiv(a - 1, b) + 1 for b > 0.
 */
#include "base/dim_int.h"
#include <stdlib.h>
#include <string.h>

typedef struct split { const cab_dim *q, *r; } split;

static int64_t lead(const cab_dim *x)
{
    return cab_dim_n_terms(x) ? cab_dim_term(x, 0).c : 0;
}

static int64_t constant_part(const cab_dim *x)
{
    int n = cab_dim_n_terms(x);
    cab_term t = { 0 };

    if (n)
        t = cab_dim_term(x, n - 1);
    return t.n ? 0 : t.c;
}

static const cab_dim *plus(cab_dims *d, const cab_dim *x, int64_t v)
{
    return cab_dim_add(d, x, cab_dim_const(d, v));
}

static const cab_dim *negated(cab_dims *d, const cab_dim *x)
{
    return cab_dim_scale(d, x, -1);
}

static const cab_dim *pair(cab_dims *d, cab_dim_kind kind, const cab_dim *a,
                           const cab_dim *b)
{
    const cab_dim *args[] = { a, b };

    return cab_dim_intern(d, kind, args, 2);
}

/* ---- splitting -------------------------------------------------------- */

static int64_t floor64(int64_t a, int64_t k)
{
    return (int64_t)cab_floor128(a, k);
}

/* An atom over a number its divisor fact says divides it. */
static const cab_dim *atom_over(cab_dims *d, const cab_dim *x, int64_t k)
{
    int64_t m;

    if (x->kind == CAB_DIM_FLOORDIV && x->args[1]->kind == CAB_DIM_CONST
        && x->args[1]->value > 0
        && !__builtin_mul_overflow(x->args[1]->value, k, &m))
        return cab_dim_floordiv(d, x->args[0], cab_dim_const(d, m));
    return pair(d, CAB_DIM_FLOORDIV, x, cab_dim_const(d, k));
}

/* A term over k, which divides it thanks to its atoms' divisors. */
static const cab_dim *term_over(cab_dims *d, const cab_term *t, int64_t k)
{
    int64_t g = (int64_t)cab_gcd(cab_abs64(t->c), (uint64_t)k);
    const cab_dim *r = cab_dim_const(d, t->c / g);

    k /= g;
    for (int i = 0; i < t->n; i++) {
        const cab_dim *x = t->atoms[i];
        g = (int64_t)cab_gcd((uint64_t)x->divisor, (uint64_t)k);
        k /= g;
        r = cab_dim_mul(d, r, g > 1 ? atom_over(d, x, g) : x);
    }
    return r;
}

static split split_by_const(cab_dims *d, const cab_dim *a, int64_t k)
{
    cab_poly q = { 0 }, r = { 0 };
    const cab_dim *exact = cab_dim_const(d, 0);
    int n = cab_dim_n_terms(a);

    for (int i = 0; i < n; i++) {
        cab_term t = cab_dim_term(a, i), whole = t;
        whole.c = t.n ? t.c / k : floor64(t.c, k);
        t.c = (int64_t)(t.c - (cab_i128)whole.c * k);
        if (whole.c)
            cab_vec_push(d->scratch, &q, whole);
        if (t.c && t.n && cab_term_divisor(&t) % (uint64_t)k == 0)
            exact = cab_dim_add(d, exact, term_over(d, &t, k));
        else if (t.c)
            cab_vec_push(d->scratch, &r, t);
    }
    return (split){ cab_dim_add(d, cab_poly_dim(d, &q), exact),
                    cab_poly_dim(d, &r) };
}

/* The quotient of two terms, if it is a term. */
static bool term_div(cab_dims *d, cab_term *out, const cab_term *a,
                     const cab_term *b)
{
    int k = 0;

    if (a->n < b->n || (b->c == -1 && a->c == INT64_MIN) || a->c % b->c)
        return false;
    out->c = a->c / b->c;
    out->n = 0;
    out->atoms = CAB_NEW_N(d->scratch, const cab_dim *, a->n);
    for (int i = 0; i < a->n; i++) {
        if (k < b->n && a->atoms[i] == b->atoms[k])
            k++;
        else
            out->atoms[out->n++] = a->atoms[i];
    }
    return k == b->n;
}

static bool is_constant(const cab_poly *p)
{
    return !p->n || (p->n == 1 && !p->p[0].n);
}

/* Long division.  By a sum, it counts only when a constant remains: a partial
 * quotient would say less than the whole. */
static split split_by_poly(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    cab_poly x = cab_poly_of(d, a), y = cab_poly_of(d, b);
    cab_poly q = { 0 }, r = { 0 };
    split none = { cab_dim_const(d, 0), a };
    cab_term t;

    for (int steps = 0; x.n; steps++) {
        if (steps > CAB_DIM_MAX_TERMS)
            return none;
        if (term_div(d, &t, &x.p[0], &y.p[0])) {
            cab_poly one = cab_poly_of(d, cab_dim_mul(d, b,
                                                      cab_term_dim(d, t)));
            if (!cab_poly_add(d, &x, &x, -1, &one))
                return none;
            cab_vec_push(d->scratch, &q, t);
        } else {
            cab_vec_push(d->scratch, &r, x.p[0]);
            x.p++;
            x.n--;
            x.cap--;
        }
    }
    if (y.n > 1 && !is_constant(&r))
        return none;
    return (split){ cab_poly_dim(d, &q), cab_poly_dim(d, &r) };
}

/* a = q*b + r; b has a positive leading coefficient. */
static split divide(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    cab_mark mark = cab_arena_mark(d->scratch);
    split s = b->kind == CAB_DIM_CONST ? split_by_const(d, a, b->value)
                                       : split_by_poly(d, a, b);

    cab_arena_release(d->scratch, mark);
    return s;
}

/* Keeps in t what it has in common with every term of x. */
static void common_with(const cab_dim *x, cab_term *t)
{
    int n = cab_dim_n_terms(x);

    for (int i = 0; i < n; i++) {
        cab_term u = cab_dim_term(x, i);
        int kept = 0;
        for (int a = 0, b = 0; a < t->n && b < u.n;) {
            int order = cab_dim_cmp(t->atoms[a], u.atoms[b]);
            if (!order)
                t->atoms[kept++] = t->atoms[a];
            a += order <= 0;
            b += order >= 0;
        }
        t->n = kept;
        t->c = (int64_t)cab_gcd((uint64_t)t->c, cab_abs64(u.c) & INT64_MAX);
    }
}

static const cab_dim *over_term(cab_dims *d, const cab_dim *x,
                                const cab_term *by)
{
    cab_poly p = cab_poly_of(d, x);

    for (size_t i = 0; i < p.n; i++) {
        cab_term t = p.p[i];
        if (!term_div(d, &p.p[i], &t, by))
            return NULL;
    }
    return cab_poly_dim(d, &p);
}

/* Divides both by their greatest common term, returned; NULL if it is 1. */
static const cab_dim *cancel(cab_dims *d, const cab_dim **a, const cab_dim **b)
{
    cab_mark mark = cab_arena_mark(d->scratch);
    cab_term t = cab_dim_term(*b, 0);
    const cab_dim *x, *y, *factor = NULL;

    t.atoms = cab_dup(d->scratch, t.atoms, sizeof *t.atoms * (size_t)t.n);
    t.c = 0;
    common_with(*a, &t);
    common_with(*b, &t);
    if (t.c > 1 || (t.c == 1 && t.n)) {
        x = over_term(d, *a, &t);
        y = over_term(d, *b, &t);
        if (x && y) {
            factor = cab_term_dim(d, t);
            *a = x;
            *b = y;
        }
    }
    cab_arena_release(d->scratch, mark);
    return factor;
}

/* ---- floors and remainders -------------------------------------------- */

/* Whether facts alone give floordiv(a, b); lead(b) > 0. */
static bool known_quotient(const cab_dim *a, const cab_dim *b, int64_t *out)
{
    if (b->kind == CAB_DIM_CONST) {
        *out = floor64(a->lo, b->value);
        return *out == floor64(a->hi, b->value);
    }
    if (b->lo < 0)
        return false;
    *out = a->lo >= 0 ? 0 : -1;
    return a->lo >= 0 ? cab_dim_lt(a, b) == 1
                      : a->hi < 0 && a->lo >= -b->lo;
}

static const cab_dim *floor_by_const(cab_dims *d, const cab_dim *a,
                                     const cab_dim *b)
{
    int64_t k = b->value, c = constant_part(a), g, m, shift;
    cab_term t = cab_dim_term(a, 0);
    const cab_dim *x = t.atoms[0], *y = plus(d, a, -c);
    int n = cab_dim_n_terms(y);

    if (t.c < 0)
        return negated(d, cab_dim_floordiv(d, plus(d, negated(d, a), k - 1),
                                           b));
    if (y == x && x->kind == CAB_DIM_FLOORDIV
        && x->args[1]->kind == CAB_DIM_CONST && x->args[1]->value > 0
        && !__builtin_mul_overflow(x->args[1]->value, k, &m)
        && !__builtin_mul_overflow(x->args[1]->value, c, &shift))
        return cab_dim_floordiv(d, plus(d, x->args[0], shift),
                                cab_dim_const(d, m));
    g = k;
    for (int i = 0; i < n; i++)
        g = (int64_t)cab_gcd((uint64_t)g, cab_abs64(cab_dim_term(y, i).c));
    if (g > 1)
        return cab_dim_floordiv(d, plus(d, divide(d, y, cab_dim_const(d, g)).q,
                                        c / g), cab_dim_const(d, k / g));
    g = (int64_t)cab_gcd(cab_dim_diff(y, NULL).gcd, (uint64_t)k);
    if (c % g)
        return cab_dim_floordiv(d, plus(d, a, -(c % g)), b);
    return pair(d, CAB_DIM_FLOORDIV, a, b);
}

/* mod(x, m) in the numerator of a remainder by k is x when k divides m times
 * its coefficient; NULL when there is none such. */
static const cab_dim *without_mods(cab_dims *d, const cab_dim *a, int64_t k)
{
    int n = cab_dim_n_terms(a);

    for (int i = 0; i < n; i++) {
        cab_term t = cab_dim_term(a, i);
        const cab_dim *x = t.n == 1 ? t.atoms[0] : NULL;
        if (x && x->kind == CAB_DIM_MOD && x->args[1]->kind == CAB_DIM_CONST
            && x->args[1]->value > 0
            && (cab_i128)t.c * x->args[1]->value % k == 0)
            return cab_dim_add(d, a, cab_dim_scale(d, cab_dim_sub(
                                   d, x->args[0], x), t.c));
    }
    return NULL;
}

static const cab_dim *mod_by_const(cab_dims *d, const cab_dim *a,
                                   const cab_dim *b)
{
    int64_t k = b->value, c = constant_part(a), g = k;
    const cab_dim *y = plus(d, a, -c), *x;
    int n = cab_dim_n_terms(y);

    if (lead(a) < 0)
        return plus(d, negated(d, cab_dim_mod(d, plus(d, negated(d, a), k - 1),
                                              b)), k - 1);
    x = without_mods(d, a, k);
    if (x)
        return cab_dim_mod(d, x, b);
    for (int i = 0; i < n; i++)
        g = (int64_t)cab_gcd((uint64_t)g, cab_abs64(cab_dim_term(y, i).c));
    if (g > 1) {
        x = plus(d, divide(d, y, cab_dim_const(d, g)).q, c / g);
        x = cab_dim_mod(d, x, cab_dim_const(d, k / g));
        return plus(d, cab_dim_scale(d, x, g), c % g);
    }
    g = (int64_t)cab_gcd(cab_dim_diff(y, NULL).gcd, (uint64_t)k);
    if (c % g)
        return plus(d, cab_dim_mod(d, plus(d, a, -(c % g)), b), c % g);
    return pair(d, CAB_DIM_MOD, a, b);
}

/* floordiv and mod, remembered: without that, rules that ask about nested
 * divisions would ask the same again and again. */
static const cab_dim *remembered(cab_dims *d, cab_dim_kind kind,
                                 const cab_dim *a, const cab_dim *b,
                                 const cab_dim *(*make)(cab_dims *,
                                                        const cab_dim *,
                                                        const cab_dim *))
{
    uint32_t key[3];
    void *r;

    a = cab_dim_subst(d, a);
    b = cab_dim_subst(d, b);
    key[0] = kind;
    key[1] = a->id;
    key[2] = b->id;
    r = cab_map_get(d->divisions, key, sizeof key);
    if (!r) {
        r = (void *)(uintptr_t)make(d, a, b);
        cab_map_set(d->divisions, key, sizeof key, r);
    }
    return r;
}

static const cab_dim *floordiv(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    int64_t known;
    split s;

    if (cab_dim_is(b, 0))
        return pair(d, CAB_DIM_FLOORDIV, a, b);
    if (lead(b) < 0)
        return cab_dim_floordiv(d, negated(d, a), negated(d, b));
    if (known_quotient(a, b, &known))
        return cab_dim_const(d, known);
    s = divide(d, a, b);
    if (cab_dim_is(s.r, 0))
        return s.q;
    if (s.r != a)
        return cab_dim_add(d, s.q, cab_dim_floordiv(d, s.r, b));
    if (b->kind == CAB_DIM_CONST)
        return floor_by_const(d, a, b);
    if (cancel(d, &a, &b))
        return cab_dim_floordiv(d, a, b);
    return pair(d, CAB_DIM_FLOORDIV, a, b);
}

static const cab_dim *mod(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    const cab_dim *factor;
    int64_t known;
    split s;

    if (cab_dim_is(b, 0))
        return pair(d, CAB_DIM_MOD, a, b);
    if (lead(b) < 0)
        return negated(d, cab_dim_mod(d, negated(d, a), negated(d, b)));
    if (known_quotient(a, b, &known))
        return cab_dim_sub(d, a, cab_dim_scale(d, b, known));
    s = divide(d, a, b);
    if (cab_dim_is(s.r, 0))
        return s.r;
    if (s.r != a)
        return cab_dim_mod(d, s.r, b);
    if (b->kind == CAB_DIM_CONST)
        return mod_by_const(d, a, b);
    factor = cancel(d, &a, &b);
    if (factor)
        return cab_dim_mul(d, factor, cab_dim_mod(d, a, b));
    return pair(d, CAB_DIM_MOD, a, b);
}

const cab_dim *cab_dim_floordiv(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    return remembered(d, CAB_DIM_FLOORDIV, a, b, floordiv);
}

const cab_dim *cab_dim_mod(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    return remembered(d, CAB_DIM_MOD, a, b, mod);
}

const cab_dim *cab_dim_ceildiv(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    split s;

    a = cab_dim_subst(d, a);
    b = cab_dim_subst(d, b);
    if (cab_dim_is(b, 0))
        return pair(d, CAB_DIM_FLOORDIV, a, b);
    if (lead(b) < 0)
        return cab_dim_ceildiv(d, negated(d, a), negated(d, b));
    s = divide(d, a, b);
    if (cab_dim_is(s.r, 0))
        return s.q;
    if (b->lo < 0)                  /* might be negative */
        return negated(d, cab_dim_floordiv(d, negated(d, a), b));
    return plus(d, cab_dim_add(d, s.q, cab_dim_floordiv(d, plus(d, s.r, -1),
                                                        b)), 1);
}

const cab_dim *cab_dim_divexact(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    split s;

    a = cab_dim_subst(d, a);
    b = cab_dim_subst(d, b);
    if (cab_dim_is(b, 0))
        return NULL;
    if (lead(b) < 0)
        return cab_dim_divexact(d, negated(d, a), negated(d, b));
    if (b->kind != CAB_DIM_CONST)
        cancel(d, &a, &b);
    s = divide(d, a, b);
    return cab_dim_is(s.r, 0) ? s.q : NULL;
}

/* ---- minima and maxima ------------------------------------------------ */

typedef struct operand { const cab_dim *x; bool second; } operand;
typedef CAB_VEC(operand) operands;

static void gather(cab_dims *d, operands *list, cab_dim_kind kind,
                   const cab_dim *x, bool second)
{
    operand o = { x, second };

    if (x->kind == kind) {
        gather(d, list, kind, x->args[0], second);
        gather(d, list, kind, x->args[1], second);
    } else {
        cab_vec_push(d->scratch, list, o);
    }
}

static int by_structure(const void *a, const void *b)
{
    return cab_dim_cmp(((const operand *)a)->x, ((const operand *)b)->x);
}

/* Whether min (or max) of the two is surely a. */
static bool wins(cab_dim_kind kind, const cab_dim *a, const cab_dim *b)
{
    cab_dim_span s = cab_dim_diff(a, b);

    return kind == CAB_DIM_MIN ? s.hi <= 0 : s.lo >= 0;
}

/* Whether a remaining operand of the other argument beats operand i; those of
 * one argument were compared when it was made. */
static bool beaten(cab_dim_kind kind, const operands *all, size_t i)
{
    for (size_t j = 0; j < all->n; j++)
        if (all->p[j].x && all->p[j].second != all->p[i].second
            && wins(kind, all->p[j].x, all->p[i].x))
            return true;
    return false;
}

/* A chain, in order, over the operands that are not beaten. */
static const cab_dim *extremum(cab_dims *d, cab_dim_kind kind,
                               const cab_dim *a, const cab_dim *b)
{
    cab_mark mark = cab_arena_mark(d->scratch);
    const cab_dim *r = NULL;
    operands all = { 0 };

    gather(d, &all, kind, cab_dim_subst(d, a), false);
    gather(d, &all, kind, cab_dim_subst(d, b), true);
    qsort(all.p, all.n, sizeof *all.p, by_structure);
    for (size_t i = 0; i < all.n; i++) {
        if (beaten(kind, &all, i))
            all.p[i].x = NULL;
        else
            r = r ? pair(d, kind, r, all.p[i].x) : all.p[i].x;
    }
    cab_arena_release(d->scratch, mark);
    return r;
}

const cab_dim *cab_dim_min(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    return extremum(d, CAB_DIM_MIN, a, b);
}

const cab_dim *cab_dim_max(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    return extremum(d, CAB_DIM_MAX, a, b);
}
