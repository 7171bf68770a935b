/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dim_poly.c - sums of products of atoms, and what they cancel to.
 *
 * Two rules go beyond collecting equal terms, so that what a division took
 * apart is put together again:
 *   k*floordiv(x, k)              -> x   when k divides x
 *   k*floordiv(x, k) + mod(x, k)  -> x
 */
#include "base/dim_int.h"
#include <stdlib.h>
#include <string.h>

cab_poly cab_poly_of(cab_dims *d, const cab_dim *x)
{
    cab_poly p = { 0 };
    int n = cab_dim_n_terms(x);

    cab_vec_reserve(d->scratch, &p, (size_t)n);
    for (int i = 0; i < n; i++)
        cab_vec_push(d->scratch, &p, cab_dim_term(x, i));
    return p;
}

bool cab_poly_add(cab_dims *d, cab_poly *out, const cab_poly *x, int64_t k,
                  const cab_poly *y)
{
    cab_poly p = { 0 };

    for (size_t i = 0, j = 0; i < x->n || j < y->n;) {
        int order = i == x->n ? 1 : j == y->n ? -1
                    : cab_term_cmp(&x->p[i], &y->p[j]);
        cab_term t = order <= 0 ? x->p[i] : y->p[j];
        int64_t c = 0;
        if (order >= 0 && __builtin_mul_overflow(k, y->p[j].c, &c))
            return false;
        if (__builtin_add_overflow(order <= 0 ? t.c : 0, c, &t.c))
            return false;
        if (t.c)
            cab_vec_push(d->scratch, &p, t);
        i += order <= 0;
        j += order >= 0;
    }
    *out = p;
    return true;
}

/* The product of two terms; false on overflow. */
static bool term_mul(cab_dims *d, cab_term *out, const cab_term *a,
                     const cab_term *b)
{
    int i = 0, j = 0;

    out->n = a->n + b->n;
    if (out->n > CAB_DIM_MAX_DEGREE
        || __builtin_mul_overflow(a->c, b->c, &out->c))
        return false;
    out->atoms = CAB_NEW_N(d->scratch, const cab_dim *, out->n);
    for (int k = 0; k < out->n; k++) {
        bool first = j == b->n || (i < a->n
                     && cab_dim_cmp(a->atoms[i], b->atoms[j]) <= 0);
        out->atoms[k] = first ? a->atoms[i++] : b->atoms[j++];
    }
    return true;
}

static int by_order(const void *a, const void *b)
{
    return cab_term_cmp(a, b);
}

static bool poly_mul(cab_dims *d, cab_poly *out, const cab_poly *x,
                     const cab_poly *y)
{
    cab_poly p = { 0 };
    size_t n = 0;

    if (x->n * y->n > 4 * CAB_DIM_MAX_TERMS)
        return false;
    for (size_t i = 0; i < x->n; i++)
        for (size_t j = 0; j < y->n; j++) {
            cab_term t;
            if (!term_mul(d, &t, &x->p[i], &y->p[j]))
                return false;
            cab_vec_push(d->scratch, &p, t);
        }
    if (p.n > 1)
        qsort(p.p, p.n, sizeof *p.p, by_order);
    for (size_t i = 0; i < p.n; i++) {
        if (n && !cab_term_cmp(&p.p[n - 1], &p.p[i])) {
            if (__builtin_add_overflow(p.p[n - 1].c, p.p[i].c, &p.p[n - 1].c))
                return false;
        } else {
            n += !n || p.p[n - 1].c;        /* else over a cancelled term */
            p.p[n - 1] = p.p[i];
        }
    }
    p.n = n && !p.p[n - 1].c ? n - 1 : n;
    *out = p;
    return true;
}

const cab_dim *cab_term_dim(cab_dims *d, cab_term t)
{
    const cab_dim **args;
    int scaled = t.c != 1;

    if (!t.n)
        return cab_dim_const(d, t.c);
    if (t.n == 1 && !scaled)
        return t.atoms[0];
    args = CAB_NEW_N(d->scratch, const cab_dim *, t.n + 1);
    if (scaled)
        args[0] = cab_dim_const(d, t.c);
    memcpy(args + scaled, t.atoms, sizeof *args * (size_t)t.n);
    return cab_dim_intern(d, CAB_DIM_MUL, args, t.n + scaled);
}

/* ---- putting quotients and remainders together ------------------------- */

/* The term without its i-th atom, and with atom instead unless NULL. */
static cab_term with_atom(cab_dims *d, const cab_term *t, int i,
                          const cab_dim *atom)
{
    cab_term r = { t->c, 0, CAB_NEW_N(d->scratch, const cab_dim *, t->n) };

    for (int k = 0; k <= t->n; k++) {
        const cab_dim *next = k < t->n && k != i ? t->atoms[k] : NULL;
        if (atom && (k == t->n || (next && cab_dim_cmp(atom, next) < 0))) {
            r.atoms[r.n++] = atom;
            atom = NULL;
        }
        if (next)
            r.atoms[r.n++] = next;
    }
    return r;
}

/* The polynomial with the coefficients of two terms replaced, plus
 * c * x * (term i without its atom a). */
