/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repository.c - from what is registered to what is loaded.
 *
 * What loads is served, whatever else does not.  A change is made in the registry, what it wants is loaded, and then
 * it becomes durable: one that cannot be made true is taken back.
 */
#include "base/log.h"
#include "serve/repository_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cab_status no_memory(cab_diag *d) { return cab_fail(d, CAB_ENOMEM, NULL, "out of memory"); }

/* ---- what is wanted ---- */

static void set_fini(cab_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        cab_resident_unref(set->item[i].loaded);
        cab_diag_fini(&set->item[i].why);
    }
    free(set->item);
    cab_model_list_fini(&set->model);
    *set = (cab_set){ 0 };
}

static const cab_item *item_of(const cab_set *set, int64_t version)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->item[i].version == version)
            return &set->item[i];
    return NULL;
}

static void add_item(cab_set *set, int64_t version, bool chosen)
{
    cab_item *i = &set->item[set->n++];
    *i = (cab_item){ .version = version, .chosen = chosen };
    cab_diag_init(&i->why);
}

/* Those of the labels that are ready. */
static cab_status add_labelled(cab_service *s, cab_set *set, cab_diag *d)
{
    const cab_model_info *m = &set->model.m[0];
    for (size_t i = 0; i < m->n_labels; i++) {
        cab_version_list l = { 0 };
        if (item_of(set, m->labels[i].version))
            continue;
        CAB_TRY(cab_registry_find(s->registry, m->name, m->labels[i].version, &l, d));
        if (l.v[0].state == CAB_READY)
            add_item(set, m->labels[i].version, false);
        cab_version_list_fini(&l);
    }
    return CAB_OK;
}

/* 0: none is ready. */
static cab_status read_latest(cab_service *s, const char *model, int64_t *latest, cab_diag *d)
{
    cab_diag own;
    cab_diag_init(&own);
    *latest = 0;
    cab_status k = cab_registry_resolve(s->registry, model, NULL, latest, &own);
    cab_diag_fini(&own);
    return k == CAB_OK || k == CAB_ENOTFOUND ? CAB_OK : cab_fail(d, k, NULL, "cannot tell the newest version of '%s'", model);
}

/* Whether the model is wanted at all is not asked here. */
static cab_status set_read(cab_service *s, const char *model, cab_set *set, cab_diag *d)
{
    int64_t *chosen = NULL;
    size_t n = 0;
    *set = (cab_set){ 0 };
    CAB_TRY(cab_registry_models(s->registry, model, &set->model, d));
    cab_status k = cab_registry_chosen(s->registry, model, &chosen, &n, d);
    if (k == CAB_OK && !(set->item = calloc(n + set->model.m[0].n_labels + 1, sizeof *set->item)))
        k = no_memory(d);
    for (size_t i = 0; k == CAB_OK && i < n; i++)
        add_item(set, chosen[i], true);
    free(chosen);
    k = k == CAB_OK ? add_labelled(s, set, d) : k;
    k = k == CAB_OK ? read_latest(s, model, &set->latest, d) : k;
    if (k != CAB_OK)
        set_fini(set);
    return k;
}

/* ---- what is loaded ---- */

/* What is loaded of that version already, with a reference; or NULL. */
static cab_resident *keep(cab_resident **all, int n, int64_t version)
{
    for (int i = 0; i < n; i++)
        if (all[i]->version == version) {
            cab_resident_ref(all[i]);
            return all[i];
        }
    return NULL;
}

static void load_item(cab_service *s, const char *model, cab_item *i, const char *config)
{
    cab_version_list l = { 0 };
    cab_status k = cab_registry_find(s->registry, model, i->version, &l, &i->why);
    k = k == CAB_OK ? cab_repository_load(s, &l.v[0], config, &i->loaded, &i->why) : k;
    i->heals = k == CAB_EARTIFACT && l.v[0].has_model && !l.v[0].artifact_given;
    cab_version_list_fini(&l);
}

static cab_status set_load(cab_service *s, cab_set *set, const char *afresh, cab_diag *d)
{
    cab_resident **all;
    const cab_model_info *m = &set->model.m[0];
    int n = cab_catalog_list(s->catalog, m->name, &all);
    for (size_t i = 0; n >= 0 && m->wanted && i < set->n; i++) {
        cab_item *one = &set->item[i];
        one->loaded = afresh ? NULL : keep(all, n, one->version);
        if (!one->loaded)
            load_item(s, m->name, one, afresh);
    }
    cab_catalog_let_go(all, n);
    return n < 0 ? no_memory(d) : CAB_OK;
}

/* The newest that the policy and the pin allow, of what is loaded; never one that only a label names. */
static int64_t latest_loaded(const cab_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->item[i].chosen && set->item[i].loaded && set->item[i].version <= set->latest)
            return set->item[i].version;
    return 0;
}

