/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_config.c - reads and writes how a model version is served.
 */
#include "serve/model_config.h"
#include "serve/io_json.h"
#include "serve/json_pull.h"
#include "serve/json_tensor.h"
#include "serve/service.h"

/* A field of the text: where its number goes, and what it may be. */
typedef struct field { const char *name; int64_t *to, lo, hi; } field;

/* Fields that the other side writes and that say nothing here. */
static const char *const passed[] = { "name", "platform", "backend", "runtime", "input", "output", "version_policy",
                                      "kind", "preserve_ordering", "allow_timeout_override", "optimization",
                                      "default_model_filename", "model_transaction_policy", NULL };

static bool is_passed(const char *name)
{
    for (int i = 0; passed[i]; i++)
        if (!strcmp(name, passed[i]))
            return true;
    return false;
}

/* What writers put where nothing was set. */
static bool says_nothing(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_string(v) && !json_string_length(v)) ||
           (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

static cab_status read_field(const field *f, const json_t *v, const char *where, cab_diag *d)
{
    if (!json_is_integer(v) || json_integer_value(v) < f->lo || json_integer_value(v) > f->hi)
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %s%s must be a whole number from %lld to %lld",
                        where, f->name, (long long)f->lo, (long long)f->hi);
    *f->to = json_integer_value(v);
    return CAB_OK;
}

/* The numbers of an object by the rows; `rest` are names that the caller reads itself. */
static cab_status read_fields(const json_t *o, const char *where, const field *rows, size_t n,
                              const char *const *rest, cab_diag *d)
{
    const char *name;
    json_t *v;
    if (!json_is_object(o))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %s must be an object", *where ? where : "it");
    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        size_t i = 0;
        bool other = is_passed(name) || says_nothing(v);
        while (i < n && strcmp(rows[i].name, name))
            i++;
        for (int k = 0; rest && rest[k]; k++)
            other = other || !strcmp(rest[k], name);
        if (i < n)
            CAB_TRY(read_field(&rows[i], v, where, d));
        else if (!other)
            return cab_fail(d, CAB_EINVAL, NULL, "model configuration: no field '%s%s' here", where, name);
    }
    return CAB_OK;
}

static cab_status read_preferred(const json_t *a, cab_batch_config *q, cab_diag *d)
{
    if (!json_is_array(a) || json_array_size(a) > CAB_BATCH_PREFERRED)
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: preferred_batch_size must be an array of at most %d numbers",
                        CAB_BATCH_PREFERRED);
    for (size_t i = 0; i < json_array_size(a); i++) {
        const field f = { "preferred_batch_size", &q->preferred[i], 1, 65536 };
        CAB_TRY(read_field(&f, json_array_get(a, i), "dynamic_batching.", d));
        q->n_preferred++;
    }
    return CAB_OK;
}

static cab_status read_batching(const json_t *o, cab_batch_config *q, cab_diag *d)
{
    static const char *const rest[] = { "preferred_batch_size", "default_queue_policy", NULL };
    int64_t delay_us = 0, levels = 0, level = 0, timeout_us = 0;
    const field rows[] = { { "max_queue_delay_microseconds", &delay_us, 0, 3600000000 },
                           { "priority_levels", &levels, 0, CAB_BATCH_LEVELS },
                           { "default_priority_level", &level, 0, CAB_BATCH_LEVELS } };
    const field policy[] = { { "max_queue_size", &q->max_queue, 0, 1 << 30 },
                             { "default_timeout_microseconds", &timeout_us, 0, 86400000000 } };
    CAB_TRY(read_fields(o, "dynamic_batching.", rows, 3, rest, d));
    const json_t *p = json_object_get(o, "default_queue_policy"), *a = json_object_get(o, "preferred_batch_size");
    if (p)
        CAB_TRY(read_fields(p, "dynamic_batching.default_queue_policy.", policy, 2, NULL, d));
    if (a)
        CAB_TRY(read_preferred(a, q, d));
    q->max_delay_ns = delay_us * 1000;
    q->default_timeout_ns = timeout_us * 1000;
    q->levels = (int)levels;
    q->default_level = (int)level;
    return CAB_OK;
}

