/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pass.h - the way from an imported graph to a program of Specs.
 *
 * The pipeline is the list in passes.def, read top to bottom.  Each pass is
 * one file with one exported function; what it needs, gives and breaks stands
 * in its row and is checked by the runner (pass.c), which also verifies the
 * graph, times the pass and dumps when asked (base/log.h).  No pass runs
 * inference: building a node infers it.  No loop to a fixpoint over passes: a
 * pass that must run twice is listed twice.
 */
#ifndef CAB_PASSES_PASS_H
#define CAB_PASSES_PASS_H
#include "base/cancel.h"
#include "ir/ir.h"
#include "ir/spec.h"

/* Facts that hold between passes. */
enum cab_fact {
    CAB_FACT_ONNX = 1 << 0,     /* ops of the standard, as imported */
    CAB_FACT_CORE = 1 << 1,     /* only CORE ops, every shape known */
    CAB_FACT_CANON = 1 << 2,    /* canonical forms; nothing may depend on it for correctness */
    CAB_FACT_LAYOUT = 1 << 3,   /* physical orders decided, relayouts in place */
    CAB_FACT_GROUPS = 1 << 4    /* every node has its fused group */
};

typedef struct cab_pass_options {
    bool naive;                /* decompose and lower only */
    bool exact;                /* no rewrite that changes rounding */
    bool verify;               /* verify after every pass */
    int bisect_limit;          /* stop rewriting after N rule hits; 0 = never */
    const char *stop_after;    /* name of the last pass to run, or NULL */
    cab_cancel cancel;         /* asked before every pass, and inside the long ones */
} cab_pass_options;

typedef struct cab_pass_ctx {
    cab_arena *scratch;        /* reset by the runner after each pass */
    const cab_pass_options *o;
    cab_diag *diag;
    cab_program *program;      /* made by lower */
    uint64_t n_changes;        /* counted by the pass; for the log */
    int rule_hits;             /* against bisect_limit */
} cab_pass_ctx;

typedef struct cab_pass {
    const char *name, *doc;
    uint32_t needs, gives, breaks;
    bool optional;             /* skipped under naive */
    cab_status (*run)(cab_graph *g, cab_pass_ctx *c);
} cab_pass;

/* The rows of passes.def; *n is their number. */
const cab_pass *cab_pass_rows(int *n);

/* The whole pipeline.  *out (in g's arena) is NULL when o->stop_after ended
 * it before lower. */
cab_status cab_passes_run(cab_graph *g, const cab_pass_options *o, cab_program **out,
                          cab_diag *d);
/* Named passes in the given order, "fold,cse,dce"; for cab-opt and tests. */
cab_status cab_passes_run_list(cab_graph *g, const char *names, const cab_pass_options *o,
                               cab_program **out, cab_diag *d);
/* Every node that decompose would refuse, each as an error in d (cab check);
 * CAB_EUNSUPPORTED when there is one. */
cab_status cab_passes_check(cab_graph *g, cab_diag *d);

/* Which operators of the standard have a decomposition (in some form). */
cab_status cab_passes_known(cab_arena *scratch, bool known[CAB_OP_COUNT], cab_diag *d);

/* Per rule: name, hits of this process run... kept in the caller's table. */
typedef struct cab_rule_info { const char *name, *file, *klass; int line; } cab_rule_info;
int cab_rules_count(void);
cab_rule_info cab_rules_info(int i);

#endif
