/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph.h - random CORE graphs, run three ways and compared.
 *
 * A case is the text of a graph and a seed: the seed gives the value of every
 * symbol, and with the name of an input its elements.  So a case stays a case
 * when the reducer rewrites the graph, and can be printed and read again.
 */
#ifndef CAB_TESTS_GRAPH_H
#define CAB_TESTS_GRAPH_H
#include "tests/fuzz/fuzz.h"

enum { GRAPH_MAX_IO = 32, GRAPH_MAX_IDS = 4096 };

/* ---- graph_make.c ---- */
/* A well-typed graph from the op table; NULL when a choice led nowhere. */
cab_graph *graph_make(cab_arena *a, fuzz_src *s, uint64_t seed, cab_diag *d);

/* ---- graph_run.c ---- */
int64_t graph_symbol(uint64_t seed, const char *name);
/* Extent under the seed's symbols; -1 when it has no value. */
int64_t graph_extent(uint64_t seed, const cab_dim *x);
/* Random elements of a kind the name decides; integers within [-top, top - 1]
 * when top > 0; infinities and NaNs only when wild. */
void graph_fill(cab_tensor *t, uint64_t seed, const char *name, int64_t top, bool wild);
/* Whether the value of a result depends on rounding, given which operands'
 * values do (by value id). */
bool graph_noisy(const cab_node *n, const bool *noisy);

typedef enum graph_answer {
    GRAPH_SAME, GRAPH_UNSUPPORTED, GRAPH_SKIPPED,
    GRAPH_FAILS                /* differs, or is refused, or crashes */
} graph_answer;
typedef struct graph_verdict { graph_answer answer; char text[600]; } graph_verdict;
/* The reference evaluator, the naive program and the optimised one. */
graph_verdict graph_try(const char *text, uint64_t seed);
/* The same in a child: a crash and more than 20 seconds fail. */
graph_verdict graph_try_apart(const char *text, uint64_t seed, bool quiet);

/* ---- graph_reduce.c ---- */
/* The smallest failing case found, in a. */
const char *graph_reduce(cab_arena *a, const char *text, uint64_t seed);

#endif
