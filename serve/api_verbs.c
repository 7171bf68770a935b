/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_verbs.c - /call and /predict: a model on plain nested lists.
 *
 *   POST /call    {"name": "m", "version": "2", "inputs": {"x": [[1, 2]]}} -> {"name", "version", "outputs": {"y": ...}}
 *   POST /predict {"name": "m", "X": 5}  (or a vector, a matrix, ...) -> {"Y": ...}
 *
 * "name" may be spelt "model", and missing where one model is loaded.
 *
 * The lists tell extents; a list of lower rank than the input stands for one with extents of 1 in front
 * (or, where only that fits, behind).
 */
#include "serve/codec.h"
#include "serve/handlers.h"
#include "serve/json/json_tensor.h"

typedef struct named { cab_slice model, version; } named;

/* ---- plain lists ---- */

static bool extents_fit(const cab_tensor_info *t, int rank, const int64_t *dims)
{
    bool same = rank == t->rank;
    for (int i = 0; same && i < rank; i++)
        same = t->dims[i] < 0 || t->dims[i] == dims[i];
    return same;
}

/* dims with ones before or behind them, of the input's rank. */
static int widen(const cab_tensor_info *t, int rank, const int64_t *dims, bool behind, int64_t *out)
{
    int more = t->rank - rank, from = behind ? 0 : more;
    if (more < 0)
        return rank;
    for (int i = 0; i < t->rank; i++)
        out[i] = i >= from && i < from + rank ? dims[i - from] : 1;
    return t->rank;
}

/* The list at j as input i. */
static bool read_list(cab_infer *q, cab_json *j, int i)
{
    const cab_tensor_info *t = &q->loaded->inputs[i];
    cab_bytes data = { .limit = 16 * q->x->body.n + 64 };
    int64_t dims[CAB_JSON_MAX_RANK], wide[CAB_JSON_MAX_RANK];
    int rank;
    cab_json_fault f;
    if (!cab_json_read_any(j, t->dtype, &data, &rank, dims, &f)) {
        cab_bytes_fini(&data);
        return f.kind == CAB_FAULT_MEMORY ? cab_infer_starve(q) : cab_infer_fault(q, "'%s': %s", t->name, f.text);
    }
    int n = widen(t, rank, dims, false, wide);
    if (rank < t->rank && !extents_fit(t, n, wide)) {
        widen(t, rank, dims, true, wide);
        if (!extents_fit(t, n, wide))
            widen(t, rank, dims, false, wide);
    }
    cab_tensor_view *v = cab_infer_input(q, cab_slice_of(t->name), t->dtype, n, rank <= t->rank ? wide : dims);
    bool fine = v && cab_infer_raw(q, v, data.n ? data.p : "", data.n);
    if (fine && v->data == data.p && data.n)       /* it would go with `data` */
        fine = cab_infer_room(q, v) && memcpy(v->data, data.p, data.n);
    cab_bytes_fini(&data);
    return fine;
}

static bool put_list(cab_infer *q, int i)
{
    const cab_tensor_view *v = &q->outputs[i];
    cab_json_fault f;
    return cab_json_write_tensor(&q->x->out, v->dtype, v->rank, v->dims, v->data, true, CAB_NONFINITE_NULL, &f) ? true
         : f.kind == CAB_FAULT_MEMORY ? cab_infer_starve(q)
         : cab_infer_fault(q, "output '%s': %s", q->loaded->outputs[i].name, f.text);
}

static bool end_answer(cab_infer *q)
{
    q->x->type = "application/json";
    return q->x->out.failed ? cab_infer_starve(q) : true;
}

/* ---- which model ---- */

/* A verb: the member that its tensors are in, and what is asked for beside it. */
typedef struct verb {
    const char *tensors;
    bool (*read)(cab_infer *q, cab_json *j);
    bool (*encode)(cab_infer *q);
} verb;

static void refuse_member(cab_exchange *x, const verb *v, cab_slice name)
{
    cab_exchange_refuse(x, 400, "no member '%.*s' here (known are name (or model), version, %s)",
                        (int)(name.n < 100 ? name.n : 100), name.p, v->tensors);
}

/* A name or a version, into the exchange's memory.  False: answered. */
static bool read_name(cab_exchange *x, cab_json *j, const char *what, cab_slice *to)
{
    cab_json_token t = cab_json_next(j);
    char *text = NULL;
    if (t == CAB_JSON_ERROR)
        cab_exchange_refuse(x, 400, "failed to parse the request JSON: %s", j->why);
    else if (t != CAB_JSON_STRING && t != CAB_JSON_NUMBER)
        cab_exchange_refuse(x, 400, "'%s' must be a text", what);
    else if (to->p)
        cab_exchange_refuse(x, 400, "'%s' is said twice", what);
    else if (!(text = cab_pieces_take(&x->mem, j->text.n + 1)))
        cab_exchange_refuse(x, 503, "out of memory");
    if (text)
        *to = (cab_slice){ text, cab_json_unescape_to(j->text, text, j->text.n) };
    return text;
}

