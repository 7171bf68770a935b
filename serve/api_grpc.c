/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_grpc.c - the calls of gRPC but inference: what api_meta.c and api_repository.c answer, as messages.
 */
#include "serve/grpc.h"
#include "serve/json/json_tensor.h"
#include "serve/model_config.h"
#include <stdio.h>

void cab_rpc_server_live(cab_service *s, cab_exchange *x, void *request)
{
    Inference__ServerLiveResponse r = INFERENCE__SERVER_LIVE_RESPONSE__INIT;
    (void)s;
    (void)request;
    r.live = true;
    cab_grpc_answer(x, &r.base);
}

void cab_rpc_server_ready(cab_service *s, cab_exchange *x, void *request)
{
    Inference__ServerReadyResponse r = INFERENCE__SERVER_READY_RESPONSE__INIT;
    (void)request;
    r.ready = cab_service_is_ready(s);
    cab_grpc_answer(x, &r.base);
}

void cab_rpc_model_ready(cab_service *s, cab_exchange *x, void *request)
{
    const Inference__ModelReadyRequest *q = request;
    Inference__ModelReadyResponse r = INFERENCE__MODEL_READY_RESPONSE__INIT;
    cab_resident *l;
    r.ready = cab_catalog_get(s->catalog, cab_slice_of(q->name), cab_slice_of(q->version), &l) == CAB_FOUND;
    cab_resident_unref(l);
    cab_grpc_answer(x, &r.base);
}

void cab_rpc_server_metadata(cab_service *s, cab_exchange *x, void *request)
{
    Inference__ServerMetadataResponse r = INFERENCE__SERVER_METADATA_RESPONSE__INIT;
    (void)s;
    (void)request;
    r.name = (char *)(uintptr_t)"cabochon";
    r.version = (char *)(uintptr_t)CAB_VERSION;
    while (cab_extensions[r.n_extensions])
        r.n_extensions++;
    r.extensions = (char **)(uintptr_t)cab_extensions;
    cab_grpc_answer(x, &r.base);
}

/* ---- a model ---- */

typedef Inference__ModelMetadataResponse__TensorMetadata tensor;

static tensor **tensors(cab_exchange *x, cab_tensor_info *t, int n)
{
    tensor *m = cab_pieces_zero(&x->mem, (size_t)n, sizeof *m), **at = cab_pieces_zero(&x->mem, (size_t)n, sizeof *at);
    for (int i = 0; m && at && i < n; i++) {
        inference__model_metadata_response__tensor_metadata__init(&m[i]);
        m[i].name = (char *)(uintptr_t)t[i].name;
        m[i].datatype = (char *)(uintptr_t)cab_json_type_name(t[i].dtype);
        m[i].n_shape = (size_t)t[i].rank;
        m[i].shape = t[i].dims;
        at[i] = &m[i];
    }
    return m ? at : NULL;
}

/* Numbers of the loaded versions. */
static char **versions(cab_service *s, cab_exchange *x, const char *model, size_t *n)
{
    cab_resident **all;
    int k = cab_catalog_list(s->catalog, model, &all);
    char **at = k < 0 ? NULL : cab_pieces_zero(&x->mem, (size_t)k, sizeof *at);
    for (int i = 0; at && i < k; i++)
        if (!(at[i] = cab_pieces_text(&x->mem, cab_slice_of(all[i]->version_text))))
            at = NULL;
    cab_catalog_let_go(all, k);
    *n = at ? (size_t)k : 0;
    return at;
}

void cab_rpc_model_metadata(cab_service *s, cab_exchange *x, void *request)
{
    const Inference__ModelMetadataRequest *q = request;
    Inference__ModelMetadataResponse r = INFERENCE__MODEL_METADATA_RESPONSE__INIT;
    cab_resident *l = cab_find_loaded(s, x, cab_slice_of(q->name), cab_slice_of(q->version));
    if (!l)
        return;
    r.name = l->name;
    r.platform = (char *)(uintptr_t)"cabochon";
    r.versions = versions(s, x, l->name, &r.n_versions);
    r.inputs = tensors(x, l->inputs, l->n_inputs);
    r.outputs = tensors(x, l->outputs, l->n_outputs);
    r.n_inputs = r.inputs ? (size_t)l->n_inputs : 0;
    r.n_outputs = r.outputs ? (size_t)l->n_outputs : 0;
    if (r.inputs && r.outputs && r.versions)
        cab_grpc_answer(x, &r.base);
    else
        cab_exchange_refuse(x, 503, "out of memory");
    cab_resident_unref(l);
}

/* ---- its configuration ---- */

static Inference__DataType type_of(int dtype)
{
    char name[24];
    snprintf(name, sizeof name, "TYPE_%s", cab_json_type_name(dtype));
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(&inference__data_type__descriptor, name);
    return v ? (Inference__DataType)v->value : INFERENCE__DATA_TYPE__TYPE_INVALID;
}

