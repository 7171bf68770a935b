/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_register.c - /register and /discover.
 *
 *   POST /register {"name": "m", "version": 2, "model": BASE64 | "ref": "folder/model.onnx" | "sha256:HEX",
 *                   "inputs": [...], "outputs": [...], "resources": {...}, "config": {...}, "tags": [...],
 *                   "wait": true}
 *   POST /register?name=m&version=2&config=JSON&wait=true, the body being the file: large models, without base64.
 *
 * The answer comes when the version is ready (201; "serving" and "why" say whether requests get it), or could not be
 * built (422, with the compiler's story); with "wait": false when it is durable (202).  A client that lost the answer may ask again: the same content is the
 * same version.  inputs and outputs are a promise that the model is held to.
 */
#include "base/file.h"
#include "serve/handlers.h"
#include "serve/json/json_pull.h"
#include "serve/json/json_tree.h"
#include "serve/model_config.h"
#include "serve/repository.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* No member but those (NULL ends them).  Not json_unpack's strictness, whose books need memory and which takes a lack
 * of it for a stranger. */
static cab_status know_members(const json_t *o, const char *where, const char *const *members, cab_diag *d)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        cab_bytes known = { 0 };
        const char *const *m = members;
        while (*m && strcmp(*m, name))
            m++;
        if (*m)
            continue;
        for (m = members; *m; m++)
            cab_bytes_printf(&known, m == members ? "%s" : ", %s", *m);
        cab_fail(d, CAB_EINVAL, NULL, "no member '%.100s' %s (known are %s)", name, where, cab_bytes_cstr(&known));
        cab_bytes_fini(&known);
        return CAB_EINVAL;
    }
    return CAB_OK;
}

/* ---- the model's bytes ---- */

static cab_status from_base64(cab_service *s, cab_exchange *x, const json_t *v, cab_digest *out, cab_diag *d)
{
    void *p;
    size_t n;
    CAB_TRY(cab_base64_read(&x->mem, v, &p, &n, d));
    return cab_blobs_add(s->blobs, p, n, out, d);
}

/* What the client may know of a file that was not opened: no path of the server. */
static cab_status ref_story(const char *ref, int e, cab_diag *d)
{
    switch (e) {
    case ENOENT: case ENOTDIR:
        return cab_fail(d, CAB_ENOTFOUND, NULL, "'ref': no file '%.200s' in the imports folder", ref);
    case EXDEV: case EISDIR: case EACCES: case ENAMETOOLONG:
        return cab_fail(d, CAB_EINVAL, NULL, "'ref': '%.200s' is no path, below the imports folder, of a regular file that the server may "
                                             "read (no links, no '..')", ref);
    default:
        return cab_fail(d, CAB_EIO, NULL, "'ref': '%.200s' cannot be opened: %s", ref, strerror(e));
    }
}

static cab_status from_file(cab_service *s, const char *ref, cab_digest *out, cab_diag *d)
{
    if (!*s->o.imports)
        return cab_fail(d, CAB_EINVAL, NULL, "'ref' names a file, and the server has no --imports folder");
    cab_bytes base = { 0 };
    cab_bytes_printf(&base, "%s/.", s->o.imports);
    int fd = base.failed ? -1 : cab_file_beneath(cab_bytes_cstr(&base), ref), e = base.failed ? ENOMEM : errno;
    cab_bytes_fini(&base);
    if (fd < 0)
        return ref_story(ref, e, d);
    cab_status k = cab_blobs_add_fd(s->blobs, fd, 0, out, d);
    close(fd);
    return k;
}

/* Goes on behind the rows of l; last keeps the name. */
static void next_page(cab_query *q, const cab_version_list *l, char last[CAB_NAME_BYTES])
{
    snprintf(last, CAB_NAME_BYTES, "%s", l->v[l->n - 1].name);
    q->after_name = last;
    q->after_version = l->v[l->n - 1].version;
}

static bool names(const cab_version_info *v, const cab_digest *file)
{
    return (v->has_model && cab_digest_equal(&v->model, file)) || (v->has_artifact && cab_digest_equal(&v->artifact, file));
}

