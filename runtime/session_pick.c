/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_pick.c - one session of a model that has a plan for all sizes and
 * others for certain ones: each run takes the plan made for its extents.
 *
 * Behind the caller's session stands one more per plan that was picked, made
 * when it is first picked.  What outlives a run is the caller's session's and
 * is lent to them: the memory of outputs (which the next run may read, whatever
 * plan it takes), the arena, cancelling and deadlines.  A plan the model has
 * given up is let go before the next run, never during one.
 */
#include "runtime/session_int.h"
#include <string.h>

typedef struct picked {
    cab_model *model;          /* held */
    cab_session *session;      /* NULL until it is picked */
} picked;

struct cab_pick {
    unsigned changes;          /* of the model's list, when it was read */
    uint32_t n;
    picked at[CAB_SPECIAL_LIMIT];
    const cab_session *ran;
    uint64_t allocations;      /* for this, and of sessions that are gone */
};

/* ---- sessions behind a session ---- */

/* They use the tables of outputs of their owner. */
static void share_outputs(cab_session *s, const cab_session *owner)
{
    s->out_mem = owner ? owner->out_mem : NULL;
    s->out_cap = owner ? owner->out_cap : NULL;
    s->spare_mem = owner ? owner->spare_mem : NULL;
    s->spare_cap = owner ? owner->spare_cap : NULL;
}

/* NULL: no memory. */
static cab_session *make_session(cab_session *owner, cab_model *m)
{
    cab_session *s;
    cab_session_options o = owner->options;
    o.size = sizeof o;
    if (cab_session_create(m, &o, &s, NULL) != CAB_OK)
        return NULL;
    void *own[] = { s->out_mem, s->out_cap, s->spare_mem, s->spare_cap };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        cab_session_free(s, own[i]);
    share_outputs(s, owner);
    s->owner = owner;
    return s;
}

static void let_go(cab_session *owner, picked *p)
{
    if (p->session) {
        owner->pick->allocations += p->session->allocations;
        share_outputs(p->session, NULL);
        cab_session_destroy(p->session);
    }
    cab_model_destroy(p->model);
}

/* ---- the model's list, as of now ---- */

static cab_session *session_of(const picked *old, uint32_t n, const cab_model *m)
{
    for (uint32_t i = 0; i < n; i++)
        if (old[i].model == m)
            return old[i].session;
    return NULL;
}

static void read_list(cab_session *s)
{
    struct cab_pick *k = s->pick;
    struct cab_specials *l = s->model->specials;
    picked old[CAB_SPECIAL_LIMIT];
    uint32_t n = k->n;
    memcpy(old, k->at, n * sizeof *old);
    pthread_mutex_lock(&l->lock);
    k->changes = atomic_load(&l->changes);
    k->n = l->n;
    for (uint32_t i = 0; i < l->n; i++) {
        k->at[i] = (picked){ l->list[i], session_of(old, n, l->list[i]) };
        cab_model_retain(l->list[i]);
    }
    pthread_mutex_unlock(&l->lock);
    k->ran = s;
    for (uint32_t i = 0; i < n; i++) {
        if (session_of(k->at, k->n, old[i].model))
            old[i].session = NULL;     /* it has moved */
        let_go(s, &old[i]);
    }
}

/* False: no memory for it. */
static bool up_to_date(cab_session *s)
{
    if (!s->pick) {
        s->pick = cab_rt_alloc_zero(&s->model->alloc, 1, sizeof *s->pick);
        if (!s->pick)
            return false;
        s->pick->allocations = 1;
        s->pick->ran = s;
    }
    if (s->pick->changes != atomic_load_explicit(&s->model->specials->changes, memory_order_acquire))
        read_list(s);
    return true;
}

/* ---- picking ---- */

static bool serves(const cab_model *m, const cab_tensor_view *inputs)
{
    for (uint32_t i = 0; i < m->n_is; i++)
        if (inputs[m->is[i].input].dims[m->is[i].axis] != m->is[i].value)
            return false;
    return true;
}

/* The plan with most constants of those that serve these sizes. */
static picked *best(struct cab_pick *k, const cab_tensor_view *inputs)
{
    picked *best = NULL;
    for (uint32_t i = 0; i < k->n; i++)
        if ((!best || k->at[i].model->n_is > best->model->n_is) && serves(k->at[i].model, inputs))
            best = &k->at[i];
    return best;
}

/* s itself when no plan is for these sizes, or no memory is left for another. */
static cab_session *pick(cab_session *s, const cab_tensor_view *inputs)
{
    if (s->states || !up_to_date(s))   /* states belong to one plan */
        return s;
    picked *p = best(s->pick, inputs);
    if (p && !p->session)
        p->session = make_session(s, p->model);
    return p && p->session ? p->session : s;
}

static void move_arena(cab_session *from, cab_session *to)
{
    if (from == to)
        return;
    to->arena = from->arena;
    to->arena_bytes = from->arena_bytes;
    from->arena = NULL;
    from->arena_bytes = 0;
}

static int run_one(cab_session *s, cab_session *on, const cab_tensor_view *inputs,
                   cab_tensor_view *outputs, cab_error *e)
{
    const cab_watch *w = &s->model->specials->watch;
    if (s->pick)
        s->pick->ran = on;
    if (w->missed && on != s)
        atomic_store_explicit(&on->model->used, cab_now_ns(), memory_order_relaxed);
    move_arena(s, on);
    int rc = cab_session_run_plan(on, inputs, outputs, e);
    move_arena(on, s);
    if (w->missed && on == s && rc == CAB_OK)
        w->missed(w->user, inputs);
    return rc;
}

int cab_session_run(cab_session *s, const cab_tensor_view *inputs, cab_tensor_view *outputs,
                    cab_error *e)
{
    atomic_store(&s->cancel, 0);
    if (!s->model->specials)
        return cab_session_run_plan(s, inputs, outputs, e);
    return run_one(s, pick(s, inputs), inputs, outputs, e);
}

int cab_session_estimate(cab_session *s, const cab_tensor_view *inputs, cab_memory *out,
                         cab_error *e)
{
    cab_session *on = s->model->specials ? pick(s, inputs) : s;
    return cab_session_estimate_plan(on, inputs, out, e);
}

/* ---- for the calls about a session ---- */

const cab_session *cab_session_ran(const cab_session *s) { return s->pick ? s->pick->ran : s; }

uint64_t cab_pick_allocations(const cab_session *s)
{
    if (!s->pick)
        return 0;
    uint64_t n = s->pick->allocations;
    for (uint32_t i = 0; i < s->pick->n; i++)
        n += s->pick->at[i].session ? s->pick->at[i].session->allocations : 0;
    return n;
}

void cab_pick_fini(cab_session *s)
{
    for (uint32_t i = 0; s->pick && i < s->pick->n; i++)
        let_go(s, &s->pick->at[i]);
    cab_rt_free(&s->model->alloc, s->pick);
}
