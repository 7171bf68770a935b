/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_text.c - Specs and programs as text.
 *
 * One statement per line; spec_parse.c reads what this writes, and
 * print(parse(t)) == t for text t from here.  An address is
 * [base; axis: coefficient, ...].  Expressions are prefix calls whose types
 * follow from their leaves; v3 is a load of view 3, r0 the result of stage 0,
 * t2 a named expression: nodes used more than once, and some inside deep ones,
 * get a name, so text grows with the number of nodes.  Constant bytes stand in
 * blob blocks at the end.  Quantisation in types is not printed: Specs have
 * made it arithmetic.
 */
#include "ir/spec_int.h"
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* Calls nested deeper than this are cut by a named expression. */
#define NESTING 12

typedef struct printer {
    cab_buf *b;
    const cab_spec *s;
    cab_ex_list all, told;     /* every node; those whose names are printed */
    int *uses;                 /* per place in all */
    int *depth;
    int *name;                 /* number of tN; 0 = inline, -1 = to be named */
    int n_names;
} printer;

static void put_name(cab_buf *b, const char *name)
{
    bool plain = isalpha((unsigned char)*name) || *name == '_';
    for (const char *c = name; *c; c++)
        plain &= isalnum((unsigned char)*c) || *c == '_';
    if (plain)
        cab_buf_str(b, name);
    else
        cab_buf_quoted(b, name, strlen(name));
}

/* ---- expressions ---- */
static void put_const(cab_buf *b, const cab_expr *e)
{
    if (e->dtype == CAB_DT_f64)
        cab_buf_f64(b, e->u.f);
    else if (cab_dtype_is_float(e->dtype))
        cab_buf_f32(b, (float)e->u.f);
    else
        cab_buf_printf(b, "%" PRId64, e->u.i);
    cab_buf_printf(b, ":%s", cab_dtype_name(e->dtype));
}

static void put_expr(printer *p, const cab_expr *e);

static void put_call(printer *p, const cab_expr *e)
{
    const cab_ex_row *row = cab_ex_row_of(e->op);
    cab_buf_str(p->b, row->name);
    if (row->rule == CAB_RULE_CAST)
        cab_buf_printf(p->b, ":%s", cab_dtype_name(e->dtype));
    for (int k = 0; k < row->arity; k++) {
        cab_buf_str(p->b, k ? ", " : "(");
        put_expr(p, e->arg[k]);
    }
    cab_buf_char(p->b, ')');
}

static void put_node(printer *p, const cab_expr *e)
{
    switch (e->op) {
    case CAB_EX_CONST:
        put_const(p->b, e);
        break;
    case CAB_EX_DIM:
        cab_buf_str(p->b, "dim(");
        cab_dim_print(p->b, e->u.dim);
        cab_buf_char(p->b, ')');
        break;
    case CAB_EX_AXIS:
        cab_buf_str(p->b, "axis(");
        put_name(p->b, p->s->axis[e->u.index].name);
        cab_buf_char(p->b, ')');
        break;
    case CAB_EX_LOAD:
        cab_buf_printf(p->b, "v%d", e->u.index);
        break;
    case CAB_EX_RESULT:
        cab_buf_printf(p->b, "r%d", e->u.index);
        break;
    default:
        put_call(p, e);
    }
}

static void put_expr(printer *p, const cab_expr *e)
{
    int name = p->name[cab_ex_list_at(&p->all, e)];
    if (name > 0)
        cab_buf_printf(p->b, "t%d", name - 1);
    else
        put_node(p, e);
}

/* Lines for the names root needs and has not been given yet. */
static void put_names(printer *p, const cab_expr *root)
{
    size_t from = p->told.v.n;
    cab_ex_list_add(&p->told, root);
    for (size_t i = from; i < p->told.v.n; i++) {
        const cab_expr *e = p->told.v.p[i];
        int *name = &p->name[cab_ex_list_at(&p->all, e)];
        if (*name >= 0)
            continue;
        cab_buf_printf(p->b, "  t%d = ", p->n_names);
        put_node(p, e);
        cab_buf_char(p->b, '\n');
        *name = ++p->n_names;
    }
}

