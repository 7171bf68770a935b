/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rt_run.c - one run of a .cab file by cab-rt; nothing outlives it.
 */
#include "tools/rt_run.h"
#include "base/dtype.h"
#include "tools/custom_lib.h"
#include "tools/rt_tensor.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int tell(rt_run *r, int code, const char *what, const char *why)
{
    snprintf(r->story, sizeof r->story, "%s: %s", what, why);
    return code;
}

/* "NAME=FILE" goes to that input, anything else to the next free one. */
static int find_input(const cab_model *m, const char *text, int next, const char **file)
{
    const char *eq = strchr(text, '=');
    *file = text;
    for (int i = 0; eq && i < cab_model_input_count(m); i++) {
        cab_tensor_info info;
        cab_model_input(m, i, &info);
        if (strlen(info.name) == (size_t)(eq - text) &&
            !memcmp(info.name, text, (size_t)(eq - text))) {
            *file = eq + 1;
            return i;
        }
    }
    return next;
}

static int read_inputs(rt_run *r, const cab_model *m, cab_tensor_view *in)
{
    int n = cab_model_input_count(m), next = 0;
    bool *given = calloc((size_t)n + 1, sizeof *given);
    int rc = CAB_RT_OK;
    if (!given)
        return tell(r, CAB_RT_ENOMEM, r->model, "out of memory");
    for (int i = 0; i < r->n_inputs && rc == CAB_RT_OK; i++) {
        const char *file, *why;
        int at = find_input(m, r->input[i], next, &file);
        if (at >= n || given[at]) {
            rc = tell(r, CAB_RT_EINPUT, file, "one input too many");
            break;
        }
        given[at] = true;
        if (rt_value_read(file, cab_model_input_kind(m, at), &in[at], &why))
            rc = tell(r, CAB_RT_EINPUT, file, why);
        while (next < n && given[next])
            next++;
    }
    free(given);
    if (rc != CAB_RT_OK)
        return rc;
    return next < n ? tell(r, CAB_RT_EINPUT, r->model, "an input is missing: give it with --input")
                    : CAB_RT_OK;
}

static int write_outputs(rt_run *r, const cab_model *m, const cab_tensor_view *out)
{
    for (int i = 0; i < cab_model_output_count(m); i++) {
        cab_tensor_info info;
        char path[4096];
        const char *why;
        cab_model_output(m, i, &info);
        if (!r->output_dir) {
            if (!r->quiet)
                printf("%s: %s, rank %d, %zu bytes\n", info.name,
                       cab_dtype_name(cab_dtype_from_onnx(out[i].dtype)), out[i].rank, out[i].bytes);
            continue;
        }
        snprintf(path, sizeof path, "%s/output_%d.pb", r->output_dir, i);
        if (rt_value_write(path, info.name, cab_model_output_kind(m, i), &out[i], &why))
            return tell(r, CAB_RT_EIO, path, why);
    }
    return CAB_RT_OK;
}

static void print_trace(const cab_session *s)
{
    const cab_trace_event *t;
    size_t n;
    if (cab_session_trace(s, &t, &n) != CAB_RT_OK)
        return;
    for (size_t i = 0; i < n; i++)
        printf("%8.1f us  %-7s %-20s %s\n", (double)t[i].ns / 1e3, t[i].kind, t[i].name,
               t[i].layers);
}

static void set_deadline(const rt_run *r, cab_session *s)
{
    struct timespec now;
    if (!r->deadline_ms)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    cab_session_deadline(s, now.tv_sec * INT64_C(1000000000) + now.tv_nsec +
                            r->deadline_ms * 1000000);
}

static int run_session(rt_run *r, cab_model *m, const cab_tensor_view *in, cab_tensor_view *out)
{
    cab_session *s;
    cab_error e = { 0 };
    int rc = cab_session_create(m, &r->session, &s, &e);
    if (rc)
        return tell(r, rc, r->model, e.text);
    set_deadline(r, s);
    rc = cab_session_run(s, in, out, &e);
    if (rc)
        tell(r, rc, r->model, e.text);
    if (rc == CAB_RT_OK && r->session.trace && !r->quiet)
        print_trace(s);
    if (rc == CAB_RT_OK)
        rc = write_outputs(r, m, out);
    cab_session_destroy(s);
    return rc;
}

static int run_model(rt_run *r, cab_model *m)
{
    cab_tensor_view *in = calloc((size_t)cab_model_input_count(m) + 1, sizeof *in);
    cab_tensor_view *out = calloc((size_t)cab_model_output_count(m) + 1, sizeof *out);
    int rc = in && out ? read_inputs(r, m, in) : tell(r, CAB_RT_ENOMEM, r->model, "out of memory");
    if (rc == CAB_RT_OK)
        rc = run_session(r, m, in, out);
    for (int i = 0; in && i < cab_model_input_count(m); i++)
        rt_value_free(&in[i]);
    free(in);
    free(out);
    return rc;
}

int rt_run_once(rt_run *r)
{
    cab_model *m;
    cab_error e = { 0 };
    cab_model_options o = { .size = sizeof o, .verify = r->verify, .custom = custom_lib_all()->ops,
                            .n_custom = custom_lib_all()->n_ops };
    int rc = cab_model_load(r->model, &o, &m, &e);
    if (rc)
        return tell(r, rc, r->model, e.text);
    rc = run_model(r, m);
    cab_model_destroy(m);
    return rc;
}
