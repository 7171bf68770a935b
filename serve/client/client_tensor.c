/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_tensor.c - the inputs of a request: from files, or seeded; as JSON, or raw behind it.
 */
#include "serve/client/client.h"
#include "serve/json/json_tensor.h"
#include "tools/rt_tensor.h"
#include <stdlib.h>
#include <string.h>

void cab_client_path(const cab_client_args *a, const char *what, cab_bytes *to)
{
    cab_bytes_printf(to, "/v2/models/%s", a->rest[1]);
    if (a->version)
        cab_bytes_printf(to, "/versions/%s", a->version);
    if (*what)
        cab_bytes_printf(to, "/%s", what);
}

/* The text after NAME= of the one in the list; NULL: none. */
static const char *value_of(const cab_client_list *l, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < l->n; i++)
        if (!strncmp(l->at[i], name, n) && l->at[i][n] == '=')
            return l->at[i] + n + 1;
    return NULL;
}

/* ---- seeded values ---- */

static uint64_t next_random(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint16_t half_of(float f)
{
    _Float16 h = (_Float16)f;
    uint16_t bits;
    memcpy(&bits, &h, sizeof bits);
    return bits;
}

static void put_random(cab_tensor_view *v, size_t i, uint64_t r)
{
    float f = (float)(int64_t)(r >> 40) / (float)(1 << 23) - 1.0f;
    size_t size = cab_json_type_bytes(v->dtype);
    uint64_t bit = r >> 63;
    uint32_t bits;
    switch (v->dtype) {
    case CAB_TYPE_F32: ((float *)v->data)[i] = f; break;
    case CAB_TYPE_F64: ((double *)v->data)[i] = (double)f; break;
    case CAB_TYPE_F16: ((uint16_t *)v->data)[i] = half_of(f); break;
    case CAB_TYPE_BF16:
        memcpy(&bits, &f, sizeof bits);
        ((uint16_t *)v->data)[i] = (uint16_t)(bits >> 16);
        break;
    default: memcpy((char *)v->data + i * size, &bit, size);
    }
}

/* ---- one input ---- */

static cab_status read_shape(const char *text, const char *name, cab_tensor_view *v, cab_diag *d)
{
    v->rank = 0;
    for (const char *c = text; *c;) {
        char *end;
        long long k = strtoll(c, &end, 10);
        if (end == c || k < 0 || v->rank == 8 || (*end && *end != ','))
            return cab_fail(d, CAB_EINVAL, NULL, "--shape %s=%s: extents are numbers with commas, at most eight", name, text);
        v->dims[v->rank++] = k;
        c = end + (*end == ',');
    }
    return CAB_OK;
}

/* As the metadata has it; an open extent is 1. */
static cab_status given_shape(const json_t *shape, cab_tensor_view *v, cab_diag *d)
{
    size_t i;
    json_t *e;
    if (json_array_size(shape) > 8)
        return cab_fail(d, CAB_EIO, NULL, "the metadata has no shape that this client knows");
    json_array_foreach(shape, i, e)
        v->dims[v->rank++] = json_integer_value(e) < 0 ? 1 : json_integer_value(e);
    return CAB_OK;
}

static cab_status make_values(const cab_client_args *a, const char *name, const json_t *meta, uint64_t *seed,
                              cab_tensor_view *v, cab_diag *d)
{
    const char *shape = value_of(&a->shape, name);
    CAB_TRY(shape ? read_shape(shape, name, v, d) : given_shape(json_object_get(meta, "shape"), v, d));
    size_t n = cab_tensor_bytes(v->dtype, v->rank, v->dims), each = cab_json_type_bytes(v->dtype);
    if (n == SIZE_MAX || !each)
        return cab_fail(d, CAB_EINVAL, NULL, "input '%s': too large, or of a type without random values", name);
    v->bytes = n;
    if (!(v->data = malloc(n + 64)))
        return cab_fail(d, CAB_ENOMEM, NULL, "no memory for input '%s'", name);
    for (size_t i = 0; i < n / each; i++)
        put_random(v, i, next_random(seed));
    return CAB_OK;
}

static cab_status make_input(const cab_client_args *a, const json_t *meta, uint64_t *seed, cab_client_inputs *to, cab_diag *d)
{
    const char *name = json_string_value(json_object_get(meta, "name")), *why = "";
    const char *type = json_string_value(json_object_get(meta, "datatype"));
    if (!name || !type || to->n == CAB_CLIENT_LIST)
        return cab_fail(d, CAB_EIO, NULL, "the server's metadata has no inputs that this client knows");
    cab_tensor_view *v = &to->view[to->n];
    const char *file = value_of(&a->input, name);
    if (!(to->name[to->n] = strdup(name)))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    to->n++;
    if (file)
        return rt_tensor_read(file, v, &why) ? cab_fail(d, CAB_EIO, NULL, "%s: %s", file, why) : CAB_OK;
    if (!a->random)
        return cab_fail(d, CAB_EINVAL, NULL, "input '%s' is not given: --input %s=FILE, or --random SEED", name, name);
    v->dtype = cab_json_type_of(cab_slice_of(type));
    return make_values(a, name, meta, seed, v, d);
}

/* Each NAME=... is of an input. */
static cab_status know_names(const cab_client_list *l, const char *flag, const cab_client_inputs *in, cab_diag *d)
{
    for (int i = 0; i < l->n; i++) {
        size_t n = strcspn(l->at[i], "=");
        int k = 0;
        while (k < in->n && (strncmp(in->name[k], l->at[i], n) || in->name[k][n]))
            k++;
        if (k == in->n)
            return cab_fail(d, CAB_EINVAL, NULL, "%s %s: the model has no such input", flag, l->at[i]);
    }
    return CAB_OK;
}

cab_status cab_client_inputs_make(const cab_client_args *a, cab_client_inputs *out, cab_diag *d)
{
    cab_bytes path = { 0 };
    json_t *meta = NULL, *each;
    size_t i;
    uint64_t seed = a->seed;
    *out = (cab_client_inputs){ 0 };
    cab_client_path(a, "", &path);
    cab_status s = cab_client_json(a, "GET", cab_bytes_cstr(&path), NULL, &meta, d);
    json_array_foreach(json_object_get(meta, "inputs"), i, each)
        if (s == CAB_OK)
            s = make_input(a, each, &seed, out, d);
    if (s == CAB_OK && !out->n)
        s = cab_fail(d, CAB_EIO, NULL, "the model has no inputs");
    if (s == CAB_OK)
        s = know_names(&a->input, "--input", out, d);
    if (s == CAB_OK)
        s = know_names(&a->shape, "--shape", out, d);
    json_decref(meta);
    cab_bytes_fini(&path);
    return s;
}

void cab_client_inputs_free(cab_client_inputs *in)
{
    for (int i = 0; i < in->n; i++) {
        free(in->name[i]);
        rt_value_free(&in->view[i]);
    }
    in->n = 0;
}

/* ---- a body ---- */

static void put_head(const cab_client_inputs *in, int i, cab_bytes *to)
{
    const cab_tensor_view *v = &in->view[i];
    cab_bytes_str(to, i ? ",{\"name\":" : "{\"name\":");
    cab_json_put_string(to, cab_slice_of(in->name[i]));
    cab_bytes_printf(to, ",\"datatype\":\"%s\",\"shape\":[", cab_json_type_name(v->dtype) ? cab_json_type_name(v->dtype) : "");
    for (int k = 0; k < v->rank; k++)
        cab_bytes_printf(to, k ? ",%lld" : "%lld", (long long)v->dims[k]);
}

cab_status cab_client_body(const cab_client_inputs *in, bool binary, cab_bytes *to, long *json_bytes, cab_diag *d)
{
    cab_json_fault f = { 0 };
    cab_bytes_str(to, "{\"inputs\":[");
    for (int i = 0; i < in->n && !f.kind; i++) {
        const cab_tensor_view *v = &in->view[i];
        put_head(in, i, to);
        if (binary) {
            cab_bytes_printf(to, "],\"parameters\":{\"binary_data_size\":%zu}}", v->bytes);
        } else {
            cab_bytes_str(to, "],\"data\":");
            cab_json_write_tensor(to, v->dtype, v->rank, v->dims, v->data, false, CAB_NONFINITE_NAMES, &f);
            cab_bytes_char(to, '}');
        }
    }
    cab_bytes_str(to, binary ? "],\"parameters\":{\"binary_data_output\":true}}" : "]}");
    *json_bytes = binary ? (long)to->n : -1;
    for (int i = 0; binary && i < in->n; i++)
        cab_bytes_put(to, in->view[i].data, in->view[i].bytes);
    if (f.kind)
        return cab_fail(d, CAB_EINPUT, NULL, "an input has no JSON form: %s", f.text);
    return to->failed ? cab_fail(d, CAB_ENOMEM, NULL, "no memory for the request") : CAB_OK;
}
