/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_tree.h - JSON as jansson's values, where control bodies and stored texts want a tree.
 */
#ifndef CAB_SERVE_JSON_TREE_H
#define CAB_SERVE_JSON_TREE_H
#include "base/diag.h"
#include <jansson.h>

/* n bytes, no doubled keys, no NUL in texts, 64 levels; NULL: *e says why (line, text), or memory has run out (*starved). */
json_t *cab_json_load(const char *p, size_t n, json_error_t *e, bool *starved);
/* As json_dumps: malloc'ed, NULL when out of memory (or v is none). */
char *cab_json_dump(const json_t *v, size_t flags);
/* A text as jansson reads it: no doubled keys, no NUL in texts, at most 1 MB.  what: for
 * the story. */
cab_status cab_json_read(const char *text, const char *what, json_t **out, cab_diag *d);

#endif