static const cab_dim *replace(cab_dims *d, const cab_poly *p, size_t i, int a,
                              int64_t ci, size_t j, int64_t cj, int64_t c,
                              const cab_dim *x)
{
    cab_term others = with_atom(d, &p->p[i], a, NULL);
    cab_poly rest = { 0 };

    others.c = c;
    for (size_t k = 0; k < p->n; k++) {
        cab_term t = p->p[k];
        t.c = k == i ? ci : k == j ? cj : t.c;
        if (t.c)
            cab_vec_push(d->scratch, &rest, t);
    }
    return cab_dim_add(d, cab_poly_dim(d, &rest),
                       cab_dim_mul(d, x, cab_term_dim(d, others)));
}

static bool is_by_const(const cab_dim *x, cab_dim_kind kind)
{
    return x->kind == kind && x->args[1]->kind == CAB_DIM_CONST
           && x->args[1]->value > 1;
}

/* Term i has mod(x, k) as atom a: finds k*floordiv(x, k) of the same rest. */
static const cab_dim *join_mod(cab_dims *d, const cab_poly *p, size_t i, int a)
{
    const cab_dim *x = p->p[i].atoms[a]->args[0];
    const cab_dim *k = p->p[i].atoms[a]->args[1];
    const cab_dim *q;
    bool found = false;
    cab_term want;
    int64_t c;

    if (__builtin_mul_overflow(p->p[i].c, k->value, &c))
        return NULL;
    for (size_t j = 0; j < p->n; j++)
        found |= p->p[j].c == c;
    if (!found)
        return NULL;
    q = cab_dim_floordiv(d, x, k);
    if (q->kind == CAB_DIM_CONST || q->kind == CAB_DIM_ADD
        || q->kind == CAB_DIM_MUL)
        return NULL;
    want = with_atom(d, &p->p[i], a, q);
    for (size_t j = 0; j < p->n; j++)
        if (p->p[j].c == c && !cab_term_cmp(&p->p[j], &want))
            return replace(d, p, i, a, 0, j, 0, p->p[i].c, x);
    return NULL;
}

/* Term i has floordiv(x, k) as atom a, and k divides x: multiples of k. */
static const cab_dim *join_exact(cab_dims *d, const cab_poly *p, size_t i,
                                 int a)
{
    const cab_dim *x = p->p[i].atoms[a]->args[0];
    int64_t k = p->p[i].atoms[a]->args[1]->value, c = p->p[i].c;

    if (x->divisor % k || c / k == 0)
        return NULL;
    return replace(d, p, i, a, c % k, i, c % k, c / k, x);
}

static const cab_dim *join(cab_dims *d, const cab_poly *p)
{
    const cab_dim *r = NULL;

    for (size_t i = 0; i < p->n && !r; i++)
        for (int a = 0; a < p->p[i].n && !r; a++) {
            if (is_by_const(p->p[i].atoms[a], CAB_DIM_MOD))
                r = join_mod(d, p, i, a);
            else if (is_by_const(p->p[i].atoms[a], CAB_DIM_FLOORDIV))
                r = join_exact(d, p, i, a);
        }
    return r;
}

const cab_dim *cab_poly_dim(cab_dims *d, const cab_poly *p)
{
    const cab_dim **args, *joined;

    if (!p->n)
        return cab_dim_const(d, 0);
    if (p->n > CAB_DIM_MAX_TERMS)
        return cab_dim_lost(d);
    joined = join(d, p);
    if (joined)
        return joined;
    if (p->n == 1)
        return cab_term_dim(d, p->p[0]);
    args = CAB_NEW_N(d->scratch, const cab_dim *, p->n);
    for (size_t i = 0; i < p->n; i++)
        args[i] = cab_term_dim(d, p->p[i]);
    return cab_dim_intern(d, CAB_DIM_ADD, args, (int)p->n);
}

/* ---- arithmetic ------------------------------------------------------- */

/* a + k * b */
static const cab_dim *linear(cab_dims *d, const cab_dim *a, int64_t k,
                             const cab_dim *b)
{
    cab_mark mark = cab_arena_mark(d->scratch);
    cab_poly x, y, sum;
    const cab_dim *r;

    x = cab_poly_of(d, cab_dim_subst(d, a));
    y = cab_poly_of(d, cab_dim_subst(d, b));
    r = cab_poly_add(d, &sum, &x, k, &y) ? cab_poly_dim(d, &sum)
                                         : cab_dim_lost(d);
    cab_arena_release(d->scratch, mark);
    return r;
}

const cab_dim *cab_dim_add(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    return linear(d, a, 1, b);
}

const cab_dim *cab_dim_sub(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    return linear(d, a, -1, b);
}

const cab_dim *cab_dim_scale(cab_dims *d, const cab_dim *x, int64_t k)
{
    return linear(d, cab_dim_const(d, 0), k, x);
}

const cab_dim *cab_dim_mul(cab_dims *d, const cab_dim *a, const cab_dim *b)
{
    cab_mark mark = cab_arena_mark(d->scratch);
    cab_poly x, y, product;
    const cab_dim *r;

    x = cab_poly_of(d, cab_dim_subst(d, a));
    y = cab_poly_of(d, cab_dim_subst(d, b));
    r = poly_mul(d, &product, &x, &y) ? cab_poly_dim(d, &product)
                                      : cab_dim_lost(d);
    cab_arena_release(d->scratch, mark);
    return r;
}
