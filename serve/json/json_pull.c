/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_pull.c - a bounded JSON reader: tokens.
 */
#include "serve/json/json_pull.h"
#include "serve/json/json_scan_int.h"
#include "serve/json/json_text_int.h"

/* What may come next. */
enum { VALUE, FIRST_VALUE, FIRST_KEY, AFTER, FAILED };

void cab_json_init(cab_json *j, cab_slice text, const cab_json_limits *limits)
{
    static const cab_json_limits none = { 0 };
    const cab_json_limits *l = limits ? limits : &none;
    *j = (cab_json){ .start = text.p, .p = text.p, .end = text.p + text.n, .why = "", .names = l->names,
                     .max_depth = l->depth ? l->depth : 64,
                     .max_string = l->string ? l->string : SIZE_MAX };
    if (j->max_depth > CAB_JSON_MAX_DEPTH)
        j->max_depth = CAB_JSON_MAX_DEPTH;
}

static cab_json_token fail(cab_json *j, const char *at, const char *why)
{
    j->at = (size_t)(at - j->start);
    j->why = at == j->end ? "the text ends too early" : why;
    j->state = FAILED;
    return CAB_JSON_ERROR;
}

/* ---- arrays and objects ---- */

static bool in_object(const cab_json *j)
{
    return j->depth && j->objects[(j->depth - 1) / 64] >> (j->depth - 1) % 64 & 1;
}

static cab_json_token open(cab_json *j, bool object)
{
    uint64_t bit = (uint64_t)1 << j->depth % 64;
    if (j->depth >= j->max_depth)
        return fail(j, j->p, "nested too deeply");
    if (object)
        j->objects[j->depth / 64] |= bit;
    else
        j->objects[j->depth / 64] &= ~bit;
    j->depth++;
    j->p++;
    j->state = object ? FIRST_KEY : FIRST_VALUE;
    return object ? CAB_JSON_OBJECT : CAB_JSON_ARRAY;
}

static cab_json_token close(cab_json *j, cab_json_token t)
{
    j->depth--;
    j->p++;
    j->state = AFTER;
    return t;
}

/* ---- values ---- */

static cab_json_token string(cab_json *j, cab_json_token t)
{
    const char *why, *at, *to = cab_json_string(j->p + 1, j->end, &j->escaped, &why, &at);
    if (!to)
        return fail(j, at, why);
    j->text = (cab_slice){ j->p + 1, (size_t)(to - j->p - 1) };
    if (j->text.n > j->max_string)
        return fail(j, j->p, "a string longer than allowed");
    j->p = to + 1;
    j->state = AFTER;
    return t;
}

static cab_json_token key(cab_json *j)
{
    if (j->p == j->end || *j->p != '"')
        return fail(j, j->p, "a key expected");
    j->at = (size_t)(j->p - j->start);
    if (string(j, CAB_JSON_KEY) == CAB_JSON_ERROR)
        return CAB_JSON_ERROR;
    j->p = json_skip_space(j->p, j->end);
    if (j->p == j->end || *j->p != ':')
        return fail(j, j->p, "a colon expected");
    j->p++;
    j->state = VALUE;
    return CAB_JSON_KEY;
}

static bool has_word(const cab_json *j, const char *p, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(j->end - p) >= n && !memcmp(p, word, n);
}

static cab_json_token literal(cab_json *j, const char *word, cab_json_token t)
{
    if (!has_word(j, j->p, word))
        return fail(j, j->p, "a value expected");
    j->text = (cab_slice){ j->p, strlen(word) };
    j->p += strlen(word);
    j->state = AFTER;
    return t;
}

/* NaN, Infinity, -Infinity. */
static cab_json_token name(cab_json *j)
{
    bool negative = *j->p == '-';
    const char *word = j->p[negative] == 'N' ? "NaN" : "Infinity";
    size_t n = strlen(word) + negative;
    if (!has_word(j, j->p + negative, word) || (negative && *word == 'N'))
        return fail(j, j->p, "a value expected");
    j->text = (cab_slice){ j->p, n };
    j->number = (cab_decimal){ .p = j->p, .n = n, .negative = negative, .name = *word };
    j->p += n;
    j->state = AFTER;
    return CAB_JSON_NUMBER;
}

