/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_tensor.c - arrays of numbers in JSON to tensors.
 *
 * One reader for both forms of call: extents that are given are held against
 * the text, extents that are not are fixed by the first array of their level.
 * Brackets, first elements and everything odd come as tokens; the elements that
 * follow in a row by the type's own loop.
 */
#include "serve/json/json_tensor.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include "serve/json/json_element_int.h"

enum { UNKNOWN = -1, CHUNK = 512 };

typedef struct reader {
    cab_json *j;
    const json_element *t;
    cab_json_fault *f;
    char *to;                  /* fixed memory, or */
    cab_bytes *grow;           /* what grows */
    size_t n;                  /* elements read */
    int rank, depth;           /* rank may be UNKNOWN; arrays that are open */
    int64_t count;             /* elements that a flat array has; UNKNOWN: it may not be flat */
    int64_t dims[CAB_JSON_MAX_RANK];       /* UNKNOWN where not fixed yet */
    int64_t seen[CAB_JSON_MAX_RANK];       /* what the open arrays have so far */
} reader;

/* ---- faults ---- */

static bool refuse(reader *r, cab_json_fault_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The text begins with the place: [3][0], or [1] for the second element of the array that is open. */
static bool refuse(reader *r, cab_json_fault_kind kind, const char *fmt, ...)
{
    size_t n = 0, cap = sizeof r->f->text;
    char *text = r->f->text;
    va_list ap;
    r->f->kind = kind;
    r->f->at = r->j->at;
    for (int i = 0; i < r->depth && r->seen[i] && n < cap; i++)
        n += (size_t)snprintf(text + n, cap - n, "[%" PRId64 "]", r->seen[i] - 1);
    if (n && n < cap)
        n += (size_t)snprintf(text + n, cap - n, ": ");
    va_start(ap, fmt);
    if (n < cap)
        vsnprintf(text + n, cap - n, fmt, ap);
    va_end(ap);
    return false;
}

static bool bad_text(reader *r)
{
    return refuse(r, CAB_FAULT_TEXT, "%s (byte %zu)", r->j->why, r->j->at);
}

static bool bad_value(reader *r, cab_fit fit)
{
    cab_slice s = r->j->text;
    int n = s.n > 32 ? 32 : (int)s.n;
    return refuse(r, CAB_FAULT_VALUE, fit == CAB_FRACTION ? "%.*s%s is no whole number (%s)"
                                                          : "%.*s%s is out of the range of %s",
                  n, s.p, s.n > 32 ? "..." : "", r->t->name);
}

/* ---- shape ---- */

/* One more element or array in the innermost open array. */
static bool one_more(reader *r)
{
    if (!r->depth)
        return true;
    int64_t *seen = &r->seen[r->depth - 1], want = r->dims[r->depth - 1];
    if (want != UNKNOWN && *seen >= want)
        return refuse(r, CAB_FAULT_SHAPE, "its array has more than %" PRId64 " elements", want);
    ++*seen;
    return true;
}

static bool open_array(reader *r)
{
    bool scalar_in_brackets = r->count != UNKNOWN && !r->depth;
    if (r->rank != UNKNOWN && r->depth >= r->rank && !scalar_in_brackets) {
        r->seen[r->depth - 1]++;           /* its place */
        return refuse(r, CAB_FAULT_SHAPE, "an array where a number is expected (rank %d)", r->rank);
    }
    if (!one_more(r))
        return false;
    if (r->depth == CAB_JSON_MAX_RANK)
        return refuse(r, CAB_FAULT_SHAPE, "arrays nested deeper than %d", CAB_JSON_MAX_RANK);
    r->seen[r->depth++] = 0;
    return true;
}

/* Something other than an array comes first in the outermost one: it is flat,
 * whatever dims are, and that is the shape from here on. */
static void may_be_flat(reader *r)
{
    if (r->depth != 1 || r->seen[0] || r->count == UNKNOWN)
        return;
    r->rank = 1;
    r->dims[0] = r->count;
    r->count = UNKNOWN;
}

static bool close_array(reader *r)
{
    int level = r->depth - 1;
    may_be_flat(r);
    /* An empty array has no elements to tell the rank by: it is the last level. */
    if (r->rank == UNKNOWN && !r->seen[level])
        r->rank = r->depth;
    int64_t want = r->dims[level], got = r->seen[level];
    r->depth--;                /* the place of a fault is the array's */
    if (want == UNKNOWN)
        r->dims[level] = got;
    else if (want != got)
        return refuse(r, CAB_FAULT_SHAPE, "%" PRId64 " elements where %" PRId64 " are expected", got, want);
    return true;
}

/* ---- elements ---- */

/* Room for up to n elements; how many, 0: there is none (a fault). */
static size_t room(reader *r, size_t n, char **at)
{
    if (!r->grow) {
        *at = r->to + r->n * r->t->bytes;
        return n;
    }
    cab_bytes *b = r->grow;
    size_t most = b->limit ? (b->limit - (b->n < b->limit ? b->n : b->limit)) / r->t->bytes : n;
    n = n < most ? n : most;
    *at = n ? cab_bytes_room(b, n * r->t->bytes) : NULL;
    if (!n)
        refuse(r, CAB_FAULT_LIMIT, "a tensor of more than %zu bytes", b->limit);
    else if (!*at)
        refuse(r, CAB_FAULT_MEMORY, "out of memory");
    return *at ? n : 0;
}

static void took(reader *r, size_t n)
{
    r->n += n;
    if (r->grow)
        cab_bytes_wrote(r->grow, n * r->t->bytes);
}

/* The elements that follow the first one of a row. */
static bool rest_of_row(reader *r)
{
    size_t n, got = 0;
    char *at;
    do {
        int64_t want = r->dims[r->depth - 1], *seen = &r->seen[r->depth - 1];
        size_t left = (size_t)(r->j->end - r->j->p) / 2;       /* ",1" is the shortest element */
        n = want == UNKNOWN ? CHUNK : (size_t)(want - *seen);
        n = n > CHUNK && r->grow ? CHUNK : n;
        n = n > left ? left : n;
        if (!n || *r->j->p == ']')
            return true;
        if (!(n = room(r, n, &at)))
            return false;
        got = r->t->read(&r->j->p, r->j->end, at, n);
        *seen += (int64_t)got;
        took(r, got);
    } while (got == n);
    return true;
}

static bool element(reader *r, cab_json_token token)
{
    char *at;
    cab_fit fit = CAB_FITS;
    may_be_flat(r);
    if (!one_more(r))
        return false;
    if (r->rank == UNKNOWN)
        r->rank = r->depth;
    if (r->depth != r->rank)
        return refuse(r, CAB_FAULT_SHAPE, "a number where an array is expected (rank %d)", r->rank);
    if (token != CAB_JSON_NUMBER && !r->t->is_bool)
        return refuse(r, CAB_FAULT_VALUE, "%s is no %s", cab_json_token_name(token), r->t->name);
    if (!room(r, 1, &at))
        return false;
    if (token == CAB_JSON_NUMBER)
        fit = r->t->store(at, &r->j->number);
    else
        *at = token == CAB_JSON_TRUE;
    if (fit != CAB_FITS)
        return bad_value(r, fit);
    took(r, 1);
    return !r->depth || rest_of_row(r);
}

static bool token(reader *r, cab_json_token t)
{
    switch (t) {
    case CAB_JSON_ERROR: return bad_text(r);
    case CAB_JSON_ARRAY: return open_array(r);
    case CAB_JSON_ARRAY_END: return close_array(r);
    case CAB_JSON_NUMBER: case CAB_JSON_TRUE: case CAB_JSON_FALSE: return element(r, t);
    default:
        one_more(r);
        return refuse(r, CAB_FAULT_VALUE, "%s where a number is expected", cab_json_token_name(t));
    }
}

static bool read_value(reader *r)
{
    cab_json_token first = cab_json_next(r->j);
    if (first == CAB_JSON_ARRAY_END)       /* of an array that is not ours */
        return refuse(r, CAB_FAULT_SHAPE, "a tensor expected");
    bool ok = token(r, first);
    while (ok && r->depth)
        ok = token(r, cab_json_next(r->j));
    return ok;
}

static bool begin(reader *r, cab_json *j, int dtype, cab_json_fault *f)
{
    *f = (cab_json_fault){ .kind = CAB_FAULT_NONE };
    r->j = j;
    r->f = f;
    r->t = cab_json_element_of(dtype);
    return r->t || refuse(r, CAB_FAULT_TYPE, "element type %d has no JSON form", dtype);
}

bool cab_json_read_tensor(cab_json *j, int dtype, int rank, const int64_t *dims, void *to, cab_json_fault *f)
{
    reader r = { .to = to, .rank = rank, .count = 1 };
    if (!begin(&r, j, dtype, f))
        return false;
    if (rank < 0 || rank > CAB_JSON_MAX_RANK)
        return refuse(&r, CAB_FAULT_SHAPE, "rank %d", rank);
    for (int i = 0; i < rank; i++) {
        r.dims[i] = dims[i];
        if (dims[i] < 0 || __builtin_mul_overflow(r.count, dims[i], &r.count))
            return refuse(&r, CAB_FAULT_SHAPE, "an impossible shape");
    }
    return read_value(&r);
}

bool cab_json_read_any(cab_json *j, int dtype, cab_bytes *to, int *rank, int64_t dims[CAB_JSON_MAX_RANK],
                       cab_json_fault *f)
{
    reader r = { .grow = to, .rank = UNKNOWN, .count = UNKNOWN };
    for (int i = 0; i < CAB_JSON_MAX_RANK; i++)
        r.dims[i] = UNKNOWN;
    if (!begin(&r, j, dtype, f) || !read_value(&r))
        return false;
    *rank = r.rank;
    for (int i = 0; i < r.rank; i++)
        dims[i] = r.dims[i];
    return true;
}
