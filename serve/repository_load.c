/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repository_load.c - one registered version as one that is loaded.
 */
#include "serve/model_config.h"
#include "serve/repository_int.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    cab_status k = cab_blobs_open_one(s->blobs, &v->artifact, &fd, NULL, NULL);
    if (k != CAB_OK)
        return cab_fail(d, k == CAB_ENOTFOUND ? CAB_EARTIFACT : k, NULL, "%s version %lld: its artifact is not in the store, or cannot "
                        "be opened", v->name, (long long)v->version);
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
    CAB_TRY(cab_model_config_fit(config, &c, l, d));
    c.served.inline_ns = s->o.inline_us ? s->o.inline_us * 1000 : -1;
    l->max_batch = c.max_batch_size;
    if (!cab_model_config_write(l, &c))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    return cab_served_create(s->sched, l->model, &c.served, &l->served, &e) ? runtime_story(d, v->name, v->version, &e)
                                                                            : CAB_OK;
}

cab_status cab_repository_load(cab_service *s, const cab_version_info *v, const char *config, cab_resident **out, cab_diag *d)
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
