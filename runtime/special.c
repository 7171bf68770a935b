/* SPDX-License-Identifier: Apache-2.0 */
/*
 * special.c - plans that serve some sizes of a model, beside its own, which
 * serves all.
 *
 * Each is a cab_model of its own, with the plan, the code and nothing else of
 * the same file, or (attached later, by libcab) of another.  The list may
 * change while sessions run: they take what is new before their next run
 * (session_pick.c) and hold what they have until then.
 */
#include "runtime/runtime_int.h"
#include <stdio.h>
#include <string.h>

/* ---- does one serve some sizes of the other? ---- */

static bool same_value(const cab_plan *p, uint32_t v, const cab_plan *q, uint32_t w)
{
    const cab_plan_value *a = &p->values[v], *b = &q->values[w];
    return a->kind == b->kind && a->dtype == b->dtype && a->rank == b->rank &&
           !strcmp(cab_plan_text(p, a->name), cab_plan_text(q, b->name));
}

/* Extents of input i; false when the special plan wants others than the plan. */
static bool bound(const cab_plan *p, const cab_plan *s, uint32_t i, cab_extent_is *out,
                  uint32_t cap, uint32_t *n)
{
    const cab_plan_value *a = &p->values[p->inputs[i]], *b = &s->values[s->inputs[i]];
    if (b->flags & CAB_V_FIXED && !(a->flags & CAB_V_FIXED))
        return false;
    for (uint32_t k = 0; k < a->rank; k++) {
        const cab_plan_scalar *open = &p->scalars[a->dims[k]], *is = &s->scalars[b->dims[k]];
        if (open->op == CAB_S_CONST && (is->op != CAB_S_CONST || is->imm != open->imm))
            return false;
        if (open->op == CAB_S_CONST || is->op != CAB_S_CONST)
            continue;
        if (*n < cap)
            out[*n] = (cab_extent_is){ i, k, is->imm };
        ++*n;
    }
    return true;
}

cab_status cab_sized_check(const cab_plan *plan, const cab_plan *special, cab_extent_is *out,
                             uint32_t cap, uint32_t *out_n, cab_error *e)
{
    const cab_plan_header *a = plan->header, *b = special->header;
    bool ok = a->n_inputs == b->n_inputs && a->n_outputs == b->n_outputs &&
              !memcmp(a->model_hash, b->model_hash, sizeof a->model_hash);
    *out_n = 0;
    for (uint32_t i = 0; ok && i < a->n_inputs; i++)
        ok = same_value(plan, plan->inputs[i], special, special->inputs[i]) &&
             bound(plan, special, i, out, cap, out_n);
    for (uint32_t i = 0; ok && i < a->n_outputs; i++)
        ok = same_value(plan, plan->outputs[i], special, special->outputs[i]);
    if (ok && *out_n)
        return CAB_OK;
    return (cab_status)cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: section plan: one that is for "
                                   "certain sizes does not belong to the one for all");
}

const char *cab_sized_label(const cab_plan *plan, const cab_extent_is *is, uint32_t n_is,
                              char *buf, size_t n)
{
    size_t at = 0;
    buf[0] = 0;
    for (uint32_t i = 0; i < n_is && at < n; i++) {
        const cab_plan_value *v = &plan->values[plan->inputs[is[i].input]];
        uint32_t slot = v->dims[is[i].axis];
        const char *name = cab_plan_text(plan, plan->scalars[slot].name);
        bool said = false;             /* by an earlier extent of the same symbol */
        for (uint32_t k = 0; k < i && !said; k++)
            said = plan->values[plan->inputs[is[k].input]].dims[is[k].axis] == slot;
        if (said)
            continue;
        const char *comma = at ? ", " : "";
        int more = *name ? snprintf(buf + at, n - at, "%s%s=%lld", comma, name, (long long)is[i].value)
                         : snprintf(buf + at, n - at, "%s%s.%u=%lld", comma,
                                    cab_plan_text(plan, v->name), is[i].axis, (long long)is[i].value);
        at += more > 0 ? (size_t)more : 0;
    }
    return buf;
}

/* ---- the list of a model ---- */

static int make_list(cab_model *m, cab_error *e)
{
    if (m->specials)
        return CAB_OK;
    m->specials = cab_rt_alloc_zero(&m->alloc, 1, sizeof *m->specials);
    if (!m->specials)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    pthread_mutex_init(&m->specials->lock, NULL);
    m->label = "all sizes";
    return CAB_OK;
}

