/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog.c - loaded versions by name: a hash table of immutable sets.
 *
 * A model's set is replaced as a whole under the lock; a lookup holds the lock
 * for a hash and a few comparisons, and takes a reference.
 */
#include "serve/catalog.h"
#include "base/map.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUCKETS = 1024 };

typedef struct set {
    struct set *next;
    uint64_t hash;
    char name[CAB_NAME_BYTES];
    cab_resident *latest, **versions;
    int n, n_labels;
    cab_name *labels;
} set;

struct cab_catalog {
    pthread_mutex_t lock;
    set *buckets[BUCKETS];
    void (*buried)(void *user, cab_resident *l);
    void *user;
};

cab_catalog *cab_catalog_create(void (*buried)(void *user, cab_resident *l), void *user)
{
    cab_catalog *c = calloc(1, sizeof *c);
    if (c) {
        pthread_mutex_init(&c->lock, NULL);
        c->buried = buried;
        c->user = user;
    }
    return c;
}

void cab_catalog_destroy(cab_catalog *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void cab_resident_ref(cab_resident *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

void cab_resident_unref(cab_resident *l)
{
    if (l && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
        l->catalog->buried(l->catalog->user, l);
}

/* ---- looking ---- */

static set **place(cab_catalog *c, cab_slice name, uint64_t hash)
{
    set **at = &c->buckets[hash % BUCKETS];
    while (*at && ((*at)->hash != hash || !cab_slice_is(name, (*at)->name)))
        at = &(*at)->next;
    return at;
}

/* A decimal number without sign and zeros before it; 0 when it is none. */
static int64_t number(cab_slice s)
{
    int64_t v = 0;
    if (!s.n || s.n > 16 || s.p[0] == '0')
        return 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 0;
        v = v * 10 + (s.p[i] - '0');
    }
    return v;
}

static cab_resident *pick(const set *s, cab_slice version)
{
    if (!version.n)
        return s->latest;
    int64_t v = number(version);
    for (int i = 0; !v && i < s->n_labels; i++)
        if (cab_slice_is(version, s->labels[i].name))
            v = s->labels[i].version;
    for (int i = 0; i < s->n; i++)
        if (s->versions[i]->version == v)
            return s->versions[i];
    return NULL;
}

cab_found cab_catalog_get(cab_catalog *c, cab_slice model, cab_slice version, cab_resident **out)
{
    uint64_t hash = cab_hash(model.p, model.n, 0);
    *out = NULL;
    pthread_mutex_lock(&c->lock);
    const set *s = *place(c, model, hash);
    if (s && (*out = pick(s, version)))
        cab_resident_ref(*out);
    pthread_mutex_unlock(&c->lock);
    return *out ? CAB_FOUND : s ? CAB_NO_VERSION : CAB_NO_MODEL;
}

static int count(const cab_catalog *c, const char *model)
{
    int n = 0;
    for (int b = 0; b < BUCKETS; b++)
        for (const set *s = c->buckets[b]; s; s = s->next)
            n += !model || !strcmp(model, s->name) ? s->n : 0;
    return n;
}

static int by_name(const void *a, const void *b)
{
    const cab_resident *x = *(cab_resident *const *)a, *y = *(cab_resident *const *)b;
    int k = strcmp(x->name, y->name);
    return k ? k : (x->version > y->version) - (x->version < y->version);
}

int cab_catalog_list(cab_catalog *c, const char *model, cab_resident ***out)
{
    int n = 0;
    pthread_mutex_lock(&c->lock);
    *out = calloc((size_t)count(c, model) + 1, sizeof **out);
    for (int b = 0; *out && b < BUCKETS; b++)
        for (const set *s = c->buckets[b]; s; s = s->next)
            for (int i = 0; (!model || !strcmp(model, s->name)) && i < s->n; i++) {
                cab_resident_ref(s->versions[i]);
                (*out)[n++] = s->versions[i];
            }
    pthread_mutex_unlock(&c->lock);
    if (!*out)
        return -1;
    qsort(*out, (size_t)n, sizeof **out, by_name);
    return n;
}

void cab_catalog_let_go(cab_resident **list, int n)
{
    for (int i = 0; i < n; i++)
        cab_resident_unref(list[i]);
    free(list);
}

/* ---- changing ---- */

static void free_set(set *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n; i++)
        cab_resident_unref(s->versions[i]);
    free(s->versions);
    free(s->labels);
    free(s);
}

static set *make_set(const char *model, cab_resident *const *versions, int n, int64_t latest,
                     const cab_name *labels, int n_labels)
{
    set *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->hash = cab_hash(model, strlen(model), 0);
    snprintf(s->name, sizeof s->name, "%s", model);
    s->versions = calloc((size_t)n, sizeof *s->versions);
    s->labels = calloc((size_t)n_labels + 1, sizeof *s->labels);
    if (!s->versions || !s->labels) {
        free_set(s);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        s->versions[i] = versions[i];
        if (versions[i]->version == latest)
            s->latest = versions[i];
    }
    for (int i = 0; i < n_labels; i++)
        s->labels[i] = labels[i];
    s->n = n;
    s->n_labels = n_labels;
    return s;
}

bool cab_catalog_set(cab_catalog *c, const char *model, cab_resident *const *versions, int n, int64_t latest,
                     const cab_name *labels, int n_labels)
{
    set *fresh = n ? make_set(model, versions, n, latest, labels, n_labels) : NULL;
    if (n && !fresh)
        return false;
    cab_slice name = cab_slice_of(model);
    pthread_mutex_lock(&c->lock);
    set **at = place(c, name, cab_hash(name.p, name.n, 0)), *old = *at;
    if (fresh) {
        fresh->next = old ? old->next : NULL;
        *at = fresh;
    } else if (old) {
        *at = old->next;
    }
    pthread_mutex_unlock(&c->lock);
    free_set(old);
    return true;
}
