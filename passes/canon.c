/* SPDX-License-Identifier: Apache-2.0 */
/*
 * canon.c - the canon pass: canon.rules over the graph.
 *
 * Nothing may depend on it for correctness.  Constants of commutative ops are
 * on the right afterwards; the rewriter sees to it on its way.
 */
#include "passes/rule_int.h"

cab_status cab_pass_canon(cab_graph *g, cab_pass_ctx *c)
{
    cab_ruleset *rs;

    CAB_TRY(cab_ruleset_load(c->scratch, CAB_RULES_canon, &rs, c->diag));
    return cab_rules_run(rs, g, c);
}
