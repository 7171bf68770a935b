/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec_grpc.c - inference requests and answers of gRPC: ModelInfer, ModelStreamInfer.
 *
 * Tensors come raw (raw_input_contents, one per input in order) or typed
 * (contents); they go out raw, as Triton's do.
 */
#include "serve/grpc.h"
#include "serve/json/json_tensor.h"

/* ---- in ---- */

/* Typed contents of input t: where they are, how many, and the bytes of one there and in the tensor. */
typedef struct typed { const void *p; size_t n, bytes, wide; } typed;

static typed contents_of(const Inference__InferTensorContents *c, int dtype)
{
    switch (dtype) {
    case CAB_TYPE_BOOL: return (typed){ c->bool_contents, c->n_bool_contents, 1, sizeof *c->bool_contents };
    case CAB_TYPE_I8: return (typed){ c->int_contents, c->n_int_contents, 1, 4 };
    case CAB_TYPE_I16: return (typed){ c->int_contents, c->n_int_contents, 2, 4 };
    case CAB_TYPE_I32: return (typed){ c->int_contents, c->n_int_contents, 4, 4 };
    case CAB_TYPE_I64: return (typed){ c->int64_contents, c->n_int64_contents, 8, 8 };
    case CAB_TYPE_U8: return (typed){ c->uint_contents, c->n_uint_contents, 1, 4 };
    case CAB_TYPE_U16: return (typed){ c->uint_contents, c->n_uint_contents, 2, 4 };
    case CAB_TYPE_U32: return (typed){ c->uint_contents, c->n_uint_contents, 4, 4 };
    case CAB_TYPE_U64: return (typed){ c->uint64_contents, c->n_uint64_contents, 8, 8 };
    case CAB_TYPE_F32: return (typed){ c->fp32_contents, c->n_fp32_contents, 4, 4 };
    case CAB_TYPE_F64: return (typed){ c->fp64_contents, c->n_fp64_contents, 8, 8 };
    default: return (typed){ NULL, 0, 0, 0 };
    }
}

/* The low bytes of each element (little endian). */
static bool take_typed(cab_infer *q, cab_tensor_view *v, const char *name, const Inference__InferTensorContents *c)
{
    typed t = contents_of(c, v->dtype);
    if (!t.bytes)
        return cab_infer_fault(q, "input '%s': this data type comes in raw_input_contents only", name);
    if (t.n * t.bytes != v->bytes)
        return cab_infer_fault(q, "input '%s' has %zu elements, its shape %zu", name, t.n, v->bytes / t.bytes);
    if (t.bytes == t.wide)
        return cab_infer_raw(q, v, t.p, v->bytes);
    if (!cab_infer_room(q, v))
        return false;
    for (size_t i = 0; i < t.n; i++)
        memcpy((char *)v->data + i * t.bytes, (const char *)t.p + i * t.wide, t.bytes);
    return true;
}

static bool take_input(cab_infer *q, const Inference__ModelInferRequest *r, size_t i)
{
    const Inference__ModelInferRequest__InferInputTensor *t = r->inputs[i];
    int dtype = cab_infer_type(q, cab_slice_of(t->name), cab_slice_of(t->datatype));
    if (!dtype)
        return false;
    if (t->n_shape > CAB_JSON_MAX_RANK)
        return cab_infer_fault(q, "input '%.100s' has more than %d extents", t->name, CAB_JSON_MAX_RANK);
    for (size_t k = 0; k < t->n_shape; k++)
        if (t->shape[k] < 0)
            return cab_infer_fault(q, "input '%.100s' has a negative extent", t->name);
    cab_tensor_view *v = cab_infer_input(q, cab_slice_of(t->name), dtype, (int)t->n_shape, t->shape);
    if (!v)
        return false;
    if (r->n_raw_input_contents && t->contents)
        return cab_infer_fault(q, "input '%.100s' has contents beside raw_input_contents", t->name);
    if (r->n_raw_input_contents)
        return cab_infer_raw(q, v, r->raw_input_contents[i].data, r->raw_input_contents[i].len);
    if (!t->contents)
        return cab_infer_fault(q, "input '%.100s' has no data", t->name);
    return take_typed(q, v, t->name, t->contents);
}

static int64_t parameter(const Inference__InferParameter *p)
{
    switch (p->parameter_choice_case) {
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM: return p->int64_param;
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_UINT64_PARAM: return (int64_t)p->uint64_param;
    default: return -1;
    }
}

static bool take_parameters(cab_infer *q, const Inference__ModelInferRequest *r)
{
    for (size_t i = 0; i < r->n_parameters; i++) {
        const char *key = r->parameters[i]->key;
        int64_t *to = !strcmp(key, "timeout") ? &q->timeout_us : !strcmp(key, "priority") ? &q->priority : NULL;
        int64_t v = to && r->parameters[i]->value ? parameter(r->parameters[i]->value) : 0;
        if (v < 0)
            return cab_infer_fault(q, "parameter '%s' must be a whole number, not negative", key);
        if (to)
            *to = v;
    }
    return true;
}

