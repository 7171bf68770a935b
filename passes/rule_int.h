/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rule_int.h - compiled rewrite rules (docs/writing-rules.md has the text form).
 *
 * rule.c compiles text to these trees, match.c lays a pattern over a node,
 * rewrite.c builds replacements and drives a ruleset over a graph, guards.c
 * holds the named predicates and makers rules may call.  A ruleset lives in
 * the scratch arena of one pass run and is used by one thread.
 */
#ifndef CAB_PASSES_RULE_INT_H
#define CAB_PASSES_RULE_INT_H
#include "passes/pass_int.h"

#define CAB_RULE_SLOTS 16
#define CAB_RULE_NODES 8
#define CAB_RULE_ARGS 4

/* The embedded rule files (passes/rules_text.c, made by tools/embed-rules.sh
 * at build time, in this order). */
typedef enum cab_rules_file {
    CAB_RULES_canon, CAB_RULES_fuse, CAB_RULES_decompose, CAB_RULES_COUNT
} cab_rules_file;
extern const char *const cab_rules_text[CAB_RULES_COUNT];
extern const char *const cab_rules_path[CAB_RULES_COUNT];
extern const cab_rule_info cab_rules_index[];
extern const int cab_rules_index_n;

/* ---- compiled form ---- */
typedef struct cab_rattr {     /* name = a slot | a literal | maker(slots) */
    const char *name;
    int kind;                  /* cab_attr_kind by the op's row */
    bool has_default;
    int slot;                  /* -1: literal or maker */
    const struct cab_rmaker *maker;
    int n_arg, arg[CAB_RULE_ARGS];
    cab_attr lit;
} cab_rattr;

typedef enum cab_rpat_kind { CAB_RP_VALUE, CAB_RP_NUMBER, CAB_RP_OP } cab_rpat_kind;
typedef struct cab_rpat {
    cab_rpat_kind kind;
    int slot;                  /* value slot bound here, -1 = none */
    bool is_const, optional;
    double number;
    cab_op_id op;
    int n_in, n_attr;
    struct cab_rpat *in;
    cab_rattr *attr;
} cab_rpat;

typedef enum cab_rexpr_kind {
    CAB_RE_SLOT, CAB_RE_NUMBER, CAB_RE_OP, CAB_RE_MAKER
} cab_rexpr_kind;
typedef struct cab_rexpr {
    cab_rexpr_kind kind;
    int slot;                  /* SLOT: value, or attribute used as a scalar */
    double number;
    cab_op_id op;
    const struct cab_rmaker *maker;
    int n_in, n_attr, n_arg, arg[CAB_RULE_ARGS];
    struct cab_rexpr *in;
    cab_rattr *attr;
    int copy_slot;             /* attrs(c): copy those of c's node; -1 = none */
} cab_rexpr;

typedef struct cab_rguard {
    const struct cab_rpredicate *row;
    bool negate;
    int n_arg, arg[CAB_RULE_ARGS];
} cab_rguard;

typedef struct cab_rule {
    const char *name;
    int line;
    bool rounding;             /* changes rounding: not under --exact */
    cab_rpat root;
    int n_guards;
    cab_rguard guard[8];
    cab_rexpr build;
    int n_slots;
    const char *slot_name[CAB_RULE_SLOTS];
    bool slot_is_attr[CAB_RULE_SLOTS];
    uint64_t hits;
    struct cab_rule *next;     /* of the same root op, in file order */
} cab_rule;

struct cab_ruleset {
    cab_arena *arena;
    const char *path;
    CAB_VEC(cab_rule *) rules;
    cab_rule *by_op[CAB_OP_COUNT], *last[CAB_OP_COUNT];
};
typedef struct cab_ruleset cab_ruleset;

/* ---- rule.c ---- */
/* Compiles text; errors carry path:line. */
cab_status cab_ruleset_parse(cab_arena *a, const char *text, const char *path,
                             cab_ruleset **out, cab_diag *d);
cab_status cab_ruleset_load(cab_arena *a, cab_rules_file f, cab_ruleset **out, cab_diag *d);
bool cab_rules_cover(const cab_ruleset *rs, cab_op_id op);

/* ---- match.c ---- */
typedef struct cab_match {
    const cab_rule *rule;
    cab_value *v[CAB_RULE_SLOTS];
    cab_attr a[CAB_RULE_SLOTS];
    int n_nodes;
    cab_node *node[CAB_RULE_NODES];  /* matched nodes, root first */
} cab_match;
/* Pattern, then guards; b is for guards that need the graph's dims. */
bool cab_rule_match(const cab_rule *r, cab_node *n, cab_match *m);

/* ---- rewrite.c ---- */
/* Builds the replacement of a match at b's place; NULL latches b->status. */
cab_value *cab_rule_build(const cab_match *m, cab_builder *b);
/* Drives the rules over g until none fits, in topological order.  The result
 * of a hit has the type of the value it replaces. */
cab_status cab_rules_run(cab_ruleset *rs, cab_graph *g, cab_pass_ctx *c);
/* decompose.rules: the first rule that fits n; false when none does. */
bool cab_rules_expand(const cab_ruleset *rs, cab_builder *b, cab_node *n, cab_value **out);

/* ---- guards.c ---- */
/* Arguments are slots; a guard sees the match. */
typedef struct cab_rpredicate {
    const char *name;
    int n_arg;
    bool (*fn)(const cab_match *m, const int *arg);
} cab_rpredicate;
/* Makes a value (value != NULL) or an attribute out of bound things. */
typedef struct cab_rmaker {
    const char *name;
    int n_arg;
    cab_value *(*value)(const cab_match *m, cab_builder *b, const int *arg);
    bool (*attr)(const cab_match *m, cab_builder *b, const int *arg, cab_attr *out);
} cab_rmaker;
const cab_rpredicate *cab_rpredicate_find(const char *name, size_t n);
const cab_rmaker *cab_rmaker_find(const char *name, size_t n);

/* ---- guards_table.c: rows of those tables ---- */
bool cab_rp_along_row(const cab_match *m, const int *arg);
bool cab_rp_counts(const cab_match *m, const int *arg);
bool cab_rp_finite(const cab_match *m, const int *arg);
bool cab_rp_indexes(const cab_match *m, const int *arg);
bool cab_rp_known(const cab_match *m, const int *arg);
bool cab_rp_small(const cab_match *m, const int *arg);
cab_value *cab_rm_as_row(const cab_match *m, cab_builder *b, const int *arg);
cab_value *cab_rm_row_number(const cab_match *m, cab_builder *b, const int *arg);
cab_value *cab_rm_zero_row(const cab_match *m, cab_builder *b, const int *arg);

#endif