/* Inputs and outputs are messages of different types that have these fields alike; skip: the axis of the batch is
 * not said. */
#define CONFIG_TENSORS(function, type, init) \
    static type **function(cab_exchange *x, cab_tensor_info *t, int n, int skip) \
    { \
        type *m = cab_pieces_zero(&x->mem, (size_t)n, sizeof *m), **at = cab_pieces_zero(&x->mem, (size_t)n, sizeof *at); \
        for (int i = 0; m && at && i < n; i++) { \
            init(&m[i]); \
            m[i].name = (char *)(uintptr_t)t[i].name; \
            m[i].data_type = type_of(t[i].dtype); \
            int from = t[i].rank > 0 ? skip : 0; \
            m[i].n_dims = (size_t)(t[i].rank - from); \
            m[i].dims = t[i].dims + from; \
            at[i] = &m[i]; \
        } \
        return m ? at : NULL; \
    }
CONFIG_TENSORS(config_inputs, Inference__ModelInput, inference__model_input__init)
CONFIG_TENSORS(config_outputs, Inference__ModelOutput, inference__model_output__init)

/* Parts of a configuration's message. */
typedef struct serving {
    Inference__ModelInstanceGroup group, *groups[1];
    Inference__ModelDynamicBatching batching;
    Inference__ModelQueuePolicy policy;
    int32_t preferred[CAB_BATCH_PREFERRED];
} serving;

static void put_serving(Inference__ModelConfig *c, const cab_resident *l, serving *p)
{
    const cab_served_config *k = cab_served_get_config(l->served);
    const cab_batch_config *q = &k->queue;
    inference__model_instance_group__init(&p->group);
    p->group.name = c->name;
    p->group.kind = INFERENCE__MODEL_INSTANCE_GROUP__KIND__KIND_CPU;
    p->group.count = k->instances;
    p->groups[0] = &p->group;
    c->instance_group = p->groups;
    c->n_instance_group = 1;
    if (!q->max_batch)
        return;
    inference__model_dynamic_batching__init(&p->batching);
    inference__model_queue_policy__init(&p->policy);
    for (int i = 0; i < q->n_preferred; i++)
        p->preferred[i] = (int32_t)q->preferred[i];
    p->batching.n_preferred_batch_size = (size_t)q->n_preferred;
    p->batching.preferred_batch_size = p->preferred;
    p->batching.max_queue_delay_microseconds = (uint64_t)q->max_delay_ns / 1000;
    p->batching.priority_levels = (uint64_t)q->levels;
    p->batching.default_priority_level = (uint64_t)q->default_level;
    p->policy.max_queue_size = (uint32_t)q->max_queue;
    p->policy.default_timeout_microseconds = (uint64_t)q->default_timeout_ns / 1000;
    p->batching.default_queue_policy = &p->policy;
    c->dynamic_batching = &p->batching;
    c->scheduling_choice_case = INFERENCE__MODEL_CONFIG__SCHEDULING_CHOICE_DYNAMIC_BATCHING;
}

void cab_rpc_model_config(cab_service *s, cab_exchange *x, void *request)
{
    const Inference__ModelConfigRequest *q = request;
    Inference__ModelConfigResponse r = INFERENCE__MODEL_CONFIG_RESPONSE__INIT;
    Inference__ModelConfig c = INFERENCE__MODEL_CONFIG__INIT;
    serving more;
    cab_resident *l = cab_find_loaded(s, x, cab_slice_of(q->name), cab_slice_of(q->version));
    if (!l)
        return;
    c.name = l->name;
    c.platform = c.backend = (char *)(uintptr_t)"cabochon";
    c.max_batch_size = (int32_t)l->max_batch;
    c.input = config_inputs(x, l->inputs, l->n_inputs, l->max_batch > 0);
    c.output = config_outputs(x, l->outputs, l->n_outputs, l->max_batch > 0);
    c.n_input = c.input ? (size_t)l->n_inputs : 0;
    c.n_output = c.output ? (size_t)l->n_outputs : 0;
    put_serving(&c, l, &more);
    r.config = &c;
    if (c.input && c.output)
        cab_grpc_answer(x, &r.base);
    else
        cab_exchange_refuse(x, 503, "out of memory");
    cab_resident_unref(l);
}

/* ---- statistics ---- */

/* In x's memory; false: out of it. */
static bool put_duration(cab_exchange *x, Inference__StatisticDuration **out, cab_tally t)
{
    Inference__StatisticDuration *d = *out = cab_pieces_zero(&x->mem, 1, sizeof *d);
    if (!d)
        return false;
    inference__statistic_duration__init(d);
    d->count = t.count;
    d->ns = t.ns;
    return true;
}

