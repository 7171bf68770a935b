/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose.c - ops of the standard become CORE primitives.
 *
 * One walk in topological order: when a node is reached its operands are CORE
 * values, so their types are known.  A node is rewritten by its function
 * (rows of decompose.def) or by a rule of decompose.rules; an op with neither
 * is unsupported.  A node that fails is reported and left; what depends on it
 * is passed over silently, unless its op has no decomposition at all.  So one
 * walk lists everything a user has to know.
 */
#include "passes/decompose_int.h"
#include "passes/rule_int.h"
#include <string.h>

typedef cab_value *(*dec_fn)(cab_dec *d);

static const dec_fn functions[CAB_OP_COUNT] = {
#define DECOMPOSE(op) [CAB_OP_##op] = cab_dec_##op,
#include "passes/decompose.def"
};

/* The element types the primitives compute with today. */
#define COMPUTED                                                             \
    (CAB_DTBIT(CAB_DT_f32) | CAB_DTBIT(CAB_DT_f64) | CAB_DTBIT(CAB_DT_f16) | \
     CAB_DTBIT(CAB_DT_bf16) | CAB_DTBIT(CAB_DT_u8) | CAB_DTBIT(CAB_DT_i8) |  \
     CAB_DTBIT(CAB_DT_u16) | CAB_DTBIT(CAB_DT_i16) | CAB_DTBIT(CAB_DT_u32) | \
     CAB_DTBIT(CAB_DT_i32) | CAB_DTBIT(CAB_DT_u64) | CAB_DTBIT(CAB_DT_i64) | \
     CAB_DTBIT(CAB_DT_bool))

static bool is_undecomposed(const cab_value *v)
{
    return v && v->def && (cab_op_is_onnx(v->def->op->id) || cab_foreign_open(v->def));
}

static bool depends_on_failure(const cab_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (is_undecomposed(n->in[i]))
            return true;
    return false;
}

/* Required operands are there. */
static bool check_arity(cab_dec *d)
{
    const cab_schema *sc = cab_schema_newest(d->n->op->id);

    for (int i = 0; sc && i < sc->n_in; i++)
        if (sc->in[i].arity == CAB_ONE && !cab_dec_in(d, i)) {
            cab_dec_bad(d, "operand %d is missing", i);
            return false;
        }
    return true;
}

/* The operator takes sequences or optionals at operand i. */
static bool takes_holders(const cab_node *n, int i)
{
    const cab_schema *sc = cab_op_is_onnx(n->op->id) ? cab_schema_newest(n->op->id) : NULL;
    int row = !sc || i < sc->n_in ? i : sc->n_in - 1;

    for (int k = 0; sc && row >= 0 && k < sc->n_type; k++)
        if (!strcmp(sc->type[k].var, sc->in[row].var))
            return (sc->type[k].set & (CAB_SET_SEQ | CAB_SET_OPT)) != 0;
    return false;
}

/* Operands are tensors that primitives compute with, or what holds tensors. */
static bool check_types(cab_dec *d)
{
    for (int i = 0; i < d->n->n_in; i++) {
        const cab_value *v = d->n->in[i];

        if (!v || (v->type.kind != CAB_KIND_tensor && takes_holders(d->n, i)))
            continue;
        if (v->type.kind != CAB_KIND_tensor) {
            cab_dec_unsupported(d, "operand %d is a %s", i,
                                v->type.kind == CAB_KIND_sequence
                                    ? "sequence" : "optional");
            return false;
        }
        if (!(COMPUTED & CAB_DTBIT(v->type.dtype))) {
            cab_dec_unsupported(d, "operand %d has element type %s", i,
                                cab_dtype_name(v->type.dtype));
            return false;
        }
        if (v->type.rank > CAB_MAX_RANK) {
            cab_dec_unsupported(d, "operand %d has rank %d", i, v->type.rank);
            return false;
        }
    }
    return true;
}

