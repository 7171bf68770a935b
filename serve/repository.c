/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repository.c - from what is registered to what is loaded.
 */
#include "serve/repository.h"
#include "serve/io_json.h"
#include "serve/model_config.h"
#include "serve/service.h"
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
    CAB_TRY(cab_model_config_read(config && *config ? config : v->config, s->o.max_queue, &c, d));
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

/* ---- builds ---- */

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

static cab_status side_holds(const json_t *is, const json_t *promise, const char *side, cab_diag *d)
{
    const json_t *want = json_object_get(promise, side), *have = json_object_get(is, side);
    bool holds = !want || json_array_size(want) == json_array_size(have);
    for (size_t i = 0; holds && want && i < json_array_size(want); i++)
        holds = tensor_holds(json_array_get(have, i), json_array_get(want, i));
    return holds ? CAB_OK : cab_fail(d, CAB_EMODEL, NULL, "the model's %s are not what the request says they are", side);
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

/* The registry may have another model under that number by now, or none. */
static bool is_there(cab_service *s, const cab_building *b)
{
    cab_version_list l = { 0 };
    bool there = cab_registry_find(s->registry, b->name, b->version, &l, NULL) == CAB_OK &&
                 cab_digest_equal(&l.v[0].model, &b->model);
    cab_version_list_fini(&l);
    return there;
}

static cab_status take_in(cab_service *s, cab_building *b, cab_diag *d)
{
    const char *io = cab_bytes_cstr(&b->result.io);
    CAB_TRY(b->status);
    if (b->promise)
        CAB_TRY(cab_repository_holds(io, b->promise, d));
    CAB_TRY(cab_registry_set_built(s->registry, b->name, b->version, &b->result.artifact, io, d));
    return cab_repository_apply(s, b->name, NULL, d);
}

static void record(cab_service *s, cab_building *b, cab_status k)
{
    const cab_diag_entry *e = cab_diag_first(&b->diag);
    if (k == CAB_OK) {
        cab_journal_say(s->journal, "info", "built", "%s version %lld in %.2f s", b->name, (long long)b->version,
                        b->result.seconds);
    } else if (k == CAB_ECANCELLED) {  /* the next server, or a successor, builds it */
        cab_registry_set_state(s->registry, b->name, b->version, CAB_REGISTERED, NULL, NULL);
    } else {
        cab_registry_set_state(s->registry, b->name, b->version, CAB_FAILED, e ? e->text : cab_status_text(k), NULL);
        cab_journal_diag(s->journal, "build failed", &b->diag);
    }
}

/* Of a version that serves. */
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
    cab_status k;
    if (is_there(s, b)) {
        k = take_in(s, b, d);
        record(s, b, k);
    } else {
        cab_diag_clear(d);
        k = cab_fail(d, CAB_ENOTFOUND, NULL, "version %lld of '%s' was removed while it was built", (long long)b->version, b->name);
        cab_journal_say(s->journal, "info", "built in vain", "%s version %lld", b->name, (long long)b->version);
    }
    answer_all(s, b, k);
    cab_build_result_fini(&b->result);
    cab_diag_fini(d);
    free(b->promise);
    free(b);
}

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
    if (!b || (promise && !(b->promise = strdup(promise)))) {
        free_building(b);
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    b->version = v->version;
    b->model = v->model;
    b->built = finish_build;
    snprintf(b->name, sizeof b->name, "%s", v->name);
    cab_status k = join(b, x, NULL, d);
    k = k == CAB_OK ? cab_registry_set_state(s->registry, b->name, b->version, CAB_BUILDING, NULL, d) : k;
    if (k != CAB_OK) {
        free_building(b);
        return k;
    }
    cab_diag_init(&b->diag);
    cab_control_build(s->control, b);
    return CAB_OK;
}

cab_status cab_repository_build(cab_service *s, const cab_version_info *v, const char *promise, cab_exchange *x, cab_diag *d)
{
    cab_building *b = cab_control_building(s->control, v->name, v->version, &v->model);
    if (b)
        return join(b, x, promise, d);
    if (v->state != CAB_BUILDING)
        return begin_build(s, v, promise, x, d);
    return !x ? CAB_OK : cab_fail(d, CAB_ECANCELLED, NULL, "the server that this one replaces is building version %lld of '%s': "
                                  "ask again", (long long)v->version, v->name);
}

/* ---- all models ---- */

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

static void build_all(cab_service *s, cab_version_state state, cab_diag *d)
{
    char last[CAB_NAME_BYTES];
    cab_query q = { .state = 1 + (int)state };
    while (build_page(s, &q, last, d))
        ;
}

void cab_repository_start(cab_service *s, bool alone)
{
    cab_model_list l = { 0 };
    cab_diag d;
    cab_diag_init(&d);
    if (cab_registry_models(s->registry, NULL, &l, &d) == CAB_OK)
        for (size_t i = 0; i < l.n; i++)
            apply(s, &l.m[i], NULL, &d);
    cab_model_list_fini(&l);
    build_all(s, CAB_REGISTERED, &d);
    if (alone)
        build_all(s, CAB_BUILDING, &d);
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