/* The sizes that special serves, and its label behind them. */
static int describe(const cab_model *m, cab_model *special, cab_error *e)
{
    enum { TEXT = 160 };
    uint32_t n;
    CAB_TRY(cab_sized_check(&m->plan, &special->plan, NULL, 0, &n, e));
    size_t bytes = n * sizeof *special->is;
    special->is = cab_rt_alloc(&special->alloc, bytes + TEXT, 16);
    if (!special->is)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    CAB_TRY(cab_sized_check(&m->plan, &special->plan, special->is, n, &special->n_is, e));
    special->label = cab_sized_label(&m->plan, special->is, n, (char *)special->is + bytes, TEXT);
    return CAB_OK;
}

int cab_sized_add(cab_model *m, cab_model *special, cab_error *e)
{
    CAB_TRY((cab_status)make_list(m, e));
    if (m->specials->n == CAB_SPECIAL_LIMIT)
        return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: more than %d plans for certain sizes",
                           CAB_SPECIAL_LIMIT);
    CAB_TRY((cab_status)describe(m, special, e));
    m->specials->list[m->specials->n++] = special;
    m->specials->n_own++;
    atomic_fetch_add(&m->specials->changes, 1);
    return CAB_OK;
}

uint32_t cab_model_special_count(const cab_model *m)
{
    struct cab_specials *l = m->specials;
    if (!l)
        return 0;
    pthread_mutex_lock(&l->lock);
    uint32_t n = l->n;
    pthread_mutex_unlock(&l->lock);
    return n;
}

/* ---- what comes later ---- */

int cab_model_watch(cab_model *m, const cab_watch *w, cab_error *e)
{
    CAB_TRY((cab_status)make_list(m, e));
    m->specials->watch = *w;
    return CAB_OK;
}

static bool served(const struct cab_specials *l, const cab_model *m)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->list[i]->n_is == m->n_is &&
            !memcmp(l->list[i]->is, m->is, m->n_is * sizeof *m->is))
            return true;
    return false;
}

/* The attached one that was not run for longest, out of the list. */
static cab_model *take_oldest(struct cab_specials *l)
{
    uint32_t at = l->n_own;
    for (uint32_t i = at + 1; i < l->n; i++)
        if (atomic_load_explicit(&l->list[i]->used, memory_order_relaxed) <
            atomic_load_explicit(&l->list[at]->used, memory_order_relaxed))
            at = i;
    cab_model *oldest = l->list[at];
    memmove(&l->list[at], &l->list[at + 1], (--l->n - at) * sizeof *l->list);
    return oldest;
}

int cab_model_attach(cab_model *m, cab_model *special, uint32_t most, cab_error *e)
{
    struct cab_specials *l = m->specials;
    cab_model *gone[CAB_SPECIAL_LIMIT];
    uint32_t n_gone = 0;
    if (!l || !most || memcmp(&m->alloc, &special->alloc, sizeof m->alloc))
        return cab_rt_fail(e, CAB_EINVAL, "a plan for certain sizes cannot be attached here");
    CAB_TRY((cab_status)describe(m, special, e));
    atomic_store(&special->used, cab_now_ns());
    pthread_mutex_lock(&l->lock);
    bool again = served(l, special);
    while (!again && l->n > l->n_own && (l->n - l->n_own >= most || l->n == CAB_SPECIAL_LIMIT))
        gone[n_gone++] = take_oldest(l);
    bool room = again || l->n < CAB_SPECIAL_LIMIT;
    if (again)
        gone[n_gone++] = special;
    else if (room)
        l->list[l->n++] = special;
    atomic_fetch_add(&l->changes, 1);
    pthread_mutex_unlock(&l->lock);
    while (n_gone)
        cab_model_destroy(gone[--n_gone]);
    return room ? CAB_OK : cab_rt_fail(e, CAB_ELIMIT, "no room for a plan for certain sizes");
}

void cab_sized_drop(cab_model *m)
{
    struct cab_specials *l = m->specials;
    cab_rt_free(&m->alloc, m->is);
    if (!l)
        return;
    if (l->watch.gone)
        l->watch.gone(l->watch.user);
    for (uint32_t i = 0; i < l->n; i++)
        cab_model_destroy(l->list[i]);
    pthread_mutex_destroy(&l->lock);
    cab_rt_free(&m->alloc, l);
}
