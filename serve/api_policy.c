/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_policy.c - which versions of a model are served, and the end of versions and models.
 *
 *   GET    /v2/models                      {"models": [{"name", "version_count", "policy", "labels", ...}]}
 *   GET    /v2/models/M/labels, .../policy that of one
 *   POST   /v2/models/M/labels             {"name": "stable", "version": 2}; version null takes the label away
 *   POST   /v2/models/M/policy             {"latest": 2} | {"all": true} | {"specific": [1, 3]}
 *   POST   /v2/models/M/rollback           {} or {"label": "stable"} -> {"name", "version"}
 *   DELETE /v2/models/M[/versions/V]
 *
 * Each is durable, and true of what is loaded, when it is answered; one that cannot be made true changes nothing.
 */
#include "serve/handlers.h"
#include "serve/repository.h"
#include <jansson.h>
#include <stdlib.h>

/* A change of one model: what the path named, and the change itself. */
typedef struct change {
    char *model, *version;
    cab_status (*make)(cab_service *s, cab_exchange *x, struct change *c, cab_diag *d);
} change;

static void change_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    change *c = x->user;
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = c->make(s, x, c, &d);
    if (k == CAB_OK && x->out.failed)
        k = cab_fail(&d, CAB_ENOMEM, NULL, "out of memory");
    x->status = 200;
    x->type = x->out.n ? "application/json" : NULL;
    if (k == CAB_OK)
        cab_exchange_answer(x);
    else
        cab_exchange_fail(x, &d);
    cab_diag_fini(&d);
}

static void do_change(cab_service *s, cab_exchange *x, const cab_target *t,
                      cab_status (*make)(cab_service *s, cab_exchange *x, change *c, cab_diag *d))
{
    change *c = cab_pieces_zero(&x->mem, 1, sizeof *c);
    if (c) {
        *c = (change){ cab_pieces_text(&x->mem, t->model), cab_pieces_text(&x->mem, t->version), make };
        x->user = c;
    }
    if (c && c->model && c->version)
        cab_control_do(s, x, change_task);
    else
        cab_exchange_refuse(x, 503, "out of memory");
}

/* ---- what there is ---- */

static void put_numbers(cab_bytes *b, const int64_t *v, size_t n)
{
    cab_bytes_char(b, '[');
    for (size_t i = 0; i < n; i++)
        cab_bytes_printf(b, i ? ",%lld" : "%lld", (long long)v[i]);
    cab_bytes_char(b, ']');
}

static void put_loaded(cab_service *s, cab_bytes *b, const char *model)
{
    cab_resident **all;
    int n = cab_catalog_list(s->catalog, model, &all);
    cab_bytes_str(b, ",\"loaded\":[");
    for (int i = 0; i < n; i++)
        cab_bytes_printf(b, i ? ",\"%s\"" : "\"%s\"", all[i]->version_text);
    cab_bytes_char(b, ']');
    b->failed = b->failed || n < 0;
    cab_catalog_let_go(all, n);
}

static void put_model(cab_service *s, cab_bytes *b, const cab_model_info *m)
{
    cab_bytes_printf(b, "{\"name\":\"%s\",\"version_count\":%lld,\"wanted\":%s,\"policy\":{", m->name, (long long)m->n_versions,
                     m->wanted ? "true" : "false");
    if (m->policy == CAB_POLICY_LATEST)
        cab_bytes_printf(b, "\"latest\":%lld}", (long long)m->latest);
    else if (m->policy == CAB_POLICY_ALL)
        cab_bytes_str(b, "\"all\":true}");
    else {
        cab_bytes_str(b, "\"specific\":");
        put_numbers(b, m->specific, m->n_specific);
        cab_bytes_char(b, '}');
    }
    cab_bytes_str(b, ",\"labels\":{");
    for (size_t i = 0; i < m->n_labels; i++)
        cab_bytes_printf(b, "%s\"%s\":\"%lld\"", i ? "," : "", m->labels[i].label, (long long)m->labels[i].version);
    cab_bytes_char(b, '}');
    if (m->pin)
        cab_bytes_printf(b, ",\"pin\":\"%lld\"", (long long)m->pin);
    put_loaded(s, b, m->name);
    cab_bytes_char(b, '}');
}

