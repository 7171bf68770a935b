/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_flow.c - steps that decide what runs, as instructions.
 *
 * Blocks become jumps.  A symbol that is set is followed by an EVAL_SHAPE of
 * what follows from it; which slots those are is known at the end, when slots
 * are put in order, and so are the numbers of DYNAMIC memory.
 */
#include "codegen/codegen_int.h"
#include <string.h>

static uint32_t now(const cab_planner *w) { return (uint32_t)w->instrs.n; }

static void instr(cab_planner *w, cab_plan_instr x) { cab_vec_push(w->arena, &w->instrs, x); }

void cab_plan_bind_symbols(cab_planner *w)
{
    for (size_t i = 0; i < w->p->steps.n; i++)
        if (w->p->steps.p[i].sym)
            cab_scalars_bind_late(&w->scalars, w->p->steps.p[i].sym);
}

static cab_status slot(cab_planner *w, const cab_dim *x, uint32_t *out)
{
    return cab_scalars_slot(&w->scalars, x, out, w->diag);
}

/* ---- memory ---- */
/* Some symbol in x is set during the run. */
static bool is_late(const cab_planner *w, const cab_dim *x)
{
    if (x->kind == CAB_DIM_SYM) {
        uintptr_t at = (uintptr_t)cab_map_getu(w->scalars.by_dim, (uintptr_t)x);
        return at && w->scalars.slots.p[at - 1].op == CAB_S_SIZE_READ;
    }
    for (int i = 0; i < x->n_args; i++)
        if (is_late(w, x->args[i]))
            return true;
    return false;
}

/* The buffer that holds b's memory. */
static int host_of(const cab_planner *w, int b)
{
    while (w->p->buffers.p[b].alias_of >= 0)
        b = w->p->buffers.p[b].alias_of;
    return b;
}

static bool is_dynamic(const cab_planner *w, int b)
{
    const cab_buffer *f = &w->p->buffers.p[b];
    return f->type.kind == CAB_KIND_tensor &&
           (f->kind == CAB_BUFFER_TEMP || f->kind == CAB_BUFFER_OUTPUT) && is_late(w, f->elems);
}

static cab_status alloc(cab_planner *w, int b, bool keep)
{
    uint32_t v;
    CAB_TRY(cab_plan_value_of(w, b, &v));
    if (is_dynamic(w, b) && w->values.p[v].cls == CAB_V_ARENA)
        w->values.p[v].cls = CAB_V_DYNAMIC;
    cab_plan_touch(w, v);
    w->has_memory[b] = 1;
    if (is_dynamic(w, b))
        instr(w, (cab_plan_instr){ .op = CAB_I_ALLOC, .a = v, .b = keep });
    return CAB_OK;
}

cab_status cab_plan_alloc_first(cab_planner *w, const cab_step *s)
{
    for (int i = 0; i < s->n_args; i++) {
        int b = s->args[i] < 0 ? -1 : host_of(w, s->args[i]);
        if (b >= 0 && !w->has_memory[b] && is_dynamic(w, b))
            CAB_TRY(alloc(w, b, false));
    }
    return CAB_OK;
}

cab_status cab_plan_alloc_outputs(cab_planner *w)
{
    for (size_t i = 0; i < w->p->outputs.n; i++) {
        int b = host_of(w, w->p->outputs.p[i]);
        if (!w->has_memory[b] && is_dynamic(w, b))
            CAB_TRY(alloc(w, b, false));
    }
    return CAB_OK;
}

/* ---- symbols ---- */
/* What follows from the symbol in a slot; b is filled in at the end. */
static void follow(cab_planner *w, uint32_t symbol)
{
    instr(w, (cab_plan_instr){ .op = CAB_I_EVAL_SHAPE, .a = symbol });
}

