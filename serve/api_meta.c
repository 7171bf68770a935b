/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_meta.c - health, and what the server says of itself and its models.
 */
#include "serve/handlers.h"
#include "serve/json/json_pull.h"
#include "serve/json/json_tensor.h"
#include <stdio.h>

static void answer(cab_exchange *x, int status, const char *type)
{
    if (x->out.failed) {
        cab_exchange_refuse(x, 503, "out of memory");
        return;
    }
    x->status = status;
    x->type = type;
    cab_exchange_answer(x);
}

/* ---- health ---- */

void cab_api_health_live(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)s;
    (void)t;
    cab_bytes_str(&x->out, "{\"live\":true}");
    answer(x, 200, "application/json");
}

void cab_api_health_ready(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)t;
    bool ready = cab_service_is_ready(s);
    cab_bytes_str(&x->out, ready ? "{\"ready\":true}" : "{\"ready\":false}");
    answer(x, ready ? 200 : 503, "application/json");
}

/* ---- the server ---- */

void cab_api_server_metadata(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)s;
    (void)t;
    cab_bytes_str(&x->out, "{\"name\":\"cabochon\",\"version\":\"" CAB_VERSION "\",\"extensions\":[");
    for (int i = 0; cab_extensions[i]; i++)
        cab_bytes_printf(&x->out, i ? ",\"%s\"" : "\"%s\"", cab_extensions[i]);
    cab_bytes_str(&x->out, "]}");
    answer(x, 200, "application/json");
}

const char *const cab_extensions[] = { "binary_tensor_data", "classification", "model_repository", "model_configuration",
                                       "statistics", "parameters", NULL };

void cab_api_openapi(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)t;
    cab_bytes_put(&x->out, s->openapi.p, s->openapi.n);
    answer(x, 200, "application/json");
}

void cab_api_metrics(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)t;
    if (!cab_metrics_write(s, &x->out))
        x->out.failed = true;
    answer(x, 200, "text/plain; version=0.0.4");
}

/* ---- models ---- */

void cab_api_model_ready(cab_service *s, cab_exchange *x, const cab_target *t)
{
    cab_resident *l;
    if (cab_catalog_get(s->catalog, t->model, t->version, &l) == CAB_FOUND) {
        cab_bytes_printf(&x->out, "{\"name\":\"%s\",\"ready\":true}", l->name);
        cab_resident_unref(l);
        answer(x, 200, "application/json");
    } else {
        cab_exchange_refuse(x, 404, "the model or version is not loaded");
    }
}

static void put_tensors(cab_bytes *b, const char *what, const cab_tensor_info *t, int n)
{
    cab_bytes_printf(b, ",\"%s\":[", what);
    for (int i = 0; i < n; i++) {
        cab_bytes_str(b, i ? ",{\"name\":" : "{\"name\":");
        cab_json_put_string(b, cab_slice_of(t[i].name));
        cab_bytes_printf(b, ",\"datatype\":\"%s\",\"shape\":", cab_json_type_name(t[i].dtype));
        cab_json_put_extents(b, t[i].rank, t[i].dims);
        cab_bytes_char(b, '}');
    }
    cab_bytes_char(b, ']');
}

void cab_api_model_metadata(cab_service *s, cab_exchange *x, const cab_target *t)
{
    cab_resident *l = cab_find_loaded(s, x, t->model, t->version), **all;
    if (!l)
        return;
    int n = cab_catalog_list(s->catalog, l->name, &all);
    cab_bytes_printf(&x->out, "{\"name\":\"%s\",\"versions\":[", l->name);
    for (int i = 0; i < n; i++)
        cab_bytes_printf(&x->out, i ? ",\"%s\"" : "\"%s\"", all[i]->version_text);
    cab_bytes_str(&x->out, "],\"platform\":\"cabochon\"");
    put_tensors(&x->out, "inputs", l->inputs, l->n_inputs);
    put_tensors(&x->out, "outputs", l->outputs, l->n_outputs);
    cab_bytes_char(&x->out, '}');
    x->out.failed = x->out.failed || n < 0;
    cab_catalog_let_go(all, n);
    cab_resident_unref(l);
    answer(x, 200, "application/json");
}

