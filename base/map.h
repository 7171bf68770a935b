/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h - hash maps on an arena: by bytes/string and by 64-bit key.
 *
 * Values are void *; absent is NULL.  Iteration is in insertion order, so
 * everything printed from a map is deterministic.
 */
#ifndef CAB_BASE_MAP_H
#define CAB_BASE_MAP_H
#include "base/arena.h"

typedef struct cab_map cab_map;
cab_map *cab_map_create(cab_arena *a);
void *cab_map_get(const cab_map *m, const void *key, size_t n);
/* Copies the key; returns the previous value or NULL. */
void *cab_map_set(cab_map *m, const void *key, size_t n, void *value);
void *cab_map_gets(const cab_map *m, const char *key);
void *cab_map_sets(cab_map *m, const char *key, void *value);
void *cab_map_getu(const cab_map *m, uint64_t key);
void *cab_map_setu(cab_map *m, uint64_t key, void *value);
size_t cab_map_count(const cab_map *m);
/* i-th entry in insertion order (deleted entries have NULL values). */
void *cab_map_at(const cab_map *m, size_t i, const void **out_key, size_t *out_n);

uint64_t cab_hash(const void *p, size_t n, uint64_t seed);

/* Interned strings: equal strings are equal pointers within one pool. */
typedef struct cab_strings cab_strings;
cab_strings *cab_strings_create(cab_arena *a);
const char *cab_intern(cab_strings *s, const char *str);
const char *cab_intern_n(cab_strings *s, const char *str, size_t n);

#endif