static cab_status read_symbol(cab_planner *w, const cab_step *s)
{
    uint32_t sym, v;
    if (!cab_dim_is_const(s->params[0]))
        return cab_fail(w->diag, CAB_EINTERNAL, NULL, "a size is read at a place that is no number");
    CAB_TRY(cab_plan_alloc_first(w, s));
    CAB_TRY(slot(w, s->sym, &sym));
    CAB_TRY(cab_plan_value_of(w, s->args[0], &v));
    cab_plan_touch(w, v);
    instr(w, (cab_plan_instr){ .op = CAB_I_SIZE_READ, .a = sym, .b = v,
                               .c = (uint32_t)s->params[0]->value });
    follow(w, sym);
    return CAB_OK;
}

static cab_status set_symbol(cab_planner *w, const cab_step *s)
{
    uint32_t sym, x;
    CAB_TRY(slot(w, s->sym, &sym));
    CAB_TRY(slot(w, s->params[0], &x));
    instr(w, (cab_plan_instr){ .op = CAB_I_SET, .a = sym, .b = x });
    follow(w, sym);
    return CAB_OK;
}

static cab_status check(cab_planner *w, const cab_step *s)
{
    cab_plan_check c = { .kind = CAB_C_LATE |
                                 (s->kind == CAB_STEP_CHECK_LE ? CAB_C_LE : CAB_C_EQ) };
    CAB_TRY(slot(w, s->params[0], &c.a));
    CAB_TRY(slot(w, s->params[1], &c.b));
    c.why = cab_scalars_text(&w->scalars, s->what);
    instr(w, (cab_plan_instr){ .op = CAB_I_CHECK, .a = (uint32_t)w->checks.n,
                               .d = cab_scalars_text(&w->scalars, s->loc) });
    cab_vec_push(w->arena, &w->checks, c);
    return CAB_OK;
}

/* ---- blocks ---- */
static void open_block(cab_planner *w, bool loop)
{
    cab_vec_push(w->arena, &w->open, ((cab_block){ .loop = loop, .first = now(w) }));
}

static void leave_later(cab_planner *w, cab_block *b)
{
    cab_vec_push(w->arena, &b->leave, now(w));
}

static cab_status branch_out(cab_planner *w, cab_block *b, const cab_dim *unless)
{
    cab_plan_instr x = { .op = CAB_I_BRANCH };
    CAB_TRY(slot(w, unless, &x.b));
    leave_later(w, b);
    instr(w, x);
    return CAB_OK;
}

static cab_status loop(cab_planner *w, const cab_step *s)
{
    cab_plan_instr x = { .op = CAB_I_LOOP };
    CAB_TRY(slot(w, s->sym, &x.a));
    CAB_TRY(slot(w, s->params[0], &x.b));
    open_block(w, true);
    instr(w, x);
    follow(w, x.a);
    return CAB_OK;
}

static cab_block *innermost_loop(cab_planner *w)
{
    size_t i = w->open.n - 1;
    while (!w->open.p[i].loop)
        i--;
    return &w->open.p[i];
}

/* What was alive before a loop and is used in it lives until its end. */
static void extend(cab_planner *w, uint32_t first)
{
    for (size_t i = 0; i < w->values.n; i++) {
        cab_plan_value *v = &w->values.p[i];
        if (v->first < first && v->last >= first)
            v->last = now(w);
    }
}

static void end_block(cab_planner *w)
{
    cab_block *b = &w->open.p[w->open.n - 1];
    if (b->loop) {
        extend(w, b->first);
        instr(w, (cab_plan_instr){ .op = CAB_I_NEXT, .a = w->instrs.p[b->first].a, .b = b->first });
        w->instrs.p[b->first].c = now(w);
    }
    for (size_t i = 0; i < b->leave.n; i++)
        w->instrs.p[b->leave.p[i]].a = now(w);
    w->open.n--;
}

/* From the end of the first branch to that of the second. */
static void else_block(cab_planner *w)
{
    cab_block *b = &w->open.p[w->open.n - 1];
    uint32_t over = now(w);
    instr(w, (cab_plan_instr){ .op = CAB_I_JUMP });
    w->instrs.p[b->leave.p[0]].a = now(w);
    b->leave.p[0] = over;
}

