/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_config.c - reads and writes how a model version is served.
 */
#include "serve/model_config.h"
#include "serve/call.h"
#include "serve/json/json_pull.h"
#include "serve/json/json_tensor.h"
#include "serve/json/json_tree.h"
#include "serve/service.h"
#include <errno.h>
#include <stdlib.h>

/* A field of the text: where its number goes, and what it may be. */
typedef struct field { const char *name; int64_t *to, lo, hi; } field;

/* What writers put where nothing was set. */
static bool says_nothing(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_string(v) && !json_string_length(v)) ||
           (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

/* A number, or its text, which is how protobuf writes 64 bits in JSON. */
static bool whole(const json_t *v, int64_t *out)
{
    char *end = NULL;
    const char *text = json_string_value(v);
    errno = 0;
    *out = text ? strtoll(text, &end, 10) : json_integer_value(v);
    return text ? end != text && !*end && !errno : json_is_integer(v);
}

static cab_status read_field(const field *f, const json_t *v, const char *where, cab_diag *d)
{
    int64_t n;
    if (!whole(v, &n) || n < f->lo || n > f->hi)
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %s%s must be a whole number from %lld to %lld",
                        where, f->name, (long long)f->lo, (long long)f->hi);
    *f->to = n;
    return CAB_OK;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; names && *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

/* The numbers of an object by the rows; `rest` are names that the caller reads itself, or that say nothing here. */
static cab_status read_fields(const json_t *o, const char *where, const field *rows, size_t n,
                              const char *const *rest, cab_diag *d)
{
    const char *name;
    json_t *v;
    if (!json_is_object(o))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %s must be an object", *where ? where : "it");
    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        size_t i = 0;
        while (i < n && strcmp(rows[i].name, name))
            i++;
        if (i < n)
            CAB_TRY(read_field(&rows[i], v, where, d));
        else if (!is_one_of(name, rest) && !says_nothing(v))
            return cab_fail(d, CAB_EINVAL, NULL, "model configuration: no field '%s%s' here", where, name);
    }
    return CAB_OK;
}

