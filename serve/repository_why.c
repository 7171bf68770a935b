/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repository_why.c - what is wanted and not loaded: why, and what a build can heal of it.
 *
 * A version that was ready stays ready in the registry while its artifact is made again: whoever is killed meanwhile,
 * or serves it still (a predecessor), finds it as it was.
 */
#include "serve/json/json_tensor.h"
#include "serve/repository_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- obstacles ---- */

static cab_obstacle **place_of(cab_service *s, const char *name, int64_t version)
{
    cab_obstacle **at = &s->obstacles;
    while (*at && ((*at)->version != version || strcmp((*at)->name, name)))
        at = &(*at)->next;
    return at;
}

const cab_obstacle *cab_obstacle_find(const cab_service *s, const char *name, int64_t version)
{
    return *place_of((cab_service *)(uintptr_t)s, name, version);
}

static void drop(cab_obstacle **at)
{
    cab_obstacle *o = *at;
    *at = o->next;
    free(o->why);
    free(o);
}

static bool still_fails(const cab_obstacle *o, const cab_set *set)
{
    for (size_t i = 0; set->model.m[0].wanted && i < set->n; i++)
        if (set->item[i].version == o->version)
            return !set->item[i].loaded;
    return false;
}

/* What cannot be kept for want of memory is in the log. */
static void note(cab_service *s, const char *name, const cab_item *i)
{
    const cab_diag_entry *e = cab_diag_first(&i->why);
    const char *why = e ? e->text : "out of memory";
    cab_obstacle **at = place_of(s, name, i->version), *o = *at;
    if (o && !strncmp(o->why, why, strlen(why)))       /* more may stand behind it by now */
        return;
    cab_journal_model_diag(s->journal, "load failed", name, i->version, &i->why);
    bool tried = o && o->tried;
    if (o)
        drop(at);
    if (!(o = calloc(1, sizeof *o)) || !(o->why = strdup(why))) {
        free(o);
        return;
    }
    snprintf(o->name, sizeof o->name, "%s", name);
    o->version = i->version;
    o->heals = i->heals;
    o->tried = tried;
    o->next = s->obstacles;
    s->obstacles = o;
}

void cab_obstacles_note(cab_service *s, const char *name, const cab_set *set)
{
    for (cab_obstacle **at = &s->obstacles; *at;)
        if (!strcmp((*at)->name, name) && (!set || !still_fails(*at, set)))
            drop(at);
        else
            at = &(*at)->next;
    for (size_t i = 0; set && set->model.m[0].wanted && i < set->n; i++)
        if (!set->item[i].loaded)
            note(s, name, &set->item[i]);
}

void cab_obstacles_fini(cab_service *s)
{
    while (s->obstacles)
        drop(&s->obstacles);
}

/* ---- healing ---- */

bool cab_repository_succeeds(const cab_service *s)
{
    return s->preceded && !atomic_load(&s->ready);
}

/* A model that is damaged, too, would become something else. */
static cab_status begin(cab_service *s, const cab_version_info *v, cab_diag *d)
{
    CAB_TRY(cab_blobs_verify(s->blobs, &v->model, d));
    cab_journal_model(s->journal, "warning", "built again", v->name, v->version, "its artifact does not load");
    return cab_repository_build(s, v, NULL, NULL, d);
}

static void despair(cab_service *s, const char *name, int64_t version, const cab_diag *d)
{
    cab_obstacle *o = *place_of(s, name, version);
    const cab_diag_entry *e = cab_diag_first(d);
    char *more;
    cab_journal_model_diag(s->journal, "not built again", name, version, d);
    if (!o || !e || asprintf(&more, "%s; it cannot be built again: %s", o->why, e->text) < 0)
        return;
    free(o->why);
    o->why = more;
}

