/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pass_int.h - declarations shared by the files of passes/ only.
 *
 * One function per distinct row of passes.def, all of the same contract:
 * g is valid on entry and on CAB_OK; c->scratch is empty on entry and dropped
 * after; on failure the story is in c->diag and g may be half rewritten.
 */
#ifndef CAB_PASSES_PASS_INT_H
#define CAB_PASSES_PASS_INT_H
#include "passes/pass.h"

cab_status cab_pass_decompose(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_fold(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_canon(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_cse(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_fuse(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_dce(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_sink(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_hoist(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_winograd(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_layout(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_group(cab_graph *g, cab_pass_ctx *c);
cab_status cab_pass_lower(cab_graph *g, cab_pass_ctx *c);

/* The const node that defines v, or NULL (offered inputs do not count). */
static inline cab_node *cab_const_node(const cab_value *v)
{
    return v && v->def && v->def->op->id == CAB_OP_const ? v->def : NULL;
}

/* Erases n when nothing uses its outputs, then its operands' definitions,
 * and so on.  Returns the number of nodes erased. */
int cab_erase_dead(cab_node *n);

/* ---- symbols.c ---- */
/* The set of symbols that nodes of g give their values; of a loop, all that
 * have another value each time. */
cab_map *cab_symbols_of(cab_arena *tmp, const cab_graph *g);
cab_map *cab_symbols_of_body(cab_arena *tmp, const cab_node *loop);
bool cab_symbols_in(const cab_map *m, const cab_dim *x);

/* Decomposes every node it can; each one it cannot is an error in c->diag.
 * The first status of those. */
cab_status cab_decompose_all(cab_graph *g, cab_pass_ctx *c);
struct cab_ruleset;
cab_status cab_decompose_with(cab_graph *g, cab_pass_ctx *c, const struct cab_ruleset *rules);

#endif
