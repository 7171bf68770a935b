/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_load.c - load and unload of the model repository extension, by REST and gRPC.
 *
 * Parameters of a load, as Triton has them:
 *   "config"                a model configuration (JSON text) instead of the registered one, until the next load
 *   "file:V/NAME.onnx"      a model file (base64 by REST, bytes by gRPC), registered as version V with that
 *                           configuration
 */
#include "serve/grpc.h"
#include "serve/model_config.h"
#include "serve/repository.h"
#include <jansson.h>
#include <stdlib.h>

typedef struct upload { int64_t version; const void *p; size_t n; } upload;

/* One load, in its exchange's memory. */
typedef struct order {
    char *model;
    const Inference__RepositoryModelLoadRequest *message;      /* NULL: REST, the body has it */
    const char *config;        /* "": the registered one */
    upload *files;
    size_t n_files;
    cab_pieces *mem;
} order;

static void answer(cab_exchange *x, cab_status k, const cab_diag *d)
{
    if (k == CAB_OK)
        cab_exchange_done(x);
    else
        cab_exchange_fail(x, d);
}

/* ---- parameters ---- */

/* "file:3/model.onnx" -> 3; 0: of another form. */
static int64_t version_of(const char *key)
{
    char *end;
    const char *p = key + strlen("file:");
    size_t n = strlen(key);
    long long v = *p >= '1' && *p <= '9' ? strtoll(p, &end, 10) : 0;
    return v && v <= CAB_VERSION_MOST && *end == '/' && !strchr(end + 1, '/') && n > 5 && !strcmp(key + n - 5, ".onnx") ? v : 0;
}

static cab_status add_file(order *o, const char *key, const void *p, size_t n, cab_diag *d)
{
    int64_t version = version_of(key);
    if (!version)
        return cab_fail(d, CAB_EINVAL, NULL, "'%.200s': files are file:VERSION/NAME.onnx here", key);
    o->files[o->n_files++] = (upload){ version, p, n };
    return CAB_OK;
}

static cab_status read_message(order *o, cab_diag *d)
{
    const Inference__RepositoryModelLoadRequest *m = o->message;
    o->files = cab_pieces_zero(o->mem, m->n_parameters, sizeof *o->files);
    if (!o->files)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    for (size_t i = 0; i < m->n_parameters; i++) {
        const char *key = m->parameters[i]->key;
        const Inference__ModelRepositoryParameter *v = m->parameters[i]->value;
        if (v && !strcmp(key, "config") && v->parameter_choice_case == INFERENCE__MODEL_REPOSITORY_PARAMETER__PARAMETER_CHOICE_STRING_PARAM)
            o->config = v->string_param;
        else if (v && !strncmp(key, "file:", 5) && v->parameter_choice_case == INFERENCE__MODEL_REPOSITORY_PARAMETER__PARAMETER_CHOICE_BYTES_PARAM)
            CAB_TRY(add_file(o, key, v->bytes_param.data, v->bytes_param.len, d));
        else
            return cab_fail(d, CAB_EINVAL, NULL, "load has no parameter '%.200s' of that type", key);
    }
    return CAB_OK;
}

static cab_status read_members(order *o, const json_t *all, cab_diag *d)
{
    const char *key;
    json_t *v;
    o->files = cab_pieces_zero(o->mem, json_object_size(all), sizeof *o->files);
    if (!o->files)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    json_object_foreach((json_t *)(uintptr_t)all, key, v) {
        void *p;
        size_t n;
        if (!strcmp(key, "config") && json_is_string(v)) {
            if (!(o->config = cab_pieces_text(o->mem, cab_slice_of(json_string_value(v)))))
                return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
        } else if (!strncmp(key, "file:", 5)) {
            CAB_TRY(cab_base64_read(o->mem, v, &p, &n, d));
            CAB_TRY(add_file(o, key, p, n, d));
        } else {
            return cab_fail(d, CAB_EINVAL, NULL, "load has no parameter '%.200s' of that type", key);
        }
    }
    return CAB_OK;
}

