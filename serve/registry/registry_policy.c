/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry_policy.c - which versions are served: policies, labels, the pin, and the
 * way back.
 */
#include "serve/registry/registry_int.h"
#include <stdlib.h>
#include <string.h>

/* ---- policies ---- */

static cab_status check_policy(const cab_policy *p, cab_diag *d)
{
    if ((unsigned)p->kind > CAB_POLICY_SPECIFIC)
        return cab_fail(d, CAB_EINVAL, NULL, "no such version policy");
    if (p->kind == CAB_POLICY_LATEST && p->latest < 1)
        return cab_fail(d, CAB_EINVAL, NULL, "\"latest\" serves at least 1 version, not %lld",
                        (long long)p->latest);
    if (p->kind == CAB_POLICY_SPECIFIC && !p->n_versions)
        return cab_fail(d, CAB_EINVAL, NULL, "a policy of specific versions names at least one");
    return CAB_OK;
}

static cab_status set_policy(cab_registry *r, const char *name, const cab_policy *p, cab_diag *d)
{
    int64_t id;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    CAB_TRY(cab_reg_run(r, CAB_SQL_MODEL_SET_POLICY, NULL, d, "iii", id, (int64_t)p->kind,
                        p->kind == CAB_POLICY_LATEST ? p->latest : (int64_t)1));
    CAB_TRY(cab_reg_run(r, CAB_SQL_MODEL_SET_PIN, NULL, d, "ii", id, (int64_t)0));
    CAB_TRY(cab_reg_run(r, CAB_SQL_CHOICE_CLEAR, NULL, d, "i", id));
    for (size_t i = 0; p->kind == CAB_POLICY_SPECIFIC && i < p->n_versions; i++) {
        CAB_TRY(cab_reg_check_version(r, id, name, p->versions[i], d));
        CAB_TRY(cab_reg_run(r, CAB_SQL_CHOICE_ADD, NULL, d, "ii", id, p->versions[i]));
    }
    return CAB_OK;
}

cab_status cab_registry_set_policy(cab_registry *r, const char *name, const cab_policy *p,
                                   cab_diag *d)
{
    CAB_TRY(check_policy(p, d));
    CAB_TRY(cab_reg_begin(r, d));
    return cab_reg_end(r, set_policy(r, name, p, d), d);
}

static cab_status set_wanted(cab_registry *r, const char *name, bool wanted, cab_diag *d)
{
    int64_t id;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    return cab_reg_run(r, CAB_SQL_MODEL_SET_WANTED, NULL, d, "ii", id, (int64_t)wanted);
}

cab_status cab_registry_set_wanted(cab_registry *r, const char *name, bool wanted, cab_diag *d)
{
    CAB_TRY(cab_reg_begin(r, d));
    return cab_reg_end(r, set_wanted(r, name, wanted, d), d);
}

/* ---- labels ---- */

/* The path of a label is kept (table moved; its top is where the label is). */
static cab_status set_label(cab_registry *r, const char *name, const char *label, int64_t version,
                            cab_diag *d)
{
    int64_t id, now;
    int n;
    bool there;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    if (!version) {
        CAB_TRY(cab_reg_run(r, CAB_SQL_LABEL_DROP, &n, d, "it", id, label));
        return n ? CAB_OK : cab_fail(d, CAB_ENOTFOUND, NULL, "'%s' has no label '%s'", name, label);
    }
    CAB_TRY(cab_reg_check_version(r, id, name, version, d));
    CAB_TRY(cab_reg_number(r, CAB_SQL_LABEL_VERSION, &now, &there, d, "it", id, label));
    if (there && now == version)
        return CAB_OK;
    CAB_TRY(cab_reg_run(r, CAB_SQL_LABEL_SET, NULL, d, "iti", id, label, version));
    return cab_reg_run(r, CAB_SQL_MOVED_ADD, NULL, d, "iti", id, label, version);
}

cab_status cab_registry_set_label(cab_registry *r, const char *name, const char *label,
                                  int64_t version, cab_diag *d)
{
    CAB_TRY(cab_reg_check_name("label", label, d));
    if (version && !label[strspn(label, "0123456789")])
        return cab_fail(d, CAB_EINVAL, NULL, "'%s' cannot be a label: where it stood it would be read as the number of a version", label);
    CAB_TRY(cab_reg_begin(r, d));
    return cab_reg_end(r, set_label(r, name, label, version, d), d);
}

/* ---- the way back ---- */

/* 0 = nothing is ready. */
static cab_status latest_of(cab_registry *r, int64_t id, int64_t *out, cab_diag *d)
{
    int64_t pin;
    CAB_TRY(cab_reg_number(r, CAB_SQL_MODEL_PIN, &pin, NULL, d, "i", id));
    return cab_reg_number(r, CAB_SQL_READY_NEWEST, out, NULL, d, "ii", id, pin);
}

static cab_status latest_back(cab_registry *r, int64_t id, const char *name, int64_t *version,
                              cab_diag *d)
{
    int64_t now, before = 0;
    CAB_TRY(latest_of(r, id, &now, d));
    if (now > 1)
        CAB_TRY(cab_reg_number(r, CAB_SQL_READY_NEWEST, &before, NULL, d, "ii", id, now - 1));
    if (!now)
        return cab_fail(d, CAB_ECONFLICT, NULL, "no version of '%s' is ready: there is none to go back from", name);
    if (!before)
        return cab_fail(d, CAB_ECONFLICT, NULL, "'%s' has no ready version below %lld to go back to, as its policy has them",
                        name, (long long)now);
    *version = before;
    return cab_reg_run(r, CAB_SQL_MODEL_SET_PIN, NULL, d, "ii", id, before);
}