/* A token that is for some models may use the files of those: a hash, which lists and logs may show, gives no right. */
static bool may_use(cab_service *s, const cab_exchange *x, const cab_digest *file)
{
    char last[CAB_NAME_BYTES];
    cab_query q = { 0 };
    cab_version_list l = { 0 };
    bool may = cab_service_may(x, CAB_ROLE_CALL, CAB_SLICE("*"));
    for (bool more = !may; more;) {
        more = cab_registry_discover(s->registry, &q, &l, NULL) == CAB_OK && l.n;
        for (size_t i = 0; !may && i < l.n; i++)
            may = names(&l.v[i], file) && cab_service_may(x, CAB_ROLE_CALL, cab_slice_of(l.v[i].name));
        if (more)
            next_page(&q, &l, last);
        cab_version_list_fini(&l);
        more = more && !may;
    }
    return may;
}

static cab_status take_model(cab_service *s, cab_exchange *x, const json_t *o, cab_digest *out, cab_diag *d)
{
    if (x->query.n)
        return x->body.n ? cab_blobs_add(s->blobs, x->body.p, x->body.n, out, d)
                         : cab_fail(d, CAB_EINVAL, NULL, "the body should be the model's file, and is empty");
    const json_t *model = json_object_get(o, "model"), *ref = json_object_get(o, "ref");
    if (json_is_string(model) && !ref)
        return from_base64(s, x, model, out, d);
    if (!json_is_string(ref) || model)
        return cab_fail(d, CAB_EINVAL, NULL, "exactly one of 'model' (base64) and 'ref' (text) is needed");
    const char *text = json_string_value(ref);
    if (strncmp(text, "sha256:", 7))
        return from_file(s, text, out, d);
    if (!cab_digest_parse(text + 7, out))
        return cab_fail(d, CAB_EINVAL, NULL, "'ref' is no sha256:HEX");
    return cab_blobs_has(s->blobs, out) && may_use(s, x, out) ? CAB_OK : cab_fail(d, CAB_ENOTFOUND, NULL, "no stored file %s", text);
}

/* ---- the query ---- */

static json_t *member_of(const char *name, const char *text, cab_diag *d)
{
    json_t *v = NULL;
    if (!strcmp(name, "config"))
        return cab_json_read(text, "'config'", &v, d) == CAB_OK ? v : NULL;
    bool yes = !strcmp(text, "true"), truth = !strcmp(name, "wait") && (yes || !strcmp(text, "false"));
    v = truth ? json_boolean(yes) : json_string(text);
    if (!v)
        cab_fail(d, CAB_EINVAL, NULL, "'%s' is no text", name);
    return v;
}

static cab_status one_member(cab_exchange *x, const char *name, char *room, int *n, json_t *to, cab_diag *d)
{
    const char *why = "";
    cab_slice text;
    int found = cab_http1_param(x->query, name, room, x->query.n, &text, &why);
    if (found < 0)
        return cab_fail(d, CAB_EINVAL, NULL, "'%s' in the query: %s", name, why);
    if (!found)
        return CAB_OK;
    ++*n;
    room[text.n] = 0;
    json_t *v = member_of(name, room, d);
    return v && !json_object_set_new(to, name, v) ? CAB_OK
         : cab_diag_first(d) ? cab_diag_first(d)->code : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
}

/* What stands in the query when the body is the model's file, as the object that it would be else. */
static cab_status read_query_members(cab_exchange *x, json_t **out, cab_diag *d)
{
    static const char *const names[] = { "name", "version", "config", "wait" };
    int n = 0, parts = 1;
    char *room = cab_pieces_take(&x->mem, x->query.n + 1);
    *out = json_object();
    if (!room || !*out)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    for (size_t i = 0; i < x->query.n; i++)
        parts += x->query.p[i] == '&';
    for (int i = 0; i < 4; i++)
        CAB_TRY(one_member(x, names[i], room, &n, *out, d));
    return n == parts ? CAB_OK : cab_fail(d, CAB_EINVAL, NULL, "with a query the body is the model's file, and the query has name, version, "
                                                               "config and wait: another parameter is in it");
}

/* ---- /register ---- */

/* JSON texts and tags of the request; freed together. */
typedef struct asked {
    const char *name;
    int64_t version;
    char *resources, *config, *promise;
    const char **tags;
    size_t n_tags;
    bool wait;
} asked;