/* What every decomposition may rely on. */
static bool check_operands(cab_dec *d)
{
    return check_arity(d) && check_types(d);
}

static void move_name(cab_graph *g, cab_value *from, cab_value *to)
{
    const char *name = from->name;

    if (!name || to->name || !to->def)
        return;
    cab_value_set_name(g, from, NULL);
    cab_value_set_name(g, to, name);
}

static void replace_outputs(cab_dec *d)
{
    cab_node *n = d->n;

    for (int i = 0; i < n->n_out; i++) {
        cab_value *old = n->out[i], *v = i < d->n_out ? d->out[i] : NULL;

        if (!old || !old->n_uses)
            continue;
        CAB_ASSERT(v);
        move_name(d->g, old, v);
        cab_value_replace(d->g, old, v);
    }
    cab_node_erase(n);
}

/* Erases the nodes a failed decomposition left between `from` and n. */
static void drop_partial(cab_graph *g, cab_node *from, cab_node *n)
{
    cab_node *first = from ? from->next : g->first;

    for (cab_node *x = n->prev; first != n && x;) {
        cab_node *prev = x->prev;
        bool last = x == first, used = false;

        for (int i = 0; i < x->n_out; i++)
            used = used || x->out[i]->n_uses;
        if (!used)
            cab_node_erase(x);
        if (last)
            break;
        x = prev;
    }
}

static cab_status check_results(cab_dec *d)
{
    for (int i = 0; i < d->n->n_out; i++)
        if (d->n->out[i] && d->n->out[i]->n_uses &&
            (i >= d->n_out || !d->out[i]) && !cab_dec_failed(d))
            cab_dec_unsupported(d, "output %d is not computed", i);
    return d->b.status;
}

static cab_status decompose_node(cab_graph *g, cab_pass_ctx *c,
                                 const cab_ruleset *rules, cab_node *n)
{
    cab_node *before = n->prev;
    cab_dec d = { .g = g, .n = n, .tmp = c->scratch, .ctx = c, .rules = rules,
                  .n_out = n->n_out };
    dec_fn fn = functions[n->op->id];
    cab_value *y = NULL;

    if (d.n_out < 1)
        d.n_out = 1;
    d.out = CAB_NEW_N(c->scratch, cab_value *, d.n_out);
    d.b = cab_builder_at(g, n, c->diag);
    if (check_operands(&d)) {
        if (fn)
            y = fn(&d);
        else if (!cab_rules_expand(rules, &d.b, n, &y) && !cab_dec_failed(&d))
            cab_dec_unsupported(&d, "no decomposition fits its attributes");
    }
    if (!cab_dec_failed(&d)) {
        if (y)
            d.out[0] = y;
        check_results(&d);
    }
    if (cab_dec_failed(&d)) {
        drop_partial(g, before, n);
        return d.b.status;
    }
    replace_outputs(&d);
    c->n_changes++;
    return CAB_OK;
}

/* A node of the host program's operators gets its types. */
static cab_status type_custom(cab_graph *g, cab_pass_ctx *c, cab_node *n)
{
    cab_dec d = { .g = g, .n = n, .tmp = c->scratch };

    d.b = cab_builder_at(g, n, c->diag);
    if (!check_types(&d))
        return d.b.status;
    CAB_TRY(cab_foreign_resolve(g, n, c->diag));
    for (int i = 0; i < n->n_out; i++)
        if (!(COMPUTED & CAB_DTBIT(n->out[i]->type.dtype)))
            cab_dec_unsupported(&d, "result %d has element type %s", i,
                                cab_dtype_name(n->out[i]->type.dtype));
    c->n_changes++;
    return d.b.status;
}

static cab_status no_decomposition(cab_pass_ctx *c, const cab_node *n)
{
    cab_where w = cab_node_where(n);
    cab_status s = cab_fail(c->diag, CAB_EUNSUPPORTED, &w,
                            "this operator has no decomposition");

    cab_note(c->diag, "a rule in passes/decompose.rules or a function listed "
             "in passes/decompose.def adds it (docs/adding-an-op.md)");
    return s;
}

