/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_json.c - the description of inputs and outputs: written from a loaded
 * model, checked when a client brings it.
 */
#include "serve/json/io_json.h"
#include "serve/json/json_tree.h"
#include "serve/json/json_tensor.h"

static const size_t MAX_TEXT = (size_t)1 << 20;

/* ---- writing ---- */

static json_t *shape_of(const cab_tensor_info *t)
{
    json_t *shape = json_array();
    for (int i = 0; shape && i < t->rank; i++)
        json_array_append_new(shape, json_integer(t->dims[i]));
    return shape;
}

/* Names are the model's bytes: "?" where they are not UTF-8. */
static json_t *name_of(const char *name)
{
    json_t *j = json_string(name);
    if (j)
        return j;
    cab_bytes b = { 0 };
    for (const char *p = name; *p; p++)
        cab_bytes_char(&b, *p & 0x80 ? '?' : *p);
    j = json_string(cab_bytes_cstr(&b));
    cab_bytes_fini(&b);
    return j;
}

static json_t *one(const cab_tensor_info *t, int kind)
{
    static const char *const kinds[] = { NULL, "sequence", "optional" };
    const char *datatype = cab_json_type_name(t->dtype);
    json_t *o = json_object();
    json_object_set_new(o, "name", name_of(t->name));
    json_object_set_new(o, "datatype", json_string(datatype ? datatype : "BYTES"));
    if (t->rank >= 0)
        json_object_set_new(o, "shape", shape_of(t));
    if (kind > 0 && kind < 3)
        json_object_set_new(o, "kind", json_string(kinds[kind]));
    return o;
}

typedef int (*io_get)(const cab_model *m, int i, cab_tensor_info *out);
typedef int (*io_kind)(const cab_model *m, int i);

static json_t *side(const cab_model *m, int n, io_get get, io_kind kind)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++) {
        cab_tensor_info t = { 0 };
        if (get(m, i, &t) != CAB_RT_OK || json_array_append_new(a, one(&t, kind(m, i)))) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

void cab_io_write(const cab_model *m, cab_bytes *out)
{
    json_t *j = json_object();
    json_object_set_new(j, "inputs", side(m, cab_model_input_count(m), cab_model_input,
                                          cab_model_input_kind));
    json_object_set_new(j, "outputs", side(m, cab_model_output_count(m), cab_model_output,
                                           cab_model_output_kind));
    char *text = j ? cab_json_dump(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    cab_diag d;
    /* Where memory ran out something is missing: then it is not of the form. */
    cab_diag_init(&d);
    if (text && cab_io_check(j, &d) == CAB_OK)
        cab_bytes_str(out, text);
    else
        out->failed = true;
    cab_diag_fini(&d);
    free(text);
    json_decref(j);
}

/* ---- reading ---- */

cab_status cab_json_read(const char *text, const char *what, json_t **out, cab_diag *d)
{
    json_error_t e;
    bool starved;
    size_t n = strlen(text);
    *out = NULL;
    if (n > MAX_TEXT)
        return cab_fail(d, CAB_EINVAL, NULL, "%s: longer than the %zu bytes that are allowed", what,
                        MAX_TEXT);
    *out = cab_json_load(text, n, &e, &starved);
    if (*out)
        return CAB_OK;
    if (starved)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    return cab_fail(d, CAB_EINVAL, NULL, "%s: not JSON: line %d: %s", what, e.line, e.text);
}

static cab_status check_shape(const json_t *shape, const char *name, cab_diag *d)
{
    size_t i;
    json_t *v;
    if (!json_is_array(shape) || json_array_size(shape) > 8)
        return cab_fail(d, CAB_EINVAL, NULL, "the shape of '%s' is not a list of up to 8 extents",
                        name);
    json_array_foreach(shape, i, v)
        if (!json_is_integer(v) || json_integer_value(v) < -1)
            return cab_fail(d, CAB_EINVAL, NULL, "an extent of '%s' is neither a number from 0 nor "
                                                 "-1", name);
    return CAB_OK;
}

static cab_status check_one(const json_t *t, const char *which, cab_diag *d)
{
    const char *name = json_string_value(json_object_get(t, "name"));
    const char *type = json_string_value(json_object_get(t, "datatype"));
    const json_t *shape = json_object_get(t, "shape");
    if (!name)
        return cab_fail(d, CAB_EINVAL, NULL, "something in \"%s\" has no name", which);
    if (!type || (!cab_json_type_of(cab_slice_of(type)) && strcmp(type, "BYTES")))
        return cab_fail(d, CAB_EINVAL, NULL, "'%s' has no datatype that is known (FP32, INT64, ...)",
                        name);
    if (!shape && json_object_get(t, "kind"))
        return CAB_OK;
    return check_shape(shape, name, d);
}

cab_status cab_io_check(const json_t *io, cab_diag *d)
{
    static const char *const sides[] = { "inputs", "outputs" };
    for (int s = 0; s < 2; s++) {
        const json_t *a = json_object_get(io, sides[s]);
        size_t i;
        json_t *t;
        if (!json_is_array(a))
            return cab_fail(d, CAB_EINVAL, NULL, "the description has no list \"%s\"", sides[s]);
        json_array_foreach(a, i, t)
            CAB_TRY(check_one(t, sides[s], d));
    }
    return CAB_OK;
}