/* A text that may be missing, and else is one of those; why: what to do instead. */
static cab_status read_choice(const json_t *o, const char *where, const char *name, const char *const *choices, const char *why, cab_diag *d)
{
    const json_t *v = json_object_get(o, name);
    if (!v || says_nothing(v) || (json_is_string(v) && is_one_of(json_string_value(v), choices)))
        return CAB_OK;
    return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %s%s must be %s%s", where, name, choices[0], why);
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
    static const char *const rest[] = { "preferred_batch_size", "default_queue_policy", "preserve_ordering", NULL };
    static const char *const quiet[] = { "allow_timeout_override", "timeout_action", NULL }, *const actions[] = { "REJECT", NULL };
    int64_t delay_us = 0, levels = 0, level = 0, timeout_us = 0;
    const field rows[] = { { "max_queue_delay_microseconds", &delay_us, 0, 3600000000 },
                           { "priority_levels", &levels, 0, CAB_BATCH_LEVELS },
                           { "default_priority_level", &level, 0, CAB_BATCH_LEVELS } };
    const field policy[] = { { "max_queue_size", &q->max_queue, 0, 1 << 30 },
                             { "default_timeout_microseconds", &timeout_us, 0, 86400000000 } };
    CAB_TRY(read_fields(o, "dynamic_batching.", rows, 3, rest, d));
    const json_t *p = json_object_get(o, "default_queue_policy"), *a = json_object_get(o, "preferred_batch_size");
    if (p) {
        CAB_TRY(read_fields(p, "dynamic_batching.default_queue_policy.", policy, 2, quiet, d));
        CAB_TRY(read_choice(p, "dynamic_batching.default_queue_policy.", "timeout_action", actions, "", d));
    }
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
    static const char *const quiet[] = { "name", "kind", NULL }, *const kinds[] = { "KIND_CPU", "KIND_AUTO", "KIND_MODEL", NULL };
    int64_t all = 0;
    if (!json_is_array(a))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: instance_group must be an array");
    for (size_t i = 0; i < json_array_size(a); i++) {
        int64_t count = 1;
        const field f = { "count", &count, 1, 1024 };
        CAB_TRY(read_fields(json_array_get(a, i), "instance_group[].", &f, 1, quiet, d));
        CAB_TRY(read_choice(json_array_get(a, i), "instance_group[].", "kind", kinds, ": models run on the processor", d));
        all += count;
        if (all > 1024)
            return cab_fail(d, CAB_EINVAL, NULL, "model configuration: the groups have more than 1024 instances together");
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

static bool are_texts(const json_t *a)
{
    bool fine = json_is_array(a);
    for (size_t i = 0; fine && i < json_array_size(a); i++)
        fine = json_is_string(json_array_get(a, i));
    return fine;
}

static bool are_extents(const json_t *a)
{
    bool fine = json_is_array(a);
    int64_t n;
    for (size_t i = 0; fine && i < json_array_size(a); i++)
        fine = whole(json_array_get(a, i), &n);
    return fine;
}

/* What is said of an input or output, each member of the form that it has; whether it is true the model tells. */
static cab_status read_tensor(const json_t *o, const char *where, bool output, cab_diag *d)
{
    static const char *const members[] = { "name", "data_type", "dims", "format", "labels", NULL };
    static const char *const formats[] = { "FORMAT_NONE", "FORMAT_NCHW", "FORMAT_NHWC", NULL };
    const json_t *name = json_object_get(o, "name"), *type = json_object_get(o, "data_type"), *dims = json_object_get(o, "dims"),
                 *labels = json_object_get(o, "labels");
    CAB_TRY(read_fields(o, where, NULL, 0, members, d));
    CAB_TRY(read_choice(o, where, "format", formats, "", d));
    if (!json_is_string(name))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %sname must be a text", where);
    if (type && !json_is_string(type))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %sdata_type must be a text, TYPE_FP32 for one", where);
    if (dims && !are_extents(dims))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %sdims must be an array of whole numbers", where);
    if (labels && (!output || !are_texts(labels)))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: labels are an array of texts, of an output");
    return CAB_OK;
}

static cab_status read_tensors(const json_t *o, bool output, cab_diag *d)
{
    const char *side = output ? "output" : "input", *where = output ? "output[]." : "input[].";
    const json_t *a = json_object_get(o, side);
    if (a && !json_is_array(a))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %s must be an array", side);
    for (size_t i = 0; i < json_array_size(a); i++)
        CAB_TRY(read_tensor(json_array_get(a, i), where, output, d));
    return CAB_OK;
}

/* What a model's policy is, and what no model does here. */
static cab_status read_refused(const json_t *o, cab_diag *d)
{
    const json_t *p = json_object_get(o, "version_policy"), *t = json_object_get(o, "model_transaction_policy");
    const json_t *latest = json_object_get(p, "latest"), *n = json_object_get(latest, "num_versions");
    int64_t k;
    if (p && !says_nothing(p) && (json_object_size(p) != 1 || !latest || (n && (!whole(n, &k) || k != 1))))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: version_policy is not of a version: POST /v2/models/NAME/policy sets it");
    if (t && !says_nothing(t) && !json_is_false(json_object_get(t, "decoupled")))
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: model_transaction_policy: each request has one answer here");
    return CAB_OK;
}

static cab_status read_config(const json_t *o, cab_model_config *c, cab_diag *d)
{
    static const char *const rest[] = { "dynamic_batching", "instance_group", "input", "output", "version_policy",
                                        "model_transaction_policy", "name", "platform", "backend", "runtime", "optimization",
                                        "default_model_filename", NULL };
    int64_t threads = 1;
    const field rows[] = { { "max_batch_size", &c->max_batch_size, 0, 65536 }, { "threads", &threads, 0, 1024 } };
    CAB_TRY(read_fields(o, "", rows, 2, rest, d));
    CAB_TRY(read_tensors(o, false, d));
    CAB_TRY(read_tensors(o, true, d));
    CAB_TRY(read_refused(o, d));
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

/* ---- beside the model ---- */

static const cab_tensor_info *find(const cab_tensor_info *t, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(t[i].name, name))
            return &t[i];
    return NULL;
}

/* dims stand behind the axis of a batch; -1 on either side: any. */
static bool same_extents(const json_t *dims, const cab_tensor_info *t, int from)
{
    bool same = json_array_size(dims) == (size_t)(t->rank > from ? t->rank - from : 0);
    for (int i = from; same && i < t->rank; i++) {
        int64_t v;
        whole(json_array_get(dims, (size_t)(i - from)), &v);
        same = v < 0 || t->dims[i] < 0 || v == t->dims[i];
    }
    return same;
}

/* "the model has x FP32 [3,4]", for who was told otherwise. */
static cab_status otherwise(const char *side, const char *name, const cab_tensor_info *t, int from, cab_diag *d)
{
    char have[200];
    if (!t)
        return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %s '%s', which the model does not have", side, name);
    cab_shape_text(have, sizeof have, t->rank > from ? t->rank - from : 0, t->dims + from);
    return cab_fail(d, CAB_EINVAL, NULL, "model configuration: %s '%s' is TYPE_%s, dims %s in the model", side, name,
                    cab_json_type_name(t->dtype), have);
}

static cab_status side_fits(const json_t *o, bool output, cab_resident *l, int from, cab_diag *d)
{
    const char *side = output ? "output" : "input";
    const json_t *a = json_object_get(o, side);
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *one = json_array_get(a, i), *dims = json_object_get(one, "dims");
        const char *name = json_string_value(json_object_get(one, "name")), *type = json_string_value(json_object_get(one, "data_type"));
        const cab_tensor_info *t = output ? find(l->outputs, l->n_outputs, name) : find(l->inputs, l->n_inputs, name);
        json_t *labels = json_object_get(one, "labels");
        if (!t || (type && (strncmp(type, "TYPE_", 5) || strcmp(type + 5, cab_json_type_name(t->dtype)))) ||
            (dims && !same_extents(dims, t, from)))
            return otherwise(side, name, t, from, d);
        if (labels && json_object_set(l->labels, name, labels))
            return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    return CAB_OK;
}

/* A batch needs a first axis of any size. */
static cab_status has_rows(const cab_tensor_info *t, int n, const char *side, cab_diag *d)
{
    for (int i = 0; i < n; i++)
        if (t[i].rank < 1 || t[i].dims[0] >= 0)
            return cab_fail(d, CAB_EINVAL, NULL, "model configuration: max_batch_size is for models whose first axis has any size, and "
                                                 "%s '%s' has not", side, t[i].name);
    return CAB_OK;
}

cab_status cab_model_config_fit(const char *text, const cab_model_config *c, cab_resident *l, cab_diag *d)
{
    json_t *o;
    int from = c->max_batch_size > 0;
    if (!text || !*text)
        return CAB_OK;
    if (from) {
        CAB_TRY(has_rows(l->inputs, l->n_inputs, "input", d));
        CAB_TRY(has_rows(l->outputs, l->n_outputs, "output", d));
    }
    CAB_TRY(cab_json_read(text, "the model configuration", &o, d));
    cab_status s = (l->labels = json_object()) ? side_fits(o, false, l, from, d) : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    s = s == CAB_OK ? side_fits(o, true, l, from, d) : s;
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
        cab_json_put_extents(b, t[i].rank - from, t[i].dims + from);
        if (json_object_get(labels, t[i].name))
            put_labels(b, json_object_get(labels, t[i].name));
        cab_bytes_char(b, '}');
    }
    cab_bytes_char(b, ']');
}

static void put_batching(cab_bytes *b, const cab_batch_config *q)
{
    cab_bytes_str(b, ",\"dynamic_batching\":{\"preferred_batch_size\":");
    cab_json_put_extents(b, q->n_preferred, q->preferred);
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