static void count_uses(printer *p, const cab_expr *e)
{
    p->uses[cab_ex_list_at(&p->all, e)]++;
}

static void choose_names(printer *p, cab_arena *a)
{
    const cab_spec *s = p->s;
    size_t n = p->all.v.n;
    p->uses = CAB_NEW_N(a, int, n);
    p->depth = CAB_NEW_N(a, int, n);
    p->name = CAB_NEW_N(a, int, n);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++)
            if (p->all.v.p[i]->arg[k])
                count_uses(p, p->all.v.p[i]->arg[k]);
    for (size_t i = 0; i < s->views.n; i++)
        for (int k = 0; k < s->views.p[i].n_loaded; k++)
            count_uses(p, s->views.p[i].loaded[k].index);
    for (size_t i = 0; i < s->stages.n; i++)
        count_uses(p, s->stages.p[i].value);
    for (size_t i = 0; i < n; i++) {
        const cab_expr *e = p->all.v.p[i];
        if (e->op < CAB_EX_SCALAR_)
            continue;
        int depth = 1;
        for (int k = 0; k < 3 && e->arg[k]; k++) {
            int d = p->depth[cab_ex_list_at(&p->all, e->arg[k])] + 1;
            depth = d > depth ? d : depth;
        }
        bool named = p->uses[i] > 1 || depth > NESTING;
        p->depth[i] = named ? 0 : depth;
        p->name[i] = named ? -1 : 0;
    }
}

/* ---- Specs ---- */
static void put_affine(printer *p, const cab_affine *f)
{
    const char *sep = "; ";
    cab_buf_char(p->b, '[');
    cab_dim_print(p->b, f->base);
    for (int i = 0; i < p->s->n_axes; i++) {
        if (!f->coef[i])
            continue;
        cab_buf_str(p->b, sep);
        put_name(p->b, p->s->axis[i].name);
        cab_buf_str(p->b, ": ");
        cab_dim_print(p->b, f->coef[i]);
        sep = ", ";
    }
    cab_buf_char(p->b, ']');
}

static void put_guards(printer *p, const char *word, const cab_spec_guard *guard, int n)
{
    for (int g = 0; g < n; g++) {
        cab_buf_printf(p->b, " %s ", word);
        put_affine(p, &guard[g].at);
        cab_buf_str(p->b, " in ");
        cab_dim_print(p->b, guard[g].extent);
    }
}

static void put_view(printer *p, size_t i)
{
    const cab_view *v = &p->s->views.p[i];
    for (int k = 0; k < v->n_loaded; k++)
        put_names(p, v->loaded[k].index);
    cab_buf_printf(p->b, "  view %zu = operand %d ", i, v->operand);
    put_affine(p, &v->at);
    for (int k = 0; k < v->n_loaded; k++) {
        cab_buf_str(p->b, " index ");
        put_expr(p, v->loaded[k].index);
        cab_buf_str(p->b, " * ");
        cab_dim_print(p->b, v->loaded[k].stride);
        if (!v->loaded[k].extent)
            continue;
        cab_buf_str(p->b, " in ");
        cab_dim_print(p->b, v->loaded[k].extent);
    }
    put_guards(p, "guard", v->guard, v->n_guards);
    if (cab_view_is_guarded(v)) {
        cab_buf_str(p->b, " fill ");
        cab_buf_f64(p->b, v->fill);
    }
    put_guards(p, "halo", v->halo, v->n_halo);
    cab_buf_char(p->b, '\n');
}