static void free_asked(asked *a)
{
    free(a->resources);
    free(a->config);
    free(a->promise);
    free(a->tags);
}

static cab_status text_of(const json_t *o, const char *key, char **out, cab_diag *d)
{
    const json_t *v = json_object_get(o, key);
    if (v && !json_is_object(v))
        return cab_fail(d, CAB_EINVAL, NULL, "'%s' must be an object", key);
    if (v && !(*out = cab_json_dump(v, JSON_COMPACT | JSON_SORT_KEYS)))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    return CAB_OK;
}

static cab_status read_tags(const json_t *v, asked *a, cab_diag *d)
{
    if (v && !json_is_array(v))
        return cab_fail(d, CAB_EINVAL, NULL, "'tags' must be an array of texts");
    a->tags = calloc(json_array_size(v) + 1, sizeof *a->tags);
    if (!a->tags)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (!(a->tags[i] = json_string_value(json_array_get(v, i))))
            return cab_fail(d, CAB_EINVAL, NULL, "'tags' must be an array of texts");
        a->n_tags++;
    }
    return CAB_OK;
}

/* [{"name", "datatype", "shape"}], each of which may be missing. */
static cab_status check_promise(const json_t *v, const char *side, cab_diag *d)
{
    static const char *const members[] = { "name", "datatype", "shape", NULL };
    bool fine = !v || json_is_array(v);
    for (size_t i = 0; fine && i < json_array_size(v); i++) {
        const json_t *t = json_array_get(v, i), *name = json_object_get(t, "name"), *type = json_object_get(t, "datatype"),
                     *shape = json_object_get(t, "shape");
        CAB_TRY(know_members(t, "of a tensor", members, d));
        fine = json_is_object(t) && (!name || json_is_string(name)) && (!type || json_is_string(type)) && (!shape || json_is_array(shape));
        for (size_t k = 0; fine && k < json_array_size(shape); k++)
            fine = json_is_integer(json_array_get(shape, k));
    }
    return fine ? CAB_OK : cab_fail(d, CAB_EINVAL, NULL, "'%s' must be an array of {\"name\": text, \"datatype\": text, "
                                                         "\"shape\": [whole numbers]}", side);
}

/* {"inputs", "outputs"} as far as the request has them. */
static cab_status read_promise(const json_t *o, asked *a, cab_diag *d)
{
    json_t *in = json_object_get(o, "inputs"), *out = json_object_get(o, "outputs");
    CAB_TRY(check_promise(in, "inputs", d));
    CAB_TRY(check_promise(out, "outputs", d));
    if (!in && !out)
        return CAB_OK;
    json_t *p = json_pack("{s:O*,s:O*}", "inputs", in, "outputs", out);
    a->promise = p ? cab_json_dump(p, JSON_COMPACT) : NULL;
    json_decref(p);
    return a->promise ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
}

static cab_status read_asked(const json_t *o, asked *a, cab_diag *d)
{
    static const char *const members[] = { "name", "version", "model", "ref", "inputs", "outputs", "resources", "config", "tags",
                                           "wait", NULL };
    const json_t *wait = json_object_get(o, "wait");
    CAB_TRY(know_members(o, "here", members, d));
    a->name = json_string_value(json_object_get(o, "name"));
    a->wait = !wait || json_is_true(wait);
    if (!a->name || !cab_name_valid(a->name))
        return cab_fail(d, CAB_EINVAL, NULL, "'name' must be a text of 1 to 128 letters, digits, '.', '_', '-', not starting with '.'");
    if (wait && !json_is_boolean(wait))
        return cab_fail(d, CAB_EINVAL, NULL, "'wait' must be true or false");
    CAB_TRY(cab_route_leaves(a->name, d));
    CAB_TRY(cab_version_read(json_object_get(o, "version"), &a->version, d));
    CAB_TRY(text_of(o, "resources", &a->resources, d));
    CAB_TRY(text_of(o, "config", &a->config, d));
    CAB_TRY(read_promise(o, a, d));
    return read_tags(json_object_get(o, "tags"), a, d);
}

static cab_status check_config(cab_service *s, const char *text, cab_diag *d)
{
    cab_model_config c;
    return cab_model_config_read(text, s->o.max_queue, &c, d);
}