/* Two values that change places are alive together from first to last. */
static cab_status swap(cab_planner *w, const cab_step *s)
{
    uint32_t v[2];
    for (int i = 0; i < 2; i++) {
        CAB_TRY(cab_plan_value_of(w, s->args[i], &v[i]));
        cab_plan_touch(w, v[i]);
    }
    for (int i = 0; i < 2; i++)
        if (w->values.p[v[!i]].first < w->values.p[v[i]].first)
            w->values.p[v[i]].first = w->values.p[v[!i]].first;
    instr(w, (cab_plan_instr){ .op = CAB_I_SWAP, .a = v[0], .b = v[1] });
    return CAB_OK;
}

/* ---- lists ---- */
static uint32_t list_number(cab_step_kind k)
{
    const char *word = cab_flow_row_of(k)->word;
#define LIST(id, text, values, params, sets) if (!strcmp(word, text)) return CAB_L_##id;
    CAB_LISTS(LIST)
#undef LIST
    return CAB_PLAN_NONE;
}

static cab_status list(cab_planner *w, const cab_step *s)
{
    cab_plan_instr x = { .op = CAB_I_LIST, .a = list_number(s->kind),
                         .d = cab_scalars_text(&w->scalars, s->loc),
                         .e = cab_scalars_text(&w->scalars, s->what) };
    uint32_t v;
    if (s->kind == CAB_STEP_LIST_GET) {
        CAB_TRY(cab_plan_value_of(w, s->args[0], &v));
        w->values.p[v].cls = CAB_V_BORROWED;
        w->has_memory[s->args[0]] = 1;
    } else {
        CAB_TRY(cab_plan_alloc_first(w, s));
    }
    x.b = (uint32_t)w->words.n;
    cab_vec_push(w->arena, &w->words, (uint32_t)s->n_args);
    for (int i = 0; i < s->n_args; i++) {
        CAB_TRY(cab_plan_value_of(w, s->args[i], &v));
        cab_plan_touch(w, v);
        cab_vec_push(w->arena, &w->words, v);
    }
    cab_vec_push(w->arena, &w->words, (uint32_t)s->n_params);
    for (int i = 0; i < s->n_params; i++)
        CAB_TRY(cab_plan_slot_word(w, s->params[i]));
    if (s->sym)
        CAB_TRY(slot(w, s->sym, &x.c));
    instr(w, x);
    if (s->sym)
        follow(w, x.c);
    return CAB_OK;
}

cab_status cab_plan_flow(cab_planner *w, const cab_step *s)
{
    if (list_number(s->kind) != CAB_PLAN_NONE)
        return list(w, s);
    switch (s->kind) {
    case CAB_STEP_READ: return read_symbol(w, s);
    case CAB_STEP_SET: return set_symbol(w, s);
    case CAB_STEP_CHECK_EQ: case CAB_STEP_CHECK_LE: return check(w, s);
    case CAB_STEP_ALLOC: return alloc(w, host_of(w, s->args[0]), false);
    case CAB_STEP_GROW: return alloc(w, host_of(w, s->args[0]), true);
    case CAB_STEP_IF:
        open_block(w, false);
        return branch_out(w, &w->open.p[w->open.n - 1], s->params[0]);
    case CAB_STEP_ELSE: else_block(w); return CAB_OK;
    case CAB_STEP_LOOP: return loop(w, s);
    case CAB_STEP_BREAK: return branch_out(w, innermost_loop(w), s->params[0]);
    case CAB_STEP_END: end_block(w); return CAB_OK;
    case CAB_STEP_SWAP: return swap(w, s);
    default:
        return cab_fail(w->diag, CAB_EINTERNAL, NULL, "an unknown step");
    }
}

/* ---- at the end ---- */
static bool sets_slot_of(uint32_t list_op)
{
    static const bool sets_slot[CAB_L_COUNT] = {
#define LIST(id, text, values, params, sets) [CAB_L_##id] = sets,
        CAB_LISTS(LIST)
#undef LIST
    };
    return sets_slot[list_op];
}