static void put_stage(printer *p, size_t i)
{
    const cab_stage *st = &p->s->stages.p[i];
    const char *sep = "";
    put_names(p, st->value);
    if (st->kind == CAB_STAGE_REDUCE)
        cab_buf_printf(p->b, "  r%zu = %s %s over (", i, cab_red_names[st->red],
                       cab_dtype_name(st->acc));
    else if (st->kind == CAB_STAGE_SCAN)
        cab_buf_printf(p->b, "  scan v%d %s %s%s over (", st->view, cab_red_names[st->red],
                       cab_dtype_name(st->acc), st->exclusive ? " exclusive" : "");
    else
        cab_buf_printf(p->b, "  store v%d%s%s over (", st->view, st->mode ? " " : "",
                       st->mode ? cab_store_names[st->mode] : "");
    for (int k = 0; k < p->s->n_axes; k++)
        if (st->axes >> k & 1) {
            cab_buf_str(p->b, sep);
            put_name(p->b, p->s->axis[k].name);
            sep = ", ";
        }
    cab_buf_str(p->b, ") ");
    put_expr(p, st->value);
    cab_buf_char(p->b, '\n');
}

void cab_spec_print(cab_buf *b, const cab_spec *s)
{
    printer p = { .b = b, .s = s, .all = cab_ex_list_on(b->arena, s),
                  .told = cab_ex_list_on(b->arena, s) };
    cab_ex_list_add_all(&p.all);
    choose_names(&p, b->arena);
    cab_buf_str(b, "spec @");
    put_name(b, s->name);
    cab_buf_printf(b, " %s {\n", cab_spec_kind_names[s->kind]);
    for (int i = 0; i < s->n_axes; i++) {
        cab_buf_str(b, "  axis ");
        put_name(b, s->axis[i].name);
        cab_buf_str(b, s->axis[i].kind == CAB_AXIS_PAR ? " par " : " red ");
        cab_dim_print(b, s->axis[i].extent);
        cab_buf_char(b, '\n');
    }
    for (int i = 0; i < s->n_operands; i++) {
        cab_buf_printf(b, "  operand %d %s %s elems ", i, cab_dtype_name(s->operands[i].dtype),
                       s->operands[i].written ? "out" : "in");
        cab_dim_print(b, s->operands[i].elems);
        cab_buf_char(b, '\n');
    }
    for (size_t i = 0; i < s->views.n; i++)
        put_view(&p, i);
    for (size_t i = 0; i < s->stages.n; i++)
        put_stage(&p, i);
    cab_buf_str(b, "}\n");
}

/* ---- facts about symbols ---- */
static void put_facts(cab_buf *b, cab_map *seen, const cab_dim *x)
{
    if (!x || cab_map_getu(seen, (uint64_t)(uintptr_t)x))
        return;
    cab_map_setu(seen, (uint64_t)(uintptr_t)x, seen);
    for (int i = 0; i < x->n_args; i++)
        put_facts(b, seen, x->args[i]);
    if (x->kind != CAB_DIM_SYM || (x->lo == 0 && x->hi == INT32_MAX && x->divisor == 1))
        return;
    cab_buf_str(b, "  sym ");
    cab_dim_print(b, x);
    cab_buf_printf(b, " %" PRId64 " %" PRId64 " %" PRId64 "\n", x->lo, x->hi, x->divisor);
}

static void affine_facts(cab_buf *b, cab_map *seen, const cab_affine *f)
{
    put_facts(b, seen, f->base);
    for (int i = 0; i < CAB_SPEC_AXES; i++)
        put_facts(b, seen, f->coef[i]);
}

static void guard_facts(cab_buf *b, cab_map *seen, const cab_spec_guard *guard, int n)
{
    for (int g = 0; g < n; g++) {
        affine_facts(b, seen, &guard[g].at);
        put_facts(b, seen, guard[g].extent);
    }
}