bool cab_repository_heal_one(cab_service *s, const char *name, int64_t version)
{
    cab_version_list l = { 0 };
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = cab_registry_find(s->registry, name, version, &l, &d);
    bool under_way = k == CAB_OK && cab_control_building(s->control, name, version, &l.v[0].model);
    if (k == CAB_OK && !under_way)
        k = begin(s, &l.v[0], &d);
    cab_version_list_fini(&l);
    if (k != CAB_OK)
        despair(s, name, version, &d);
    cab_diag_fini(&d);
    return k == CAB_OK;
}

static cab_obstacle *next_to_heal(cab_service *s)
{
    cab_obstacle *o = s->obstacles;
    while (o && (o->tried || !o->heals))
        o = o->next;
    return o;
}

/* The list changes meanwhile where builds are waited for. */
void cab_obstacles_heal(cab_service *s)
{
    cab_obstacle *o;
    if (s->healing)
        return;
    s->healing = true;
    while ((o = next_to_heal(s))) {
        char name[CAB_NAME_BYTES];
        snprintf(name, sizeof name, "%s", o->name);
        o->tried = true;
        cab_repository_heal_one(s, name, o->version);
    }
    s->healing = false;
}

bool cab_repository_retry(cab_service *s, const cab_version_info *v)
{
    if (!cab_obstacle_find(s, v->name, v->version))
        return false;
    cab_repository_apply(s, v->name, NULL);
    const cab_obstacle *o = cab_obstacle_find(s, v->name, v->version);
    return o && o->heals;
}

/* ---- in words ---- */

static void say_choice(const cab_model_info *m, const cab_version_info *v, cab_bytes *why)
{
    if (!m->wanted)
        cab_bytes_printf(why, "the model is unloaded: POST /v2/repository/models/%s/load loads it", v->name);
    else if (m->pin && v->version > m->pin && m->policy == CAB_POLICY_LATEST)
        cab_bytes_printf(why, "a rollback has pinned the model to version %lld: POST /v2/models/%s/policy ends that", (long long)m->pin,
                         v->name);
    else
        cab_bytes_printf(why, "the policy of the model does not choose it: POST /v2/models/%s/policy changes that", v->name);
}

static void say_state(cab_service *s, const cab_version_info *v, cab_bytes *why)
{
    const cab_obstacle *o = cab_obstacle_find(s, v->name, v->version);
    cab_model_list l = { 0 };
    if (v->state == CAB_FAILED)
        cab_bytes_str(why, v->reason);
    else if (v->state != CAB_READY)
        cab_bytes_str(why, "it is being built");
    else if (o)
        cab_bytes_printf(why, "%s%s", o->why, cab_control_building(s->control, v->name, v->version, &v->model)
                                              ? "; it is being built again" : "");
    else if (cab_registry_models(s->registry, v->name, &l, NULL) == CAB_OK)
        say_choice(&l.m[0], v, why);
    cab_model_list_fini(&l);
}

bool cab_repository_serves(cab_service *s, const cab_version_info *v, cab_bytes *why)
{
    bool serves = cab_repository_has(s, v->name, v->version);
    if (!serves)
        say_state(s, v, why);
    return serves;
}

cab_status cab_repository_describe(cab_service *s, const char *model, int64_t version, cab_bytes *out, cab_diag *d)
{
    cab_version_list l = { 0 };
    cab_bytes why = { 0 };
    CAB_TRY(cab_registry_find(s->registry, model, version, &l, d));
    bool serves = cab_repository_serves(s, &l.v[0], &why);
    cab_version_put(out, &l.v[0]);
    out->n -= !out->failed;            /* its brace: there is more */
    cab_bytes_printf(out, ",\"serving\":%s", serves ? "true}" : "false,\"why\":");
    if (!serves) {
        cab_json_put_string(out, (cab_slice){ why.p, why.n });
        cab_bytes_char(out, '}');
    }
    out->failed = out->failed || why.failed;
    cab_bytes_fini(&why);
    cab_version_list_fini(&l);
    return out->failed ? cab_fail(d, CAB_ENOMEM, NULL, "out of memory") : CAB_OK;
}
