/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec_json.c - inference requests and answers of the REST interface.
 *
 * JSON, with tensors in it as "data" or behind it as raw bytes (the binary
 * tensor extension).  Numbers go from the text straight into tensors.  The
 * tokens that matter may come in any order; "data" that comes before "shape" and
 * "datatype" is checked, passed over, and read again when those are known.
 */
#include "serve/codec.h"
#include "serve/handlers.h"
#include "serve/json/json_tensor.h"

typedef struct reader {
    cab_infer *q;
    cab_json j;
    cab_slice tail;            /* raw tensors not taken yet */
} reader;

/* ---- pieces ---- */

static bool broken(reader *r)
{
    return cab_infer_fault(r->q, "failed to parse the request JSON: %s at byte %zu",
                           *r->j.why ? r->j.why : "an unexpected value", r->j.at);
}

/* The next key of the object that is open: 1, 0 at its end, -1 broken. */
static int next_key(reader *r)
{
    switch (cab_json_next(&r->j)) {
    case CAB_JSON_KEY: return 1;
    case CAB_JSON_OBJECT_END: return 0;
    default: return -1;
    }
}

static bool open_object(reader *r, const char *what)
{
    cab_json_token t = cab_json_next(&r->j);
    if (t == CAB_JSON_ERROR)
        return broken(r);
    return t == CAB_JSON_OBJECT ? true : cab_infer_fault(r->q, "%s must be an object, not %s", what, cab_json_token_name(t));
}

static bool read_text(reader *r, const char *what, cab_slice *out)
{
    cab_json_token t = cab_json_next(&r->j);
    if (t != CAB_JSON_STRING)
        return t == CAB_JSON_ERROR ? broken(r) : cab_infer_fault(r->q, "'%s' must be a string", what);
    *out = r->j.text;
    if (!r->j.escaped)
        return true;
    char *to = cab_pieces_take(&r->q->x->mem, r->j.text.n);
    if (!to)
        return cab_infer_starve(r->q);
    *out = (cab_slice){ to, cab_json_unescape_to(r->j.text, to, r->j.text.n) };
    return true;
}

static bool read_int(reader *r, const char *what, int64_t *out)
{
    cab_json_token t = cab_json_next(&r->j);
    if (t == CAB_JSON_ERROR)
        return broken(r);
    if (t != CAB_JSON_NUMBER || cab_decimal_int(&r->j.number, 0, INT64_MAX, out) != CAB_FITS)
        return cab_infer_fault(r->q, "'%s' must be a whole number, not negative", what);
    return true;
}

static bool read_bool(reader *r, const char *what, bool *out)
{
    cab_json_token t = cab_json_next(&r->j);
    if (t != CAB_JSON_TRUE && t != CAB_JSON_FALSE)
        return t == CAB_JSON_ERROR ? broken(r) : cab_infer_fault(r->q, "'%s' must be true or false", what);
    *out = t == CAB_JSON_TRUE;
    return true;
}

static bool skip(reader *r)
{
    return cab_json_skip(&r->j) ? true : broken(r);
}

/* ---- inputs ---- */

typedef struct input {
    cab_slice name, datatype;
    int rank;                  /* -1: no shape yet */
    int64_t dims[CAB_JSON_MAX_RANK];
    int64_t binary;            /* bytes behind the JSON; -1: none */
    bool has_data, taken;
    cab_json data;             /* where it stands, when it came too early */
} input;

static bool read_shape(reader *r, input *in)
{
    if (cab_json_next(&r->j) != CAB_JSON_ARRAY)
        return cab_infer_fault(r->q, "'shape' must be an array of whole numbers");
    for (in->rank = 0;; in->rank++) {
        cab_json_token t = cab_json_next(&r->j);
        if (t == CAB_JSON_ARRAY_END)
            return true;
        if (in->rank == CAB_JSON_MAX_RANK)
            return cab_infer_fault(r->q, "'shape' has more than %d extents", CAB_JSON_MAX_RANK);
        if (t != CAB_JSON_NUMBER ||
            cab_decimal_int(&r->j.number, 0, (int64_t)1 << 48, &in->dims[in->rank]) != CAB_FITS)
            return t == CAB_JSON_ERROR ? broken(r)
                                       : cab_infer_fault(r->q, "'shape' must have whole numbers that are not negative");
    }
}

static cab_tensor_view *declare(reader *r, const input *in)
{
    int dtype = cab_infer_type(r->q, in->name, in->datatype);
    return dtype ? cab_infer_input(r->q, in->name, dtype, in->rank, in->dims) : NULL;
}

/* The numbers at j into input in; its text is no longer than what claims to be in it. */
static bool take_data(reader *r, cab_json *j, const input *in)
{
    cab_json_fault f;
    cab_tensor_view *v = declare(r, in);
    if (!v)
        return false;
    if (v->bytes / cab_json_type_bytes(v->dtype) > r->q->x->body.n)
        return cab_infer_fault(r->q, "input '%.*s' has fewer elements than its shape", (int)in->name.n, in->name.p);
    if (!cab_infer_room(r->q, v))
        return false;
    if (!cab_json_read_tensor(j, v->dtype, v->rank, v->dims, v->data, &f))
        return cab_infer_fault(r->q, "input '%.*s': %s", (int)in->name.n, in->name.p, f.text);
    return true;
}

