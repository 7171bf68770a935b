/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_tree.c - JSON texts as jansson's values.
 *
 * jansson's own reader does not notice when memory runs out while it reads: characters are lost, and then it writes
 * past what it has.  Its values are sound, so they are made here from the tokens of json_pull.h.
 */
#include "serve/json/json_tree.h"
#include "serve/json/json_pull.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct reader { cab_json j; const char *why; bool starved; } reader;

static json_t *value(reader *r, cab_json_token t);

/* v, unless there was no memory for it. */
static json_t *made(reader *r, json_t *v)
{
    r->starved = r->starved || !v;
    return v;
}

static json_t *fault(reader *r, const char *why)
{
    r->why = why;
    return NULL;
}

/* The string or key without its escapes, NUL-terminated. */
static char *plain(reader *r, size_t *n)
{
    char *p = malloc(r->j.text.n + 1);
    r->starved = r->starved || !p;
    if (!p)
        return NULL;
    *n = cab_json_unescape_to(r->j.text, p, r->j.text.n);
    p[*n] = 0;
    if (!memchr(p, 0, *n))
        return p;
    free(p);
    r->why = "\\u0000 is not allowed";
    return NULL;
}

static json_t *string(reader *r)
{
    size_t n;
    if (!r->j.escaped)
        return made(r, json_stringn_nocheck(r->j.text.p, r->j.text.n));
    char *p = plain(r, &n);
    json_t *v = p ? made(r, json_stringn_nocheck(p, n)) : NULL;
    free(p);
    return v;
}

/* 1 is an integer, 1.0 and 1e0 are none. */
static json_t *number(reader *r)
{
    const cab_slice text = r->j.text;
    int64_t whole;
    double real;
    if (!memchr(text.p, '.', text.n) && !memchr(text.p, 'e', text.n) && !memchr(text.p, 'E', text.n))
        return cab_decimal_int(&r->j.number, INT64_MIN, INT64_MAX, &whole) == CAB_FITS ? made(r, json_integer(whole))
                                                                                       : fault(r, "too big integer");
    return cab_decimal_f64(&r->j.number, &real) == CAB_FITS ? made(r, json_real(real)) : fault(r, "real number overflow");
}

static json_t *array(reader *r)
{
    json_t *a = made(r, json_array());
    cab_json_token t;
    while (a && (t = cab_json_next(&r->j)) != CAB_JSON_ARRAY_END) {
        json_t *v = value(r, t);
        if (!v || json_array_append_new(a, v)) {
            r->starved = r->starved || v;
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

/* The member whose key the token is. */
static bool member(reader *r, json_t *o)
{
    size_t n;
    char *key = plain(r, &n);
    bool doubled = key && json_object_get(o, key);
    if (doubled)
        fault(r, "duplicate object key");
    json_t *v = key && !doubled ? value(r, cab_json_next(&r->j)) : NULL;
    bool done = v && !json_object_set_new_nocheck(o, key, v);
    r->starved = r->starved || (v && !done);
    free(key);
    return done;
}

static json_t *object(reader *r)
{
    json_t *o = made(r, json_object());
    cab_json_token t;
    while (o && (t = cab_json_next(&r->j)) != CAB_JSON_OBJECT_END)
        if (t != CAB_JSON_KEY || !member(r, o)) {
            json_decref(o);
            return NULL;
        }
    return o;
}

/* No deeper than json_pull.h's limit. */
static json_t *value(reader *r, cab_json_token t)
{
    switch (t) {
    case CAB_JSON_OBJECT: return object(r);
    case CAB_JSON_ARRAY: return array(r);
    case CAB_JSON_STRING: return string(r);
    case CAB_JSON_NUMBER: return number(r);
    case CAB_JSON_TRUE: return json_true();
    case CAB_JSON_FALSE: return json_false();
    case CAB_JSON_NULL: return json_null();
    default: return NULL;              /* an error, which j tells */
    }
}

json_t *cab_json_load(const char *p, size_t n, json_error_t *e, bool *starved)
{
    reader r = { .starved = false };
    cab_json_init(&r.j, (cab_slice){ p, n }, NULL);
    json_t *v = value(&r, cab_json_next(&r.j));
    if (v && cab_json_next(&r.j) != CAB_JSON_END) {
        json_decref(v);
        v = NULL;
    }
    *starved = r.starved;
    *e = (json_error_t){ .line = 1, .position = (int)r.j.at };
    for (size_t i = 0; i < r.j.at && i < n; i++)
        e->line += p[i] == '\n';
    snprintf(e->text, sizeof e->text, "%s", r.why ? r.why : *r.j.why ? r.j.why : "a value expected");
    return v;
}

/* ---- back to text ---- */

static int put(const char *p, size_t n, void *to)
{
    cab_bytes_put(to, p, n);
    return 0;
}

/* json_dumps goes on when it has no memory for a key, and gives the text without it; bytes remember that they failed. */
char *cab_json_dump(const json_t *v, size_t flags)
{
    cab_bytes b = { 0 };
    int rc = json_dump_callback(v, put, &b, flags);
    cab_bytes_char(&b, 0);
    if (!rc && !b.failed)
        return b.p;
    cab_bytes_fini(&b);
    return NULL;
}
