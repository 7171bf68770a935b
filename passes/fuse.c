/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse.c - the fuse pass: fuse.rules over the graph.
 *
 * Leaves constant arithmetic on weights behind, which the fold after it in
 * passes.def computes.  Joining loops is the work of group.c, not of this.
 */
#include "passes/rule_int.h"

cab_status cab_pass_fuse(cab_graph *g, cab_pass_ctx *c)
{
    cab_ruleset *rs;

    CAB_TRY(cab_ruleset_load(c->scratch, CAB_RULES_fuse, &rs, c->diag));
    return cab_rules_run(rs, g, c);
}
