/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c - counters as Prometheus reads them (text format 0.0.4).
 *
 * Names of figures that Triton has too are its names (nv_inference_*), so that existing dashboards work.
 */
#include "base/process.h"
#include "serve/handlers.h"
#include <stdlib.h>

typedef struct metric {
    const char *name, *type, *help;
    uint64_t (*value)(const cab_served_stats *v);
} metric;

#define VALUE(name, expr) static uint64_t name(const cab_served_stats *v) { return (uint64_t)(expr); }
VALUE(success, v->success.count)
VALUE(failure, v->fail.count)
VALUE(inferences, v->inferences)
VALUE(executions, v->executions)
VALUE(request_us, v->success.ns / 1000)
VALUE(queue_us, v->queue.ns / 1000)
VALUE(input_us, v->input.ns / 1000)
VALUE(infer_us, v->infer.ns / 1000)
VALUE(output_us, v->output.ns / 1000)
VALUE(pending, v->waiting)
VALUE(running, v->running)
VALUE(full, v->full)
VALUE(expired, v->expired)
VALUE(cancelled, v->cancelled)
VALUE(inlined, v->inlined)

static const metric metrics[] = {
    { "nv_inference_request_success", "counter", "Requests answered with a result", success },
    { "nv_inference_request_failure", "counter", "Requests that failed, for whatever reason", failure },
    { "nv_inference_count", "counter", "Inferences: rows of batches", inferences },
    { "nv_inference_exec_count", "counter", "Runs of the model", executions },
    { "nv_inference_request_duration_us", "counter", "Time of successful requests, from queue to result", request_us },
    { "nv_inference_queue_duration_us", "counter", "Part of it: waiting", queue_us },
    { "nv_inference_compute_input_duration_us", "counter", "Part of it: gathering inputs", input_us },
    { "nv_inference_compute_infer_duration_us", "counter", "Part of it: running", infer_us },
    { "nv_inference_compute_output_duration_us", "counter", "Part of it: handing out results", output_us },
    { "nv_inference_pending_request_count", "gauge", "Requests that wait", pending },
    { "cabochon_running_requests", "gauge", "Requests that run", running },
    { "cabochon_refused_full_total", "counter", "Requests refused because the queue was full", full },
    { "cabochon_expired_total", "counter", "Requests whose deadline passed", expired },
    { "cabochon_cancelled_total", "counter", "Requests whose client went away", cancelled },
    { "cabochon_inline_total", "counter", "Runs on the thread of the connection", inlined },
};

static void head(cab_bytes *b, const char *name, const char *type, const char *help)
{
    cab_bytes_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_one(cab_bytes *b, const char *name, const char *type, const char *help, double v)
{
    head(b, name, type, help);
    cab_bytes_printf(b, "%s %.17g\n", name, v);
}

/* One model's lines of the histogram: classes add up. */
static void put_latency(cab_bytes *b, const cab_resident *l, const cab_served_stats *v)
{
    static const char name[] = "cabochon_request_duration_seconds";
    uint64_t n = 0;
    for (int k = 0; k <= CAB_LATENCIES; k++) {
        n += v->latency[k];
        cab_bytes_printf(b, "%s_bucket{model=\"%s\",version=\"%s\",le=\"", name, l->name, l->version_text);
        if (k < CAB_LATENCIES)
            cab_bytes_printf(b, "%g", (double)cab_latency_bounds[k] / 1e9);
        else
            cab_bytes_str(b, "+Inf");
        cab_bytes_printf(b, "\"} %llu\n", (unsigned long long)n);
    }
    cab_bytes_printf(b, "%s_sum{model=\"%s\",version=\"%s\"} %.9f\n", name, l->name, l->version_text,
                     (double)v->success.ns / 1e9);
    cab_bytes_printf(b, "%s_count{model=\"%s\",version=\"%s\"} %llu\n", name, l->name, l->version_text,
                     (unsigned long long)n);
}

/* Of the server: what has no model, too. */
static void put_counts(cab_service *s, cab_bytes *b)
{
    static const char answers[] = "cabochon_refused_requests_total", builds[] = "cabochon_builds_total";
    head(b, answers, "counter", "Requests answered with an error, whatever they were for");
    for (int i = 0; i < CAB_REFUSALS; i++) {
        unsigned long long n = atomic_load(&s->access.refused[i]);
        if (cab_refusals[i])
            cab_bytes_printf(b, "%s{status=\"%d\"} %llu\n", answers, cab_refusals[i], n);
        else
            cab_bytes_printf(b, "%s{status=\"other\"} %llu\n", answers, n);
    }
    head(b, builds, "counter", "Compilations that have ended");
    cab_bytes_printf(b, "%s{result=\"done\"} %llu\n", builds, (unsigned long long)atomic_load(&s->builds_done));
    cab_bytes_printf(b, "%s{result=\"failed\"} %llu\n", builds, (unsigned long long)atomic_load(&s->builds_failed));
}

static void put_process(cab_service *s, cab_bytes *b)
{
    uint64_t mapped, resident;
    cab_process_bytes(&mapped, &resident);
    put_one(b, "cabochon_connections", "gauge", "Open connections", atomic_load(&s->server.conns));
    put_one(b, "cabochon_request_body_bytes", "gauge", "Bytes of request bodies held", (double)atomic_load(&s->server.bodies));
    put_one(b, "cabochon_tensor_bytes", "gauge", "Bytes of tensors held by runs and results", (double)cab_sched_memory(s->sched));
    put_one(b, "cabochon_ready", "gauge", "1 when requests are taken", cab_service_is_ready(s));
    put_one(b, "process_resident_memory_bytes", "gauge", "Resident memory", (double)resident);
}

bool cab_metrics_write(cab_service *s, cab_bytes *b)
{
    cab_resident **all;
    int n = cab_catalog_list(s->catalog, NULL, &all);
    cab_served_stats *v = n < 0 ? NULL : calloc((size_t)n + 1, sizeof *v);
    for (int i = 0; v && i < n; i++)
        cab_served_get_stats(all[i]->served, &v[i]);
    for (size_t k = 0; v && k < sizeof metrics / sizeof *metrics; k++) {
        head(b, metrics[k].name, metrics[k].type, metrics[k].help);
        for (int i = 0; i < n; i++)
            cab_bytes_printf(b, "%s{model=\"%s\",version=\"%s\"} %llu\n", metrics[k].name, all[i]->name,
                             all[i]->version_text, (unsigned long long)metrics[k].value(&v[i]));
    }
    head(b, "cabochon_request_duration_seconds", "histogram", "Time of successful requests, from queue to result");
    for (int i = 0; v && i < n; i++)
        put_latency(b, all[i], &v[i]);
    bool fine = v != NULL;
    free(v);
    cab_catalog_let_go(all, n);
    put_counts(s, b);
    put_process(s, b);
    return fine && !b->failed;
}
