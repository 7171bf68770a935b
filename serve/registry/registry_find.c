/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry_find.c - looking: one version, models, queries; and the sweep of what
 * no version names.
 */
#include "serve/registry/registry_int.h"
#include "serve/json/json_tree.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 1000 };

/* ---- rows ---- */

static char *text_at(sqlite3_stmt *q, int i)
{
    bool none = sqlite3_column_type(q, i) == SQLITE_NULL;
    const char *s = (const char *)sqlite3_column_text(q, i);
    return s || none ? strdup(s ? s : "") : NULL;      /* no memory for its end */
}

static bool digest_at(sqlite3_stmt *q, int i, cab_digest *out)
{
    if (sqlite3_column_bytes(q, i) != sizeof out->b)
        return false;
    memcpy(out->b, sqlite3_column_blob(q, i), sizeof out->b);
    return true;
}

static void version_fini(cab_version_info *v)
{
    free(v->name);
    free(v->io);
    free(v->resources);
    free(v->config);
    free(v->tags);
    free(v->reason);
    free(v->promise);
}

/* False when memory ran out. */
static bool version_of(sqlite3_stmt *q, cab_version_info *v)
{
    *v = (cab_version_info){
        .name = text_at(q, 0), .version = sqlite3_column_int64(q, 1),
        .artifact_given = sqlite3_column_int64(q, 4) != 0, .io = text_at(q, 5),
        .resources = text_at(q, 6), .config = text_at(q, 7), .tags = text_at(q, 8),
        .state = (cab_version_state)sqlite3_column_int64(q, 9), .reason = text_at(q, 10),
        .created_ms = sqlite3_column_int64(q, 11),
    };
    v->has_model = digest_at(q, 2, &v->model);
    v->has_artifact = digest_at(q, 3, &v->artifact);
    bool promised = sqlite3_column_type(q, 12) != SQLITE_NULL;
    v->promise = promised ? text_at(q, 12) : NULL;
    return v->name && v->io && v->resources && v->config && v->tags && v->reason && (v->promise || !promised);
}

void cab_version_list_fini(cab_version_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        version_fini(&l->v[i]);
    free(l->v);
    *l = (cab_version_list){ 0 };
}

static bool add_version(cab_version_list *l, sqlite3_stmt *q)
{
    /* Doubled when the count is a power of two. */
    if (!(l->n & (l->n - 1))) {
        cab_version_info *p = realloc(l->v, (l->n ? 2 * l->n : 1) * sizeof *p);
        if (!p)
            return false;
        l->v = p;
    }
    return version_of(q, &l->v[l->n++]);
}