/* Looks through the body for the names only; the tensors are read when the model is known.  False: answered. */
static bool find_names(cab_exchange *x, const verb *v, named *out)
{
    cab_json j;
    cab_json_token t;
    cab_json_init(&j, x->body, NULL);
    *out = (named){ { NULL, 0 }, { NULL, 0 } };
    t = cab_json_next(&j);
    if (t != CAB_JSON_OBJECT && t != CAB_JSON_ERROR) {
        cab_exchange_refuse(x, 400, "the request must be an object");
        return false;
    }
    while (t != CAB_JSON_ERROR && (t = cab_json_next(&j)) == CAB_JSON_KEY) {
        bool model = cab_json_is(&j, "name") || cab_json_is(&j, "model"), version = cab_json_is(&j, "version");
        if (!model && !version && !cab_json_is(&j, v->tensors)) {
            refuse_member(x, v, j.text);
            return false;
        }
        if ((model || version) && !read_name(x, &j, model ? "name" : "version", model ? &out->model : &out->version))
            return false;
        if (!model && !version && !cab_json_skip(&j))
            break;
    }
    if (!*j.why && cab_json_next(&j) == CAB_JSON_END)
        return true;
    cab_exchange_refuse(x, 400, "failed to parse the request JSON: %s", j.why);
    return false;
}

/* The model of a request that names none: the only one.  NULL: answered. */
static cab_resident *only_model(cab_service *s, cab_exchange *x, cab_slice version)
{
    cab_resident **all, *l = NULL;
    int k = cab_catalog_list(s->catalog, NULL, &all);
    bool one = k > 0 && !strcmp(all[0]->name, all[k - 1]->name);
    if (one && cab_service_allows(x, CAB_ROLE_CALL, cab_slice_of(all[0]->name)))
        l = cab_find_loaded(s, x, cab_slice_of(all[0]->name), version);
    else if (k < 0)
        cab_exchange_refuse(x, 503, "out of memory");
    else if (!one)
        cab_exchange_refuse(x, k > 0 ? 400 : 404, k > 0 ? "more than one model is loaded: say which by \"name\""
                                                        : "no model is loaded");
    cab_catalog_let_go(all, k);
    return l;
}

static cab_infer *begin(cab_service *s, cab_exchange *x, const verb *v)
{
    named n;
    cab_resident *l = NULL;
    if (!find_names(x, v, &n))
        return NULL;
    if (!n.model.p)
        l = only_model(s, x, n.version);
    else if (cab_service_allows(x, CAB_ROLE_CALL, n.model))
        l = cab_find_loaded(s, x, n.model, n.version);
    return l ? cab_infer_begin(x, l, v->encode) : NULL;
}

/* Reads the one member of the body that the tensors are in, and sends the request on its way, or back. */
static void finish(cab_infer *q, const verb *v)
{
    cab_json j;
    bool fine = cab_infer_fault(q, "the request has no '%s'", v->tensors);
    cab_json_init(&j, q->x->body, NULL);
    cab_json_next(&j);
    while (cab_json_next(&j) == CAB_JSON_KEY) {
        bool is = cab_json_is(&j, v->tensors);
        if (is ? !(fine = v->read(q, &j)) : !cab_json_skip(&j))
            break;
    }
    if (fine)
        cab_infer_submit(q);
    else
        cab_infer_refuse(q);
}

/* ---- /call ---- */

static bool encode_call(cab_infer *q)
{
    cab_bytes *b = &q->x->out;
    cab_bytes_printf(b, "{\"name\":\"%s\",\"version\":\"%s\",\"outputs\":{", q->loaded->name, q->loaded->version_text);
    for (int i = 0; i < q->loaded->n_outputs; i++) {
        if (i)
            cab_bytes_char(b, ',');
        cab_json_put_string(b, cab_slice_of(q->loaded->outputs[i].name));
        cab_bytes_char(b, ':');
        if (!put_list(q, i))
            return false;
    }
    cab_bytes_str(b, "}}");
    return end_answer(q);
}

static int find_input(const cab_infer *q, const cab_json *j)
{
    for (int i = 0; i < q->loaded->n_inputs; i++)
        if (cab_json_is(j, q->loaded->inputs[i].name))
            return i;
    return -1;
}

static bool read_inputs(cab_infer *q, cab_json *j)
{
    cab_json_token t = cab_json_next(j);
    if (t != CAB_JSON_OBJECT)
        return cab_infer_fault(q, "'inputs' must be an object of lists by the inputs' names");
    while ((t = cab_json_next(j)) == CAB_JSON_KEY) {
        int i = find_input(q, j);
        if (i < 0)
            return cab_infer_fault(q, "unexpected inference input '%.*s' for model '%s'",
                                   (int)(j->text.n < 100 ? j->text.n : 100), j->text.p, q->loaded->name);
        if (!read_list(q, j, i))
            return false;
    }
    return t == CAB_JSON_OBJECT_END;
}

void cab_api_verb_call(cab_service *s, cab_exchange *x, const cab_target *t)
{
    static const verb call = { "inputs", read_inputs, encode_call };
    (void)t;
    cab_infer *q = begin(s, x, &call);
    if (q)
        finish(q, &call);
}

/* ---- /predict ---- */

static bool encode_predict(cab_infer *q)
{
    cab_bytes_str(&q->x->out, "{\"Y\":");
    if (!put_list(q, 0))
        return false;
    cab_bytes_char(&q->x->out, '}');
    return end_answer(q);
}

static bool read_only_input(cab_infer *q, cab_json *j) { return read_list(q, j, 0); }

void cab_api_verb_predict(cab_service *s, cab_exchange *x, const cab_target *t)
{
    static const verb predict = { "X", read_only_input, encode_predict };
    (void)t;
    cab_infer *q = begin(s, x, &predict);
    if (!q)
        return;
    if (q->loaded->n_inputs == 1 && q->loaded->n_outputs >= 1) {
        finish(q, &predict);
        return;
    }
    cab_infer_fault(q, "model '%s' has %d inputs: use /call or /v2/models/%s/infer", q->loaded->name, q->loaded->n_inputs,
                    q->loaded->name);
    cab_infer_refuse(q);
}