static cab_status read_body(const cab_exchange *x, order *o, cab_diag *d)
{
    json_t *body;
    CAB_TRY(cab_body_read(x, true, &body, d));
    const json_t *all = json_object_get(body, "parameters");
    cab_status k = !all ? CAB_OK : !json_is_object(all) ? cab_fail(d, CAB_EINVAL, NULL, "'parameters' must be an object")
                 : read_members(o, all, d);
    json_decref(body);
    return k;
}

/* ---- load ---- */

/* The files as versions; x waits for the last one, unless all of them are there already. */
static cab_status register_files(cab_service *s, cab_exchange *x, const order *o, bool *waits, cab_diag *d)
{
    *waits = false;
    if (o->n_files)
        CAB_TRY(cab_route_leaves(o->model, d));
    for (size_t i = 0; i < o->n_files; i++) {
        cab_digest model;
        int64_t version = o->files[i].version;
        const cab_version_content c = { .model = &model, .config = *o->config ? o->config : NULL };
        cab_version_list l = { 0 };
        CAB_TRY(cab_blobs_add(s->blobs, o->files[i].p, o->files[i].n, &model, d));
        CAB_TRY(cab_registry_put_version(s->registry, o->model, &version, &c, NULL, d));
        CAB_TRY(cab_registry_set_wanted(s->registry, o->model, true, d));
        CAB_TRY(cab_registry_find(s->registry, o->model, version, &l, d));
        bool build = l.v[0].state != CAB_READY, last = i + 1 == o->n_files;
        cab_status k = build ? cab_repository_build(s, &l.v[0], NULL, last ? x : NULL, d) : CAB_OK;
        cab_version_list_fini(&l);
        CAB_TRY(k);
        *waits = build && last;
    }
    return CAB_OK;
}

/* A load that loads nothing is none. */
static cab_status set_wanted(cab_service *s, const order *o, bool wanted, const char *afresh, cab_diag *d)
{
    cab_change c;
    CAB_TRY(cab_repository_begin(s, o->model, &c, d));
    c.must_serve = wanted;
    return cab_repository_end(s, &c, cab_registry_set_wanted(s->registry, o->model, wanted, d), afresh, d);
}

static cab_status load(cab_service *s, cab_exchange *x, order *o, bool *waits, cab_diag *d)
{
    cab_model_config c;
    CAB_TRY(o->message ? read_message(o, d) : read_body(x, o, d));
    CAB_TRY(cab_model_config_read(o->config, s->o.max_queue, &c, d));
    CAB_TRY(register_files(s, x, o, waits, d));
    if (*waits)
        return CAB_OK;
    return set_wanted(s, o, true, o->config, d);
}

static void load_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    order *o = x->user;
    bool waits = false;
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = load(s, x, o, &waits, &d);
    if (!waits)
        answer(x, k, &d);
    cab_diag_fini(&d);
}

static order *start(cab_exchange *x, cab_slice model)
{
    order *o = cab_pieces_zero(&x->mem, 1, sizeof *o);
    if (o && (o->model = cab_pieces_text(&x->mem, model))) {
        o->config = "";
        o->mem = &x->mem;
        x->user = o;
        return o;
    }
    cab_exchange_refuse(x, 503, "out of memory");
    return NULL;
}

void cab_api_repository_load(cab_service *s, cab_exchange *x, const cab_target *t)
{
    if (start(x, t->model))
        cab_control_do(s, x, load_task);
}

void cab_rpc_repository_model_load(cab_service *s, cab_exchange *x, void *request)
{
    const Inference__RepositoryModelLoadRequest *q = request;
    order *o = start(x, cab_slice_of(q->model_name));
    if (!o)
        return;
    o->message = q;
    cab_control_do(s, x, load_task);
}

/* ---- unload ---- */

static void unload_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    cab_diag d;
    cab_diag_init(&d);
    answer(x, set_wanted(s, x->user, false, NULL, &d), &d);
    cab_diag_fini(&d);
}

void cab_api_repository_unload(cab_service *s, cab_exchange *x, const cab_target *t)
{
    if (start(x, t->model))
        cab_control_do(s, x, unload_task);
}

void cab_rpc_repository_model_unload(cab_service *s, cab_exchange *x, void *request)
{
    const Inference__RepositoryModelUnloadRequest *q = request;
    cab_api_repository_unload(s, x, &(cab_target){ .model = cab_slice_of(q->model_name) });
}
