/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repository.c - from what is registered to what is loaded.
 */
#include "serve/repository.h"
#include "serve/model_config.h"
#include "serve/service.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- one version ---- */

void cab_resident_destroy(cab_resident *l)
{
    if (!l)
        return;
    if (l->served)
        cab_served_destroy(l->served);
    else
        cab_model_destroy(l->model);
    free(l->inputs);
    free(l->outputs);
    json_decref(l->labels);
    cab_bytes_fini(&l->config);
    free(l);
}

static cab_status runtime_story(cab_diag *d, const char *name, int64_t version, const cab_error *e)
{
    return cab_fail(d, (cab_status)e->code, NULL, "%s version %lld: %s", name, (long long)version, e->text);
}

static cab_status read_interface(cab_resident *l, cab_diag *d)
{
    l->n_inputs = cab_model_input_count(l->model);
    l->n_outputs = cab_model_output_count(l->model);
    l->inputs = calloc((size_t)l->n_inputs + 1, sizeof *l->inputs);
    l->outputs = calloc((size_t)l->n_outputs + 1, sizeof *l->outputs);
    if (!l->inputs || !l->outputs)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    bool tensors = true;
    for (int i = 0; i < l->n_inputs; i++) {
        cab_model_input(l->model, i, &l->inputs[i]);
        tensors = tensors && cab_model_input_kind(l->model, i) == CAB_KIND_TENSOR;
    }
    for (int i = 0; i < l->n_outputs; i++) {
        cab_model_output(l->model, i, &l->outputs[i]);
        tensors = tensors && cab_model_output_kind(l->model, i) == CAB_KIND_TENSOR;
    }
    return tensors ? CAB_OK : cab_fail(d, CAB_EUNSUPPORTED, NULL, "%s: inputs or outputs that are sequences or optionals "
                                       "cannot be served: the protocol has tensors only", l->name);
}

static cab_status open_model(cab_service *s, const cab_version_info *v, cab_resident *l, cab_diag *d)
{
    cab_error e = { 0 };
    char label[200];
    int fd;
    CAB_TRY(cab_blobs_open_one(s->blobs, &v->artifact, &fd, NULL, d));
    snprintf(label, sizeof label, "%s version %lld", v->name, (long long)v->version);
    int code = cab_model_load_fd(fd, label, NULL, &l->model, &e);
    close(fd);
    return code ? runtime_story(d, v->name, v->version, &e) : CAB_OK;
}

static cab_status serve_model(cab_service *s, const cab_version_info *v, const char *config, cab_resident *l, cab_diag *d)
{
    cab_model_config c;
    cab_error e = { 0 };
    config = config && *config ? config : v->config;
    CAB_TRY(cab_model_config_read(config, s->o.max_queue, &c, d));
    CAB_TRY(cab_model_config_labels(config, l, d));
    c.served.inline_ns = s->o.inline_us ? s->o.inline_us * 1000 : -1;
    l->max_batch = c.max_batch_size;
    if (!cab_model_config_write(l, &c))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    return cab_served_create(s->sched, l->model, &c.served, &l->served, &e) ? runtime_story(d, v->name, v->version, &e)
                                                                            : CAB_OK;
}

/* config: instead of the version's own; NULL or "": that. */
static cab_status load(cab_service *s, const cab_version_info *v, const char *config, cab_resident **out, cab_diag *d)
{
    cab_resident *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    atomic_init(&l->refs, 1);
    l->catalog = s->catalog;
    l->version = v->version;
    snprintf(l->name, sizeof l->name, "%s", v->name);
    snprintf(l->version_text, sizeof l->version_text, "%lld", (long long)v->version);
    cab_status k = open_model(s, v, l, d);
    k = k == CAB_OK ? read_interface(l, d) : k;
    k = k == CAB_OK ? serve_model(s, v, config, l, d) : k;
    if (k == CAB_OK)
        *out = l;
    else
        cab_resident_destroy(l);
    return k;
}

static cab_status load_number(cab_service *s, const char *model, int64_t version, const char *config, cab_resident **out, cab_diag *d)
{
    cab_version_list l = { 0 };
    cab_status k = cab_registry_find(s->registry, model, version, &l, d);
    k = k == CAB_OK ? load(s, &l.v[0], config, out, d) : k;
    cab_version_list_fini(&l);
    return k;
}

/* ---- one model ---- */

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