/* The catalog takes over the references. */
static cab_status set_publish(cab_service *s, cab_set *set, cab_diag *d)
{
    const cab_model_info *m = &set->model.m[0];
    int64_t latest = latest_loaded(set);
    cab_name *labels = calloc(m->n_labels + 1, sizeof *labels);
    cab_resident **loaded = calloc(set->n + 1, sizeof *loaded);
    int n = 0;
    for (size_t i = 0; labels && i < m->n_labels; i++) {
        snprintf(labels[i].name, sizeof labels[i].name, "%s", m->labels[i].label);
        labels[i].version = m->labels[i].version;
    }
    for (size_t i = 0; loaded && i < set->n; i++)
        if (set->item[i].loaded)
            loaded[n++] = set->item[i].loaded;
    bool done = labels && loaded && cab_catalog_set(s->catalog, m->name, loaded, n, latest, labels, (int)m->n_labels);
    if (done)
        cab_obstacles_note(s, m->name, set);
    for (size_t i = 0; done && i < set->n; i++)
        set->item[i].loaded = NULL;
    free(labels);
    free(loaded);
    return done ? CAB_OK : no_memory(d);
}

static cab_status apply(cab_service *s, const char *model, cab_diag *d)
{
    cab_set set;
    CAB_TRY(set_read(s, model, &set, d));
    cab_status k = set_load(s, &set, NULL, d);
    k = k == CAB_OK ? set_publish(s, &set, d) : k;
    set_fini(&set);
    return k;
}

cab_status cab_repository_apply(cab_service *s, const char *model, cab_diag *d)
{
    cab_status k = apply(s, model, d);
    cab_obstacles_heal(s);
    return k;
}

/* ---- changes ---- */

cab_status cab_repository_begin(cab_service *s, const char *model, cab_change *c, cab_diag *d)
{
    *c = (cab_change){ .model = model, .before = calloc(1, sizeof *c->before) };
    cab_status k = c->before ? cab_registry_hold(s->registry, d) : no_memory(d);
    if (k == CAB_OK && (k = set_read(s, model, c->before, d)) != CAB_OK)
        cab_registry_settle(s->registry, k, NULL);
    if (k != CAB_OK)
        free(c->before);
    return k;
}

bool cab_repository_has(cab_service *s, const char *model, int64_t version)
{
    cab_resident *l;
    char number[24];
    int n = snprintf(number, sizeof number, "%lld", (long long)version);
    bool there = cab_catalog_get(s->catalog, cab_slice_of(model), (cab_slice){ number, (size_t)n }, &l) == CAB_FOUND;
    cab_resident_unref(l);
    return there;
}

static bool answers(cab_service *s, const char *model)
{
    cab_resident *l;
    bool there = cab_catalog_get(s->catalog, cab_slice_of(model), CAB_SLICE(""), &l) == CAB_FOUND;
    cab_resident_unref(l);
    return there;
}

/* A version that does not load, which the change would lose, bring in or put first, or all that it would leave.  Who only
 * wants to be served takes what there is. */
static const cab_item *breaks(cab_service *s, const cab_change *c, const cab_set *set)
{
    for (size_t i = 0; set->model.m[0].wanted && i < set->n; i++) {
        const cab_item *one = &set->item[i];
        bool lost = cab_repository_has(s, c->model, one->version), brought = !item_of(c->before, one->version) ||
                    (one->version == set->latest && c->before->latest != set->latest);
        if (!one->loaded && (c->built ? one->version == c->built : lost || (brought && !c->must_serve)))
            return one;
    }
    bool silent = set->model.m[0].wanted && !c->built && !latest_loaded(set) && answers(s, c->model);
    for (size_t i = 0; silent && i < set->n; i++)
        if (set->item[i].chosen && !set->item[i].loaded)
            return &set->item[i];
    return NULL;
}

/* What came of the newest version, when none is ready. */
static cab_status none_ready(cab_service *s, const char *model, cab_diag *d)
{
    cab_version_list l = { 0 };
    const cab_query q = { .name = model };
    CAB_TRY(cab_registry_discover(s->registry, &q, &l, d));
    const cab_version_info *v = l.n ? &l.v[l.n - 1] : NULL;
    cab_status k = !v ? cab_fail(d, CAB_EMODEL, NULL, "'%s' has no versions", model)
                 : v->state == CAB_FAILED ? cab_fail(d, CAB_EMODEL, NULL, "no version of '%s' is ready; version %lld failed: %s", model,
                                                     (long long)v->version, v->reason)
                 : cab_fail(d, CAB_ECANCELLED, NULL, "no version of '%s' is ready; version %lld is being built: ask again", model,
                            (long long)v->version);
    cab_version_list_fini(&l);
    return k;
}