static void spec_facts(cab_buf *b, cab_map *seen, const cab_spec *s)
{
    for (int i = 0; i < s->n_axes; i++)
        put_facts(b, seen, s->axis[i].extent);
    for (int i = 0; i < s->n_operands; i++)
        put_facts(b, seen, s->operands[i].elems);
    for (size_t i = 0; i < s->views.n; i++) {
        const cab_view *v = &s->views.p[i];
        affine_facts(b, seen, &v->at);
        for (int k = 0; k < v->n_loaded; k++) {
            put_facts(b, seen, v->loaded[k].stride);
            put_facts(b, seen, v->loaded[k].extent);
        }
        guard_facts(b, seen, v->guard, v->n_guards);
        guard_facts(b, seen, v->halo, v->n_halo);
    }
    cab_ex_list l = cab_ex_list_on(b->arena, s);
    cab_ex_list_add_all(&l);
    for (size_t i = 0; i < l.v.n; i++)
        if (l.v.p[i]->op == CAB_EX_DIM)
            put_facts(b, seen, l.v.p[i]->u.dim);
}

static void program_facts(cab_buf *b, const cab_program *p)
{
    cab_map *seen = cab_map_create(b->arena);
    for (size_t i = 0; i < p->buffers.n; i++) {
        const cab_buffer *f = &p->buffers.p[i];
        for (int k = 0; k < f->type.rank; k++)
            put_facts(b, seen, f->type.dims[k]);
        put_facts(b, seen, f->elems);
        put_facts(b, seen, f->alias_of >= 0 ? f->alias_at : NULL);
    }
    for (size_t i = 0; i < p->guards.n; i++) {
        put_facts(b, seen, p->guards.p[i].lhs);
        put_facts(b, seen, p->guards.p[i].rhs);
    }
    for (size_t i = 0; i < p->steps.n; i++) {
        const cab_step *st = &p->steps.p[i];
        for (int k = 0; k < st->n_params; k++)
            put_facts(b, seen, st->params[k]);
        put_facts(b, seen, st->sym);
        for (int k = 0; st->custom && k < st->n_args; k++)
            for (int x = 0; x < st->custom->types[k].rank; x++)
                put_facts(b, seen, st->custom->types[k].dims[x]);
        put_facts(b, seen, st->when);
        if (st->spec)
            spec_facts(b, seen, st->spec);
    }
}

/* ---- programs ---- */
static const char *const buffer_kinds[] = { "input", "output", "const", "temp" };

static void put_type(cab_buf *b, const cab_type *t)
{
    const cab_layout *l = t->layout;
    if (t->kind != CAB_KIND_tensor) {
        cab_buf_str(b, t->kind == CAB_KIND_sequence ? "seq(" : "optional(");
        put_type(b, t->elem);
        cab_buf_char(b, ')');
        return;
    }
    if (t->rank == CAB_RANK_UNKNOWN) {
        cab_buf_printf(b, "%s[...]", cab_dtype_name(t->dtype));
        return;
    }
    cab_buf_printf(b, "%s[", cab_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++) {
        cab_buf_str(b, i ? ", " : "");
        cab_dim_print(b, t->dims[i]);
    }
    cab_buf_char(b, ']');
    if (!l)
        return;
    cab_buf_str(b, " layout (");
    for (int i = 0; i < l->rank; i++)
        cab_buf_printf(b, "%s%d", i ? ", " : "", l->perm[i]);
    cab_buf_str(b, ") halo (");
    for (int i = 0; i < l->rank; i++)
        cab_buf_printf(b, "%s%d:%d", i ? ", " : "", (int)l->halo_lo[i], (int)l->halo_hi[i]);
    cab_buf_char(b, ')');
}

/* Number of a blob, in order of first use. */
static int blob_number(cab_map *blobs, const cab_blob *blob)
{
    uint64_t key = (uint64_t)(uintptr_t)blob;
    if (!cab_map_getu(blobs, key))
        cab_map_setu(blobs, key, (void *)(uintptr_t)(cab_map_count(blobs) + 1));
    return (int)(uintptr_t)cab_map_getu(blobs, key) - 1;
}

