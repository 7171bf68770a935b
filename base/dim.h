/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dim.h - symbolic dimension expressions, hash-consed.
 *
 * A cab_dim is an immutable int64 expression over named symbols, in canonical
 * form (sum of products, terms sorted), so equality is pointer equality for
 * the usual shape arithmetic.  All dims of a graph live in one cab_dims on the
 * graph's arena; a pool is used by one thread at a time.  Arithmetic that
 * would overflow int64, or grow without bound, yields a fresh opaque symbol,
 * never a wrong number: cab_dims_overflowed() then says so and the importer
 * refuses the model.  Division by zero has no value (cab_dim_eval fails), so
 * simplification takes divisors to be nonzero: N*M/N is M.
 *
 * Facts: every symbol has an interval [lo, hi] (default [0, INT32_MAX]: a
 * tensor extent) and a divisor; expressions inherit them.
 */
#ifndef CAB_BASE_DIM_H
#define CAB_BASE_DIM_H
#include "base/buf.h"
#include "base/diag.h"

typedef enum cab_dim_kind {
    CAB_DIM_CONST, CAB_DIM_SYM, CAB_DIM_ADD, CAB_DIM_MUL, CAB_DIM_FLOORDIV,
    CAB_DIM_CEILDIV, CAB_DIM_MOD, CAB_DIM_MIN, CAB_DIM_MAX
} cab_dim_kind;

typedef struct cab_dim {
    cab_dim_kind kind;
    uint32_t id;                   /* order of creation in the pool */
    int64_t value;                 /* CONST */
    const char *name;              /* SYM */
    int n_args;                    /* ADD, MUL: >= 2; the others: 2 */
    const struct cab_dim **args;
    int64_t lo, hi;                /* interval fact, inclusive */
    int64_t divisor;               /* known to divide the value; >= 1 */
    int64_t likely;                /* SYM: a value to expect; -1: none */
} cab_dim;

typedef struct cab_dims cab_dims;
cab_dims *cab_dims_create(cab_arena *a);
bool cab_dims_overflowed(const cab_dims *d);

const cab_dim *cab_dim_const(cab_dims *d, int64_t v);
/* The symbol of that name, made on first use. */
const cab_dim *cab_dim_sym(cab_dims *d, const char *name);
/* A new symbol "prefixN" that no other has. */
const cab_dim *cab_dim_fresh(cab_dims *d, const char *prefix);
/* States facts of a symbol, before it is used in others.  The first call
 * replaces the default interval (so a symbol may be negative); later ones
 * narrow it, and one that contradicts what is known changes nothing. */
void cab_dim_assume(cab_dims *d, const cab_dim *sym, int64_t lo, int64_t hi,
                    int64_t divisor);
/* A value that the symbol probably has: may decide what is only better or
 * worse, never what is right. */
void cab_dim_expect(cab_dims *d, const cab_dim *sym, int64_t v);
/* The value of x where every symbol has the value to expect; false without. */
bool cab_dim_expected(cab_dims *d, const cab_dim *x, int64_t *out);
/* An answer of it was used to decide what the result is good for. */
void cab_dims_rely(cab_dims *d);
bool cab_dims_relied(const cab_dims *d);
/* Binds a symbol: later constructions (cab_dim_sym too) and cab_dim_subst see
 * the value.  Nothing happens when it is bound already, or when the value
 * contains the symbol. */
void cab_dim_bind(cab_dims *d, const cab_dim *sym, const cab_dim *value);
const cab_dim *cab_dim_subst(cab_dims *d, const cab_dim *x);

const cab_dim *cab_dim_add(cab_dims *d, const cab_dim *a, const cab_dim *b);
const cab_dim *cab_dim_sub(cab_dims *d, const cab_dim *a, const cab_dim *b);
const cab_dim *cab_dim_mul(cab_dims *d, const cab_dim *a, const cab_dim *b);
const cab_dim *cab_dim_floordiv(cab_dims *d, const cab_dim *a, const cab_dim *b);
const cab_dim *cab_dim_ceildiv(cab_dims *d, const cab_dim *a, const cab_dim *b);
const cab_dim *cab_dim_mod(cab_dims *d, const cab_dim *a, const cab_dim *b);
const cab_dim *cab_dim_min(cab_dims *d, const cab_dim *a, const cab_dim *b);
const cab_dim *cab_dim_max(cab_dims *d, const cab_dim *a, const cab_dim *b);

static inline bool cab_dim_is_const(const cab_dim *x)
{
    return x->kind == CAB_DIM_CONST;
}
static inline bool cab_dim_is(const cab_dim *x, int64_t v)
{
    return x->kind == CAB_DIM_CONST && x->value == v;
}
/* 1 = surely equal/less, 0 = surely not, -1 = not known. */
int cab_dim_eq(const cab_dim *a, const cab_dim *b);
int cab_dim_lt(const cab_dim *a, const cab_dim *b);
/* Exact quotient when b divides a for all symbol values, else NULL. */
const cab_dim *cab_dim_divexact(cab_dims *d, const cab_dim *a, const cab_dim *b);
/* Value under an environment (value of each symbol by name); false when a
 * symbol is unbound, a divisor is zero or int64 overflows. */
bool cab_dim_eval(const cab_dim *x, bool (*env)(void *arg, const char *sym, int64_t *out),
                  void *arg, int64_t *out);

/* Text: N, 4*N + 2, floordiv(N + 1, 2), mod(N, 8), min(a, b).  Symbols that
 * are no identifiers are written in backquotes. */
void cab_dim_print(cab_buf *b, const cab_dim *x);
/* Parses one expression at *s (advances it); NULL on a syntax error. */
const cab_dim *cab_dim_parse(cab_dims *d, const char **s);

#endif