/* Durable when it returns CAB_OK; then the build goes on with the exchange, or without it. */
static cab_status put(cab_service *s, cab_exchange *x, asked *a, const cab_digest *model, cab_diag *d)
{
    bool added;
    const cab_version_content c = { .model = model, .resources = a->resources, .config = a->config,
                                    .tags = a->tags, .n_tags = a->n_tags, .promise = a->promise };
    CAB_TRY(cab_registry_put_version(s->registry, a->name, &a->version, &c, &added, d));
    cab_version_list l = { 0 };
    CAB_TRY(cab_registry_find(s->registry, a->name, a->version, &l, d));
    bool ready = l.v[0].state == CAB_READY && !cab_repository_retry(s, &l.v[0]);
    cab_journal_model(s->journal, "info", added ? "registered" : "registered before", a->name, a->version, "%s",
                      ready ? "ready" : "to be built");
    cab_exchange_name(x, a->name, a->version);
    cab_status k = !ready ? cab_repository_build(s, &l.v[0], a->promise, a->wait ? x : NULL, d)
                 : a->promise ? cab_repository_holds(l.v[0].io, a->promise, d) : CAB_OK;
    cab_version_list_fini(&l);
    if (k != CAB_OK || (!ready && a->wait))
        return k;
    CAB_TRY(cab_repository_describe(s, a->name, a->version, &x->out, d));
    x->status = ready ? 200 : 202;
    x->type = "application/json";
    cab_exchange_answer(x);
    return CAB_OK;
}

static void register_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    json_t *o;
    asked a = { 0 };
    cab_digest model;
    bool refused = false;
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = x->query.n ? read_query_members(x, &o, &d) : cab_body_read(x, false, &o, &d);
    k = k == CAB_OK ? read_asked(o, &a, &d) : k;
    if (k == CAB_OK)
        refused = !cab_service_allows(x, CAB_ROLE_ADMIN, cab_slice_of(a.name));
    if (!refused) {
        k = k == CAB_OK ? check_config(s, a.config, &d) : k;
        k = k == CAB_OK ? take_model(s, x, o, &model, &d) : k;
        k = k == CAB_OK ? put(s, x, &a, &model, &d) : k;
    }
    if (k != CAB_OK) {
        cab_exchange_fail(x, &d);
        cab_repository_sweep(s);       /* of what others left: the file of this one is young */
    }
    free_asked(&a);
    json_decref(o);
    cab_diag_fini(&d);
}

void cab_api_verb_register(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)t;
    cab_control_do(s, x, register_task);
}

/* ---- /discover ---- */

void cab_version_put(cab_bytes *b, const cab_version_info *v)
{
    char hex[CAB_DIGEST_TEXT] = "";
    cab_bytes_printf(b, "{\"name\":\"%s\",\"version\":\"%lld\",\"state\":\"%s\"", v->name, (long long)v->version,
                     cab_version_state_text(v->state));
    if (*v->reason) {
        cab_bytes_str(b, ",\"reason\":");
        cab_json_put_string(b, cab_slice_of(v->reason));
    }
    /* io is an object: its members stand beside ours. */
    if (v->io[0] == '{' && v->io[1] != '}')
        cab_bytes_printf(b, ",%.*s", (int)strlen(v->io) - 2, v->io + 1);
    cab_bytes_printf(b, ",\"resources\":%s,\"config\":%s,\"tags\":%s", v->resources, v->config, v->tags);
    if (v->has_model) {
        cab_digest_text(&v->model, hex);
        cab_bytes_printf(b, ",\"model\":\"sha256:%s\"", hex);
    }
    if (v->has_artifact) {
        cab_digest_text(&v->artifact, hex);
        cab_bytes_printf(b, ",\"artifact\":\"sha256:%s\"", hex);
    }
    cab_bytes_printf(b, ",\"created_ms\":%lld}", (long long)v->created_ms);
}