/* How long the client waits, from the head of the call on: 1 to 8 digits and a unit. */
static bool take_patience(cab_infer *q)
{
    static const struct { char name; int64_t ns; } units[] = {
        { 'n', 1 }, { 'u', 1000 }, { 'm', 1000000 }, { 'S', 1000000000 }, { 'M', 60000000000 }, { 'H', 3600000000000 },
    };
    cab_slice v = cab_exchange_field(q->x, "grpc-timeout");
    int64_t k = 0, unit = 0;
    size_t n = 0;
    if (!v.p)
        return true;
    for (; n < v.n && n < 8 && v.p[n] >= '0' && v.p[n] <= '9'; n++)
        k = k * 10 + (v.p[n] - '0');
    for (size_t i = 0; n + 1 == v.n && i < sizeof units / sizeof *units; i++)
        unit = units[i].name == v.p[n] ? units[i].ns : unit;
    if (!n || !unit)
        return cab_infer_fault(q, "grpc-timeout is no number of 1 to 8 digits with one of the units H M S m u n");
    if (k <= (INT64_MAX - q->x->begun_ns) / unit)      /* else no clock will show it */
        q->until_ns = q->x->begun_ns + k * unit;
    return true;
}

static bool take_output(cab_infer *q, const Inference__ModelInferRequest__InferRequestedOutputTensor *t)
{
    int64_t classes = 0;
    for (size_t i = 0; i < t->n_parameters; i++) {
        const char *key = t->parameters[i]->key;
        if (!strcmp(key, "shared_memory_region"))
            return cab_infer_fault(q, "output '%.100s': the extension of '%s' is not supported", t->name, key);
        if (strcmp(key, "classification"))
            continue;
        classes = t->parameters[i]->value ? parameter(t->parameters[i]->value) : 0;
        if (classes <= 0)
            return cab_infer_fault(q, "output '%.100s': 'classification' must be a whole number above 0", t->name);
    }
    cab_wanted *w = cab_infer_want(q, cab_slice_of(t->name));
    return w && (!classes || cab_infer_classes(q, w, classes));
}

bool cab_grpc_decode(cab_infer *q, const Inference__ModelInferRequest *r)
{
    q->id = cab_slice_of(r->id);
    if (r->n_raw_input_contents && r->n_raw_input_contents != r->n_inputs)
        return cab_infer_fault(q, "raw_input_contents has %zu entries for %zu inputs", r->n_raw_input_contents, r->n_inputs);
    if (!take_parameters(q, r) || !take_patience(q))
        return false;
    for (size_t i = 0; i < r->n_inputs; i++)
        if (!take_input(q, r, i))
            return false;
    for (size_t i = 0; i < r->n_outputs; i++)
        if (!take_output(q, r->outputs[i]))
            return false;
    return true;
}

/* ---- out ---- */

typedef Inference__ModelInferResponse__InferOutputTensor tensor;

static void put_output(const cab_answer *a, tensor *t, ProtobufCBinaryData *raw)
{
    inference__model_infer_response__infer_output_tensor__init(t);
    t->name = (char *)(uintptr_t)a->name;
    t->datatype = (char *)(uintptr_t)a->datatype;
    t->n_shape = (size_t)a->rank;
    t->shape = (int64_t *)(uintptr_t)a->dims;
    *raw = (ProtobufCBinaryData){ a->bytes, (uint8_t *)(uintptr_t)a->data };
}

/* Of a stream, the answer is inside another message. */
static bool put_answer(cab_infer *q, Inference__ModelInferResponse *r)
{
    Inference__ModelStreamInferResponse part = INFERENCE__MODEL_STREAM_INFER_RESPONSE__INIT;
    part.infer_response = r;
    return cab_grpc_put(q->x, q->x->is_part ? &part.base : &r->base);
}

bool cab_grpc_encode(cab_infer *q)
{
    cab_exchange *x = q->x;
    size_t n = (size_t)q->loaded->n_outputs, used = 0;
    Inference__ModelInferResponse r = INFERENCE__MODEL_INFER_RESPONSE__INIT;
    tensor *t = cab_pieces_zero(&x->mem, n, sizeof *t), **at = cab_pieces_zero(&x->mem, n, sizeof *at);
    ProtobufCBinaryData *raw = cab_pieces_zero(&x->mem, n, sizeof *raw);
    cab_answer a;
    if (!t || !at || !raw)
        return cab_infer_starve(q);
    for (; cab_infer_answer(q, (int)used, &a); used++) {
        put_output(&a, &t[used], &raw[used]);
        at[used] = &t[used];
    }
    r.model_name = q->loaded->name;
    r.model_version = q->loaded->version_text;
    if (!(r.id = cab_pieces_text(&x->mem, q->id)))
        return cab_infer_starve(q);
    r.n_outputs = r.n_raw_output_contents = used;
    r.outputs = at;
    r.raw_output_contents = raw;
    x->type = "application/grpc";
    return put_answer(q, &r) ? true : cab_infer_starve(q);
}

void cab_rpc_model_infer(cab_service *s, cab_exchange *x, void *request)
{
    const Inference__ModelInferRequest *r = request;
    cab_resident *l = cab_find_loaded(s, x, cab_slice_of(r->model_name), cab_slice_of(r->model_version));
    cab_infer *q = l ? cab_infer_begin(x, l, cab_grpc_encode) : NULL;
    if (!q)
        return;
    if (cab_grpc_decode(q, r))
        cab_infer_submit(q);
    else
        cab_infer_refuse(q);
}