/* All rows of a statement that was started; ends it. */
static cab_status gather(cab_registry *r, sqlite3_stmt *q, cab_version_list *out, cab_diag *d)
{
    bool row = true;
    cab_status s = CAB_OK;
    while (s == CAB_OK) {
        s = cab_reg_step(r, q, &row, d);
        if (s != CAB_OK || !row)
            break;
        if (!add_version(out, q))
            s = cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    cab_reg_done(q);
    if (s != CAB_OK)
        cab_version_list_fini(out);
    return s;
}

cab_status cab_registry_find(cab_registry *r, const char *name, int64_t version,
                             cab_version_list *out, cab_diag *d)
{
    sqlite3_stmt *q;
    int64_t id;
    *out = (cab_version_list){ 0 };
    CAB_TRY(cab_reg_model(r, name, &id, d));
    CAB_TRY(cab_reg_start(r, CAB_SQL_FIND, &q, d, "ti", name, version));
    CAB_TRY(gather(r, q, out, d));
    return out->n ? CAB_OK : cab_reg_no_version(name, version, d);
}

/* ---- queries ---- */

void cab_reg_shape_fits(sqlite3_context *c, int n, sqlite3_value **v)
{
    const char *have = (const char *)sqlite3_value_text(v[0]);
    const char *want = (const char *)sqlite3_value_text(v[1]);
    bool fits = true;
    (void)n;
    if (!have || !want) {                  /* of any rank */
        sqlite3_result_int(c, 1);
        return;
    }
    while (fits && *have && *want) {
        char *a, *b;
        long long x = strtoll(have, &a, 10), y = strtoll(want, &b, 10);
        fits = (x == y || x == -1 || y == -1) && *a == *b;
        have = a + (*a == ',');
        want = b + (*b == ',');
    }
    sqlite3_result_int(c, fits && *have == *want);
}

/* "[1,-1]" -> "1,-1", malloc'ed. */
static cab_status shape_of(const char *text, char **out, cab_diag *d)
{
    json_t *j, *v;
    size_t i;
    CAB_TRY(cab_json_read(text, "shape", &j, d));
    bool ok = json_is_array(j) && json_array_size(j) <= 8;
    json_array_foreach(j, i, v)
        ok = ok && json_is_integer(v) && json_integer_value(v) >= -1;
    *out = ok ? cab_reg_shape_text(j) : NULL;
    json_decref(j);
    if (!ok)
        return cab_fail(d, CAB_EINVAL, NULL, "the shape to look for is not a list like [1,3,-1]");
    return *out ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
}

/* "abc" is exact, "abc*" a beginning. */
static cab_status name_pattern(const char *name, const char **exact, char **beginning,
                               cab_diag *d)
{
    size_t n = name ? strlen(name) : 0;
    *exact = NULL;
    *beginning = NULL;
    if (!name)
        return CAB_OK;
    if (!n || name[n - 1] != '*') {
        *exact = name;
        return cab_reg_check_name("model", name, d);
    }
    if (n > 1 && (n > 129 || strcspn(name, "*") != n - 1))
        return cab_fail(d, CAB_EINVAL, NULL, "'*' stands at the end of a name only");
    *beginning = strndup(name, n - 1);
    return *beginning ? CAB_OK : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
}

static cab_status discover(cab_registry *r, const cab_query *q, const char *exact,
                           const char *beginning, const char *shape, cab_version_list *out,
                           cab_diag *d)
{
    sqlite3_stmt *s;
    int64_t by_tensor = q->io_name || q->dtype || q->shape || q->side;
    int64_t limit = q->limit > 0 && q->limit < MOST_ROWS ? q->limit : MOST_ROWS;
    CAB_TRY(cab_reg_start(r, CAB_SQL_DISCOVER, &s, d, "ttiiitttittii", exact, beginning, q->version,
                          (int64_t)q->state, by_tensor, q->io_name, q->dtype, shape,
                          (int64_t)q->side, q->tag, q->after_name, q->after_version, limit));
    return gather(r, s, out, d);
}

cab_status cab_registry_discover(cab_registry *r, const cab_query *q, cab_version_list *out,
                                 cab_diag *d)
{
    const char *exact;
    char *beginning, *shape = NULL;
    *out = (cab_version_list){ 0 };
    CAB_TRY(name_pattern(q->name, &exact, &beginning, d));
    cab_status s = q->shape ? shape_of(q->shape, &shape, d) : CAB_OK;
    if (s == CAB_OK)
        s = discover(r, q, exact, beginning, shape, out, d);
    free(beginning);
    free(shape);
    return s;
}

/* ---- models ---- */

void cab_model_list_fini(cab_model_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        cab_model_info *m = &l->m[i];
        for (size_t k = 0; k < m->n_labels; k++)
            free(m->labels[k].label);
        free(m->labels);
        free(m->specific);
        free(m->name);
    }
    free(l->m);
    *l = (cab_model_list){ 0 };
}

static cab_status no_memory(cab_diag *d) { return cab_fail(d, CAB_ENOMEM, NULL, "out of memory"); }

static cab_status add_labels(cab_registry *r, sqlite3_stmt *q, cab_model_info *m, cab_diag *d)
{
    for (;;) {
        bool row;
        CAB_TRY(cab_reg_step(r, q, &row, d));
        if (!row)
            return CAB_OK;
        cab_label *p = realloc(m->labels, (m->n_labels + 1) * sizeof *p);
        if (!p)
            return no_memory(d);
        m->labels = p;
        p[m->n_labels] = (cab_label){ text_at(q, 0), sqlite3_column_int64(q, 1) };
        if (!p[m->n_labels++].label)
            return no_memory(d);
    }
}