static cab_status read_query(json_t *o, cab_query *q, char **shape, cab_diag *d)
{
    static const char *const members[] = { "name", "version", "state", "io", "datatype", "shape", "tag", "limit", "after", NULL };
    const char *state = NULL, *after_name = NULL;
    json_t *dims = NULL, *version = NULL, *limit = NULL, *after = NULL;
    json_error_t e;
    CAB_TRY(know_members(o, "here", members, d));
    if (json_unpack_ex(o, &e, 0, "{s?s,s?o,s?s,s?s,s?s,s?o,s?s,s?o,s?o}", "name", &q->name, "version", &version,
                       "state", &state, "io", &q->io_name, "datatype", &q->dtype, "shape", &dims, "tag", &q->tag,
                       "limit", &limit, "after", &after))
        return json_error_code(&e) == json_error_out_of_memory ? cab_fail(d, CAB_ENOMEM, NULL, "out of memory")
                                                               : cab_fail(d, CAB_EINVAL, NULL, "%s", e.text);
    CAB_TRY(cab_version_read(version, &q->version, d));
    for (int i = 0; state && i < CAB_VERSION_STATES; i++)
        if (!strcmp(state, cab_version_state_text((cab_version_state)i)))
            q->state = 1 + i;
    if (state && !q->state)
        return cab_fail(d, CAB_EINVAL, NULL, "'state' is none of registered, building, ready, failed");
    if (json_is_array(dims) && !(*shape = cab_json_dump(dims, JSON_COMPACT)))
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    if (dims && !*shape)
        return cab_fail(d, CAB_EINVAL, NULL, "'shape' must be an array of whole numbers");
    q->shape = *shape;
    q->limit = (int)json_integer_value(limit);
    if (after) {
        json_t *v = NULL;
        after_name = json_string_value(json_object_get(after, "name"));
        v = json_object_get(after, "version");
        if (json_object_size(after) != 2 || !after_name || !v)
            return cab_fail(d, CAB_EINVAL, NULL, "'after' must be {\"name\", \"version\"}");
        CAB_TRY(cab_version_read(v, &q->after_version, d));
        q->after_name = after_name;
    }
    return CAB_OK;
}

/* Only models that the token is for; so the registry's pages go on until there are as many rows as were asked for. */
static cab_status put_found(cab_service *s, cab_exchange *x, cab_query *q, cab_diag *d)
{
    enum { MOST = 1000 };
    char last[CAB_NAME_BYTES];
    const int limit = q->limit > 0 && q->limit < MOST ? q->limit : MOST;
    const bool all = cab_service_may(x, CAB_ROLE_READ, CAB_SLICE("*"));
    int shown = 0;
    for (bool more = true; more;) {
        cab_version_list l = { 0 };
        q->limit = all ? limit : 0;
        CAB_TRY(cab_registry_discover(s->registry, q, &l, d));
        for (size_t i = 0; i < l.n && shown < limit; i++) {
            if (!all && !cab_service_may(x, CAB_ROLE_READ, cab_slice_of(l.v[i].name)))
                continue;
            if (shown++)
                cab_bytes_char(&x->out, ',');
            cab_version_put(&x->out, &l.v[i]);
        }
        more = !all && l.n && shown < limit;
        if (more)
            next_page(q, &l, last);
        cab_version_list_fini(&l);
    }
    return CAB_OK;
}

static void discover_task(cab_service *s, cab_task *t)
{
    cab_exchange *x = t->x;
    json_t *o;
    cab_query q = { 0 };
    char *shape = NULL;
    cab_diag d;
    cab_diag_init(&d);
    cab_status k = cab_body_read(x, true, &o, &d);
    k = k == CAB_OK ? read_query(o, &q, &shape, &d) : k;
    cab_bytes_str(&x->out, "{\"models\":[");
    k = k == CAB_OK ? put_found(s, x, &q, &d) : k;
    cab_bytes_str(&x->out, "]}");
    if (k == CAB_OK && x->out.failed)
        k = cab_fail(&d, CAB_ENOMEM, NULL, "out of memory");
    x->status = 200;
    x->type = "application/json";
    if (k == CAB_OK)
        cab_exchange_answer(x);
    else
        cab_exchange_fail(x, &d);
    free(shape);
    json_decref(o);
    cab_diag_fini(&d);
}

void cab_api_verb_discover(cab_service *s, cab_exchange *x, const cab_target *t)
{
    (void)t;
    cab_control_do(s, x, discover_task);
}
