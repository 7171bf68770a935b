/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.c - hash maps and interned strings.
 *
 * Entries sit in one array in insertion order; an open-addressed table of
 * entry numbers finds them.  Deleting is setting NULL: the entry keeps its
 * place, so the table needs no tombstones.  A 64-bit key is its eight bytes:
 * one map holds either kind of key, not both.
 */
#include "base/map.h"
#include <string.h>
#include "base/vec.h"

typedef struct entry {
    uint64_t hash;
    const char *key;                /* NUL-terminated copy */
    size_t n;
    void *value;
} entry;

struct cab_map {
    cab_arena *arena;
    CAB_VEC(entry) entries;
    uint32_t *slots;                /* entry number + 1; 0 = free */
    size_t n_slots;                 /* power of two, or 0 */
};

struct cab_strings {
    cab_map *map;                   /* string -> its own key */
};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

uint64_t cab_hash(const void *p, size_t n, uint64_t seed)
{
    const char *s = p;
    uint64_t h = seed ^ n * 0x9e3779b97f4a7c15u, word;

    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        h = mix(h ^ word) + 0x9e3779b97f4a7c15u;
    }
    word = 0;
    if (n)
        memcpy(&word, s, n);
    return mix(h ^ word);
}

cab_map *cab_map_create(cab_arena *a)
{
    cab_map *m = CAB_NEW(a, cab_map);

    m->arena = a;
    return m;
}

/* The slot of the key, or the free slot where it belongs. */
static uint32_t *find(const cab_map *m, uint64_t hash, const void *key,
                      size_t n)
{
    size_t mask = m->n_slots - 1;

    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        const entry *e;
        if (!m->slots[i])
            return &m->slots[i];
        e = &m->entries.p[m->slots[i] - 1];
        if (e->hash == hash && e->n == n && (!n || !memcmp(e->key, key, n)))
            return &m->slots[i];
    }
}

static void rehash(cab_map *m)
{
    m->n_slots = m->n_slots ? m->n_slots * 2 : 16;
    m->slots = CAB_NEW_N(m->arena, uint32_t, m->n_slots);
    for (size_t i = 0; i < m->entries.n; i++) {
        const entry *e = &m->entries.p[i];
        *find(m, e->hash, e->key, e->n) = (uint32_t)(i + 1);
    }
}

void *cab_map_get(const cab_map *m, const void *key, size_t n)
{
    uint32_t slot;

    if (!m->n_slots)
        return NULL;
    slot = *find(m, cab_hash(key, n, 0), key, n);
    return slot ? m->entries.p[slot - 1].value : NULL;
}

/* The entry of the key, made with a NULL value when absent. */
static entry *entry_of(cab_map *m, const void *key, size_t n)
{
    uint64_t hash = cab_hash(key, n, 0);
    uint32_t *slot;

    if (m->entries.n >= m->n_slots / 4 * 3)
        rehash(m);
    slot = find(m, hash, key, n);
    if (!*slot) {
        entry e = { .hash = hash, .key = cab_strndup(m->arena, key, n), .n = n };
        cab_vec_push(m->arena, &m->entries, e);
        *slot = (uint32_t)m->entries.n;
    }
    return &m->entries.p[*slot - 1];
}

void *cab_map_set(cab_map *m, const void *key, size_t n, void *value)
{
    entry *e = entry_of(m, key, n);
    void *old = e->value;

    e->value = value;
    return old;
}

void *cab_map_gets(const cab_map *m, const char *key)
{
    return cab_map_get(m, key, strlen(key));
}

void *cab_map_sets(cab_map *m, const char *key, void *value)
{
    return cab_map_set(m, key, strlen(key), value);
}

void *cab_map_getu(const cab_map *m, uint64_t key)
{
    return cab_map_get(m, &key, sizeof key);
}

void *cab_map_setu(cab_map *m, uint64_t key, void *value)
{
    return cab_map_set(m, &key, sizeof key, value);
}

size_t cab_map_count(const cab_map *m)
{
    return m->entries.n;
}

void *cab_map_at(const cab_map *m, size_t i, const void **out_key, size_t *out_n)
{
    const entry *e = &m->entries.p[i];

    if (out_key)
        *out_key = e->key;
    if (out_n)
        *out_n = e->n;
    return e->value;
}

cab_strings *cab_strings_create(cab_arena *a)
{
    cab_strings *s = CAB_NEW(a, cab_strings);

    s->map = cab_map_create(a);
    return s;
}

const char *cab_intern_n(cab_strings *s, const char *str, size_t n)
{
    return entry_of(s->map, str, n)->key;
}

const char *cab_intern(cab_strings *s, const char *str)
{
    return cab_intern_n(s, str, strlen(str));
}