/* One model, or every one in a list. */
static cab_status describe(cab_service *s, cab_exchange *x, const char *model, cab_diag *d)
{
    cab_model_list l = { 0 };
    CAB_TRY(cab_registry_models(s->registry, model, &l, d));
    if (!model)
        cab_bytes_str(&x->out, "{\"models\":[");
    for (size_t i = 0; i < l.n; i++) {
        if (i)
            cab_bytes_char(&x->out, ',');
        put_model(s, &x->out, &l.m[i]);
    }
    if (!model)
        cab_bytes_str(&x->out, "]}");
    cab_model_list_fini(&l);
    return CAB_OK;
}

static cab_status list_all(cab_service *s, cab_exchange *x, change *c, cab_diag *d)
{
    (void)c;
    return describe(s, x, NULL, d);
}

void cab_api_models(cab_service *s, cab_exchange *x, const cab_target *t)
{
    do_change(s, x, t, list_all);
}

static cab_status list_one(cab_service *s, cab_exchange *x, change *c, cab_diag *d)
{
    return describe(s, x, c->model, d);
}

void cab_api_model_entry(cab_service *s, cab_exchange *x, const cab_target *t)
{
    do_change(s, x, t, list_one);
}

/* The change was made, or not: what is loaded follows, or it is taken back; then the model as it is now. */
static cab_status settle(cab_service *s, cab_exchange *x, cab_change *c, cab_status k, cab_diag *d)
{
    CAB_TRY(cab_repository_end(s, c, k, NULL, d));
    return describe(s, x, c->model, d);
}

/* ---- labels ---- */

static cab_status move_label(cab_service *s, cab_exchange *x, change *c, cab_diag *d)
{
    json_t *o, *v;
    int64_t version = 0;
    CAB_TRY(cab_body_read(x, false, &o, d));
    const char *label = json_string_value(json_object_get(o, "name"));
    cab_status k = label && (v = json_object_get(o, "version")) ? CAB_OK
                 : cab_fail(d, CAB_EINVAL, NULL, "a label needs 'name' and 'version' (null takes it away)");
    if (k == CAB_OK && !json_is_null(v))
        k = cab_version_read(v, &version, d);
    cab_change all;
    k = k == CAB_OK ? cab_repository_begin(s, c->model, &all, d) : k;
    if (k == CAB_OK)
        k = settle(s, x, &all, cab_registry_set_label(s->registry, c->model, label, version, d), d);
    json_decref(o);
    return k;
}

void cab_api_model_labels(cab_service *s, cab_exchange *x, const cab_target *t)
{
    do_change(s, x, t, move_label);
}

/* ---- policies ---- */

static cab_status read_specific(const json_t *a, cab_policy *p, int64_t **versions, cab_diag *d)
{
    if (!json_is_array(a))
        return cab_fail(d, CAB_EINVAL, NULL, "'specific' must be an array of versions");
    p->kind = CAB_POLICY_SPECIFIC;
    p->n_versions = json_array_size(a);
    p->versions = *versions = calloc(p->n_versions + 1, sizeof **versions);
    if (!*versions)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    for (size_t i = 0; i < p->n_versions; i++)
        CAB_TRY(cab_version_read(json_array_get(a, i), &(*versions)[i], d));
    return CAB_OK;
}