/* Runs by their rows, likewise. */
static bool fill_batches(cab_exchange *x, const cab_resident *l, Inference__ModelStatistics *m)
{
    cab_batch_stats all[CAB_BATCH_SIZES + 1];
    int64_t n = cab_served_get_batches(l->served, all, CAB_BATCH_SIZES + 1);
    Inference__InferBatchStatistics *b = cab_pieces_zero(&x->mem, (size_t)n, sizeof *b);
    m->batch_stats = cab_pieces_zero(&x->mem, (size_t)n, sizeof *m->batch_stats);
    bool fine = b && m->batch_stats;
    for (int64_t i = 1; fine && i < n; i++) {
        if (!all[i].count)
            continue;
        Inference__InferBatchStatistics *to = &b[m->n_batch_stats];
        inference__infer_batch_statistics__init(to);
        to->batch_size = (uint64_t)i;
        fine = put_duration(x, &to->compute_input, (cab_tally){ all[i].count, all[i].input_ns }) &&
               put_duration(x, &to->compute_infer, (cab_tally){ all[i].count, all[i].infer_ns }) &&
               put_duration(x, &to->compute_output, (cab_tally){ all[i].count, all[i].output_ns });
        m->batch_stats[m->n_batch_stats++] = to;
    }
    return fine;
}

static bool fill_stats(cab_exchange *x, const cab_resident *l, Inference__ModelStatistics *m, Inference__InferStatistics *i)
{
    cab_served_stats v;
    cab_served_get_stats(l->served, &v);
    inference__model_statistics__init(m);
    inference__infer_statistics__init(i);
    m->name = cab_pieces_text(&x->mem, cab_slice_of(l->name));
    m->version = cab_pieces_text(&x->mem, cab_slice_of(l->version_text));
    m->last_inference = cab_wall_ms(v.last_ns);
    m->inference_count = v.inferences;
    m->execution_count = v.executions;
    m->inference_stats = i;
    return m->name && m->version && put_duration(x, &i->success, v.success) && put_duration(x, &i->fail, v.fail) &&
           put_duration(x, &i->queue, v.queue) && put_duration(x, &i->compute_input, v.input) &&
           put_duration(x, &i->compute_infer, v.infer) && put_duration(x, &i->compute_output, v.output) && fill_batches(x, l, m);
}

void cab_rpc_model_statistics(cab_service *s, cab_exchange *x, void *request)
{
    const Inference__ModelStatisticsRequest *q = request;
    Inference__ModelStatisticsResponse r = INFERENCE__MODEL_STATISTICS_RESPONSE__INIT;
    cab_resident **all, *one = NULL;
    if (*q->name && !(one = cab_find_loaded(s, x, cab_slice_of(q->name), cab_slice_of(q->version))))
        return;
    int n = cab_catalog_list(s->catalog, one ? one->name : NULL, &all);
    size_t k = n < 0 ? 0 : (size_t)n;
    Inference__ModelStatistics *m = cab_pieces_zero(&x->mem, k, sizeof *m);
    Inference__InferStatistics *i = cab_pieces_zero(&x->mem, k, sizeof *i);
    r.model_stats = cab_pieces_zero(&x->mem, k, sizeof *r.model_stats);
    bool fine = n >= 0 && m && i && r.model_stats;
    for (size_t j = 0; fine && j < k; j++) {
        if (one && *q->version && all[j]->version != one->version)
            continue;
        fine = fill_stats(x, all[j], &m[j], &i[j]);
        r.model_stats[r.n_model_stats++] = &m[j];
    }
    cab_catalog_let_go(all, n);
    cab_resident_unref(one);
    if (fine)
        cab_grpc_answer(x, &r.base);
    else
        cab_exchange_refuse(x, 503, "out of memory");
}

/* ---- the repository ---- */

void cab_rpc_repository_index(cab_service *s, cab_exchange *x, void *request)
{
    const Inference__RepositoryIndexRequest *q = request;
    cab_index_repository(s, x, q->ready);
}

/* The index as a message: a row per version, texts in x's memory. */
void cab_grpc_index(cab_exchange *x, const cab_index_row *rows, size_t n)
{
    typedef Inference__RepositoryIndexResponse__ModelIndex row;
    Inference__RepositoryIndexResponse r = INFERENCE__REPOSITORY_INDEX_RESPONSE__INIT;
    row *m = cab_pieces_zero(&x->mem, n, sizeof *m), **at = cab_pieces_zero(&x->mem, n, sizeof *at);
    if (!m || !at) {
        cab_exchange_refuse(x, 503, "out of memory");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        inference__repository_index_response__model_index__init(&m[i]);
        m[i].name = (char *)(uintptr_t)rows[i].name;
        m[i].version = (char *)(uintptr_t)rows[i].version;
        m[i].state = (char *)(uintptr_t)rows[i].state;
        m[i].reason = (char *)(uintptr_t)rows[i].reason;
        at[i] = &m[i];
    }
    r.models = at;
    r.n_models = n;
    cab_grpc_answer(x, &r.base);
}
