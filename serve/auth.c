/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.c - bearer tokens.
 */
#include "serve/auth.h"
#include "base/sha256.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

typedef struct token {
    char hash[7 + 64 + 1];
    cab_role role;
    char *line;                /* name and models, NUL after each word */
    char *models;              /* in line: the first; an empty word ends them */
} token;
typedef struct table { token *at; size_t n; } table;

struct cab_auth {
    char *path;
    pthread_rwlock_t lock;
    table tokens;
};

static const char *const role_names[CAB_ROLE_COUNT] = { "public", "read", "call", "admin" };

void cab_auth_hash(cab_slice t, char out[7 + 64 + 1])
{
    uint8_t digest[32];
    cab_sha256_of(t.p, t.n, digest);
    memcpy(out, "sha256:", 8);
    for (int i = 0; i < 32; i++)
        snprintf(out + 7 + 2 * i, 3, "%02x", digest[i]);
}

/* ---- the file ---- */

static void free_table(table *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->at[i].line);
    free(t->at);
    *t = (table){ NULL, 0 };
}

static bool is_hash(const char *s)
{
    return !strncmp(s, "sha256:", 7) && strlen(s) == 71 && strspn(s + 7, "0123456789abcdef") == 64;
}

/* The words of a line into t; NULL, or what is wrong. */
static const char *read_line(char *line, token *t)
{
    char *save, *hash = strtok_r(line, " \t\r\n", &save), *role = strtok_r(NULL, " \t\r\n", &save);
    char *name = strtok_r(NULL, " \t\r\n", &save);
    if (!name)
        return "not of the form: sha256:HEX ROLE NAME [MODEL...]";
    if (!is_hash(hash))
        return "the first word is no sha256:HEX (cab-serve --hash-token makes it)";
    for (t->role = CAB_ROLE_READ; t->role < CAB_ROLE_COUNT && strcmp(role, role_names[t->role]);)
        t->role = (cab_role)(t->role + 1);
    if (t->role == CAB_ROLE_COUNT)
        return "the role is none of read, call, admin";
    memcpy(t->hash, hash, sizeof t->hash);
    size_t n = strlen(name) + 1;
    t->line = calloc(1, n + strlen(save) + 2);
    if (!t->line)
        return "out of memory";
    memcpy(t->line, name, n);
    t->models = t->line + n;
    for (char *to = t->models, *w; (w = strtok_r(NULL, " \t\r\n", &save)); to += strlen(w) + 1)
        memcpy(to, w, strlen(w) + 1);
    return NULL;
}

static cab_status read_file(const char *path, table *t, cab_diag *d)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    cab_where w = { .file = path };
    cab_status s = CAB_OK;
    if (!f)
        return cab_fail(d, CAB_EIO, NULL, "cannot read the tokens' file %s: %s", path, strerror(errno));
    while (s == CAB_OK && getline(&line, &cap, f) >= 0) {
        w.line++;
        line[strcspn(line, "#")] = 0;
        if (!line[strspn(line, " \t\r\n")])
            continue;
        token *grown = realloc(t->at, (t->n + 1) * sizeof *grown);
        const char *why = grown ? NULL : "out of memory";
        if (grown) {
            t->at = grown;
            t->at[t->n] = (token){ 0 };
            why = read_line(line, &t->at[t->n]);
            t->n += !why;
        }
        if (why)
            s = cab_fail(d, CAB_EPARSE, &w, "%s", why);
    }
    if (s == CAB_OK && !feof(f))
        s = cab_fail(d, CAB_EIO, NULL, "cannot read the tokens' file %s: %s", path, strerror(errno));
    free(line);
    fclose(f);
    return s;
}

/* ---- */

cab_status cab_auth_reload(cab_auth *a, cab_diag *d)
{
    table fresh = { NULL, 0 };
    if (!*a->path)
        return CAB_OK;
    cab_status s = read_file(a->path, &fresh, d);
    if (s == CAB_OK) {
        pthread_rwlock_wrlock(&a->lock);
        table old = a->tokens;
        a->tokens = fresh;
        pthread_rwlock_unlock(&a->lock);
        fresh = old;
    }
    free_table(&fresh);
    return s;
}

cab_status cab_auth_create(const char *path, cab_auth **out, cab_diag *d)
{
    cab_auth *a = calloc(1, sizeof *a);
    *out = NULL;
    if (!a || !(a->path = strdup(path))) {
        free(a);
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    }
    pthread_rwlock_init(&a->lock, NULL);
    cab_status s = cab_auth_reload(a, d);
    if (s == CAB_OK)
        *out = a;
    else
        cab_auth_destroy(a);
    return s;
}

void cab_auth_destroy(cab_auth *a)
{
    if (!a)
        return;
    free_table(&a->tokens);
    pthread_rwlock_destroy(&a->lock);
    free(a->path);
    free(a);
}

static bool covers(const token *t, cab_slice model)
{
    if (!*t->models || !model.n)
        return true;
    for (const char *m = t->models; *m; m += strlen(m) + 1) {
        size_t n = strlen(m);
        if (m[n - 1] == '*' ? model.n >= n - 1 && !memcmp(m, model.p, n - 1) : cab_slice_is(model, m))
            return true;
    }
    return false;
}

static cab_verdict judge(const table *t, const char *hash, cab_role need, cab_slice model, char *who)
{
    cab_verdict v = CAB_AUTH_UNKNOWN;
    for (size_t i = 0; i < t->n; i++)
        if (!memcmp(t->at[i].hash, hash, sizeof t->at[i].hash)) {
            if (who)
                snprintf(who, sizeof(cab_token_name), "%s", t->at[i].line);
            if (t->at[i].role >= need && covers(&t->at[i], model))
                return CAB_AUTH_FINE;
            v = CAB_AUTH_FORBIDDEN;
        }
    return v;
}

cab_verdict cab_auth_check(cab_auth *a, cab_slice authorization, cab_role need, cab_slice model, char *who)
{
    static const char scheme[] = "Bearer ";
    char hash[7 + 64 + 1];
    if (!*a->path || need == CAB_ROLE_PUBLIC)
        return CAB_AUTH_FINE;
    if (authorization.n < sizeof scheme || strncasecmp(authorization.p, scheme, sizeof scheme - 1))
        return CAB_AUTH_MISSING;
    /* Hashes are compared, so the time tells nothing about a token. */
    cab_auth_hash((cab_slice){ authorization.p + sizeof scheme - 1, authorization.n - (sizeof scheme - 1) }, hash);
    pthread_rwlock_rdlock(&a->lock);
    cab_verdict v = judge(&a->tokens, hash, need, model, who);
    pthread_rwlock_unlock(&a->lock);
    return v;
}