static cab_status read_policy(const json_t *o, cab_policy *p, int64_t **versions, cab_diag *d)
{
    const json_t *latest = json_object_get(o, "latest"), *all = json_object_get(o, "all"),
                 *specific = json_object_get(o, "specific");
    *p = (cab_policy){ .kind = CAB_POLICY_LATEST, .latest = json_integer_value(latest) };
    if (json_object_size(o) != 1)
        return cab_fail(d, CAB_EINVAL, NULL, "a policy is one of 'latest', 'all', 'specific'");
    if (json_is_integer(latest))
        return CAB_OK;
    if (specific)
        return read_specific(specific, p, versions, d);
    p->kind = CAB_POLICY_ALL;
    return json_is_true(all) ? CAB_OK
         : cab_fail(d, CAB_EINVAL, NULL, "a policy is {\"latest\": N}, {\"all\": true} or {\"specific\": [versions]}");
}

static cab_status change_policy(cab_service *s, cab_exchange *x, change *c, cab_diag *d)
{
    json_t *o;
    cab_policy p;
    int64_t *versions = NULL;
    CAB_TRY(cab_body_read(x, false, &o, d));
    cab_status k = read_policy(o, &p, &versions, d);
    cab_change all;
    k = k == CAB_OK ? cab_repository_begin(s, c->model, &all, d) : k;
    if (k == CAB_OK)
        k = settle(s, x, &all, cab_registry_set_policy(s->registry, c->model, &p, d), d);
    free(versions);
    json_decref(o);
    return k;
}

void cab_api_model_policy(cab_service *s, cab_exchange *x, const cab_target *t)
{
    do_change(s, x, t, change_policy);
}

/* ---- back ---- */

static cab_status go_back(cab_service *s, cab_exchange *x, change *c, cab_diag *d)
{
    json_t *o;
    CAB_TRY(cab_body_read(x, true, &o, d));
    const json_t *label = json_object_get(o, "label");
    cab_status k = !label || json_is_string(label) ? CAB_OK : cab_fail(d, CAB_EINVAL, NULL, "'label' must be a text");
    cab_change all;
    k = k == CAB_OK ? cab_repository_begin(s, c->model, &all, d) : k;
    if (k == CAB_OK)
        k = settle(s, x, &all, cab_registry_rollback(s->registry, c->model, json_string_value(label), NULL, d), d);
    json_decref(o);
    return k;
}

void cab_api_model_rollback(cab_service *s, cab_exchange *x, const cab_target *t)
{
    do_change(s, x, t, go_back);
}

/* ---- the end ---- */

static cab_status remove_model(cab_service *s, cab_exchange *x, change *c, cab_diag *d)
{
    (void)x;
    CAB_TRY(cab_registry_remove_model(s->registry, c->model, d));
    cab_control_abandon(s->control, c->model, 0);
    CAB_TRY(cab_repository_forget(s, c->model, d));
    cab_journal_model(s->journal, "info", "removed", c->model, 0, "all versions");
    cab_repository_sweep(s);
    return CAB_OK;
}

void cab_api_model_remove(cab_service *s, cab_exchange *x, const cab_target *t)
{
    do_change(s, x, t, remove_model);
}

static cab_status remove_version(cab_service *s, cab_exchange *x, change *c, cab_diag *d)
{
    json_t *text = json_string(c->version);
    int64_t version = 0;
    cab_status k = text ? cab_version_read(text, &version, d) : cab_fail(d, CAB_EINVAL, NULL, "'version' is no number");
    json_decref(text);
    cab_change all;
    k = k == CAB_OK ? cab_repository_begin(s, c->model, &all, d) : k;
    if (k == CAB_OK)
        k = settle(s, x, &all, cab_registry_remove_version(s->registry, c->model, version, d), d);
    if (k != CAB_OK)
        return k;
    cab_control_abandon(s->control, c->model, version);
    cab_journal_model(s->journal, "info", "removed", c->model, version, "a version");
    cab_repository_sweep(s);
    return CAB_OK;
}

void cab_api_version_remove(cab_service *s, cab_exchange *x, const cab_target *t)
{
    do_change(s, x, t, remove_version);
}