static cab_status add_choices(cab_registry *r, sqlite3_stmt *q, cab_model_info *m, cab_diag *d)
{
    for (;;) {
        bool row;
        CAB_TRY(cab_reg_step(r, q, &row, d));
        if (!row)
            return CAB_OK;
        int64_t *p = realloc(m->specific, (m->n_specific + 1) * sizeof *p);
        if (!p)
            return no_memory(d);
        m->specific = p;
        p[m->n_specific++] = sqlite3_column_int64(q, 0);
    }
}

static cab_status add_details(cab_registry *r, int64_t id, cab_model_info *m, cab_diag *d)
{
    sqlite3_stmt *q;
    CAB_TRY(cab_reg_start(r, CAB_SQL_LABELS, &q, d, "i", id));
    cab_status s = add_labels(r, q, m, d);
    cab_reg_done(q);
    CAB_TRY(s);
    CAB_TRY(cab_reg_start(r, CAB_SQL_CHOICES, &q, d, "i", id));
    s = add_choices(r, q, m, d);
    cab_reg_done(q);
    return s;
}

static cab_status add_model(cab_registry *r, sqlite3_stmt *q, cab_model_list *l, cab_diag *d)
{
    cab_model_info *p = realloc(l->m, (l->n + 1) * sizeof *p);
    if (!p)
        return no_memory(d);
    l->m = p;
    cab_model_info *m = &p[l->n++];
    *m = (cab_model_info){
        .name = text_at(q, 1), .policy = (cab_policy_kind)sqlite3_column_int64(q, 2),
        .latest = sqlite3_column_int64(q, 3), .pin = sqlite3_column_int64(q, 4),
        .wanted = sqlite3_column_int64(q, 5) != 0, .created_ms = sqlite3_column_int64(q, 6),
        .n_versions = sqlite3_column_int64(q, 7),
    };
    return m->name ? add_details(r, sqlite3_column_int64(q, 0), m, d) : no_memory(d);
}

cab_status cab_registry_models(cab_registry *r, const char *name, cab_model_list *out, cab_diag *d)
{
    sqlite3_stmt *q;
    bool row = true;
    *out = (cab_model_list){ 0 };
    if (name)
        CAB_TRY(cab_reg_check_name("model", name, d));
    CAB_TRY(cab_reg_start(r, CAB_SQL_MODELS, &q, d, "t", name));
    cab_status s = cab_reg_step(r, q, &row, d);
    while (s == CAB_OK && row) {
        s = add_model(r, q, out, d);
        if (s == CAB_OK)
            s = cab_reg_step(r, q, &row, d);
    }
    cab_reg_done(q);
    if (s == CAB_OK && name && !out->n)
        s = cab_fail(d, CAB_ENOTFOUND, NULL, "no model is called '%s'", name);
    if (s != CAB_OK)
        cab_model_list_fini(out);
    return s;
}

/* ---- garbage ---- */

static int is_named(void *user, const cab_digest *g)
{
    int64_t named;
    return cab_reg_number(user, CAB_SQL_NAMES_BLOB, &named, NULL, NULL, "g", g) == CAB_OK
               ? named != 0
               : -1;
}

/* In a transaction that nobody else can write beside. */
cab_status cab_registry_collect(cab_registry *r, int64_t min_age_s, cab_blobs_swept *out,
                                cab_diag *d)
{
    *out = (cab_blobs_swept){ 0 };
    if (!r->blobs)
        return cab_fail(d, CAB_EINVAL, NULL, "this registry has no store beside it");
    CAB_TRY(cab_reg_begin(r, d));
    return cab_reg_end(r, cab_blobs_sweep(r->blobs, is_named, r, min_age_s, out, d), d);
}
