/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_infer.c - cab client infer: a request of raw tensors, and what comes back.
 */
#include "serve/client/client.h"
#include "serve/json/json_tensor.h"
#include "tools/rt_tensor.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- an output ---- */

static void print_output(const char *name, const char *type, const cab_tensor_view *v)
{
    enum { SHOWN = 8 };
    cab_bytes b = { 0 };
    cab_json_fault f = { 0 };
    size_t each = cab_json_type_bytes(v->dtype), n = each ? v->bytes / each : 0;
    const int64_t some = n < SHOWN ? (int64_t)n : SHOWN;
    for (int k = 0; k < v->rank; k++)
        cab_bytes_printf(&b, k ? ", %lld" : "%lld", (long long)v->dims[k]);
    printf("%s: %s[%s]", name, type, cab_bytes_cstr(&b));
    cab_bytes_clear(&b);
    if (cab_json_write_tensor(&b, v->dtype, 1, &some, v->data, false, CAB_NONFINITE_NAMES, &f))
        printf("  first %s", cab_bytes_cstr(&b));
    printf("\n");
    cab_bytes_fini(&b);
}

static cab_status write_output(const char *folder, const char *name, const cab_tensor_view *v, cab_diag *d)
{
    char path[4096], file[256];
    const char *why = "";
    snprintf(file, sizeof file, "%s", name);
    for (char *c = file; *c; c++)
        *c = *c == '/' ? '_' : *c;
    mkdir(folder, 0777);
    if ((size_t)snprintf(path, sizeof path, "%s/%s.npy", folder, file) >= sizeof path)
        return cab_fail(d, CAB_EINVAL, NULL, "a long path");
    return rt_npy_write(path, v, &why) ? cab_fail(d, CAB_EIO, NULL, "%s: %s", path, why) : CAB_OK;
}

/* Takes the next bytes of the tail as that output's. */
static cab_status one_output(const cab_client_args *a, const json_t *o, const char **p, const char *end, cab_diag *d)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    const char *type = json_string_value(json_object_get(o, "datatype"));
    const json_t *shape = json_object_get(o, "shape");
    json_int_t n = json_integer_value(json_object_get(json_object_get(o, "parameters"), "binary_data_size"));
    cab_tensor_view v = { .dtype = type ? cab_json_type_of(cab_slice_of(type)) : 0, .rank = (int)json_array_size(shape) };
    if (!name || !v.dtype || v.rank > 8 || n < 0 || n > end - *p)
        return cab_fail(d, CAB_EIO, NULL, "the answer has an output that this client does not know");
    for (int k = 0; k < v.rank; k++)
        v.dims[k] = json_integer_value(json_array_get(shape, (size_t)k));
    if (cab_tensor_bytes(v.dtype, v.rank, v.dims) != (size_t)n)
        return cab_fail(d, CAB_EIO, NULL, "output '%s': shape and bytes do not fit", name);
    v.bytes = (size_t)n;
    if (!(v.data = malloc(v.bytes + 64)))   /* aligned, which the bytes of the answer are not */
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    memcpy(v.data, *p, v.bytes);
    *p += n;
    cab_status s = CAB_OK;
    if (a->output_dir)
        s = write_output(a->output_dir, name, &v, d);
    else
        print_output(name, type, &v);
    free(v.data);
    return s;
}

static cab_status show(const cab_client_args *a, const cab_client_answer *w, cab_diag *d)
{
    if (a->json) {
        fwrite(w->body.p, 1, w->body.n, stdout);
        putchar('\n');
        return CAB_OK;
    }
    size_t n = w->json_bytes < 0 ? w->body.n : (size_t)w->json_bytes, i;
    json_t *o = n <= w->body.n ? json_loadb(w->body.p, n, 0, NULL) : NULL, *each;
    const char *p = w->body.p + n;
    cab_status s = o ? CAB_OK : cab_fail(d, CAB_EIO, NULL, "the answer is no JSON");
    json_array_foreach(json_object_get(o, "outputs"), i, each)
        if (s == CAB_OK)
            s = one_output(a, each, &p, w->body.p + w->body.n, d);
    json_decref(o);
    return s;
}

static cab_status ask(const cab_client_args *a, const cab_client_inputs *in, cab_diag *d)
{
    cab_bytes body = { 0 }, path = { 0 };
    cab_client_answer w = { 0 };
    long json_bytes = -1;
    cab_client_path(a, "infer", &path);
    cab_status s = cab_client_body(in, !a->json, &body, &json_bytes, d);
    if (s == CAB_OK)
        s = cab_client_ask(a, "POST", cab_bytes_cstr(&path), &body, json_bytes, &w, d);
    if (s == CAB_OK && w.status != 200)
        s = cab_client_refused(&w, cab_bytes_cstr(&path), d);
    if (s == CAB_OK)
        s = show(a, &w, d);
    cab_bytes_fini(&w.body);
    cab_bytes_fini(&path);
    cab_bytes_fini(&body);
    return s;
}

cab_status cab_client_infer(const cab_client_args *a, cab_diag *d)
{
    cab_client_inputs in;
    if (a->json && a->output_dir)
        return cab_fail(d, CAB_EINVAL, NULL, "--json prints, --output-dir writes: one of the two");
    cab_status s = cab_client_inputs_make(a, &in, d);
    if (s == CAB_OK)
        s = ask(a, &in, d);
    cab_client_inputs_free(&in);
    return s;
}