static bool read_input_parameters(reader *r, input *in)
{
    int k;
    if (!open_object(r, "'parameters'"))
        return false;
    while ((k = next_key(r)) > 0) {
        if (cab_json_is(&r->j, "binary_data_size") ? !read_int(r, "binary_data_size", &in->binary) : !skip(r))
            return false;
    }
    return k ? broken(r) : true;
}

static bool known(const input *in)
{
    return in->name.n && in->datatype.n && in->rank >= 0;
}

static bool read_data(reader *r, input *in)
{
    in->has_data = true;
    if (known(in)) {
        in->taken = true;
        return take_data(r, &r->j, in);
    }
    in->data = r->j;
    return skip(r);
}

static bool finish_input(reader *r, input *in)
{
    if (!in->name.n)
        return cab_infer_fault(r->q, "an input has no 'name'");
    if (!known(in))
        return cab_infer_fault(r->q, "input '%.*s' must have 'shape' and 'datatype'", (int)in->name.n, in->name.p);
    if (in->has_data && in->binary >= 0)
        return cab_infer_fault(r->q, "input '%.*s' has 'data' and 'binary_data_size'", (int)in->name.n, in->name.p);
    if (in->has_data)
        return in->taken || take_data(r, &in->data, in);
    if (in->binary < 0)
        return cab_infer_fault(r->q, "input '%.*s' has no 'data'", (int)in->name.n, in->name.p);
    if ((uint64_t)in->binary > r->tail.n)
        return cab_infer_fault(r->q, "input '%.*s': fewer bytes behind the JSON than 'binary_data_size'",
                               (int)in->name.n, in->name.p);
    cab_tensor_view *v = declare(r, in);
    if (!v || !cab_infer_raw(r->q, v, r->tail.p, (size_t)in->binary))
        return false;
    r->tail.p += in->binary;
    r->tail.n -= (size_t)in->binary;
    return true;
}

static bool read_input_key(reader *r, input *in)
{
    if (cab_json_is(&r->j, "name"))
        return read_text(r, "name", &in->name);
    if (cab_json_is(&r->j, "datatype"))
        return read_text(r, "datatype", &in->datatype);
    if (cab_json_is(&r->j, "shape"))
        return read_shape(r, in);
    if (cab_json_is(&r->j, "data"))
        return read_data(r, in);
    if (cab_json_is(&r->j, "parameters"))
        return read_input_parameters(r, in);
    return skip(r);
}

static bool read_input(reader *r)
{
    input in = { .rank = -1, .binary = -1 };
    int k;
    while ((k = next_key(r)) > 0)
        if (!read_input_key(r, &in))
            return false;
    return k ? broken(r) : finish_input(r, &in);
}

/* ---- outputs ---- */

static bool read_output(reader *r)
{
    cab_slice name = { NULL, 0 };
    bool said = false, binary = false;
    int64_t classes = 0;
    int k, k2 = 0;
    while ((k = next_key(r)) > 0) {
        if (cab_json_is(&r->j, "name")) {
            if (!read_text(r, "name", &name))
                return false;
        } else if (cab_json_is(&r->j, "parameters")) {
            if (!open_object(r, "'parameters'"))
                return false;
            while ((k2 = next_key(r)) > 0) {
                bool is = cab_json_is(&r->j, "binary_data"), counts = cab_json_is(&r->j, "classification");
                if (cab_json_is(&r->j, "shared_memory_region"))
                    return cab_infer_fault(r->q, "the extension of '%.*s' is not supported", (int)r->j.text.n, r->j.text.p);
                if (is ? !read_bool(r, "binary_data", &binary) : counts ? !read_int(r, "classification", &classes) : !skip(r))
                    return false;
                said = said || is;
            }
        } else if (!skip(r)) {
            return false;
        }
    }
    if (k < 0 || k2 < 0)
        return broken(r);
    cab_wanted *w = name.p ? cab_infer_want(r->q, name) : NULL;
    if (!w)
        return name.p ? false : cab_infer_fault(r->q, "an output has no 'name'");
    w->said = said;
    w->binary = binary;
    return !classes || cab_infer_classes(r->q, w, classes);
}

static bool read_array(reader *r, const char *what, bool (*one)(reader *r))
{
    cab_json_token t = cab_json_next(&r->j);
    if (t != CAB_JSON_ARRAY)
        return t == CAB_JSON_ERROR ? broken(r) : cab_infer_fault(r->q, "'%s' must be an array", what);
    while ((t = cab_json_next(&r->j)) == CAB_JSON_OBJECT)
        if (!one(r))
            return false;
    if (t == CAB_JSON_ARRAY_END)
        return true;
    return t == CAB_JSON_ERROR ? broken(r) : cab_infer_fault(r->q, "'%s' must be an array of objects", what);
}

/* ---- the request ---- */

