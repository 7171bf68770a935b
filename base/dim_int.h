/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dim_int.h - what the dim*.c files share.
 *
 * A dim is read as a polynomial: a sum of terms, each a coefficient times a
 * product of atoms (symbols, quotients, remainders, minima, maxima).  Terms
 * are sorted by falling degree, then by their atoms; the constant comes last.
 * That is how ADD and MUL nodes store their arguments, so the terms of a dim
 * are views into it.  Working polynomials live in the pool's scratch arena
 * between a mark and its release; nodes live in the pool's own arena.
 */
#ifndef CAB_BASE_DIM_INT_H
#define CAB_BASE_DIM_INT_H
#include "base/dim.h"
#include "base/map.h"
#include "base/vec.h"

__extension__ typedef __int128 cab_i128;

/* Beyond these an expression is given up as if it had overflowed: a hostile
 * model must not cost unbounded time or stack. */
enum {
    CAB_DIM_MAX_TERMS = 1024,
    CAB_DIM_MAX_DEGREE = 64,
    CAB_DIM_MAX_DEPTH = 400,
    CAB_DIM_MAX_WEIGHT = 1 << 16
};

typedef struct cab_dim_node {
    cab_dim dim;                    /* first: a cab_dim * is a node * */
    const cab_dim *self;            /* &dim, as an argument list of one */
    uint32_t weight, depth;         /* of the tree below */
    uint32_t epoch;                 /* when resolved was found */
    const cab_dim *resolved;        /* by cab_dim_subst */
    const cab_dim *bound;           /* SYM: its binding, or NULL */
    bool assumed;                   /* SYM: its interval is not the default */
} cab_dim_node;

struct cab_dims {
    cab_arena *arena, *scratch;
    cab_map *nodes;                 /* structure -> node */
    cab_map *syms;                  /* name -> node */
    cab_map *divisions;             /* kind, arguments -> result */
    uint32_t n_nodes;
    uint32_t epoch;                 /* bindings so far */
    uint64_t n_fresh;
    bool overflowed;
    bool relied;               /* cab_dims_rely */
};

typedef struct cab_term {
    int64_t c;                      /* not 0 */
    int n;                          /* 0: the constant */
    const cab_dim **atoms;          /* sorted */
} cab_term;
typedef CAB_VEC(cab_term) cab_poly;

/* What facts say of a difference a - b. */
typedef struct cab_dim_span {
    cab_i128 lo, hi;
    int64_t constant;
    uint64_t gcd;                   /* of the other terms; 0: there are none */
} cab_dim_span;

/* The node of that structure (ADD and MUL: arguments already canonical). */
const cab_dim *cab_dim_intern(cab_dims *d, cab_dim_kind kind,
                              const cab_dim *const *args, int n_args);
/* Raises the overflow flag; an opaque symbol that may have any value. */
const cab_dim *cab_dim_lost(cab_dims *d);
/* A total order that does not depend on the pool's history. */
int cab_dim_cmp(const cab_dim *a, const cab_dim *b);
/* b may be NULL: zero. */
cab_dim_span cab_dim_diff(const cab_dim *a, const cab_dim *b);

int cab_dim_n_terms(const cab_dim *x);
cab_term cab_dim_term(const cab_dim *x, int i);
/* Order of the terms in a sum; 0 when their atoms are the same. */
int cab_term_cmp(const cab_term *a, const cab_term *b);
/* Known to divide the term, |c| included. */
uint64_t cab_term_divisor(const cab_term *t);

cab_poly cab_poly_of(cab_dims *d, const cab_dim *x);
/* x + k * y into out; false on overflow. */
bool cab_poly_add(cab_dims *d, cab_poly *out, const cab_poly *x, int64_t k,
                  const cab_poly *y);
/* The canonical node of a sorted polynomial. */
const cab_dim *cab_poly_dim(cab_dims *d, const cab_poly *p);
const cab_dim *cab_term_dim(cab_dims *d, cab_term t);
/* k * x. */
const cab_dim *cab_dim_scale(cab_dims *d, const cab_dim *x, int64_t k);
uint64_t cab_gcd(uint64_t a, uint64_t b);
uint64_t cab_abs64(int64_t v);
/* Towards minus infinity; b is not 0. */
cab_i128 cab_floor128(cab_i128 a, cab_i128 b);

#endif