static cab_json_token number(cab_json *j)
{
    const char *why, *at, *to;
    if (j->names && j->end - j->p > 1 && *j->p == '-' && (j->p[1] == 'I' || j->p[1] == 'N'))
        return name(j);
    to = cab_decimal_scan(j->p, j->end, &j->number, &why, &at);
    if (!to)
        return fail(j, at, why);
    j->text = (cab_slice){ j->p, (size_t)(to - j->p) };
    j->p = to;
    j->state = AFTER;
    return CAB_JSON_NUMBER;
}

static cab_json_token value(cab_json *j)
{
    j->at = (size_t)(j->p - j->start);
    switch (j->p < j->end ? *j->p : 0) {
    case '{': return open(j, true);
    case '[': return open(j, false);
    case '"': return string(j, CAB_JSON_STRING);
    case 't': return literal(j, "true", CAB_JSON_TRUE);
    case 'f': return literal(j, "false", CAB_JSON_FALSE);
    case 'n': return literal(j, "null", CAB_JSON_NULL);
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9': return number(j);
    case 'N': case 'I': return j->names ? name(j) : fail(j, j->p, "a value expected");
    default: return fail(j, j->p, "a value expected");
    }
}

/* Behind a value: a comma and what follows it, or the end of what is open. */
static cab_json_token after(cab_json *j)
{
    bool object = in_object(j);
    char c = j->p < j->end ? *j->p : 0;
    j->at = (size_t)(j->p - j->start);
    if (!j->depth)
        return j->p == j->end ? CAB_JSON_END : fail(j, j->p, "text behind the value");
    if (c == (object ? '}' : ']'))
        return close(j, object ? CAB_JSON_OBJECT_END : CAB_JSON_ARRAY_END);
    if (c != ',')
        return fail(j, j->p, object ? "a comma or } expected" : "a comma or ] expected");
    j->p = json_skip_space(j->p + 1, j->end);
    return object ? key(j) : value(j);
}

cab_json_token cab_json_next(cab_json *j)
{
    if (j->state == FAILED)
        return CAB_JSON_ERROR;
    j->p = json_skip_space(j->p, j->end);
    char c = j->p < j->end ? *j->p : 0;
    j->at = (size_t)(j->p - j->start);
    switch (j->state) {
    case VALUE: return value(j);
    case FIRST_VALUE: return c == ']' ? close(j, CAB_JSON_ARRAY_END) : value(j);
    case FIRST_KEY: return c == '}' ? close(j, CAB_JSON_OBJECT_END) : key(j);
    default: return after(j);
    }
}

/* ---- passing over ---- */

/* Until no more than `depth` arrays and objects are open. */
static bool pass(cab_json *j, unsigned depth)
{
    while (j->depth > depth)
        if (cab_json_next(j) == CAB_JSON_ERROR)
            return false;
    return true;
}

bool cab_json_skip(cab_json *j)
{
    unsigned depth = j->depth;
    switch (cab_json_next(j)) {
    case CAB_JSON_ERROR: case CAB_JSON_END: case CAB_JSON_KEY:
    case CAB_JSON_ARRAY_END: case CAB_JSON_OBJECT_END: return false;
    default: return pass(j, depth);
    }
}

const char *cab_json_token_name(cab_json_token t)
{
    static const char *const names[] = {
        [CAB_JSON_ERROR] = "an error", [CAB_JSON_END] = "the end",
        [CAB_JSON_OBJECT] = "an object", [CAB_JSON_OBJECT_END] = "the end of an object",
        [CAB_JSON_ARRAY] = "an array", [CAB_JSON_ARRAY_END] = "the end of an array",
        [CAB_JSON_KEY] = "a key", [CAB_JSON_STRING] = "a string", [CAB_JSON_NUMBER] = "a number",
        [CAB_JSON_TRUE] = "true", [CAB_JSON_FALSE] = "false", [CAB_JSON_NULL] = "null",
    };
    return names[t];
}