static cab_status gather(cab_service *s, const char *model, const int64_t *chosen, size_t n, const char *afresh,
                         cab_resident **out, cab_diag *d)
{
    cab_resident **all;
    int n_all = cab_catalog_list(s->catalog, model, &all);
    cab_status k = n_all < 0 ? cab_fail(d, CAB_ENOMEM, NULL, "out of memory") : CAB_OK;
    for (size_t i = 0; k == CAB_OK && i < n; i++) {
        out[i] = afresh ? NULL : keep(all, n_all, chosen[i]);
        if (!out[i])
            k = load_number(s, model, chosen[i], afresh, &out[i], d);
    }
    cab_catalog_let_go(all, n_all);
    return k;
}

static cab_status publish(cab_service *s, const cab_model_info *m, cab_resident **loaded, size_t n, const int64_t *chosen,
                          cab_diag *d)
{
    int64_t latest = n ? chosen[0] : 0, resolved;
    cab_name *labels = calloc(m->n_labels + 1, sizeof *labels);
    if (!labels)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    for (size_t i = 0; i < m->n_labels; i++) {
        snprintf(labels[i].name, sizeof labels[i].name, "%s", m->labels[i].label);
        labels[i].version = m->labels[i].version;
    }
    if (n && cab_registry_resolve(s->registry, m->name, NULL, &resolved, NULL) == CAB_OK)
        for (size_t i = 0; i < n; i++)
            latest = chosen[i] == resolved ? resolved : latest;
    bool done = cab_catalog_set(s->catalog, m->name, loaded, (int)n, latest, labels, (int)m->n_labels);
    free(labels);
    return done ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
}

static cab_status apply(cab_service *s, const cab_model_info *m, const char *afresh, cab_diag *d)
{
    int64_t *chosen = NULL;
    size_t n = 0;
    if (m->wanted)
        CAB_TRY(cab_registry_chosen(s->registry, m->name, &chosen, &n, d));
    cab_resident **loaded = calloc(n + 1, sizeof *loaded);
    cab_status k = loaded ? gather(s, m->name, chosen, n, afresh, loaded, d)
                          : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    k = k == CAB_OK ? publish(s, m, loaded, n, chosen, d) : k;
    for (size_t i = 0; loaded && k != CAB_OK && i < n; i++)
        cab_resident_unref(loaded[i]);
    free(loaded);
    free(chosen);
    return k;
}

cab_status cab_repository_apply(cab_service *s, const char *model, const char *afresh, cab_diag *d)
{
    cab_model_list l = { 0 };
    cab_status k = cab_registry_models(s->registry, model, &l, d);
    for (size_t i = 0; k == CAB_OK && i < l.n; i++)
        k = apply(s, &l.m[i], afresh, d);
    cab_model_list_fini(&l);
    return k;
}

/* ---- all models ---- */

void cab_repository_start(cab_service *s, bool alone)
{
    cab_model_list l = { 0 };
    cab_diag d;
    cab_diag_init(&d);
    if (cab_registry_models(s->registry, NULL, &l, &d) == CAB_OK)
        for (size_t i = 0; i < l.n; i++) {
            cab_diag own;
            cab_diag_init(&own);
            apply(s, &l.m[i], NULL, &own);
            cab_journal_model_diag(s->journal, "load failed", l.m[i].name, 0, &own);
            cab_diag_fini(&own);
        }
    cab_model_list_fini(&l);
    cab_repository_build_all(s, CAB_REGISTERED, &d);
    if (alone)
        cab_repository_build_all(s, CAB_BUILDING, &d);
    cab_journal_diag(s->journal, "load failed", &d);
    cab_diag_fini(&d);
}

void cab_repository_stop(cab_service *s)
{
    cab_resident **all;
    int n = cab_catalog_list(s->catalog, NULL, &all);
    for (int i = 0; i < n; i++)
        cab_catalog_set(s->catalog, all[i]->name, NULL, 0, 0, NULL, 0);
    cab_catalog_let_go(all, n);
}

cab_status cab_repository_describe(cab_service *s, const char *model, int64_t version, cab_bytes *out, cab_diag *d)
{
    cab_version_list l = { 0 };
    CAB_TRY(cab_registry_find(s->registry, model, version, &l, d));
    cab_version_put(out, &l.v[0]);
    cab_version_list_fini(&l);
    return out->failed ? cab_fail(d, CAB_ENOMEM, NULL, "out of memory") : CAB_OK;
}