static void put_buffer(cab_buf *b, const cab_program *p, size_t i, cab_map *blobs)
{
    const cab_buffer *f = &p->buffers.p[i];
    cab_buf_printf(b, "  buffer %zu %s ", i, buffer_kinds[f->kind]);
    if (f->name) {
        cab_buf_quoted(b, f->name, strlen(f->name));
        cab_buf_char(b, ' ');
    }
    put_type(b, &f->type);
    cab_buf_str(b, " elems ");
    cab_dim_print(b, f->elems);
    if (f->zeroed)
        cab_buf_str(b, " zeroed");
    if (f->alias_of >= 0) {
        cab_buf_printf(b, " alias %d at ", f->alias_of);
        cab_dim_print(b, f->alias_at);
    }
    if (f->blob)
        cab_buf_printf(b, " blob %d", blob_number(blobs, f->blob));
    cab_buf_char(b, '\n');
}

static void put_ints(cab_buf *b, const int *v, size_t n)
{
    cab_buf_char(b, '(');
    for (size_t i = 0; i < n; i++)
        cab_buf_printf(b, "%s%d", i ? ", " : "", v[i]);
    cab_buf_char(b, ')');
}

static void put_note(cab_buf *b, const char *key, const char *text)
{
    if (!text)
        return;
    cab_buf_printf(b, " %s ", key);
    cab_buf_quoted(b, text, strlen(text));
}

/* Element i of an attribute for a kernel of the host program. */
static void put_attr_element(cab_buf *b, const cab_foreign_attr *a, int i)
{
    if (a->text)
        cab_buf_quoted(b, a->text, strlen(a->text));
    else if (a->ints)
        cab_buf_printf(b, "%lld", (long long)a->ints[i]);
    else
        cab_buf_f32(b, a->floats[i]);
}

/* custom "domain" "name" (3 f32[N, 4], -) results (4 f32[N]) ints "axes" (0, 1)... */
static void put_custom(cab_buf *b, const cab_step *s)
{
    const cab_step_custom *c = s->custom;
    cab_buf_str(b, "  custom ");
    cab_buf_quoted(b, c->domain, strlen(c->domain));
    cab_buf_char(b, ' ');
    cab_buf_quoted(b, c->name, strlen(c->name));
    cab_buf_str(b, " (");
    for (int i = 0; i < s->n_args; i++) {
        cab_buf_str(b, i == c->n_in ? ") results (" : i ? ", " : "");
        if (s->args[i] < 0) {
            cab_buf_char(b, '-');
            continue;
        }
        cab_buf_printf(b, "%d ", s->args[i]);
        put_type(b, &c->types[i]);
    }
    cab_buf_char(b, ')');
    for (int i = 0; i < c->n_attrs; i++) {
        const cab_foreign_attr *a = &c->attrs[i];
        cab_buf_str(b, a->text ? " text " : a->ints ? " ints " : " floats ");
        cab_buf_quoted(b, a->name, strlen(a->name));
        cab_buf_str(b, " (");
        for (int k = 0; k < a->n; k++) {
            cab_buf_str(b, k ? ", " : "");
            put_attr_element(b, a, k);
        }
        cab_buf_char(b, ')');
    }
}

static void put_params(cab_buf *b, const cab_step *s)
{
    if (!s->n_params)
        return;
    cab_buf_str(b, " params (");
    for (int k = 0; k < s->n_params; k++) {
        cab_buf_str(b, k ? ", " : "");
        cab_dim_print(b, s->params[k]);
    }
    cab_buf_char(b, ')');
}

static void put_flow(cab_buf *b, const cab_step *s, const cab_flow_row *f)
{
    cab_buf_printf(b, "  %s", f->word);
    if (f->sym) {
        cab_buf_char(b, ' ');
        cab_dim_print(b, s->sym);
    }
    if (f->n_args) {
        cab_buf_char(b, ' ');
        put_ints(b, s->args, (size_t)s->n_args);
    }
    put_params(b, s);
    put_note(b, "loc", s->loc);
    put_note(b, "what", s->what);
    cab_buf_char(b, '\n');
}

