/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repository_build.c - versions that are built, who waits for them, and what came out.
 *
 * The child is child.c's, its queue control.c's.
 */
#include "serve/json/json_tree.h"
#include "serve/repository_int.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- what was promised ---- */

/* Whether a tensor is what was promised: every member that the promise has, an extent of -1 for any. */
static bool tensor_holds(const json_t *is, const json_t *promise)
{
    const char *name, *members[] = { "name", "datatype" };
    const json_t *want = json_object_get(promise, "shape"), *got = json_object_get(is, "shape");
    bool holds = true;
    for (int i = 0; i < 2; i++) {
        name = json_string_value(json_object_get(promise, members[i]));
        const char *have = json_string_value(json_object_get(is, members[i]));
        holds = holds && (!name || (have && !strcmp(name, have)));
    }
    holds = holds && (!want || json_array_size(want) == json_array_size(got));
    for (size_t i = 0; holds && want && i < json_array_size(want); i++) {
        json_int_t w = json_integer_value(json_array_get(want, i)), g = json_integer_value(json_array_get(got, i));
        holds = w < 0 || w == g;
    }
    return holds;
}

/* "x FP32 [-1,3]", what is said of a tensor. */
static void put_tensor(cab_bytes *b, const json_t *t)
{
    const char *name = json_string_value(json_object_get(t, "name")), *type = json_string_value(json_object_get(t, "datatype"));
    const json_t *shape = json_object_get(t, "shape");
    cab_bytes_printf(b, "%s%s%s", name ? name : "", name && type ? " " : "", type ? type : "");
    for (size_t i = 0; i < json_array_size(shape); i++)
        cab_bytes_printf(b, "%s%lld", i ? "," : " [", (long long)json_integer_value(json_array_get(shape, i)));
    cab_bytes_str(b, !shape ? "" : json_array_size(shape) ? "]" : " []");
}

static cab_status broken(const json_t *have, const json_t *want, const char *side, size_t i, cab_diag *d)
{
    cab_bytes b = { 0 };
    put_tensor(&b, have);
    cab_bytes_str(&b, ", the request says ");
    put_tensor(&b, want);
    cab_fail(d, CAB_EMODEL, NULL, "the model's %s are not what the request says they are: %zu. is %s", side, i + 1, cab_bytes_cstr(&b));
    cab_bytes_fini(&b);
    return CAB_EMODEL;
}

static cab_status side_holds(const json_t *is, const json_t *promise, const char *side, cab_diag *d)
{
    const json_t *want = json_object_get(promise, side), *have = json_object_get(is, side);
    if (want && json_array_size(want) != json_array_size(have))
        return cab_fail(d, CAB_EMODEL, NULL, "the model's %s are not what the request says they are: there are %zu, the request says %zu",
                        side, json_array_size(have), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++)
        if (!tensor_holds(json_array_get(have, i), json_array_get(want, i)))
            return broken(json_array_get(have, i), json_array_get(want, i), side, i, d);
    return CAB_OK;
}

cab_status cab_repository_holds(const char *io, const char *promise, cab_diag *d)
{
    json_t *is = NULL, *want = NULL;
    cab_status k = cab_json_read(io, "the model's interface", &is, d);
    k = k == CAB_OK ? cab_json_read(promise, "inputs and outputs", &want, d) : k;
    k = k == CAB_OK ? side_holds(is, want, "inputs", d) : k;
    k = k == CAB_OK ? side_holds(is, want, "outputs", d) : k;
    json_decref(is);
    json_decref(want);
    return k;
}

/* ---- what came out ---- */

/* ENOTFOUND: the registry has another model under that number by now, or none. */
static cab_status still_there(cab_service *s, const cab_building *b, cab_diag *d)
{
    cab_version_list l = { 0 };
    cab_status k = cab_registry_find(s->registry, b->name, b->version, &l, d);
    bool same = k == CAB_OK && !atomic_load(&b->unwanted) && cab_digest_equal(&l.v[0].model, &b->model);
    cab_version_list_fini(&l);
    if (same || (k != CAB_OK && k != CAB_ENOTFOUND))
        return k;
    cab_diag_clear(d);
    return cab_fail(d, CAB_ENOTFOUND, NULL, "version %lld of '%s' was removed while it was built", (long long)b->version, b->name);
}

static cab_status take_in(cab_service *s, cab_building *b, cab_diag *d)
{
    const char *io = cab_bytes_cstr(&b->result.io);
    CAB_TRY(b->status);
    if (b->promise)
        CAB_TRY(cab_repository_holds(io, b->promise, d));
    cab_change c;
    CAB_TRY(cab_repository_begin(s, b->name, &c, d));
    c.built = b->version;
    cab_status k = cab_registry_set_built(s->registry, b->name, b->version, &b->result.artifact, io, d);
    return cab_repository_end(s, &c, k, NULL, d);
}

/* A version that was ready leaves its place to others; a successor gives up instead: its predecessor serves it. */
static void record_failure(cab_service *s, cab_building *b, cab_status k)
{
    const cab_diag_entry *e = cab_diag_first(&b->diag);
    if (b->heals && cab_repository_succeeds(s))
        return;
    cab_registry_set_state(s->registry, b->name, b->version, CAB_FAILED, e ? e->text : cab_status_text(k), NULL);
    if (b->heals)
        cab_repository_apply(s, b->name, NULL);
}

