/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_pull.h - a bounded JSON reader over one piece of memory.
 *
 * RFC 8259, strictly: one value, UTF-8 checked (no surrogates, nothing
 * overlong), escapes checked (a surrogate only in a pair).  The caller pulls tokens;
 * nothing is built, nothing is allocated, the text is not copied.  Keys that
 * come twice are the caller's business, numbers of any size are tokens.  The
 * time is linear in the bytes.
 */
#ifndef CAB_SERVE_JSON_PULL_H
#define CAB_SERVE_JSON_PULL_H
#include "serve/bytes.h"
#include "serve/json/json_number.h"

typedef enum cab_json_token {
    CAB_JSON_ERROR,            /* why, at; every later token too */
    CAB_JSON_END,              /* the value is complete, and so is the text */
    CAB_JSON_OBJECT, CAB_JSON_OBJECT_END,
    CAB_JSON_ARRAY, CAB_JSON_ARRAY_END,
    CAB_JSON_KEY,              /* of an object; its value comes next */
    CAB_JSON_STRING, CAB_JSON_NUMBER, CAB_JSON_TRUE, CAB_JSON_FALSE, CAB_JSON_NULL
} cab_json_token;

enum { CAB_JSON_MAX_DEPTH = 256 };

/* {0} is {64, no limit, false}. */
typedef struct cab_json_limits {
    unsigned depth;            /* arrays and objects in one another, at most CAB_JSON_MAX_DEPTH */
    size_t string;             /* bytes of one string or key as it stands in the text */
    bool names;                /* NaN, Infinity and -Infinity are numbers, as Python writes
                                * and Triton reads them; RFC 8259 has none */
} cab_json_limits;

/* Holds no resource.  A copy is a place to come back to.  The text must live as long. */
typedef struct cab_json {
    /* The token: */
    size_t at;                 /* where it begins; of an error: where it is.  Bytes from 0 */
    cab_slice text;            /* string, key: between the quotes, escapes and all; number: all of it */
    bool escaped;              /* string, key: it has escapes */
    cab_decimal number;        /* number */
    const char *why;           /* error: static text, "" before one */
    unsigned depth;            /* arrays and objects that are open, counting one that begins */
    /* The reader's own: */
    const char *start, *p, *end;
    uint64_t objects[CAB_JSON_MAX_DEPTH / 64];     /* bit per level: it is an object */
    size_t max_string;
    unsigned max_depth;
    bool names;
    unsigned char state;
} cab_json;

void cab_json_init(cab_json *j, cab_slice text, const cab_json_limits *limits);
cab_json_token cab_json_next(cab_json *j);
/* Passes over the value that comes next (after a key: its value), checking all of it.
 * False: an error, or there is no value (an array ends). */
bool cab_json_skip(cab_json *j);
/* A static word for a message: "a string", "an object", ... */
const char *cab_json_token_name(cab_json_token t);

/* ---- strings; text is a string's or key's token ---- */

/* The text without escapes, as UTF-8 (it may hold NUL), into cap bytes; the bytes
 * it needs, of which those within cap are written.  Never more than text.n. */
size_t cab_json_unescape_to(cab_slice text, char *to, size_t cap);
/* Whether the token's text, unescaped, is s. */
bool cab_json_is(const cab_json *j, const char *s);
/* s in quotes, with escapes; bytes that are no UTF-8 become U+FFFD. */
void cab_json_put_string(cab_bytes *to, cab_slice s);
/* s alone, likewise. */
void cab_json_put_utf8(cab_bytes *to, cab_slice s);

#endif
