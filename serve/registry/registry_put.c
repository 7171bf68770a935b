/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry_put.c - putting versions: canonical content, immutability, numbers; and
 * what becomes of a version afterwards (state, build, removal).
 */
#include "serve/registry/registry_int.h"
#include "serve/json/io_json.h"
#include "serve/json/json_tree.h"
#include "base/sha256.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_TAGS = 64 };

/* ---- content in one spelling ---- */

typedef struct canon {
    char *io, *resources, *config, *tags;      /* malloc'ed by jansson; io "" = not said */
    const char *tag[MAX_TAGS];                 /* sorted, each once; the caller's */
    size_t n_tags;
    cab_digest content;
} canon;

static void canon_fini(canon *c)
{
    free(c->io);
    free(c->resources);
    free(c->config);
    free(c->tags);
}

static cab_status spell(const json_t *j, char **out, cab_diag *d)
{
    *out = cab_json_dump(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    return *out ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
}

static cab_status canon_object(const char *text, const char *what, char **out, cab_diag *d)
{
    json_t *j;
    CAB_TRY(cab_json_read(text ? text : "{}", what, &j, d));
    cab_status s = json_is_object(j)
                       ? spell(j, out, d)
                       : cab_fail(d, CAB_EINVAL, NULL, "%s: not a JSON object", what);
    json_decref(j);
    return s;
}

static cab_status canon_io(const char *text, char **out, cab_diag *d)
{
    json_t *j;
    if (!text) {
        *out = strdup("");
        return *out ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    CAB_TRY(cab_json_read(text, "inputs and outputs", &j, d));
    cab_status s = cab_io_check(j, d);
    if (s == CAB_OK)
        s = spell(j, out, d);
    json_decref(j);
    return s;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static cab_status canon_tags(const cab_version_content *v, canon *c, cab_diag *d)
{
    if (v->n_tags > MAX_TAGS)
        return cab_fail(d, CAB_EINVAL, NULL, "%zu tags are more than the %d that are allowed",
                        v->n_tags, MAX_TAGS);
    for (size_t i = 0; i < v->n_tags; i++) {
        CAB_TRY(cab_reg_check_name("tag", v->tags[i], d));
        c->tag[i] = v->tags[i];
    }
    qsort(c->tag, v->n_tags, sizeof *c->tag, by_text);
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_tags; i++)
        if (!c->n_tags || strcmp(c->tag[i], c->tag[c->n_tags - 1])) {
            c->tag[c->n_tags++] = c->tag[i];
            json_array_append_new(list, json_string(c->tag[i]));
        }
    cab_status s = json_array_size(list) == c->n_tags
                       ? spell(list, &c->tags, d)
                       : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    json_decref(list);
    return s;
}

static void add_part(cab_sha256 *h, const void *p, size_t n)
{
    uint64_t length = n;
    cab_sha256_add(h, &length, sizeof length);
    cab_sha256_add(h, p, n);
}

/* One number for all that a client said. */
static void fingerprint(const cab_version_content *v, canon *c)
{
    const char *texts[] = { c->io, c->resources, c->config, c->tags };
    cab_sha256 h;
    cab_sha256_init(&h);
    add_part(&h, v->model ? v->model->b : NULL, v->model ? 32 : 0);
    add_part(&h, v->artifact ? v->artifact->b : NULL, v->artifact ? 32 : 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add_part(&h, texts[i], strlen(texts[i]));
    cab_sha256_done(&h, c->content.b);
}

static cab_status canon_of(const cab_version_content *v, canon *c, cab_diag *d)
{
    if (!v->model && !v->artifact)
        return cab_fail(d, CAB_EINVAL, NULL, "a version needs a model, an artifact, or both");
    CAB_TRY(canon_io(v->io, &c->io, d));
    CAB_TRY(canon_object(v->resources, "resources", &c->resources, d));
    if (v->config)
        CAB_TRY(canon_object(v->config, "config", &c->config, d));
    return canon_tags(v, c, d);
}

/* ---- putting ---- */

typedef struct put {
    cab_registry *r;
    const char *name;
    const cab_version_content *v;
    canon c;
    int64_t model, version;
    bool added;
    cab_diag *d;
} put;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static cab_status find_or_add_model(put *p)
{
    bool found;
    CAB_TRY(cab_reg_number(p->r, CAB_SQL_MODEL_ID, &p->model, &found, p->d, "t", p->name));
    if (found)
        return CAB_OK;
    CAB_TRY(cab_reg_run(p->r, CAB_SQL_MODEL_ADD, NULL, p->d, "ti", p->name, now_ms()));
    p->model = sqlite3_last_insert_rowid(p->r->db);
    return CAB_OK;
}

/* What the content is, now that it is known which version's configuration an unsaid one is. */
static cab_status complete(put *p)
{
    if (!p->c.config)
        CAB_TRY(cab_reg_text(p->r, CAB_SQL_VERSION_CONFIG, &p->c.config, p->d, "ii", p->model, p->version));
    if (!p->c.config)
        CAB_TRY(canon_object(NULL, "config", &p->c.config, p->d));
    fingerprint(p->v, &p->c);
    return CAB_OK;
}

static cab_status next_number(put *p)
{
    int64_t newest, last;
    cab_digest have;
    bool found;
    CAB_TRY(cab_reg_number(p->r, CAB_SQL_VERSION_NEWEST, &newest, NULL, p->d, "i", p->model));
    CAB_TRY(cab_reg_digest(p->r, CAB_SQL_VERSION_CONTENT, &have, &found, p->d, "ii", p->model,
                           newest));
    if (found && cab_digest_equal(&have, &p->c.content)) {
        p->version = newest;               /* the same again */
        return CAB_OK;
    }
    CAB_TRY(cab_reg_number(p->r, CAB_SQL_MODEL_LAST, &last, NULL, p->d, "i", p->model));
    if (last >= CAB_VERSION_MOST)
        return cab_fail(p->d, CAB_ECONFLICT, NULL, "'%s' has no version numbers left", p->name);
    p->version = last + 1;
    return CAB_OK;
}

static cab_status taken(put *p, const char *why)
{
    cab_fail(p->d, CAB_ECONFLICT, NULL, "version %lld of '%s' %s", (long long)p->version, p->name,
             why);
    cab_note(p->d, "versions never change: register this as another version");
    return CAB_ECONFLICT;
}

/* *there: the version is in the registry with this very content. */
static cab_status compare(put *p, bool *there)
{
    cab_digest have;
    bool was;
    CAB_TRY(cab_reg_digest(p->r, CAB_SQL_VERSION_CONTENT, &have, there, p->d, "ii", p->model,
                           p->version));
    if (*there)
        return cab_digest_equal(&have, &p->c.content) ? CAB_OK
                                                      : taken(p, "is there, with other content");
    CAB_TRY(cab_reg_digest(p->r, CAB_SQL_RETIRED_CONTENT, &have, &was, p->d, "ii", p->model,
                           p->version));
    if (was && !cab_digest_equal(&have, &p->c.content))
        return taken(p, "was removed, and had other content");
    return was ? cab_reg_run(p->r, CAB_SQL_RETIRED_DROP, NULL, p->d, "ii", p->model, p->version)
               : CAB_OK;
}

static cab_status is_stored(put *p, const cab_digest *g, const char *what)
{
    char text[CAB_DIGEST_TEXT];
    if (!g || (p->r->blobs && cab_blobs_has(p->r->blobs, g)))
        return CAB_OK;
    cab_digest_text(g, text);
    return cab_fail(p->d, CAB_ENOTFOUND, NULL, "the %s with SHA-256 %s is not stored", what, text);
}

/* Inside a transaction, so that no sweep removes the files meanwhile. */
static cab_status insert(put *p)
{
    const cab_version_content *v = p->v;
    const canon *c = &p->c;
    cab_version_state state = v->artifact && *c->io ? CAB_READY : CAB_REGISTERED;
    CAB_TRY(is_stored(p, v->model, "model"));
    CAB_TRY(is_stored(p, v->artifact, "artifact"));
    CAB_TRY(cab_reg_run(p->r, CAB_SQL_VERSION_ADD, NULL, p->d, "iiggttttgiit", p->model, p->version,
                        v->model, v->artifact, c->io, c->resources, c->config, c->tags, &c->content,
                        (int64_t)state, now_ms(), v->promise));
    CAB_TRY(cab_reg_put_tensors(p->r, p->model, p->version, c->io, p->d));
    for (size_t i = 0; i < c->n_tags; i++)
        CAB_TRY(cab_reg_run(p->r, CAB_SQL_TAG_ADD, NULL, p->d, "iit", p->model, p->version,
                            c->tag[i]));
    p->added = true;
    return cab_reg_run(p->r, CAB_SQL_MODEL_SET_LAST, NULL, p->d, "ii", p->model, p->version);
}

static cab_status put_in(put *p)
{
    bool there;
    CAB_TRY(find_or_add_model(p));
    CAB_TRY(complete(p));
    if (!p->version)
        CAB_TRY(next_number(p));
    CAB_TRY(compare(p, &there));
    return there ? cab_reg_run(p->r, CAB_SQL_VERSION_PROMISE, NULL, p->d, "iit", p->model, p->version, p->v->promise)
                 : insert(p);
}

cab_status cab_registry_put_version(cab_registry *r, const char *name, int64_t *version,
                                    const cab_version_content *c, bool *added, cab_diag *d)
{
    put p = { .r = r, .name = name, .v = c, .version = *version, .d = d };
    if (added)
        *added = false;
    CAB_TRY(cab_reg_check_name("model", name, d));
    if (p.version < 0 || p.version > CAB_VERSION_MOST)
        return cab_fail(d, CAB_EINVAL, NULL, "%lld cannot be a version: they are whole numbers from "
                                             "1 to 2^53 - 1", (long long)p.version);
    cab_status s = canon_of(c, &p.c, d);
    if (s == CAB_OK)
        s = cab_reg_begin(r, d);
    if (s == CAB_OK)
        s = cab_reg_end(r, put_in(&p), d);
    if (s == CAB_OK) {
        *version = p.version;
        if (added)
            *added = p.added;
    }
    canon_fini(&p.c);
    return s;
}

/* ---- tensors, to be found by ---- */

char *cab_reg_shape_text(const void *json)
{
    cab_bytes b = { 0 };
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)(uintptr_t)json, i, v)
        cab_bytes_printf(&b, "%s%lld", i ? "," : "", (long long)json_integer_value(v));
    cab_bytes_char(&b, 0);
    if (b.failed)
        cab_bytes_fini(&b);
    return b.p;
}

static cab_status put_tensor(cab_registry *r, int64_t model, int64_t version, int side,
                             const json_t *t, cab_diag *d)
{
    const json_t *shape = json_object_get(t, "shape");
    char *text = shape ? cab_reg_shape_text(shape) : NULL;
    if (shape && !text)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    cab_status s = cab_reg_run(r, CAB_SQL_TENSOR_ADD, NULL, d, "iiittt", model, version,
                               (int64_t)side, json_string_value(json_object_get(t, "name")),
                               json_string_value(json_object_get(t, "datatype")), text);
    free(text);
    return s;
}

static cab_status put_sides(cab_registry *r, int64_t model, int64_t version, const json_t *io,
                            cab_diag *d)
{
    static const char *const sides[] = { "inputs", "outputs" };
    for (int side = 0; side < 2; side++) {
        size_t i;
        json_t *t;
        json_array_foreach(json_object_get(io, sides[side]), i, t)
            CAB_TRY(put_tensor(r, model, version, side + 1, t, d));
    }
    return CAB_OK;
}

cab_status cab_reg_put_tensors(cab_registry *r, int64_t model, int64_t version, const char *io,
                               cab_diag *d)
{
    json_t *j;
    CAB_TRY(cab_reg_run(r, CAB_SQL_TENSOR_DROP, NULL, d, "ii", model, version));
    if (!*io)
        return CAB_OK;
    CAB_TRY(cab_json_read(io, "inputs and outputs", &j, d));
    cab_status s = put_sides(r, model, version, j, d);
    json_decref(j);
    return s;
}

/* ---- afterwards ---- */

const char *cab_version_state_text(cab_version_state s)
{
    static const char *const text[] = { "registered", "building", "ready", "failed" };
    return (unsigned)s < CAB_VERSION_STATES ? text[s] : "unknown";
}

static cab_status set_state(cab_registry *r, const char *name, int64_t version,
                            cab_version_state state, const char *reason, cab_diag *d)
{
    int64_t id;
    cab_digest artifact;
    bool has;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    CAB_TRY(cab_reg_check_version(r, id, name, version, d));
    CAB_TRY(cab_reg_digest(r, CAB_SQL_VERSION_ARTIFACT, &artifact, &has, d, "ii", id, version));
    if (state == CAB_READY && !has)
        return cab_fail(d, CAB_ECONFLICT, NULL, "version %lld of '%s' has no artifact yet: it cannot "
                                                "be ready", (long long)version, name);
    return cab_reg_run(r, CAB_SQL_VERSION_SET_STATE, NULL, d, "iiit", id, version, (int64_t)state,
                       reason ? reason : "");
}

cab_status cab_registry_set_state(cab_registry *r, const char *name, int64_t version,
                                  cab_version_state state, const char *reason, cab_diag *d)
{
    if ((unsigned)state >= CAB_VERSION_STATES)
        return cab_fail(d, CAB_EINVAL, NULL, "no such state of a version");
    CAB_TRY(cab_reg_begin(r, d));
    return cab_reg_end(r, set_state(r, name, version, state, reason, d), d);
}

static cab_status set_built(cab_registry *r, const char *name, int64_t version,
                            const cab_digest *artifact, const char *io, cab_diag *d)
{
    put p = { .r = r, .d = d };
    int64_t id, given;
    cab_digest have;
    bool found, has;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    CAB_TRY(cab_reg_number(r, CAB_SQL_VERSION_GIVEN, &given, &found, d, "ii", id, version));
    if (!found)
        return cab_reg_no_version(name, version, d);
    CAB_TRY(cab_reg_digest(r, CAB_SQL_VERSION_ARTIFACT, &have, &has, d, "ii", id, version));
    if (given && !(has && cab_digest_equal(&have, artifact)))
        return cab_fail(d, CAB_ECONFLICT, NULL, "version %lld of '%s' came with its artifact: "
                                                "that cannot be exchanged", (long long)version, name);
    CAB_TRY(is_stored(&p, artifact, "artifact"));
    CAB_TRY(cab_reg_run(r, CAB_SQL_VERSION_SET_BUILT, NULL, d, "iigt", id, version, artifact, io));
    return cab_reg_put_tensors(r, id, version, io, d);
}

cab_status cab_registry_set_built(cab_registry *r, const char *name, int64_t version,
                                  const cab_digest *artifact, const char *io, cab_diag *d)
{
    char *text = NULL;
    cab_status s = canon_io(io, &text, d);
    if (s == CAB_OK)
        s = cab_reg_begin(r, d);
    if (s == CAB_OK)
        s = cab_reg_end(r, set_built(r, name, version, artifact, text, d), d);
    free(text);
    return s;
}

static cab_status in_use(cab_registry *r, int64_t id, const char *name, int64_t version,
                         cab_diag *d)
{
    char *label;
    int64_t pin, chosen;
    CAB_TRY(cab_reg_number(r, CAB_SQL_MODEL_PIN, &pin, NULL, d, "i", id));
    CAB_TRY(cab_reg_number(r, CAB_SQL_CHOICE_HAS, &chosen, NULL, d, "ii", id, version));
    CAB_TRY(cab_reg_text(r, CAB_SQL_LABEL_OF, &label, d, "ii", id, version));
    if (!label && pin != version && !chosen)
        return CAB_OK;
    cab_fail(d, CAB_ECONFLICT, NULL, "version %lld of '%s' is in use: %s%s%s names it",
             (long long)version, name, label ? "the label '" : pin == version ? "the pin of a rollback"
             : "the version policy", label ? label : "", label ? "'" : "");
    cab_note(d, label ? "move the label to another version first, or take it away"
                : "set a policy first, one that names other versions: it ends a rollback, too");
    free(label);
    return CAB_ECONFLICT;
}

static cab_status remove_version(cab_registry *r, const char *name, int64_t version, cab_diag *d)
{
    int64_t id;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    CAB_TRY(cab_reg_check_version(r, id, name, version, d));
    CAB_TRY(in_use(r, id, name, version, d));
    CAB_TRY(cab_reg_run(r, CAB_SQL_RETIRED_ADD, NULL, d, "ii", id, version));
    return cab_reg_run(r, CAB_SQL_VERSION_DROP, NULL, d, "ii", id, version);
}

cab_status cab_registry_remove_version(cab_registry *r, const char *name, int64_t version,
                                       cab_diag *d)
{
    CAB_TRY(cab_reg_begin(r, d));
    return cab_reg_end(r, remove_version(r, name, version, d), d);
}

static cab_status remove_model(cab_registry *r, const char *name, cab_diag *d)
{
    int64_t id;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    return cab_reg_run(r, CAB_SQL_MODEL_DROP, NULL, d, "i", id);
}

cab_status cab_registry_remove_model(cab_registry *r, const char *name, cab_diag *d)
{
    CAB_TRY(cab_reg_begin(r, d));
    return cab_reg_end(r, remove_model(r, name, d), d);
}