static cab_status read_instances(const json_t *a, int *out, cab_diag *d)
{
    int64_t all = 0;
    if (!json_is_array(a))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: instance_group must be an array");
    for (size_t i = 0; i < json_array_size(a); i++) {
        int64_t count = 1;
        const field f = { "count", &count, 1, 1024 };
        CAB_TRY(read_fields(json_array_get(a, i), "instance_group[].", &f, 1, NULL, d));
        all += count;
    }
    *out = (int)all;
    return CAB_OK;
}

/* What the batcher would refuse later, when the version has its number already. */
static cab_status check_batching(const cab_batch_config *q, cab_diag *d)
{
    for (int i = 0; i < q->n_preferred; i++)
        if (q->preferred[i] > q->max_batch)
            return cab_fail(d, CAB_EINVAL, NULL, "model configuration: preferred_batch_size %lld is more than max_batch_size",
                            (long long)q->preferred[i]);
    if (q->default_level > (q->levels ? q->levels : 1))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: default_priority_level is beyond priority_levels");
    return CAB_OK;
}

/* Of one output: a name, and labels that are texts; *labels: those, or NULL. */
static cab_status read_output(const json_t *o, json_t **labels, cab_diag *d)
{
    *labels = json_object_get(o, "labels");
    if (!*labels)
        return CAB_OK;
    bool fine = json_is_array(*labels) && json_is_string(json_object_get(o, "name"));
    for (size_t i = 0; fine && i < json_array_size(*labels); i++)
        fine = json_is_string(json_array_get(*labels, i));
    return fine ? CAB_OK : cab_fail(d, CAB_EINVAL, NULL, "model configuration: output[].labels must be an array of texts, and its "
                                                         "output have a name");
}

