/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab-rt.c - runs a .cab file with libcabrt alone: no LLVM, no protobuf.
 *
 *   cab-rt MODEL.cab [--input [NAME=]FILE]... [--output-dir DIR] [--threads N] [--trace]
 *          [--custom LIB.so]...
 */
#include "include/cab_rt.h"
#include "base/dtype.h"
#include "base/status.h"
#include "tools/custom_lib.h"
#include "tools/rt_tensor.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IO = 64 };

typedef struct rt_args {
    const char *model, *output_dir, *input[MAX_IO];
    int n_inputs, threads, trace;
} rt_args;

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "cab-rt: %s: %s\n", what, why);
    return 1;
}

static int parse(int argc, char **argv, rt_args *a)
{
    static const struct option flags[] = {
        { "input", required_argument, NULL, 'i' }, { "output-dir", required_argument, NULL, 'd' },
        { "threads", required_argument, NULL, 't' }, { "trace", no_argument, NULL, 'T' },
        { "custom", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 }
    };
    int c;
    while ((c = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        switch (c) {
        case 'i':
            if (a->n_inputs == MAX_IO)
                return 2;
            a->input[a->n_inputs++] = optarg;
            break;
        case 'd': a->output_dir = optarg; break;
        case 't': a->threads = atoi(optarg); break;
        case 'T': a->trace = 1; break;
        case 'c': {
            const char *why = custom_lib_load(optarg);
            if (why) {
                complain(optarg, why);
                return 2;
            }
            break;
        }
        default: return 2;
        }
    }
    if (optind + 1 != argc)
        return 2;
    a->model = argv[optind];
    return 0;
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

static int read_inputs(const rt_args *a, const cab_model *m, cab_tensor_view *in)
{
    int n = cab_model_input_count(m), next = 0;
    for (int i = 0; i < a->n_inputs; i++) {
        const char *file, *why;
        int at = find_input(m, a->input[i], next, &file);
        if (at >= n || in[at].data)
            return complain(file, "one input too many");
        if (rt_tensor_read(file, &in[at], &why))
            return complain(file, why);
        while (next < n && in[next].data)
            next++;
    }
    return next < n ? complain(a->model, "an input is missing: give it with --input") : 0;
}

static int write_outputs(const rt_args *a, const cab_model *m, const cab_tensor_view *out)
{
    for (int i = 0; i < cab_model_output_count(m); i++) {
        cab_tensor_info info;
        char path[4096];
        const char *why;
        cab_model_output(m, i, &info);
        if (!a->output_dir) {
            printf("%s: %s, rank %d, %zu bytes\n", info.name,
                   cab_dtype_name(cab_dtype_from_onnx(out[i].dtype)), out[i].rank, out[i].bytes);
            continue;
        }
        snprintf(path, sizeof path, "%s/output_%d.pb", a->output_dir, i);
        if (rt_tensor_write(path, info.name, &out[i], &why))
            return complain(path, why);
    }
    return 0;
}

static void print_trace(const cab_session *s)
{
    const cab_trace_event *t;
    size_t n;
    cab_session_trace(s, &t, &n);
    for (size_t i = 0; i < n; i++)
        printf("%8.1f us  %-7s %-20s %s\n", (double)t[i].ns / 1e3, t[i].kind, t[i].name,
               t[i].layers);
}

static int run(const rt_args *a, cab_model *m)
{
    cab_tensor_view *in = calloc((size_t)cab_model_input_count(m) + 1, sizeof *in);
    cab_tensor_view *out = calloc((size_t)cab_model_output_count(m) + 1, sizeof *out);
    cab_session_options o = { .size = sizeof o, .threads = a->threads, .trace = a->trace };
    cab_session *s = NULL;
    cab_error e = { 0 };
    int rc = !in || !out ? complain(a->model, "out of memory") : read_inputs(a, m, in);
    if (rc == 0 && (cab_session_create(m, &o, &s, &e) || cab_session_run(s, in, out, &e))) {
        complain(a->model, e.text);
        rc = cab_status_exit((cab_status)e.code);
    }
    if (rc == 0 && a->trace)
        print_trace(s);
    if (rc == 0)
        rc = write_outputs(a, m, out);
    cab_session_destroy(s);
    for (int i = 0; in && i < cab_model_input_count(m); i++)
        free(in[i].data);
    free(in);
    free(out);
    return rc;
}

int main(int argc, char **argv)
{
    rt_args a = { 0 };
    cab_model *m;
    cab_error e = { 0 };
    if (parse(argc, argv, &a)) {
        fprintf(stderr, "usage: cab-rt MODEL.cab [--input [NAME=]FILE.pb|.npy]... "
                        "[--output-dir DIR] [--threads N] [--trace] [--custom LIB.so]...\n");
        return 2;
    }
    cab_model_options mo = { .size = sizeof mo, .custom = custom_lib_all()->ops,
                             .n_custom = custom_lib_all()->n_ops };
    if (cab_model_load(a.model, &mo, &m, &e)) {
        complain(a.model, e.text);
        return cab_status_exit((cab_status)e.code);
    }
    int rc = run(&a, m);
    cab_model_destroy(m);
    return rc;
}