/* The newest that does not load though nothing else does, for who wants to be served; *none: nothing is even ready. */
static const cab_item *serves_nothing(const cab_set *set, bool *none)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->item[i].loaded)
            return NULL;
    *none = !set->n;
    return set->n ? &set->item[0] : NULL;
}

/* Why the change was taken back. */
static cab_status refuse(cab_service *s, const cab_change *c, const cab_item *bad, cab_diag *d)
{
    const cab_diag_entry *e = cab_diag_first(&bad->why);
    if (!e)
        return no_memory(d);
    if (bad->heals && !c->built && cab_repository_heal_one(s, c->model, bad->version))
        return cab_fail(d, CAB_ECANCELLED, NULL, "%s; nothing was changed, and it is being built again: ask again", e->text);
    cab_fail(d, e->code, NULL, "%s", e->text);
    for (int i = 0; i < e->n_notes; i++)
        cab_note(d, "%s", e->notes[i]);
    return e->code;
}

cab_status cab_repository_end(cab_service *s, cab_change *c, cab_status k, const char *afresh, cab_diag *d)
{
    cab_set set = { 0 };
    const cab_item *bad = NULL;
    bool none = false;
    k = k == CAB_OK ? set_read(s, c->model, &set, d) : k;
    k = k == CAB_OK ? set_load(s, &set, afresh, d) : k;
    if (k == CAB_OK && !(bad = breaks(s, c, &set)) && c->must_serve)
        bad = serves_nothing(&set, &none);
    if (bad || none)
        cab_registry_settle(s->registry, CAB_ECANCELLED, NULL);
    else
        k = cab_registry_settle(s->registry, k, d);
    if (bad || none)
        k = bad ? refuse(s, c, bad, d) : none_ready(s, c->model, d);
    else if (k == CAB_OK)
        k = set_publish(s, &set, d);
    set_fini(&set);
    set_fini(c->before);
    free(c->before);
    cab_obstacles_heal(s);
    return k;
}

/* ---- garbage ---- */

void cab_repository_sweep(cab_service *s)
{
    enum { AGE_S = 3600, SHARE = 20 };         /* a twentieth of the time, at most */
    cab_blobs_swept swept;
    cab_diag d;
    int64_t began = cab_now_ns();
    if (s->preceded || atomic_load(&s->successor) > 0 || began < s->sweep_ns)
        return;
    cab_diag_init(&d);
    if (cab_registry_collect(s->registry, AGE_S, &swept, &d) == CAB_OK && swept.removed)
        cab_journal_say(s->journal, "info", "swept", "%llu stored files, %llu bytes, that no version names", (unsigned long long)swept.removed,
                        (unsigned long long)swept.removed_bytes);
    cab_journal_diag(s->journal, "sweep failed", &d);
    cab_diag_fini(&d);
    s->sweep_ns = cab_now_ns() + SHARE * (cab_now_ns() - began);
}

static void sweep_task(cab_service *s, cab_task *t)
{
    free(t);
    cab_repository_sweep(s);
}

/* Behind what is under way. */
static void sweep_later(cab_service *s)
{
    cab_task *t = calloc(1, sizeof *t);
    if (!t)
        return;
    t->run = sweep_task;
    cab_control_post(s->control, t);
}

/* ---- all models ---- */

bool cab_repository_start(cab_service *s, bool alone)
{
    cab_model_list l = { 0 };
    cab_diag d;
    cab_diag_init(&d);
    bool fine = cab_registry_models(s->registry, NULL, &l, &d) == CAB_OK;
    for (size_t i = 0; i < l.n; i++) {
        cab_diag own;
        cab_diag_init(&own);
        fine = apply(s, l.m[i].name, &own) == CAB_OK && fine;
        cab_journal_model_diag(s->journal, "load failed", l.m[i].name, 0, &own);
        cab_diag_fini(&own);
    }
    cab_model_list_fini(&l);
    cab_obstacles_heal(s);
    fine = fine && !s->obstacles;
    cab_repository_build_all(s, CAB_REGISTERED, &d);
    if (alone) {
        cab_repository_build_all(s, CAB_BUILDING, &d);
        sweep_later(s);
    }
    cab_journal_diag(s->journal, "load failed", &d);
    cab_diag_fini(&d);
    return fine;
}

cab_status cab_repository_forget(cab_service *s, const char *model, cab_diag *d)
{
    if (!cab_catalog_set(s->catalog, model, NULL, 0, 0, NULL, 0))
        return no_memory(d);
    cab_obstacles_note(s, model, NULL);
    return CAB_OK;
}

void cab_repository_stop(cab_service *s)
{
    cab_resident **all;
    int n = cab_catalog_list(s->catalog, NULL, &all);
    for (int i = 0; i < n; i++)
        cab_catalog_set(s->catalog, all[i]->name, NULL, 0, 0, NULL, 0);
    cab_catalog_let_go(all, n);
}