void cab_api_model_config(cab_service *s, cab_exchange *x, const cab_target *t)
{
    cab_resident *l = cab_find_loaded(s, x, t->model, t->version);
    if (!l)
        return;
    cab_bytes_put(&x->out, l->config.p, l->config.n);
    cab_resident_unref(l);
    answer(x, 200, "application/json");
}

/* ---- statistics ---- */

static void put_tally(cab_bytes *b, const char *name, cab_tally t)
{
    cab_bytes_printf(b, "\"%s\":{\"count\":%llu,\"ns\":%llu}", name, (unsigned long long)t.count,
                     (unsigned long long)t.ns);
}

static void put_batches(cab_bytes *b, cab_served *served)
{
    static const char *const names[] = { "compute_input", "compute_infer", "compute_output" };
    cab_batch_stats all[CAB_BATCH_SIZES + 1];
    int64_t n = cab_served_get_batches(served, all, CAB_BATCH_SIZES + 1);
    bool first = true;
    cab_bytes_str(b, ",\"batch_stats\":[");
    for (int64_t i = 1; i < n; i++) {
        if (!all[i].count)
            continue;
        const uint64_t ns[] = { all[i].input_ns, all[i].infer_ns, all[i].output_ns };
        cab_bytes_printf(b, "%s{\"batch_size\":%lld", first ? "" : ",", (long long)i);
        for (int k = 0; k < 3; k++) {
            cab_bytes_char(b, ',');
            put_tally(b, names[k], (cab_tally){ all[i].count, ns[k] });
        }
        cab_bytes_char(b, '}');
        first = false;
    }
    cab_bytes_char(b, ']');
}

static void put_stats(cab_bytes *b, const cab_resident *l)
{
    cab_served_stats v;
    cab_served_get_stats(l->served, &v);
    cab_bytes_printf(b, "{\"name\":\"%s\",\"version\":\"%s\",\"last_inference\":%llu,\"inference_count\":%llu,"
                        "\"execution_count\":%llu,\"inference_stats\":{", l->name, l->version_text,
                     (unsigned long long)cab_wall_ms(v.last_ns), (unsigned long long)v.inferences,
                     (unsigned long long)v.executions);
    const struct { const char *name; cab_tally t; } rows[] = {
        { "success", v.success }, { "fail", v.fail }, { "queue", v.queue }, { "compute_input", v.input },
        { "compute_infer", v.infer }, { "compute_output", v.output },
        { "cache_hit", { 0, 0 } }, { "cache_miss", { 0, 0 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (i)
            cab_bytes_char(b, ',');
        put_tally(b, rows[i].name, rows[i].t);
    }
    cab_bytes_char(b, '}');
    put_batches(b, l->served);
    cab_bytes_char(b, '}');
}

void cab_api_model_stats(cab_service *s, cab_exchange *x, const cab_target *t)
{
    cab_resident *one = NULL, **all = NULL;
    int n = 0;
    bool whole = !t->version.n;
    if (t->model.n && !(one = cab_find_loaded(s, x, t->model, t->version)))
        return;
    if (whole)
        n = cab_catalog_list(s->catalog, one ? one->name : NULL, &all);
    cab_bytes_str(&x->out, "{\"model_stats\":[");
    for (int i = 0; i < n; i++) {
        if (i)
            cab_bytes_char(&x->out, ',');
        put_stats(&x->out, all[i]);
    }
    if (!whole)
        put_stats(&x->out, one);
    cab_bytes_str(&x->out, "]}");
    x->out.failed = x->out.failed || n < 0;
    cab_catalog_let_go(all, n);
    cab_resident_unref(one);
    answer(x, 200, "application/json");
}