/* Versions that were removed are no longer on the path; what they leave may
 * be the same version twice. */
static cab_status label_back(cab_registry *r, int64_t id, const char *name, const char *label,
                             int64_t *version, cab_diag *d)
{
    int64_t now, top;
    bool there, more;
    CAB_TRY(cab_reg_number(r, CAB_SQL_LABEL_VERSION, &now, &there, d, "it", id, label));
    CAB_TRY(cab_reg_number(r, CAB_SQL_MOVED_TOP, &top, &more, d, "it", id, label));
    while (more && there && top == now) {
        CAB_TRY(cab_reg_run(r, CAB_SQL_MOVED_POP, NULL, d, "it", id, label));
        CAB_TRY(cab_reg_number(r, CAB_SQL_MOVED_TOP, &top, &more, d, "it", id, label));
    }
    if (!more)
        return cab_fail(d, there ? CAB_ECONFLICT : CAB_ENOTFOUND, NULL, there
                        ? "the label '%s' of '%s' has no earlier version to go back to"
                        : "there has been no label '%s' of '%s'", label, name);
    *version = top;
    return cab_reg_run(r, CAB_SQL_LABEL_SET, NULL, d, "iti", id, label, top);
}

static cab_status rollback(cab_registry *r, const char *name, const char *label, int64_t *version,
                           cab_diag *d)
{
    int64_t id;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    return label ? label_back(r, id, name, label, version, d)
                 : latest_back(r, id, name, version, d);
}

cab_status cab_registry_rollback(cab_registry *r, const char *name, const char *label,
                                 int64_t *version, cab_diag *d)
{
    int64_t to = 0;
    if (label)
        CAB_TRY(cab_reg_check_name("label", label, d));
    CAB_TRY(cab_reg_begin(r, d));
    CAB_TRY(cab_reg_end(r, rollback(r, name, label, &to, d), d));
    if (version)
        *version = to;
    return CAB_OK;
}

/* ---- what follows from all this ---- */

static cab_status collect(cab_registry *r, sqlite3_stmt *q, int64_t **out, size_t *n, cab_diag *d)
{
    size_t cap = 0;
    bool row;
    for (;;) {
        CAB_TRY(cab_reg_step(r, q, &row, d));
        if (!row)
            return CAB_OK;
        if (*n == cap) {
            cap = cap ? 2 * cap : 8;
            int64_t *p = realloc(*out, cap * sizeof *p);
            if (!p)
                return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
            *out = p;
        }
        (*out)[(*n)++] = sqlite3_column_int64(q, 0);
    }
}

/* The statement that chooses, by the policy. */
static cab_status start_choosing(cab_registry *r, int64_t id, sqlite3_stmt **q, cab_diag *d)
{
    int64_t kind, latest, pin;
    CAB_TRY(cab_reg_number(r, CAB_SQL_MODEL_POLICY, &kind, NULL, d, "i", id));
    CAB_TRY(cab_reg_number(r, CAB_SQL_MODEL_LATEST, &latest, NULL, d, "i", id));
    CAB_TRY(cab_reg_number(r, CAB_SQL_MODEL_PIN, &pin, NULL, d, "i", id));
    if (kind == CAB_POLICY_SPECIFIC)
        return cab_reg_start(r, CAB_SQL_READY_CHOICES, q, d, "i", id);
    if (kind == CAB_POLICY_ALL)
        return cab_reg_start(r, CAB_SQL_READY_MOST, q, d, "iii", id, (int64_t)0, (int64_t)-1);
    return cab_reg_start(r, CAB_SQL_READY_MOST, q, d, "iii", id, pin, latest);
}

cab_status cab_registry_chosen(cab_registry *r, const char *name, int64_t **out, size_t *n,
                               cab_diag *d)
{
    int64_t id;
    sqlite3_stmt *q;
    *out = NULL;
    *n = 0;
    CAB_TRY(cab_reg_model(r, name, &id, d));
    CAB_TRY(start_choosing(r, id, &q, d));
    cab_status s = collect(r, q, out, n, d);
    cab_reg_done(q);
    if (s != CAB_OK) {
        free(*out);
        *out = NULL;
        *n = 0;
    }
    return s;
}

cab_status cab_registry_resolve(cab_registry *r, const char *name, const char *label,
                                int64_t *version, cab_diag *d)
{
    int64_t id, v;
    bool found;
    if (label)
        CAB_TRY(cab_reg_check_name("label", label, d));
    CAB_TRY(cab_reg_model(r, name, &id, d));
    if (label)
        CAB_TRY(cab_reg_number(r, CAB_SQL_LABEL_VERSION, &v, &found, d, "it", id, label));
    else
        CAB_TRY(latest_of(r, id, &v, d));
    if (label && !found)
        return cab_fail(d, CAB_ENOTFOUND, NULL, "'%s' has no label '%s'", name, label);
    if (!v)
        return cab_fail(d, CAB_ENOTFOUND, NULL, "no version of '%s' is ready", name);
    *version = v;
    return CAB_OK;
}