cab_status cab_decompose_with(cab_graph *g, cab_pass_ctx *c, const cab_ruleset *rules)
{
    cab_status first = CAB_OK;

    for (cab_node *n = g->first, *next; n; n = next) {
        cab_node *before = n->prev;
        bool is_if = n->op->id == CAB_OP_If;
        cab_status s = CAB_OK;

        next = n->next;
        if (!cab_op_is_onnx(n->op->id) && !cab_foreign_open(n))
            continue;
        if (n->op->id == CAB_OP_custom)
            s = depends_on_failure(n) ? CAB_OK : type_custom(g, c, n);
        else if (!functions[n->op->id] && !cab_rules_cover(rules, n->op->id))
            s = no_decomposition(c, n);
        else if (depends_on_failure(n))
            continue;
        else
            s = decompose_node(g, c, rules, n);
        /* The nodes of the branch that was taken stand where the If was. */
        if (is_if && s == CAB_OK)
            next = before ? before->next : g->first;
        if (first == CAB_OK)
            first = s;
    }
    if (cab_dims_overflowed(g->dims) && first == CAB_OK)
        first = cab_fail(c->diag, CAB_EMODEL, NULL,
                         "a tensor extent overflows 64 bits");
    if (first == CAB_OK)
        g->level = CAB_LEVEL_CORE;
    return first;
}

cab_status cab_decompose_all(cab_graph *g, cab_pass_ctx *c)
{
    cab_ruleset *rules;

    CAB_TRY(cab_ruleset_load(c->scratch, CAB_RULES_decompose, &rules, c->diag));
    return cab_decompose_with(g, c, rules);
}

cab_status cab_passes_known(cab_arena *scratch, bool known[CAB_OP_COUNT], cab_diag *d)
{
    cab_ruleset *rules;

    CAB_TRY(cab_ruleset_load(scratch, CAB_RULES_decompose, &rules, d));
    for (int op = 0; op < CAB_OP_COUNT; op++)
        known[op] = functions[op] || cab_rules_cover(rules, (cab_op_id)op);
    return CAB_OK;
}

static bool surely_differ(const cab_type *a, const cab_type *b)
{
    if (a->kind != b->kind || a->rank != b->rank)
        return true;
    for (int i = 0; i < a->rank; i++)
        if (cab_dim_eq(a->dims[i], b->dims[i]) == 0)
            return true;
    return false;
}

/* Extents that the file gives its outputs are of no use here; where they are
 * wrong, its users are told. */
static cab_status check_declared(const cab_graph *g, cab_pass_ctx *c)
{
    for (size_t i = 0; i < g->declared.n && i < g->outputs.n; i++) {
        const cab_type *said = g->declared.p[i], *is = &g->outputs.p[i]->type;
        cab_where w = { .node = g->output_names.p[i] };
        cab_buf b = cab_buf_on(c->scratch);

        if (said->kind != CAB_KIND_tensor || said->rank == CAB_RANK_UNKNOWN ||
            is->kind != CAB_KIND_tensor)
            continue;
        if (said->dtype == is->dtype && !surely_differ(said, is))
            continue;
        cab_type_print(&b, said);
        cab_buf_str(&b, ", computed is ");
        cab_type_print(&b, is);
        if (said->dtype != is->dtype && said->dtype != CAB_DT_none)
            return cab_fail(c->diag, CAB_EMODEL, &w, "the output is declared as %s",
                            cab_buf_cstr(&b));
        cab_warn(c->diag, &w, "the output is declared as %s", cab_buf_cstr(&b));
    }
    return CAB_OK;
}

cab_status cab_pass_decompose(cab_graph *g, cab_pass_ctx *c)
{
    CAB_TRY(cab_decompose_all(g, c));
    return check_declared(g, c);
}
