/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_worker.c - cab bench --worker: one JSON request a line on stdin, one
 * JSON answer a line on stdout.
 *
 *   {"cmd":"load","model":DIR,"set":K,"batch":B}  -> load_s, first_ms, err, rss_*
 *   {"cmd":"run","n":N,"min_s":S}                 -> ms: a number per call
 *   {"cmd":"quit"}
 * DIR/model.onnx is fed DIR/test_data_set_K/input_I.pb; err is the largest
 * error over the outputs relative to the largest reference value.
 */
#include "tools/bench.h"
#include <jansson.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MAX_CALLS = 2000 };

typedef struct worker {
    const tool_args *args;
    bench b;
    bool open;
} worker;

static double rss_mib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

static void pin(int threads)
{
    cpu_set_t have, want;
    CPU_ZERO(&want);
    if (sched_getaffinity(0, sizeof have, &have))
        return;
    for (int i = 0, n = 0; i < CPU_SETSIZE && n < threads; i++)
        if (CPU_ISSET(i, &have)) {
            CPU_SET(i, &want);
            n++;
        }
    sched_setaffinity(0, sizeof want, &want);
}

static json_t *refuse(const char *text)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

/* Largest |out - ref| / (max |ref| + 1e-9); infinity for a wrong size. */
static double output_error(bench *b, const char *folder)
{
    double worst = 0;
    for (int i = 0; i < cab_model_output_count(b->model); i++) {
        cab_tensor ref;
        const cab_tensor_view *o = &b->out[i];
        cab_dtype dt = cab_dtype_from_onnx(o->dtype);
        int64_t n = 1;
        double diff = 0, most = 0;
        const char *path = cab_printf(b->arena, "%s/output_%d.pb", folder, i);
        if (cab_tensor_read(b->arena, path, &ref, &b->diag) != CAB_OK)
            return INFINITY;
        for (int k = 0; k < o->rank; k++)
            n *= o->dims[k];
        if (n != cab_tensor_numel(&ref) || dt != ref.dtype)
            return INFINITY;
        for (int64_t k = 0; k < n; k++) {
            double want = cab_elem_f64(dt, ref.data, (uint64_t)k);
            diff = fmax(diff, fabs(cab_elem_f64(dt, o->data, (uint64_t)k) - want));
            most = fmax(most, fabs(want));
        }
        worst = fmax(worst, diff / (most + 1e-9));
    }
    return worst;
}

static json_t *load(worker *w, json_t *q)
{
    const char *dir = json_string_value(json_object_get(q, "model"));
    int set = (int)json_integer_value(json_object_get(q, "set"));
    json_t *batch = json_object_get(q, "batch");
    char model[1024], folder[1024], path[64][1100];
    const char *files[64];
    int n = 0;
    if (!dir || (batch && json_integer_value(batch) > 1))
        return refuse(dir ? "batch > 1 is not offered" : "no model");
    if (w->open)
        bench_close(&w->b);
    snprintf(model, sizeof model, "%s/model.onnx", dir);
    snprintf(folder, sizeof folder, "%s/test_data_set_%d", dir, set);
    for (; n < 64; n++) {
        snprintf(path[n], sizeof path[n], "%s/input_%d.pb", folder, n);
        FILE *f = fopen(path[n], "rb");
        if (!f)
            break;
        fclose(f);
        files[n] = path[n];
    }
    tool_args args = *w->args;
    args.model = model;
    double base = rss_mib();
    w->open = true;
    cab_status s = bench_open(&w->b, &args, files, n, false);
    if (s != CAB_OK)
        return refuse(tool_one_line(w->b.arena, &w->b.diag, s));
    double err = output_error(&w->b, folder);
    json_t *j = json_pack("{s:b, s:f, s:f, s:f, s:f}", "ok", 1, "load_s", w->b.load_ms / 1e3,
                          "first_ms", w->b.first_ms, "rss_base_mib", base, "rss_mib", rss_mib());
    json_object_set_new(j, "err", isfinite(err) ? json_real(err) : json_real(1e300));
    return j;
}

static json_t *run(worker *w, json_t *q)
{
    if (!w->open || !w->b.session)
        return refuse("nothing is loaded");
    int64_t n = json_integer_value(json_object_get(q, "n"));
    double min_s = json_number_value(json_object_get(q, "min_s"));
    double end = (double)cab_now_ns() / 1e9 + min_s;
    json_t *ms = json_array();
    for (size_t i = 0; i < MAX_CALLS; i++) {
        double t = bench_run(&w->b), now = (double)cab_now_ns() / 1e9;
        if (t < 0) {
            json_decref(ms);
            return refuse(tool_one_line(w->b.arena, &w->b.diag, CAB_EINTERNAL));
        }
        json_array_append_new(ms, json_real(t));
        if (((int64_t)i + 1 >= n && now >= end) || now > end + 1)
            break;
    }
    return json_pack("{s:b, s:o, s:f}", "ok", 1, "ms", ms, "rss_mib", rss_mib());
}

int bench_worker(const tool_args *args)
{
    worker w = { .args = args };
    char *line = NULL;
    size_t cap = 0;
    pin(args->threads);
    while (getline(&line, &cap, stdin) > 0) {
        json_error_t e;
        json_t *q = json_loads(line, 0, &e);
        const char *cmd = json_string_value(json_object_get(q, "cmd"));
        if (cmd && !strcmp(cmd, "quit")) {
            json_decref(q);
            break;
        }
        json_t *j = !cmd                  ? refuse("not a request")
                  : !strcmp(cmd, "load") ? load(&w, q)
                  : !strcmp(cmd, "run")  ? run(&w, q)
                                          : refuse("unknown command");
        json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        printf("\n");
        fflush(stdout);
        json_decref(j);
        json_decref(q);
    }
    free(line);
    if (w.open)
        bench_close(&w.b);
    return 0;
}