static cab_status read_outputs(const json_t *a, json_t *out, cab_diag *d)
{
    for (size_t i = 0; i < json_array_size(a); i++) {
        json_t *o = json_array_get(a, i), *labels;
        CAB_TRY(read_output(o, &labels, d));
        if (labels && out && json_object_set(out, json_string_value(json_object_get(o, "name")), labels))
            return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    return CAB_OK;
}

static cab_status read_config(const json_t *o, cab_model_config *c, cab_diag *d)
{
    static const char *const rest[] = { "dynamic_batching", "instance_group", NULL };
    int64_t threads = 1;
    const field rows[] = { { "max_batch_size", &c->max_batch_size, 0, 65536 }, { "threads", &threads, 0, 1024 } };
    CAB_TRY(read_fields(o, "", rows, 2, rest, d));
    CAB_TRY(read_outputs(json_object_get(o, "output"), NULL, d));
    const json_t *b = json_object_get(o, "dynamic_batching"), *g = json_object_get(o, "instance_group");
    if (b)
        CAB_TRY(read_batching(b, &c->served.queue, d));
    if (g)
        CAB_TRY(read_instances(g, &c->served.instances, d));
    c->dynamic_batching = b != NULL;
    c->served.threads = (int)threads;
    c->served.queue.max_batch = b ? c->max_batch_size : 0;
    if (b && !c->max_batch_size)
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: dynamic_batching needs a max_batch_size");
    return b ? check_batching(&c->served.queue, d) : CAB_OK;
}

cab_status cab_model_config_read(const char *text, int64_t max_queue, cab_model_config *out, cab_diag *d)
{
    json_t *o;
    *out = (cab_model_config){ .served = { .instances = 1, .threads = 1, .queue.max_queue = max_queue } };
    if (!text || !*text)
        return CAB_OK;
    CAB_TRY(cab_json_read(text, "the model configuration", &o, d));
    cab_status s = read_config(o, out, d);
    json_decref(o);
    return s;
}

static bool has_output(const cab_resident *l, const char *name)
{
    for (int i = 0; i < l->n_outputs; i++)
        if (!strcmp(l->outputs[i].name, name))
            return true;
    return false;
}

cab_status cab_model_config_labels(const char *text, cab_resident *l, cab_diag *d)
{
    const char *name;
    json_t *o, *v;
    if (!text || !*text)
        return CAB_OK;
    CAB_TRY(cab_json_read(text, "the model configuration", &o, d));
    cab_status s = (l->labels = json_object()) ? read_outputs(json_object_get(o, "output"), l->labels, d)
                                               : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    json_object_foreach(l->labels, name, v)
        if (s == CAB_OK && !has_output(l, name))
            s = cab_fail(d, CAB_EINVAL, NULL, "model configuration: labels for output '%s', which the model does not have", name);
    json_decref(o);
    return s;
}

/* ---- writing ---- */

static void put_labels(cab_bytes *b, const json_t *labels)
{
    cab_bytes_str(b, ",\"labels\":[");
    for (size_t i = 0; i < json_array_size(labels); i++) {
        if (i)
            cab_bytes_char(b, ',');
        cab_json_put_string(b, cab_slice_of(json_string_value(json_array_get(labels, i))));
    }
    cab_bytes_char(b, ']');
}

/* The protocol's names of types have other prefixes here: TYPE_FP32. */
static void put_tensors(cab_bytes *b, const char *what, const cab_tensor_info *t, int n, bool batched, const json_t *labels)
{
    cab_bytes_printf(b, ",\"%s\":[", what);
    for (int i = 0; i < n; i++) {
        int from = batched && t[i].rank > 0;
        cab_bytes_str(b, i ? ",{\"name\":" : "{\"name\":");
        cab_json_put_string(b, cab_slice_of(t[i].name));
        cab_bytes_printf(b, ",\"data_type\":\"TYPE_%s\",\"dims\":", cab_json_type_name(t[i].dtype));
        cab_put_extents(b, t[i].rank - from, t[i].dims + from);
        if (json_object_get(labels, t[i].name))
            put_labels(b, json_object_get(labels, t[i].name));
        cab_bytes_char(b, '}');
    }
    cab_bytes_char(b, ']');
}

static void put_batching(cab_bytes *b, const cab_batch_config *q)
{
    cab_bytes_str(b, ",\"dynamic_batching\":{\"preferred_batch_size\":");
    cab_put_extents(b, q->n_preferred, q->preferred);
    cab_bytes_printf(b, ",\"max_queue_delay_microseconds\":%lld,\"preserve_ordering\":false,\"priority_levels\":%d,"
                        "\"default_priority_level\":%d,\"default_queue_policy\":{\"max_queue_size\":%lld,"
                        "\"default_timeout_microseconds\":%lld}}",
                     (long long)(q->max_delay_ns / 1000), q->levels, q->default_level, (long long)q->max_queue,
                     (long long)(q->default_timeout_ns / 1000));
}

bool cab_model_config_write(cab_resident *l, const cab_model_config *c)
{
    cab_bytes *b = &l->config;
    cab_bytes_printf(b, "{\"name\":\"%s\",\"platform\":\"cabochon\",\"backend\":\"cabochon\",\"max_batch_size\":%lld",
                     l->name, (long long)c->max_batch_size);
    put_tensors(b, "input", l->inputs, l->n_inputs, c->max_batch_size > 0, NULL);
    put_tensors(b, "output", l->outputs, l->n_outputs, c->max_batch_size > 0, l->labels);
    cab_bytes_printf(b, ",\"instance_group\":[{\"name\":\"%s\",\"kind\":\"KIND_CPU\",\"count\":%d}],\"threads\":%d", l->name,
                     c->served.instances, c->served.threads);
    if (c->dynamic_batching)
        put_batching(b, &c->served.queue);
    cab_bytes_char(b, '}');
    return !b->failed;
}