static bool read_parameters(reader *r)
{
    int k;
    if (!open_object(r, "'parameters'"))
        return false;
    while ((k = next_key(r)) > 0) {
        bool fine = cab_json_is(&r->j, "timeout") ? read_int(r, "timeout", &r->q->timeout_us)
                  : cab_json_is(&r->j, "priority") ? read_int(r, "priority", &r->q->priority)
                  : cab_json_is(&r->j, "binary_data_output") ? read_bool(r, "binary_data_output", &r->q->binary_outputs)
                  : skip(r);
        if (!fine)
            return false;
    }
    return k ? broken(r) : true;
}

static bool read_key(reader *r, bool *has_inputs)
{
    if (cab_json_is(&r->j, "inputs")) {
        *has_inputs = true;
        return read_array(r, "inputs", read_input);
    }
    if (cab_json_is(&r->j, "outputs"))
        return read_array(r, "outputs", read_output);
    if (cab_json_is(&r->j, "parameters"))
        return read_parameters(r);
    if (!cab_json_is(&r->j, "id"))
        return skip(r);
    cab_json_token t = cab_json_next(&r->j);
    r->q->id = r->j.text;
    return t == CAB_JSON_STRING ? true : t == CAB_JSON_ERROR ? broken(r) : cab_infer_fault(r->q, "'id' must be a string");
}

bool cab_json_decode(cab_infer *q, cab_slice text, cab_slice tail)
{
    reader r = { .q = q, .tail = tail };
    bool has_inputs = false;
    int k;
    cab_json_init(&r.j, text, &(cab_json_limits){ .names = true });
    if (!open_object(&r, "the request"))
        return false;
    while ((k = next_key(&r)) > 0)
        if (!read_key(&r, &has_inputs))
            return false;
    if (k < 0 || cab_json_next(&r.j) != CAB_JSON_END)
        return broken(&r);
    if (!has_inputs)
        return cab_infer_fault(q, "the request has no 'inputs'");
    return r.tail.n ? cab_infer_fault(q, "%zu bytes behind the JSON belong to no input", r.tail.n) : true;
}

/* ---- the answer ---- */

/* BYTES as an array of texts. */
static void put_texts(cab_bytes *b, const cab_answer *a)
{
    uint32_t n;
    cab_bytes_char(b, '[');
    for (const char *p = a->data, *end = p + a->bytes; p < end; p += n) {
        if (p != a->data)
            cab_bytes_char(b, ',');
        memcpy(&n, p, sizeof n);
        p += sizeof n;
        cab_json_put_string(b, (cab_slice){ p, n });
    }
    cab_bytes_char(b, ']');
}

static bool put_output(cab_infer *q, const cab_answer *a)
{
    cab_bytes *b = &q->x->out;
    cab_json_fault f = { 0 };
    cab_bytes_str(b, "{\"name\":");
    cab_json_put_string(b, cab_slice_of(a->name));
    cab_bytes_str(b, ",\"datatype\":\"");
    cab_bytes_str(b, a->datatype);
    cab_bytes_str(b, "\",\"shape\":");
    cab_json_put_extents(b, a->rank, a->dims);
    if (a->binary) {
        cab_bytes_printf(b, ",\"parameters\":{\"binary_data_size\":%zu}", a->bytes);
    } else {
        cab_bytes_str(b, ",\"data\":");
        if (!a->dtype)
            put_texts(b, a);
        else if (!cab_json_write_tensor(b, a->dtype, a->rank, a->dims, a->data, false, CAB_NONFINITE_NAMES, &f))
            return f.kind == CAB_FAULT_MEMORY ? cab_infer_starve(q) : cab_infer_fault(q, "output '%s': %s", a->name, f.text);
    }
    cab_bytes_char(b, '}');
    return true;
}

static void put_length_field(cab_exchange *x, size_t n)
{
    char *text = cab_pieces_take(&x->mem, 24);
    if (text)
        cab_exchange_put_field(x, "inference-header-content-length",
                               (cab_slice){ text, (size_t)(cab_u64_put(text, n) - text) });
    else
        x->out.failed = true;
}

bool cab_json_encode(cab_infer *q)
{
    cab_exchange *x = q->x;
    cab_bytes *b = &x->out;
    cab_answer a;
    bool any = false;
    cab_bytes_char(b, '{');
    if (q->id.n) {
        cab_bytes_str(b, "\"id\":\"");
        cab_bytes_slice(b, q->id);
        cab_bytes_str(b, "\",");
    }
    cab_bytes_printf(b, "\"model_name\":\"%s\",\"model_version\":\"%s\",\"outputs\":[", q->loaded->name,
                     q->loaded->version_text);
    for (int k = 0; cab_infer_answer(q, k, &a); k++) {
        if (k)
            cab_bytes_char(b, ',');
        any = any || a.binary;
        if (!put_output(q, &a))
            return false;
    }
    cab_bytes_str(b, "]}");
    x->type = any ? "application/octet-stream" : "application/json";
    if (any)
        put_length_field(x, b->n);
    for (int k = 0; any && cab_infer_answer(q, k, &a); k++)
        if (a.binary)
            cab_bytes_put(b, a.data, a.bytes);
    return b->failed ? cab_infer_starve(q) : true;
}