static void record(cab_service *s, cab_building *b, cab_status k)
{
    if (k == CAB_OK)
        atomic_fetch_add(&s->builds_done, 1);
    else if (k != CAB_ECANCELLED)
        atomic_fetch_add(&s->builds_failed, 1);
    if (k == CAB_OK) {
        cab_journal_model(s->journal, "info", "built", b->name, b->version, "in %.2f s", b->result.seconds);
    } else if (k != CAB_ECANCELLED) {  /* else the next server, or a successor, builds what it finds being built */
        record_failure(s, b, k);
        cab_journal_model_diag(s->journal, "build failed", b->name, b->version, &b->diag);
    }
}

static cab_status answer_built(cab_service *s, cab_building *b, const cab_waiter *w, cab_diag *d)
{
    cab_exchange *x = w->x;
    if (w->promise)
        CAB_TRY(cab_repository_holds(cab_bytes_cstr(&b->result.io), w->promise, d));
    if (x->user) {                     /* a load, which says nothing */
        cab_exchange_done(x);
        return CAB_OK;
    }
    CAB_TRY(cab_repository_describe(s, b->name, b->version, &x->out, d));
    x->status = 201;
    x->type = "application/json";
    cab_exchange_answer(x);
    return CAB_OK;
}

static void answer_all(cab_service *s, cab_building *b, cab_status k)
{
    for (cab_waiter *w = b->waiters, *next; w; w = next) {
        cab_diag own;
        next = w->next;                /* it lies in what is answered */
        cab_diag_init(&own);
        if (k != CAB_OK)
            cab_exchange_fail(w->x, &b->diag);
        else if (answer_built(s, b, w, &own) != CAB_OK)
            cab_exchange_fail(w->x, &own);
        cab_diag_fini(&own);
    }
}

static void finish_build(cab_service *s, cab_building *b)
{
    cab_diag *d = &b->diag;
    cab_diag missing;
    cab_diag_init(&missing);
    cab_status k = still_there(s, b, &missing);
    if (k == CAB_ENOTFOUND) {
        cab_journal_model(s->journal, "info", "built in vain", b->name, b->version, "it was removed meanwhile");
        cab_diag_fini(d);
        *d = missing;
    } else {
        cab_diag_fini(&missing);
        k = take_in(s, b, d);
        record(s, b, k);
    }
    answer_all(s, b, k);
    cab_build_result_fini(&b->result);
    cab_diag_fini(d);
    free(b->promise);
    free(b);
}

/* ---- beginning ---- */

/* x waits for b. */
static cab_status join(cab_building *b, cab_exchange *x, const char *promise, cab_diag *d)
{
    cab_waiter *w = x ? cab_pieces_zero(&x->mem, 1, sizeof *w) : NULL;
    if (!x)
        return CAB_OK;
    if (w)
        w->promise = promise ? cab_pieces_text(&x->mem, cab_slice_of(promise)) : NULL;
    if (!w || (promise && !w->promise))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    w->x = x;
    w->next = b->waiters;
    b->waiters = w;
    return CAB_OK;
}

static void free_building(cab_building *b)
{
    free(b ? b->promise : NULL);
    free(b);
}

static cab_status begin_build(cab_service *s, const cab_version_info *v, const char *promise, cab_exchange *x, cab_diag *d)
{
    cab_building *b = calloc(1, sizeof *b);
    if (!b || (v->promise && !(b->promise = strdup(v->promise)))) {
        free_building(b);
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    b->version = v->version;
    b->model = v->model;
    b->built = finish_build;
    b->heals = v->state == CAB_READY;  /* and stays that: whoever is killed now finds it as it was */
    snprintf(b->name, sizeof b->name, "%s", v->name);
    cab_status k = join(b, x, promise, d);
    if (k == CAB_OK && !b->heals)
        k = cab_registry_set_state(s->registry, b->name, b->version, CAB_BUILDING, NULL, d);
    if (k != CAB_OK) {
        free_building(b);
        return k;
    }
    cab_diag_init(&b->diag);
    if (b->heals && cab_repository_succeeds(s))
        cab_control_build_now(s->control, b);
    else
        cab_control_build(s->control, b);
    return CAB_OK;
}

cab_status cab_repository_build(cab_service *s, const cab_version_info *v, const char *promise, cab_exchange *x, cab_diag *d)
{
    cab_building *b = cab_control_building(s->control, v->name, v->version, &v->model);
    if (b)
        return join(b, x, promise, d);
    if (v->state != CAB_BUILDING || !s->preceded)      /* else it was begun, and its end could not be written */
        return begin_build(s, v, promise, x, d);
    return !x ? CAB_OK : cab_fail(d, CAB_ECANCELLED, NULL, "the server that this one replaces is building version %lld of '%s': "
                                  "ask again", (long long)v->version, v->name);
}

/* ---- what nobody has built ---- */

/* Those of one page of the registry's answer; *q goes on behind them, *last keeps its name.  False: that was the end. */
static bool build_page(cab_service *s, cab_query *q, char last[CAB_NAME_BYTES], cab_diag *d)
{
    cab_version_list l = { 0 };
    bool more = cab_registry_discover(s->registry, q, &l, d) == CAB_OK && l.n;
    for (size_t i = 0; i < l.n; i++)
        if (l.v[i].has_model && !cab_control_building(s->control, l.v[i].name, l.v[i].version, &l.v[i].model))
            begin_build(s, &l.v[i], NULL, NULL, d);
    if (more) {
        snprintf(last, CAB_NAME_BYTES, "%s", l.v[l.n - 1].name);
        q->after_name = last;
        q->after_version = l.v[l.n - 1].version;
    }
    cab_version_list_fini(&l);
    return more;
}

void cab_repository_build_all(cab_service *s, cab_version_state state, cab_diag *d)
{
    char last[CAB_NAME_BYTES];
    cab_query q = { .state = 1 + (int)state };
    while (build_page(s, &q, last, d))
        ;
}