static void renumber_instrs(cab_planner *w, const uint32_t *to, const uint32_t *next)
{
    for (size_t i = 0; i < w->instrs.n; i++) {
        cab_plan_instr *x = &w->instrs.p[i];
        switch (x->op) {
        case CAB_I_LAUNCH: x->c = to[x->c]; break;
        case CAB_I_SIZE_READ: x->a = to[x->a]; break;
        case CAB_I_EVAL_SHAPE:
            x->b = next[to[x->a]];
            x->a = to[x->a] + 1;
            break;
        case CAB_I_BRANCH: x->b = to[x->b]; break;
        case CAB_I_LOOP: case CAB_I_SET: x->b = to[x->b]; x->a = to[x->a]; break;
        case CAB_I_NEXT: x->a = to[x->a]; break;
        case CAB_I_LIST:
            if (sets_slot_of(x->a))
                x->c = to[x->c];
            break;
        default: break;
        }
    }
}

/* next[i]: the first symbol after slot i, or the number of slots. */
static const uint32_t *symbol_after(const cab_planner *w)
{
    uint32_t n = (uint32_t)w->scalars.slots.n, *next = CAB_NEW_N(w->arena, uint32_t, n + 1), at = n;
    for (uint32_t i = n; i-- > 0;) {
        next[i] = at;
        if (w->scalars.slots.p[i].op == CAB_S_SIZE_READ)
            at = i;
    }
    return next;
}

static void order_slots(cab_planner *w)
{
    const uint32_t *to = cab_scalars_order(&w->scalars);
    for (size_t i = 0; i < w->values.n; i++) {
        cab_plan_value *v = &w->values.p[i];
        for (int k = 0; k < v->rank; k++)
            v->dims[k] = to[v->dims[k]];
        v->slot_bytes = to[v->slot_bytes];
        if (v->cls == CAB_V_ALIAS || v->flags & CAB_V_GROWS)
            v->slot_offset = to[v->slot_offset];
    }
    for (size_t i = 0; i < w->checks.n; i++) {
        w->checks.p[i].a = to[w->checks.p[i].a];
        w->checks.p[i].b = to[w->checks.p[i].b];
    }
    for (size_t i = 0; i < w->slot_words.n; i++)
        w->words.p[w->slot_words.p[i]] = to[w->words.p[w->slot_words.p[i]]];
    renumber_instrs(w, to, symbol_after(w));
}

/* Values that are never alive together share a number: linear scan over the
 * instructions. */
static void share_memory(cab_planner *w)
{
    CAB_VEC(uint32_t) busy_until = { 0 };
    for (uint32_t now = 0; now <= w->instrs.n; now++)
        for (size_t i = 0; i < w->values.n; i++) {
            cab_plan_value *v = &w->values.p[i];
            size_t k = 0;
            if (v->cls != CAB_V_DYNAMIC || v->first != now)
                continue;
            while (k < busy_until.n && busy_until.p[k] >= now)
                k++;
            if (k == busy_until.n)
                cab_vec_push(w->arena, &busy_until, 0);
            busy_until.p[k] = v->last;
            v->index = (uint32_t)k;
        }
}

void cab_plan_finish_flow(cab_planner *w)
{
    bool dynamic = false;
    for (size_t i = 0; i < w->instrs.n; i++) {     /* once more: what came later may be longer */
        const cab_plan_instr *x = &w->instrs.p[i];
        if (x->op != CAB_I_SWAP)
            continue;
        cab_plan_value *a = &w->values.p[x->a], *b = &w->values.p[x->b];
        a->last = b->last = a->last > b->last ? a->last : b->last;
        a->first = b->first = a->first < b->first ? a->first : b->first;
    }
    for (size_t i = 0; i < w->values.n; i++)
        dynamic |= w->values.p[i].cls == CAB_V_DYNAMIC;
    if (dynamic)
        share_memory(w);
    order_slots(w);
}