static void put_step(cab_buf *b, const cab_step *s)
{
    const cab_flow_row *f = cab_flow_row_of(s->kind);
    if (f) {
        put_flow(b, s, f);
        return;
    }
    if (s->kind == CAB_STEP_CUSTOM) {
        put_custom(b, s);
        put_note(b, "loc", s->loc);
        put_note(b, "what", s->what);
        cab_buf_char(b, '\n');
        return;
    }
    if (s->kind == CAB_STEP_LAUNCH) {
        cab_buf_str(b, "  launch @");
        put_name(b, s->spec->name);
    } else {
        cab_buf_str(b, "  helper ");
        cab_buf_quoted(b, s->helper, strlen(s->helper));
    }
    cab_buf_char(b, ' ');
    put_ints(b, s->args, (size_t)s->n_args);
    put_params(b, s);
    if (s->when) {
        cab_buf_str(b, " when ");
        cab_dim_print(b, s->when);
    }
    if (s->past)
        cab_buf_printf(b, " past %d", s->past - 1);
    put_note(b, "loc", s->loc);
    put_note(b, "what", s->what);
    cab_buf_char(b, '\n');
}

static void put_state(cab_buf *b, const cab_program_state *s)
{
    cab_buf_printf(b, "  state %d -> %d axis %d room ", s->input, s->output, s->axis);
    cab_dim_print(b, s->room_in);
    cab_buf_str(b, ", ");
    cab_dim_print(b, s->room_out);
    cab_buf_char(b, '\n');
}

static void put_specs(cab_buf *b, const cab_program *p)
{
    cab_map *done = cab_map_create(b->arena);
    for (size_t i = 0; i < p->steps.n; i++) {
        const cab_spec *s = p->steps.p[i].spec;
        if (!s || cab_map_getu(done, (uint64_t)(uintptr_t)s))
            continue;
        cab_map_setu(done, (uint64_t)(uintptr_t)s, done);
        cab_spec_print(b, s);
    }
}

static void put_blobs(cab_buf *b, cab_map *blobs)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < cab_map_count(blobs); i++) {
        const void *key;
        size_t n;
        uint64_t address;
        cab_map_at(blobs, i, &key, &n);
        memcpy(&address, key, sizeof address);
        const cab_blob *blob = (const cab_blob *)(uintptr_t)address;
        const uint8_t *p = blob->data;
        cab_buf_printf(b, "blob %zu %" PRIu64, i, blob->bytes);
        for (uint64_t k = 0; k < blob->bytes; k++) {
            if (k % 32 == 0)
                cab_buf_str(b, "\n  ");
            cab_buf_char(b, hex[p[k] >> 4]);
            cab_buf_char(b, hex[p[k] & 15]);
        }
        cab_buf_char(b, '\n');
    }
}

void cab_program_print(cab_buf *b, const cab_program *p)
{
    cab_map *blobs = cab_map_create(b->arena);
    cab_buf_str(b, "program @");
    put_name(b, p->name);
    cab_buf_str(b, " {\n");
    program_facts(b, p);
    for (size_t i = 0; i < p->buffers.n; i++)
        put_buffer(b, p, i, blobs);
    cab_buf_str(b, "  inputs ");
    put_ints(b, p->inputs.p, p->inputs.n);
    cab_buf_str(b, "\n  outputs ");
    put_ints(b, p->outputs.p, p->outputs.n);
    cab_buf_char(b, '\n');
    for (size_t i = 0; i < p->guards.n; i++) {
        cab_buf_str(b, "  guard ");
        cab_dim_print(b, p->guards.p[i].lhs);
        cab_buf_str(b, p->guards.p[i].le ? " <= " : " == ");
        cab_dim_print(b, p->guards.p[i].rhs);
        put_note(b, "why", p->guards.p[i].why);
        cab_buf_char(b, '\n');
    }
    for (size_t i = 0; i < p->states.n; i++)
        put_state(b, &p->states.p[i]);
    for (size_t i = 0; i < p->steps.n; i++)
        put_step(b, &p->steps.p[i]);
    cab_buf_str(b, "}\n");
    put_specs(b, p);
    put_blobs(b, blobs);
}
